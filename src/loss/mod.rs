//! From scores to losses and their derivatives, in place.
//!
//! Both losses treat the label's own class apart: cross-entropy because 1 − p_y is a sum of the other
//! probabilities that must not cancel, the hinge because its sum leaves the label out. So the score
//! of the label is taken out of its row before, with −∞ left in its place, which no maximum, no
//! exponential and no violated margin takes notice of; and its derivative is put in afterwards.
//!
//! A loss is evaluated for as many samples as there are lanes, one a lane; how the scores of these
//! are stored is the business of [`Scores`].

mod cross_entropy;
mod hinge;
mod scores;

pub(crate) use cross_entropy::CrossEntropy;
pub(crate) use hinge::Hinge;
pub(crate) use scores::{ByClass, BySample, Scores};

use crate::{
    Element, Loss,
    kernel::Layout,
    simd::{Lanes, Run},
};

/// A loss of a vector of samples.
trait SampleLoss: Copy {
    /// Reads the scores, where those of the labels are −∞ and stand in `label` instead. Returns the
    /// losses, not yet weighted, and the derivatives by the scores of the labels, weighted; with
    /// `gradient`, leaves the weighted derivatives by the other scores in place of the scores, and 0 in
    /// those of the labels.
    fn evaluate<L: Lanes>(
        self,
        proof: L::Proof,
        scores: impl Scores<L>,
        label: L,
        weight: L,
        gradient: bool,
    ) -> (L, L);
}

/// The loss of the samples of a block: one place in each slice a sample, in whole vectors.
pub(crate) struct EvaluateLoss<'a, T> {
    pub(crate) loss: Loss,
    pub(crate) layout: Layout,
    /// The scores, those of the labels taken out; to be replaced by the derivatives.
    pub(crate) scores: &'a mut [T],
    /// How many samples there are; behind them come weights of zero.
    pub(crate) n_samples: usize,
    /// The scores of the labels; to be replaced by the derivatives by them.
    pub(crate) labels: &'a mut [T],
    /// The sample weights.
    pub(crate) weights: &'a [T],
    /// To be filled with the losses, not yet weighted.
    pub(crate) losses: &'a mut [T],
    /// Whether to leave derivatives.
    pub(crate) gradient: bool,
}

impl<T: Element> Run<T> for EvaluateLoss<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        match self.loss {
            Loss::Hinge { margin } => self.each_vector::<L>(proof, Hinge { margin }),
            Loss::CrossEntropy => self.each_vector::<L>(proof, CrossEntropy),
        }
    }
}

impl<T: Element> EvaluateLoss<'_, T> {
    #[inline(always)]
    fn each_vector<L: Lanes<Elem = T>>(self, p: L::Proof, loss: impl SampleLoss) {
        let Self { layout, scores, n_samples, labels, weights, losses, gradient, .. } = self;
        for first in (0..n_samples).step_by(L::LANES) {
            let label = L::from_slice(p, &labels[first..]);
            let weight = L::from_slice(p, &weights[first..]);
            let (sample_losses, derivatives) = match layout.by_class(scores, first) {
                Some(scores) => loss.evaluate::<L>(p, scores, label, weight, gradient),
                None => {
                    let scores = layout.by_sample(scores, first, n_samples);
                    loss.evaluate::<L>(p, scores, label, weight, gradient)
                }
            };
            sample_losses.write_to(&mut losses[first..]);
            derivatives.write_to(&mut labels[first..]);
        }
    }
}
