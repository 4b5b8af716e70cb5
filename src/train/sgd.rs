//! Stochastic gradient descent over minibatches, with heavy-ball momentum and a learning rate that falls
//! along half a cosine from its first value to zero. Every epoch visits every sample once, in an order
//! drawn anew.

use super::{Progress, StopReason, Summary, max_norm};
use crate::{Batch, Error, Evaluator, LinearModel, Scalar};
use core::ops::ControlFlow;
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};

/// Minibatch SGD with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Visits to every sample.
    pub epochs: usize,
    /// Samples a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// The length of the first steps.
    pub learning_rate: f64,
    /// What is kept of the last step: 0 for none, less than 1.
    pub momentum: f64,
    /// Where the order of the samples is drawn from.
    pub seed: u64,
}

impl Default for Sgd {
    /// 20 epochs of minibatches of 256, learning rate 0.05, momentum 0.9, seed 0.
    fn default() -> Self {
        Self { epochs: 20, batch_size: 256, learning_rate: 0.05, momentum: 0.9, seed: 0 }
    }
}

impl Sgd {
    /// Minimises the evaluator's objective over `batch`, from `model` on, and leaves in `model` the best
    /// one found at the end of an epoch, or the first one.
    ///
    /// After every epoch the whole batch is evaluated, and `on_epoch` told; the starting point is epoch 0.
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
        mut on_epoch: impl FnMut(&Progress) -> ControlFlow<()>,
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
        let mut velocity = vec![0.0; model.parameters().len()];
        // In `f64`, as the last steps are much shorter than what they are added to.
        let mut parameters: Vec<f64> = model.parameters().iter().map(|p| p.to_f64()).collect();

        let objective = evaluator.loss_and_gradient(model, batch, &mut gradient)?;
        let gradient_norm = max_norm(gradient.parameters());
        let mut now =
            Progress { iteration: 0, objective, gradient_norm, evaluations: 1, samples: n as u64 };
        let (mut best, mut best_model) = (now, model.clone());
        let mut stop_reason = StopReason::MaxIterations;
        let mut step = 0;

        if on_epoch(&now).is_break() {
            return Ok(Summary { progress: now, stop_reason: StopReason::Interrupted });
        }
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
                let phase = step as f64 / n_steps as f64 * core::f64::consts::PI;
                let rate = self.learning_rate * 0.5 * (1.0 + phase.cos());
                let slopes = gradient.parameters().iter();
                for (((value, velocity), slope), parameter) in
                    parameters.iter_mut().zip(&mut velocity).zip(slopes).zip(model.parameters_mut())
                {
                    *velocity = self.momentum * *velocity - rate * slope.to_f64();
                    *value += *velocity;
                    *parameter = T::from_f64(*value);
                }
                step += 1;
                now.evaluations += 1;
                now.samples += rows.len() as u64;
            }

            let Ok(objective) = evaluator.loss_and_gradient(model, batch, &mut gradient) else {
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
                (best, best_model) = (now, model.clone());
            }
            if on_epoch(&now).is_break() {
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

/// Fisher and Yates' shuffle.
fn shuffle(rows: &mut [u32], random: &mut Xoshiro256PlusPlus) {
    for i in (1..rows.len()).rev() {
        // The high half of a product with a random number: a multiple of it, hardly biased.
        let j = (u128::from(random.next_u64()) * (i as u128 + 1)) >> 64;
        rows.swap(i, j as usize);
    }
}
