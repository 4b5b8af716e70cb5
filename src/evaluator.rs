//! One evaluation: the batch is divided, the tasks run, their sums are added in a fixed order, and
//! the total is turned into the loss and the gradient.

use crate::{
    Batch, Error, Isa, LinearModel, Objective, Partial, Scalar, diagnose,
    driver::{Pass, RunTask, Workspace},
    kernel::{Pack, PackedWeights, PlanKind, Shape},
    parallel::for_each_chunk,
    reduce::{Fold, Mean},
    schedule::Schedule,
};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Computes losses and gradients.
///
/// It owns the scratch memory: the first evaluation of a shape allocates it, later ones allocate
/// nothing and take no lock. One evaluator serves batches and models of any shape, one call at a
/// time; threads that evaluate at the same time take one each.
///
/// ```
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features = [1.0_f32, -1.0];
/// let batch = Batch::new(MatrixView::new(&features, 2, 1)?, &[0, 1])?;
/// let (model, mut gradient) = (LinearModel::<f32>::zeros(2, 1), LinearModel::zeros(2, 1));
/// let mut evaluator = Evaluator::new(Objective::hinge(1.0));
/// assert_eq!(evaluator.loss_and_gradient(&model, &batch, &mut gradient)?, 1.0);
/// assert_eq!(gradient.weights(), [-1.0, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Evaluator<T> {
    objective: Objective,
    isa: Isa,
    weights: PackedWeights<T>,
    workspaces: Vec<Workspace<T>>,
    total: Partial<T>,
}

impl<T: Scalar> Evaluator<T> {
    /// An evaluator of `objective` with the best instructions of this machine.
    pub fn new(objective: Objective) -> Self {
        let (isa, weights, total) = (Isa::detect(), PackedWeights::default(), Partial::new(0, 0));
        Self { objective, isa, weights, workspaces: Vec::new(), total }
    }

    /// Uses the given instruction set instead. On one instruction set the same input gives the same
    /// bits, on any number of threads; between instruction sets the last bits differ.
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// What is evaluated.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns L and writes dL/dW and dL/db into `gradient`.
    ///
    /// Takes O(N D C) time and reads the features from memory once.
    ///
    /// # Errors
    /// Shapes that do not match, labels that are no classes of the model, an illegal λ or Δ, and
    /// whatever is not finite: see [`Error`]. The gradient is untouched then, and the evaluator can be
    /// used again.
    pub fn loss_and_gradient(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        gradient: &mut LinearModel<T>,
    ) -> Result<f64, Error> {
        self.check(model)?;
        model.check_shape("gradient", gradient.n_classes(), gradient.n_features())?;
        self.sum(model, batch, true)?;
        self.mean(model, &self.total, Some(gradient))
    }

    /// Returns L alone, the same bits as [`loss_and_gradient`](Self::loss_and_gradient), in about
    /// half the time.
    ///
    /// # Errors
    /// As [`loss_and_gradient`](Self::loss_and_gradient), except for a gradient that overflows.
    pub fn loss(&mut self, model: &LinearModel<T>, batch: &Batch<'_, T>) -> Result<f64, Error> {
        self.check(model)?;
        self.sum(model, batch, false)?;
        self.mean(model, &self.total, None)
    }

    /// Adds the unnormalised sums of one chunk of the data to `partial`.
    ///
    /// # Errors
    /// As [`loss_and_gradient`](Self::loss_and_gradient); `partial` is untouched then.
    pub fn accumulate(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        partial: &mut Partial<T>,
    ) -> Result<(), Error> {
        self.check(model)?;
        partial.check_shape(model)?;
        self.sum(model, batch, true)?;
        partial.merge(&self.total)
    }

    /// Returns the loss of all samples that `partial` has seen, and writes its gradient: divides by
    /// the total weight and adds the L2 term. `model` must be the one that was accumulated with.
    ///
    /// # Errors
    /// [`Error::NoSamples`] if there are none, [`Error::Shape`], [`Error::L2`],
    /// [`Error::Overflow`]; the gradient is untouched then.
    pub fn finish(
        &mut self,
        model: &LinearModel<T>,
        partial: &Partial<T>,
        gradient: &mut LinearModel<T>,
    ) -> Result<f64, Error> {
        self.check(model)?;
        partial.check_shape(model)?;
        model.check_shape("gradient", gradient.n_classes(), gradient.n_features())?;
        self.mean(model, partial, Some(gradient))
    }

    /// What must hold whatever the data.
    fn check(&self, model: &LinearModel<T>) -> Result<(), Error> {
        self.objective.validate()?;
        model.check_features(model.n_features())
    }

    /// Sums over the samples into `self.total`.
    fn sum(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        gradient: bool,
    ) -> Result<(), Error> {
        model.check_features(batch.n_features())?;
        let (n_samples, c, d) = (batch.n_samples(), model.n_classes(), model.n_features());
        let shape = Shape { n_samples, n_features: d, n_classes: c };
        let plan = PlanKind::choose(batch, c);
        let block_rows = plan.block_rows::<T>(shape);
        let schedule = Schedule::new(plan, shape, block_rows);
        let Schedule { n_tasks, shared, fold_classes, .. } = schedule;
        if self.workspaces.len() < n_tasks {
            self.workspaces.resize_with(n_tasks, Workspace::default);
        }
        let (isa, objective) = (self.isa, self.objective);
        T::pack(isa, Pack { plan, model, weights: &mut self.weights });
        let weights = &self.weights;
        let pass = Pass { plan, block_rows, objective, model, weights, batch, gradient, shared };

        self.total.reshape(c, d);
        let (dw, rest) = self.total.sums_mut().split_at_mut(c * d);
        let (db, scalars) = rest.split_at_mut(c);
        if shared {
            dw.fill(0.0);
        }
        db.fill(0.0);
        scalars.copy_from_slice(&[0.0, batch.total_weight()]);
        let workspaces = &mut self.workspaces[..n_tasks];
        let finite = AtomicBool::new(true);
        for round in schedule.rounds() {
            for_each_chunk(workspaces, 1, |i, workspace| {
                let (workspace, samples) = (&mut workspace[0], schedule.samples(round, i));
                T::run_task(isa, RunTask { pass: &pass, workspace, samples });
            });
            for workspace in &mut *workspaces {
                if let Some(error) = workspace.take_error() {
                    return Err(error);
                }
                scalars[0] += workspace.loss();
                db.iter_mut().zip(workspace.db()).for_each(|(sum, term)| *sum += term);
            }
            if gradient {
                let workspaces = &*workspaces;
                for_each_chunk(dw, fold_classes * d, |i, dw| {
                    let classes = i * fold_classes..c.min((i + 1) * fold_classes);
                    if !T::fold(isa, Fold { workspaces, shared, classes, n_features: d, dw }) {
                        finite.store(false, Relaxed);
                    }
                });
            }
        }
        if !finite.into_inner() || db.iter().any(|sum| !sum.is_finite()) {
            return Err(diagnose::gradient(&self.objective, model, batch));
        }
        Ok(())
    }

    /// From sums to L and its gradient.
    fn mean(
        &self,
        model: &LinearModel<T>,
        sums: &Partial<T>,
        gradient: Option<&mut LinearModel<T>>,
    ) -> Result<f64, Error> {
        T::mean(self.isa, Mean { l2: self.objective.l2(), model, sums, gradient })
    }
}
