//! The register tile of both products: `M` × `V` vectors of sums, to which every step adds the outer
//! product of `M` numbers and `V` vectors.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use crate::{
    kernel::tiles::largest_many,
    simd::{Lanes, MAX_LANES},
};

/// The sums.
pub(super) type Tile<L, const M: usize, const V: usize> = [[L; V]; M];

/// The columns of a panel: the vectors of the widest tile.
pub(crate) const fn panel_width<L: Lanes>() -> usize {
    largest_many::<L>().1 * L::LANES
}

/// The classes of a tile of the gradient.
pub(crate) const fn tile_classes<L: Lanes>() -> usize {
    largest_many::<L>().0
}

/// A vector in memory, aligned as the widest there is: the compiler likes to keep sums that do not fit
/// the registers where they are going to be stored.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Stored<T>(pub(super) [T; MAX_LANES]);

/// The sums in memory. A tile whose elements are only ever named by constants stays in registers; what
/// follows its sums, in loops that are not unrolled, reads them from here.
#[inline(always)]
pub(super) fn store<L: Lanes, const M: usize, const V: usize>(
    tile: Tile<L, M, V>,
) -> [[Stored<L::Elem>; V]; M] {
    let mut stored = [[Stored([L::Elem::default(); MAX_LANES]); V]; M];
    for i in 0..M {
        for v in 0..V {
            tile[i][v].write_to(&mut stored[i][v].0);
        }
    }
    stored
}

/// Adds the outer products of `steps` steps to the tile: of step k, which is at `(n, v) = at(k)`, those
/// of the numbers `numbers[n + i * of_number]` and the vectors from `vectors[v]` on.
///
/// # Safety
/// The `M` numbers and `V` vectors of all steps must be valid for reading.
#[inline(always)]
pub(super) unsafe fn add_outer_products<L: Lanes, const M: usize, const V: usize>(
    proof: L::Proof,
    tile: &mut Tile<L, M, V>,
    numbers: *const L::Elem,
    of_number: usize,
    vectors: *const L::Elem,
    steps: usize,
    at: impl Fn(usize) -> (usize, usize),
) {
    for k in 0..steps {
        let (n, v) = at(k);
        let (numbers, vectors) = (numbers.wrapping_add(n), vectors.wrapping_add(v));
        let mut x = [tile[0][0]; V];
        for v in 0..V {
            // SAFETY: the caller grants the vectors of each step.
            x[v] = unsafe { L::load(proof, vectors.add(v * L::LANES)) };
        }
        for i in 0..M {
            // SAFETY: the caller grants the numbers of each step.
            let number = L::splat(proof, unsafe { *numbers.add(i * of_number) });
            for v in 0..V {
                tile[i][v] = number.mul_add(x[v], tile[i][v]);
            }
        }
    }
}
