//! One evaluation: the batch is divided, the tasks run, their sums are added in a fixed order, and
//! the total is turned into the loss and the gradient.

use crate::{
    Batch, Error, Isa, LinearModel, Objective, Partial, Scalar, diagnose,
    kernel::{Pack, PackedWeights, Path},
    parallel::for_each_chunk,
    partition::Partition,
    reduce::{Mean, Reduce},
    task::{Pass, RunTask, Task},
};

/// Computes losses and gradients.
///
/// It owns the scratch memory: the first evaluation of a shape allocates it, later ones allocate
/// nothing and take no lock. One evaluator serves batches and models of any shape, one call at a
/// time; threads that evaluate at the same time take one each.
#[derive(Debug)]
pub struct Evaluator<T> {
    objective: Objective,
    isa: Isa,
    weights: PackedWeights<T>,
    tasks: Vec<Task<T>>,
    total: Partial<T>,
}

impl<T: Scalar> Evaluator<T> {
    /// An evaluator of `objective` with the best instructions of this machine.
    pub fn new(objective: Objective) -> Self {
        let (isa, weights, total) = (Isa::detect(), PackedWeights::default(), Partial::new(0, 0));
        Self { objective, isa, weights, tasks: Vec::new(), total }
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
        let (c, d) = (model.n_classes(), model.n_features());
        let partition = Partition::new(batch.n_samples(), c, d);
        let n_tasks = partition.n_tasks();
        if self.tasks.len() < n_tasks {
            self.tasks.resize_with(n_tasks, Task::default);
        }
        let path = Path::of(c);
        T::pack(self.isa, Pack { path, model, weights: &mut self.weights });
        let loss = self.objective.loss();
        let pass = Pass { path, loss, model, weights: &self.weights, batch, gradient };
        let tasks = &mut self.tasks[..n_tasks];
        tasks.iter_mut().for_each(|task| task.resize(&pass));
        for_each_chunk(tasks, 1, |i, task| {
            let task = &mut task[0];
            T::run_task(self.isa, RunTask { task, pass: &pass, samples: partition.samples(i) });
        });
        if let Some(error) = tasks.iter_mut().find_map(Task::take_error) {
            return Err(error);
        }

        self.total.reshape(c, d);
        let (dw, rest) = self.total.sums_mut().split_at_mut(c * d);
        let (db, scalars) = rest.split_at_mut(c);
        let tasks = &*tasks;
        scalars[0] = tasks.iter().map(Task::loss).sum();
        scalars[1] = batch.total_weight();
        if gradient {
            for_each_chunk(dw, d * c.div_ceil(n_tasks), |i, dw| {
                let first_class = i * c.div_ceil(n_tasks);
                T::reduce(self.isa, Reduce { tasks, first_class, n_features: d, dw });
            });
            db.fill(0.0);
            for task in tasks {
                let sums = db.iter_mut().zip(task.bias_gradient());
                sums.for_each(|(sum, term)| *sum += term);
            }
            if !self.total.gradient().iter().fold(true, |all, sum| all & sum.is_finite()) {
                return Err(diagnose::gradient(&self.objective, model, batch));
            }
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
