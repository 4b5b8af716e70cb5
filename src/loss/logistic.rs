//! The logistic loss, of two classes: ln(1 + e^z), where z is the score of the other class less that of the label.
//!
//! With e = e^{−|z|} it is max(0, z) + ln(1 + e), and its derivative 1 / (1 + e) or, where z is not positive, e / (1 + e):
//! neither overflows, nor cancels. Cross-entropy of two classes is evaluated so, too: with one exponential instead of three.

use super::{CrossEntropy, SampleLoss, SmoothLoss};
use crate::{
    element::Element,
    scores::SampleScores,
    simd::{Lanes, math},
};

/// ln(1 + e^{s_j − s_y}), with j the other class.
#[derive(Clone, Copy)]
pub(crate) struct Logistic;

impl SampleLoss for Logistic {
    const SPARSE_DERIVATIVES: bool = false;

    /// p (1 − p) of two equal probabilities.
    fn curvature(self, _: usize) -> f64 {
        0.25
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
        let one = L::splat(p, L::Elem::from_f64(1.0));
        // Subnormal derivatives are of no consequence, but would slow down the product to come.
        let tiny = L::splat(p, L::Elem::MIN_POSITIVE);
        // The score of the other class, be it the only one or beside a label of −∞.
        let other = scores.max(p, L::splat(p, L::Elem::from_f64(f64::NEG_INFINITY)));
        let z = other - label;
        let e = math::exp(p, z.min(zero - z));
        let loss = z.max(zero) + math::ln_1p(p, e);
        let ds = L::select(z.gt(zero), one, e) * (weight / (one + e));
        let ds = L::select(tiny.gt(ds), zero, ds);
        if gradient {
            // In the place of the label, too: what stands there is exchanged. There are no other places, as scores of one class
            // or two are kept class by class.
            let [] = scores.update(p, [], [ds], true, |_, [], [ds]| (ds, []));
        }
        (loss, zero - ds)
    }
}

impl SmoothLoss for Logistic {
    /// p (1 − p).
    fn second_derivatives(self, scores: &mut [f64], label: usize) {
        CrossEntropy.second_derivatives(scores, label);
    }

    /// p (1 − p) (t_j − t_y).
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
        let one = L::splat(p, L::Elem::from_f64(1.0));
        let parameters = [label, of_direction, weight];
        let [product] =
            scores.update(p, [direction], parameters, true, |score, [t], parameters| {
                let [label, of_direction, weight] = parameters;
                let z = score - label;
                let e = math::exp(p, z.min(zero - z));
                let sum = one + e;
                let product = e / sum * (weight / sum) * (t - of_direction);
                (product, [product])
            });
        zero - product
    }
}
