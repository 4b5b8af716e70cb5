//! Predictions.

use crate::{
    arrays::{Input, array, read_model, with_number},
    exception,
    threads::detached,
};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use softmargin::LinearModel;

/// Has a model predict something of the rows of X with the method `$method`, and makes the result an array by
/// `$to_array`, which is given the number of rows and classes.
macro_rules! predicted {
    ($method:ident($x:ident, $w:ident, $b:ident), |$result:ident, $shape:ident| $to_array:expr) => {{
        let (x, w) = (Input::new($x)?, array($w, "W")?);
        with_number!(x.is_double(&w), T => {
            let mut model = LinearModel::<T>::zeros(0, 0);
            read_model(&w, $b, &mut model)?;
            let x = x.read::<T>()?;
            let x = x.features()?;
            let $shape = [x.rows(), model.n_classes()];
            let $result = detached(w.py(), || model.$method(x)).map_err(exception)?;
            Ok($to_array.into_any())
        })
    }};
}

/// The scores X Wᵀ + b, N × C.
#[pyfunction]
#[allow(non_snake_case)]
pub(crate) fn scores<'py>(
    X: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    predicted!(scores(X, W, b), |scores, shape| PyArray1::from_vec(X.py(), scores)
        .reshape(shape)?)
}

/// The classes with the largest scores, as uint32.
#[pyfunction]
#[allow(non_snake_case)]
pub(crate) fn predict<'py>(
    X: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    predicted!(predict(X, W, b), |labels, _shape| PyArray1::from_vec(X.py(), labels))
}

/// softmax(X Wᵀ + b), N × C.
#[pyfunction]
#[allow(non_snake_case)]
pub(crate) fn predict_proba<'py>(
    X: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    predicted!(predict_proba(X, W, b), |proba, shape| {
        PyArray1::from_vec(X.py(), proba).reshape(shape)?
    })
}
