//! Features as their differences from a point. The bias is not regularised, so that a shift leaves W what it is, and
//! changes b by a product with W; but it makes the problem a better one where the features lie far from zero, since W
//! and b then hardly depend on each other.

use super::{Progress, StopReason, Summary, max_norm};
use crate::{Batch, Error, Evaluator, LinearModel, Scalar, Scaling};
use core::ops::ControlFlow;

/// Features lie far from zero if the mean of one is more than so many standard deviations: its own, or the largest of
/// all if it is constant. Less than that, the few digits that are lost are not missed, and features are read the faster
/// as they are.
const FAR: f64 = 100.0;

/// Rows that tell how far features are from zero, at most.
const MAX_ROWS: usize = 200;

/// What features are taken as instead of as they are seen: shifted, by what is added here to the shift that they may
/// have already. Sparse features lose the shift that they have, as they would not be sparse with it.
#[derive(Debug)]
pub(super) struct Shifted {
    scaling: Option<Scaling>,
    /// By what features as they are seen exceed those that are taken.
    pub(super) by: Vec<f64>,
}

impl Shifted {
    /// # Errors
    /// If there is no such scaling.
    pub(super) fn by<T: Scalar>(batch: &Batch<'_, T>, mut by: Vec<f64>) -> Result<Self, Error> {
        let d = batch.n_features();
        let scaling = batch.features().scaling();
        let of = |feature| scaling.map_or((0.0, 1.0), |s| (s.shift(feature), s.scale(feature)));
        let (mut shift, scale): (Vec<f64>, Vec<f64>) = (0..d).map(of).unzip();
        if batch.features().is_sparse() {
            let by = shift.iter().zip(&scale).map(|(shift, scale)| -shift * scale).collect();
            let scaling = scaling.map(|_| Scaling::new(vec![0.0; d], scale)).transpose()?;
            return Ok(Self { scaling, by });
        }
        for ((shift, scale), by) in shift.iter_mut().zip(&scale).zip(&mut by) {
            let to = *shift + *by / scale;
            match T::from_f64(to).is_finite() {
                true => *shift = to,
                // A feature that is constant, with scale 0, or beyond the range of T.
                false => *by = 0.0,
            }
        }
        Ok(Self { scaling: Some(Scaling::new(shift, scale)?), by })
    }

    /// By about their means, if that of any dense feature is far from zero.
    ///
    /// # Errors
    /// As [`by`](Self::by).
    fn if_far<T: Scalar>(batch: &Batch<'_, T>) -> Result<Option<Self>, Error> {
        let (n, d) = (batch.n_samples(), batch.n_features());
        if batch.features().is_sparse() {
            return Ok(None);
        }
        let rows = || {
            let samples = (0..n).step_by(n.div_ceil(MAX_ROWS));
            samples.filter_map(|i| batch.features().exact_row(batch.row_index(i)))
        };
        let (mut means, mut squares) = (vec![0.0; d], vec![0.0; d]);
        let share = 1.0 / n.div_ceil(n.div_ceil(MAX_ROWS)) as f64;
        for row in rows() {
            means.iter_mut().zip(row).for_each(|(mean, x)| *mean += share * x);
        }
        for row in rows() {
            let differences = row.iter().zip(&means).map(|(x, mean)| x - mean);
            squares.iter_mut().zip(differences).for_each(|(sum, x)| *sum += share * x * x);
        }
        // No more than rounding errors of the mean are no deviation, and would be seen instead of a constant.
        let deviation = |(mean, square): (&f64, &f64)| {
            Some(square.sqrt()).filter(|deviation| *deviation > 1e-12 * mean.abs())
        };
        let largest = means.iter().zip(&squares).filter_map(deviation).fold(0.0, f64::max);
        let far = means
            .iter()
            .zip(&squares)
            .any(|(mean, square)| mean.abs() > FAR * deviation((mean, square)).unwrap_or(largest));
        if !far {
            return Ok(None);
        }
        for row in rows().take(1) {
            let constant = means.iter_mut().zip(&squares).zip(row);
            for ((mean, _), x) in constant.filter(|((m, s), _)| deviation((m, s)).is_none()) {
                *mean = x;
            }
        }
        Self::by(batch, means).map(Some)
    }

    /// The batch as it is taken.
    ///
    /// # Errors
    /// If a shift or a scale is not finite in `T`.
    pub(super) fn batch<'a, T: Scalar>(
        &'a self,
        batch: &Batch<'a, T>,
    ) -> Result<Batch<'a, T>, Error> {
        match &self.scaling {
            Some(scaling) => batch.with_scaling(scaling),
            None => Ok(*batch),
        }
    }

    /// What the shift adds to the bias of a class of some weights.
    pub(super) fn of_bias<T: Scalar>(&self, weights: &[T]) -> f64 {
        weights.iter().zip(&self.by).map(|(weight, by)| weight.to_f64() * by).sum()
    }

    /// Writes the bias that a model has of features as they are seen, plus `sign` times what the shift adds to it.
    fn move_bias<T: Scalar>(&self, from: &LinearModel<T>, sign: f64, to: &mut LinearModel<T>) {
        to.parameters_mut().copy_from_slice(from.parameters());
        let of_class = from.weights().chunks_exact(self.by.len()).zip(from.bias());
        for (moved, (weights, bias)) in to.bias_mut().iter_mut().zip(of_class) {
            *moved = T::from_f64(bias.to_f64() + sign * self.of_bias(weights));
        }
    }
}

/// What a solver does with a batch.
pub(super) type Fit<'f, T> = &'f mut dyn FnMut(
    &mut Evaluator<T>,
    &mut LinearModel<T>,
    &Batch<'_, T>,
    &mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
) -> Result<Summary, Error>;

/// Fits a model by a solver that, where features lie far from zero, sees them shifted.
///
/// # Errors
/// Those of the solver.
pub(super) fn fit<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    model: &mut LinearModel<T>,
    batch: &Batch<'_, T>,
    mut on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    solver: Fit<'_, T>,
) -> Result<Summary, Error> {
    let Some(shifted) = Shifted::if_far(batch)? else {
        return solver(evaluator, model, batch, &mut on_iteration);
    };
    let mut inner = model.clone();
    shifted.move_bias(model, 1.0, &mut inner);
    let inner_start = inner.clone();
    let inner_batch = shifted.batch(batch)?;
    let (start, mut at_start) = (model.clone(), None);
    let mut summary = solver(evaluator, &mut inner, &inner_batch, &mut |progress, inner| {
        if progress.iteration == 0 {
            at_start = Some(progress.objective);
        }
        shifted.move_bias(inner, -1.0, model);
        on_iteration(progress, model)
    })?;
    shifted.move_bias(&inner, -1.0, model);
    let mut gradient = inner;
    let progress = &mut summary.progress;
    // A fit that goes on from a checkpoint is not told of its start.
    let at_start = match at_start {
        Some(at_start) => at_start,
        None => evaluator.loss_and_gradient(&inner_start, &inner_batch, &mut gradient)?,
    };
    // Of the model as it was rounded, which may take away more than what the fit gained.
    let mut objective = evaluator.loss_and_gradient(model, batch, &mut gradient)?;
    if progress.iteration > 0 && objective > at_start {
        model.clone_from(&start);
        objective = evaluator.loss_and_gradient(model, batch, &mut gradient)?;
        summary.stop_reason = match summary.stop_reason {
            StopReason::Interrupted => StopReason::Interrupted,
            _ if max_norm(model.parameters()) == 0.0 => StopReason::NoProgress,
            _ => StopReason::LineSearch,
        };
    }
    summary.gap = summary.gap.map(|gap| gap + (objective - progress.objective).max(0.0));
    (progress.objective, progress.gradient_norm) = (objective, max_norm(gradient.parameters()));
    Ok(summary)
}
