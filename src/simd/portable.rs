//! Lanes for every machine, over the crate `wide`: SSE2 on a plain x86-64 build, NEON on AArch64,
//! SIMD128 on WebAssembly, scalars elsewhere; AVX2 where the whole build is made for it.

use super::{Lanes, MAX_LANES, Run, widen::f16_to_f32};
use crate::summation::sum_halves;
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
            unsafe fn from_u8((): (), source: *const u8) -> Self {
                // SAFETY: the caller grants `LANES` numbers; an array is as aligned as its element.
                Self(<$vector>::new(unsafe { *source.cast::<[u8; $lanes]>() }.map(<$elem>::from)))
            }

            #[inline(always)]
            unsafe fn from_i8((): (), source: *const i8) -> Self {
                // SAFETY: the caller grants `LANES` numbers; an array is as aligned as its element.
                Self(<$vector>::new(unsafe { *source.cast::<[i8; $lanes]>() }.map(<$elem>::from)))
            }

            #[inline(always)]
            unsafe fn from_f16((): (), source: *const u16) -> Self {
                // SAFETY: the caller grants `LANES` numbers; an array is as aligned as its element.
                Self(<$vector>::new(unsafe { *source.cast::<[u16; $lanes]>() }.map(|bits| f16_to_f32(bits).into())))
            }

            #[inline(always)]
            unsafe fn from_bf16((): (), source: *const u16) -> Self {
                // SAFETY: the caller grants `LANES` numbers; an array is as aligned as its element.
                Self(<$vector>::new(unsafe { *source.cast::<[u16; $lanes]>() }.map(|bits| f32::from_bits(u32::from(bits) << 16).into())))
            }

            #[inline(always)]
            unsafe fn from_f32((): (), source: *const f32) -> Self {
                // SAFETY: the caller grants `LANES` numbers; an array is as aligned as its element.
                Self(<$vector>::new(unsafe { *source.cast::<[f32; $lanes]>() }.map(<$elem>::from)))
            }

            #[inline(always)]
            unsafe fn store(self, target: *mut $elem) {
                // SAFETY: the caller grants `LANES` elements; an array is as aligned as its element.
                unsafe { *target.cast::<[$elem; $lanes]>() = self.0.to_array() }
            }

            #[inline(always)]
            unsafe fn add_to(self, target: *mut f64) {
                for (i, lane) in self.0.to_array().into_iter().enumerate() {
                    // SAFETY: the caller grants as many numbers as there are lanes.
                    unsafe { *target.add(i) += f64::from(lane) };
                }
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                Self(self.0.mul_add(b.0, c.0))
            }

            #[inline(always)]
            fn gt(self, b: Self) -> $vector {
                self.0.simd_gt(b.0)
            }

            #[inline(always)]
            fn eq(self, b: Self) -> $vector {
                self.0.simd_eq(b.0)
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
            fn sum_pairs(self, b: Self) -> Self {
                let (a, b) = (self.0.to_array(), b.0.to_array());
                let sum = |v: [$elem; $lanes], i: usize| v[i] + v[i + $lanes / 2];
                let lane = |i: usize| if i < $lanes / 2 { sum(a, i) } else { sum(b, i - $lanes / 2) };
                Self(<$vector>::new(core::array::from_fn(lane)))
            }

            #[inline(always)]
            fn sum_each((): (), pairs: &[Self; MAX_LANES / 2]) -> Self {
                Self(<$vector>::new(core::array::from_fn(|i| {
                    let pair = pairs[i / 2].0.to_array();
                    sum_halves::<_, { $lanes / 2 }>(pair.as_chunks().0[i % 2])
                })))
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
