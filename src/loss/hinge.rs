//! The multiclass hinge loss of Weston and Watkins (1999): every class whose score comes within the
//! margin of the label's score adds what it lacks to the loss, and one to its own derivative.

use super::{Direction, SampleLoss};
use crate::{Scalar, simd::Lanes};

/// Σ_{j≠y} max(0, s_j − s_y + Δ).
#[derive(Clone, Copy)]
pub(crate) struct Hinge {
    /// Δ.
    pub(crate) margin: f64,
}

impl SampleLoss for Hinge {
    #[inline(always)]
    fn evaluate<L: Lanes, D: Direction>(
        self,
        p: L::Proof,
        scores: &mut [L::Elem],
        stride: usize,
        width: usize,
        label: L,
        weight: L,
        gradient: bool,
    ) -> (L, L) {
        let zero = L::splat(p, L::Elem::default());
        let margin = L::splat(p, L::Elem::from_f64(self.margin));
        let one = L::splat(p, L::Elem::from_f64(1.0));
        let (mut loss, mut violations) = (zero, zero);
        for scores in
            scores.chunks_mut(stride).flat_map(|part| part[..width].chunks_exact_mut(L::LANES))
        {
            let violation = L::from_slice(p, scores) - label + margin;
            // Strictly: a margin that is met exactly is met. The label's own violation is −∞.
            let violated = violation.gt(zero);
            loss = loss + L::select(violated, violation, zero);
            if gradient {
                violations = violations + L::select(violated, one, zero);
                L::select(violated, weight, zero).write_to(scores);
            }
        }
        (D::sum(p, loss), zero - D::sum(p, violations) * weight)
    }
}
