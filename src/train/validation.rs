//! What samples that are not trained on are for: to stop in time, and to choose λ.

use super::{Lbfgs, Progress, StopReason, Summary, shuffle};
use crate::{Batch, Error, Evaluator, LinearModel, Predictor, Scalar};
use core::{fmt, ops::ControlFlow};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

/// Divides the rows 0..`n` at random: a share of them to validate on (at least one, if there are two
/// rows), and the others to train on. Both are in ascending order, to be [selected](Batch::select).
///
/// Returns the rows to train on and those to validate on.
pub fn split(n: u32, share: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut rows: Vec<u32> = (0..n).collect();
    shuffle(&mut rows, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let held_out = ((f64::from(n) * share).round() as usize).clamp(1, (n as usize).max(2) - 1);
    let mut validation = rows.split_off(rows.len() - held_out.min(rows.len()));
    rows.sort_unstable();
    validation.sort_unstable();
    (rows, validation)
}

/// The share of a batch's samples for which `model` predicts the label, by their weights:
/// [`Predictor::accuracy`], with the best instruction set. One row has class 0 alone: of a binary loss, let its
/// [two rows](LinearModel::to_two_rows) predict.
///
/// # Errors
/// As [`LinearModel::predict`].
pub fn accuracy<T: Scalar>(model: &LinearModel<T>, batch: &Batch<'_, T>) -> Result<f64, Error> {
    Predictor::new(model).accuracy(batch)
}

/// Ends a fit when the loss of held-out samples has not improved for some iterations (or epochs), and leaves
/// the model that was best by it.
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::train::{self, EarlyStopping, Lbfgs};
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32).collect();
/// let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
/// let batch = Batch::<f32>::new(MatrixView::new(&features, 20, 3)?, &labels)?;
/// let (training, validation) = train::split(20, 0.25, 0);
/// let (training, validation) = (batch.select(&training)?, batch.select(&validation)?);
///
/// let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
/// let mut model = LinearModel::zeros(2, 3);
/// let validated = EarlyStopping::new(&evaluator, validation, 5).fit(
///     &mut model,
///     |model, check| Lbfgs::default().fit(&mut evaluator, model, &training, check),
///     // One's own callback, which may stop the fit, too.
///     |progress, _| {
///         println!("{}: {}", progress.iteration, progress.objective);
///         ControlFlow::Continue(())
///     },
/// )?;
/// println!("iteration {} was the best", validated.best.iteration);
/// # let mut plain = Evaluator::new(Objective::cross_entropy());
/// # assert_eq!(plain.loss(&model, &validation)?, validated.validation_loss);
/// # Ok(())
/// # }
/// ```
pub struct EarlyStopping<'a, T> {
    loss: Box<LossOf<'a, T>>,
    patience: usize,
}

/// The mean loss of the held-out samples by a model.
type LossOf<'a, T> = dyn FnMut(&LinearModel<T>) -> Result<f64, Error> + 'a;

impl<T> fmt::Debug for EarlyStopping<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyStopping").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// How a fit with [`EarlyStopping`] ended. The model it left is the best one by the validation loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validated {
    /// Where the solver was in the end, and why it stopped there: because of
    /// [`EarlyStopping`](StopReason::EarlyStopping), perhaps.
    pub summary: Summary,
    /// Where it was when it had the model that was left.
    pub best: Progress,
    /// The mean loss of the held-out samples by that model, without the L2 term.
    pub validation_loss: f64,
}

/// What a solver is to call after every iteration, as [`EarlyStopping::fit`] hands it over.
pub type Check<'a, T> = &'a mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>;

impl<'a, T: Scalar> EarlyStopping<'a, T> {
    /// Stops after `patience` iterations (at least one) without a lower loss of `validation`; the loss is that
    /// of `evaluator`, without the L2 term.
    pub fn new(evaluator: &Evaluator<T>, validation: Batch<'a, T>, patience: usize) -> Self {
        let mut evaluator = with_l2(evaluator, 0.0);
        Self::of_loss(move |model| evaluator.loss(model, &validation), patience)
    }

    /// As [`new`](Self::new), of held-out samples that are not in one batch: `loss` returns their mean loss by a model,
    /// without an L2 term. Its errors end the fit. In chunks, or with the help of other processes, it is what
    /// [`Evaluator::finish`] makes of a [`Partial`](crate::Partial) of these samples.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use softmargin::train::{EarlyStopping, Lbfgs};
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, Partial};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let features: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32).collect();
    /// let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
    /// let training = Batch::<f32>::new(MatrixView::new(&features[..30], 10, 3)?, &labels[..10])?;
    /// let held_out = features[30..].chunks(15).zip(labels[10..].chunks(5));
    ///
    /// let mut plain = Evaluator::new(Objective::cross_entropy());
    /// let (mut partial, mut gradient) = (Partial::new(2, 3), LinearModel::zeros(2, 3));
    /// let loss = |model: &LinearModel<f32>| {
    ///     partial.clear();
    ///     for (features, labels) in held_out.clone() {
    ///         let batch = Batch::new(MatrixView::new(features, 5, 3)?, labels)?;
    ///         plain.accumulate(model, &batch, &mut partial)?;
    ///     }
    ///     plain.finish(model, &partial, &mut gradient)
    /// };
    /// let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
    /// let mut model = LinearModel::zeros(2, 3);
    /// let validated = EarlyStopping::of_loss(loss, 5).fit(
    ///     &mut model,
    ///     |model, check| Lbfgs::default().fit(&mut evaluator, model, &training, check),
    ///     |_, _| ControlFlow::Continue(()),
    /// )?;
    /// assert!(validated.validation_loss < 0.7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_loss(
        loss: impl FnMut(&LinearModel<T>) -> Result<f64, Error> + 'a,
        patience: usize,
    ) -> Self {
        Self { loss: Box::new(loss), patience: patience.max(1) }
    }

    /// Runs a solver, any one that calls back after every iteration, the starting point being number 0; or after
    /// every step: only the first call of an iteration counts. `solver` is given the model and what to call
    /// back; then `on_iteration` is called, each time.
    ///
    /// The model that is left is that with the lowest validation loss of all that were checked, the first of
    /// equals; also if the solver returns an error.
    ///
    /// # Errors
    /// Those of `solver`, and those of the loss of the held-out samples.
    pub fn fit<E: From<Error>>(
        mut self,
        model: &mut LinearModel<T>,
        solver: impl FnOnce(&mut LinearModel<T>, Check<'_, T>) -> Result<Summary, E>,
        mut on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Validated, E> {
        let mut best: Option<(Progress, f64)> = None;
        let mut best_model = model.clone();
        let (mut last, mut stopped, mut error) = (None, false, None);
        let mut check = |progress: &Progress, model: &LinearModel<T>| {
            on_iteration(progress, model)?;
            if last.replace(progress.iteration) == Some(progress.iteration) {
                return ControlFlow::Continue(());
            }
            match (self.loss)(model) {
                Ok(loss) if best.is_none_or(|(_, best)| loss < best) => {
                    best = Some((*progress, loss));
                    best_model.clone_from(model);
                }
                Ok(_) => {}
                Err(failure) => {
                    error = Some(failure);
                    return ControlFlow::Break(());
                }
            }
            let since = best.map_or(0, |(best, _)| progress.iteration - best.iteration);
            stopped = since >= self.patience;
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let summary = solver(model, &mut check);
        if best.is_some() {
            model.clone_from(&best_model);
        }
        if let Some(error) = error {
            return Err(error.into());
        }
        let mut summary = summary?;
        if stopped && summary.stop_reason == StopReason::Interrupted {
            summary.stop_reason = StopReason::EarlyStopping;
        }
        let (best, validation_loss) = match best {
            Some(best) => best,
            // The solver never called back.
            None => (summary.progress, (self.loss)(model)?),
        };
        Ok(Validated { summary, best, validation_loss })
    }
}

/// The fit for one λ of a [path](Lbfgs::path).
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::train::{Lbfgs, best_of};
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32).collect();
/// let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
/// let batch = Batch::<f32>::new(MatrixView::new(&features, 20, 3)?, &labels)?;
/// let held_out: Vec<u32> = (15..20).collect();
/// let (training, validation) = (batch.select(&[0, 1, 2, 3, 4, 5, 6, 7])?, batch.select(&held_out)?);
///
/// let evaluator = Evaluator::new(Objective::cross_entropy());
/// let (l2, start) = ([1e-3, 1.0], LinearModel::zeros(2, 3));
/// let go_on = |_, _: &_, _: &_| ControlFlow::Continue(());
/// let path = Lbfgs::default().path(&evaluator, &l2, &start, &training, &validation, go_on)?;
/// for point in &path {
///     println!("λ = {}: {:.1} %", point.l2, 100.0 * point.validation_accuracy);
/// }
/// let best = best_of(&path).expect("two points");
/// # assert!(path.iter().all(|point| point.validation_accuracy <= best.validation_accuracy));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PathPoint<T> {
    /// λ.
    pub l2: f64,
    /// The model.
    pub model: LinearModel<T>,
    /// How its fit ended.
    pub summary: Summary,
    /// The share of the held-out samples that it predicts, by their weights.
    pub validation_accuracy: f64,
    /// The mean loss of the held-out samples, without the L2 term.
    pub validation_loss: f64,
}

impl Lbfgs {
    /// Fits a model for each λ in `l2`, from the largest to the smallest, each from the one before, the first
    /// from `start`; in that order. The loss and the instruction set are those of `evaluator`; its λ does not
    /// count.
    ///
    /// The one to choose is the first of those with the highest accuracy, that with the largest λ:
    /// [`best_of`].
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and those of [`Evaluator::loss`] of the held-out samples.
    pub fn path<T: Scalar>(
        &self,
        evaluator: &Evaluator<T>,
        l2: &[f64],
        start: &LinearModel<T>,
        batch: &Batch<'_, T>,
        validation: &Batch<'_, T>,
        mut on_iteration: impl FnMut(f64, &Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Vec<PathPoint<T>>, Error> {
        let (mut model, mut plain) = (start.clone(), with_l2(evaluator, 0.0));
        let mut points = Vec::with_capacity(l2.len());
        for l2 in descending(l2) {
            let on_iteration = |progress: &_, model: &_| on_iteration(l2, progress, model);
            let summary = self.fit(&mut with_l2(evaluator, l2), &mut model, batch, on_iteration)?;
            let validation_loss = plain.loss(&model, validation)?;
            let validation_accuracy = accuracy_of(evaluator, &model, validation)?;
            let model = model.clone();
            points.push(PathPoint { l2, model, summary, validation_accuracy, validation_loss });
            if summary.stop_reason == StopReason::Interrupted {
                break;
            }
        }
        Ok(points)
    }
}

/// The share of a batch's samples for which a model predicts the label: one of two rows, of a binary loss.
pub(super) fn accuracy_of<T: Scalar>(
    evaluator: &Evaluator<T>,
    model: &LinearModel<T>,
    batch: &Batch<'_, T>,
) -> Result<f64, Error> {
    let two_rows = match evaluator.objective().loss().is_binary() {
        true => Some(model.to_two_rows()?),
        false => None,
    };
    let model = two_rows.as_ref().unwrap_or(model);
    Predictor::new(model).with_isa(evaluator.isa()).accuracy(batch)
}

/// The λ of a path in the order in which they are fitted: the largest first, as its optimum is the nearest to zero.
pub(super) fn descending(l2: &[f64]) -> Vec<f64> {
    let mut descending = l2.to_vec();
    descending.sort_by(|a, b| b.total_cmp(a));
    descending
}

/// An evaluator like another one, but for its λ.
pub(super) fn with_l2<T: Scalar>(evaluator: &Evaluator<T>, l2: f64) -> Evaluator<T> {
    Evaluator::new(evaluator.objective().with_l2(l2)).with_isa(evaluator.isa())
}

/// The point with the highest validation accuracy; of equals, the one with the largest λ.
pub fn best_of<T>(path: &[PathPoint<T>]) -> Option<&PathPoint<T>> {
    let better = |a: &PathPoint<T>, b: &PathPoint<T>| {
        a.validation_accuracy.total_cmp(&b.validation_accuracy).then(a.l2.total_cmp(&b.l2))
    };
    path.iter().max_by(|a, b| better(a, b))
}
