//! The two element types, and for each the lanes that compute with it.

use crate::{entry::Kernels, simd::Backends};
use core::{
    fmt::{Debug, Display},
    ops::{Add, Neg},
};

/// The element type of features, weights and gradients: `f32` or `f64`. Sealed: its supertrait, which
/// names the lanes of each instruction set, is private.
///
/// ```
/// use softmargin::{LinearModel, Scalar};
///
/// fn largest_weight<T: Scalar>(model: &LinearModel<T>) -> f64 {
///     model.weights().iter().fold(0.0, |max, weight| weight.to_f64().abs().max(max))
/// }
/// assert_eq!(largest_weight(&LinearModel::<f32>::zeros(3, 2)), 0.0);
/// ```
pub trait Scalar:
    Copy
    + Debug
    + Display
    + Default
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Neg<Output = Self>
    + Backends
    + Kernels
{
    /// The largest finite value.
    const MAX: Self;
    /// The smallest positive normal value.
    const MIN_POSITIVE: Self;
    /// The distance from 1 to the next larger value.
    const EPSILON: Self;

    /// The nearest value of this type (round to nearest, ties to even; overflow gives ±∞).
    fn from_f64(value: f64) -> Self;
    /// The same value as `f64`, exactly.
    fn to_f64(self) -> f64;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
}

impl Scalar for f32 {
    const MAX: Self = f32::MAX;
    const MIN_POSITIVE: Self = f32::MIN_POSITIVE;
    const EPSILON: Self = f32::EPSILON;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Scalar for f64 {
    const MAX: Self = f64::MAX;
    const MIN_POSITIVE: Self = f64::MIN_POSITIVE;
    const EPSILON: Self = f64::EPSILON;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}
