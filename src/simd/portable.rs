//! Lanes for every machine, over the crate `wide`: SSE2 on a plain x86-64 build, NEON on AArch64,
//! SIMD128 on WebAssembly, scalars elsewhere; AVX2 where the whole build is made for it.

use super::{Lanes, Run};
use core::ops::{Add, Div, Mul, Sub};
use wide::{f32x8, f64x4};

macro_rules! portable_lanes {
    ($(#[$doc:meta])* $name:ident($vector:ty), $elem:ty, $bits:ty, $lanes:literal, $mantissa:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub struct $name($vector);

        impl $name {
            /// Applies `f` to the bits of every lane.
            #[inline(always)]
            fn map_bits(self, f: impl Fn(usize, $bits) -> $bits) -> Self {
                let mut lanes = self.0.to_array();
                for (i, lane) in lanes.iter_mut().enumerate() {
                    *lane = <$elem>::from_bits(f(i, lane.to_bits()));
                }
                Self(<$vector>::new(lanes))
            }
        }

        impl Add for $name {
            type Output = Self;
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                Self(self.0 + b.0)
            }
        }

        impl Sub for $name {
            type Output = Self;
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                Self(self.0 - b.0)
            }
        }

        impl Mul for $name {
            type Output = Self;
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                Self(self.0 * b.0)
            }
        }

        impl Div for $name {
            type Output = Self;
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                Self(self.0 / b.0)
            }
        }

        impl Lanes for $name {
            type Elem = $elem;
            type Proof = ();
            type Mask = $vector;
            const LANES: usize = $lanes;
            // 16 registers of 128 bits, two to a vector.
            const REGISTERS: usize = 8;

            #[inline(always)]
            fn splat((): (), x: $elem) -> Self {
                Self(<$vector>::splat(x))
            }

            #[inline(always)]
            unsafe fn load((): (), source: *const $elem) -> Self {
                // SAFETY: the caller grants `LANES` elements; an array is as aligned as its element.
                Self(<$vector>::new(unsafe { *source.cast::<[$elem; $lanes]>() }))
            }

            #[inline(always)]
            unsafe fn load_first((): (), source: *const $elem, n: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                for (i, lane) in lanes.iter_mut().enumerate().take(n) {
                    // SAFETY: `i < n`, and the caller grants `n` elements.
                    *lane = unsafe { *source.add(i) };
                }
                Self(<$vector>::new(lanes))
            }

            #[inline(always)]
            fn from_integers((): (), source: &[i8]) -> Self {
                let source: &[i8; $lanes] = source.first_chunk().expect("integers for all lanes");
                Self(<$vector>::new(source.map(<$elem>::from)))
            }

            #[inline(always)]
            unsafe fn store(self, target: *mut $elem) {
                // SAFETY: the caller grants `LANES` elements; an array is as aligned as its element.
                unsafe { *target.cast::<[$elem; $lanes]>() = self.0.to_array() }
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                Self(self.0.mul_add(b.0, c.0))
            }

            #[inline(always)]
            fn max(self, b: Self) -> Self {
                Self::select(self.gt(b), self, b)
            }

            #[inline(always)]
            fn min(self, b: Self) -> Self {
                Self::select(b.gt(self), self, b)
            }

            #[inline(always)]
            fn gt(self, b: Self) -> $vector {
                self.0.simd_gt(b.0)
            }

            #[inline(always)]
            fn select(mask: $vector, yes: Self, no: Self) -> Self {
                Self(mask.select(yes.0, no.0))
            }

            #[inline(never)]
            fn call<R: Run<$elem>>(proof: (), kernel: R) -> R::Output {
                kernel.run::<Self>(proof)
            }

            #[inline(always)]
            fn interleave(self, b: Self) -> (Self, Self) {
                let (a, b) = (self.0.to_array(), b.0.to_array());
                let lane = |i: usize| if i % 2 == 0 { a[i / 2] } else { b[i / 2] };
                let half = |first: usize| core::array::from_fn(|i| lane(first + i));
                (Self(<$vector>::new(half(0))), Self(<$vector>::new(half($lanes))))
            }

            #[inline(always)]
            fn sum4(v: [Self; 4]) -> [$elem; 4] {
                v.map(|v| v.0.reduce_add())
            }

            #[inline(always)]
            fn max4(v: [Self; 4]) -> [$elem; 4] {
                v.map(|v| v.0.to_array().into_iter().fold(<$elem>::NEG_INFINITY, <$elem>::max))
            }

            #[inline(always)]
            fn add_bits(self, b: Self) -> Self {
                let b = b.0.to_array();
                self.map_bits(|i, bits| bits.wrapping_add(b[i].to_bits()))
            }

            #[inline(always)]
            fn sub_bits(self, b: Self) -> Self {
                let b = b.0.to_array();
                self.map_bits(|i, bits| bits.wrapping_sub(b[i].to_bits()))
            }

            #[inline(always)]
            fn shl_mantissa(self) -> Self {
                self.map_bits(|_, bits| bits << $mantissa)
            }

            #[inline(always)]
            fn shr_mantissa(self) -> Self {
                self.map_bits(|_, bits| bits >> $mantissa)
            }
        }
    };
}

portable_lanes! {
    /// Eight `f32`.
    F32x8(f32x8), f32, u32, 8, 23
}

portable_lanes! {
    /// Four `f64`.
    F64x4(f64x4), f64, u64, 4, 52
}
