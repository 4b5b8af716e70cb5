//! Softmax cross-entropy, shifted by the largest score of each sample, which makes it safe from
//! overflow (Blanchard, Higham & Higham, "Accurately computing the log-sum-exp and softmax
//! functions", 2021).
//!
//! With m the largest score and R the sum of e^{s_j − m} over the classes other than the label, the
//! loss is m − s_y + ln(R + e^{s_y − m}). Where the label has the largest score itself this is
//! ln(1 + R), exact to the last bits however small R is; elsewhere R is at least 1, and
//! R − 1 + e^{s_y − m} is what is added to 1. The derivative at the label is −R / (R + e^{s_y − m}),
//! without a cancellation.

use super::SampleLoss;
use crate::{
    element::Element,
    scores::SampleScores,
    simd::{Lanes, math},
};

/// −s_y + ln Σ_j e^{s_j}.
#[derive(Clone, Copy)]
pub(crate) struct CrossEntropy;

impl SampleLoss for CrossEntropy {
    const SPARSE_DERIVATIVES: bool = false;
    const SMOOTH: bool = true;

    /// p (1 − p) of two equal probabilities, twice; of more classes that are equally likely, 1 / C.
    fn curvature(self, n_classes: usize) -> f64 {
        1.0 / n_classes.max(2) as f64
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

        let max = scores.max(p, label);
        let [others] = scores.update(p, [max], gradient, |score, [max]| {
            let e = math::exp(p, score - max);
            (e, [e])
        });
        let e_label = math::exp(p, label - max);
        let label_is_less = max.gt(label);
        let over_one = L::select(label_is_less, others - one + e_label, others);
        let loss = max - label + math::ln_1p(p, over_one);

        let scale = weight / (others + e_label);
        if gradient {
            // Subnormal derivatives are of no consequence, but would slow down the product to come.
            let tiny = L::splat(p, L::Elem::MIN_POSITIVE);
            let [] = scores.update(p, [scale], true, |e, [scale]| {
                let ds = e * scale;
                (L::select(tiny.gt(ds), zero, ds), [])
            });
        }
        (loss, zero - others * scale)
    }
}
