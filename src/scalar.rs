//! The two element types, and for each the lanes that compute with it.

use core::fmt::{Debug, Display};

/// The element type of features, weights and gradients: `f32` or `f64`. Sealed.
pub trait Scalar:
    Copy + Debug + Display + Default + PartialEq + PartialOrd + Send + Sync + 'static + sealed::Lanes
{
    /// The nearest value of this type (round to nearest, ties to even; overflow gives ±∞).
    fn from_f64(value: f64) -> Self;
    /// The same value as `f64`, exactly.
    fn to_f64(self) -> f64;
}

pub(crate) mod sealed {
    /// Seals [`Scalar`](super::Scalar) and names the lanes of each backend.
    pub trait Lanes {}
    impl Lanes for f32 {}
    impl Lanes for f64 {}
}

impl Scalar for f32 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}
