//! Numbers, the ground of everything else: the two element types and what is asked of them, and the types that
//! features may be stored in.

use core::{
    fmt::{Debug, Display},
    ops::{Add, Neg},
};

/// A floating-point number, as features, weights and gradients consist of: `f32` or `f64`. Not to be
/// implemented for others: [`Scalar`](crate::Scalar), which evaluations ask for, is sealed.
pub trait Element:
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
    + Stored
    + 'static
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

impl Element for f32 {
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

impl Element for f64 {
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

/// A number as features are stored. All of its values are `f64`, and all but those of `f64` are `f32`.
pub trait Stored: Copy + Default + Send + Sync {
    /// The same value, exactly.
    fn value(self) -> f64;
}

macro_rules! stored {
    ($($(#[$only:meta])? $type:ty),*) => {
        $($(#[$only])? impl Stored for $type {
            #[inline(always)]
            fn value(self) -> f64 {
                self.into()
            }
        })*
    };
}

stored!(
    u8,
    i8,
    #[cfg(feature = "half")]
    half::f16,
    #[cfg(feature = "half")]
    half::bf16,
    f32,
    f64
);
