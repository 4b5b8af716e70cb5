//! Features from matrices of `faer`, and W and b as such matrices.

use crate::{Error, LinearModel, MatrixView, view::View};
use ::faer::{ColRef, Mat, MatRef};

/// Column-major, as `faer` stores matrices, or row-major (transposed), whole or a part.
///
/// # Errors
/// [`Error::Strides`] if neither stride is 1.
impl<'a, T> TryFrom<MatRef<'a, T>> for MatrixView<'a, T> {
    type Error = Error;

    fn try_from(matrix: MatRef<'a, T>) -> Result<Self, Error> {
        Self::of_view(View::of_faer(matrix), [matrix.row_stride(), matrix.col_stride()])
    }
}

impl<'a, T> TryFrom<&'a Mat<T>> for MatrixView<'a, T> {
    type Error = Error;

    fn try_from(matrix: &'a Mat<T>) -> Result<Self, Error> {
        matrix.as_ref().try_into()
    }
}

impl<T> LinearModel<T> {
    /// W, C × D.
    pub fn weights_matrix(&self) -> MatRef<'_, T> {
        MatRef::from_row_major_slice(self.weights(), self.n_classes(), self.n_features())
    }

    /// b.
    pub fn bias_column(&self) -> ColRef<'_, T> {
        ColRef::from_slice(self.bias())
    }
}
