//! One evaluation: the batch is divided, the tasks run, their sums are added in a fixed order, and
//! the total is turned into the loss and the gradient.

use crate::{
    Batch, Error, Isa, LinearModel, Objective, Partial, Scalar, diagnose,
    kernel::{Pack, PackedWeights},
    parallel::for_each_chunk,
    partition::Partition,
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
        normalise(&self.objective, model, &self.total, Some(gradient))
    }

    /// Returns L alone, the same bits as [`loss_and_gradient`](Self::loss_and_gradient), in about
    /// half the time.
    ///
    /// # Errors
    /// As [`loss_and_gradient`](Self::loss_and_gradient).
    pub fn loss(&mut self, model: &LinearModel<T>, batch: &Batch<'_, T>) -> Result<f64, Error> {
        self.check(model)?;
        self.sum(model, batch, false)?;
        normalise(&self.objective, model, &self.total, None)
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
    /// [`Error::NonFiniteResult`]; the gradient is untouched then.
    pub fn finish(
        &mut self,
        model: &LinearModel<T>,
        partial: &Partial<T>,
        gradient: &mut LinearModel<T>,
    ) -> Result<f64, Error> {
        self.check(model)?;
        partial.check_shape(model)?;
        model.check_shape("gradient", gradient.n_classes(), gradient.n_features())?;
        normalise(&self.objective, model, partial, Some(gradient))
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
        let tasks = &mut self.tasks[..n_tasks];
        tasks.iter_mut().for_each(|task| task.resize(c, d, gradient));

        self.isa.run(Pack { weights: &mut self.weights, model });
        let loss = self.objective.loss();
        let pass = Pass { loss, model, weights: &self.weights, batch, gradient };
        for_each_chunk(tasks, 1, |i, task| {
            let task = &mut task[0];
            self.isa.run(RunTask { task, pass: &pass, samples: partition.samples(i) });
        });
        if let Some(error) = tasks.iter_mut().find_map(Task::take_error) {
            return Err(error);
        }

        self.total.reshape(c, d);
        let total = self.total.sums_mut();
        let (dw, rest) = total.split_at_mut(c * d);
        let (db, scalars) = rest.split_at_mut(c);
        let tasks = &*tasks;
        scalars[0] = tasks.iter().map(Task::loss).sum();
        scalars[1] = batch.total_weight();
        if gradient {
            for_each_chunk(dw, d, |class, dw| {
                dw.fill(0.0);
                for task in tasks {
                    let sums = dw.iter_mut().zip(task.gradient(class, d));
                    sums.for_each(|(sum, term)| *sum += term);
                }
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
}

/// Divides the sums by Z and adds the L2 term.
fn normalise<T: Scalar>(
    objective: &Objective,
    model: &LinearModel<T>,
    partial: &Partial<T>,
    gradient: Option<&mut LinearModel<T>>,
) -> Result<f64, Error> {
    let (z, l2) = (partial.total_weight(), objective.l2());
    if z == 0.0 {
        return Err(Error::NoSamples);
    }
    let squares = if l2 > 0.0 { sum_of_squares(model.weights()) } else { 0.0 };
    let loss = partial.loss() / z + l2 * squares;
    if !loss.is_finite() {
        return Err(Error::NonFiniteResult { what: "loss" });
    }

    if let Some(gradient) = gradient {
        let n_weights = model.weights().len();
        let (dw, db) = partial.gradient().split_at(n_weights);
        let of_weight = |(sum, w): (&f64, &T)| T::from_f64(sum / z + 2.0 * l2 * w.to_f64());
        let of_bias = |sum: &f64| T::from_f64(sum / z);
        let finite = dw.iter().zip(model.weights()).all(|pair| of_weight(pair).is_finite())
            && db.iter().all(|sum| of_bias(sum).is_finite());
        if !finite {
            return Err(Error::NonFiniteResult { what: "gradient" });
        }
        let pairs = dw.iter().zip(model.weights());
        gradient.weights_mut().iter_mut().zip(pairs).for_each(|(g, pair)| *g = of_weight(pair));
        gradient.bias_mut().iter_mut().zip(db).for_each(|(g, sum)| *g = of_bias(sum));
    }
    Ok(loss)
}

/// Σ W², in as many sums as keep a processor busy.
fn sum_of_squares<T: Scalar>(weights: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    for chunk in weights.chunks(sums.len()) {
        for (sum, w) in sums.iter_mut().zip(chunk) {
            *sum += w.to_f64() * w.to_f64();
        }
    }
    sums.iter().sum()
}
