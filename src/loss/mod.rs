//! From scores to losses and their derivatives, in place: the epilogue of the first product.
//!
//! Every loss treats the label's own class apart: cross-entropy because 1 − p_y is a sum of the other
//! probabilities that must not cancel, the hinges because their sums leave the label out. So the score of the
//! label is exchanged for −∞ before, which contributes nothing to a maximum, to a sum of exponentials or to
//! violated margins, and its derivative is put in its place afterwards.
//!
//! A binary loss is that of two classes, of which class 0 has no row: its score is 0. So the score of the label is
//! exchanged for this 0, if the label is class 1, and else is 0 itself. Either way the row then holds the score of the other
//! class, and after the second exchange the derivative by the score of the row.
//!
//! A loss is evaluated for as many samples as there are lanes, one a lane; [`SampleScores`] knows how their
//! scores are stored.

mod crammer_singer;
mod cross_entropy;
mod hinge;
mod logistic;
mod smoothed;
mod squared_hinge;
mod targets;

pub(crate) use targets::Targets;

use crate::{
    Loss, Objective,
    element::Element,
    scores::{SampleScores, ScoreBlock},
    simd::{Lanes, Run, math},
};
use crammer_singer::CrammerSinger;
use cross_entropy::CrossEntropy;
use hinge::Hinge;
use logistic::Logistic;
use smoothed::SmoothedCrossEntropy;
use squared_hinge::SquaredHinge;

/// Defines the macro `with_loss!(objective, kernel => body)`, which evaluates `body` with the kernel of the loss of
/// an [`Objective`], and `with_smooth_loss!(objective, kernel => body, else other)`, which evaluates `other` if the
/// loss has kinks.
macro_rules! losses {
    (
        $d:tt
        kinked { $($kinked:pat => $of_kinked:expr;)* }
        smooth { $($smooth:pat => $of_smooth:expr;)* }
    ) => {
        macro_rules! with_loss {
            ($d objective:expr, $d kernel:ident => $d body:expr) => {
                match ($d objective.loss(), $d objective.label_smoothing()) {
                    $($kinked => {
                        let $d kernel = $of_kinked;
                        $d body
                    })*
                    $($smooth => {
                        let $d kernel = $of_smooth;
                        $d body
                    })*
                }
            };
        }

        macro_rules! with_smooth_loss {
            ($d objective:expr, $d kernel:ident => $d body:expr, else $d other:expr) => {
                match ($d objective.loss(), $d objective.label_smoothing()) {
                    $($smooth => {
                        let $d kernel = $of_smooth;
                        $d body
                    })*
                    _ => $d other,
                }
            };
        }
    };
}

// The list of losses, each by its parameters and the smoothing of labels. Those that are smooth have continuous
// derivatives and implement `SmoothLoss`.
losses! { $
    kinked {
        (Loss::Hinge { margin } | Loss::BinaryHinge { margin }, _) => Hinge { margin };
        (Loss::CrammerSinger { margin }, _) => CrammerSinger { margin };
    }
    smooth {
        (Loss::SquaredHinge { margin } | Loss::BinarySquaredHinge { margin }, _) => {
            SquaredHinge { margin }
        };
        (Loss::Logistic, _) => Logistic;
        (Loss::CrossEntropy, 0.0) => CrossEntropy;
        (Loss::CrossEntropy, smoothing) => SmoothedCrossEntropy { smoothing };
    }
}

/// A loss of a vector of samples.
trait SampleLoss: Copy {
    /// Whether most derivatives may be exactly zero, so that it pays to skip them.
    const SPARSE_DERIVATIVES: bool;

    /// How large its second derivatives by the scores are, about, for steps of a length that suits them. A loss that
    /// has none but at its kinks says 1: its steps move a score from one side of a kink to the other.
    fn curvature(self, n_classes: usize) -> f64;

    /// Reads the scores, where those of the labels are −∞ and stand in `label` instead. Returns the losses,
    /// not yet weighted, and the derivatives with respect to the scores of the labels, weighted; if
    /// `gradient`, replaces the scores by the weighted derivatives, and those of the labels by anything finite.
    fn evaluate<L: Lanes>(
        self,
        proof: L::Proof,
        scores: impl SampleScores<L>,
        label: L,
        weight: L,
        gradient: bool,
    ) -> (L, L);
}

/// A loss whose derivatives are continuous, and have derivatives almost everywhere.
trait SmoothLoss: SampleLoss {
    /// Replaces the scores of a sample, of all classes, by the second derivatives of its loss, those of each class by its
    /// own score: the diagonal of the Hessian.
    fn second_derivatives(self, scores: &mut [f64], label: usize);

    /// Replaces the scores, where those of the labels are −∞, by the products of the weighted Hessians with what stands
    /// in the same places of `direction` (0 in those of the labels), and those of the labels by anything finite. Returns
    /// the products at the labels, whose score and whose place in the direction are `label`.
    fn hessian_product<L: Lanes, S: SampleScores<L>>(
        self,
        proof: L::Proof,
        scores: S,
        direction: &S,
        label: [L; 2],
        weight: L,
    ) -> L;
}

impl Objective {
    /// Whether most derivatives may be exactly zero, so that it pays to skip them.
    pub(crate) fn has_sparse_derivatives(self) -> bool {
        fn of<F: SampleLoss>(_: F) -> bool {
            F::SPARSE_DERIVATIVES
        }
        with_loss!(self, loss => of(loss))
    }

    /// How large the second derivatives of the loss by the scores are, about.
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only solvers ask"))]
    pub(crate) fn curvature(self, n_classes: usize) -> f64 {
        with_loss!(self, loss => loss.curvature(n_classes))
    }

    /// Replaces the scores of a sample by the second derivatives of a smooth loss, those of each class by its own
    /// score.
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only solvers ask"))]
    pub(crate) fn second_derivatives(self, scores: &mut [f64], label: usize) {
        let binary = self.loss().is_binary();
        let mut of_two_classes = [0.0, scores[0]];
        let of_classes = if binary { &mut of_two_classes } else { &mut *scores };
        with_smooth_loss!(
            self,
            loss => loss.second_derivatives(of_classes, label),
            else of_classes.fill(0.0)
        );
        if binary {
            scores[0] = of_two_classes[1];
        }
    }

    /// Whether the loss has no kinks: then it has Hessian products, and solvers that need no more than gradients get to
    /// its optimum.
    ///
    /// ```
    /// use softmargin::Objective;
    /// assert!(Objective::squared_hinge(1.0).is_smooth() && !Objective::hinge(1.0).is_smooth());
    /// ```
    pub fn is_smooth(self) -> bool {
        with_smooth_loss!(self, _loss => true, else false)
    }
}

/// Evaluates the losses of the samples of a block, into its targets. If `gradient`, leaves the derivatives in
/// place of the scores.
#[inline(always)]
pub(crate) fn epilogue<L: Lanes, S: ScoreBlock<Elem = L::Elem>>(
    proof: L::Proof,
    objective: Objective,
    scores: &mut S,
    targets: &mut Targets<L::Elem>,
    gradient: bool,
) {
    scores.pad::<L>();
    targets.swap_labels::<L>(proof, scores);
    with_loss!(objective, loss => L::call(proof, Epilogue { loss, scores, targets, gradient }));
    if gradient {
        targets.swap_labels::<L>(proof, scores);
    }
}

/// Replaces the scores of a block by the products of the samples' Hessians, of a smooth loss, with the scores along a
/// direction. An error is the first sample whose product is not finite.
#[inline(always)]
pub(crate) fn hessian_product<L: Lanes, S: ScoreBlock<Elem = L::Elem>>(
    proof: L::Proof,
    objective: Objective,
    scores: &mut S,
    direction: &mut S,
    targets: &mut Targets<L::Elem>,
) -> Result<(), usize> {
    scores.pad::<L>();
    direction.pad::<L>();
    targets.take_direction::<L>(proof, direction);
    targets.swap_labels::<L>(proof, scores);
    with_smooth_loss!(
        objective,
        loss => L::call(proof, Product { loss, scores, direction, targets }),
        else unreachable!("a loss with kinks has no Hessian")
    );
    let result = targets.check_derivatives();
    targets.swap_labels::<L>(proof, scores);
    result
}

/// Replaces the scores of a block, which must be padded, by their softmax: e^{s_k − m} / Σ e^{s_j − m}, with m the
/// largest score of each sample.
#[inline(always)]
pub(crate) fn softmax<L: Lanes, S: ScoreBlock<Elem = L::Elem>>(p: L::Proof, block: &mut S) {
    let lowest = L::splat(p, L::Elem::from_f64(f64::NEG_INFINITY));
    for first in (0..block.n_samples()).step_by(L::LANES) {
        let mut scores = block.vector::<L>(first);
        let max = scores.max(p, lowest);
        let [sum] = scores.update(p, [], [max], true, |score, [], [max]| {
            let e = math::exp(p, score - max);
            (e, [e])
        });
        let [] = scores.update(p, [], [sum], true, |e, [], [sum]| (e / sum, []));
    }
}

/// A loss of a block. The scores of the labels have been taken out; they are replaced by derivatives.
struct Epilogue<'a, F, S: ScoreBlock> {
    loss: F,
    scores: &'a mut S,
    targets: &'a mut Targets<S::Elem>,
    gradient: bool,
}

impl<T: Element, F: SampleLoss, S: ScoreBlock<Elem = T>> Run<T> for Epilogue<'_, F, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { loss, scores, targets, gradient } = self;
        let (label_scores, weights, losses) = targets.vectors();
        for first in (0..scores.n_samples()).step_by(L::LANES) {
            let label = L::from_slice(proof, &label_scores[first..]);
            let weight = L::from_slice(proof, &weights[first..]);
            let scores = scores.vector::<L>(first);
            let (sample_losses, derivatives) =
                loss.evaluate::<L>(proof, scores, label, weight, gradient);
            sample_losses.write_to(&mut losses[first..]);
            derivatives.write_to(&mut label_scores[first..]);
        }
    }
}

/// The products of a block. The scores of the labels have been taken out of those of the model.
struct Product<'a, F, S: ScoreBlock> {
    loss: F,
    scores: &'a mut S,
    direction: &'a mut S,
    targets: &'a mut Targets<S::Elem>,
}

impl<T: Element, F: SmoothLoss, S: ScoreBlock<Elem = T>> Run<T> for Product<'_, F, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { loss, scores, direction, targets } = self;
        for first in (0..scores.n_samples()).step_by(L::LANES) {
            let ([label, of_direction], weight) = targets.label_vectors::<L>(proof, first);
            let (scores, direction) = (scores.vector::<L>(first), direction.vector::<L>(first));
            let label = [label, of_direction];
            loss.hessian_product::<L, _>(proof, scores, &direction, label, weight)
                .write_to(targets.derivatives(first));
        }
    }
}
