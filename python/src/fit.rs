//! Fits.

use crate::{
    arrays::{
        Input, Number, array, batch, read_labels, read_model, to_arrays, weights, with_number,
    },
    exception, objective,
    threads::detached,
};
use core::ops::ControlFlow;
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use softmargin::{
    Evaluator, LinearModel, Objective,
    train::{Lbfgs, Progress, StopReason, Summary},
};

/// A model, and how its fit ended.
#[pyclass(frozen, get_all, module = "softmargin._core")]
pub(crate) struct Fit {
    /// W, C × D.
    weights: Py<PyAny>,
    /// b, C.
    bias: Py<PyAny>,
    objective: f64,
    gradient_norm: f64,
    iterations: usize,
    evaluations: usize,
    stop_reason: &'static str,
    converged: bool,
    failed: bool,
    /// What a signal or `on_iteration` raised, which ended the fit.
    interrupt: Option<Py<PyAny>>,
}

/// What a fit is told, but for the data.
struct Job<'a, 'py> {
    objective: Objective,
    solver: Lbfgs,
    sample_weight: Option<&'a Bound<'py, PyAny>>,
    on_iteration: Option<&'a Bound<'py, PyAny>>,
}

impl Job<'_, '_> {
    fn run<T: Number>(
        self,
        x: &Input<'_>,
        y: &Bound<'_, PyAny>,
        w: &Bound<'_, PyUntypedArray>,
        b: &Bound<'_, PyAny>,
    ) -> PyResult<Fit> {
        let py = w.py();
        let (mut model, mut labels) = (LinearModel::<T>::zeros(0, 0), Vec::new());
        read_model(w, b, &mut model)?;
        read_labels(y, model.n_classes(), &mut labels)?;
        let x = x.read::<T>()?;
        let weights = weights::<T>(self.sample_weight)?;
        let x = x.features()?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        let on_iteration = self.on_iteration.map(|on_iteration| on_iteration.clone().unbind());
        let mut interrupt = None;
        let tell = |progress: &Progress| {
            Python::attach(|py| {
                py.check_signals()?;
                let Some(on_iteration) = &on_iteration else { return Ok(()) };
                let Progress { iteration, objective, gradient_norm, .. } = *progress;
                on_iteration.call1(py, (iteration, objective, gradient_norm)).map(drop)
            })
        };
        let Summary { progress, stop_reason, .. } = detached(py, || {
            let batch = batch(x, &labels, weights)?;
            let mut evaluator = Evaluator::new(self.objective);
            self.solver.fit(&mut evaluator, &mut model, &batch, |progress, _| {
                match tell(progress) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        interrupt = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })
        })
        .map_err(exception)?;
        let (weights, bias) = to_arrays(py, &model);
        Ok(Fit {
            weights: weights.unbind(),
            bias: bias.unbind(),
            objective: progress.objective,
            gradient_norm: progress.gradient_norm,
            iterations: progress.iteration,
            evaluations: progress.evaluations,
            stop_reason: stop_reason.name(),
            converged: stop_reason.converged(),
            failed: stop_reason == StopReason::Diverged,
            interrupt: interrupt.map(|error| error.into_value(py).into_any()),
        })
    }
}

/// Minimises the objective from W and b on.
#[pyfunction]
#[pyo3(signature = (X, y, W, b, *, loss, l2, margin, label_smoothing, sample_weight, max_iter, memory, tol, ftol, on_iteration = None))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub(crate) fn fit<'py>(
    X: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    loss: &str,
    l2: f64,
    margin: f64,
    label_smoothing: f64,
    sample_weight: Option<&Bound<'py, PyAny>>,
    max_iter: usize,
    memory: usize,
    tol: f64,
    ftol: f64,
    on_iteration: Option<&Bound<'py, PyAny>>,
) -> PyResult<Fit> {
    let job = Job {
        objective: objective(loss, l2, margin, label_smoothing)?,
        solver: Lbfgs {
            max_iterations: max_iter,
            memory,
            gradient_tolerance: tol,
            relative_decrease: ftol,
            ..Lbfgs::default()
        },
        sample_weight,
        on_iteration,
    };
    let (x, w) = (Input::new(X)?, array(W)?);
    with_number!(x.is_double(&w), T => job.run::<T>(&x, y, &w, b))
}
