//! What is minimised: the objective over a batch, or over what adds up to one, at a point. Nothing else that L-BFGS,
//! Newton's method and the bound on the distance to the optimum ask of the samples is more than sums over all of them.

use super::{curvature::Curvature, line_search::Along};
use crate::{Batch, Error, Evaluator, LinearModel, Objective, Partial, Scalar};

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

/// The sums over all samples that a solver asks for, where it does not see the samples: those of the losses and their
/// gradients at a model, or of their Hessian products with a direction.
///
/// Whoever has some of the samples [adds](Self::add) them up. To have another process do so, send it all fields. See
/// [`Lbfgs::fit_partials`](super::Lbfgs::fit_partials).
///
/// ```
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, Partial, train::Sums};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let batch = Batch::new(MatrixView::new(&[2.0_f64], 1, 1)?, &[0])?;
/// let model = LinearModel::<f64>::zeros(2, 1);
/// let sums = Sums { objective: Objective::cross_entropy(), model: &model, direction: None };
/// let mut evaluator = Evaluator::new(sums.objective);
/// let mut partial = Partial::new(2, 1);
/// sums.add(&mut evaluator, &batch, &mut partial)?;
/// assert_eq!(partial.sums()[..4], [-1.0, 1.0, -0.5, 0.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sums<'a, T> {
    /// What they are of, but for its L2 term. It is not always that of the fit: the bound on the distance to the optimum
    /// takes sums of another one, too.
    pub objective: Objective,
    /// Where it is evaluated. It may have a class more than that of the fit.
    pub model: &'a LinearModel<T>,
    /// What the Hessian is multiplied with, if Hessian products are asked for.
    pub direction: Option<&'a LinearModel<T>>,
}

impl<T: Scalar> Sums<'_, T> {
    /// Adds the samples of a batch to a partial for models of the shape of [`model`](Self::model), as
    /// [`Evaluator::accumulate`] does. The evaluator lends its memory and its instruction set; from here on it is one of
    /// [`objective`](Self::objective).
    ///
    /// # Errors
    /// As [`Evaluator::loss_and_gradient`] and [`Evaluator::hessian_product`]; the partial is untouched then.
    pub fn add(
        &self,
        evaluator: &mut Evaluator<T>,
        batch: &Batch<'_, T>,
        partial: &mut Partial<T>,
    ) -> Result<(), Error> {
        evaluator.set_objective(self.objective);
        match self.direction {
            None => evaluator.accumulate(self.model, batch, partial),
            Some(direction) => {
                evaluator.accumulate_hessian_product(self.model, batch, direction, partial)
            }
        }
    }
}

/// Whether a shorter step would do: one that is too long leads to where scores are not finite.
pub(super) fn is_of_a_step(error: &Error) -> bool {
    matches!(error, Error::NonFinite { .. } | Error::Overflow { .. })
}

/// What is evaluated.
pub(super) enum Data<'a, 'b, T> {
    Batch(&'a Batch<'b, T>),
    /// What adds the sums over all samples to an empty partial, and tells how many samples they are.
    Partials(Accumulate<'a, T>),
}

type Accumulate<'a, T> = &'a mut dyn FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>;

/// An evaluator and its samples, and how much it had to do.
pub(super) struct Cost<'a, 'b, T> {
    pub(super) evaluator: &'a mut Evaluator<T>,
    data: Data<'a, 'b, T>,
    /// The last sums of all samples.
    partial: Partial<T>,
    pub(super) evaluations: usize,
    pub(super) samples: u64,
    /// What went wrong that no shorter step would have mended: reading the data, perhaps.
    pub(super) error: Option<Error>,
}

impl<'a, 'b, T: Scalar> Cost<'a, 'b, T> {
    pub(super) fn new(evaluator: &'a mut Evaluator<T>, data: Data<'a, 'b, T>) -> Self {
        let partial = Partial::new(0, 0);
        Self { evaluator, data, partial, evaluations: 0, samples: 0, error: None }
    }

    /// Another evaluator of the same samples.
    pub(super) fn with<'s>(&'s mut self, evaluator: &'s mut Evaluator<T>) -> Cost<'s, 'b, T> {
        let data = match &mut self.data {
            Data::Batch(batch) => Data::Batch(batch),
            Data::Partials(accumulate) => Data::Partials(accumulate),
        };
        Cost::new(evaluator, data)
    }

    /// The samples, if all of them are here.
    pub(super) fn batch(&self) -> Option<&'a Batch<'b, T>> {
        match self.data {
            Data::Batch(batch) => Some(batch),
            Data::Partials(_) => None,
        }
    }

    /// Checks samples that a solver reads itself, where they are not those that are evaluated: nothing else would tell that
    /// they are not finite, or not for this model.
    pub(super) fn check_sample(
        &self,
        model: &LinearModel<T>,
        sample: &Batch<'_, T>,
    ) -> Result<(), Error> {
        if self.batch().is_some() {
            return Ok(());
        }
        let mut evaluator =
            Evaluator::new(self.evaluator.objective()).with_isa(self.evaluator.isa());
        evaluator.loss(model, sample).map(drop)
    }

    /// Counts an evaluation of a batch.
    fn count(&mut self, batch: &Batch<'_, T>) {
        self.evaluations += 1;
        self.samples += batch.n_samples() as u64;
    }

    /// Sets the objective of a point, and its gradient.
    pub(super) fn evaluate(&mut self, point: &mut Point<T>) -> Result<(), Error> {
        let result = self.loss_and_gradient(&point.model, &mut point.gradient);
        if let Err(error) = &result
            && !is_of_a_step(error)
        {
            self.error = Some(error.clone());
        }
        point.objective = result?;
        Ok(())
    }

    /// As [`Evaluator::loss_and_gradient`], over all samples.
    pub(super) fn loss_and_gradient(
        &mut self,
        model: &LinearModel<T>,
        gradient: &mut LinearModel<T>,
    ) -> Result<f64, Error> {
        if let Some(batch) = self.batch() {
            self.count(batch);
            return self.evaluator.loss_and_gradient(model, batch, gradient);
        }
        self.sum(model, None)?;
        self.evaluator.finish(model, &self.partial, gradient)
    }

    /// As [`Evaluator::hessian_product`], over all samples.
    pub(super) fn hessian_product(
        &mut self,
        model: &LinearModel<T>,
        direction: &LinearModel<T>,
        product: &mut LinearModel<T>,
    ) -> Result<(), Error> {
        if let Some(batch) = self.batch() {
            self.count(batch);
            return self.evaluator.hessian_product(model, batch, direction, product);
        }
        self.sum(model, Some(direction))?;
        self.evaluator.finish_hessian_product(direction, &self.partial, product)
    }

    /// The sums over all samples.
    pub(super) fn sum(
        &mut self,
        model: &LinearModel<T>,
        direction: Option<&LinearModel<T>>,
    ) -> Result<&Partial<T>, Error> {
        self.partial.reshape(model.n_classes(), model.n_features());
        self.partial.clear();
        let sums = Sums { objective: self.evaluator.objective(), model, direction };
        self.evaluations += 1;
        self.samples += match &mut self.data {
            Data::Batch(batch) => {
                sums.add(self.evaluator, batch, &mut self.partial)?;
                batch.n_samples() as u64
            }
            Data::Partials(accumulate) => accumulate(&sums, &mut self.partial)?,
        };
        Ok(&self.partial)
    }
}
