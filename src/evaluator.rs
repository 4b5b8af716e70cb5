//! One evaluation: partition, run, reduce.

use crate::{
    Batch, Error, Isa, LinearModel, MatrixView, NonFinite, Objective, Partial, Scalar, reference,
};

/// Computes losses and gradients; owns the scratch memory, so that only the first evaluation of a
/// shape allocates.
#[derive(Debug)]
pub struct Evaluator<T> {
    objective: Objective,
    isa: Isa,
    total: Option<Partial<T>>,
}

impl<T: Scalar> Evaluator<T> {
    /// An evaluator of `objective` with the best instructions of this machine.
    pub fn new(objective: Objective) -> Self {
        Self { objective, isa: Isa::detect(), total: None }
    }

    /// Uses the given instructions instead.
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// What is evaluated.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The instructions in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// L, and its gradient written into `gradient`.
    pub fn loss_and_gradient(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        gradient: &mut LinearModel<T>,
    ) -> Result<f64, Error> {
        model.check_shape("gradient", gradient.n_classes(), gradient.n_features())?;
        let mut partial = Partial::new(model.n_classes(), model.n_features());
        self.accumulate(model, batch, &mut partial)?;
        self.finish(model, &partial, gradient)
    }

    /// L alone, in about half the time.
    pub fn loss(&mut self, model: &LinearModel<T>, batch: &Batch<'_, T>) -> Result<f64, Error> {
        let mut g = LinearModel::zeros(model.n_classes(), model.n_features());
        self.loss_and_gradient(model, batch, &mut g)
    }

    /// Adds the unnormalised sums of one chunk to `partial`.
    pub fn accumulate(
        &mut self,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        partial: &mut Partial<T>,
    ) -> Result<(), Error> {
        self.objective.validate()?;
        model.check_features(batch.n_features())?;
        partial.check_shape(model)?;
        for i in 0..batch.n_samples() {
            let row = batch.row_index(i);
            let label = batch.labels()[row];
            if label as usize >= model.n_classes() {
                return Err(Error::Label { row, label, classes: model.n_classes() });
            }
            let s = reference::scores(model, batch.features().row(row).unwrap());
            if s.iter().any(|s| !s.is_finite()) {
                return Err(Error::NonFinite { row, cause: NonFinite::Score });
            }
        }
        let r = reference::loss_and_gradient(&self.objective.with_l2(0.0), model, batch);
        let z = batch.total_weight();
        let sums =
            r.weights.iter().chain(&r.bias).chain([&r.loss]).map(|v| v * z).chain([z]).collect();
        partial.merge(&Partial::from_sums(model.n_classes(), model.n_features(), sums)?)
    }

    /// Normalises and regularises: the loss of all that was accumulated, and its gradient.
    pub fn finish(
        &mut self,
        model: &LinearModel<T>,
        partial: &Partial<T>,
        gradient: &mut LinearModel<T>,
    ) -> Result<f64, Error> {
        self.objective.validate()?;
        partial.check_shape(model)?;
        model.check_shape("gradient", gradient.n_classes(), gradient.n_features())?;
        let z = partial.total_weight();
        if z == 0.0 {
            return Err(Error::NoSamples);
        }
        let l2 = self.objective.l2();
        for (i, (g, s)) in gradient.parameters_mut().iter_mut().zip(partial.gradient()).enumerate()
        {
            let w = model.weights().get(i).map_or(0.0, |w| w.to_f64());
            *g = T::from_f64(s / z + 2.0 * l2 * w);
        }
        let squares: f64 = model.weights().iter().map(|w| w.to_f64() * w.to_f64()).sum();
        Ok(partial.loss() / z + l2 * squares)
    }
}

pub(crate) fn scores<T: Scalar>(
    model: &LinearModel<T>,
    features: MatrixView<'_, T>,
) -> Result<Vec<T>, Error> {
    model.check_features(features.cols())?;
    Ok((0..features.rows())
        .flat_map(|i| reference::scores(model, features.row(i).unwrap()))
        .map(T::from_f64)
        .collect())
}
