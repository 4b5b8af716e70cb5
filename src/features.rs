//! X as it is stored: what a batch has of it, and what a plan reads.

use crate::{MatrixView, element::Element};

/// The features of some rows, as they are stored; they are computed with as `T`. Made by `into`, which
/// [`Batch::new`](crate::Batch::new) and the functions that predict call themselves.
///
/// ```
/// use softmargin::{Features, MatrixView};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features: Features<'_, f32> = MatrixView::new(&[1.0_f32, 2.0, 3.0, 4.0], 2, 2)?.into();
/// assert_eq!((features.rows(), features.cols()), (2, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Features<'a, T> {
    storage: Storage<'a, T>,
}

/// How features are stored.
#[derive(Debug)]
pub(crate) enum Storage<'a, T> {
    /// All of them.
    Dense(MatrixView<'a, T>),
}

impl<T> Clone for Features<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Features<'_, T> {}

impl<T> Clone for Storage<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Storage<'_, T> {}

impl<'a, T> From<MatrixView<'a, T>> for Features<'a, T> {
    fn from(matrix: MatrixView<'a, T>) -> Self {
        Self { storage: Storage::Dense(matrix) }
    }
}

impl<'a, T: Element> Features<'a, T> {
    /// The number of rows (N).
    pub fn rows(&self) -> usize {
        match self.storage {
            Storage::Dense(x) => x.rows(),
        }
    }

    /// The number of columns (D).
    pub fn cols(&self) -> usize {
        match self.storage {
            Storage::Dense(x) => x.cols(),
        }
    }

    /// The matrix, if it is stored as one of `T`.
    pub fn matrix(&self) -> Option<MatrixView<'a, T>> {
        match self.storage {
            Storage::Dense(x) => Some(x),
        }
    }

    pub(crate) fn storage(&self) -> Storage<'a, T> {
        self.storage
    }

    /// A copy of row `i`, as it is computed with; `None` past the last one. Takes O(D).
    pub fn row(&self, i: usize) -> Option<Vec<T>> {
        (i < self.rows()).then(|| match self.storage {
            Storage::Dense(x) => x.row_elements(i).collect(),
        })
    }
}
