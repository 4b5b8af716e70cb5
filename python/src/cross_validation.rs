//! Cross-validation.

use crate::{
    arguments,
    arrays::{Input, Number, array, batch, read_labels, read_model, weights, with_number},
    exception,
    fit::Solver,
    objective,
    threads::detached,
};
use core::ops::ControlFlow;
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyUntypedArray};
use pyo3::prelude::*;
use softmargin::{
    Error, Evaluator, LinearModel, Objective,
    train::{self, CrossValidated, Fold, FoldScore, LearnedCurvature, Progress},
};

/// What became of each λ, from the largest to the smallest.
#[pyclass(frozen, get_all, module = "softmargin._core")]
pub(crate) struct CrossValidation {
    l2s: Py<PyAny>,
    /// Of each fold and each λ.
    losses: Py<PyAny>,
    accuracies: Py<PyAny>,
    /// Over the folds, of each λ.
    mean_losses: Py<PyAny>,
    standard_errors: Py<PyAny>,
    /// The λ with the least mean loss, and the largest that is within a standard error of it.
    best: f64,
    one_standard_error: f64,
    /// How many fits did not converge, of how many.
    not_converged: (usize, usize),
}

/// What ends it early: an error, or what a signal raised.
enum Stop {
    Error(Error),
    Raised(PyErr),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Rows to train on and rows to validate on.
type Rows<'py> = (PyReadonlyArray1<'py, u32>, PyReadonlyArray1<'py, u32>);

/// What is asked for, but for the data.
struct Job<'a, 'py> {
    objective: Objective,
    l2s: Vec<f64>,
    sample_weight: Option<&'a Bound<'py, PyAny>>,
    folds: Vec<Fold>,
    max_iter: usize,
    tol: f64,
    ftol: f64,
}

impl Job<'_, '_> {
    fn run<T: Number>(
        self,
        x: &Input<'_>,
        y: &Bound<'_, PyAny>,
        w: &Bound<'_, PyUntypedArray>,
        b: &Bound<'_, PyAny>,
    ) -> PyResult<CrossValidation> {
        let py = w.py();
        let (mut start, mut labels) = (LinearModel::<T>::zeros(0, 0), Vec::new());
        read_model(w, b, &mut start)?;
        read_labels(y, start.n_classes(), &mut labels)?;
        let x = x.read::<T>()?;
        let weights = weights::<T>(self.sample_weight)?;
        let x = x.features()?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        let validated = detached(py, || -> Result<_, Stop> {
            let batch = batch(x, &labels, weights)?;
            let evaluator = Evaluator::new(self.objective);
            let mut curvature = LearnedCurvature::default();
            train::cross_validate(
                &evaluator,
                &self.l2s,
                &start,
                &batch,
                &self.folds,
                |evaluator, model, batch| {
                    let mut raised = None;
                    let objective = evaluator.objective();
                    let solver = Solver::to_optimum(&objective, self.max_iter, self.tol, self.ftol);
                    let check = |_: &Progress, _: &LinearModel<T>| match Python::attach(|py| {
                        py.check_signals()
                    }) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => {
                            raised = Some(error);
                            ControlFlow::Break(())
                        }
                    };
                    let summary = match solver.for_folds() {
                        Solver::Lbfgs(solver) => solver.fit_with_curvature(
                            &mut curvature,
                            evaluator,
                            model,
                            batch,
                            check,
                        )?,
                        solver => solver.fit(evaluator, model, batch, check)?,
                    };
                    raised.map_or(Ok(summary), |error| Err(Stop::Raised(error)))
                },
            )
        })
        .map_err(|stop| match stop {
            Stop::Error(error) => exception(error),
            Stop::Raised(error) => error,
        })?;
        let path = &validated.path;
        let of_folds = |value: fn(&FoldScore) -> f64| -> PyResult<Py<PyAny>> {
            let row = |i: usize| path.iter().map(|point| value(&point.folds[i])).collect();
            let rows: Vec<Vec<f64>> = (0..self.folds.len()).map(row).collect();
            Ok(PyArray2::from_vec2(py, &rows)?.into_any().unbind())
        };
        let of_path = |value: fn(&CrossValidated) -> f64| {
            PyArray1::from_iter(py, path.iter().map(value)).into_any().unbind()
        };
        let fits = || path.iter().flat_map(|point| &point.folds);
        let not_converged = fits().filter(|fit| !fit.summary.stop_reason.converged()).count();
        Ok(CrossValidation {
            l2s: of_path(|point| point.l2),
            losses: of_folds(|fold| fold.loss)?,
            accuracies: of_folds(|fold| fold.accuracy)?,
            mean_losses: of_path(|point| point.loss.mean),
            standard_errors: of_path(|point| point.loss.standard_error),
            best: validated.best().l2,
            one_standard_error: validated.one_standard_error().l2,
            not_converged: (not_converged, fits().count()),
        })
    }
}

/// Fits a model for each λ, from W and b on, to the rows of each fold that are to train on, and validates it on the others.
#[pyfunction]
#[pyo3(signature = (X, y, W, b, *, loss, l2s, margin, label_smoothing, sample_weight, folds, max_iter, tol, ftol))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub(crate) fn cross_validate<'py>(
    X: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    loss: &str,
    #[pyo3(from_py_with = arguments::l2s)] l2s: Vec<f64>,
    #[pyo3(from_py_with = arguments::margin)] margin: f64,
    #[pyo3(from_py_with = arguments::label_smoothing)] label_smoothing: f64,
    sample_weight: Option<&Bound<'py, PyAny>>,
    folds: Vec<Rows<'py>>,
    #[pyo3(from_py_with = arguments::max_iter)] max_iter: usize,
    #[pyo3(from_py_with = arguments::tol)] tol: f64,
    #[pyo3(from_py_with = arguments::ftol)] ftol: f64,
) -> PyResult<CrossValidation> {
    let objective = objective(loss, 0.0, margin, label_smoothing)?;
    let fold = |(training, validation): Rows<'py>| {
        let rows = |rows: PyReadonlyArray1<'py, u32>| rows.as_array().iter().copied().collect();
        Fold { training: rows(training), validation: rows(validation) }
    };
    let folds = folds.into_iter().map(fold).collect();
    let job = Job { objective, l2s, sample_weight, folds, max_iter, tol, ftol };
    let (x, w) = (Input::new(X)?, array(W, "W")?);
    with_number!(x.is_double(&w), T => job.run::<T>(&x, y, &w, b))
}
