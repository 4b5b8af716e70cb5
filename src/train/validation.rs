//! What samples that are not trained on are for: to stop in time, and to choose λ.

use super::{Lbfgs, Progress, Summary, shuffle};
use crate::{Batch, Error, Evaluator, LinearModel, Objective, Predictor, Scalar};
use core::ops::ControlFlow;
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
/// [`Predictor::accuracy`], with the best instruction set.
///
/// # Errors
/// As [`LinearModel::predict`].
pub fn accuracy<T: Scalar>(model: &LinearModel<T>, batch: &Batch<'_, T>) -> Result<f64, Error> {
    Predictor::new(model).accuracy(batch)
}

/// Ends a fit when the loss of held-out samples has not improved for some iterations (or epochs), and keeps
/// the model that was best by it. [`check`](Self::check) is what the solver is to call.
///
/// ```
/// use softmargin::train::{self, EarlyStopping, Lbfgs};
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32).collect();
/// let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
/// let batch = Batch::new(MatrixView::new(&features, 20, 3)?, &labels)?;
/// let (training, validation) = train::split(20, 0.25, 0);
///
/// let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
/// let mut stopping = EarlyStopping::new(&evaluator, batch.select(&validation)?, 5);
/// let mut model = LinearModel::zeros(2, 3);
/// let check = |progress: &_, model: &_| stopping.check(progress, model);
/// Lbfgs::default().fit(&mut evaluator, &mut model, &batch.select(&training)?, check)?;
/// let best = stopping.finish()?;
/// # assert!(best.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EarlyStopping<'a, T> {
    evaluator: Evaluator<T>,
    validation: Batch<'a, T>,
    patience: usize,
    last: Option<usize>,
    best: Option<(usize, f64, LinearModel<T>)>,
    error: Option<Error>,
}

impl<'a, T: Scalar> EarlyStopping<'a, T> {
    /// Stops after `patience` iterations without a lower loss of `validation`; the loss is that of
    /// `evaluator`, without the L2 term.
    pub fn new(evaluator: &Evaluator<T>, validation: Batch<'a, T>, patience: usize) -> Self {
        let objective = evaluator.objective().with_l2(0.0);
        let evaluator = Evaluator::new(objective).with_isa(evaluator.isa());
        Self { evaluator, validation, patience, last: None, best: None, error: None }
    }

    /// To be called by the solver after every iteration or step.
    pub fn check(&mut self, progress: &Progress, model: &LinearModel<T>) -> ControlFlow<()> {
        let iteration = progress.iteration;
        if self.last.replace(iteration) == Some(iteration) {
            return ControlFlow::Continue(());
        }
        match self.evaluator.loss(model, &self.validation) {
            Err(error) => {
                self.error = Some(error);
                return ControlFlow::Break(());
            }
            Ok(loss) if self.best.as_ref().is_none_or(|(_, best, _)| loss < *best) => {
                self.best = Some((iteration, loss, model.clone()));
            }
            Ok(_) => {}
        }
        match &self.best {
            Some((best, ..)) if iteration - best >= self.patience.max(1) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    /// The iteration with the lowest validation loss, that loss, and its model; `None` if nothing was ever
    /// checked.
    ///
    /// # Errors
    /// That of the evaluation of the held-out samples that ended the fit, if one did.
    pub fn finish(self) -> Result<Option<(usize, f64, LinearModel<T>)>, Error> {
        self.error.map_or(Ok(self.best), Err)
    }
}

/// The fit for one λ of a [path](Lbfgs::path).
#[derive(Clone, Debug)]
pub struct PathPoint<T> {
    /// λ.
    pub l2: f64,
    /// The model.
    pub model: LinearModel<T>,
    /// How its fit ended.
    pub summary: Summary,
    /// The share of the held-out samples that it predicts.
    pub validation_accuracy: f64,
}

impl Lbfgs {
    /// Fits a model for each λ in `l2`, from the largest to the smallest, each from the one before, the first
    /// from `start`; in that order.
    ///
    /// The one to choose is the first of those with the highest accuracy, that with the largest λ:
    /// [`best_of`].
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and as [`accuracy`].
    pub fn path<T: Scalar>(
        &self,
        objective: Objective,
        l2: &[f64],
        start: &LinearModel<T>,
        batch: &Batch<'_, T>,
        validation: &Batch<'_, T>,
        mut on_iteration: impl FnMut(f64, &Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Vec<PathPoint<T>>, Error> {
        let mut descending = l2.to_vec();
        descending.sort_by(|a, b| b.total_cmp(a));
        let mut model = start.clone();
        let mut points = Vec::with_capacity(l2.len());
        for l2 in descending {
            let mut evaluator = Evaluator::new(objective.with_l2(l2));
            let on_iteration = |progress: &_, model: &_| on_iteration(l2, progress, model);
            let summary = self.fit(&mut evaluator, &mut model, batch, on_iteration)?;
            let validation_accuracy = accuracy(&model, validation)?;
            points.push(PathPoint { l2, model: model.clone(), summary, validation_accuracy });
            if summary.stop_reason == super::StopReason::Interrupted {
                break;
            }
        }
        Ok(points)
    }
}

/// The point with the highest validation accuracy; of equals, the one with the largest λ.
pub fn best_of<T>(path: &[PathPoint<T>]) -> Option<&PathPoint<T>> {
    let better = |a: &PathPoint<T>, b: &PathPoint<T>| {
        a.validation_accuracy.total_cmp(&b.validation_accuracy).then(a.l2.total_cmp(&b.l2))
    };
    path.iter().max_by(|a, b| better(a, b))
}
