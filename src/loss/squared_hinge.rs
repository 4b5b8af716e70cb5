//! The squared multiclass hinge loss: every class whose score comes within the margin of the label's score adds the
//! square of its margin violation to the loss, and twice the violation to its own derivative.

use super::{SampleLoss, SmoothLoss};
use crate::{element::Element, scores::SampleScores, simd::Lanes};

/// Σ_{j≠y} max(0, s_j − s_y + Δ)².
#[derive(Clone, Copy)]
pub(crate) struct SquaredHinge {
    /// Δ.
    pub(crate) margin: f64,
}

impl SampleLoss for SquaredHinge {
    const SPARSE_DERIVATIVES: bool = true;

    fn curvature(self, _: usize) -> f64 {
        2.0
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
        let margin = L::splat(p, L::Elem::from_f64(self.margin));
        let twice = weight + weight;
        let [loss, violations] =
            scores.update(p, [], [label, twice], gradient, |score, [], [label, twice]| {
                // None at the label itself, where it is −∞.
                let violation = (score - label + margin).max(zero);
                (violation * twice, [violation * violation, violation])
            });
        (loss, zero - violations * twice)
    }
}

impl SmoothLoss for SquaredHinge {
    /// 2 for each violation, and as much again for the label.
    fn second_derivatives(self, scores: &mut [f64], label: usize) {
        let bound = scores[label] - self.margin;
        scores[label] = f64::NEG_INFINITY;
        scores.iter_mut().for_each(|score| *score = if *score > bound { 2.0 } else { 0.0 });
        scores[label] = scores.iter().sum();
    }

    /// 2 (t_k − t_y) for each violation.
    #[inline(always)]
    fn hessian_product<L: Lanes, S: SampleScores<L>>(
        self,
        p: L::Proof,
        mut scores: S,
        direction: &S,
        [label, of_direction]: [L; 2],
        weight: L,
    ) -> L {
        let zero = L::splat(p, L::Elem::default());
        let margin = L::splat(p, L::Elem::from_f64(self.margin));
        let parameters = [label, of_direction, weight + weight];
        let [sum] = scores.update(p, [direction], parameters, true, |score, [t], parameters| {
            let [label, of_direction, twice] = parameters;
            let violated = (score - label + margin).gt(zero);
            let product = L::select(violated, twice * (t - of_direction), zero);
            (product, [product])
        });
        zero - sum
    }
}
