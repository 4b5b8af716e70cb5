//! The extension module of the Python package: arrays in, arrays out. What Python is better at (scikit-learn's
//! conventions, labels that are names) is in `softmargin/`.

mod arguments;
mod arrays;
mod cross_validation;
mod evaluator;
mod files;
mod fit;
mod lbfgs;
mod partial;
mod predict;
mod threads;
mod tree;

use pyo3::{
    create_exception,
    exceptions::{PyOSError, PyValueError},
    prelude::*,
};
use softmargin::{Error, NonFinite, Objective};

create_exception!(
    softmargin,
    NonFiniteError,
    PyValueError,
    "A feature, a score, a loss or a gradient is NaN or infinite. The message names the row."
);

/// The exception for an error of the crate: its message says what is wrong, and where.
fn exception(error: Error) -> PyErr {
    match error {
        Error::File { .. } => PyOSError::new_err(error.to_string()),
        Error::NonFinite { cause: NonFinite::Feature { feature, .. }, .. } => {
            let exception = NonFiniteError::new_err(error.to_string());
            // For those who know what the column is called.
            let named = Python::attach(|py| exception.value(py).setattr("_feature", feature));
            named.map_or_else(|error| error, |()| exception)
        }
        Error::NonFinite { .. } | Error::Overflow { .. } => {
            NonFiniteError::new_err(error.to_string())
        }
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// The objective of the arguments that all functions have.
fn objective(loss: &str, l2: f64, margin: f64, label_smoothing: f64) -> PyResult<Objective> {
    let objective = match loss {
        "cross_entropy" => Objective::cross_entropy(),
        "hinge" => Objective::hinge(margin),
        "squared_hinge" => Objective::squared_hinge(margin),
        "crammer_singer" => Objective::crammer_singer(margin),
        _ => {
            let known = "cross_entropy, hinge, squared_hinge, crammer_singer";
            let message = format!("unknown loss {loss:?} (known: {known})");
            return Err(PyValueError::new_err(message));
        }
    };
    Ok(objective.with_l2(l2).with_label_smoothing(label_smoothing))
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::{
        NonFiniteError,
        arrays::refuse_masked,
        cross_validation::{CrossValidation, cross_validate},
        evaluator::{Evaluator, hessian_product, loss_and_gradient},
        files::{load, save},
        fit::{Fit, fit, step},
        lbfgs::lbfgs,
        partial::Partial,
        predict::{predict, predict_proba, scores},
        threads::forked,
        tree::PartialTree,
    };

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
