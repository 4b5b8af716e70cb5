//! Predictions.

use crate::{
    arrays::{Number, array, is_double, matrix, read_model, view, with_number},
    exception,
    threads::detached,
};
use numpy::{PyArray1, PyArrayMethods, PyUntypedArray};
use pyo3::prelude::*;
use softmargin::{LinearModel, MatrixView};

/// Has a model predict something of the rows of X; returns it with the number of rows and classes.
fn predicted<'py, T: Number, R: Send>(
    x: &Bound<'py, PyUntypedArray>,
    w: &Bound<'py, PyUntypedArray>,
    b: &Bound<'py, PyAny>,
    predict: impl Fn(&LinearModel<T>, MatrixView<'_, T>) -> Result<R, softmargin::Error> + Sync,
) -> PyResult<(R, [usize; 2])> {
    let mut model = LinearModel::zeros(0, 0);
    read_model(w, b, &mut model)?;
    let x = matrix::<T>(x, "X")?;
    let x = view(&x)?;
    let result = detached(w.py(), || predict(&model, x)).map_err(exception)?;
    Ok((result, [x.rows(), model.n_classes()]))
}

/// The scores X Wᵀ + b, N × C.
#[pyfunction]
#[allow(non_snake_case)]
pub(crate) fn scores<'py>(
    X: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (x, w) = (array(X)?, array(W)?);
    with_number!(is_double(&x, &w), T => {
        let (scores, shape) = predicted::<T, _>(&x, &w, b, |model, x| model.scores(x))?;
        Ok(PyArray1::from_vec(X.py(), scores).reshape(shape)?.into_any())
    })
}

/// The classes with the largest scores, as uint32.
#[pyfunction]
#[allow(non_snake_case)]
pub(crate) fn predict<'py>(
    X: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (x, w) = (array(X)?, array(W)?);
    with_number!(is_double(&x, &w), T => {
        let (labels, _) = predicted::<T, _>(&x, &w, b, |model, x| model.predict(x))?;
        Ok(PyArray1::from_vec(X.py(), labels).into_any())
    })
}

/// softmax(X Wᵀ + b), N × C.
#[pyfunction]
#[allow(non_snake_case)]
pub(crate) fn predict_proba<'py>(
    X: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (x, w) = (array(X)?, array(W)?);
    with_number!(is_double(&x, &w), T => {
        let (proba, shape) = predicted::<T, _>(&x, &w, b, |model, x| model.predict_proba(x))?;
        Ok(PyArray1::from_vec(X.py(), proba).reshape(shape)?.into_any())
    })
}
