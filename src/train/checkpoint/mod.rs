//! Fits that go on where others ended. A [`Checkpoint`] has all that one iteration of L-BFGS leaves to the next, but for
//! what can be computed again to the last bit: the curvature, from the data and the model that it was learnt at.

#[cfg(feature = "safetensors")]
mod file;

use super::{
    Lbfgs, Progress, Summary,
    cost::{Cost, Data, Evaluate, Point, Sums},
    curvature::{LearnedCurvature, Source},
    gap,
    secants::Secant,
    shifted,
    validation::Stopping,
};
use crate::{Batch, Error, Evaluator, LinearModel, Partial, Scalar};
use core::ops::ControlFlow;
use std::collections::VecDeque;

/// Where a fit by [`Lbfgs`] is, between two iterations. A fit that goes on from here gives the same bits as if it had
/// never been interrupted. Made by [`Resumable`], and with the feature `safetensors` written as a file and read.
///
/// Takes about 2 M + 3 models of memory, where L-BFGS remembers M differences of gradients; one more with early stopping.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint<T> {
    /// What the fit that goes on must have in common with this one, as names and values.
    pub(super) properties: Vec<(String, String)>,
    pub(super) progress: Progress,
    /// Of an evaluation.
    pub(super) n_samples: u64,
    pub(super) decreases: [f64; 2],
    /// Along the direction of the next step.
    pub(super) slope: f64,
    pub(super) model: LinearModel<T>,
    pub(super) gradient: LinearModel<T>,
    pub(super) source: Source<T>,
    pub(super) secants: VecDeque<Secant<T>>,
    /// Of a fit with early stopping.
    pub(super) stopping: Option<Stopping<T>>,
}

impl<T: Scalar> Checkpoint<T> {
    /// Where the fit was.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The part of early stopping, for a fit with such a patience.
    pub(super) fn take_stopping(&mut self, patience: usize) -> Result<Stopping<T>, Error> {
        match self.stopping.take() {
            Some(stopping) if stopping.patience == patience => Ok(stopping),
            other => Err(differs(PATIENCE, &patience_of(other.as_ref()), &patience)),
        }
    }

    /// An error for the first property that is another one now.
    pub(super) fn check_properties(&self, now: &[(String, String)]) -> Result<(), Error> {
        // Early stopping takes its part before.
        if let Some(stopping) = &self.stopping {
            return Err(differs(PATIENCE, &stopping.patience, &patience_of::<T>(None)));
        }
        let mut pairs = self.properties.iter().zip(now);
        match pairs.find(|(saved, given)| saved != given) {
            None => Ok(()),
            Some(((what, saved), (_, given))) => Err(differs(what, saved, given)),
        }
    }

    /// An error if the model of this checkpoint, evaluated now, is not what it was: of other data, for example.
    pub(super) fn check_evaluation(&self, n_samples: u64, now: &Point<T>) -> Result<(), Error> {
        if self.n_samples != n_samples {
            return Err(differs("number of samples", &self.n_samples, &n_samples));
        }
        let (saved, given) = (self.progress.objective, now.objective);
        if saved.to_bits() != given.to_bits() {
            return Err(differs("loss of its model", &saved, &given));
        }
        let entries = self.gradient.parameters().iter().zip(now.gradient.parameters());
        let mut entries = entries.map(|(saved, given)| (saved.to_f64(), given.to_f64()));
        match entries.find(|(saved, given)| saved.to_bits() != given.to_bits()) {
            Some((saved, given)) => Err(differs("gradient at its model", &saved, &given)),
            None => Ok(()),
        }
    }
}

const PATIENCE: &str = "patience of early stopping";

fn patience_of<T>(stopping: Option<&Stopping<T>>) -> String {
    stopping.map_or("none".to_owned(), |stopping| stopping.patience.to_string())
}

pub(super) fn differs(what: &str, saved: &dyn ToString, given: &dyn ToString) -> Error {
    let (saved, given) = (saved.to_string(), given.to_string());
    Error::Checkpoint { what: what.to_owned(), saved, given }
}

/// The bits of a fit are those of a version, and so is what a checkpoint has of it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What saves a fit on its way, or keeps what is to be saved.
pub type Save<'a, T> = &'a mut dyn FnMut(&Checkpoint<T>);

/// An [`Lbfgs`] fit that is saved on its way, and goes on from what was saved.
///
/// The fit that goes on must be over the same data, for the same objective, by the same solver, on the same instruction
/// set; only `max_iterations` may be another. It then ends with the same bits, of the model and of the [`Summary`], as
/// one that was never interrupted. Before it goes on, the model of the checkpoint is evaluated, which takes one more
/// evaluation than is counted, and the fit is refused unless loss and gradient are what they were. With early stopping, run
/// it by [`EarlyStopping::fit_resumable`](super::EarlyStopping::fit_resumable).
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::{
///     Batch, Evaluator, LinearModel, MatrixView, Objective,
///     train::{Checkpoint, Lbfgs, Resumable},
/// };
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features = [0.0_f32, 1.0, 1.0, 0.0, -1.0, 0.5, 2.0, 2.0];
/// let batch = Batch::new(MatrixView::new(&features, 4, 2)?, &[0, 1, 2, 1])?;
/// let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
/// let go_on = |_: &_, _: &_| ControlFlow::Continue(());
///
/// // Ends after five iterations.
/// let mut last = None;
/// let mut fit = Resumable::new(Lbfgs { max_iterations: 5, ..Lbfgs::default() });
/// let mut save = |checkpoint: &Checkpoint<f32>| last = Some(checkpoint.clone());
/// fit.save = Some(&mut save);
/// fit.fit(&mut evaluator, &mut LinearModel::zeros(3, 2), &batch, go_on)?;
///
/// let mut fit = Resumable::new(Lbfgs::default());
/// fit.from = last;
/// let mut model = LinearModel::zeros(3, 2);
/// let summary = fit.fit(&mut evaluator, &mut model, &batch, go_on)?;
///
/// let mut at_once = LinearModel::zeros(3, 2);
/// assert_eq!(summary, Lbfgs::default().fit(&mut evaluator, &mut at_once, &batch, go_on)?);
/// assert_eq!(model, at_once);
/// # Ok(())
/// # }
/// ```
pub struct Resumable<'a, T> {
    /// The solver.
    pub solver: Lbfgs,
    /// Where to go on, instead of at the model that the fit is given.
    pub from: Option<Checkpoint<T>>,
    /// Save every so many iterations, counted from the start of the first fit; 0 for the last one alone.
    pub every: usize,
    /// What saves. It is also called in the last iteration, where the callback, a tolerance or `max_iterations` ends the
    /// fit. The first iteration of a fit from zero may be one that is not saved.
    pub save: Option<Save<'a, T>>,
}

impl<T: Scalar> Resumable<'_, T> {
    /// From the start, without saving.
    pub fn new(solver: Lbfgs) -> Self {
        Self { solver, from: None, every: 0, save: None }
    }

    /// As [`Lbfgs::fit`].
    ///
    /// # Errors
    /// Those of [`Lbfgs::fit`]; [`Error::Checkpoint`] if [`from`](Self::from) is of another fit.
    pub fn fit(
        self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        self.fit_learning(None, evaluator, model, batch, on_iteration)
    }

    /// As [`fit`](Self::fit), with what other fits have learnt of the curvature.
    pub(super) fn fit_learning(
        mut self,
        mut learned: Option<&mut LearnedCurvature>,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        shifted::fit(
            evaluator,
            model,
            batch,
            on_iteration,
            &mut |evaluator, model, batch, report| {
                let mut cost = Cost::new(evaluator, Data::Batch(batch));
                let learned = learned.as_deref_mut();
                let summary = self.minimize(&mut cost, model, Some(batch), learned, report)?;
                Ok(gap::after_fit(summary, &mut cost, model))
            },
        )
    }

    /// As [`Lbfgs::fit_chunks`].
    ///
    /// # Errors
    /// Those of [`Lbfgs::fit_chunks`]; [`Error::Checkpoint`] if [`from`](Self::from) is of another fit.
    pub fn fit_chunks(
        self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        mut for_each_batch: impl FnMut(Evaluate<'_, T>) -> Result<(), Error>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let mut of_chunks = Evaluator::new(evaluator.objective()).with_isa(evaluator.isa());
        let accumulate = |sums: &Sums<'_, T>, partial: &mut Partial<T>| {
            let mut samples = 0;
            for_each_batch(&mut |batch| {
                samples += batch.n_samples() as u64;
                sums.add(&mut of_chunks, batch, partial)
            })?;
            Ok(samples)
        };
        self.fit_partials(evaluator, model, sample, accumulate, on_iteration)
    }

    /// As [`Lbfgs::fit_partials`]. The process that leads has all that is saved; the others have no part in it.
    ///
    /// # Errors
    /// Those of [`Lbfgs::fit_partials`]; [`Error::Checkpoint`] if [`from`](Self::from) is of another fit.
    pub fn fit_partials(
        self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        accumulate: impl FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        self.fit_sums(None, evaluator, model, sample, accumulate, on_iteration)
    }

    /// As [`fit_partials`](Self::fit_partials), with what other fits have learnt of the curvature.
    pub(super) fn fit_sums(
        mut self,
        learned: Option<&mut LearnedCurvature>,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        mut accumulate: impl FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let mut cost = Cost::new(evaluator, Data::Partials(&mut accumulate));
        let summary = self.minimize(&mut cost, model, sample, learned, on_iteration)?;
        Ok(gap::after_fit(summary, &mut cost, model))
    }

    /// What the bits of a fit depend on, but for the data, in the order in which they are compared.
    pub(super) fn properties(
        &self,
        evaluator: &Evaluator<T>,
        model: &LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
    ) -> Vec<(String, String)> {
        let Lbfgs { max_iterations: _, memory, gradient_tolerance, relative_decrease, curvature } =
            self.solver;
        let objective = evaluator.objective();
        let loss = objective.loss();
        let properties = [
            ("version of softmargin", VERSION.to_owned()),
            ("instruction set", evaluator.isa().name().to_owned()),
            ("number of classes", model.n_classes().to_string()),
            ("number of features", model.n_features().to_string()),
            ("loss", loss.name().to_owned()),
            ("margin", loss.margin().map_or("none".to_owned(), |margin| margin.to_string())),
            ("label smoothing", objective.label_smoothing().to_string()),
            ("L2 coefficient λ", objective.l2().to_string()),
            ("memory of L-BFGS", memory.to_string()),
            ("gradient tolerance", gradient_tolerance.to_string()),
            ("relative decrease", relative_decrease.to_string()),
            ("use of curvature", curvature.to_string()),
            (
                "number of samples to learn curvature from",
                sample.map_or(0, Batch::n_samples).to_string(),
            ),
        ];
        properties.map(|(name, value)| (name.to_owned(), value)).into()
    }
}
