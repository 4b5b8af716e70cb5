//! Register tiles: the one table of the shapes that kernels are compiled for, and the largest of them that
//! fit the registers of an instruction set.
//!
//! A kernel walks over its steps with a tile of sums in registers, and each tile shape is a separate function
//! ([`Lanes::call`]), so that registers are allocated for it alone. A kernel is written once, generic over
//! the shape ([`TileKernel`]); the functions of the table choose the instance.

use crate::{
    Element,
    simd::{Lanes, Run},
};

/// A kernel that keeps a tile of `M` × `V` vectors of sums in registers.
pub(super) trait TileKernel<T: Element> {
    fn run<L: Lanes<Elem = T>, const M: usize, const V: usize>(self, proof: L::Proof);
}

/// A kernel with the shape of its tiles.
struct Shaped<K, const M: usize, const V: usize>(K);

impl<T: Element, K: TileKernel<T>, const M: usize, const V: usize> Run<T> for Shaped<K, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        self.0.run::<L, M, V>(proof);
    }
}

macro_rules! tiles {
    ($($(#[$doc:meta])* $name:ident { $($m:literal: $($v:literal)*;)* })*) => {
        $(
            $(#[$doc])*
            ///
            /// # Panics
            /// If the shape is not in the table.
            #[inline(always)]
            pub(super) fn $name<L: Lanes>(
                proof: L::Proof,
                shape: (usize, usize),
                kernel: impl TileKernel<L::Elem>,
            ) {
                match shape {
                    $($(($m, $v) => L::call(proof, Shaped::<_, $m, $v>(kernel)),)*)*
                    shape => unreachable!("a tile of {shape:?}"),
                }
            }
        )*
    };
}

tiles! {
    /// Runs a kernel for few classes: with tiles of the given classes × vectors (or rows).
    few {
        1: 1 2 4;
        2: 1 2 4;
        3: 1 2 4;
        4: 1 2 4;
        5: 1 2 4;
        6: 1 2 4;
    }
    /// Runs a kernel for many classes: with tiles of the given broadcast elements × vectors.
    many {
        2: 1 2;
        4: 1 2 3;
        8: 1 2 3;
    }
}

/// The largest tile for few classes. The sums, a vector for each column of the tile and one more fit the
/// registers.
pub(super) const fn largest_few<L: Lanes>() -> (usize, usize) {
    match L::REGISTERS {
        32.. => (6, 4),
        16.. => (6, 2),
        _ => (2, 2),
    }
}

/// The largest tile for many classes: MR × NR, NR in vectors. The sums, the vectors of a step and one
/// broadcast element fill 28 of 32, 16 of 16 and 7 of 8 registers.
pub(super) const fn largest_many<L: Lanes>() -> (usize, usize) {
    match L::REGISTERS {
        32.. => (8, 3),
        16.. => (4, 2),
        _ => (2, 2),
    }
}
