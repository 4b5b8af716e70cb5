//! Features from arrays of `ndarray`, and W and b as such arrays.

use crate::{Error, LinearModel, MatrixView, view::View};
use ::ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

/// Row-major or column-major, whole or a part: of an array with labels in its last column,
/// `array.slice(s![.., ..-1])` will do.
///
/// # Errors
/// [`Error::Strides`] if neither stride is 1, as after `slice(s![.., ..;2])`.
impl<'a, T> TryFrom<ArrayView2<'a, T>> for MatrixView<'a, T> {
    type Error = Error;

    fn try_from(array: ArrayView2<'a, T>) -> Result<Self, Error> {
        Self::of_view(View::of_ndarray(&array), [array.strides()[0], array.strides()[1]])
    }
}

impl<'a, T> TryFrom<&'a Array2<T>> for MatrixView<'a, T> {
    type Error = Error;

    fn try_from(array: &'a Array2<T>) -> Result<Self, Error> {
        array.view().try_into()
    }
}

impl<T> LinearModel<T> {
    /// W, C × D.
    pub fn weights_array(&self) -> ArrayView2<'_, T> {
        let shape = (self.n_classes(), self.n_features());
        ArrayView2::from_shape(shape, self.weights()).expect("C × D weights")
    }

    /// W, C × D, to be changed.
    pub fn weights_array_mut(&mut self) -> ArrayViewMut2<'_, T> {
        let shape = (self.n_classes(), self.n_features());
        ArrayViewMut2::from_shape(shape, self.weights_mut()).expect("C × D weights")
    }

    /// b.
    pub fn bias_array(&self) -> ArrayView1<'_, T> {
        self.bias().into()
    }

    /// b, to be changed.
    pub fn bias_array_mut(&mut self) -> ArrayViewMut1<'_, T> {
        self.bias_mut().into()
    }
}
