//! What samples that are not trained on are for: to stop in time, and to choose λ.

use super::{
    Checkpoint, Lbfgs, Progress, Resumable, Save, StopReason, Summary, checkpoint::differs, shuffle,
};
use crate::{Batch, Error, Evaluator, LinearModel, Predictor, Scalar};
use core::{cell::RefCell, fmt, ops::ControlFlow};
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
        self,
        model: &mut LinearModel<T>,
        solver: impl FnOnce(&mut LinearModel<T>, Check<'_, T>) -> Result<Summary, E>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Validated, E> {
        watched(&RefCell::new(Watch::new(self, None)), model, solver, on_iteration)
    }

    /// As [`fit`](Self::fit), of a fit by [`Lbfgs`] that is saved on its way and goes on from what was saved, which has the
    /// best model so far, too. It then ends with the same bits as one that was never interrupted. `solver` is to run the
    /// [`Resumable`] that it is given.
    ///
    /// Before the fit goes on, the held-out loss of the model of the checkpoint is computed once more, and has to be what
    /// it was. Saving takes as much memory as the checkpoint once more.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use softmargin::train::{self, Checkpoint, EarlyStopping, Lbfgs, Resumable};
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
    /// let mut run = |resumable: Resumable<'_, f32>| {
    ///     let (stopping, mut model) =
    ///         (EarlyStopping::new(&evaluator, validation, 5), LinearModel::zeros(2, 3));
    ///     let validated = stopping.fit_resumable(
    ///         resumable,
    ///         &mut model,
    ///         |resumable, model, check| resumable.fit(&mut evaluator, model, &training, check),
    ///         |_, _| ControlFlow::Continue(()),
    ///     )?;
    ///     Ok::<_, softmargin::Error>((validated, model))
    /// };
    /// // Ends after four iterations.
    /// let mut last = None;
    /// let mut save = |checkpoint: &Checkpoint<f32>| last = Some(checkpoint.clone());
    /// let mut resumable = Resumable::new(Lbfgs { max_iterations: 4, ..Lbfgs::default() });
    /// resumable.save = Some(&mut save);
    /// run(resumable)?;
    ///
    /// let mut resumable = Resumable::new(Lbfgs::default());
    /// resumable.from = last;
    /// assert_eq!(run(resumable)?, run(Resumable::new(Lbfgs::default()))?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`Error::Checkpoint`] if the checkpoint is of a fit without early stopping, with another
    /// patience, or with other held-out samples. The model is as it was then.
    pub fn fit_resumable<E: From<Error>>(
        self,
        resumable: Resumable<'_, T>,
        model: &mut LinearModel<T>,
        solver: impl FnOnce(Resumable<'_, T>, &mut LinearModel<T>, Check<'_, T>) -> Result<Summary, E>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Validated, E> {
        let Resumable { solver: lbfgs, mut from, every, save } = resumable;
        let resumed = match &mut from {
            Some(checkpoint) => Some(checkpoint.take_stopping(self.patience)?),
            None => None,
        };
        let watch = RefCell::new(Watch::new(self, resumed));
        let mut save = save.map(|save| {
            let watch = &watch;
            move |checkpoint: &Checkpoint<T>| {
                let Watch { known: Some(known), error: None, .. } = &*watch.borrow() else {
                    // The last model is not validated: what was saved before stays.
                    return;
                };
                save(&Checkpoint { stopping: Some(known.clone()), ..checkpoint.clone() });
            }
        });
        let save = save.as_mut().map(|save| save as Save<'_, T>);
        let resumable = Resumable { solver: lbfgs, from, every, save };
        let solver = |model: &mut _, check: Check<'_, T>| solver(resumable, model, check);
        watched(&watch, model, solver, on_iteration)
    }
}

/// What early stopping leaves from one iteration to the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stopping<T> {
    pub(super) patience: usize,
    /// Where the solver was when it had the best model.
    pub(super) best: Progress,
    pub(super) best_model: LinearModel<T>,
    /// The loss of the held-out samples by it.
    pub(super) best_loss: f64,
    /// And by the last model.
    pub(super) last_loss: f64,
}

/// Early stopping under way.
struct Watch<'a, T> {
    loss: Box<LossOf<'a, T>>,
    patience: usize,
    /// What the fit goes on from, until that is known to be of the same held-out samples.
    resumed: Option<Stopping<T>>,
    known: Option<Stopping<T>>,
    /// The iteration that was checked last.
    last: Option<usize>,
    error: Option<Error>,
}

impl<'a, T: Scalar> Watch<'a, T> {
    fn new(stopping: EarlyStopping<'a, T>, resumed: Option<Stopping<T>>) -> Self {
        let EarlyStopping { loss, patience } = stopping;
        Self { loss, patience, resumed, known: None, last: None, error: None }
    }

    /// Checks a model, unless it was in this iteration already.
    fn check(&mut self, progress: &Progress, model: &LinearModel<T>) -> Result<(), Error> {
        if self.last.replace(progress.iteration) == Some(progress.iteration) {
            return Ok(());
        }
        let loss = (self.loss)(model)?;
        if let Some(resumed) = self.resumed.take() {
            if resumed.last_loss.to_bits() != loss.to_bits() {
                let what = "loss of the held-out samples by its model";
                return Err(differs(what, &resumed.last_loss, &loss));
            }
            self.known = Some(resumed);
        }
        let Some(known) = &mut self.known else {
            let (patience, best, best_model) = (self.patience, *progress, model.clone());
            let known = Stopping { patience, best, best_model, best_loss: loss, last_loss: loss };
            self.known = Some(known);
            return Ok(());
        };
        known.last_loss = loss;
        if loss < known.best_loss {
            (known.best, known.best_loss) = (*progress, loss);
            known.best_model.clone_from(model);
        }
        Ok(())
    }

    /// Whether patience is at its end.
    fn is_over(&self) -> bool {
        let (last, best) = (self.last, self.known.as_ref().map(|known| known.best.iteration));
        last.zip(best).is_some_and(|(last, best)| last.saturating_sub(best) >= self.patience)
    }
}

/// Runs a solver that is watched: [`EarlyStopping::fit`].
fn watched<T: Scalar, E: From<Error>>(
    watch: &RefCell<Watch<'_, T>>,
    model: &mut LinearModel<T>,
    solver: impl FnOnce(&mut LinearModel<T>, Check<'_, T>) -> Result<Summary, E>,
    mut on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
) -> Result<Validated, E> {
    let (start, mut stopped) = (model.clone(), false);
    let summary = solver(model, &mut |progress, model| {
        let watch = &mut *watch.borrow_mut();
        // Before the callback, which may end the fit: what is saved then has the loss of the last model.
        if let Err(error) = watch.check(progress, model) {
            watch.error = Some(error);
            return ControlFlow::Break(());
        }
        on_iteration(progress, model)?;
        stopped = watch.is_over();
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let watch = &mut *watch.borrow_mut();
    if let Some(known) = &watch.known {
        model.clone_from(&known.best_model);
    }
    if let Some(error) = watch.error.take() {
        if watch.known.is_none() {
            model.clone_from(&start);
        }
        return Err(error.into());
    }
    let mut summary = summary?;
    if stopped && summary.stop_reason == StopReason::Interrupted {
        summary.stop_reason = StopReason::EarlyStopping;
    }
    let (best, validation_loss) = match &watch.known {
        Some(known) => (known.best, known.best_loss),
        // The solver never called back.
        None => (summary.progress, (watch.loss)(model)?),
    };
    Ok(Validated { summary, best, validation_loss })
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
