//! e^x and ln(1 + x) against their documented errors, in units in the last place (ULP) of the exact
//! result: f32 for every float of the domain, f64 at millions of points, most of them near the hard places.
//! This takes some tens of seconds of all processors.

use crate::common::{Random, for_each_isa};
use rayon::prelude::*;
use softmargin::{Isa, Scalar, elementary};

/// The bounds on the errors that the documentation of `src/simd/math.rs` states.
const F32_BOUND: f64 = 1.0;
const F64_BOUND: f64 = 2.0;

type Function<T> = fn(Isa, &mut [T]);

fn isas() -> Vec<Isa> {
    let mut isas = Vec::new();
    for_each_isa(|isa| isas.push(isa));
    isas
}

/// The largest error in ULP over all floats with the bits of `range`, for each instruction set, and where;
/// half an ULP where all are correctly rounded.
fn worst_f32(
    function: Function<f32>,
    exact: fn(f64) -> f64,
    range: std::ops::Range<u64>,
) -> Vec<(Isa, f64, f32)> {
    const CHUNK: u64 = 1 << 16;
    let isas = isas();
    let chunks = range.clone().step_by(CHUNK as usize).collect::<Vec<_>>().into_par_iter();
    let worst = chunks.map(|start| {
        let bits = start..range.end.min(start + CHUNK);
        let x: Vec<f32> = bits.map(|bits| f32::from_bits(bits as u32)).collect();
        let expected: Vec<f64> = x.iter().map(|x| exact((*x).into())).collect();
        let rounded: Vec<f32> = expected.iter().map(|expected| *expected as f32).collect();
        let of_isa = |isa: &Isa| {
            let mut got = x.clone();
            function(*isa, &mut got);
            let mut worst = (*isa, 0.5, x[0]);
            for (i, (got, rounded)) in got.iter().zip(&rounded).enumerate() {
                // What is correctly rounded is off by half an ULP at most.
                if got.to_bits() != rounded.to_bits() {
                    let error = error_f32(*got, expected[i]);
                    if error > worst.1 {
                        worst = (*isa, error, x[i]);
                    }
                }
            }
            worst
        };
        isas.iter().map(of_isa).collect::<Vec<_>>()
    });
    let larger = |a: Vec<(Isa, f64, f32)>, b: Vec<(Isa, f64, f32)>| {
        a.into_iter().zip(b).map(|(a, b)| if b.1 > a.1 { b } else { a }).collect()
    };
    let none = || isas.iter().map(|isa| (*isa, 0.0, 0.0)).collect();
    worst.reduce(none, larger)
}

/// The error in ULP of the exact value, which is given rounded to f64. Where a finite value rounds to
/// infinity, infinity is right.
fn error_f32(got: f32, exact: f64) -> f64 {
    if exact.is_nan() || got.is_nan() {
        return if exact.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let rounded = exact as f32;
    if rounded.is_infinite() || got.is_infinite() {
        return if got == rounded { 0.0 } else { f64::INFINITY };
    }
    let exponent = ((exact.abs().to_bits() >> 52) as i64 - 1023).max(-126);
    // 2^(23 − exponent)
    let per_ulp = f64::from_bits(((23 - exponent + 1023) as u64) << 52);
    (f64::from(got) - exact).abs() * per_ulp
}

fn check<T: Scalar>(what: &str, worst: Vec<(Isa, f64, T)>, bound: f64) {
    for (isa, error, x) in worst {
        println!("{what}, {isa}: {error:.4} ULP, at {x:?}");
        assert!(error <= bound, "{what} on {isa} is off by {error} ULP at {x:?}");
    }
}

/// Every f32 that is not positive, and every NaN with a sign.
#[test]
fn exp_of_every_f32() {
    let exact = |x: f64| match x.abs() {
        // Where the library would take its time for what f32 cannot tell apart.
        tiny if tiny < 1e-9 => 1.0 + x,
        large if large > 200.0 => 0.0,
        _ => x.exp(),
    };
    check("exp, f32", worst_f32(elementary::exp, exact, 1 << 31..1 << 32), F32_BOUND);
}

/// Every f32 from 0 to 2^32, which no sum of exponentials that are at most 1 exceeds.
#[test]
fn ln_1p_of_every_f32() {
    let end = u64::from((32_f32).exp2().to_bits()) + 1;
    let exact = |x: f64| if x < 1e-9 { x - 0.5 * x * x } else { x.ln_1p() };
    check("ln_1p, f32", worst_f32(elementary::ln_1p, exact, 0..end), F32_BOUND);
}

/// A sum of two f64, the second less than half an ULP of the first: some 106 bits.
#[derive(Clone, Copy)]
struct Double(f64, f64);

impl Double {
    /// The exact sum of two numbers (Knuth).
    fn sum(a: f64, b: f64) -> Self {
        let s = a + b;
        let b_part = s - a;
        Self(s, (a - (s - b_part)) + (b - b_part))
    }

    fn plus(self, other: Self) -> Self {
        let high = Self::sum(self.0, other.0);
        let low = Self::sum(self.1, other.1);
        let high = Self::sum(high.0, high.1 + low.0);
        Self::sum(high.0, high.1 + low.1)
    }

    fn times(self, other: Self) -> Self {
        let p = self.0 * other.0;
        let error = self.0.mul_add(other.0, -p);
        Self::sum(p, error + (self.0 * other.1 + self.1 * other.0))
    }

    fn over(self, n: f64) -> Self {
        let q = self.0 / n;
        let rest = (-q).mul_add(n, self.0) + self.1;
        Self::sum(q, rest / n)
    }

    fn scaled(self, factor: f64) -> Self {
        Self(self.0 * factor, self.1 * factor)
    }
}

/// e^x as 2^k m with m near 1: by Taylor's series after a reduction by multiples of ln 2.
fn exact_exp(x: f64) -> (i32, Double) {
    // ln 2 in three parts, the first so short that its product with any k is exact.
    const LN2: [f64; 3] =
        [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10, 1.161_222_722_936_253_2e-26];
    let k = (x / std::f64::consts::LN_2).round();
    let r = Double::sum((-k).mul_add(LN2[0], x), 0.0);
    let product = -k * LN2[1];
    let r = r.plus(Double(product, (-k).mul_add(LN2[1], -product) - k * LN2[2]));
    let r = r.scaled(1.0 / 16.0);
    let one = Double(1.0, 0.0);
    let mut sum = one;
    for n in (1..=15).rev() {
        sum = one.plus(r.times(sum).over(n.into()));
    }
    for _ in 0..4 {
        sum = sum.times(sum);
    }
    (k as i32, sum)
}

/// ln(1 + x) for finite x ≥ 0: the series where x is small, else a Newton step from the library's.
fn exact_ln_1p(x: f64) -> Double {
    if x < 1e-6 {
        let one = Double(1.0, 0.0);
        let x = Double(x, 0.0);
        let mut sum = one.over(7.0);
        for n in (1..7).rev() {
            sum = one.over(n.into()).plus(x.times(sum).scaled(-1.0));
        }
        return x.times(sum);
    }
    let y = x.ln_1p();
    let (k, m) = exact_exp(-y);
    let ratio =
        Double::sum(x, 1.0).scaled(2_f64.powi(k / 2)).scaled(2_f64.powi(k - k / 2)).times(m);
    let delta = ratio.plus(Double(-1.0, 0.0));
    Double::sum(y, 0.0).plus(Double(delta.0, delta.1 - 0.5 * delta.0 * delta.0))
}

/// 2^n, also where that is subnormal.
fn power_of_two(n: i32) -> f64 {
    2_f64.powi(n / 2) * 2_f64.powi(n - n / 2)
}

fn error_exp(got: f64, (k, m): (i32, Double)) -> f64 {
    if !got.is_finite() {
        return f64::INFINITY;
    }
    let exponent = k + if m.0 < 1.0 { -1 } else { 0 };
    let ulp = power_of_two(exponent.max(-1022) - 52 - k);
    // By two factors, as one alone may not be finite.
    let got = got * power_of_two(-k - (-k) / 2) * power_of_two((-k) / 2);
    ((got - m.0) - m.1).abs() / ulp
}

fn error_ln_1p(got: f64, exact: Double) -> f64 {
    let exponent = ((exact.0.to_bits() >> 52) as i32 - 1023).max(-1022);
    // A power of two has the ULP of the floats above it; the bound is for the smaller one below.
    (((got - exact.0) - exact.1) / power_of_two(exponent - 52)).abs()
}

/// The largest error over so many points of `point`, for each instruction set, and where.
fn worst_f64<E>(
    function: Function<f64>,
    exact: fn(f64) -> E,
    error: fn(f64, E) -> f64,
    points: usize,
    point: impl Fn(&mut Random) -> f64 + Sync,
) -> Vec<(Isa, f64, f64)>
where
    E: Copy,
{
    const CHUNK: usize = 1 << 14;
    let isas = isas();
    let chunks = (0..points.div_ceil(CHUNK)).into_par_iter();
    let worst = chunks.map(|chunk| {
        let mut random = Random::new(chunk as u64);
        let x: Vec<f64> = (0..CHUNK).map(|_| point(&mut random)).collect();
        let expected: Vec<E> = x.iter().map(|x| exact(*x)).collect();
        let of_isa = |isa: &Isa| {
            let mut got = x.clone();
            function(*isa, &mut got);
            let errors = x.iter().zip(got).zip(&expected);
            let errors = errors.map(|((x, got), exact)| (error(got, *exact), *x));
            let worst = errors.fold((0.0, 0.0), |a, b| if b.0 <= a.0 { a } else { b });
            (*isa, worst.0, worst.1)
        };
        isas.iter().map(of_isa).collect::<Vec<_>>()
    });
    let larger = |a: Vec<(Isa, f64, f64)>, b: Vec<(Isa, f64, f64)>| {
        a.into_iter().zip(b).map(|(a, b)| if b.1 <= a.1 { a } else { b }).collect()
    };
    let none = || isas.iter().map(|isa| (*isa, 0.0, 0.0)).collect();
    worst.reduce(none, larger)
}

const POINTS: usize = 5_000_000;

/// Uniform in the domain; near the borders of the reduction, odd multiples of ln 2 / 2; near zero; and
/// where results are subnormal.
#[test]
fn exp_of_many_f64() {
    let uniform = |random: &mut Random| random.unit() * -745.2;
    let borders = |random: &mut Random| {
        let k = random.below(1075) as f64 - 1075.0;
        (k + 0.5) * std::f64::consts::LN_2 * (1.0 + 1e-9 * random.normal())
    };
    let small = |random: &mut Random| -(random.unit() * -60.0).exp2();
    let subnormal = |random: &mut Random| -707.0 - 39.0 * random.unit();
    let test = |points: &str, point: &(dyn Fn(&mut Random) -> f64 + Sync)| {
        let worst = worst_f64(elementary::exp, exact_exp, error_exp, POINTS / 2, point);
        check(&format!("exp, f64, {points}"), worst, F64_BOUND);
    };
    test("uniform", &uniform);
    test("borders", &borders);
    test("small", &small);
    test("subnormal", &subnormal);
}

/// Over all magnitudes; and near the borders of the reduction, 1 + x = √2 2^k.
#[test]
fn ln_1p_of_many_f64() {
    let magnitudes = |random: &mut Random| (random.unit() * 1100.0 - 1070.0).exp2();
    let middle = |random: &mut Random| (random.unit() * 64.0 - 54.0).exp2();
    let borders = |random: &mut Random| {
        let border = (random.below(30) as f64 - 0.5).exp2();
        ((border * (1.0 + 1e-9 * random.normal())) - 1.0).max(0.0)
    };
    let test = |points: &str, point: &(dyn Fn(&mut Random) -> f64 + Sync)| {
        let worst = worst_f64(elementary::ln_1p, exact_ln_1p, error_ln_1p, POINTS / 2, point);
        check(&format!("ln_1p, f64, {points}"), worst, F64_BOUND);
    };
    test("all magnitudes", &magnitudes);
    test("middle", &middle);
    test("borders", &borders);
}

/// Bit by bit, in every lane.
fn special_values<T: Scalar>(tiny: T) {
    let convert = T::from_f64;
    let (zero, one, infinity, nan) =
        (convert(0.0), convert(1.0), convert(f64::INFINITY), convert(f64::NAN));
    let same = |a: T, b: T| a.to_f64().to_bits() == b.to_f64().to_bits();
    for_each_isa(|isa| {
        for length in 1..=40 {
            let apply = |function: Function<T>, x: T| {
                let mut values = vec![x; length];
                function(isa, &mut values);
                values
            };
            for (x, y) in
                [(zero, one), (-zero, one), (-tiny, one), (-infinity, zero), (-T::MAX, zero)]
            {
                for got in apply(elementary::exp, x) {
                    assert!(same(got, y), "exp({x}) is {got} on {isa}");
                }
            }
            for (x, y) in [(zero, zero), (tiny, tiny), (T::MIN_POSITIVE, T::MIN_POSITIVE)] {
                for got in apply(elementary::ln_1p, x) {
                    assert!(same(got, y), "ln_1p({x}) is {got} on {isa}");
                }
            }
            for function in [elementary::exp, elementary::ln_1p] {
                assert!(apply(function, nan).iter().all(|y| y.to_f64().is_nan()), "NaN on {isa}");
            }
        }
    });
}

#[test]
fn special_values_are_exact() {
    special_values(f32::from_bits(1));
    special_values(f64::from_bits(1));
}

/// The yardstick itself, at values that are known to more digits than f64 has.
#[test]
fn the_reference_is_right() {
    let (k, e) = exact_exp(1.0);
    let e = e.scaled(power_of_two(k));
    assert_eq!(e.0, std::f64::consts::E);
    assert!((e.1 - 1.445_646_891_729_250_2e-16).abs() < 1e-30, "{}", e.1);
    let ln_2 = exact_ln_1p(1.0);
    assert_eq!(ln_2.0, std::f64::consts::LN_2);
    assert!((ln_2.1 - 2.319_046_813_846_299_6e-17).abs() < 1e-31, "{}", ln_2.1);
    assert_eq!(error_f32(1.0, 1.0), 0.0);
    assert_eq!(error_f32(f32::from_bits(0x3f80_0001), 1.0), 1.0);
}
