//! Column-major features: the rows of a block, copied side by side, are what the kernels of row-major
//! features work on. The copy stays in cache.

use super::MAX_LANES;
use crate::{
    MatrixView, Scalar,
    simd::{Lanes, prefetch},
};
use core::ops::Range;

/// The distance of the rows of a copy: an odd number of the widest vectors, as rows of a multiple of 4096 bytes
/// would compete for the same places of a cache.
pub(crate) fn copy_stride(n_features: usize) -> usize {
    (n_features.div_ceil(MAX_LANES) | 1) * MAX_LANES
}

/// Copies rows of a column-major matrix into `target`, to places `stride` from each other.
#[inline(always)]
pub(crate) fn copy_rows<L: Lanes>(
    proof: L::Proof,
    x: MatrixView<'_, L::Elem>,
    rows: Range<usize>,
    target: &mut [L::Elem],
    stride: usize,
) {
    let (x, d) = (x.view(), x.cols());
    assert!(x.row_stride() == 1 && rows.end <= x.rows() && stride >= d);
    for col in (0..d).step_by(L::LANES) {
        let width = L::LANES.min(d - col);
        // The columns that come next; behind the last ones, the first ones of the next rows.
        let (ahead_row, ahead_col) = match col + L::LANES {
            next if next < d => (L::LANES - 1, next),
            _ => (rows.len() + L::LANES - 1, 0),
        };
        for row in rows.clone().step_by(L::LANES) {
            let height = L::LANES.min(rows.end - row);
            let mut tile = [L::splat(proof, L::Elem::default()); MAX_LANES];
            for (j, column) in tile[..width].iter_mut().enumerate() {
                // SAFETY: the matrix has the column and the rows, whose elements lie side by side in it.
                *column = unsafe {
                    match height {
                        _ if height < L::LANES => L::load_first(proof, x.at(row, col + j), height),
                        _ => L::load(proof, x.at(row, col + j)),
                    }
                };
                prefetch(x.at(row + ahead_row, ahead_col + j));
            }
            transpose(&mut tile);
            for (i, line) in tile[..height].iter().enumerate() {
                let target = &mut target[(row - rows.start + i) * stride + col..][..width];
                if width == L::LANES {
                    line.write_to(target);
                } else {
                    let mut lanes = [L::Elem::default(); MAX_LANES];
                    line.write_to(&mut lanes);
                    target.copy_from_slice(&lanes[..width]);
                }
            }
        }
    }
}

/// Copies the rows that `row_of` names, for each row of `target`.
#[inline(always)]
pub(crate) fn copy_selected_rows<T: Scalar>(
    x: MatrixView<'_, T>,
    row_of: impl Fn(usize) -> usize,
    n: usize,
    target: &mut [T],
    stride: usize,
) {
    let (x, d) = (x.view(), x.cols());
    // Some rows at a time, so that their places in `target` stay in the nearest cache.
    for first in (0..n).step_by(MAX_LANES) {
        for col in 0..d {
            for i in first..n.min(first + MAX_LANES) {
                target[i * stride + col] = x.get(row_of(i), col);
            }
        }
    }
}

/// Lane j of vector i becomes lane i of vector j. Every round brings the top bit of the number of a lane
/// into the number of its vector, and the other way round.
#[inline(always)]
fn transpose<L: Lanes>(tile: &mut [L; MAX_LANES]) {
    let half = L::LANES / 2;
    for _ in 0..L::LANES.ilog2() {
        let before = *tile;
        for i in 0..half {
            (tile[2 * i], tile[2 * i + 1]) = before[i].interleave(before[i + half]);
        }
    }
}
