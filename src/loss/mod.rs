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

/// The loss of as many samples at a time as there are lanes.
pub(crate) trait SampleLoss: Copy + Send + Sync {
    /// Reads the scores of class k from `scores[k * stride..]`, one sample a lane, where those of the
    /// labels are −∞ and stand in `label` instead. Returns the losses, not yet weighted, and the
    /// derivatives by the scores of the labels, weighted; with `gradient`, leaves the weighted
    /// derivatives by the other scores in place of the scores, and 0 in those of the labels.
    fn evaluate<L: Lanes>(
        self,
        proof: L::Proof,
        scores: &mut [L::Elem],
        stride: usize,
        label: L,
        weight: L,
        gradient: bool,
    ) -> (L, L);
}

/// The samples of a block: one place in each slice a sample, padded to whole vectors with samples of
/// weight 0.
pub(crate) struct Samples<'a, T> {
    /// The scores of class k from `scores[k * stride]` on, the label's taken out; to be replaced by
    /// the derivatives.
    pub(crate) scores: &'a mut [T],
    /// At least the number of samples, padding included.
    pub(crate) stride: usize,
    /// The scores of the labels; to be replaced by the derivatives by them.
    pub(crate) labels: &'a mut [T],
    /// The sample weights.
    pub(crate) weights: &'a [T],
    /// To be filled with the losses, not yet weighted.
    pub(crate) losses: &'a mut [T],
}

impl<T: Scalar> Samples<'_, T> {
    /// Evaluates a loss, vector by vector.
    #[inline(always)]
    pub(crate) fn evaluate<L: Lanes<Elem = T>>(
        self,
        proof: L::Proof,
        loss: impl SampleLoss,
        gradient: bool,
    ) {
        let Self { scores, stride, labels, weights, losses } = self;
        for first in (0..labels.len()).step_by(L::LANES) {
            let label = L::from_slice(proof, &labels[first..]);
            let weight = L::from_slice(proof, &weights[first..]);
            let (sample_losses, derivatives) =
                loss.evaluate(proof, &mut scores[first..], stride, label, weight, gradient);
            sample_losses.write_to(&mut losses[first..]);
            derivatives.write_to(&mut labels[first..]);
        }
    }
}
