//! Stochastic gradient descent over minibatches. Every epoch visits every sample once, in an order drawn
//! anew.

use super::{Progress, StopReason, Summary, max_norm, principal::Principal, shuffle};
use crate::{Batch, Error, Evaluator, LinearModel, Scalar};
use core::ops::ControlFlow;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

/// Minibatch SGD with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Visits to every sample.
    pub epochs: usize,
    /// Samples a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// The length of the first steps.
    pub learning_rate: f64,
    /// How the learning rate goes on from there.
    pub schedule: Schedule,
    /// What is kept of the last step: 0 for none, less than 1.
    pub momentum: f64,
    /// Nesterov's momentum, which steps along the slope where the momentum leads to, instead of the heavy
    /// ball's.
    pub nesterov: bool,
    /// Take the features from their mean, and shorten steps along so many directions, those in which the features
    /// vary most, as if they varied there no more than in the last of them: then the others can be longer. 0 for
    /// plain SGD. A direction costs as much as a sample a step.
    pub principal: usize,
    /// Answer with an average of the iterates, later ones weighing more: the t-th one by t (Lacoste-Julien,
    /// Schmidt and Bach, 2012). For steps that do not become short by themselves.
    pub average: bool,
    /// Where the order of the samples is drawn from.
    pub seed: u64,
}

/// How the learning rate falls, from the first step to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Along half a cosine, to zero.
    Cosine,
}

impl Schedule {
    /// The share of the first learning rate that is left after a share of the steps.
    fn factor(self, done: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (done * core::f64::consts::PI).cos()),
        }
    }
}

impl Default for Sgd {
    /// 20 epochs of minibatches of 256, learning rate 0.25 along a cosine, the heavy ball's momentum 0.9, 8
    /// principal directions, no average, seed 0.
    fn default() -> Self {
        Self {
            epochs: 20,
            batch_size: 256,
            learning_rate: 0.25,
            schedule: Schedule::Cosine,
            momentum: 0.9,
            nesterov: false,
            principal: 8,
            average: false,
            seed: 0,
        }
    }
}

impl Sgd {
    /// Minimises the evaluator's objective over `batch`, from `model` on, and leaves in `model` the best
    /// one found at the end of an epoch, or the first one.
    ///
    /// After every epoch the whole batch is evaluated; the starting point is epoch 0. `on_step` is told after
    /// every step and every epoch, so that it can end a long one; between epochs, the objective it is told
    /// is that of the last one. The model it is shown is that at the end of that epoch.
    ///
    /// # Errors
    /// Those of [`Evaluator::loss_and_gradient`] at the starting point, and [`Error::SizeOverflow`] for more
    /// rows than a selection can name (2³² − 1). Later on, steps that are too
    /// long for the objective to stay finite end the fit as [`StopReason::Diverged`].
    pub fn fit<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        mut on_step: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let n = batch.n_samples();
        let batch_size = self.batch_size.clamp(1, n);
        if batch.features().rows() > u32::MAX as usize {
            let (rows, row_stride) = (batch.features().rows(), batch.features().row_stride());
            return Err(Error::SizeOverflow { rows, row_stride });
        }
        let n_steps = self.epochs * n.div_ceil(batch_size);
        let mut order: Vec<u32> = match batch.selection() {
            Some(rows) => rows.to_vec(),
            None => (0..n).map(|row| row as u32).collect(),
        };
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let mut gradient = LinearModel::zeros(model.n_classes(), model.n_features());
        let mut steps = Steps::new(self, model);

        let objective = evaluator.loss_and_gradient(model, batch, &mut gradient)?;
        let gradient_norm = max_norm(gradient.parameters());
        let mut now =
            Progress { iteration: 0, objective, gradient_norm, evaluations: 1, samples: n as u64 };
        let (mut best, mut best_model) = (now, model.clone());
        let mut answer = model.clone();
        let mut stop_reason = StopReason::MaxIterations;

        if on_step(&now, model).is_break() {
            return Ok(Summary { progress: now, stop_reason: StopReason::Interrupted });
        }
        steps.principal = Principal::of(batch, self.principal);
        'epochs: for epoch in 1..=self.epochs {
            shuffle(&mut order, &mut random);
            for rows in order.chunks(batch_size) {
                // Weights of zero only: such a minibatch says nothing.
                let minibatch = match batch.select(rows) {
                    Err(Error::ZeroSampleWeights { .. }) => continue,
                    selected => selected?,
                };
                if evaluator.loss_and_gradient(model, &minibatch, &mut gradient).is_err() {
                    stop_reason = StopReason::Diverged;
                    break 'epochs;
                }
                steps.step(model, &gradient, n_steps);
                now.evaluations += 1;
                now.samples += rows.len() as u64;
                if on_step(&now, &answer).is_break() {
                    stop_reason = StopReason::Interrupted;
                    break 'epochs;
                }
            }

            steps.write_answer(model, &mut answer);
            let Ok(objective) = evaluator.loss_and_gradient(&answer, batch, &mut gradient) else {
                stop_reason = StopReason::Diverged;
                break;
            };
            now = Progress {
                iteration: epoch,
                objective,
                gradient_norm: max_norm(gradient.parameters()),
                evaluations: now.evaluations + 1,
                samples: now.samples + n as u64,
            };
            if now.objective < best.objective {
                (best, best_model) = (now, answer.clone());
            }
            if on_step(&now, &answer).is_break() {
                stop_reason = StopReason::Interrupted;
                break;
            }
        }

        *model = best_model;
        let progress =
            Progress { objective: best.objective, gradient_norm: best.gradient_norm, ..now };
        Ok(Summary { progress, stop_reason })
    }
}

/// The steps of a fit. In `f64`, as the last ones are much shorter than what they are added to.
struct Steps<'a> {
    solver: &'a Sgd,
    done: usize,
    parameters: Vec<f64>,
    velocity: Vec<f64>,
    average: Vec<f64>,
    principal: Option<Principal>,
}

impl<'a> Steps<'a> {
    fn new<T: Scalar>(solver: &'a Sgd, model: &LinearModel<T>) -> Self {
        let parameters: Vec<f64> = model.parameters().iter().map(|p| p.to_f64()).collect();
        let velocity = vec![0.0; parameters.len()];
        let average = if solver.average { parameters.clone() } else { Vec::new() };
        Self { solver, done: 0, parameters, velocity, average, principal: None }
    }

    /// One step against the gradient; of `n_steps` in all.
    fn step<T: Scalar>(
        &mut self,
        model: &mut LinearModel<T>,
        gradient: &LinearModel<T>,
        n_steps: usize,
    ) {
        let &Sgd { learning_rate, schedule, momentum, nesterov, .. } = self.solver;
        let rate = learning_rate * schedule.factor(self.done as f64 / n_steps as f64);
        let mut slopes: Vec<f64> =
            gradient.parameters().iter().map(|slope| slope.to_f64()).collect();
        if let Some(principal) = &self.principal {
            principal.damp(&mut slopes);
        }
        let state = self.parameters.iter_mut().zip(&mut self.velocity);
        for (((value, velocity), slope), parameter) in state.zip(slopes).zip(model.parameters_mut())
        {
            let step = rate * slope;
            *velocity = momentum * *velocity - step;
            // Nesterov's, by where the slope is to be taken next (Sutskever and others, 2013).
            *value += if nesterov { momentum * *velocity - step } else { *velocity };
            *parameter = T::from_f64(*value);
        }
        self.done += 1;
        let weight = 2.0 / (self.done as f64 + 1.0);
        for (average, value) in self.average.iter_mut().zip(&self.parameters) {
            *average += weight * (value - *average);
        }
    }

    /// What the fit would answer if it ended here.
    fn write_answer<T: Scalar>(&self, model: &LinearModel<T>, answer: &mut LinearModel<T>) {
        answer.parameters_mut().copy_from_slice(model.parameters());
        for (value, average) in answer.parameters_mut().iter_mut().zip(&self.average) {
            *value = T::from_f64(*average);
        }
    }
}
