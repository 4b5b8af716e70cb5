//! Lanes over the vector registers of x86-64: thin newtypes whose every method is one or a few
//! instructions of `core::arch`. AVX2 and AVX-512 differ in their names and in how they compare,
//! select and mask, which is all that [`x86_lanes`] is told.

use super::{Backends, Lanes, MAX_LANES, Run, math::Elementary};
use core::arch::x86_64::*;
use core::ops::{Add, Div, Mul, Sub};

/// Shows that this machine has AVX2, FMA and F16C.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Avx2(());

/// Shows that this machine has AVX-512 F, BW, DQ and VL, as well as AVX2, FMA and F16C.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Avx512(());

impl Avx2 {
    /// Asks the machine.
    pub(super) fn detect() -> Option<Self> {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        avx2.then_some(Self(()))
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

/// The shell in which a kernel is compiled for AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline(never)]
fn call_avx2<T: Backends, R: Run<T>>(proof: Avx2, kernel: R) -> R::Output {
    kernel.run::<T::Avx2>(proof)
}

/// The shell in which a kernel is compiled for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
#[inline(never)]
fn call_avx512<T: Backends, R: Run<T>>(proof: Avx512, kernel: R) -> R::Output {
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
        add_to: $add_to:expr;
        add_bits: $add_bits:ident, sub_bits: $sub_bits:ident;
        shl: $shl:expr, shr: $shr:expr;
        gt: $gt:expr, eq: $eq:expr, select: $select:expr, load_first: $load_first:expr;
        from_u8: $from_u8:expr, from_i8: $from_i8:expr;
        from_f16: $from_f16:expr, from_bf16: $from_bf16:expr;
        from_f32: $from_f32:expr, from_first_f32: $from_first_f32:expr;
        sum4: $sum4:ident, max4: $max4:ident, sum_each: $sum_each:ident of $unpack_low:ident, $unpack_high:ident;
        interleave: $interleave:ident, call: $call:ident;
        $(scale: |$x:ident, $n:ident| $scale:expr;)?
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
            unsafe fn from_u8(_: $proof, source: *const u8) -> Self {
                // SAFETY: the proof shows that the machine has the instructions; the caller grants as many
                // numbers as there are lanes, and no more are read.
                Self(unsafe { $from_u8(source) })
            }

            #[inline(always)]
            unsafe fn from_i8(_: $proof, source: *const i8) -> Self {
                // SAFETY: the proof shows that the machine has the instructions; the caller grants as many
                // numbers as there are lanes, and no more are read.
                Self(unsafe { $from_i8(source) })
            }

            #[inline(always)]
            unsafe fn from_f16(_: $proof, source: *const u16) -> Self {
                // SAFETY: the proof shows that the machine has the instructions; the caller grants as many
                // numbers as there are lanes, and no more are read.
                Self(unsafe { $from_f16(source) })
            }

            #[inline(always)]
            unsafe fn from_bf16(_: $proof, source: *const u16) -> Self {
                // SAFETY: the proof shows that the machine has the instructions; the caller grants as many
                // numbers as there are lanes, and no more are read.
                Self(unsafe { $from_bf16(source) })
            }

            #[inline(always)]
            unsafe fn from_f32(_: $proof, source: *const f32) -> Self {
                // SAFETY: the proof shows that the machine has the instructions; the caller grants as many
                // numbers as there are lanes, and no more are read.
                Self(unsafe { $from_f32(source) })
            }

            #[inline(always)]
            unsafe fn from_first_f32(_: $proof, source: *const f32, n: usize) -> Self {
                // SAFETY: as for `load_first`.
                Self(unsafe { $from_first_f32(source, n) })
            }

            #[inline(always)]
            unsafe fn store(self, target: *mut $elem) {
                // SAFETY: `self` was made with a proof; the caller grants `LANES` elements.
                unsafe { $store(target, self.0) }
            }

            #[inline(always)]
            unsafe fn add_to(self, target: *mut f64) {
                // SAFETY: `self` was made with a proof that the machine has the instructions; the caller grants as many
                // numbers as there are lanes.
                unsafe { $add_to(self.0, target) }
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                Self(unsafe { $fma(self.0, b.0, c.0) })
            }

            $(
                #[inline(always)]
                fn scale(_: $proof, x: Self, n: Self) -> Self {
                    let ($x, $n) = (x.0, n.0);
                    // SAFETY: the proof shows that the machine has the instructions.
                    Self(unsafe { $scale })
                }
            )?

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
            fn eq(self, b: Self) -> $mask {
                // SAFETY: `self` was made with a proof that the machine has the instruction.
                unsafe { $eq(self.0, b.0) }
            }

            #[inline(always)]
            fn select(mask: $mask, yes: Self, no: Self) -> Self {
                // SAFETY: `yes` was made with a proof that the machine has the instruction.
                Self(unsafe { $select(mask, yes.0, no.0) })
            }

            #[inline(always)]
            fn call<R: Run<$elem>>(proof: $proof, kernel: R) -> R::Output {
                // SAFETY: the proof shows that the machine has the instructions.
                unsafe { $call(proof, kernel) }
            }

            #[inline(always)]
            fn interleave(self, b: Self) -> (Self, Self) {
                // SAFETY: the vectors were made with a proof that the machine has the instructions.
                let (low, high) = unsafe { $interleave(self.0, b.0) };
                (Self(low), Self(high))
            }

            #[inline(always)]
            fn sum4(v: [Self; 4]) -> [$elem; 4] {
                // SAFETY: the vectors were made with a proof that the machine has the instructions.
                unsafe { $sum4(v[0].0, v[1].0, v[2].0, v[3].0) }
            }

            #[inline(always)]
            fn sum_pairs(self, b: Self) -> Self {
                // SAFETY: `self` was made with a proof that the machine has the instructions.
                Self(unsafe { $add($unpack_low(self.0, b.0), $unpack_high(self.0, b.0)) })
            }

            #[inline(always)]
            fn sum_each(_: $proof, pairs: &[Self; MAX_LANES / 2]) -> Self {
                // SAFETY: the proof shows that the machine has the instructions.
                Self(unsafe { $sum_each(core::array::from_fn(|i| pairs[i].0)) })
            }

            #[inline(always)]
            fn max4(v: [Self; 4]) -> [$elem; 4] {
                // SAFETY: the vectors were made with a proof that the machine has the instructions.
                unsafe { $max4(v[0].0, v[1].0, v[2].0, v[3].0) }
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
    add_to: |v, target| {
        let (low, high) = (_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        add_f64x4(_mm256_cvtps_pd(low), target);
        add_f64x4(_mm256_cvtps_pd(high), target.add(4));
    };
    add_bits: _mm256_add_epi32, sub_bits: _mm256_sub_epi32;
    shl: _mm256_slli_epi32::<23>, shr: _mm256_srli_epi32::<23>;
    gt: _mm256_cmp_ps::<_CMP_GT_OQ>,
    eq: _mm256_cmp_ps::<_CMP_EQ_OQ>,
    select: |mask, yes, no| _mm256_blendv_ps(no, yes, mask),
    load_first: |source, n| _mm256_maskload_ps(source, first_of_8(n));
    from_u8: |source: *const u8| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(source.cast()))),
    from_i8: |source: *const i8| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(source.cast())));
    from_f16: |source: *const u16| _mm256_cvtph_ps(_mm_loadu_si128(source.cast())),
    from_bf16: |source: *const u16| {
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(source.cast()))))
    };
    from_f32: _mm256_loadu_ps,
    from_first_f32: |source, n| _mm256_maskload_ps(source, first_of_8(n));
    sum4: sum4_f32x8, max4: max4_f32x8, sum_each: sum_each_f32x8 of _mm256_unpacklo_ps, _mm256_unpackhi_ps;
    interleave: interleave_f32x8, call: call_avx2;
}

x86_lanes! {
    /// Four `f64` of AVX2.
    F64x4(__m256d), f64, 4 of 16, Avx2;
    mask: __m256d;
    splat: _mm256_set1_pd, load: _mm256_loadu_pd, store: _mm256_storeu_pd;
    add: _mm256_add_pd, sub: _mm256_sub_pd, mul: _mm256_mul_pd, div: _mm256_div_pd, fma: _mm256_fmadd_pd;
    max: _mm256_max_pd, min: _mm256_min_pd;
    bits: _mm256_castpd_si256, from_bits: _mm256_castsi256_pd;
    add_to: add_f64x4;
    add_bits: _mm256_add_epi64, sub_bits: _mm256_sub_epi64;
    shl: _mm256_slli_epi64::<52>, shr: _mm256_srli_epi64::<52>;
    gt: _mm256_cmp_pd::<_CMP_GT_OQ>,
    eq: _mm256_cmp_pd::<_CMP_EQ_OQ>,
    select: |mask, yes, no| _mm256_blendv_pd(no, yes, mask),
    load_first: |source, n| _mm256_maskload_pd(source, first_of_4(n));
    from_u8: |source: *const u8| {
        _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(source.cast::<i32>().read_unaligned())))
    },
    from_i8: |source: *const i8| {
        _mm256_cvtepi32_pd(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(source.cast::<i32>().read_unaligned())))
    };
    from_f16: |source: *const u16| _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(source.cast()))),
    from_bf16: |source: *const u16| {
        let bits = _mm_slli_epi32::<16>(_mm_cvtepu16_epi32(_mm_loadl_epi64(source.cast())));
        _mm256_cvtps_pd(_mm_castsi128_ps(bits))
    };
    from_f32: |source: *const f32| _mm256_cvtps_pd(_mm_loadu_ps(source)),
    from_first_f32: |source, n| _mm256_cvtps_pd(_mm_maskload_ps(source, _mm256_castsi256_si128(first_of_8(n))));
    sum4: sum4_f64x4, max4: max4_f64x4, sum_each: sum_each_f64x4 of _mm256_unpacklo_pd, _mm256_unpackhi_pd;
    interleave: interleave_f64x4, call: call_avx2;
}

x86_lanes! {
    /// Sixteen `f32` of AVX-512.
    F32x16(__m512), f32, 16 of 32, Avx512;
    mask: __mmask16;
    splat: _mm512_set1_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps;
    add: _mm512_add_ps, sub: _mm512_sub_ps, mul: _mm512_mul_ps, div: _mm512_div_ps, fma: _mm512_fmadd_ps;
    max: _mm512_max_ps, min: _mm512_min_ps;
    bits: _mm512_castps_si512, from_bits: _mm512_castsi512_ps;
    add_to: |v, target| {
        let (low, high) = (_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
        add_f64x8(_mm512_cvtps_pd(low), target);
        add_f64x8(_mm512_cvtps_pd(high), target.add(8));
    };
    add_bits: _mm512_add_epi32, sub_bits: _mm512_sub_epi32;
    shl: _mm512_slli_epi32::<23>, shr: _mm512_srli_epi32::<23>;
    gt: _mm512_cmp_ps_mask::<_CMP_GT_OQ>,
    eq: _mm512_cmp_ps_mask::<_CMP_EQ_OQ>,
    select: |mask, yes, no| _mm512_mask_blend_ps(mask, no, yes),
    load_first: |source, n| _mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, source);
    from_u8: |source: *const u8| _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(source.cast()))),
    from_i8: |source: *const i8| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(source.cast())));
    from_f16: |source: *const u16| _mm512_cvtph_ps(_mm256_loadu_si256(source.cast())),
    from_bf16: |source: *const u16| {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(source.cast()))))
    };
    from_f32: _mm512_loadu_ps,
    from_first_f32: |source, n| _mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, source);
    sum4: sum4_f32x16, max4: max4_f32x16, sum_each: sum_each_f32x16 of _mm512_unpacklo_ps, _mm512_unpackhi_ps;
    interleave: interleave_f32x16, call: call_avx512;
    scale: |x, n| {
        let stays = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(n, _mm512_set1_ps(f32::SCALE_ZERO));
        _mm512_maskz_scalef_ps(stays, x, n)
    };
}

x86_lanes! {
    /// Eight `f64` of AVX-512.
    F64x8(__m512d), f64, 8 of 32, Avx512;
    mask: __mmask8;
    splat: _mm512_set1_pd, load: _mm512_loadu_pd, store: _mm512_storeu_pd;
    add: _mm512_add_pd, sub: _mm512_sub_pd, mul: _mm512_mul_pd, div: _mm512_div_pd, fma: _mm512_fmadd_pd;
    max: _mm512_max_pd, min: _mm512_min_pd;
    bits: _mm512_castpd_si512, from_bits: _mm512_castsi512_pd;
    add_to: add_f64x8;
    add_bits: _mm512_add_epi64, sub_bits: _mm512_sub_epi64;
    shl: _mm512_slli_epi64::<52>, shr: _mm512_srli_epi64::<52>;
    gt: _mm512_cmp_pd_mask::<_CMP_GT_OQ>,
    eq: _mm512_cmp_pd_mask::<_CMP_EQ_OQ>,
    select: |mask, yes, no| _mm512_mask_blend_pd(mask, no, yes),
    load_first: |source, n| _mm512_maskz_loadu_pd(((1u32 << n) - 1) as __mmask8, source);
    from_u8: |source: *const u8| _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64(source.cast()))),
    from_i8: |source: *const i8| _mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(_mm_loadl_epi64(source.cast())));
    from_f16: |source: *const u16| _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128(source.cast()))),
    from_bf16: |source: *const u16| {
        let bits = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(source.cast())));
        _mm512_cvtps_pd(_mm256_castsi256_ps(bits))
    };
    from_f32: |source: *const f32| _mm512_cvtps_pd(_mm256_loadu_ps(source)),
    from_first_f32: |source, n| _mm512_cvtps_pd(_mm256_maskz_loadu_ps(((1u32 << n) - 1) as __mmask8, source));
    sum4: sum4_f64x8, max4: max4_f64x8, sum_each: sum_each_f64x8 of _mm512_unpacklo_pd, _mm512_unpackhi_pd;
    interleave: interleave_f64x8, call: call_avx512;
    scale: |x, n| {
        let stays = _mm512_cmp_pd_mask::<_CMP_NLT_UQ>(n, _mm512_set1_pd(f64::SCALE_ZERO));
        _mm512_maskz_scalef_pd(stays, x, n)
    };
}

macro_rules! add_to_memory {
    ($features:literal, $name:ident, $vector:ty, $load:ident, $add:ident, $store:ident) => {
        /// Adds to the numbers from `target` on.
        ///
        /// # Safety
        #[doc = concat!("The machine must have ", $features, ", and `target` be valid for as many numbers.")]
        #[inline(always)]
        unsafe fn $name(v: $vector, target: *mut f64) {
            // SAFETY: as the caller says; the instructions ask for no alignment.
            unsafe { $store(target, $add($load(target), v)) }
        }
    };
}

add_to_memory!("AVX", add_f64x4, __m256d, _mm256_loadu_pd, _mm256_add_pd, _mm256_storeu_pd);
add_to_memory!("AVX-512 F", add_f64x8, __m512d, _mm512_loadu_pd, _mm512_add_pd, _mm512_storeu_pd);

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

/// The sums (or the largest lanes) of four vectors: rounds of adding halves, each of which brings two
/// vectors into the place of one, until the four results stand side by side.
macro_rules! across4 {
    (f32x8: $name:ident, $op256:ident, $op128:ident) => {
        across4!(@function "AVX2", $name, __m256, f32, |a, b, c, d, out| {
            let ab = $op256(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = $op256(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let low = _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd);
            let high = _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd);
            let abcd = $op256(low, high);
            let all = $op128(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps::<1>(abcd));
            _mm_storeu_ps(out, all);
        });
    };
    (f64x4: $name:ident, $op256:ident) => {
        across4!(@function "AVX2", $name, __m256d, f64, |a, b, c, d, out| {
            let ab = $op256(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            let cd = $op256(_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
            let low = _mm256_permute2f128_pd::<0x20>(ab, cd);
            let high = _mm256_permute2f128_pd::<0x31>(ab, cd);
            _mm256_storeu_pd(out, $op256(low, high));
        });
    };
    (f32x16: $name:ident, $op512:ident, $op256:ident, $op128:ident) => {
        across4!(@function "AVX-512 F and DQ", $name, __m512, f32, |a, b, c, d, out| {
            let ab = $op512(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = $op512(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let low = _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd);
            let high = _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd);
            let abcd = $op512(low, high);
            let half = $op256(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps::<1>(abcd));
            let all = $op128(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            _mm_storeu_ps(out, all);
        });
    };
    (f64x8: $name:ident, $op512:ident, $op128:ident) => {
        across4!(@function "AVX-512 F and DQ", $name, __m512d, f64, |a, b, c, d, out| {
            let ab = $op512(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
            let cd = $op512(_mm512_unpacklo_pd(c, d), _mm512_unpackhi_pd(c, d));
            let low = _mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd);
            let high = _mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd);
            // Two pairs of lanes of a and b, and then two of c and d.
            let abcd = $op512(low, high);
            let (of_a, of_b) = (_mm512_castpd512_pd128(abcd), _mm512_extractf64x2_pd::<1>(abcd));
            _mm_storeu_pd(out, $op128(of_a, of_b));
            let (of_c, of_d) = (_mm512_extractf64x2_pd::<2>(abcd), _mm512_extractf64x2_pd::<3>(abcd));
            _mm_storeu_pd(out.add(2), $op128(of_c, of_d));
        });
    };
    (@function $features:literal, $name:ident, $vector:ty, $elem:ty,
     |$a:ident, $b:ident, $c:ident, $d:ident, $out:ident| $body:block) => {
        /// # Safety
        #[doc = concat!("The machine must have ", $features, ".")]
        #[inline(always)]
        unsafe fn $name($a: $vector, $b: $vector, $c: $vector, $d: $vector) -> [$elem; 4] {
            let mut lanes = [0.0; 4];
            let $out = lanes.as_mut_ptr();
            // SAFETY: as the caller says; the array has room for four lanes.
            unsafe { $body }
            lanes
        }
    };
}

across4!(f32x8: sum4_f32x8, _mm256_add_ps, _mm_add_ps);
across4!(f32x8: max4_f32x8, _mm256_max_ps, _mm_max_ps);
across4!(f64x4: sum4_f64x4, _mm256_add_pd);
across4!(f64x4: max4_f64x4, _mm256_max_pd);
across4!(f32x16: sum4_f32x16, _mm512_add_ps, _mm256_add_ps, _mm_add_ps);
across4!(f32x16: max4_f32x16, _mm512_max_ps, _mm256_max_ps, _mm_max_ps);
across4!(f64x8: sum4_f64x8, _mm512_add_pd, _mm_add_pd);
across4!(f64x8: max4_f64x8, _mm512_max_pd, _mm_max_pd);

/// The sums of as many vectors as there are lanes, two of which are added up to a pair each. Each round adds halves of
/// what lies in the same 128 bits, and then these to each other, so that two vectors take the place of one.
macro_rules! sum_each {
    ($features:literal, $name:ident, $vector:ty, $n:literal, |$pairs:ident| $body:block) => {
        /// # Safety
        #[doc = concat!("The machine must have ", $features, ".")]
        #[inline(always)]
        unsafe fn $name($pairs: [$vector; $n]) -> $vector {
            // SAFETY: as the caller says.
            unsafe { $body }
        }
    };
}

sum_each!("AVX2", sum_each_f32x8, __m256, 4, |pairs| {
    let mut fours = [pairs[0]; 2];
    for i in 0..2 {
        let (ab, cd) = (pairs[2 * i], pairs[2 * i + 1]);
        let low = _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd);
        fours[i] = _mm256_add_ps(low, _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
    }
    let [a, b] = fours;
    _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
});
sum_each!("AVX2", sum_each_f64x4, __m256d, 2, |pairs| {
    let [ab, cd] = pairs;
    _mm256_add_pd(_mm256_permute2f128_pd::<0x20>(ab, cd), _mm256_permute2f128_pd::<0x31>(ab, cd))
});
sum_each!("AVX-512 F", sum_each_f32x16, __m512, 8, |pairs| {
    let mut fours = [pairs[0]; 4];
    for i in 0..4 {
        let (ab, cd) = (pairs[2 * i], pairs[2 * i + 1]);
        let low = _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd);
        fours[i] = _mm512_add_ps(low, _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd));
    }
    let [a, b, c, d] = fours;
    let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
    let ab = _mm512_add_ps(even, _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
    let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
    let cd = _mm512_add_ps(even, _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d));
    let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
    _mm512_add_ps(even, _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd))
});
sum_each!("AVX-512 F", sum_each_f64x8, __m512d, 4, |pairs| {
    let [a, b, c, d] = pairs;
    let even = _mm512_shuffle_f64x2::<0b10_00_10_00>(a, b);
    let ab = _mm512_add_pd(even, _mm512_shuffle_f64x2::<0b11_01_11_01>(a, b));
    let even = _mm512_shuffle_f64x2::<0b10_00_10_00>(c, d);
    let cd = _mm512_add_pd(even, _mm512_shuffle_f64x2::<0b11_01_11_01>(c, d));
    let even = _mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd);
    _mm512_add_pd(even, _mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd))
});

macro_rules! interleave {
    ($features:literal, $name:ident, $vector:ty, |$a:ident, $b:ident| $body:block) => {
        /// The lanes of both vectors in turn.
        ///
        /// # Safety
        #[doc = concat!("The machine must have ", $features, ".")]
        #[inline(always)]
        unsafe fn $name($a: $vector, $b: $vector) -> ($vector, $vector) {
            // SAFETY: as the caller says.
            unsafe { $body }
        }
    };
}

interleave!("AVX2", interleave_f32x8, __m256, |a, b| {
    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
});
interleave!("AVX2", interleave_f64x4, __m256d, |a, b| {
    let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
    (_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high))
});
interleave!("AVX-512 F", interleave_f32x16, __m512, |a, b| {
    // Bit 4 of an index chooses the second vector.
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    (_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b))
});
interleave!("AVX-512 F", interleave_f64x8, __m512d, |a, b| {
    // Bit 3 of an index chooses the second vector.
    let low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    let high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    (_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b))
});
