//! The multiclass hinge loss of Weston and Watkins (1999): every class whose score comes within the
//! margin of the label's score adds its margin violation to the loss, and one to its own derivative.

use super::SampleLoss;
use crate::{element::Element, scores::SampleScores, simd::Lanes};

/// Σ_{j≠y} max(0, s_j − s_y + Δ).
#[derive(Clone, Copy)]
pub(crate) struct Hinge {
    /// Δ.
    pub(crate) margin: f64,
}

impl SampleLoss for Hinge {
    const SPARSE_DERIVATIVES: bool = true;

    fn curvature(self, _: usize) -> f64 {
        1.0
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
        let margin = L::splat(p, L::Elem::from_f64(self.margin));
        let [loss, violations] =
            scores.update(p, [], [label, weight], gradient, |score, [], [label, weight]| {
                let violation = score - label + margin;
                // Strictly: a margin that is met exactly is met. The label's own violation is −∞.
                let violated = violation.gt(zero);
                let of = |value: L| L::select(violated, value, zero);
                (of(weight), [of(violation), of(one)])
            });
        (loss, zero - violations * weight)
    }
}
