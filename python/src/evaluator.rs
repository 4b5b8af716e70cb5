//! Losses and gradients.

use crate::{
    arrays::{
        Input, Number, array, batch, read_labels, read_model, to_arrays, weights, with_number,
    },
    exception, objective,
    threads::detached,
};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadwriteArray1, PyReadwriteArray2};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyTuple};
use softmargin::{LinearModel, Objective};
use std::sync::{Mutex, PoisonError};

/// The memory of evaluations in one element type.
struct Engine<T> {
    evaluator: softmargin::Evaluator<T>,
    model: LinearModel<T>,
    gradient: LinearModel<T>,
    labels: Vec<u32>,
}

impl<T: Number> Engine<T> {
    fn new(objective: Objective) -> Self {
        let nothing = || LinearModel::zeros(0, 0);
        let evaluator = softmargin::Evaluator::new(objective);
        Self { evaluator, model: nothing(), gradient: nothing(), labels: Vec::new() }
    }

    /// The loss; and its gradient, if it is asked for, in `self.gradient`.
    fn evaluate(&mut self, py: Python<'_>, call: &Call<'_, '_>, slopes: bool) -> PyResult<f64> {
        let x = call.x.read::<T>()?;
        let weights = weights::<T>(call.sample_weight)?;
        read_model(&call.w, call.b, &mut self.model)?;
        let (c, d) = (self.model.n_classes(), self.model.n_features());
        read_labels(call.y, c, &mut self.labels)?;
        let x = x.features()?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        if slopes && (self.gradient.n_classes(), self.gradient.n_features()) != (c, d) {
            self.gradient = LinearModel::zeros(c, d);
        }
        let Self { evaluator, model, gradient, labels } = self;
        detached(py, || {
            let batch = batch(x, labels, weights)?;
            match slopes {
                true => evaluator.loss_and_gradient(model, &batch, gradient),
                false => evaluator.loss(model, &batch),
            }
        })
        .map_err(exception)
    }

    /// The loss and its gradient, in new arrays or in those of the caller.
    fn loss_and_gradient<'py>(
        &mut self,
        py: Python<'py>,
        call: &Call<'_, 'py>,
        out: Option<&Bound<'py, PyTuple>>,
    ) -> PyResult<Slopes<'py>> {
        let Some(out) = out else {
            let loss = self.evaluate(py, call, true)?;
            let (w, b) = to_arrays(py, &self.gradient);
            return Ok((loss, w, b));
        };
        // Whether the result can be written is found out before it is computed.
        let (mut w, mut b) = outputs::<T>(out, call)?;
        let loss = self.evaluate(py, call, true)?;
        w.as_array_mut().assign(&self.gradient.weights_array());
        b.as_array_mut().assign(&self.gradient.bias_array());
        Ok((loss, out.get_item(0)?, out.get_item(1)?))
    }
}

/// A loss, dW and db.
type Slopes<'py> = (f64, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The arrays that a gradient is to be written into.
fn outputs<'py, T: Number>(
    out: &Bound<'py, PyTuple>,
    call: &Call<'_, 'py>,
) -> PyResult<(PyReadwriteArray2<'py, T>, PyReadwriteArray1<'py, T>)> {
    use numpy::PyUntypedArrayMethods as _;
    let fail = |what: String| PyValueError::new_err(format!("out is to be (dW, db): {what}"));
    let dtype = numpy::dtype::<T>(call.w.py());
    let (w, b) = out
        .extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()
        .map_err(|_| fail(format!("it has {} items", out.len())))?;
    let w = w.cast_into::<PyArray2<T>>();
    let w = w.map_err(|_| fail(format!("dW is no array of two dimensions and {dtype}")))?;
    let b = b.cast_into::<PyArray1<T>>();
    let b = b.map_err(|_| fail(format!("db is no array of one dimension and {dtype}")))?;
    if w.shape() != call.w.shape() || [b.len()] != call.w.shape()[..1] {
        let shapes = format!("{:?} and {:?}", w.shape(), b.shape());
        return Err(fail(format!("they have the shapes {shapes}, but W has {:?}", call.w.shape())));
    }
    let whole = |strides: &[isize]| strides.iter().all(|s| s.unsigned_abs() % size_of::<T>() == 0);
    if !(w.is_aligned() && b.is_aligned() && whole(w.strides()) && whole(b.strides())) {
        return Err(fail("they are not aligned".to_owned()));
    }
    let w = w.try_readwrite().map_err(|error| fail(format!("dW: {error}")))?;
    let b = b.try_readwrite().map_err(|error| fail(format!("db: {error}")))?;
    Ok((w, b))
}

/// The arguments of a call.
struct Call<'a, 'py> {
    x: Input<'py>,
    y: &'a Bound<'py, PyAny>,
    w: Bound<'py, numpy::PyUntypedArray>,
    b: &'a Bound<'py, PyAny>,
    sample_weight: Option<&'a Bound<'py, PyAny>>,
}

impl<'a, 'py> Call<'a, 'py> {
    fn new(
        [x, y, w, b]: [&'a Bound<'py, PyAny>; 4],
        sample_weight: Option<&'a Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        use numpy::PyUntypedArrayMethods as _;
        let (x, w) = (Input::new(x)?, array(w)?);
        if w.ndim() != 2 {
            let message = format!("W has {} dimensions, not 2", w.ndim());
            return Err(PyValueError::new_err(message));
        }
        Ok(Self { x, y, w, b, sample_weight })
    }
}

/// The engines of an evaluator, made when they are first used.
#[derive(Default)]
struct Engines {
    single: Option<Engine<f32>>,
    double: Option<Engine<f64>>,
}

/// Computes losses and gradients, and keeps its memory from one call to the next.
#[pyclass(frozen, module = "softmargin")]
pub(crate) struct Evaluator {
    objective: Objective,
    engines: Mutex<Engines>,
}

/// Does the same with the engine for the element type of a call. Of two threads with one evaluator, the second
/// one has to wait.
macro_rules! with_engine {
    ($self:ident, $py:ident, $call:ident, $engine:ident => $work:expr) => {{
        let double = $call.x.is_double(&$call.w);
        // Taken out, so that nobody waits for it while it needs the interpreter.
        let taken = core::mem::take(&mut *$self.lock());
        let mut engines = taken;
        let result = if double {
            let $engine = engines.double.get_or_insert_with(|| Engine::new($self.objective));
            $work
        } else {
            let $engine = engines.single.get_or_insert_with(|| Engine::new($self.objective));
            $work
        };
        *$self.lock() = engines;
        result
    }};
}

impl Evaluator {
    fn lock(&self) -> std::sync::MutexGuard<'_, Engines> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Evaluator {
    #[new]
    #[pyo3(signature = (*, loss = "cross_entropy", l2 = 0.0, margin = 1.0, label_smoothing = 0.0))]
    fn new(loss: &str, l2: f64, margin: f64, label_smoothing: f64) -> PyResult<Self> {
        Ok(Self {
            objective: objective(loss, l2, margin, label_smoothing)?,
            engines: Mutex::default(),
        })
    }

    /// Returns (loss, dW, db).
    #[pyo3(signature = (X, y, W, b, *, sample_weight = None, out = None))]
    #[allow(non_snake_case, clippy::too_many_arguments)]
    fn loss_and_gradient<'py>(
        &self,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        W: &Bound<'py, PyAny>,
        b: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        out: Option<&Bound<'py, PyTuple>>,
    ) -> PyResult<Slopes<'py>> {
        let call = Call::new([X, y, W, b], sample_weight)?;
        with_engine!(self, py, call, engine => engine.loss_and_gradient(py, &call, out))
    }

    /// Returns the loss alone.
    #[pyo3(signature = (X, y, W, b, *, sample_weight = None))]
    #[allow(non_snake_case)]
    fn loss<'py>(
        &self,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        W: &Bound<'py, PyAny>,
        b: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<f64> {
        let call = Call::new([X, y, W, b], sample_weight)?;
        with_engine!(self, py, call, engine => engine.evaluate(py, &call, false))
    }
}

/// Returns (loss, dW, db).
#[pyfunction]
#[pyo3(signature = (X, y, W, b, *, loss = "cross_entropy", l2 = 0.0, margin = 1.0, label_smoothing = 0.0, sample_weight = None, out = None))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub(crate) fn loss_and_gradient<'py>(
    py: Python<'py>,
    X: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    loss: &str,
    l2: f64,
    margin: f64,
    label_smoothing: f64,
    sample_weight: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyTuple>>,
) -> PyResult<Slopes<'py>> {
    let objective = objective(loss, l2, margin, label_smoothing)?;
    let call = Call::new([X, y, W, b], sample_weight)?;
    with_number!(call.x.is_double(&call.w), T => {
        Engine::<T>::new(objective).loss_and_gradient(py, &call, out)
    })
}
