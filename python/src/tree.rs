//! Sums that have the same bits whoever adds them up.

use crate::{arguments, exception, partial::Partial};
use core::ops::Range;
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyRange, PyType},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sums are float64, whatever they were computed in.
type Tree = softmargin::PartialTree<f64>;

/// The `Partial`s of the chunks 0, 1, 2, … of a data set, joined in a fixed order: first those of the chunks 2k and
/// 2k + 1, then those of four chunks, and so on. So the `total` has the same bits on one process or many, whichever has
/// which chunks, and whenever they come; as long as the chunks are the same, and the processors compute alike.
///
/// `push` adds the partial of a chunk, `+` and `+=` join two trees, of different chunks. A tree can be pickled: of n
/// neighbouring chunks, it has no more than 2 log₂ n partials.
///
/// Parameters
/// ----------
/// nodes : iterable of (chunks, Partial), optional
///     What to push, such as the `nodes()` of another tree.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from softmargin import Evaluator, Partial, PartialTree
/// >>> X, y = np.arange(70.0).reshape(70, 1) % 17, np.arange(70) % 3
/// >>> W, b, evaluator = np.zeros((3, 1)), np.zeros(3), Evaluator()
/// >>> def process(chunks):  # has some of seven chunks of ten rows
/// ...     tree = PartialTree()
/// ...     for chunk in chunks:
/// ...         partial, rows = Partial(3, 1), slice(10 * chunk, 10 * (chunk + 1))
/// ...         evaluator.accumulate(X[rows], y[rows], W, b, partial)
/// ...         tree.push(chunk, partial)
/// ...     return tree
/// >>> many = process([4, 6]) + process([0, 1, 2]) + process([3, 5])
/// >>> np.array_equal(many.total(7).sums, process(range(7)).total(7).sums)  # to the last bit
/// True
/// >>> many
/// PartialTree([range(0, 4), range(4, 6), range(6, 7)])
#[pyclass(frozen, module = "softmargin")]
pub(crate) struct PartialTree {
    tree: Mutex<Tree>,
}

impl PartialTree {
    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy, so that no lock is held while the interpreter is needed or another tree is locked.
    fn copy(&self) -> Tree {
        self.lock().clone()
    }
}

/// Joins the nodes of two trees.
fn join(mut tree: Tree, other: Tree) -> PyResult<Tree> {
    for (chunks, partial) in other.into_nodes() {
        tree.push(chunks, partial).map_err(exception)?;
    }
    Ok(tree)
}

/// The number of a chunk, or a range of them.
fn chunks(value: &Bound<'_, PyAny>) -> PyResult<Range<u64>> {
    let py = value.py();
    let fault = || {
        let message = format!("{value} are no chunks: those are a number from 0 on, or a range");
        PyValueError::new_err(message)
    };
    let number = |value: Bound<'_, PyAny>| value.extract::<u64>().map_err(|_| fault());
    if let Ok(range) = value.cast::<PyRange>() {
        if number(range.getattr(intern!(py, "step"))?)? != 1 {
            return Err(fault());
        }
        let end = |name| range.getattr(name).and_then(number);
        return Ok(end(intern!(py, "start"))?..end(intern!(py, "stop"))?);
    }
    if !value.hasattr(intern!(py, "__index__"))? {
        let message = format!("chunks are a whole number or a range, not {}", value.get_type());
        return Err(PyTypeError::new_err(message));
    }
    let chunk = number(value.call_method0(intern!(py, "__index__"))?)?;
    Ok(chunk..chunk.checked_add(1).ok_or_else(fault)?)
}

fn range<'py>(py: Python<'py>, chunks: &Range<u64>) -> PyResult<Bound<'py, PyAny>> {
    py.get_type::<PyRange>().call1((chunks.start, chunks.end))
}

#[pymethods]
impl PartialTree {
    #[new]
    #[pyo3(signature = (nodes = None))]
    fn new(nodes: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let tree = Self { tree: Mutex::new(Tree::new()) };
        for node in nodes.map(|nodes| nodes.try_iter()).transpose()?.into_iter().flatten() {
            let (chunks, partial) = node?.extract::<(Bound<'_, PyAny>, Bound<'_, Partial>)>()?;
            tree.push(&chunks, partial.get())?;
        }
        Ok(tree)
    }

    /// Adds a copy of the sums over a chunk, by its number; or over a node of another tree, by the range of its chunks.
    ///
    /// Raises ValueError for chunks that are there already or that are no node (2ⁿ of them, from a multiple of 2ⁿ on), and
    /// for a partial of another shape. The tree is as it was then.
    #[pyo3(signature = (chunks, partial))]
    fn push(&self, chunks: &Bound<'_, PyAny>, partial: &Partial) -> PyResult<()> {
        let (chunks, partial) = (self::chunks(chunks)?, partial.read(chunks.py())?);
        self.lock().push(chunks, partial).map_err(exception)
    }

    /// Returns what the pushed chunks make up: a list of (range of chunks, Partial), in their order.
    fn nodes<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyAny>, Partial)>> {
        let nodes = self.copy().into_nodes();
        nodes.map(|(chunks, node)| Ok((range(py, &chunks)?, Partial::of(py, &node)))).collect()
    }

    /// Returns the sums over the chunks 0 to n_chunks - 1, as a `Partial`.
    ///
    /// Raises ValueError if there are others, or some are missing.
    fn total(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::n_chunks)] n_chunks: u64,
    ) -> PyResult<Partial> {
        Ok(Partial::of(py, &self.copy().total(n_chunks).map_err(exception)?))
    }

    fn __add__(&self, other: &Self) -> PyResult<Self> {
        Ok(Self { tree: Mutex::new(join(self.copy(), other.copy())?) })
    }

    fn __iadd__(&self, other: &Self) -> PyResult<()> {
        let other = other.copy();
        let mut tree = self.lock();
        *tree = join(tree.clone(), other)?;
        Ok(())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        Ok((slf.get_type(), (slf.get().nodes(slf.py())?,)))
    }

    /// In bytes: Dask weighs what it keeps by this.
    fn __sizeof__(&self) -> usize {
        self.lock().nodes().map(|(_, partial)| size_of_val(partial.sums())).sum()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let tree = self.copy();
        let ranges: PyResult<Vec<_>> = tree.nodes().map(|(chunks, _)| range(py, &chunks)).collect();
        Ok(format!("PartialTree({})", ranges?.into_pyobject(py)?.repr()?))
    }
}

/// A class, and the arguments that make an object of it again.
type Reduced<'py> = (Bound<'py, PyType>, (Vec<(Bound<'py, PyAny>, Partial)>,));
