//! What L-BFGS minimises: the objective over a batch, or over what adds up to one, at a point.

use super::{curvature::Curvature, line_search::Along};
use crate::{Batch, Error, Evaluator, LinearModel, Partial, Scalar};

/// A model, and what is known of it.
pub(super) struct Point<T> {
    pub(super) model: LinearModel<T>,
    pub(super) objective: f64,
    pub(super) gradient: LinearModel<T>,
    /// The gradient along the direction of a line search.
    pub(super) slope: f64,
    /// H₀ times the gradient: what the inverse of the curvature makes of it, or the gradient itself.
    pub(super) image: Vec<f64>,
}

impl<T: Scalar> Point<T> {
    /// Of which nothing is known yet.
    pub(super) fn at(model: &LinearModel<T>) -> Self {
        let image = vec![0.0; model.parameters().len()];
        let gradient = LinearModel::zeros(model.n_classes(), model.n_features());
        Self { model: model.clone(), objective: f64::NAN, gradient, slope: f64::NAN, image }
    }

    /// Goes to where a step in a direction leads.
    pub(super) fn step(&mut self, from: &Self, step: f64, direction: &[f64]) {
        let from = from.model.parameters().iter().zip(direction);
        for (parameter, (from, direction)) in self.model.parameters_mut().iter_mut().zip(from) {
            *parameter = T::from_f64(from.to_f64() + step * direction);
        }
    }

    pub(super) fn set_slope(&mut self, direction: &[f64]) {
        // Sums side by side, as a single one waits for itself.
        let mut sums = [0.0; 16];
        let gradient = self.gradient.parameters().chunks(sums.len());
        for (gradient, direction) in gradient.zip(direction.chunks(sums.len())) {
            for ((sum, gradient), direction) in sums.iter_mut().zip(gradient).zip(direction) {
                *sum += gradient.to_f64() * direction;
            }
        }
        self.slope = sums.iter().sum();
    }

    pub(super) fn set_image(&mut self, curvature: Option<&mut Curvature>) {
        let gradient = self.gradient.parameters();
        match curvature {
            Some(curvature) => curvature.solve(gradient, &mut self.image),
            None => self.image.iter_mut().zip(gradient).for_each(|(x, g)| *x = g.to_f64()),
        }
    }

    pub(super) fn along(&self) -> Along {
        Along { objective: self.objective, slope: self.slope }
    }
}

/// What [`Lbfgs::fit_chunks`](super::Lbfgs::fit_chunks) wants to be called with every chunk.
pub type Evaluate<'a, T> = &'a mut dyn FnMut(&Batch<'_, T>) -> Result<(), Error>;

/// What is evaluated.
pub(super) enum Data<'a, 'b, T> {
    Batch(&'a Batch<'b, T>),
    /// What adds the sums over all samples to an empty partial, and tells how many samples they are; and the partial.
    Partials(Accumulate<'a, T>, Partial<T>),
}

type Accumulate<'a, T> =
    &'a mut dyn FnMut(&mut Evaluator<T>, &LinearModel<T>, &mut Partial<T>) -> Result<u64, Error>;

/// The evaluator and its data, and how much it had to do.
pub(super) struct Cost<'a, 'b, T> {
    pub(super) evaluator: &'a mut Evaluator<T>,
    data: Data<'a, 'b, T>,
    pub(super) evaluations: usize,
    pub(super) samples: u64,
    /// What went wrong that no shorter step would have mended: reading the data, perhaps.
    pub(super) error: Option<Error>,
}

impl<'a, 'b, T: Scalar> Cost<'a, 'b, T> {
    pub(super) fn new(evaluator: &'a mut Evaluator<T>, data: Data<'a, 'b, T>) -> Self {
        Self { evaluator, data, evaluations: 0, samples: 0, error: None }
    }

    /// Sets the objective of a point, and its gradient.
    pub(super) fn evaluate(&mut self, point: &mut Point<T>) -> Result<(), Error> {
        let result = self.try_evaluate(point);
        if let Err(error) = &result
            && !matches!(error, Error::NonFinite { .. } | Error::Overflow { .. })
        {
            self.error = Some(error.clone());
        }
        result
    }

    fn try_evaluate(&mut self, point: &mut Point<T>) -> Result<(), Error> {
        self.evaluations += 1;
        let Self { evaluator, samples, .. } = self;
        let Point { model, gradient, .. } = point;
        point.objective = match &mut self.data {
            Data::Batch(batch) => {
                *samples += batch.n_samples() as u64;
                evaluator.loss_and_gradient(model, batch, gradient)?
            }
            Data::Partials(accumulate, partial) => {
                partial.clear();
                *samples += accumulate(evaluator, model, partial)?;
                evaluator.finish(model, partial, gradient)?
            }
        };
        Ok(())
    }
}
