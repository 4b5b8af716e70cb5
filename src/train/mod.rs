//! Solvers: what turns losses and gradients into a model.
//!
//! [`Lbfgs`] takes the whole batch at every step and converges to the optimum; [`NewtonCg`] goes on from there to
//! all digits, where the loss has no kinks; where it has some, [`DualAscent`] goes past them to the optimum, and proves
//! it; [`Sgd`] takes a minibatch at every step and is soon near it. All leave the best model they have found, and give
//! the same bits for the same input on any number of threads. [`cross_validate`] chooses λ with any of them but the last.
//!
//! ```
//! use core::ops::ControlFlow;
//! use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::Lbfgs};
//!
//! # fn main() -> Result<(), softmargin::Error> {
//! let features = [0.0_f32, 1.0, 1.0, 0.0, -1.0, 0.5, 2.0, 2.0];
//! let labels = [0, 1, 2, 1];
//! let batch = Batch::new(MatrixView::new(&features, 4, 2)?, &labels)?;
//!
//! let mut model = LinearModel::<f32>::zeros(3, 2);
//! let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
//! let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, |progress, _| {
//!     println!("{}: {}", progress.iteration, progress.objective);
//!     ControlFlow::Continue(())
//! })?;
//! assert!(summary.stop_reason.converged());
//! assert_eq!(model.predict(batch.features())?, labels);
//! # Ok(())
//! # }
//! ```

mod checkpoint;
mod cholesky;
mod cost;
mod cross_validation;
mod curvature;
mod dual;
mod gap;
mod lazy;
mod lbfgs;
mod line_search;
mod margins;
mod newton;
mod principal;
mod secants;
mod sgd;
mod shifted;
mod validation;

pub use checkpoint::{Checkpoint, Resumable, Save};
pub use cost::{Evaluate, Sums};
pub use cross_validation::{
    CrossValidated, CrossValidation, Estimate, Fold, FoldScore, cross_validate, stratified_folds,
};
pub use curvature::LearnedCurvature;
pub use dual::DualAscent;
pub(crate) use dual::{AddDual, Ascend, RowSquares};
pub use gap::optimality_gap;
pub use lbfgs::Lbfgs;
pub use newton::NewtonCg;
pub use sgd::{Schedule, Sgd};
pub use validation::{Check, EarlyStopping, PathPoint, Validated, accuracy, best_of, split};

use core::fmt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::Rng};

/// Where a solver is, as told to its callback after every iteration (of [`Lbfgs`] and [`NewtonCg`]) or epoch (of
/// [`Sgd`] and [`DualAscent`]). The callback may stop it by returning `ControlFlow::Break(())`.
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::{LinearModel, train::Progress};
///
/// /// Stops when the objective is low enough.
/// fn callback(progress: &Progress, _: &LinearModel<f32>) -> ControlFlow<()> {
///     println!("{}: {:.6}", progress.iteration, progress.objective);
///     if progress.objective < 0.1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Iterations or epochs done.
    pub iteration: usize,
    /// The objective of the whole batch, with its L2 term.
    pub objective: f64,
    /// The largest magnitude in its gradient.
    pub gradient_norm: f64,
    /// Evaluations of the loss and its gradient, of the whole batch or of a minibatch, and Hessian products.
    pub evaluations: usize,
    /// Samples in all these evaluations.
    pub samples: u64,
}

/// How a fit ended. The model it left has this objective.
///
/// ```
/// use softmargin::train::Summary;
///
/// fn report(Summary { progress, stop_reason, gap }: Summary) -> Result<String, String> {
///     let mut text = format!("{} after {} iterations", progress.objective, progress.iteration);
///     if let Some(gap) = gap {
///         text += &format!(", at most {gap:.1e} above the optimum");
///     }
///     match stop_reason {
///         reason if reason.failed() => Err(format!("the fit failed: {reason}")),
///         reason if reason.converged() => Ok(text),
///         reason => Ok(format!("{text}; stopped by {reason}, perhaps before the optimum")),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Where the solver was in the end.
    pub progress: Progress,
    /// Why it stopped there.
    pub stop_reason: StopReason,
    /// A bound on F − F*, by how much the objective is above the least there is: that of [`DualAscent`], or
    /// [`optimality_gap`]. `None` where none is known, and of a fit that failed or was interrupted.
    pub gap: Option<f64>,
}

/// Why a solver stopped. There are three kinds of reasons: the fit [converged](Self::converged); or it
/// [failed](Self::failed); or a limit ended it before it was known to have converged.
///
/// ```
/// use softmargin::train::StopReason;
///
/// let outcome = |reason: StopReason| match reason {
///     reason if reason.converged() => "the optimum, within a tolerance",
///     reason if reason.failed() => "no model to be used",
///     _ => "a model that may not be the best there is",
/// };
/// assert_eq!(outcome(StopReason::GradientTolerance), "the optimum, within a tolerance");
/// assert_eq!(outcome(StopReason::MaxIterations), "a model that may not be the best there is");
/// assert_eq!(outcome(StopReason::NoProgress), "no model to be used");
/// assert_eq!(StopReason::NoProgress.name(), "no_progress");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// No entry of the (sub)gradient exceeds the tolerance. Converged.
    GradientTolerance,
    /// A bound on how far the objective is above the least there is fell to the tolerance, relative to it. Converged.
    Gap,
    /// The objective, which is smooth, fell by less than the tolerance, relative to itself. Converged.
    RelativeDecrease,
    /// The bound on how far the objective is above the least there is hardly falls any more: as near as the digits of
    /// the element type let it come, or slowed down by a small λ.
    Stalled,
    /// All iterations or epochs that were asked for are done.
    MaxIterations,
    /// Along the search direction the objective falls no further: the precision of the element type is
    /// exhausted.
    LineSearch,
    /// The loss has kinks, as the hinge, and the objective fell by less than the tolerance, or no further
    /// along the search direction. That may be the optimum, or a kink on the way to it.
    Kink,
    /// The callback asked for it.
    Interrupted,
    /// The loss of held-out samples did not improve for as long as [`EarlyStopping`] is patient.
    EarlyStopping,
    /// The objective is no longer finite, or higher than at the start, however short the steps. Failed.
    Diverged,
    /// No model was found that is better than the first one, which was not optimal. Failed.
    NoProgress,
}

impl StopReason {
    /// Whether a tolerance was met, which shows the model to be near the optimum.
    pub fn converged(self) -> bool {
        matches!(self, Self::Gap | Self::GradientTolerance | Self::RelativeDecrease)
    }

    /// Whether the fit did not do what it was to do.
    pub fn failed(self) -> bool {
        matches!(self, Self::Diverged | Self::NoProgress)
    }

    /// In snake case, for logs and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Stalled => "stalled",
            Self::GradientTolerance => "gradient_tolerance",
            Self::RelativeDecrease => "relative_decrease",
            Self::MaxIterations => "max_iterations",
            Self::LineSearch => "line_search",
            Self::Kink => "kink",
            Self::Interrupted => "interrupted",
            Self::EarlyStopping => "early_stopping",
            Self::Diverged => "diverged",
            Self::NoProgress => "no_progress",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The largest entry of the gradient of what counts as an optimum, if nothing else is asked for.
const GRADIENT_TOLERANCE: f64 = 1e-5;

/// An error unless a number is in its range.
fn check(
    what: &'static str,
    value: f64,
    in_range: bool,
    rule: &'static str,
) -> Result<(), crate::Error> {
    if in_range { Ok(()) } else { Err(crate::Error::Setting { what, value, rule }) }
}

/// An error if the slope of the L2 term is beyond the range of the element type, for all weights but the smallest.
fn check_l2<T: crate::Scalar>(l2: f64) -> Result<(), crate::Error> {
    let legal = T::from_f64(2.0 * l2).is_finite();
    // What is no number at all is for the evaluation to tell.
    check("L2 coefficient λ", l2, legal || !l2.is_finite(), "in the range of the element type")
}

/// Σ aᵢ bᵢ, in as many sums as there are lanes.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 16];
    for (a, b) in a.chunks(sums.len()).zip(b.chunks(sums.len())) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// Takes out of a step what it adds to the scores of all classes alike, on which no loss of several rows depends. The
/// gradient has nothing of it but rounding, which the inverse of the curvature, where there is none, would make large. The L2
/// term, if there is one, depends on that of the weights.
fn center_classes(step: &mut [f64], n_classes: usize, objective: crate::Objective) {
    if objective.loss().is_binary() {
        return;
    }
    let n_weights = step.len() - n_classes;
    let (weights, bias) = step.split_at_mut(n_weights);
    let n_features = if objective.l2() > 0.0 { 0 } else { n_weights / n_classes };
    let center = |values: &mut [f64], first: usize, stride: usize| {
        let places = (0..n_classes).map(|class| first + class * stride);
        let mean = places.clone().map(|i| values[i]).sum::<f64>() / n_classes as f64;
        places.for_each(|i| values[i] -= mean);
    };
    (0..n_features).for_each(|feature| center(weights, feature, n_features));
    center(bias, 0, 1);
}

/// The largest magnitude.
fn max_norm<T: crate::Scalar>(values: &[T]) -> f64 {
    values.iter().fold(0.0, |max, value| value.to_f64().abs().max(max))
}

/// Fisher and Yates' shuffle.
fn shuffle(rows: &mut [u32], random: &mut Xoshiro256PlusPlus) {
    for i in (1..rows.len()).rev() {
        // The high half of a product with a random number: a multiple of it, hardly biased.
        let j = (u128::from(random.next_u64()) * (i as u128 + 1)) >> 64;
        rows.swap(i, j as usize);
    }
}

/// Numbers between −1 and 1, for tests.
#[cfg(test)]
fn random(seed: u64) -> impl FnMut() -> f32 {
    use rand_xoshiro::rand_core::SeedableRng;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    move || (random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
}
