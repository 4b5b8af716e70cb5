//! Softmax cross-entropy, shifted by the largest score of each sample, which makes it safe from
//! overflow (Blanchard, Higham & Higham, "Accurately computing the log-sum-exp and softmax
//! functions", 2021).
//!
//! With m the largest score and R the sum of e^{s_j − m} over the classes other than the label, the
//! loss is m − s_y + ln(R + e^{s_y − m}). Where the label has the largest score itself this is
//! ln(1 + R), exact to the last bits however small R is; elsewhere R is at least 1, and
//! R − 1 + e^{s_y − m} is what is added to 1. The derivative at the label is −R / (R + e^{s_y − m}),
//! without a cancellation.

use super::{Direction, SampleLoss};
use crate::{
    Scalar,
    simd::{Lanes, math},
};

/// −s_y + ln Σ_j e^{s_j}.
#[derive(Clone, Copy)]
pub(crate) struct CrossEntropy;

impl SampleLoss for CrossEntropy {
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
        let one = L::splat(p, L::Elem::from_f64(1.0));

        let mut max = label;
        for scores in scores.chunks(stride).flat_map(|part| part[..width].chunks_exact(L::LANES)) {
            max = L::from_slice(p, scores).max(max);
        }
        let max = D::max(p, max);

        let mut others = zero;
        for scores in
            scores.chunks_mut(stride).flat_map(|part| part[..width].chunks_exact_mut(L::LANES))
        {
            let e = math::exp(p, L::from_slice(p, scores) - max);
            others = others + e;
            if gradient {
                e.write_to(scores);
            }
        }

        let others = D::sum(p, others);

        let e_label = math::exp(p, label - max);
        let label_is_less = max.gt(label);
        let over_one = L::select(label_is_less, others - one + e_label, others);
        let loss = max - label + math::ln_1p(p, over_one);

        let scale = weight / (others + e_label);
        if gradient {
            // Subnormal derivatives are of no consequence, but would slow down the product to come.
            let tiny = L::splat(p, L::Elem::MIN_POSITIVE);
            for scores in
                scores.chunks_mut(stride).flat_map(|part| part[..width].chunks_exact_mut(L::LANES))
            {
                let ds = L::from_slice(p, scores) * scale;
                L::select(tiny.gt(ds), zero, ds).write_to(scores);
            }
        }
        (loss, zero - others * scale)
    }
}
