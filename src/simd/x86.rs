//! Lanes over the vector registers of x86-64: thin newtypes whose every method is one or a few
//! instructions of `core::arch`. AVX2 and AVX-512 differ in their names and in how they compare,
//! select and mask, which is all that [`x86_lanes`] is told.

use super::{Lanes, Run};
use crate::Scalar;
use core::arch::x86_64::*;
use core::ops::{Add, Div, Mul, Sub};

/// Shows that this machine has AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Avx2(());

/// Shows that this machine has AVX-512 F, BW, DQ and VL, as well as AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Avx512(());

impl Avx2 {
    /// Asks the machine.
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl Avx512 {
    /// Asks the machine.
    pub(super) fn detect() -> Option<Self> {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        (avx512 && Avx2::detect().is_some()).then_some(Self(()))
    }
}

/// The shell in which kernels are compiled for AVX2.
#[target_feature(enable = "avx2,fma")]
pub(super) fn run_avx2<T: Scalar, R: Run<T>>(kernel: R, proof: Avx2) -> R::Output {
    kernel.run::<T::Avx2>(proof)
}

/// The shell in which kernels are compiled for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn run_avx512<T: Scalar, R: Run<T>>(kernel: R, proof: Avx512) -> R::Output {
    kernel.run::<T::Avx512>(proof)
}

macro_rules! x86_lanes {
    (
        $(#[$doc:meta])* $name:ident($vector:ty), $elem:ty, $lanes:literal of $registers:literal, $proof:ty;
        mask: $mask:ty;
        splat: $splat:ident, load: $load:ident, store: $store:ident;
        add: $add:ident, sub: $sub:ident, mul: $mul:ident, div: $div:ident, fma: $fma:ident;
        max: $max:ident, min: $min:ident;
        bits: $bits:ident, from_bits: $from_bits:ident;
        add_bits: $add_bits:ident, sub_bits: $sub_bits:ident;
        shl: $shl:expr, shr: $shr:expr;
        gt: $gt:expr, select: $select:expr, load_first: $load_first:expr;
        sum4: $sum4:ident;
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub struct $name($vector);

        x86_lanes!(@operator $name, Add, add, $add);
        x86_lanes!(@operator $name, Sub, sub, $sub);
        x86_lanes!(@operator $name, Mul, mul, $mul);
        x86_lanes!(@operator $name, Div, div, $div);

        impl Lanes for $name {
            type Elem = $elem;
            type Proof = $proof;
            type Mask = $mask;
            const LANES: usize = $lanes;
            const REGISTERS: usize = $registers;

            #[inline(always)]
            fn splat(_: $proof, x: $elem) -> Self {
                // SAFETY: the proof shows that the machine has the instruction.
                Self(unsafe { $splat(x) })
            }

            #[inline(always)]
            unsafe fn load(_: $proof, source: *const $elem) -> Self {
                // SAFETY: the proof shows that the machine has the instruction, which asks for no
                // alignment; the caller grants `LANES` elements.
                Self(unsafe { $load(source) })
            }

            #[inline(always)]
            unsafe fn load_first(_: $proof, source: *const $elem, n: usize) -> Self {
                // SAFETY: the proof shows that the machine has the instructions; a masked load does
                // not touch the memory of lanes that are not set, and the caller grants `n`.
                Self(unsafe { $load_first(source, n) })
            }

            #[inline(always)]
            unsafe fn store(self, target: *mut $elem) {
                // SAFETY: `self` was made with a proof; the caller grants `LANES` elements.
                unsafe { $store(target, self.0) }
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                Self(unsafe { $fma(self.0, b.0, c.0) })
            }

            #[inline(always)]
            fn max(self, b: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                Self(unsafe { $max(self.0, b.0) })
            }

            #[inline(always)]
            fn min(self, b: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                Self(unsafe { $min(self.0, b.0) })
            }

            #[inline(always)]
            fn gt(self, b: Self) -> $mask {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                unsafe { $gt(self.0, b.0) }
            }

            #[inline(always)]
            fn select(mask: $mask, yes: Self, no: Self) -> Self {
                // SAFETY: `yes` was made with a proof that the machine has the instruction.
                Self(unsafe { $select(mask, yes.0, no.0) })
            }

            #[inline(always)]
            fn sum4(v: [Self; 4], plus: $elem) -> [$elem; 4] {
                // SAFETY: the vectors were made with a proof that the machine has the instructions.
                unsafe { $sum4(v[0].0, v[1].0, v[2].0, v[3].0, plus) }
            }

            #[inline(always)]
            fn add_bits(self, b: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instructions.
                Self(unsafe { $from_bits($add_bits($bits(self.0), $bits(b.0))) })
            }

            #[inline(always)]
            fn sub_bits(self, b: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instructions.
                Self(unsafe { $from_bits($sub_bits($bits(self.0), $bits(b.0))) })
            }

            #[inline(always)]
            fn shl_mantissa(self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instructions.
                Self(unsafe { $from_bits($shl($bits(self.0))) })
            }

            #[inline(always)]
            fn shr_mantissa(self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instructions.
                Self(unsafe { $from_bits($shr($bits(self.0))) })
            }
        }
    };

    (@operator $name:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $name {
            type Output = Self;
            #[inline(always)]
            fn $method(self, b: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                Self(unsafe { $intrinsic(self.0, b.0) })
            }
        }
    };
}

x86_lanes! {
    /// Eight `f32` of AVX2.
    F32x8(__m256), f32, 8 of 16, Avx2;
    mask: __m256;
    splat: _mm256_set1_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps;
    add: _mm256_add_ps, sub: _mm256_sub_ps, mul: _mm256_mul_ps, div: _mm256_div_ps, fma: _mm256_fmadd_ps;
    max: _mm256_max_ps, min: _mm256_min_ps;
    bits: _mm256_castps_si256, from_bits: _mm256_castsi256_ps;
    add_bits: _mm256_add_epi32, sub_bits: _mm256_sub_epi32;
    shl: _mm256_slli_epi32::<23>, shr: _mm256_srli_epi32::<23>;
    gt: _mm256_cmp_ps::<_CMP_GT_OQ>,
    select: |mask, yes, no| _mm256_blendv_ps(no, yes, mask),
    load_first: |source, n| _mm256_maskload_ps(source, first_of_8(n));
    sum4: sum4_f32x8;
}

x86_lanes! {
    /// Four `f64` of AVX2.
    F64x4(__m256d), f64, 4 of 16, Avx2;
    mask: __m256d;
    splat: _mm256_set1_pd, load: _mm256_loadu_pd, store: _mm256_storeu_pd;
    add: _mm256_add_pd, sub: _mm256_sub_pd, mul: _mm256_mul_pd, div: _mm256_div_pd, fma: _mm256_fmadd_pd;
    max: _mm256_max_pd, min: _mm256_min_pd;
    bits: _mm256_castpd_si256, from_bits: _mm256_castsi256_pd;
    add_bits: _mm256_add_epi64, sub_bits: _mm256_sub_epi64;
    shl: _mm256_slli_epi64::<52>, shr: _mm256_srli_epi64::<52>;
    gt: _mm256_cmp_pd::<_CMP_GT_OQ>,
    select: |mask, yes, no| _mm256_blendv_pd(no, yes, mask),
    load_first: |source, n| _mm256_maskload_pd(source, first_of_4(n));
    sum4: sum4_f64x4;
}

x86_lanes! {
    /// Sixteen `f32` of AVX-512.
    F32x16(__m512), f32, 16 of 32, Avx512;
    mask: __mmask16;
    splat: _mm512_set1_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps;
    add: _mm512_add_ps, sub: _mm512_sub_ps, mul: _mm512_mul_ps, div: _mm512_div_ps, fma: _mm512_fmadd_ps;
    max: _mm512_max_ps, min: _mm512_min_ps;
    bits: _mm512_castps_si512, from_bits: _mm512_castsi512_ps;
    add_bits: _mm512_add_epi32, sub_bits: _mm512_sub_epi32;
    shl: _mm512_slli_epi32::<23>, shr: _mm512_srli_epi32::<23>;
    gt: _mm512_cmp_ps_mask::<_CMP_GT_OQ>,
    select: |mask, yes, no| _mm512_mask_blend_ps(mask, no, yes),
    load_first: |source, n| _mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, source);
    sum4: sum4_f32x16;
}

x86_lanes! {
    /// Eight `f64` of AVX-512.
    F64x8(__m512d), f64, 8 of 32, Avx512;
    mask: __mmask8;
    splat: _mm512_set1_pd, load: _mm512_loadu_pd, store: _mm512_storeu_pd;
    add: _mm512_add_pd, sub: _mm512_sub_pd, mul: _mm512_mul_pd, div: _mm512_div_pd, fma: _mm512_fmadd_pd;
    max: _mm512_max_pd, min: _mm512_min_pd;
    bits: _mm512_castpd_si512, from_bits: _mm512_castsi512_pd;
    add_bits: _mm512_add_epi64, sub_bits: _mm512_sub_epi64;
    shl: _mm512_slli_epi64::<52>, shr: _mm512_srli_epi64::<52>;
    gt: _mm512_cmp_pd_mask::<_CMP_GT_OQ>,
    select: |mask, yes, no| _mm512_mask_blend_pd(mask, no, yes),
    load_first: |source, n| _mm512_maskz_loadu_pd(((1u32 << n) - 1) as __mmask8, source);
    sum4: sum4_f64x8;
}

/// The mask whose first `n` of eight 32-bit lanes are set.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn first_of_8(n: usize) -> __m256i {
    // SAFETY: as the caller says.
    unsafe {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }
}

/// The mask whose first `n` of four 64-bit lanes are set.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn first_of_4(n: usize) -> __m256i {
    // SAFETY: as the caller says.
    unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
}

/// The sums of four vectors and a number: rounds of adding halves, each of which brings two vectors into
/// the place of one, until the four sums stand side by side.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn sum4_f32x8(a: __m256, b: __m256, c: __m256, d: __m256, plus: f32) -> [f32; 4] {
    // SAFETY: as the caller says; the array has room for four lanes.
    unsafe {
        let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let low = _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd);
        let high = _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd);
        let abcd = _mm256_add_ps(low, high);
        let sums = _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps::<1>(abcd));
        let mut out = [0.0; 4];
        _mm_storeu_ps(out.as_mut_ptr(), _mm_add_ps(sums, _mm_set1_ps(plus)));
        out
    }
}

/// As [`sum4_f32x8`].
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn sum4_f64x4(a: __m256d, b: __m256d, c: __m256d, d: __m256d, plus: f64) -> [f64; 4] {
    // SAFETY: as the caller says; the array has room for four lanes.
    unsafe {
        let ab = _mm256_add_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        let cd = _mm256_add_pd(_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
        let low = _mm256_permute2f128_pd::<0x20>(ab, cd);
        let high = _mm256_permute2f128_pd::<0x31>(ab, cd);
        let sums = _mm256_add_pd(low, high);
        let mut out = [0.0; 4];
        _mm256_storeu_pd(out.as_mut_ptr(), _mm256_add_pd(sums, _mm256_set1_pd(plus)));
        out
    }
}

/// As [`sum4_f32x8`].
///
/// # Safety
/// The machine must have AVX-512 F and DQ.
#[inline(always)]
unsafe fn sum4_f32x16(a: __m512, b: __m512, c: __m512, d: __m512, plus: f32) -> [f32; 4] {
    // SAFETY: as the caller says; the array has room for four lanes.
    unsafe {
        let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        let low = _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd);
        let high = _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd);
        let abcd = _mm512_add_ps(low, high);
        let half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps::<1>(abcd));
        let sums = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
        let mut out = [0.0; 4];
        _mm_storeu_ps(out.as_mut_ptr(), _mm_add_ps(sums, _mm_set1_ps(plus)));
        out
    }
}

/// As [`sum4_f32x8`].
///
/// # Safety
/// The machine must have AVX-512 F and DQ.
#[inline(always)]
unsafe fn sum4_f64x8(a: __m512d, b: __m512d, c: __m512d, d: __m512d, plus: f64) -> [f64; 4] {
    // SAFETY: as the caller says.
    unsafe {
        let ab = _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
        let cd = _mm512_add_pd(_mm512_unpacklo_pd(c, d), _mm512_unpackhi_pd(c, d));
        let low = _mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd);
        let high = _mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd);
        // Two pairs of lanes of a and b, and then two of c and d.
        let abcd = _mm512_add_pd(low, high);
        let ab = _mm_add_pd(_mm512_castpd512_pd128(abcd), _mm512_extractf64x2_pd::<1>(abcd));
        let cd = _mm_add_pd(_mm512_extractf64x2_pd::<2>(abcd), _mm512_extractf64x2_pd::<3>(abcd));
        let mut out = [0.0; 4];
        let plus = _mm_set1_pd(plus);
        _mm_storeu_pd(out.as_mut_ptr(), _mm_add_pd(ab, plus));
        _mm_storeu_pd(out.as_mut_ptr().add(2), _mm_add_pd(cd, plus));
        out
    }
}
