//! The types that models are in.

use softmargin::{Features, MatrixView, Scalar};
use std::borrow::Cow;

/// A type to compute in, to which numbers of the data are widened: `f32`, or `f64` for models that need it.
pub trait Compute: Scalar {
    /// Features, as they are computed with.
    fn features<'a>(matrix: MatrixView<'a, f32>) -> Features<'a, Self>;

    /// Numbers; a copy only where they are to be others.
    fn numbers(values: &[f32]) -> Cow<'_, [Self]>;
}

impl Compute for f32 {
    fn features<'a>(matrix: MatrixView<'a, f32>) -> Features<'a, Self> {
        matrix.into()
    }

    fn numbers(values: &[f32]) -> Cow<'_, [Self]> {
        values.into()
    }
}

impl Compute for f64 {
    fn features<'a>(matrix: MatrixView<'a, f32>) -> Features<'a, Self> {
        matrix.into()
    }

    fn numbers(values: &[f32]) -> Cow<'_, [Self]> {
        values.iter().copied().map(f64::from).collect()
    }
}
