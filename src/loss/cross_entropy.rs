//! Softmax cross-entropy, shifted by the largest score of each sample, which makes it safe from
//! overflow (Blanchard, Higham & Higham, "Accurately computing the log-sum-exp and softmax
//! functions", 2021).
//!
//! With m the largest score and R the sum of e^{s_j − m} over the classes other than the label, the
//! loss is m − s_y + ln(R + e^{s_y − m}). Where the label has the largest score itself this is
//! ln(1 + R), exact to the last bits however small R is; elsewhere R is at least 1, and
//! R − 1 + e^{s_y − m} is what is added to 1. The derivative at the label is −R / (R + e^{s_y − m}),
//! without a cancellation.

use super::{Logistic, SampleLoss, SmoothLoss};
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
        // Of two classes it is the logistic loss, with fewer exponentials.
        if scores.n_classes() == 2 {
            return Logistic.evaluate(p, scores, label, weight, gradient);
        }
        let zero = L::splat(p, L::Elem::default());
        let exponentials = exponentials(p, self, &mut scores, label, gradient);
        let scale = weight / exponentials.sum;
        if gradient {
            // Subnormal derivatives are of no consequence, but would slow down the product to come.
            let tiny = L::splat(p, L::Elem::MIN_POSITIVE);
            let [] = scores.update(p, [], [scale], true, |e, [], [scale]| {
                let ds = e * scale;
                (L::select(tiny.gt(ds), zero, ds), [])
            });
        }
        (exponentials.loss, zero - exponentials.others * scale)
    }
}

impl SmoothLoss for CrossEntropy {
    /// p (1 − p).
    fn second_derivatives(self, scores: &mut [f64], _: usize) {
        let max = scores.iter().fold(f64::NEG_INFINITY, |max, score| max.max(*score));
        scores.iter_mut().for_each(|score| *score = (*score - max).exp());
        let sum: f64 = scores.iter().sum();
        scores.iter_mut().for_each(|e| *e = *e / sum * (1.0 - *e / sum));
    }

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

/// p_k (u_k − Σ_j p_j u_j) with u_k = t_k − t_y, which cancels as little as can be: nothing where the label is sure.
/// With the type of the loss, so that each has closures of its own.
#[inline(always)]
pub(super) fn hessian_product<L: Lanes, S: SampleScores<L>, F>(
    p: L::Proof,
    _: F,
    mut scores: S,
    direction: &S,
    [label, of_direction]: [L; 2],
    weight: L,
) -> L {
    let zero = L::splat(p, L::Elem::default());
    let max = scores.max(p, label);
    // Nothing where e is zero: at the label itself, and where there is no class.
    let parameters = [max, of_direction];
    let [others, moved] =
        scores.update(p, [direction], parameters, true, |score, [t], parameters| {
            let [max, of_direction] = parameters;
            let e = math::exp(p, score - max);
            (e, [e, L::select(e.gt(zero), e * (t - of_direction), zero)])
        });
    let e_label = math::exp(p, label - max);
    let sum = others + e_label;
    let (mean, scale) = (moved / sum, weight / sum);
    let parameters = [of_direction + mean, scale];
    let [] = scores.update(p, [direction], parameters, true, |e, [t], [center, scale]| {
        (L::select(e.gt(zero), e * scale * (t - center), zero), [])
    });
    zero - e_label * scale * mean
}

/// e^{s_j − m} of a vector of samples, with m the largest score of each.
pub(super) struct Exponentials<L> {
    /// Their sum over the classes other than the label.
    pub(super) others: L,
    /// Their sum over all classes.
    pub(super) sum: L,
    /// The loss.
    pub(super) loss: L,
}

/// Evaluates the loss; if `replace`, replaces the scores, other than the labels', by their exponentials. With the
/// type of the loss, so that each has a closure of its own.
#[inline(always)]
pub(super) fn exponentials<L: Lanes, F>(
    p: L::Proof,
    _: F,
    scores: &mut impl SampleScores<L>,
    label: L,
    replace: bool,
) -> Exponentials<L> {
    let one = L::splat(p, L::Elem::from_f64(1.0));
    let max = scores.max(p, label);
    let [others] = scores.update(p, [], [max], replace, |score, [], [max]| {
        let e = math::exp(p, score - max);
        (e, [e])
    });
    let e_label = math::exp(p, label - max);
    let label_is_less = max.gt(label);
    let over_one = L::select(label_is_less, others - one + e_label, others);
    let loss = max - label + math::ln_1p(p, over_one);
    Exponentials { others, sum: others + e_label, loss }
}
