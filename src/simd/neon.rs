//! Lanes over the vector registers of AArch64. A vector is two registers of 128 bits, with an instruction for each half:
//! as many lanes as on AVX2, and 16 vectors in 32 registers, so that its tiles fit. Vectors of a single register would
//! take tiles of their own, as three of them are no multiple of eight classes, and double the length of the sums over
//! the features.

use super::{Backends, Lanes, MAX_LANES, Run};
use core::{
    arch::{aarch64::*, asm},
    mem::transmute,
    ops::{Add, Div, Mul, Sub},
};

/// Shows that this machine has NEON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Neon(());

impl Neon {
    /// Asks the machine.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

/// The shell in which a kernel is compiled for NEON.
#[target_feature(enable = "neon")]
#[inline(never)]
fn call_neon<T: Backends, R: Run<T>>(proof: Neon, kernel: R) -> R::Output {
    kernel.run::<T::Neon>(proof)
}

/// An instruction between registers, for both halves of vectors.
macro_rules! halves {
    ($instruction:expr, $($vector:expr),+) => {
        // SAFETY: vectors are made with a proof that the machine has the instruction, which touches no memory.
        unsafe { [$instruction($($vector[0]),+), $instruction($($vector[1]),+)] }
    };
}

macro_rules! neon_lanes {
    (
        $(#[$doc:meta])* $name:ident([$vector:ty; 2]), $elem:ty, $lanes:literal;
        mask: $mask:ty;
        splat: $splat:ident, load: $load:ident, store: $store:ident;
        add: $add:ident, sub: $sub:ident, mul: $mul:ident, div: $div:ident, fma: $fma:ident;
        gt: $gt:ident, eq: $eq:ident, select: $select:ident;
        bits: $bits:ident, from_bits: $from_bits:ident;
        add_bits: $add_bits:ident, sub_bits: $sub_bits:ident, shl: $shl:expr, shr: $shr:expr;
        low_zip: $low_zip:ident, high_zip: $high_zip:ident;
        max: $max:ident, add_neighbours: $add_neighbours:ident, max_neighbours: $max_neighbours:ident;
        across4: |$of_neighbours:ident, $v:ident| $across4:expr;
        widened: $widened:expr;
        of_fours: |$read4:ident, $source:ident| $of_fours:expr;
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub struct $name([$vector; 2]);

        neon_lanes!(@operator $name, Add, add, $add);
        neon_lanes!(@operator $name, Sub, sub, $sub);
        neon_lanes!(@operator $name, Mul, mul, $mul);
        neon_lanes!(@operator $name, Div, div, $div);

        impl Lanes for $name {
            type Elem = $elem;
            type Proof = Neon;
            type Mask = [$mask; 2];
            const LANES: usize = $lanes;
            // 32 registers, two to a vector. One vector is left for the compiler, which else keeps sums of 3 × 4 tiles in
            // memory.
            const REGISTERS: usize = 15;

            #[inline(always)]
            fn splat(_: Neon, x: $elem) -> Self {
                // SAFETY: the proof shows that the machine has the instruction.
                Self([unsafe { $splat(x) }; 2])
            }

            #[inline(always)]
            unsafe fn load(_: Neon, source: *const $elem) -> Self {
                // SAFETY: the proof shows that the machine has the instruction; the caller grants `LANES` elements.
                Self(unsafe { [$load(source), $load(source.add($lanes / 2))] })
            }

            neon_lanes!(@from from_u8, u8, four_u8, |$read4, $source| $of_fours);
            neon_lanes!(@from from_i8, i8, four_i8, |$read4, $source| $of_fours);
            neon_lanes!(@from from_f16, u16, four_f16, |$read4, $source| $of_fours);
            neon_lanes!(@from from_bf16, u16, four_bf16, |$read4, $source| $of_fours);
            neon_lanes!(@from from_f32, f32, vld1q_f32, |$read4, $source| $of_fours);

            #[inline(always)]
            unsafe fn store(self, target: *mut $elem) {
                // SAFETY: `self` was made with a proof; the caller grants `LANES` elements.
                unsafe {
                    $store(target, self.0[0]);
                    $store(target.add($lanes / 2), self.0[1]);
                }
            }

            #[inline(always)]
            unsafe fn add_to(self, target: *mut f64) {
                // SAFETY: `self` was made with a proof; the caller grants as many numbers as there are lanes, two of
                // which fill a register.
                unsafe {
                    for (i, terms) in $widened(self.0).into_iter().enumerate() {
                        let target = target.add(2 * i);
                        vst1q_f64(target, vaddq_f64(vld1q_f64(target), terms));
                    }
                }
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                Self(halves!($fma, c.0, self.0, b.0))
            }

            #[inline(always)]
            fn gt(self, b: Self) -> Self::Mask {
                halves!($gt, self.0, b.0)
            }

            #[inline(always)]
            fn eq(self, b: Self) -> Self::Mask {
                halves!($eq, self.0, b.0)
            }

            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                Self(halves!($select, mask, yes.0, no.0))
            }

            #[inline(always)]
            fn call<R: Run<$elem>>(proof: Neon, kernel: R) -> R::Output {
                // SAFETY: the proof shows that the machine has the instructions.
                unsafe { call_neon(proof, kernel) }
            }

            #[inline(always)]
            fn interleave(self, b: Self) -> (Self, Self) {
                let [first, second] = halves!(|a, b| [$low_zip(a, b), $high_zip(a, b)], self.0, b.0);
                (Self(first), Self(second))
            }

            neon_lanes!(@across sum4, $elem, $add, $add_neighbours, |$of_neighbours, $v| $across4);
            #[inline(always)]
            fn sum_pairs(self, b: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                Self(unsafe { [$add(self.0[0], self.0[1]), $add(b.0[0], b.0[1])] })
            }

            #[inline(always)]
            fn sum_each(proof: Neon, pairs: &[Self; MAX_LANES / 2]) -> Self {
                let $of_neighbours = $add_neighbours;
                let mut sums = [<$elem>::default(); $lanes];
                for (sums, pairs) in sums.as_chunks_mut::<4>().0.iter_mut().zip(pairs.as_chunks().0) {
                    let [Self([a, b]), Self([c, d])] = *pairs;
                    let $v = [a, b, c, d];
                    // SAFETY: the proof shows that the machine has the instructions, which touch no memory; and the
                    // registers of the results have the bits of an array.
                    let four: [$elem; 4] = unsafe { transmute($across4) };
                    *sums = four;
                }
                Self::from_slice(proof, &sums)
            }

            neon_lanes!(@across max4, $elem, $max, $max_neighbours, |$of_neighbours, $v| $across4);

            #[inline(always)]
            fn add_bits(self, b: Self) -> Self {
                Self(halves!(|a, b| $from_bits($add_bits($bits(a), $bits(b))), self.0, b.0))
            }

            #[inline(always)]
            fn sub_bits(self, b: Self) -> Self {
                Self(halves!(|a, b| $from_bits($sub_bits($bits(a), $bits(b))), self.0, b.0))
            }

            #[inline(always)]
            fn shl_mantissa(self) -> Self {
                Self(halves!(|a| $from_bits($shl($bits(a))), self.0))
            }

            #[inline(always)]
            fn shr_mantissa(self) -> Self {
                Self(halves!(|a| $from_bits($shr($bits(a))), self.0))
            }
        }
    };

    (@operator $name:ident, $trait:ident, $method:ident, $instruction:ident) => {
        impl $trait for $name {
            type Output = Self;
            #[inline(always)]
            fn $method(self, b: Self) -> Self {
                Self(halves!($instruction, self.0, b.0))
            }
        }
    };

    (@from $method:ident, $type:ty, $four:ident, |$read4:ident, $source:ident| $of_fours:expr) => {
        #[inline(always)]
        unsafe fn $method(_: Neon, $source: *const $type) -> Self {
            let $read4 = $four;
            // SAFETY: the proof shows that the machine has the instructions; the caller grants as many numbers as there
            // are lanes, and no more are read.
            Self(unsafe { $of_fours })
        }
    };

    (
        @across $method:ident, $elem:ty, $of_halves:ident, $neighbours:ident,
        |$of_neighbours:ident, $v:ident| $across4:expr
    ) => {
        #[inline(always)]
        fn $method($v: [Self; 4]) -> [$elem; 4] {
            let $of_neighbours = $neighbours;
            // SAFETY: vectors are made with a proof that the machine has the instructions, which touch no memory; and
            // the registers of the results have the bits of an array.
            unsafe {
                let $v = $v.map(|v| $of_halves(v.0[0], v.0[1]));
                transmute($across4)
            }
        }
    };
}

neon_lanes! {
    /// Eight `f32`.
    F32x8([float32x4_t; 2]), f32, 8;
    mask: uint32x4_t;
    splat: vdupq_n_f32, load: vld1q_f32, store: vst1q_f32;
    add: vaddq_f32, sub: vsubq_f32, mul: vmulq_f32, div: vdivq_f32, fma: vfmaq_f32;
    gt: vcgtq_f32, eq: vceqq_f32, select: vbslq_f32;
    bits: vreinterpretq_u32_f32, from_bits: vreinterpretq_f32_u32;
    add_bits: vaddq_u32, sub_bits: vsubq_u32, shl: vshlq_n_u32::<23>, shr: vshrq_n_u32::<23>;
    low_zip: vzip1q_f32, high_zip: vzip2q_f32;
    max: vmaxq_f32, add_neighbours: vpaddq_f32, max_neighbours: vpmaxq_f32;
    across4: |of_neighbours, v| of_neighbours(of_neighbours(v[0], v[1]), of_neighbours(v[2], v[3]));
    widened: |v: [float32x4_t; 2]| {
        let ([a, b], [c, d]) = (widen(v[0]), widen(v[1]));
        [a, b, c, d]
    };
    of_fours: |read4, source| [read4(source), read4(source.add(4))];
}

neon_lanes! {
    /// Four `f64`.
    F64x4([float64x2_t; 2]), f64, 4;
    mask: uint64x2_t;
    splat: vdupq_n_f64, load: vld1q_f64, store: vst1q_f64;
    add: vaddq_f64, sub: vsubq_f64, mul: vmulq_f64, div: vdivq_f64, fma: vfmaq_f64;
    gt: vcgtq_f64, eq: vceqq_f64, select: vbslq_f64;
    bits: vreinterpretq_u64_f64, from_bits: vreinterpretq_f64_u64;
    add_bits: vaddq_u64, sub_bits: vsubq_u64, shl: vshlq_n_u64::<52>, shr: vshrq_n_u64::<52>;
    low_zip: vzip1q_f64, high_zip: vzip2q_f64;
    max: vmaxq_f64, add_neighbours: vpaddq_f64, max_neighbours: vpmaxq_f64;
    across4: |of_neighbours, v| [of_neighbours(v[0], v[1]), of_neighbours(v[2], v[3])];
    widened: |v| v;
    of_fours: |read4, source| widen(read4(source));
}

/// # Safety
/// The machine must have NEON.
#[inline(always)]
unsafe fn widen(v: float32x4_t) -> [float64x2_t; 2] {
    // SAFETY: as the caller says.
    unsafe { [vcvt_f64_f32(vget_low_f32(v)), vcvt_high_f64_f32(v)] }
}

macro_rules! four {
    ($(#[$doc:meta])* $name:ident, $type:ty, |$source:ident| $body:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The machine must have NEON, and `source` be valid for reading four numbers.
        #[inline(always)]
        unsafe fn $name($source: *const $type) -> float32x4_t {
            // SAFETY: as the caller says.
            unsafe { $body }
        }
    };
}

four! {
    /// Four integers.
    four_u8, u8, |source| {
        let numbers = vreinterpret_u8_u32(vdup_n_u32(source.cast::<u32>().read_unaligned()));
        vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(numbers))))
    }
}

four! {
    /// Four integers.
    four_i8, i8, |source| {
        let numbers = vreinterpret_s8_s32(vdup_n_s32(source.cast::<i32>().read_unaligned()));
        vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(numbers))))
    }
}

four! {
    /// Four numbers of binary16. `core::arch` has this instruction for a type that is not stable yet.
    four_f16, u16, |source| {
        let wide: float32x4_t;
        asm!(
            "fcvtl {:v}.4s, {:v}.4h",
            out(vreg) wide, in(vreg) vld1_u16(source),
            options(pure, nomem, nostack, preserves_flags),
        );
        wide
    }
}

four! {
    /// Four upper halves of `f32`.
    four_bf16, u16, |source| {
        vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(source))))
    }
}
