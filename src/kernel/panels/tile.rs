//! The micro-kernel of both products: a register tile of `M` × `V` vectors of sums, to which every step adds the
//! outer product of `M` elements of one matrix, a, and `V` vectors of the other, b.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use crate::simd::{Lanes, MAX_LANES};

/// The sums.
pub(super) type Tile<L, const M: usize, const V: usize> = [[L; V]; M];

/// A vector in memory, aligned as the widest there is: the compiler likes to keep sums that do not fit
/// the registers where they are going to be stored.
#[derive(Clone, Copy, Default)]
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

/// Adds the outer products of `steps` steps to the tile: of step k, which is at `(i, j) = at(k)`, those of the
/// elements `a[i + m * a_stride]` and the vectors from `b[j]` on.
///
/// # Safety
/// The `M` elements and `V` vectors of all steps must be valid for reading.
#[inline(always)]
pub(super) unsafe fn add_outer_products<L: Lanes, const M: usize, const V: usize>(
    proof: L::Proof,
    tile: &mut Tile<L, M, V>,
    a: *const L::Elem,
    a_stride: usize,
    b: *const L::Elem,
    steps: usize,
    at: impl Fn(usize) -> (usize, usize),
) {
    for k in 0..steps {
        let (i, j) = at(k);
        let (a, b) = (a.wrapping_add(i), b.wrapping_add(j));
        let mut vectors = [tile[0][0]; V];
        for v in 0..V {
            // SAFETY: the caller grants the vectors of each step.
            vectors[v] = unsafe { L::load(proof, b.add(v * L::LANES)) };
        }
        for m in 0..M {
            // SAFETY: the caller grants the elements of each step.
            let a = L::splat(proof, unsafe { *a.add(m * a_stride) });
            for v in 0..V {
                tile[m][v] = a.mul_add(vectors[v], tile[m][v]);
            }
        }
    }
}
