//! From scores to losses and their derivatives, in place.
//!
//! Both losses treat the label's own class apart: cross-entropy because 1 − p_y is a sum of the other
//! probabilities that must not cancel, the hinge because its sum leaves the label out. So the score
//! of the label is taken out of its row before, with −∞ left in its place, which no maximum, no
//! exponential and no violated margin takes notice of; and its derivative is put in afterwards.

mod cross_entropy;
mod hinge;

pub(crate) use cross_entropy::CrossEntropy;
pub(crate) use hinge::Hinge;

use crate::{Scalar, simd::Lanes};

/// What lies in the lanes of a vector of scores.
pub(crate) trait Direction {
    /// The largest of the lanes that belong to a sample, in each of them.
    fn max<L: Lanes>(proof: L::Proof, lanes: L) -> L;
    /// The sum of the lanes that belong to a sample, in each of them.
    fn sum<L: Lanes>(proof: L::Proof, lanes: L) -> L;
}

/// Each lane belongs to another sample.
pub(crate) struct SampleALane;

/// All lanes belong to one sample.
pub(crate) struct ClassALane;

impl Direction for SampleALane {
    #[inline(always)]
    fn max<L: Lanes>(_: L::Proof, lanes: L) -> L {
        lanes
    }
    #[inline(always)]
    fn sum<L: Lanes>(_: L::Proof, lanes: L) -> L {
        lanes
    }
}

impl Direction for ClassALane {
    #[inline(always)]
    fn max<L: Lanes>(proof: L::Proof, lanes: L) -> L {
        L::splat(proof, lanes.max_lane())
    }
    #[inline(always)]
    fn sum<L: Lanes>(proof: L::Proof, lanes: L) -> L {
        L::splat(proof, lanes.sum_lanes())
    }
}

/// The loss of one vector of scores after the other.
pub(crate) trait SampleLoss: Copy + Send + Sync {
    /// Reads the first `width` scores of each `stride` of `scores`, whole vectors, where those of the labels
    /// are −∞ and stand in `label` instead. Returns the losses, not yet weighted, and the derivatives by
    /// the scores of the labels, weighted; with `gradient`, leaves the weighted derivatives by the other
    /// scores in place of the scores, and 0 in those of the labels.
    #[allow(clippy::too_many_arguments, reason = "a matrix with its shape, and a sample")]
    fn evaluate<L: Lanes, D: Direction>(
        self,
        proof: L::Proof,
        scores: &mut [L::Elem],
        stride: usize,
        width: usize,
        label: L,
        weight: L,
        gradient: bool,
    ) -> (L, L);
}

/// The samples of a block: one place in each slice a sample.
pub(crate) struct Samples<'a, T> {
    /// The scores, those of the labels taken out; to be replaced by the derivatives.
    pub(crate) scores: &'a mut [T],
    /// The scores of the labels; to be replaced by the derivatives by them.
    pub(crate) labels: &'a mut [T],
    /// The sample weights.
    pub(crate) weights: &'a [T],
    /// To be filled with the losses, not yet weighted.
    pub(crate) losses: &'a mut [T],
}

impl<T: Scalar> Samples<'_, T> {
    /// Evaluates a loss. The scores of class k begin at `scores[k * stride]`, one after the other; there
    /// are samples for whole vectors.
    #[inline(always)]
    pub(crate) fn evaluate_by_class<L: Lanes<Elem = T>>(
        self,
        proof: L::Proof,
        loss: impl SampleLoss,
        stride: usize,
        gradient: bool,
    ) {
        let Self { scores, labels, weights, losses } = self;
        for first in (0..labels.len()).step_by(L::LANES) {
            let label = L::from_slice(proof, &labels[first..]);
            let weight = L::from_slice(proof, &weights[first..]);
            let scores = &mut scores[first..];
            let (sample_losses, derivatives) = loss.evaluate::<L, SampleALane>(
                proof,
                scores,
                stride,
                L::LANES,
                label,
                weight,
                gradient,
            );
            sample_losses.write_to(&mut losses[first..]);
            derivatives.write_to(&mut labels[first..]);
        }
    }

    /// Evaluates a loss. The scores of sample i are the first `width` of each `stride` of
    /// `scores[i * width..]`.
    #[inline(always)]
    pub(crate) fn evaluate_by_sample<L: Lanes<Elem = T>>(
        self,
        proof: L::Proof,
        loss: impl SampleLoss,
        stride: usize,
        width: usize,
        gradient: bool,
    ) {
        let Self { scores, labels, weights, losses } = self;
        let mut lanes = [T::default(); 16];
        for i in 0..labels.len() {
            let label = L::splat(proof, labels[i]);
            let weight = L::splat(proof, weights[i]);
            let scores = &mut scores[i * width..];
            let (sample_losses, derivatives) = loss
                .evaluate::<L, ClassALane>(proof, scores, stride, width, label, weight, gradient);
            sample_losses.write_to(&mut lanes);
            losses[i] = lanes[0];
            derivatives.write_to(&mut lanes);
            labels[i] = lanes[0];
        }
    }
}
