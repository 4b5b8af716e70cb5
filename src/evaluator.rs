//! One evaluation: the batch is divided, the tasks run, their sums are added in a fixed order, and
//! the total is turned into the loss and the gradient.

use crate::{
    Batch, Error, Isa, LinearModel, Objective, Partial, Scalar,
    buffer::Buffer,
    diagnose,
    driver::{Direction, Pass, RunTask, Workspace},
    kernel::{PackedWeights, PlanKind, Shape, Transposed, fold_columns, pack},
    parallel::{for_each_chunk, for_each_pair},
    reduce::{Fold, mean_loss, write_mean},
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
    direction: PackedWeights<T>,
    workspaces: Vec<Workspace<T>>,
    /// The columns of the last batch of sparse rows, and the derivatives of a round of its samples.
    transposed: Transposed<T>,
    derivatives: Buffer<T>,
    total: Partial<T>,
}

impl<T: Scalar> Evaluator<T> {
    /// An evaluator of `objective` with the best instructions of this machine.
    pub fn new(objective: Objective) -> Self {
        Self {
            objective,
            isa: Isa::detect(),
            weights: PackedWeights::default(),
            direction: PackedWeights::default(),
            workspaces: Vec::new(),
            transposed: Transposed::default(),
            derivatives: Buffer::default(),
            total: Partial::new(0, 0),
        }
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
    /// Shapes that do not match, labels that are no classes of the model (of a binary loss: other than 0 and 1), an
    /// illegal λ or Δ, and whatever is not finite: see [`Error`]. The gradient is untouched then, and the evaluator can be
    /// used again.
    pub fn loss_and_gradient(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        gradient: &mut LinearModel<T>,
    ) -> Result<f64, Error> {
        self.check(model)?;
        model.check_shape("gradient", gradient.n_classes(), gradient.n_features())?;
        self.sum(model, batch, None, true)?;
        self.mean(model, &self.total, Some(gradient))
    }

    /// Returns L alone, the same bits as [`loss_and_gradient`](Self::loss_and_gradient), in about
    /// half the time.
    ///
    /// # Errors
    /// As [`loss_and_gradient`](Self::loss_and_gradient), except for a gradient that overflows.
    pub fn loss(&mut self, model: &LinearModel<T>, batch: &Batch<'_, T>) -> Result<f64, Error> {
        self.check(model)?;
        self.sum(model, batch, None, false)?;
        self.mean(model, &self.total, None)
    }

    /// Writes H v into `product`: the Hessian of L by all parameters, times a direction. For losses without
    /// kinks; that of the squared hinge, whose second derivatives jump where a margin is met exactly, is the
    /// generalised one with 0 there. The L2 term adds 2λ times the weights of the direction.
    ///
    /// Takes O(N D C) time, half as much again as [`loss_and_gradient`](Self::loss_and_gradient), and reads the features
    /// from memory once.
    ///
    /// ```
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let batch = Batch::new(MatrixView::new(&[2.0_f64], 1, 1)?, &[0])?;
    /// let model = LinearModel::<f64>::zeros(2, 1);
    /// let direction = LinearModel::from_parameters(2, 1, vec![1.0, 0.0, 0.0, 0.0])?;
    /// let mut product = LinearModel::zeros(2, 1);
    /// let mut evaluator = Evaluator::new(Objective::cross_entropy());
    /// evaluator.hessian_product(&model, &batch, &direction, &mut product)?;
    /// // p (1 − p) x² = 1, and −1 for the other class.
    /// assert_eq!(product.weights(), [1.0, -1.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoHessian`] for a loss with kinks; [`Error::Shape`], and [`Error::Direction`] if a number of
    /// the direction is not finite; otherwise as [`loss_and_gradient`](Self::loss_and_gradient). The product is
    /// untouched then.
    pub fn hessian_product(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        direction: &LinearModel<T>,
        product: &mut LinearModel<T>,
    ) -> Result<(), Error> {
        self.check(model)?;
        self.check_direction(model, direction)?;
        model.check_shape("product", product.n_classes(), product.n_features())?;
        self.sum(model, batch, Some(direction), true)?;
        self.mean_product(direction, &self.total, product)
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
        self.sum(model, batch, None, true)?;
        partial.merge(&self.total)
    }

    /// Returns the loss of all samples that `partial` has seen, and writes its gradient: divides by
    /// the total weight and adds the L2 term. `model` must be the one that was accumulated with.
    ///
    /// # Errors
    /// [`Error::NoSamples`] if there are none, [`Error::NoLoss`], [`Error::Shape`], [`Error::L2`],
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

    /// [`accumulate`](Self::accumulate) of Hessian products instead of gradients.
    ///
    /// # Errors
    /// As [`hessian_product`](Self::hessian_product); `partial` is untouched then.
    #[cfg(feature = "train")]
    pub(crate) fn accumulate_hessian_product(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        direction: &LinearModel<T>,
        partial: &mut Partial<T>,
    ) -> Result<(), Error> {
        self.check(model)?;
        self.check_direction(model, direction)?;
        partial.check_shape(model)?;
        self.sum(model, batch, Some(direction), true)?;
        self.total.set_no_loss();
        partial.merge(&self.total)
    }

    /// [`finish`](Self::finish) of Hessian products with a direction.
    ///
    /// # Errors
    /// As [`finish`](Self::finish); the product is untouched then.
    #[cfg(feature = "train")]
    pub(crate) fn finish_hessian_product(
        &mut self,
        direction: &LinearModel<T>,
        partial: &Partial<T>,
        product: &mut LinearModel<T>,
    ) -> Result<(), Error> {
        partial.check_shape(direction)?;
        self.mean_product(direction, partial, product)
    }

    /// Evaluates another objective from now on.
    #[cfg(feature = "train")]
    pub(crate) fn set_objective(&mut self, objective: Objective) {
        self.objective = objective;
    }

    /// What must hold of a direction.
    fn check_direction(
        &self,
        model: &LinearModel<T>,
        direction: &LinearModel<T>,
    ) -> Result<(), Error> {
        if !self.objective.is_smooth() {
            return Err(Error::NoHessian { loss: self.objective.loss().name() });
        }
        model.check_shape("direction", direction.n_classes(), direction.n_features())?;
        let finite = |value: &T| value.is_finite();
        if let Some(index) = direction.parameters().iter().position(|value| !finite(value)) {
            let value = direction.parameters()[index].to_f64();
            return Err(Error::Direction { index, value });
        }
        Ok(())
    }

    /// What must hold whatever the data.
    pub(crate) fn check(&self, model: &LinearModel<T>) -> Result<(), Error> {
        self.objective.validate()?;
        model.check_features(model.n_features())?;
        let loss = self.objective.loss();
        if loss.is_binary() { model.check_rows(loss.name(), 1) } else { Ok(()) }
    }

    /// Sums over the samples into `self.total`: losses and gradients, or Hessian products.
    fn sum(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        direction: Option<&LinearModel<T>>,
        gradient: bool,
    ) -> Result<(), Error> {
        model.check_features(batch.n_features())?;
        let (n_samples, c, d) = (batch.n_samples(), model.n_classes(), model.n_features());
        let shape = Shape { n_samples, n_features: d, n_classes: c };
        let plan = PlanKind::choose(batch, c);
        let block_rows = plan.block_rows::<T>(shape);
        let sparse = plan.is_sparse();
        let schedule = if sparse {
            let n_entries = batch.features().n_entries();
            Schedule::sparse(shape, n_entries, block_rows, c * size_of::<T>())
        } else {
            Schedule::new(plan, shape, block_rows)
        };
        let Schedule { n_tasks, shared, fold_classes, .. } = schedule;
        if self.workspaces.len() < n_tasks {
            self.workspaces.resize_with(n_tasks, Workspace::default);
        }
        let (isa, objective) = (self.isa, self.objective);
        let scaling = batch.features().scaling();
        pack(isa, plan, model, scaling, &mut self.weights);
        if let Some(model) = direction {
            pack(isa, plan, model, scaling, &mut self.direction);
        }
        let kept = if sparse && gradient { c } else { 0 };
        let pass = Pass {
            plan,
            block_rows,
            objective,
            model,
            weights: &self.weights,
            batch,
            gradient,
            direction: direction.map(|model| Direction { model, weights: &self.direction }),
            shared,
            kept,
        };
        if kept > 0 {
            self.transposed.update(batch, schedule.round_rows());
            self.derivatives.resize(schedule.round_rows() * kept);
        }

        self.total.reshape(c, d);
        let (dw, rest) = self.total.sums_mut().split_at_mut(c * d);
        let (db, scalars) = rest.split_at_mut(c);
        if shared && !sparse {
            dw.fill(0.0);
        }
        db.fill(0.0);
        scalars.copy_from_slice(&[0.0, batch.total_weight()]);
        let workspaces = &mut self.workspaces[..n_tasks];
        let finite = AtomicBool::new(true);
        let derivatives = if kept > 0 { self.derivatives.as_mut_slice() } else { &mut [] };
        for (i, round) in schedule.rounds().enumerate() {
            let of_task = (&mut *derivatives, schedule.task_rows() * kept);
            for_each_pair((&mut *workspaces, 1), of_task, |i, workspace, derivatives| {
                let (workspace, samples) = (&mut workspace[0], schedule.samples(round, i));
                T::run_task(isa, RunTask { pass: &pass, workspace, samples, derivatives });
            });
            for workspace in &mut *workspaces {
                if let Some(error) = workspace.take_error() {
                    return Err(error);
                }
                scalars[0] += workspace.loss();
                db.iter_mut().zip(workspace.db()).for_each(|(sum, term)| *sum += term);
            }
            if kept > 0 {
                if !fold_columns(isa, &mut self.transposed, i, derivatives, c, dw) {
                    finite.store(false, Relaxed);
                }
            } else if gradient {
                let workspaces = &*workspaces;
                let last = round + schedule.round_rows() >= n_samples;
                for_each_chunk(dw, fold_classes * d, |i, dw| {
                    let classes = i * fold_classes..c.min((i + 1) * fold_classes);
                    if !T::fold(isa, Fold { workspaces, shared, classes, n_features: d, dw, last })
                    {
                        finite.store(false, Relaxed);
                    }
                });
            }
        }
        if let (true, Some(scaling)) = (kept > 0, scaling) {
            // dW by x scale − shift scale, where the sums are those by x.
            let db = &*db;
            for_each_chunk(dw, d, |class, dw| {
                for (l, sum) in dw.iter_mut().enumerate() {
                    *sum = scaling.scale(l) * (*sum - scaling.shift(l) * db[class]);
                }
            });
        }
        if !finite.into_inner() || db.iter().any(|sum| !sum.is_finite()) {
            return Err(diagnose::gradient(&self.objective, model, direction, batch));
        }
        Ok(())
    }

    /// From sums to H v.
    fn mean_product(
        &self,
        direction: &LinearModel<T>,
        sums: &Partial<T>,
        product: &mut LinearModel<T>,
    ) -> Result<(), Error> {
        write_mean(self.isa, self.objective.l2(), direction, sums, "Hessian product", product)
    }

    /// From sums to L and its gradient.
    fn mean(
        &self,
        model: &LinearModel<T>,
        sums: &Partial<T>,
        gradient: Option<&mut LinearModel<T>>,
    ) -> Result<f64, Error> {
        let l2 = self.objective.l2();
        let loss = mean_loss(self.isa, l2, model, sums)?;
        if let Some(mean) = gradient {
            write_mean(self.isa, l2, model, sums, "gradient", mean)?;
        }
        Ok(loss)
    }
}
