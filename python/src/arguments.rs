//! Arguments whose errors name them. PyO3 does so in a note, which is no part of the message, and which Python has none of
//! before 3.11.

use pyo3::{
    exceptions::{PyOverflowError, PyTypeError, PyValueError},
    prelude::*,
    types::PyTuple,
};

fn named<'a, 'py, T: FromPyObject<'a, 'py>>(
    name: &str,
    value: &'a Bound<'py, PyAny>,
) -> PyResult<T> {
    let py = value.py();
    value.extract().map_err(|error: T::Error| {
        let error: PyErr = error.into();
        if error.is_instance_of::<PyTypeError>(py) {
            PyTypeError::new_err(format!("{name}: {}", error.value(py)))
        } else if error.is_instance_of::<PyOverflowError>(py) {
            // A number, but out of range.
            PyValueError::new_err(format!("{name} is {value}: {}", error.value(py)))
        } else {
            error
        }
    })
}

/// For `from_py_with`.
macro_rules! arguments {
    ($($name:ident: $kind:ty,)*) => {
        $(pub(crate) fn $name<'py>(value: &Bound<'py, PyAny>) -> PyResult<$kind> {
            named(stringify!($name), value)
        })*
    };
}

arguments! {
    l2: f64,
    l2s: Vec<f64>,
    margin: f64,
    label_smoothing: f64,
    tol: f64,
    ftol: f64,
    max_iter: usize,
    n_classes: usize,
    n_features: usize,
    n_chunks: u64,
    direction: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    sample: Option<Bound<'py, PyTuple>>,
}
