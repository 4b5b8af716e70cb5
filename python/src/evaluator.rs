//! Losses and gradients.

use crate::{
    arguments,
    arrays::{
        Input, Number, array, batch, is_double, read_labels, read_model, read_parameters, reshape,
        to_arrays, weights, with_number,
    },
    exception, objective,
    partial::Partial,
    threads::detached,
};
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadwriteArray1, PyReadwriteArray2, PyUntypedArray,
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyTuple,
};
use softmargin::{Batch, Error, LinearModel, Objective, train::Sums};
use std::sync::{Mutex, PoisonError};

/// What evaluations in one element type work on.
struct Memory<T> {
    evaluator: softmargin::Evaluator<T>,
    model: LinearModel<T>,
    direction: LinearModel<T>,
    /// The gradient, or a Hessian product.
    result: LinearModel<T>,
}

impl<T: Number> Memory<T> {
    /// Makes room for a result.
    fn reshape(&mut self) {
        reshape(&mut self.result, self.model.n_classes(), self.model.n_features());
    }

    fn loss_and_gradient(&mut self, batch: &Batch<'_, T>) -> Result<f64, Error> {
        self.reshape();
        self.evaluator.loss_and_gradient(&self.model, batch, &mut self.result)
    }

    fn hessian_product(&mut self, batch: &Batch<'_, T>) -> Result<(), Error> {
        self.reshape();
        let Self { evaluator, model, direction, result } = self;
        evaluator.hessian_product(model, batch, direction, result)
    }
}

/// Evaluates in one element type.
struct Engine<T> {
    memory: Memory<T>,
    labels: Vec<u32>,
}

impl<T: Number> Engine<T> {
    fn new(objective: Objective) -> Self {
        let nothing = || LinearModel::zeros(0, 0);
        let evaluator = softmargin::Evaluator::new(objective);
        let (model, direction, result) = (nothing(), nothing(), nothing());
        let memory = Memory { evaluator, model, direction, result };
        Self { memory, labels: Vec::new() }
    }

    /// Reads the arguments of a call, and does some work with the batch that they are.
    fn evaluate<R: Send>(
        &mut self,
        py: Python<'_>,
        call: &Call<'_, '_>,
        work: impl FnOnce(&mut Memory<T>, &Batch<'_, T>) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let Self { memory, labels } = self;
        let x = call.x.read::<T>()?;
        let weights = weights::<T>(call.sample_weight)?;
        read_model(&call.w, call.b, &mut memory.model)?;
        read_labels(call.y, memory.model.n_classes(), labels)?;
        let x = x.features()?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        detached(py, || work(memory, &batch(x, labels, weights)?)).map_err(exception)
    }

    /// The same of work that leaves a result: that, in new arrays or in those of the caller.
    fn write<'py, R: Send>(
        &mut self,
        py: Python<'py>,
        call: &Call<'_, 'py>,
        out: Option<&Bound<'py, PyAny>>,
        work: impl FnOnce(&mut Memory<T>, &Batch<'_, T>) -> Result<R, Error> + Send,
    ) -> PyResult<(R, Parts<'py>)> {
        let Some(out) = out else {
            let returned = self.evaluate(py, call, work)?;
            return Ok((returned, to_arrays(py, &self.memory.result)));
        };
        // Whether the result can be written is found out before it is computed.
        let (mut w, mut b) = outputs::<T>(out, call)?;
        let returned = self.evaluate(py, call, work)?;
        w.as_array_mut().assign(&self.memory.result.weights_array());
        b.as_array_mut().assign(&self.memory.result.bias_array());
        Ok((returned, out.extract()?))
    }

    fn loss_and_gradient<'py>(
        &mut self,
        py: Python<'py>,
        call: &Call<'_, 'py>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Slopes<'py>> {
        let (loss, (w, b)) = self.write(py, call, out, Memory::loss_and_gradient)?;
        Ok((loss, w, b))
    }

    fn hessian_product<'py>(
        &mut self,
        py: Python<'py>,
        call: &Call<'_, 'py>,
        [w, b]: [&Bound<'py, PyAny>; 2],
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Parts<'py>> {
        read_parameters(&array(w, "dW")?, b, ["dW", "db"], &mut self.memory.direction)?;
        Ok(self.write(py, call, out, Memory::hessian_product)?.1)
    }

    fn accumulate(
        &mut self,
        py: Python<'_>,
        call: &Call<'_, '_>,
        direction: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        partial: &Partial,
    ) -> PyResult<()> {
        if let Some((w, b)) = &direction {
            read_parameters(&array(w, "dW")?, b, ["dW", "db"], &mut self.memory.direction)?;
        }
        let along = direction.is_some();
        let sums = self.evaluate(py, call, |memory, batch| {
            let Memory { evaluator, model, direction, .. } = memory;
            let objective = evaluator.objective();
            let sums = Sums { objective, model, direction: along.then_some(direction) };
            let mut chunk = partial.like::<T>();
            sums.add(evaluator, batch, &mut chunk)?;
            Ok(chunk)
        })?;
        partial.add(py, sums.sums())
    }

    fn finish<'py>(
        &mut self,
        w: &Bound<'py, PyUntypedArray>,
        b: &Bound<'py, PyAny>,
        partial: &Partial,
    ) -> PyResult<Slopes<'py>> {
        let py = w.py();
        read_model(w, b, &mut self.memory.model)?;
        self.memory.reshape();
        let sums = partial.read::<T>(py)?;
        let Memory { evaluator, model, result, .. } = &mut self.memory;
        let loss = detached(py, || evaluator.finish(model, &sums, result)).map_err(exception)?;
        let (w, b) = to_arrays(py, result);
        Ok((loss, w, b))
    }
}

/// An array shaped as W, and one shaped as b.
type Parts<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// A loss, dW and db.
type Slopes<'py> = (f64, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The arrays that a gradient is to be written into.
fn outputs<'py, T: Number>(
    out: &Bound<'py, PyAny>,
    call: &Call<'_, 'py>,
) -> PyResult<(PyReadwriteArray2<'py, T>, PyReadwriteArray1<'py, T>)> {
    use numpy::PyUntypedArrayMethods as _;
    let message = |what: String| format!("out is to be (dW, db): {what}");
    let fail = |what| PyValueError::new_err(message(what));
    let dtype = numpy::dtype::<T>(call.w.py());
    let items = out.cast::<PyTuple>().map_err(|_| {
        PyTypeError::new_err(message(format!("it is no tuple, but {}", out.get_type())))
    })?;
    let (w, b) =
        items.extract::<Parts<'py>>().map_err(|_| fail(format!("it has {} items", items.len())))?;
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
    w: Bound<'py, PyUntypedArray>,
    b: &'a Bound<'py, PyAny>,
    sample_weight: Option<&'a Bound<'py, PyAny>>,
}

impl<'a, 'py> Call<'a, 'py> {
    fn new(
        [x, y, w, b]: [&'a Bound<'py, PyAny>; 4],
        sample_weight: Option<&'a Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        use numpy::PyUntypedArrayMethods as _;
        let (x, w) = (Input::new(x)?, array(w, "W")?);
        if w.ndim() != 2 {
            let message = format!("W has {} dimensions, not 2", w.ndim());
            return Err(PyValueError::new_err(message));
        }
        Ok(Self { x, y, w, b, sample_weight })
    }

    fn is_double(&self) -> bool {
        self.x.is_double(&self.w)
    }
}

/// The engines of an evaluator, made when they are first used.
#[derive(Default)]
struct Engines {
    single: Option<Engine<f32>>,
    double: Option<Engine<f64>>,
}

/// Computes losses and gradients, and keeps its memory from one call to the next.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from softmargin import Evaluator
/// >>> X, y, W, b = np.eye(2), [0, 1], np.zeros((2, 2)), np.zeros(2)
/// >>> evaluator = Evaluator(loss="hinge", margin=1.0)
/// >>> evaluator.loss_and_gradient(X, y, W, b)
/// (1.0, array([[-0.5,  0.5],
///        [ 0.5, -0.5]]), array([0., 0.]))
/// >>> evaluator.loss(X, y, W, b)
/// 1.0
#[pyclass(frozen, module = "softmargin")]
pub(crate) struct Evaluator {
    objective: Objective,
    engines: Mutex<Engines>,
}

/// Does the same with the engine for the element type of a call. Of two threads with one evaluator, the second
/// one has to wait.
macro_rules! with_engine {
    ($self:ident, $double:expr, $engine:ident => $work:expr) => {{
        let double = $double;
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
    fn new(
        loss: &str,
        #[pyo3(from_py_with = arguments::l2)] l2: f64,
        #[pyo3(from_py_with = arguments::margin)] margin: f64,
        #[pyo3(from_py_with = arguments::label_smoothing)] label_smoothing: f64,
    ) -> PyResult<Self> {
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
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Slopes<'py>> {
        let call = Call::new([X, y, W, b], sample_weight)?;
        with_engine!(self, call.is_double(), engine => engine.loss_and_gradient(py, &call, out))
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
        with_engine!(self, call.is_double(), engine => {
            engine.evaluate(py, &call, |memory, batch| memory.evaluator.loss(&memory.model, batch))
        })
    }

    /// Returns (HW, Hb), the Hessian times a direction: see the function `hessian_product`.
    #[pyo3(signature = (X, y, W, b, dW, db, *, sample_weight = None, out = None))]
    #[allow(non_snake_case, clippy::too_many_arguments)]
    fn hessian_product<'py>(
        &self,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        W: &Bound<'py, PyAny>,
        b: &Bound<'py, PyAny>,
        dW: &Bound<'py, PyAny>,
        db: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Parts<'py>> {
        let call = Call::new([X, y, W, b], sample_weight)?;
        with_engine!(self, call.is_double(), engine => {
            engine.hessian_product(py, &call, [dW, db], out)
        })
    }

    /// Adds the sums over a chunk of the data to a `Partial`, which is untouched if there is an error: of the losses and
    /// gradients or, with a `direction` (dW, db), of the products of their Hessians with it.
    #[pyo3(signature = (X, y, W, b, partial, *, sample_weight = None, direction = None))]
    #[allow(non_snake_case, clippy::too_many_arguments)]
    fn accumulate<'py>(
        &self,
        py: Python<'py>,
        X: &Bound<'py, PyAny>,
        y: &Bound<'py, PyAny>,
        W: &Bound<'py, PyAny>,
        b: &Bound<'py, PyAny>,
        partial: &Partial,
        sample_weight: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::direction)] direction: Option<Parts<'py>>,
    ) -> PyResult<()> {
        let call = Call::new([X, y, W, b], sample_weight)?;
        with_engine!(self, call.is_double(), engine => {
            engine.accumulate(py, &call, direction, partial)
        })
    }

    /// Returns (loss, dW, db) of all samples that a `Partial` has seen, in the type of W. W and b are to be those that
    /// it was accumulated with.
    #[allow(non_snake_case)]
    fn finish<'py>(
        &self,
        W: &Bound<'py, PyAny>,
        b: &Bound<'py, PyAny>,
        partial: &Partial,
    ) -> PyResult<Slopes<'py>> {
        let w = array(W, "W")?;
        with_engine!(self, is_double(&w, &w), engine => engine.finish(&w, b, partial))
    }
}

/// Returns (loss, dW, db): L and its gradient.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from softmargin import loss_and_gradient
/// >>> loss, dW, db = loss_and_gradient(np.eye(2), [0, 1], np.zeros((2, 2)), np.zeros(2))
/// >>> round(loss, 4), dW.tolist(), db.tolist()
/// (0.6931, [[-0.25, 0.25], [0.25, -0.25]], [0.0, 0.0])
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
    #[pyo3(from_py_with = arguments::l2)] l2: f64,
    #[pyo3(from_py_with = arguments::margin)] margin: f64,
    #[pyo3(from_py_with = arguments::label_smoothing)] label_smoothing: f64,
    sample_weight: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Slopes<'py>> {
    let objective = objective(loss, l2, margin, label_smoothing)?;
    let call = Call::new([X, y, W, b], sample_weight)?;
    with_number!(call.is_double(), T => {
        Engine::<T>::new(objective).loss_and_gradient(py, &call, out)
    })
}

/// Returns (HW, Hb): the Hessian of the loss by W and b, times the direction (dW, db). For losses without kinks,
/// "cross_entropy" and "squared_hinge".
///
/// Takes half as much time again as `loss_and_gradient`, and one pass over X. Raises ValueError for a loss with kinks, and
/// where `loss_and_gradient` does.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from softmargin import hessian_product
/// >>> X, y, W, b = [[2.0]], [0], np.zeros((2, 1)), np.zeros(2)
/// >>> HW, Hb = hessian_product(X, y, W, b, [[1.0], [0.0]], [0.0, 0.0])  # p (1 - p) x² = 1
/// >>> HW.tolist(), Hb.tolist()
/// ([[1.0], [-1.0]], [0.5, -0.5])
#[pyfunction]
#[pyo3(signature = (X, y, W, b, dW, db, *, loss = "cross_entropy", l2 = 0.0, margin = 1.0, label_smoothing = 0.0, sample_weight = None, out = None))]
#[allow(non_snake_case, clippy::too_many_arguments)]
pub(crate) fn hessian_product<'py>(
    py: Python<'py>,
    X: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    W: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    dW: &Bound<'py, PyAny>,
    db: &Bound<'py, PyAny>,
    loss: &str,
    #[pyo3(from_py_with = arguments::l2)] l2: f64,
    #[pyo3(from_py_with = arguments::margin)] margin: f64,
    #[pyo3(from_py_with = arguments::label_smoothing)] label_smoothing: f64,
    sample_weight: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Parts<'py>> {
    let objective = objective(loss, l2, margin, label_smoothing)?;
    let call = Call::new([X, y, W, b], sample_weight)?;
    with_number!(call.is_double(), T => {
        Engine::<T>::new(objective).hessian_product(py, &call, [dW, db], out)
    })
}
