//! Sums over some of the samples, which add up.

use crate::{
    arguments,
    arrays::{Number, vector},
    exception,
};
use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::{
    exceptions::PyValueError,
    intern,
    prelude::*,
    types::{PyTuple, PyType},
};

/// The sums over the samples of some chunks of the data, for models of C classes and D features: `Evaluator.accumulate`
/// adds a chunk, `+` and `+=` join two, and `Evaluator.finish` makes them the loss and its gradient.
///
/// `sums` is one array of float64, the memory of the partial itself: C × D of dW, C of db, the loss, and the weight of
/// all samples. These add up element by element, so that processes may all-reduce them in place; a partial can also be
/// pickled. Chunks that are added in the same order give the same bits, and a `PartialTree` always adds in the same order.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from softmargin import Evaluator, Partial
/// >>> W, b, evaluator = np.zeros((2, 1)), np.zeros(2), Evaluator()
/// >>> total = Partial(2, 1)
/// >>> for X, y in [([[1.0], [2.0]], [0, 1]), ([[3.0], [4.0]], [1, 1])]:
/// ...     evaluator.accumulate(X, y, W, b, total)
/// >>> total
/// Partial(n_classes=2, n_features=1, total_weight=4.0)
/// >>> loss, dW, db = evaluator.finish(W, b, total)
/// >>> round(loss, 4), dW.tolist(), db.tolist()
/// (0.6931, [[1.0], [-1.0]], [0.25, -0.25])
#[pyclass(frozen, module = "softmargin")]
pub(crate) struct Partial {
    #[pyo3(get)]
    n_classes: usize,
    #[pyo3(get)]
    n_features: usize,
    sums: Py<PyArray1<f64>>,
}

impl Partial {
    /// One of the same shape, without samples.
    pub(crate) fn like<T: Number>(&self) -> softmargin::Partial<T> {
        softmargin::Partial::new(self.n_classes, self.n_features)
    }

    /// A copy of one of the crate.
    pub(crate) fn of<T: Number>(py: Python<'_>, partial: &softmargin::Partial<T>) -> Self {
        let (n_classes, n_features) = (partial.n_classes(), partial.n_features());
        Self { n_classes, n_features, sums: PyArray1::from_slice(py, partial.sums()).unbind() }
    }

    /// A copy for the crate.
    pub(crate) fn read<T: Number>(&self, py: Python<'_>) -> PyResult<softmargin::Partial<T>> {
        let sums = self.sums.bind(py).try_readonly()?.as_slice()?.to_vec();
        softmargin::Partial::from_sums(self.n_classes, self.n_features, sums).map_err(exception)
    }

    /// Adds sums, of which there are as many.
    pub(crate) fn add(&self, py: Python<'_>, terms: &[f64]) -> PyResult<()> {
        let mut sums = self.sums.bind(py).try_readwrite()?;
        sums.as_slice_mut()?.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        Ok(())
    }

    fn check_shape(&self, other: &Self) -> PyResult<()> {
        let (c, d) = (self.n_classes, self.n_features);
        if (other.n_classes, other.n_features) != (c, d) {
            let message = format!(
                "the other partial is for {} classes × {} features, this one for {c} × {d}",
                other.n_classes, other.n_features
            );
            return Err(PyValueError::new_err(message));
        }
        Ok(())
    }
}

#[pymethods]
impl Partial {
    #[new]
    #[pyo3(signature = (n_classes, n_features, sums = None))]
    fn new(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::n_classes)] n_classes: usize,
        #[pyo3(from_py_with = arguments::n_features)] n_features: usize,
        sums: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let array = match sums {
            Some(sums) => {
                let sums = vector::<f64>(sums, "sums")?.as_slice()?.to_vec();
                let sums = softmargin::Partial::<f64>::from_sums(n_classes, n_features, sums);
                PyArray1::from_slice(py, sums.map_err(exception)?.sums())
            }
            None => {
                let n = n_features.checked_add(1).and_then(|n| n.checked_mul(n_classes));
                let n = n.and_then(|n| n.checked_add(2)).ok_or_else(|| {
                    let shape = format!("{n_classes} classes × {n_features} features");
                    PyValueError::new_err(format!("{shape} are more than memory has addresses"))
                })?;
                // NumPy raises a MemoryError if it has to.
                let zeros = py.import("numpy")?.call_method1("zeros", (n,))?;
                zeros.cast_into::<PyArray1<f64>>()?
            }
        };
        Ok(Self { n_classes, n_features, sums: array.unbind() })
    }

    /// All sums, in the memory of the partial.
    #[getter]
    fn sums<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // A view of its own, so that a caller who gives it another shape or type has changed nothing here.
        self.sums.bind(py).call_method0(intern!(py, "view"))
    }

    /// The weight of all samples: their number, where they have no weights.
    #[getter]
    fn total_weight(&self, py: Python<'_>) -> PyResult<f64> {
        let sums = self.sums.bind(py).try_readonly()?;
        Ok(sums.as_slice()?.last().copied().unwrap_or(0.0))
    }

    fn __iadd__(&self, py: Python<'_>, other: &Self) -> PyResult<()> {
        self.check_shape(other)?;
        let terms = other.sums.bind(py).try_readonly()?.as_slice()?.to_vec();
        self.add(py, &terms)
    }

    fn __add__(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        self.check_shape(other)?;
        let sums = PyArray1::from_slice(py, self.sums.bind(py).try_readonly()?.as_slice()?);
        let sum = Self { sums: sums.unbind(), ..*self };
        sum.__iadd__(py, other)?;
        Ok(sum)
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let partial = slf.get();
        let arguments = (partial.n_classes, partial.n_features, partial.sums(slf.py())?);
        Ok((slf.get_type(), arguments.into_pyobject(slf.py())?))
    }

    /// In bytes: Dask weighs what it keeps by this.
    fn __sizeof__(&self, py: Python<'_>) -> usize {
        size_of::<f64>() * self.sums.bind(py).len()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Self { n_classes, n_features, .. } = self;
        let weight = self.total_weight(py)?;
        Ok(format!(
            "Partial(n_classes={n_classes}, n_features={n_features}, total_weight={weight:?})"
        ))
    }
}
