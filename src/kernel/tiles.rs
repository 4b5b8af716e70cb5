//! Register tiles: the one table of the shapes that kernels are compiled for, and the largest of them that
//! fit the registers of an instruction set.
//!
//! A kernel walks over its steps with a tile of sums in registers, and each tile shape is a separate function
//! ([`Lanes::call`]), so that registers are allocated for it alone. A kernel is written once, generic over
//! the shape ([`TileKernel`]); the functions of the table choose the instance.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

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

/// Each table names the tiles that an instruction set asks for; no others are compiled for it.
macro_rules! tiles {
    ($($(#[$doc:meta])* $name:ident, if $asked:ident { $($m:literal: $($v:literal)*;)* })*) => {
        $(
            $(#[$doc])*
            ///
            /// # Panics
            /// If the shape is not in the table, or not asked for.
            #[inline(always)]
            pub(super) fn $name<L: Lanes>(
                proof: L::Proof,
                shape: (usize, usize),
                kernel: impl TileKernel<L::Elem>,
            ) {
                match shape {
                    $($(
                        ($m, $v) if const { $asked::<L>($m, $v) } => {
                            L::call(proof, Shaped::<_, $m, $v>(kernel))
                        }
                    )*)*
                    shape => unreachable!("a tile of {shape:?}"),
                }
            }
        )*
    };
}

/// Whether the sums of a tile fit the registers, with a vector for each class or for each column, whichever are fewer, and
/// one more.
const fn fits<L: Lanes>(m: usize, v: usize) -> bool {
    m * v + if m < v { m } else { v } < L::REGISTERS
}

/// Whether [`few_tiles`] covers some number of classes by tiles of `m` of them, with `v` vectors at most.
pub(super) const fn covers<L: Lanes>(m: usize, v: usize) -> bool {
    let mut n_classes = 1;
    // More of them are covered by tiles of the same sizes.
    while n_classes <= 24 {
        let (n_tiles, most) = few_tiles::<L>(n_classes);
        if most == v && (n_classes / n_tiles == m || n_classes.div_ceil(n_tiles) == m) {
            return true;
        }
        n_classes += 1;
    }
    false
}

/// Whether a tile is one of those, or of what is left beside them.
const fn covers_or_ends<L: Lanes>(m: usize, v: usize) -> bool {
    covers::<L>(m, 4) || v <= 2 && covers::<L>(m, 2)
}

tiles! {
    /// Runs a kernel for few classes: with tiles of the given classes × vectors (or rows).
    few, if covers_or_ends {
        1: 1 2 4;
        2: 1 2 4;
        3: 1 2 4;
        4: 1 2 4;
        5: 1 2 4;
        6: 1 2 4;
        7: 1 2;
        8: 1 2;
        9: 1 2;
        10: 1 2;
        11: 1 2;
        12: 1 2;
    }
    /// Runs a kernel for many classes: with tiles of the given broadcast elements × vectors.
    many, if fits {
        2: 1 2;
        4: 1 2 3;
        5: 1 2;
        6: 1 2;
        8: 1 2 3;
    }
    /// Runs the kernel for lines of sparse entries: with tiles of the given chains × vectors.
    line, if fits {
        1: 5 6 7 8;
        2: 2 3 4;
        4: 1;
    }
}

/// How many tiles cover a few classes, as evenly as possible, and how many vectors a tile has at most. The sums, a
/// vector for each column of the tile, or for each class if they are fewer, and one more fit the registers. One tile for
/// all classes is best, as each line of X is then read once; with few classes, longer tiles make up for the loads of what is
/// broadcast, and have as many sums as keep both FMA units busy: ten where an FMA takes five cycles. Of 13 classes,
/// whose sums and vectors would just fit 32 registers, the compiler keeps some in memory.
pub(super) const fn few_tiles<L: Lanes>(n_classes: usize) -> (usize, usize) {
    match (L::REGISTERS, n_classes) {
        (32.., ..=6) => (1, 4),
        (32.., _) => (n_classes.div_ceil(12), 2),
        (16.., 3) | (15.., ..=2) => (1, 4),
        (15.., _) => (n_classes.div_ceil(6), 2),
        _ => (n_classes.div_ceil(2), 2),
    }
}

/// The largest tile for many classes: MR × NR, NR in vectors. The sums, the vectors of a step and one
/// broadcast element fill 28 of 32, 15 of 16 and 7 of 8 registers.
pub(super) const fn largest_many<L: Lanes>() -> (usize, usize) {
    match L::REGISTERS {
        32.. => (8, 3),
        15.. => (6, 2),
        _ => (2, 2),
    }
}

/// The most vectors of classes that a line of sparse entries is summed for at a time. The sums of both levels and an
/// entry fill 17 of 32, 13 of 16 (in two chains) and 7 of 8 registers.
pub(super) const fn largest_line<L: Lanes>() -> usize {
    match L::REGISTERS {
        32.. => 8,
        15.. => 4,
        _ => 2,
    }
}

/// One step of a tile of few classes: adds the products of `x` and a factor of each class, which is the vector at
/// `first + k * distance`, or, if `SPLAT`, the number there in all lanes.
///
/// # Safety
/// The places of all `K` classes must be valid for reading a vector or, if `SPLAT`, a number.
#[inline(always)]
pub(super) unsafe fn add_products<L: Lanes, const K: usize, const V: usize, const SPLAT: bool>(
    proof: L::Proof,
    sums: &mut [[L; V]; K],
    x: [L; V],
    first: *const L::Elem,
    distance: usize,
) {
    // A macro, as closures that return lanes are not always inlined.
    macro_rules! factor {
        ($k:ident) => {{
            let place = first.wrapping_add($k * distance);
            // SAFETY: the caller grants the place of each class.
            unsafe { if SPLAT { L::splat(proof, *place) } else { L::load(proof, place) } }
        }};
    }
    if K < V {
        // So few classes that their factors stay in registers, while one vector of `x` after the other is read.
        let mut factors = [x[0]; K];
        for k in 0..K {
            factors[k] = factor!(k);
        }
        for v in 0..V {
            for k in 0..K {
                sums[k][v] = factors[k].mul_add(x[v], sums[k][v]);
            }
        }
    } else {
        for k in 0..K {
            let factor = factor!(k);
            for v in 0..V {
                sums[k][v] = factor.mul_add(x[v], sums[k][v]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{covers, covers_or_ends, few_tiles};
    use crate::{
        kernel::tile_start,
        simd::{Backends, Lanes},
    };

    /// Of instruction sets that this machine lacks, too.
    #[test]
    fn all_tiles_that_are_asked_for_are_compiled() {
        fn check<L: Lanes>() {
            for n_classes in 1..1000 {
                let (n_tiles, most) = few_tiles::<L>(n_classes);
                let start = |tile| tile_start(n_classes, n_tiles, tile);
                for m in (0..n_tiles).map(|tile| start(tile + 1) - start(tile)) {
                    assert!(covers::<L>(m, most), "{m} of {n_classes} classes");
                    for v in [1, 2, most] {
                        assert!(covers_or_ends::<L>(m, v), "{m} of {n_classes} classes × {v}");
                    }
                }
            }
        }
        fn check_all<T: Backends>() {
            check::<T::Portable>();
            #[cfg(target_arch = "x86_64")]
            check::<T::Avx2>();
            #[cfg(target_arch = "x86_64")]
            check::<T::Avx512>();
            #[cfg(target_arch = "aarch64")]
            check::<T::Neon>();
        }
        check_all::<f32>();
        check_all::<f64>();
    }
}
