//! From numbers as they are stored to lanes of those that are computed with, exactly: every `u8`, `i8`, `f16` and
//! `bf16` is an `f32`, and every one of these an `f64`.

use super::{Lanes, MAX_LANES};
use crate::element::{Element, Stored};

/// Numbers that lanes of `T` can be made of.
pub trait Widen<T>: Stored {
    /// The `LANES` numbers from `source` on.
    ///
    /// # Safety
    /// `source` must be valid for reading them.
    unsafe fn load<L: Lanes<Elem = T>>(proof: L::Proof, source: *const Self) -> L;

    /// The `n` numbers from `source` on, and zero in the other lanes. Reads nothing else.
    ///
    /// # Safety
    /// `n` must be at most `LANES`, and `source` valid for reading `n` numbers.
    #[inline(always)]
    unsafe fn load_first<L: Lanes<Elem = T>>(proof: L::Proof, source: *const Self, n: usize) -> L {
        // SAFETY: the caller grants `n` numbers; an array of the most lanes has `LANES` numbers.
        unsafe { Self::load(proof, followed_by_zeros(source, n).as_ptr()) }
    }
}

/// The `n` numbers from `source` on, followed by zeros, as many as there may be lanes. Reads nothing else.
///
/// # Safety
/// `n` must be at most [`MAX_LANES`], and `source` valid for reading `n` numbers.
#[inline(always)]
pub(super) unsafe fn followed_by_zeros<E: Stored>(source: *const E, n: usize) -> [E; MAX_LANES] {
    let mut numbers = [E::default(); MAX_LANES];
    let mut copied = 0;
    // A copy of each power of two is a load and a store; one of `n` numbers would be a call of memcpy, for which kernels
    // give up their registers.
    for part in [16, 8, 4, 2, 1] {
        if n & part != 0 {
            // SAFETY: the powers of two in `n` add up to `n`, which the caller grants and which is no more than the
            // numbers that there are.
            unsafe {
                let target = numbers.as_mut_ptr().add(copied);
                target.copy_from_nonoverlapping(source.add(copied), part);
            }
            copied += part;
        }
    }
    numbers
}

macro_rules! widen {
    ($($(#[$only:meta])? $type:ty: $load:ident;)*) => {
        $($(#[$only])? impl<T: Element> Widen<T> for $type {
            #[inline(always)]
            unsafe fn load<L: Lanes<Elem = T>>(proof: L::Proof, source: *const Self) -> L {
                // SAFETY: the caller grants the numbers; a type of halves has the bits of its `u16`.
                unsafe { L::$load(proof, source.cast()) }
            }
        })*
    };
}

widen! {
    u8: from_u8;
    i8: from_i8;
    #[cfg(feature = "half")]
    half::f16: from_f16;
    #[cfg(feature = "half")]
    half::bf16: from_bf16;
}

impl<T: Element> Widen<T> for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes<Elem = T>>(proof: L::Proof, source: *const Self) -> L {
        // SAFETY: as the caller says.
        unsafe { L::from_f32(proof, source) }
    }

    #[inline(always)]
    unsafe fn load_first<L: Lanes<Elem = T>>(proof: L::Proof, source: *const Self, n: usize) -> L {
        // SAFETY: as the caller says.
        unsafe { L::from_first_f32(proof, source, n) }
    }
}

impl Widen<f64> for f64 {
    #[inline(always)]
    unsafe fn load<L: Lanes<Elem = f64>>(proof: L::Proof, source: *const Self) -> L {
        // SAFETY: as the caller says.
        unsafe { L::load(proof, source) }
    }

    #[inline(always)]
    unsafe fn load_first<L: Lanes<Elem = f64>>(
        proof: L::Proof,
        source: *const Self,
        n: usize,
    ) -> L {
        // SAFETY: as the caller says.
        unsafe { L::load_first(proof, source, n) }
    }
}

/// The value of a binary16 with these bits.
#[inline(always)]
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let value = if magnitude < 0x7c00 {
        // With its exponent as it is, a number of the wider type is 2^(127 − 15) times too small, be it normal or not.
        f32::from_bits(magnitude << 13) * 2.0_f32.powi(112)
    } else {
        // Infinite or NaN.
        f32::from_bits(0x7f80_0000 | magnitude << 13)
    };
    f32::from_bits(value.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd::Run};

    struct Load<'a, E>(&'a [E], usize);

    impl<T: Element, E: Widen<T>> Run<T> for Load<'_, E> {
        type Output = [Vec<f64>; 2];

        /// The lanes of all numbers, and of the first ones.
        #[inline(always)]
        fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> [Vec<f64>; 2] {
            let Self(numbers, n) = self;
            assert!(numbers.len() >= L::LANES);
            let n = n.min(L::LANES);
            // SAFETY: there are as many numbers as lanes.
            let vectors: [L; 2] = unsafe {
                let source = numbers.as_ptr();
                [E::load(proof, source), E::load_first(proof, source, n)]
            };
            let [all, mut first] = vectors.map(|vector| {
                let mut lanes = [T::default(); MAX_LANES];
                vector.write_to(&mut lanes);
                lanes[..L::LANES].iter().map(|lane| lane.to_f64()).collect::<Vec<_>>()
            });
            assert!(first.drain(n..).all(|lane| lane.to_bits() == 0));
            [all, first]
        }
    }

    /// Every lane is the number that it was made of, to the bit, but for the bits of a NaN.
    fn check<E: Widen<f32> + Widen<f64>>(numbers: &[E]) {
        for isa in Isa::available() {
            for (i, numbers) in numbers.windows(MAX_LANES).enumerate() {
                for first in [i % MAX_LANES, MAX_LANES] {
                    let singles = isa.run::<f32, _>(Load(numbers, first));
                    let doubles = isa.run::<f64, _>(Load(numbers, first));
                    for lanes in singles.into_iter().chain(doubles) {
                        for (lane, number) in lanes.into_iter().zip(numbers) {
                            let number = number.value();
                            let same = lane.to_bits() == number.to_bits();
                            let both_nan = lane.is_nan() && number.is_nan();
                            assert!(same || both_nan, "{isa}: {lane} from {number}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn integers_of_eight_bits() {
        check(&(u8::MIN..=u8::MAX).collect::<Vec<_>>());
        check(&(i8::MIN..=i8::MAX).collect::<Vec<_>>());
    }

    #[test]
    fn singles() {
        check(
            &[0.0_f32, -0.0, 1.5, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::NAN, f32::INFINITY]
                .repeat(3),
        );
    }

    #[cfg(feature = "half")]
    #[test]
    fn halves_of_every_bit_pattern() {
        check(&(0..=u16::MAX).map(half::f16::from_bits).collect::<Vec<_>>());
        check(&(0..=u16::MAX).map(half::bf16::from_bits).collect::<Vec<_>>());
    }
}
