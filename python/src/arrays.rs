//! Arrays of NumPy as the crate reads them: where they lie if they can be, as a copy if not.

use crate::exception;
use numpy::{
    Element, PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1,
    PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods, dtype,
};
use pyo3::{exceptions::PyValueError, intern, prelude::*, sync::PyOnceLock, types::IntoPyDict};
use softmargin::{Batch, LinearModel, MatrixView, Scalar};

/// What is computed in: `f32` or `f64`.
pub(crate) trait Number: Scalar + Element {}

impl Number for f32 {}
impl Number for f64 {}

/// Does the same in the element type that a call is computed in: float32 or float64.
macro_rules! with_number {
    ($double:expr, $number:ident => $work:expr) => {
        if $double {
            type $number = f64;
            $work
        } else {
            type $number = f32;
            $work
        }
    };
}
pub(crate) use with_number;

/// An array from whatever NumPy makes one of: another library's, a table, nested lists.
pub(crate) fn array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    let py = value.py();
    static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let array = AS_ARRAY.import(py, "numpy", "asarray")?.call1((value,))?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// Whether a call is computed in float64: the type of X decides, if it is float32 or float64, and otherwise
/// that of W.
pub(crate) fn is_double(x: &Bound<'_, PyUntypedArray>, w: &Bound<'_, PyUntypedArray>) -> bool {
    let py = x.py();
    let is = |array: &Bound<'_, PyUntypedArray>, num| array.dtype().num() == num;
    let (single, double) = (dtype::<f32>(py).num(), dtype::<f64>(py).num());
    is(x, double) || !is(x, single) && !is(w, single)
}

/// A copy with elements of type `T`, aligned and row by row.
fn converted<'py, T: Number>(
    array: &Bound<'py, PyUntypedArray>,
    name: &str,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = array.py();
    let kind: char = array.dtype().getattr(intern!(py, "kind"))?.extract()?;
    if !matches!(kind, 'b' | 'i' | 'u' | 'f' | 'O') {
        let message = format!("{name} has dtype {}, which are no real numbers", array.dtype());
        return Err(PyValueError::new_err(message));
    }
    static REQUIRE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let require = REQUIRE.import(py, "numpy", "require")?;
    let copy = require.call1((array, dtype::<T>(py), "CA"))?;
    Ok(copy.cast_into::<PyUntypedArray>()?)
}

fn dimensions_error(name: &str, array: &Bound<'_, PyUntypedArray>, expected: usize) -> PyErr {
    let actual = array.ndim();
    PyValueError::new_err(format!("{name} has {actual} dimensions, not {expected}"))
}

/// A matrix, and whether it had to be copied.
pub(crate) fn matrix<'py, T: Number>(
    array: &Bound<'py, PyUntypedArray>,
    name: &str,
) -> PyResult<PyReadonlyArray2<'py, T>> {
    if array.ndim() != 2 {
        return Err(dimensions_error(name, array, 2));
    }
    match array.cast::<PyArray2<T>>() {
        Ok(matrix) if is_readable::<T>(matrix) => borrow(matrix.try_readonly(), name),
        _ => borrow(converted::<T>(array, name)?.cast_into::<PyArray2<T>>()?.try_readonly(), name),
    }
}

/// Whether rows or columns lie side by side, do not overlap, and are whole elements apart.
fn is_readable<T: Number>(matrix: &Bound<'_, PyArray2<T>>) -> bool {
    let (&[rows, cols], &[row_stride, col_stride]) = (matrix.shape(), matrix.strides()) else {
        return false;
    };
    let size = size_of::<T>();
    // The stride along an axis of length one is any number.
    let is_dense = |n: usize, stride: isize| n <= 1 || stride == size as isize;
    let is_apart = |n: usize, stride: isize, length: usize| {
        let in_elements = usize::try_from(stride).ok().filter(|stride| stride % size == 0);
        n <= 1 || in_elements.is_some_and(|stride| stride / size >= length)
    };
    matrix.is_aligned()
        && (is_dense(cols, col_stride) && is_apart(rows, row_stride, cols)
            || is_dense(rows, row_stride) && is_apart(cols, col_stride, rows))
}

fn borrow<A>(array: Result<A, numpy::BorrowError>, name: &str) -> PyResult<A> {
    array.map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}

/// The view of a matrix.
pub(crate) fn view<'a, T: Number>(
    matrix: &'a PyReadonlyArray2<'_, T>,
) -> PyResult<MatrixView<'a, T>> {
    let array = matrix.as_array();
    // An empty matrix may have any strides; that it is empty is for the batch to tell.
    if array.is_empty() {
        return MatrixView::new(&[], array.nrows(), array.ncols()).map_err(exception);
    }
    MatrixView::try_from(array).map_err(exception)
}

/// A vector, contiguous.
pub(crate) fn vector<'py, T: Number>(
    value: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<PyReadonlyArray1<'py, T>> {
    let array = array(value)?;
    if array.ndim() != 1 {
        return Err(dimensions_error(name, &array, 1));
    }
    match array.cast::<PyArray1<T>>() {
        Ok(vector) if vector.is_aligned() && vector.is_contiguous() => {
            borrow(vector.try_readonly(), name)
        }
        _ => borrow(converted::<T>(&array, name)?.cast_into::<PyArray1<T>>()?.try_readonly(), name),
    }
}

/// Sample weights, if there are any.
pub(crate) fn weights<'py, T: Number>(
    value: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<PyReadonlyArray1<'py, T>>> {
    value.map(|value| vector::<T>(value, "sample_weight")).transpose()
}

/// Copies W (C × D) and b (C) into a model, which is replaced if its shape is another.
pub(crate) fn read_model<T: Number>(
    w: &Bound<'_, PyUntypedArray>,
    b: &Bound<'_, PyAny>,
    model: &mut LinearModel<T>,
) -> PyResult<()> {
    let (w, b) = (matrix::<T>(w, "W")?, vector::<T>(b, "b")?);
    let (w, b) = (w.as_array(), b.as_array());
    let (c, d) = w.dim();
    if b.len() != c {
        let message = format!("W has {c} rows, one a class, but b has {} values", b.len());
        return Err(PyValueError::new_err(message));
    }
    if (model.n_classes(), model.n_features()) != (c, d) {
        *model = LinearModel::zeros(c, d);
    }
    model.weights_array_mut().assign(&w);
    model.bias_array_mut().assign(&b);
    Ok(())
}

/// Copies labels, which are whole numbers of any type, and checks that each is one of `classes`. A copy, so that
/// they stay what they are when another thread writes to the array.
pub(crate) fn read_labels(
    value: &Bound<'_, PyAny>,
    classes: usize,
    labels: &mut Vec<u32>,
) -> PyResult<()> {
    let array = array(value)?;
    if array.ndim() != 1 {
        return Err(dimensions_error("y", &array, 1));
    }
    macro_rules! of_types {
        ($($number:ty)*) => {
            $(if let Ok(array) = array.cast::<PyArray1<$number>>() && array.is_aligned() {
                return copy_labels(borrow(array.try_readonly(), "y")?, classes, labels);
            })*
        };
    }
    of_types!(i64 u32 i32 u8 u64 i8 i16 u16);
    let py = array.py();
    let kind: char = array.dtype().getattr(intern!(py, "kind"))?.extract()?;
    // An empty list is one of floats.
    if !(matches!(kind, 'b' | 'i' | 'u') || array.len() == 0) {
        let message = format!(
            "y has dtype {}; labels are whole numbers from 0 to C - 1 (np.unique(y, return_inverse=True) makes them)",
            array.dtype()
        );
        return Err(PyValueError::new_err(message));
    }
    let arguments = [("copy", true)].into_py_dict(py)?;
    let copy = array.call_method("astype", (dtype::<i64>(py),), Some(&arguments))?;
    copy_labels(copy.cast_into::<PyArray1<i64>>()?.try_readonly()?, classes, labels)
}

fn copy_labels<T: Element + Copy + std::fmt::Display + TryInto<u32>>(
    array: PyReadonlyArray1<'_, T>,
    classes: usize,
    labels: &mut Vec<u32>,
) -> PyResult<()> {
    labels.clear();
    for (row, label) in array.as_array().iter().enumerate() {
        match (*label).try_into() {
            Ok(class) if (class as usize) < classes => labels.push(class),
            _ => {
                let last = classes.saturating_sub(1);
                let message = format!(
                    "row {row} has label {label}, but the model has {classes} classes (0 to {last})"
                );
                return Err(PyValueError::new_err(message));
            }
        }
    }
    Ok(())
}

/// A batch of what was read.
pub(crate) fn batch<'a, T: Number>(
    x: MatrixView<'a, T>,
    labels: &'a [u32],
    weights: Option<&'a [T]>,
) -> Result<Batch<'a, T>, softmargin::Error> {
    let batch = Batch::new(x, labels)?;
    weights.map_or(Ok(batch), |weights| batch.with_sample_weights(weights))
}

/// W and b as new arrays.
pub(crate) fn to_arrays<'py, T: Number>(
    py: Python<'py>,
    model: &LinearModel<T>,
) -> (Bound<'py, PyAny>, Bound<'py, PyAny>) {
    let w = PyArray2::from_array(py, &model.weights_array());
    (w.into_any(), PyArray1::from_slice(py, model.bias()).into_any())
}
