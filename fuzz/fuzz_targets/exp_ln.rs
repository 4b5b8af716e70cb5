//! e^x and ln(1 + x) of any bits in their domains, in vectors of any length, against the standard library's in `f64`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use softmargin::{Isa, Scalar, elementary};

/// The distance of two numbers, in floats between them; 0 if both are NaN.
fn distance<T: Scalar>(a: T, b: T) -> u64 {
    let ordered = |x: T| {
        let bits = match size_of::<T>() {
            4 => i64::from((x.to_f64() as f32).to_bits() as i32) << 32,
            _ => x.to_f64().to_bits() as i64,
        };
        let bits = if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits };
        if size_of::<T>() == 4 { bits >> 32 } else { bits }
    };
    match (a.to_f64().is_nan(), b.to_f64().is_nan()) {
        (true, true) => 0,
        (false, false) => ordered(a).abs_diff(ordered(b)),
        _ => u64::MAX,
    }
}

fn check<T: Scalar>(all: &[T], bound: u64) {
    for isa in Isa::available() {
        // Its domain, and NaN.
        let values: Vec<T> = all.iter().filter(|x| !(x.to_f64() > 0.0)).copied().collect();
        let mut got = values.clone();
        elementary::exp(isa, &mut got);
        for (x, got) in values.iter().zip(got) {
            let expected = T::from_f64(x.to_f64().exp());
            assert!(distance(got, expected) <= bound, "exp({x:?}) on {isa}: {got:?}");
        }
        // Its domain, up to where 1 + x is an integer anyway.
        let domain = |x: &&T| (0.0..=1e15).contains(&x.to_f64());
        let values: Vec<T> = all.iter().filter(domain).copied().collect();
        let mut got = values.clone();
        elementary::ln_1p(isa, &mut got);
        for (x, got) in values.iter().zip(got) {
            let expected = T::from_f64(x.to_f64().ln_1p());
            assert!(distance(got, expected) <= bound, "ln_1p({x:?}) on {isa}: {got:?}");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let single = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four")));
    check(&single.collect::<Vec<_>>(), 1);
    // The standard library's may be off by one itself.
    let double = data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight")));
    check(&double.collect::<Vec<_>>(), 2);
});
