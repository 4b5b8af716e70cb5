//! Cross-entropy with smoothed labels (Szegedy and others, "Rethinking the Inception architecture", 2016): the
//! probability asked for is (1 − ε) + ε/C at the label and ε/C at every other class.
//!
//! The loss is that of the label plus ε/C Σ_{j≠y} (s_y − s_j), and the derivatives of the other classes are smaller by
//! ε/C; that of the label is the sum of the others with its sign changed, without a cancellation.

use super::{
    SampleLoss, SmoothLoss,
    cross_entropy::{exponentials, hessian_product},
};
use crate::{element::Element, scores::SampleScores, simd::Lanes};

/// −s_y + ln Σ_j e^{s_j} + ε/C Σ_j (s_y − s_j).
#[derive(Clone, Copy)]
pub(crate) struct SmoothedCrossEntropy {
    /// ε.
    pub(crate) smoothing: f64,
}

impl SampleLoss for SmoothedCrossEntropy {
    const SPARSE_DERIVATIVES: bool = false;

    fn curvature(self, n_classes: usize) -> f64 {
        super::CrossEntropy.curvature(n_classes)
    }

    #[inline(always)]
    fn evaluate<L: Lanes>(
        self,
        p: L::Proof,
        mut scores: impl SampleScores<L>,
        label: L,
        weight: L,
        gradient: bool,
    ) -> (L, L) {
        let zero = L::splat(p, L::Elem::default());
        let n_classes = scores.n_classes() as f64;
        let share = L::splat(p, L::Elem::from_f64(self.smoothing / n_classes));
        let n_others = L::splat(p, L::Elem::from_f64(n_classes - 1.0));

        let lowest = L::splat(p, L::Elem::from_f64(f64::NEG_INFINITY));
        let [apart] = scores.update(p, [], [label], false, |score, [], [label]| {
            // Nothing at the label itself, where it is −∞, nor where there is no class. Each product by itself, as
            // the difference may overflow.
            let apart = share * label - share * score;
            (score, [L::select(score.gt(lowest), apart, zero)])
        });
        let exponentials = exponentials(p, self, &mut scores, label, gradient);
        let scale = weight / exponentials.sum;
        let of_others = share * weight;
        if gradient {
            let [] = scores.update(p, [], [scale, of_others], true, |e, [], [scale, of_others]| {
                (e.mul_add(scale, zero - of_others), [])
            });
        }
        let derivative = n_others * of_others - exponentials.others * scale;
        (exponentials.loss + apart, derivative)
    }
}

impl SmoothLoss for SmoothedCrossEntropy {
    fn second_derivatives(self, scores: &mut [f64], label: usize) {
        super::CrossEntropy.second_derivatives(scores, label);
    }

    /// What is added to cross-entropy is linear.
    #[inline(always)]
    fn hessian_product<L: Lanes, S: SampleScores<L>>(
        self,
        p: L::Proof,
        scores: S,
        direction: &S,
        label: [L; 2],
        weight: L,
    ) -> L {
        hessian_product(p, self, scores, direction, label, weight)
    }
}
