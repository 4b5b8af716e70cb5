//! The multiclass hinge loss of Crammer and Singer (2001): the class that comes closest to the label's score, or
//! exceeds it most, adds its margin violation to the loss, and one to its own derivative. Of several such classes the
//! first one does, so that the subgradient does not depend on how the scores are stored.

use super::SampleLoss;
use crate::{element::Element, scores::SampleScores, simd::Lanes};

/// max(0, max_{j≠y} s_j − s_y + Δ).
#[derive(Clone, Copy)]
pub(crate) struct CrammerSinger {
    /// Δ.
    pub(crate) margin: f64,
}

impl SampleLoss for CrammerSinger {
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
        let margin = L::splat(p, L::Elem::from_f64(self.margin));
        let max = scores.max(p, L::splat(p, L::Elem::from_f64(f64::NEG_INFINITY)));
        let violation = max - label + margin;
        // Strictly: a margin that is met exactly is met. Without another class the largest score is −∞.
        let violated = violation.gt(zero);
        let derivative = L::select(violated, weight, zero);
        if gradient {
            scores.keep_first(p, max, derivative);
        }
        (L::select(violated, violation, zero), zero - derivative)
    }
}
