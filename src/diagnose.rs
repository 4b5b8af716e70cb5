//! What made a result infinite or NaN. Only ever run on the way to an error, so it may take its time.

use crate::{Batch, Element, Error, LinearModel, NonFinite, Objective, reference};

/// The cause of a score of `row` that is not finite.
pub(crate) fn score<T: Element>(model: &LinearModel<T>, batch: &Batch<'_, T>, row: usize) -> Error {
    // As they are stored: of a feature that is not finite, scaling would make another one.
    let mut x = vec![0.0; batch.n_features()];
    batch.features().read_row(row, &mut x).expect("a row of the batch");
    let stored: Vec<T> = x.iter().copied().map(T::from_f64).collect();
    let mut cause = score_cause(model, &stored);
    if let (NonFinite::Score, Some(scaled)) = (cause, batch.features().row(row))
        && let Some(feature) = scaled.iter().position(|value| !value.is_finite())
    {
        cause = NonFinite::Scaled { feature, value: x[feature] };
    }
    Error::NonFinite { row, cause }
}

/// The cause of a score of the features `x` that is not finite.
pub(crate) fn score_cause<T: Element>(model: &LinearModel<T>, x: &[T]) -> NonFinite {
    let bad = |values: &[T]| values.iter().position(|value| !value.is_finite());
    if let Some(feature) = bad(x) {
        NonFinite::Feature { feature, value: x[feature].to_f64() }
    } else if let Some(i) = bad(model.weights()) {
        let (class, feature) = (i / model.n_features(), i % model.n_features());
        NonFinite::Weight { class, feature, value: model.weights()[i].to_f64() }
    } else if let Some(class) = bad(model.bias()) {
        NonFinite::Bias { class, value: model.bias()[class].to_f64() }
    } else {
        NonFinite::Score
    }
}

/// The row at which the sum of the gradient, or of the Hessian product with a direction, leaves the range of `T`: the first one at which the
/// magnitudes of the terms of an entry do.
pub(crate) fn gradient<T: Element>(
    objective: &Objective,
    model: &LinearModel<T>,
    direction: Option<&LinearModel<T>>,
    batch: &Batch<'_, T>,
) -> Error {
    let limit = T::MAX.to_f64();
    let mut magnitudes = vec![0.0; model.n_classes() * model.n_features()];
    let mut row = 0;
    for i in 0..batch.n_samples() {
        row = batch.row_index(i);
        let x = batch.features().row(row).expect("a row of the batch");
        let s = reference::scores(model, &x);
        let y = batch.labels()[row] as usize;
        let ds = match direction {
            None => reference::sample_loss(objective, &s, y).1,
            Some(direction) => {
                let t = reference::scores(direction, &x);
                reference::sample_hessian_product(objective, &s, &t, y)
            }
        };
        let w = batch.weight(row).to_f64();
        for (magnitudes, ds) in magnitudes.chunks_exact_mut(model.n_features()).zip(ds) {
            for (magnitude, x) in magnitudes.iter_mut().zip(&x) {
                *magnitude += (w * ds * x.to_f64()).abs();
            }
        }
        if magnitudes.iter().any(|magnitude| *magnitude >= limit || magnitude.is_nan()) {
            break;
        }
    }
    Error::NonFinite { row, cause: NonFinite::Gradient }
}
