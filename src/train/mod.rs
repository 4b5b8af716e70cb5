//! Solvers: what turns losses and gradients into a model.
//!
//! [`Lbfgs`] takes the whole batch at every step and converges to the optimum; [`Sgd`] takes a
//! minibatch at every step and is soon near it. Both start from the model they are given, leave in it
//! the best one they have found, and give the same bits for the same input on any number of threads.
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
//! let mut model = LinearModel::zeros(3, 2);
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

mod cholesky;
mod curvature;
mod lbfgs;
mod line_search;
mod principal;
mod secants;
mod sgd;
mod validation;

pub use lbfgs::{Evaluate, Lbfgs};
pub use sgd::{Schedule, Sgd};
pub use validation::{EarlyStopping, PathPoint, accuracy, best_of, split};

use core::fmt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::Rng};

/// Where a solver is, as told to its callback after every iteration (of [`Lbfgs`]) or epoch (of
/// [`Sgd`]). The callback may stop it by returning `ControlFlow::Break(())`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Iterations or epochs done.
    pub iteration: usize,
    /// The objective of the whole batch, with its L2 term.
    pub objective: f64,
    /// The largest magnitude in its gradient.
    pub gradient_norm: f64,
    /// Evaluations of the loss and its gradient, of the whole batch or of a minibatch.
    pub evaluations: usize,
    /// Samples in all these evaluations.
    pub samples: u64,
}

/// How a fit ended. The model it left has this objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Where the solver was in the end.
    pub progress: Progress,
    /// Why it stopped there.
    pub stop_reason: StopReason,
}

/// Why a solver stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// No entry of the gradient exceeds the tolerance.
    GradientTolerance,
    /// The objective fell by less than the tolerance, relative to itself.
    RelativeDecrease,
    /// All iterations or epochs that were asked for are done.
    MaxIterations,
    /// Along the search direction the objective falls no further: the precision of the element type is
    /// exhausted.
    LineSearch,
    /// The callback asked for it.
    Interrupted,
    /// The objective is no longer finite: the steps are too long.
    Diverged,
}

impl StopReason {
    /// Whether a tolerance was met.
    pub fn converged(self) -> bool {
        matches!(self, Self::GradientTolerance | Self::RelativeDecrease)
    }

    /// In snake case, for logs and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradientTolerance => "gradient_tolerance",
            Self::RelativeDecrease => "relative_decrease",
            Self::MaxIterations => "max_iterations",
            Self::LineSearch => "line_search",
            Self::Interrupted => "interrupted",
            Self::Diverged => "diverged",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
