//! Vectors of lanes, and the one place where a kernel meets an instruction set.
//!
//! A kernel is a struct with its arguments and an implementation of [`Run`], written once, generic
//! over [`Lanes`] and `#[inline(always)]`. [`Isa::run`] calls it through a shell that is compiled
//! for the instruction set, so everything that is inlined into the shell is too. That happens once a
//! task; inside it, [`Lanes::call`] does the same for the tiles of the products, many rows at a time.
//!
//! No lanes can be made without their [`Lanes::Proof`], a value that exists only where the machine
//! was found to have the instructions. That is what makes the methods of [`Lanes`] safe.

mod isa;
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod widen;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use isa::Backends;
pub use isa::Isa;
pub(crate) use widen::Widen;

use crate::element::Element;
use core::ops::{Add, Div, Mul, Sub};
use widen::followed_by_zeros;

/// The lanes of the widest vectors: what blocks of rows, rows of scratch memory and arrays of lanes are
/// multiples of, so that they hold whole vectors on every instruction set.
pub(crate) const MAX_LANES: usize = 16;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// A vector register's worth of numbers.
///
/// Two vectors are compared lane by lane into a [`Mask`](Self::Mask). Comparisons with NaN are
/// false.
pub trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The type of a lane.
    type Elem: math::Elementary + Widen<Self::Elem>;
    /// Shows that this machine has the instructions.
    type Proof: Copy;
    /// One truth value a lane.
    type Mask: Copy;

    /// The number of lanes.
    const LANES: usize;
    /// How many such vectors the machine's registers hold.
    const REGISTERS: usize;

    /// `x` in every lane.
    fn splat(proof: Self::Proof, x: Self::Elem) -> Self;

    /// The elements from `source` on.
    ///
    /// # Safety
    /// `source` must be valid for reading `LANES` elements.
    unsafe fn load(proof: Self::Proof, source: *const Self::Elem) -> Self;

    /// The `n` elements from `source` on, and zero in the other lanes. Reads nothing else.
    ///
    /// # Safety
    /// `n` must be at most `LANES`, and `source` valid for reading `n` elements.
    #[inline(always)]
    unsafe fn load_first(proof: Self::Proof, source: *const Self::Elem, n: usize) -> Self {
        // SAFETY: the caller grants `n` elements; an array of the most lanes has `LANES` elements.
        unsafe { Self::load(proof, followed_by_zeros(source, n).as_ptr()) }
    }

    /// The `LANES` integers from `source` on, as numbers.
    ///
    /// # Safety
    /// `source` must be valid for reading them.
    unsafe fn from_u8(proof: Self::Proof, source: *const u8) -> Self;

    /// As [`from_u8`](Self::from_u8).
    ///
    /// # Safety
    /// `source` must be valid for reading them.
    unsafe fn from_i8(proof: Self::Proof, source: *const i8) -> Self;

    /// The `LANES` numbers of the binary16 of IEEE 754 from `source` on.
    ///
    /// # Safety
    /// `source` must be valid for reading them.
    unsafe fn from_f16(proof: Self::Proof, source: *const u16) -> Self;

    /// The `LANES` numbers from `source` on that are the upper halves of an `f32`.
    ///
    /// # Safety
    /// `source` must be valid for reading them.
    unsafe fn from_bf16(proof: Self::Proof, source: *const u16) -> Self;

    /// The `LANES` numbers from `source` on.
    ///
    /// # Safety
    /// `source` must be valid for reading them.
    unsafe fn from_f32(proof: Self::Proof, source: *const f32) -> Self;

    /// The `n` numbers from `source` on, and zero in the other lanes. Reads nothing else.
    ///
    /// # Safety
    /// `n` must be at most `LANES`, and `source` valid for reading `n` numbers.
    #[inline(always)]
    unsafe fn from_first_f32(proof: Self::Proof, source: *const f32, n: usize) -> Self {
        // SAFETY: the caller grants `n` numbers; an array of the most lanes has `LANES` numbers.
        unsafe { Self::from_f32(proof, followed_by_zeros(source, n).as_ptr()) }
    }

    /// Writes the lanes to `target` on.
    ///
    /// # Safety
    /// `target` must be valid for writing `LANES` elements.
    unsafe fn store(self, target: *mut Self::Elem);

    /// Adds the lanes to the `LANES` numbers from `target` on.
    ///
    /// # Safety
    /// `target` must be valid for reading and writing them.
    unsafe fn add_to(self, target: *mut f64);

    /// `self * b + c`, rounded once where the machine has FMA.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self` where it is greater, else `b`; a NaN in `b` propagates, one in `self` does not.
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self::select(self.gt(b), self, b)
    }
    /// `self` where it is less, else `b`; a NaN in `b` propagates, one in `self` does not.
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self::select(b.gt(self), self, b)
    }

    /// Whether `self > b`, lane by lane.
    fn gt(self, b: Self) -> Self::Mask;
    /// Whether `self == b`, lane by lane.
    fn eq(self, b: Self) -> Self::Mask;
    /// `yes` where the mask is set, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// Runs a kernel as a separate function, compiled for the instruction set: registers are
    /// allocated for it alone, which the tiles of the products depend on.
    fn call<R: Run<Self::Elem>>(proof: Self::Proof, kernel: R) -> R::Output;

    /// The alternating lanes of both vectors: of their lower halves, and of their upper halves.
    fn interleave(self, b: Self) -> (Self, Self);

    /// The sum of the lanes of each of four vectors, in a fixed order of additions.
    fn sum4(vectors: [Self; 4]) -> [Self::Elem; 4];

    /// Adds lanes of each vector to others of the same, so that one vector has what is left of both: the first round
    /// of [`sum_each`](Self::sum_each).
    fn sum_pairs(self, b: Self) -> Self;

    /// Lane i is the sum of the lanes of vector i, for as many vectors as there are lanes: by
    /// [`sum_pairs`](Self::sum_pairs) of vectors 2i and 2i + 1 each.
    fn sum_each(proof: Self::Proof, pairs: &[Self; MAX_LANES / 2]) -> Self;

    /// The largest lane of each of four vectors without NaN.
    fn max4(vectors: [Self; 4]) -> [Self::Elem; 4];

    /// The bits of the lanes, added as integers.
    fn add_bits(self, b: Self) -> Self;
    /// The bits of the lanes, subtracted as integers.
    fn sub_bits(self, b: Self) -> Self;
    /// The bits of the lanes, shifted left by the width of a mantissa: 23 or 52.
    fn shl_mantissa(self) -> Self;
    /// The bits of the lanes, shifted right (filling with zeros) by the width of a mantissa.
    fn shr_mantissa(self) -> Self;

    /// x 2^n for x from ½ to 2 and an integer n ≤ 0, rounded once: 0 from [`SCALE_ZERO`](math::Elementary::SCALE_ZERO) on
    /// down. NaN stays NaN.
    #[inline(always)]
    fn scale(proof: Self::Proof, x: Self, n: Self) -> Self {
        math::scale(proof, x, n)
    }

    /// The first `LANES` integers of a slice, as numbers.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline(always)]
    fn from_integers(proof: Self::Proof, source: &[i8]) -> Self {
        assert!(source.len() >= Self::LANES);
        // SAFETY: the slice has at least `LANES` integers.
        unsafe { Self::from_i8(proof, source.as_ptr()) }
    }

    /// The first `LANES` elements of a slice.
    #[inline(always)]
    fn from_slice(proof: Self::Proof, source: &[Self::Elem]) -> Self {
        assert!(source.len() >= Self::LANES);
        // SAFETY: the slice has at least `LANES` elements.
        unsafe { Self::load(proof, source.as_ptr()) }
    }

    /// Adds the lanes to the first elements of `target`, as many as it has.
    #[inline(always)]
    fn add_widened(self, target: &mut [f64]) {
        if target.len() >= Self::LANES {
            // SAFETY: there are as many numbers as lanes.
            return unsafe { self.add_to(target.as_mut_ptr()) };
        }
        let mut lanes = [Self::Elem::default(); MAX_LANES];
        self.write_to(&mut lanes);
        for (target, lane) in target.iter_mut().zip(&lanes[..Self::LANES]) {
            *target += lane.to_f64();
        }
    }

    /// Writes the lanes to the first `LANES` elements of a slice.
    #[inline(always)]
    fn write_to(self, target: &mut [Self::Elem]) {
        assert!(target.len() >= Self::LANES);
        // SAFETY: the slice has at least `LANES` elements.
        unsafe { self.store(target.as_mut_ptr()) }
    }
}

/// Defines a request for the cache line at an address. Any address will do: nothing is read.
macro_rules! prefetch {
    ($(#[$doc:meta])* $name:ident, $hint:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<T>(address: *const T) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: SSE is part of x86-64, and a prefetch does not fault, whatever the address.
            unsafe {
                use core::arch::x86_64::{$hint, _mm_prefetch};
                _mm_prefetch::<$hint>(address.cast());
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = address;
        }
    };
}

prefetch! {
    /// Asks for a cache line to be brought into L2, for later.
    prefetch, _MM_HINT_T1
}
prefetch! {
    /// Asks for a cache line to be brought into L1, for soon.
    prefetch_near, _MM_HINT_T0
}

/// A kernel, with its arguments.
pub trait Run<T: Element> {
    /// What it returns.
    type Output;
    /// Runs with the given lanes. Implementations are `#[inline(always)]`, as is all they call.
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> Self::Output;
}
