//! e^x and ln(1 + x), once for all lanes: a reduction of the argument to a small interval around
//! zero, a polynomial there, and the exponent put back with integer arithmetic.
//!
//! The polynomials are minimax approximations found with Remez' exchange algorithm in 60-digit
//! arithmetic; the reduction of the logarithm to log((1 + s) / (1 − s)) and the correction of
//! ln(1 + x) for the rounding of 1 + x are those of Sun's fdlibm.
//!
//! The largest errors, in units in the last place (ULP) of the exact result, on any instruction set:
//!
//! | | `f32` | `f64` |
//! |---|---|---|
//! | [`exp`] | 0.90, over every float that is not positive | 0.93, over ten million points |
//! | [`ln_1p`] | 0.89, over every float from 0 to 2³² | 0.81, over seven million points |
//!
//! `tests/promises/elementary.rs` measures them, and holds them to 1 and 2 ULP.

use super::{Lanes, MAX_LANES, Run};
use crate::element::Element;

/// An element type whose elementary functions are known.
pub trait Elementary: Element {
    /// The coefficients of the functions.
    const CONSTANTS: Constants<Self>;
    /// For n below this, √2 · 2^n rounds to zero. The least n of [`exp`] is.
    const SCALE_ZERO: Self;
}

impl Elementary for f32 {
    const CONSTANTS: Constants<Self> = F32;
    const SCALE_ZERO: Self = -150.0;
}

impl Elementary for f64 {
    const CONSTANTS: Constants<Self> = F64;
    const SCALE_ZERO: Self = -1075.0;
}

/// The numbers that depend on the precision.
pub struct Constants<T: 'static> {
    /// 1.5 × 2^mantissa: adding it rounds to an integer, which then stands in the lowest bits.
    round: T,
    /// As `round`, and the exponent bias on top.
    round_and_bias: T,
    /// Below this, e^x rounds to zero.
    exp_zero: T,
    /// 1 / ln 2.
    log2_e: T,
    /// The leading bits of ln 2: few enough that their product with any exponent is exact.
    ln2_high: T,
    /// ln 2 − `ln2_high`.
    ln2_low: T,
    /// (e^r − 1 − r) / r² on |r| ≤ ln 2 / 2, highest power first.
    exp: &'static [T],
    /// √½.
    sqrt_half: T,
    /// 2^mantissa: an integer in its lowest bits, less the number itself, is that integer as a float.
    integer: T,
    /// (ln((1 + s) / (1 − s)) − 2s) / s³ in powers of s², highest first.
    ln: &'static [T],
}

/// Single precision.
#[allow(clippy::excessive_precision, reason = "the digits as they were computed")]
const F32: Constants<f32> = Constants {
    round: 12_582_912.0,
    round_and_bias: 12_582_912.0 + 127.0,
    exp_zero: -105.0,
    log2_e: core::f32::consts::LOG2_E,
    ln2_high: 0.693_145_751_953_125,
    ln2_low: 1.428_606_820_309_417_2e-6,
    exp: &[
        0.001_381_482_776_196_863_8,
        0.008_368_709_794_795_978_5,
        0.041_668_383_222_784_529,
        0.166_665_207_168_715_01,
        0.499_999_934_723_371_93,
    ],
    sqrt_half: core::f32::consts::FRAC_1_SQRT_2,
    integer: 8_388_608.0,
    ln: &[
        0.233_323_829_833_260_09,
        0.285_507_371_090_479_98,
        0.400_001_227_537_416_66,
        0.666_666_665_530_204_61,
    ],
};

/// Double precision.
#[allow(clippy::excessive_precision, reason = "the digits as they were computed")]
const F64: Constants<f64> = Constants {
    round: 6_755_399_441_055_744.0,
    round_and_bias: 6_755_399_441_055_744.0 + 1023.0,
    exp_zero: -746.0,
    log2_e: core::f64::consts::LOG2_E,
    ln2_high: 0.693_147_180_559_662_956_511_601_8,
    ln2_low: 2.823_529_056_303_157_712_258_845e-13,
    exp: &[
        2.500_013_157_070_167_6e-8,
        2.763_021_563_701_852_5e-7,
        2.755_758_600_860_717_5e-6,
        2.480_149_319_931_204_3e-5,
        1.984_126_950_720_208_2e-4,
        0.001_388_888_894_352_227_3,
        0.008_333_333_333_494_036,
        0.041_666_666_666_530_627,
        0.166_666_666_666_664_14,
        0.500_000_000_000_001_1,
    ],
    sqrt_half: core::f64::consts::FRAC_1_SQRT_2,
    integer: 4_503_599_627_370_496.0,
    ln: &[
        0.146_178_729_525_069_15,
        0.153_315_969_324_487_05,
        0.181_828_932_197_858_44,
        0.222_222_110_728_223_02,
        0.285_714_286_263_943_87,
        0.399_999_999_998_984_44,
        0.666_666_666_666_666_97,
    ],
};

/// e^x for x ≤ 0. −∞ gives 0, NaN gives NaN.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(p: L::Proof, x: L) -> L {
    let m = &L::Elem::CONSTANTS;
    // In this order of operands a NaN passes.
    let x = L::splat(p, m.exp_zero).max(x);

    // x = n ln 2 + r with |r| ≤ ln 2 / 2, and r = high + low, of which high is exact.
    let round = L::splat(p, m.round);
    let n = x.mul_add(L::splat(p, m.log2_e), round) - round;
    let high = n.mul_add(L::splat(p, -m.ln2_high), x);
    let low = n * L::splat(p, -m.ln2_low);
    let r = high + low;

    // e^r = 1 + (high + (low + r² q)).
    let q = polynomial(p, r, m.exp);
    let e_r = L::splat(p, one()) + (high + (r * r).mul_add(q, low));

    L::scale(p, e_r, n)
}

/// x 2^n for x from ½ to 2 and an integer n ≤ 0, as [`exp`] gets it: x is scaled to 0, if not to a number. For instruction
/// sets that have no instruction for it.
#[inline(always)]
pub(super) fn scale<L: Lanes>(p: L::Proof, x: L, n: L) -> L {
    // 2^n may be subnormal: this one never is.
    let larger = power_of_two(p, n + L::splat(p, L::Elem::from_f64(64.0)));
    // Where the result is zero the factor is, as some processors take a hundred cycles to underflow.
    let vanishes = L::splat(p, L::Elem::SCALE_ZERO).gt(n);
    let rest = L::splat(p, L::Elem::from_f64(f64::from_bits((1023 - 64) << 52)));
    x * larger * L::select(vanishes, L::splat(p, L::Elem::default()), rest)
}

/// ln(1 + x) for finite x ≥ 0, with a small relative error however small x is; NaN gives NaN.
#[inline(always)]
pub(crate) fn ln_1p<L: Lanes>(p: L::Proof, x: L) -> L {
    let m = &L::Elem::CONSTANTS;
    let unit = L::splat(p, one());

    // 1 + x rounds; what it loses is c, to first order c / (1 + x) in the logarithm.
    let f = unit + x;
    let c = L::select(x.gt(unit), unit - (f - x), x - (f - unit)) / f;

    // 1 + x = 2^k g with g between √½ and √2, by integer arithmetic on the bits.
    let bits = f.sub_bits(L::splat(p, m.sqrt_half)).shr_mantissa();
    let integer = L::splat(p, m.integer);
    let k = bits.add_bits(integer) - integer;
    let g = f.sub_bits(bits.shl_mantissa());

    // ln g = 2s + s³ R(s²) = (g − 1) − h + s (h + s² R) with s = (g − 1) / (g + 1), h = (g − 1)² / 2.
    let g = g - unit;
    let s = g / (unit + unit + g);
    let z = s * s;
    let h = L::splat(p, L::Elem::from_f64(0.5)) * g * g;
    let r = z * polynomial(p, z, m.ln);
    let tail = s.mul_add(h + r, k.mul_add(L::splat(p, m.ln2_low), c));
    k.mul_add(L::splat(p, m.ln2_high), g - (h - tail))
}

/// Σ cᵢ xⁱ by Horner's rule in x², of which two coefficients each are a step: half as many wait for one another. The
/// highest power comes first.
#[inline(always)]
fn polynomial<L: Lanes>(p: L::Proof, x: L, coefficients: &'static [L::Elem]) -> L {
    let square = x * x;
    let (first, pairs) = coefficients.split_at(2 - coefficients.len() % 2);
    let mut sum = if let [c] = first { L::splat(p, *c) } else { line(p, x, first) };
    for two in pairs.chunks_exact(2) {
        sum = sum.mul_add(square, line(p, x, two));
    }
    sum
}

/// c₀ x + c₁.
#[inline(always)]
fn line<L: Lanes>(p: L::Proof, x: L, c: &'static [L::Elem]) -> L {
    x.mul_add(L::splat(p, c[0]), L::splat(p, c[1]))
}

/// 2^n for an integer n within the range of normal exponents: n plus the bias, put into the
/// lowest bits by a float addition and shifted into place.
#[inline(always)]
fn power_of_two<L: Lanes>(p: L::Proof, n: L) -> L {
    (n + L::splat(p, L::Elem::CONSTANTS.round_and_bias)).shl_mantissa()
}

#[inline(always)]
fn one<T: Element>() -> T {
    T::from_f64(1.0)
}

/// A function of all numbers of a slice, in place.
pub struct Apply<'a, T> {
    pub(crate) function: Function,
    pub(crate) values: &'a mut [T],
}

/// The functions of this file.
pub(crate) enum Function {
    Exp,
    Ln1p,
}

impl<T: Element> Run<T> for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { function, values } = self;
        let apply = |x: L| match function {
            Function::Exp => exp(proof, x),
            Function::Ln1p => ln_1p(proof, x),
        };
        let mut padded = [T::default(); MAX_LANES];
        for values in values.chunks_mut(L::LANES) {
            padded[..values.len()].copy_from_slice(values);
            apply(L::from_slice(proof, &padded)).write_to(&mut padded);
            values.copy_from_slice(&padded[..values.len()]);
        }
    }
}
