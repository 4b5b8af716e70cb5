//! The register tile of both products: `M` × `V` vectors of sums, to which every step adds the outer
//! product of `M` numbers and `V` vectors.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use crate::simd::Lanes;

/// The sums.
pub(super) type Tile<L, const M: usize, const V: usize> = [[L; V]; M];

/// The most vectors across a tile, and the numbers down it, for the registers of the lanes: sums,
/// vectors and one broadcast number fill 28 of 32, 16 of 16 and 7 of 8.
pub(super) const fn shape<L: Lanes>() -> (usize, usize) {
    match L::REGISTERS {
        32.. => (8, 3),
        16.. => (4, 3),
        _ => (2, 2),
    }
}

/// The numbers of each step: number `i` of step `k` is at `start + i * of_number + k * of_step`.
#[derive(Clone, Copy)]
pub(super) struct Numbers<T> {
    pub(super) start: *const T,
    pub(super) of_number: usize,
    pub(super) of_step: usize,
}

/// The columns of a panel: the vectors of the widest tile.
pub(crate) const fn panel_width<L: Lanes>() -> usize {
    shape::<L>().1 * L::LANES
}

/// Adds the outer products of `steps` steps to the tile. The vectors of each step are the first ones of a
/// row of a panel, the rows following each other from `vectors` on.
///
/// # Safety
/// The numbers and the vectors of all steps must be valid for reading.
#[inline(always)]
pub(super) unsafe fn add_outer_products<L: Lanes, const M: usize, const V: usize>(
    proof: L::Proof,
    tile: &mut Tile<L, M, V>,
    numbers: Numbers<L::Elem>,
    vectors: *const L::Elem,
    steps: usize,
) {
    for k in 0..steps {
        let mut x = [tile[0][0]; V];
        for v in 0..V {
            // SAFETY: the caller grants the vectors of each step.
            let start = unsafe { vectors.add(k * panel_width::<L>() + v * L::LANES) };
            // SAFETY: as above.
            x[v] = unsafe { L::load(proof, start) };
        }
        for i in 0..M {
            // SAFETY: the caller grants the numbers of each step.
            let number = unsafe { *numbers.start.add(i * numbers.of_number + k * numbers.of_step) };
            let number = L::splat(proof, number);
            for v in 0..V {
                tile[i][v] = number.mul_add(x[v], tile[i][v]);
            }
        }
    }
}
