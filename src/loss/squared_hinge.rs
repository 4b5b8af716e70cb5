//! The squared multiclass hinge loss: every class whose score comes within the margin of the label's score adds the
//! square of its margin violation to the loss, and twice the violation to its own derivative.

use super::SampleLoss;
use crate::{element::Element, scores::SampleScores, simd::Lanes};

/// Σ_{j≠y} max(0, s_j − s_y + Δ)².
#[derive(Clone, Copy)]
pub(crate) struct SquaredHinge {
    /// Δ.
    pub(crate) margin: f64,
}

impl SampleLoss for SquaredHinge {
    const SPARSE_DERIVATIVES: bool = true;
    const SMOOTH: bool = true;

    fn curvature(self, _: usize) -> f64 {
        2.0
    }

    /// 2 for each violation, and as much again for the label.
    fn second_derivatives(self, scores: &mut [f64], label: usize) {
        let bound = scores[label] - self.margin;
        scores[label] = f64::NEG_INFINITY;
        scores.iter_mut().for_each(|score| *score = if *score > bound { 2.0 } else { 0.0 });
        scores[label] = scores.iter().sum();
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
            scores.update(p, [label, twice], gradient, |score, [label, twice]| {
                // None at the label itself, where it is −∞.
                let violation = (score - label + margin).max(zero);
                (violation * twice, [violation * violation, violation])
            });
        (loss, zero - violations * twice)
    }
}
