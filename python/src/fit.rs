//! Fits.

use crate::{
    arguments,
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
    Batch, Error, Evaluator, LinearModel, Objective,
    train::{DualAscent, Lbfgs, Progress, Schedule, Sgd, StopReason, Summary},
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
    /// By how much the objective is above the least there is, at most; NaN where no bound is known.
    gap: f64,
    iterations: usize,
    evaluations: usize,
    stop_reason: &'static str,
    converged: bool,
    failed: bool,
    /// What a signal or `on_iteration` raised, which ended the fit.
    interrupt: Option<Py<PyAny>>,
}

impl Fit {
    pub(crate) fn new<T: Number>(
        py: Python<'_>,
        model: &LinearModel<T>,
        summary: Summary,
        interrupt: Option<PyErr>,
    ) -> Self {
        let Summary { progress, stop_reason, gap } = summary;
        let (weights, bias) = to_arrays(py, model);
        Self {
            weights: weights.unbind(),
            bias: bias.unbind(),
            objective: progress.objective,
            gradient_norm: progress.gradient_norm,
            gap: gap.unwrap_or(f64::NAN),
            iterations: progress.iteration,
            evaluations: progress.evaluations,
            stop_reason: stop_reason.name(),
            converged: stop_reason.converged(),
            failed: stop_reason == StopReason::Diverged,
            interrupt: interrupt.map(|error| error.into_value(py).into_any()),
        }
    }
}

/// What minimises.
pub(crate) enum Solver {
    Lbfgs(Lbfgs),
    Dual(DualAscent),
    Sgd(Sgd),
}

impl Solver {
    /// The one that gets to the optimum: past kinks, only dual ascent does. It takes λ > 0.
    pub(crate) fn to_optimum(objective: &Objective, max_iter: usize, tol: f64, ftol: f64) -> Self {
        match !objective.is_smooth() && objective.l2() > 0.0 {
            true => Self::Dual(DualAscent { tolerance: tol, max_epochs: max_iter, seed: 0 }),
            false => Self::Lbfgs(Lbfgs {
                max_iterations: max_iter,
                gradient_tolerance: tol,
                relative_decrease: ftol,
                ..Lbfgs::default()
            }),
        }
    }

    /// As near the optimum as cross-validation asks for.
    pub(crate) fn for_folds(self) -> Self {
        match self {
            Self::Lbfgs(solver) => Self::Lbfgs(solver.for_folds()),
            Self::Dual(solver) => Self::Dual(solver.for_folds()),
            Self::Sgd(solver) => Self::Sgd(solver),
        }
    }

    pub(crate) fn fit<T: Number>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_step: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        match self {
            Self::Lbfgs(solver) => solver.fit(evaluator, model, batch, on_step),
            Self::Dual(solver) => solver.fit(evaluator, model, batch, on_step),
            Self::Sgd(solver) => solver.fit(evaluator, model, batch, on_step),
        }
    }
}

/// What a fit is told, but for the data.
struct Job<'a, 'py> {
    objective: Objective,
    solver: Solver,
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
        let summary = detached(py, || {
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
        Ok(Fit::new(py, &model, summary, interrupt))
    }
}

/// Minimises the objective from W and b on: by dual ascent where the loss has kinks and λ > 0, or by L-BFGS. `tol` is
/// the bound on F − F*, relative to F, that ends the first, and the largest entry of the gradient that ends the second.
#[pyfunction]
#[pyo3(signature = (X, y, W, b, *, loss, l2, margin, label_smoothing, sample_weight, max_iter, tol, ftol, on_iteration = None))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub(crate) fn fit<'py>(
    X: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    loss: &str,
    #[pyo3(from_py_with = arguments::l2)] l2: f64,
    #[pyo3(from_py_with = arguments::margin)] margin: f64,
    #[pyo3(from_py_with = arguments::label_smoothing)] label_smoothing: f64,
    sample_weight: Option<&Bound<'py, PyAny>>,
    #[pyo3(from_py_with = arguments::max_iter)] max_iter: usize,
    #[pyo3(from_py_with = arguments::tol)] tol: f64,
    #[pyo3(from_py_with = arguments::ftol)] ftol: f64,
    on_iteration: Option<&Bound<'py, PyAny>>,
) -> PyResult<Fit> {
    let objective = objective(loss, l2, margin, label_smoothing)?;
    let solver = Solver::to_optimum(&objective, max_iter, tol, ftol);
    let job = Job { objective, solver, sample_weight, on_iteration };
    let (x, w) = (Input::new(X)?, array(W, "W")?);
    with_number!(x.is_double(&w), T => job.run::<T>(&x, y, &w, b))
}

/// One epoch of SGD over the rows of X, in minibatches of `batch_size`, from W and b on, after `steps` steps of earlier
/// calls: the t-th step of all is 1 / √t as long as the curvature of these rows allows. If the objective of these rows is
/// higher in the end, W and b stay what they were.
#[pyfunction]
#[pyo3(signature = (X, y, W, b, *, loss, l2, margin, label_smoothing, sample_weight, batch_size, steps))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub(crate) fn step<'py>(
    X: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    loss: &str,
    #[pyo3(from_py_with = arguments::l2)] l2: f64,
    #[pyo3(from_py_with = arguments::margin)] margin: f64,
    #[pyo3(from_py_with = arguments::label_smoothing)] label_smoothing: f64,
    sample_weight: Option<&Bound<'py, PyAny>>,
    batch_size: usize,
    steps: u64,
) -> PyResult<Fit> {
    let job = Job {
        objective: objective(loss, l2, margin, label_smoothing)?,
        solver: Solver::Sgd(Sgd {
            epochs: 1,
            batch_size,
            // As long as the curvature allows.
            learning_rate: 1e6,
            schedule: Schedule::InverseSquareRoot { before: steps },
            // The next call knows neither the last step nor the directions of these rows.
            momentum: 0.0,
            principal: 0,
            // Another order at every call.
            seed: steps,
            ..Sgd::default()
        }),
        sample_weight,
        on_iteration: None,
    };
    let (x, w) = (Input::new(X)?, array(W, "W")?);
    with_number!(x.is_double(&w), T => job.run::<T>(&x, y, &w, b))
}
