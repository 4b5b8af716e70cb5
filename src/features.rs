//! X as it is stored: what a batch has of it, and what a plan reads.

use crate::{
    CsrView, Error, MatrixView, Scaling,
    element::{Element, Stored},
};

/// The features of some rows, as they are stored and where they lie; they are computed with as `T`. Made by `into`,
/// which [`Batch::new`](crate::Batch::new) and the functions that predict call themselves, of a [`MatrixView`] of
///
/// | stored | bytes each | | computed with as |
/// |---|---|---|---|
/// | `f32`, `f64` | 4, 8 | | themselves, or `f32` as `f64` |
/// | `half::f16`, `half::bf16` | 2 | embeddings (feature `half`) | `f32` or `f64` |
/// | `u8`, `i8` | 1 | pixels, quantised embeddings | `f32` or `f64` |
///
/// Each value becomes the same number in the wider type, block by block, while the block is in cache: an evaluation
/// reads N × D of the stored numbers from memory, and its result has the bits of one of the widened copy. For what
/// 0 to 255, say, should stand, see [`Scaling`].
///
/// ```
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let pixels = [0_u8, 255, 128, 7]; // two images of two pixels
/// let batch = Batch::new(MatrixView::new(&pixels, 2, 2)?, &[0, 1])?;
/// let (model, mut gradient) = (LinearModel::<f32>::zeros(2, 2), LinearModel::zeros(2, 2));
/// Evaluator::new(Objective::hinge(1.0)).loss_and_gradient(&model, &batch, &mut gradient)?;
/// assert_eq!(gradient.weights(), [64.0, -124.0, -64.0, 124.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Features<'a, T> {
    storage: Storage<'a, T>,
    scaling: Option<&'a Scaling>,
}

/// How features are stored.
#[derive(Debug)]
pub(crate) enum Storage<'a, T> {
    /// All of them.
    Dense(Matrix<'a, T>),
    /// Those that are not zero.
    Sparse(CsrView<'a, T>),
}

/// Defines the list of types that matrices are stored in, and the macro `with_matrix!(matrix, x => body)`, which
/// evaluates `body` with the view of any of them.
macro_rules! matrices {
    ($d:tt $($(#[$only:meta])? $name:ident: $type:ty;)*) => {
        /// A matrix, by the type of what is stored.
        #[derive(Debug)]
        pub(crate) enum Matrix<'a, T> {
            /// The type that is computed in.
            Same(MatrixView<'a, T>),
            $($(#[$only])? $name(MatrixView<'a, $type>),)*
        }

        impl<T> Matrix<'_, T> {
            fn slice_rows(self, range: core::ops::Range<usize>) -> Option<Self> {
                match self {
                    Self::Same(x) => x.slice_rows(range).map(Self::Same),
                    $($(#[$only])? Self::$name(x) => x.slice_rows(range).map(Self::$name),)*
                }
            }
        }

        macro_rules! with_matrix {
            ($d matrix:expr, $d x:ident => $d body:expr) => {
                match $d matrix {
                    $crate::features::Matrix::Same($d x) => $d body,
                    $($(#[$only])? $crate::features::Matrix::$name($d x) => $d body,)*
                }
            };
        }
        pub(crate) use with_matrix;

    };
}

macro_rules! from {
    ($($(#[$only:meta])? $name:ident: $type:ty => $element:ty $(, $any:ident)?;)*) => {
        $($(#[$only])? impl<'a $(, $any: Element)?> From<MatrixView<'a, $type>> for Features<'a, $element> {
            fn from(matrix: MatrixView<'a, $type>) -> Self {
                Self::dense(Matrix::$name(matrix))
            }
        })*
    };
}

matrices! { $
    U8: u8;
    I8: i8;
    #[cfg(feature = "half")]
    F16: half::f16;
    #[cfg(feature = "half")]
    Bf16: half::bf16;
    F32: f32;
}

from! {
    U8: u8 => T, T;
    I8: i8 => T, T;
    #[cfg(feature = "half")]
    F16: half::f16 => T, T;
    #[cfg(feature = "half")]
    Bf16: half::bf16 => T, T;
    F32: f32 => f64;
}

impl<'a, T: Element> From<MatrixView<'a, T>> for Features<'a, T> {
    fn from(matrix: MatrixView<'a, T>) -> Self {
        Self::dense(Matrix::Same(matrix))
    }
}

macro_rules! copy {
    ($($name:ident)*) => {
        $(
            impl<T> Clone for $name<'_, T> {
                fn clone(&self) -> Self {
                    *self
                }
            }

            impl<T> Copy for $name<'_, T> {}
        )*
    };
}

copy!(Features Storage Matrix);

impl<'a, T> From<CsrView<'a, T>> for Features<'a, T> {
    fn from(matrix: CsrView<'a, T>) -> Self {
        Self { storage: Storage::Sparse(matrix), scaling: None }
    }
}

impl<'a, T: Element> Features<'a, T> {
    fn dense(matrix: Matrix<'a, T>) -> Self {
        Self { storage: Storage::Dense(matrix), scaling: None }
    }

    /// With x′ = (x − shift) scale in place of every x, computed on the way. A second scaling replaces the first.
    ///
    /// # Errors
    /// [`Error::ScalingFeatures`] if it is for another number of features; [`Error::ScalingValue`] for a shift or a
    /// scale that is not finite in `T`.
    pub fn with_scaling(self, scaling: &'a Scaling) -> Result<Self, Error> {
        scaling.check::<T>(self.cols())?;
        Ok(Self { scaling: Some(scaling), ..self })
    }

    /// What the features are scaled by, if they are.
    pub fn scaling(&self) -> Option<&'a Scaling> {
        self.scaling
    }

    /// The number of rows (N).
    pub fn rows(&self) -> usize {
        match self.storage {
            Storage::Dense(matrix) => with_matrix!(matrix, x => x.rows()),
            Storage::Sparse(x) => x.rows(),
        }
    }

    /// The number of columns (D).
    pub fn cols(&self) -> usize {
        match self.storage {
            Storage::Dense(matrix) => with_matrix!(matrix, x => x.cols()),
            Storage::Sparse(x) => x.cols(),
        }
    }

    /// The matrix, if it is stored as one of `T`.
    pub fn matrix(&self) -> Option<MatrixView<'a, T>> {
        match self.storage {
            Storage::Dense(Matrix::Same(x)) => Some(x),
            Storage::Dense(_) | Storage::Sparse(_) => None,
        }
    }

    /// The features of a range of rows, of which nothing is copied; `None` unless all of them are there. O(1).
    pub fn slice_rows(&self, range: core::ops::Range<usize>) -> Option<Self> {
        let storage = match self.storage {
            Storage::Dense(matrix) => Storage::Dense(matrix.slice_rows(range)?),
            Storage::Sparse(x) => Storage::Sparse(x.slice_rows(range)?),
        };
        Some(Self { storage, ..*self })
    }

    pub(crate) fn storage(&self) -> Storage<'a, T> {
        self.storage
    }

    /// Whether only the features that are not zero are stored.
    pub fn is_sparse(&self) -> bool {
        matches!(self.storage, Storage::Sparse(_))
    }

    /// The number of features stored, of all rows.
    pub(crate) fn n_entries(&self) -> usize {
        match self.storage {
            Storage::Dense(_) => self.rows().saturating_mul(self.cols()),
            Storage::Sparse(x) => x.n_entries(),
        }
    }

    /// A copy of row `i`, scaled, rounded to what it is computed with; `None` past the last one. Takes O(D).
    pub fn row(&self, i: usize) -> Option<Vec<T>> {
        Some(self.exact_row(i)?.into_iter().map(T::from_f64).collect())
    }

    /// Row `i`, scaled in `f64`.
    pub(crate) fn exact_row(&self, i: usize) -> Option<Vec<f64>> {
        let mut row = vec![0.0; self.cols()];
        self.read_row(i, &mut row)?;
        if let Some(scaling) = self.scaling {
            row.iter_mut().enumerate().for_each(|(feature, x)| *x = scaling.apply(*x, feature));
        }
        Some(row)
    }

    /// Writes row `i`, not scaled.
    pub(crate) fn read_row(&self, i: usize, target: &mut [f64]) -> Option<()> {
        (i < self.rows()).then(|| match self.storage {
            Storage::Dense(matrix) => with_matrix!(matrix, x => {
                target.iter_mut().zip(x.row_elements(i)).for_each(|(to, x)| *to = x.value());
            }),
            Storage::Sparse(x) => {
                target.fill(0.0);
                let (indices, values) = x.row(i).expect("a row of X");
                for (index, value) in indices.iter().zip(values) {
                    target[*index as usize] += value.to_f64();
                }
            }
        })
    }
}

impl<T> Matrix<'_, T> {
    pub(crate) fn is_row_major(&self) -> bool {
        with_matrix!(self, x => x.col_stride() == 1)
    }
}
