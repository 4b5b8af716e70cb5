//! L-BFGS over sums that others computed.

use crate::{
    NonFiniteError, arguments,
    arrays::{
        Input, Number, array, batch, is_double, read_labels, read_model, to_arrays, weights,
        with_number,
    },
    exception,
    fit::Fit,
    objective,
    partial::Partial,
    threads::detached,
};
use core::ops::ControlFlow;
use numpy::PyUntypedArray;
use pyo3::{
    exceptions::{PyStopIteration, PyTypeError, PyValueError},
    prelude::*,
    types::{PyDict, PyTuple},
};
use softmargin::{
    Error, Evaluator, LinearModel, Objective,
    train::{Lbfgs, Progress, StopReason, Summary, Sums},
};

/// What a fit is told, but for W and b.
struct Job<'a, 'py> {
    fun: &'a Bound<'py, PyAny>,
    objective: Objective,
    solver: Lbfgs,
    sample: Option<Bound<'py, PyTuple>>,
    /// Whether `fun` is told by keywords what the sums are of.
    gap: bool,
    callback: Option<&'a Bound<'py, PyAny>>,
}

impl<'py> Job<'_, 'py> {
    fn run<T: Number>(
        self,
        w: &Bound<'py, PyUntypedArray>,
        b: &Bound<'py, PyAny>,
    ) -> PyResult<Fit> {
        let py = w.py();
        let mut model = LinearModel::<T>::zeros(0, 0);
        read_model(w, b, &mut model)?;

        let (mut x, mut labels, mut of_samples) = (None, Vec::new(), None);
        if let Some(sample) = &self.sample {
            let fault = || {
                let n = sample.len();
                let message = format!("sample is (X, y) or (X, y, sample_weight), not {n} items");
                PyValueError::new_err(message)
            };
            if !matches!(sample.len(), 2 | 3) {
                return Err(fault());
            }
            x = Some(Input::new(&sample.get_item(0)?)?.read::<T>()?);
            read_labels(&sample.get_item(1)?, model.n_classes(), &mut labels)?;
            let given = sample.get_item(2).ok().filter(|given| !given.is_none());
            of_samples = weights::<T>(given.as_ref())?;
        }
        let x = x.as_ref().map(|x| x.features()).transpose()?;
        let of_samples = of_samples.as_ref().map(|weights| weights.as_slice()).transpose()?;

        let fun = self.fun.clone().unbind();
        let callback = self.callback.map(|callback| callback.clone().unbind());
        let (mut raised, mut last) = (None, None);
        let n_classes = model.n_classes();
        let result = detached(py, || {
            let sample = x.map(|x| batch(x, &labels, of_samples)).transpose()?;
            let mut in_callback = None;
            let result = self.solver.fit_partials(
                &mut Evaluator::new(self.objective),
                &mut model,
                sample.as_ref(),
                |sums, partial| {
                    // The gap takes others, which `fun` computes if it is told of them.
                    let usual = sums.direction.is_none() && sums.model.n_classes() == n_classes;
                    if !(usual || self.gap) {
                        return Err(Error::NoSamples);
                    }
                    let sums = Python::attach(|py| {
                        let keywords = self.gap.then(|| keywords(py, sums)).transpose()?;
                        let sums = fun.call(py, to_arrays(py, sums.model), keywords.as_ref())?;
                        let Ok(sums) = sums.bind(py).cast::<Partial>() else {
                            let kind = sums.bind(py).get_type();
                            let message = format!("fun is to return a Partial, not {kind}");
                            return Err(PyTypeError::new_err(message));
                        };
                        sums.get().read::<T>(py)
                    });
                    match sums {
                        Ok(sums) => {
                            *partial = sums;
                            // Their number is for the report, which this fit has none of.
                            Ok(0)
                        }
                        Err(error) => {
                            let error = raised.insert(error);
                            let too_far =
                                Python::attach(|py| error.is_instance_of::<NonFiniteError>(py));
                            // The first one is for the solver to mend; any other ends the fit.
                            Err(if too_far {
                                Error::Overflow { what: "a sum" }
                            } else {
                                Error::NoSamples
                            })
                        }
                    }
                },
                |progress, _| {
                    last = Some(*progress);
                    let Some(callback) = &callback else { return ControlFlow::Continue(()) };
                    let Progress { iteration, objective, gradient_norm, .. } = *progress;
                    let told = Python::attach(|py| {
                        callback.call1(py, (iteration, objective, gradient_norm)).map(drop)
                    });
                    match told {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => {
                            in_callback = Some(error);
                            ControlFlow::Break(())
                        }
                    }
                },
            );
            // What `fun` raised for a step that was too long is forgotten when the fit goes on; but not what it raised
            // for the gap.
            let too_far =
                |error: &PyErr| Python::attach(|py| error.is_instance_of::<NonFiniteError>(py));
            if result.is_ok() && raised.as_ref().is_none_or(too_far) {
                raised = in_callback;
            }
            result
        });
        let stopped = raised
            .as_ref()
            .is_some_and(|error: &PyErr| error.is_instance_of::<PyStopIteration>(py));
        let summary = match (result, raised, last) {
            (_, Some(_), Some(progress)) if stopped => {
                Summary { progress, stop_reason: StopReason::Interrupted, gap: None }
            }
            (_, Some(error), _) => return Err(error),
            (result, None, _) => result.map_err(exception)?,
        };
        Ok(Fit::new(py, &model, summary, None))
    }
}

/// What the sums are of, for `fun`.
fn keywords<'py, T: Number>(py: Python<'py>, sums: &Sums<'_, T>) -> PyResult<Bound<'py, PyDict>> {
    let keywords = PyDict::new(py);
    let loss = sums.objective.loss();
    keywords.set_item("loss", loss.name())?;
    keywords.set_item("margin", loss.margin().unwrap_or(1.0))?;
    keywords.set_item("label_smoothing", sums.objective.label_smoothing())?;
    keywords.set_item("direction", sums.direction.map(|direction| to_arrays(py, direction)))?;
    Ok(keywords)
}

/// Minimises the mean loss plus λ ΣW² by L-BFGS, of data that only `fun` sees: in chunks, or on other machines.
///
/// Parameters
/// ----------
/// fun : callable
///     Called with W and b, returns a `Partial`: the sums over all samples, as `Evaluator.accumulate` computes them for the
///     same loss and margin, whatever λ is. A `NonFiniteError` of it, after the first call, tells that a step was too long,
///     and a shorter one is tried. A StopIteration ends the fit with the best model so far; any other exception is passed on.
/// W, b : arrays of shapes (n_classes, n_features) and (n_classes,)
///     Where to begin. The type of W, float32 or float64, is that of the model.
/// loss, l2, margin, label_smoothing
///     As those of `Evaluator`. Of a loss with kinks, a small decrease shows no convergence: the fit may end at a kink.
/// sample : tuple (X, y) or (X, y, sample_weight), optional
///     Some thousands of the samples, spread evenly. The curvature that they show saves most of the iterations.
/// gap : bool, default=False
///     Whether to compute a bound on how far the objective is above the least there is, where λ > 0. It takes sums of another
///     loss, of a W with one row more, and of Hessian products, too: `fun` is called with the keywords `loss`, `margin` and
///     `label_smoothing`, for an `Evaluator`, and `direction`, for its `accumulate`, every time.
/// max_iter : int, default=1000
/// tol, ftol : float
///     The largest entry of the gradient, and the relative decrease of the objective, that count as none.
/// callback : callable, optional
///     Called after every iteration with its number, the objective and the largest entry of the gradient. It may raise
///     StopIteration, too.
///
/// Returns
/// -------
/// An object with `weights`, `bias`, `objective`, `gap` (NaN if it is not known), `gradient_norm`, `iterations`,
/// `evaluations`, `converged`, and `stop_reason`, which says why a fit ended that did not converge. `failed`, if the objective was not finite however short
/// the steps.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from softmargin import Evaluator, Partial, lbfgs
/// >>> chunks = [([[0.0], [1.0]], [0, 0]), ([[2.0], [3.0]], [1, 1])]  # as many as there are, from wherever
/// >>> evaluator = Evaluator()
/// >>> def fun(W, b):
/// ...     total = Partial(*W.shape)
/// ...     for X, y in chunks:
/// ...         evaluator.accumulate(X, y, W, b, total)
/// ...     return total
/// >>> fit = lbfgs(fun, np.zeros((2, 1)), np.zeros(2), l2=0.01)
/// >>> fit.converged, (fit.bias / (fit.weights[0] - fit.weights[1])).round(2).tolist()
/// (True, [-0.75, 0.75])
#[pyfunction]
#[pyo3(signature = (fun, W, b, *, loss = "cross_entropy", l2 = 0.0, margin = 1.0, label_smoothing = 0.0, sample = None, gap = false, max_iter = 1000, tol = 1e-5, ftol = 1e-9, callback = None))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub(crate) fn lbfgs<'py>(
    fun: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    loss: &str,
    #[pyo3(from_py_with = arguments::l2)] l2: f64,
    #[pyo3(from_py_with = arguments::margin)] margin: f64,
    #[pyo3(from_py_with = arguments::label_smoothing)] label_smoothing: f64,
    #[pyo3(from_py_with = arguments::sample)] sample: Option<Bound<'py, PyTuple>>,
    gap: bool,
    #[pyo3(from_py_with = arguments::max_iter)] max_iter: usize,
    #[pyo3(from_py_with = arguments::tol)] tol: f64,
    #[pyo3(from_py_with = arguments::ftol)] ftol: f64,
    callback: Option<&Bound<'py, PyAny>>,
) -> PyResult<Fit> {
    let solver = Lbfgs {
        max_iterations: max_iter,
        gradient_tolerance: tol,
        relative_decrease: ftol,
        ..Lbfgs::default()
    };
    let objective = objective(loss, l2, margin, label_smoothing)?;
    let job = Job { fun, objective, solver, sample, gap, callback };
    let w = array(W, "W")?;
    with_number!(is_double(&w, &w), T => job.run::<T>(&w, b))
}
