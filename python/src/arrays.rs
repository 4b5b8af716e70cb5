//! Arrays of NumPy as the crate reads them: where they lie if they can be, as a copy if not.

use crate::exception;
use half::f16;
use numpy::{
    Element, PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1,
    PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods, dtype,
};
use pyo3::{exceptions::PyValueError, intern, prelude::*, sync::PyOnceLock, types::IntoPyDict};
use softmargin::{Batch, CsrView, Features, LinearModel, MatrixView, Scalar};

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

/// An array from whatever NumPy makes one of: another library's, a table, nested lists. `name` is that of the argument.
pub(crate) fn array<'py>(
    value: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        refuse_masked(value, name)?;
        return Ok(array.clone());
    }
    let py = value.py();
    static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let array = AS_ARRAY.import(py, "numpy", "asarray")?.call1((value,))?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// Refuses an array that masks some of its values: what is there in their place is not what its owner means.
#[pyfunction]
#[pyo3(name = "_refuse_masked")]
pub(crate) fn refuse_masked(value: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
    let py = value.py();
    if value.is_exact_instance_of::<PyUntypedArray>() || !value.hasattr(intern!(py, "mask"))? {
        return Ok(());
    }
    static MASKED_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static IS_MASKED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if value.is_instance(MASKED_ARRAY.import(py, "numpy.ma", "MaskedArray")?)?
        && IS_MASKED.import(py, "numpy.ma", "is_masked")?.call1((value,))?.is_truthy()?
    {
        let message = format!("{name} has masked values; leave their rows out, or fill them");
        return Err(PyValueError::new_err(message));
    }
    Ok(())
}

/// Whether a call is computed in float64: the type of X decides, if it is float32 or float64, and otherwise
/// that of W.
pub(crate) fn is_double(x: &Bound<'_, PyUntypedArray>, w: &Bound<'_, PyUntypedArray>) -> bool {
    let py = x.py();
    let is = |array: &Bound<'_, PyUntypedArray>, num| array.dtype().num() == num;
    let (single, double) = (dtype::<f32>(py).num(), dtype::<f64>(py).num());
    is(x, double) || !is(x, single) && !is(w, single)
}

/// X: a matrix, or the parts of a sparse one.
pub(crate) enum Input<'py> {
    Dense(Bound<'py, PyUntypedArray>),
    Sparse {
        values: Bound<'py, PyUntypedArray>,
        pointers: Bound<'py, PyUntypedArray>,
        indices: Bound<'py, PyUntypedArray>,
        shape: (usize, usize),
    },
}

impl<'py> Input<'py> {
    /// Sparse matrices of SciPy other than CSR are converted to it.
    pub(crate) fn new(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = value.py();
        if value.is_instance_of::<PyUntypedArray>() || !value.hasattr(intern!(py, "tocsr"))? {
            return Ok(Self::Dense(array(value, "X")?));
        }
        let csr = value.call_method0(intern!(py, "tocsr"))?;
        Ok(Self::Sparse {
            values: array(&csr.getattr(intern!(py, "data"))?, "the data of X")?,
            pointers: array(&csr.getattr(intern!(py, "indptr"))?, "the indptr of X")?,
            indices: array(&csr.getattr(intern!(py, "indices"))?, "the indices of X")?,
            shape: csr.getattr(intern!(py, "shape"))?.extract()?,
        })
    }

    /// [`is_double`].
    pub(crate) fn is_double(&self, w: &Bound<'_, PyUntypedArray>) -> bool {
        match self {
            Self::Dense(array) | Self::Sparse { values: array, .. } => is_double(array, w),
        }
    }

    /// Its features where they lie, if they can be read there, or a copy.
    pub(crate) fn read<T: Number>(&self) -> PyResult<Read<'py, T>> {
        let array = match self {
            Self::Dense(array) => array,
            Self::Sparse { values, pointers, indices, shape } => {
                return Ok(Read::Sparse {
                    values: vector::<T>(values, "the data of X")?,
                    pointers: positions(pointers, "the indptr of X")?,
                    indices: positions(indices, "the indices of X")?,
                    shape: *shape,
                });
            }
        };
        macro_rules! of_types {
            ($($kind:ident: $number:ty;)*) => {
                $(if let Some(matrix) = in_place::<$number>(array)? {
                    return Ok(Read::$kind(matrix));
                })*
            };
        }
        of_types!(Same: T; U8: u8; I8: i8; F16: f16;);
        Ok(Read::Same(matrix::<T>(array, "X")?))
    }
}

/// X as it is stored. Whole numbers that lead to its parts, if it is sparse, are copies: they are checked, and are
/// to stay what they are when another thread writes to the arrays.
pub(crate) enum Read<'py, T: Number> {
    Same(PyReadonlyArray2<'py, T>),
    U8(PyReadonlyArray2<'py, u8>),
    I8(PyReadonlyArray2<'py, i8>),
    F16(PyReadonlyArray2<'py, f16>),
    Sparse {
        values: PyReadonlyArray1<'py, T>,
        pointers: Vec<usize>,
        indices: Vec<u32>,
        shape: (usize, usize),
    },
}

impl<T: Number> Read<'_, T> {
    pub(crate) fn features(&self) -> PyResult<Features<'_, T>> {
        Ok(match self {
            Self::Same(x) => view(x)?.into(),
            Self::U8(x) => view(x)?.into(),
            Self::I8(x) => view(x)?.into(),
            Self::F16(x) => view(x)?.into(),
            Self::Sparse { values, pointers, indices, shape: (rows, cols) } => {
                let values = values.as_slice()?;
                let view = CsrView::new(*rows, *cols, pointers, indices, values);
                view.map_err(exception)?.into()
            }
        })
    }
}

/// A matrix of the given type that can be read where it lies.
fn in_place<'py, E: Element>(
    array: &Bound<'py, PyUntypedArray>,
) -> PyResult<Option<PyReadonlyArray2<'py, E>>> {
    match array.cast::<PyArray2<E>>() {
        Ok(matrix) if is_readable::<E>(matrix) => borrow(matrix.try_readonly(), "X").map(Some),
        _ => Ok(None),
    }
}

/// A copy of whole numbers.
fn positions<N: TryFrom<i64>>(array: &Bound<'_, PyUntypedArray>, name: &str) -> PyResult<Vec<N>> {
    if array.ndim() != 1 {
        return Err(dimensions_error(name, array, 1));
    }
    fn copy<N: TryFrom<i64>, E: Element + Copy + Into<i64>>(
        array: &Bound<'_, PyArray1<E>>,
        name: &str,
    ) -> PyResult<Vec<N>> {
        let array = borrow(array.try_readonly(), name)?;
        let numbers = array.as_array();
        let number = |(i, number): (usize, &E)| {
            let number: i64 = (*number).into();
            let error = |_| PyValueError::new_err(format!("{name}: position {i} has {number}"));
            N::try_from(number).map_err(error)
        };
        numbers.iter().enumerate().map(number).collect()
    }
    // What another process sent may lie anywhere in a buffer.
    let aligned = match array.is_aligned() {
        true => array.clone(),
        false => array.call_method0("copy")?.cast_into::<PyUntypedArray>()?,
    };
    match (aligned.cast::<PyArray1<i32>>(), aligned.cast::<PyArray1<i64>>()) {
        (Ok(array), _) => copy(array, name),
        (_, Ok(array)) => copy(array, name),
        _ => Err(PyValueError::new_err(format!("{name} has dtype {}", array.dtype()))),
    }
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

/// A matrix in the type that is computed in.
fn matrix<'py, T: Number>(
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
fn is_readable<T: Element>(matrix: &Bound<'_, PyArray2<T>>) -> bool {
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
fn view<'a, T: Element>(matrix: &'a PyReadonlyArray2<'_, T>) -> PyResult<MatrixView<'a, T>> {
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
    let array = array(value, name)?;
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
    let name = "sample_weight";
    let Some(value) = value else { return Ok(None) };
    let weights = vector::<T>(value, name)?;
    // Where they are no zeros for the caller, it is not their sum that is at fault.
    if weights.as_slice()?.iter().all(|weight| weight.to_f64() == 0.0) {
        let given = vector::<f64>(value, name)?;
        let lost = given.as_slice()?.iter().enumerate().find(|(_, weight)| **weight > 0.0);
        if let Some((row, weight)) = lost {
            return Err(PyValueError::new_err(format!(
                "{name}: row {row} has {weight:e}, which is 0 in float32, as all others are; divide them by the largest"
            )));
        }
    }
    Ok(Some(weights))
}

/// Copies W (C × D) and b (C) into a model, which is replaced if its shape is another.
pub(crate) fn read_model<T: Number>(
    w: &Bound<'_, PyUntypedArray>,
    b: &Bound<'_, PyAny>,
    model: &mut LinearModel<T>,
) -> PyResult<()> {
    read_parameters(w, b, ["W", "b"], model)
}

/// [`read_model`] of what is shaped as a model, and called by other names.
pub(crate) fn read_parameters<T: Number>(
    w: &Bound<'_, PyUntypedArray>,
    b: &Bound<'_, PyAny>,
    [w_name, b_name]: [&str; 2],
    model: &mut LinearModel<T>,
) -> PyResult<()> {
    let (w, b) = (matrix::<T>(w, w_name)?, vector::<T>(b, b_name)?);
    let (w, b) = (w.as_array(), b.as_array());
    let (c, d) = w.dim();
    if b.len() != c {
        let n = b.len();
        let message = format!("{w_name} has {c} rows, one a class, but {b_name} has {n} values");
        return Err(PyValueError::new_err(message));
    }
    reshape(model, c, d);
    model.weights_array_mut().assign(&w);
    model.bias_array_mut().assign(&b);
    Ok(())
}

/// Replaces a model by zeros if its shape is another.
pub(crate) fn reshape<T: Number>(model: &mut LinearModel<T>, c: usize, d: usize) {
    if (model.n_classes(), model.n_features()) != (c, d) {
        *model = LinearModel::zeros(c, d);
    }
}

/// Copies labels, which are whole numbers of any type, and checks that each is one of `classes`. A copy, so that
/// they stay what they are when another thread writes to the array.
pub(crate) fn read_labels(
    value: &Bound<'_, PyAny>,
    classes: usize,
    labels: &mut Vec<u32>,
) -> PyResult<()> {
    let array = array(value, "y")?;
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
    x: Features<'a, T>,
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
