//! S = X Wᵀ + b for a block of rows.
//!
//! A tile of [`TILE`] rows × a few classes keeps one vector of sums for every pair in registers while
//! it walks over the features; at the end the lanes of each are added up. The rows are read where
//! they lie, whatever their stride. The scores are stored class by class, with the rows of a class
//! side by side, because the losses take one sample a lane.

use super::{
    TILE,
    pack::{ClassTile, tiles},
};
use crate::{
    kernel::{PackedWeights, RowBlock},
    simd::{Lanes, prefetch},
};

/// Writes the score of row r for class k to `scores[k * stride + r]`. When the rows are no multiple
/// of [`TILE`], up to `TILE − 1` places behind them are written too, with scores of the last row.
#[inline(always)]
pub(crate) fn scores<L: Lanes>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    weights: &PackedWeights<L::Elem>,
    scores: &mut [L::Elem],
    stride: usize,
) {
    assert_eq!(rows.n_features(), weights.n_features);
    let n = rows.len();
    for first in (0..n).step_by(TILE) {
        let mut starts = [rows.row(first); TILE];
        for (i, start) in starts.iter_mut().enumerate() {
            *start = rows.row((first + i).min(n - 1));
        }
        let ahead = [rows.row_ahead(first), rows.row_ahead(first + 1)];
        for tile in tiles::<L>(weights) {
            let ahead = (tile.start == 0).then_some(&ahead);
            let scores = &mut scores[tile.start * stride + first..];
            // SAFETY: each start is valid for reading the features of a row.
            unsafe {
                match tile.bias.len() {
                    1 => {
                        rows_by_classes::<L, 1>(proof, &starts, ahead, rows, &tile, scores, stride)
                    }
                    2 => {
                        rows_by_classes::<L, 2>(proof, &starts, ahead, rows, &tile, scores, stride)
                    }
                    3 => {
                        rows_by_classes::<L, 3>(proof, &starts, ahead, rows, &tile, scores, stride)
                    }
                    4 => {
                        rows_by_classes::<L, 4>(proof, &starts, ahead, rows, &tile, scores, stride)
                    }
                    5 => {
                        rows_by_classes::<L, 5>(proof, &starts, ahead, rows, &tile, scores, stride)
                    }
                    6 => {
                        rows_by_classes::<L, 6>(proof, &starts, ahead, rows, &tile, scores, stride)
                    }
                    n => unreachable!("a tile of {n} classes"),
                }
            }
        }
    }
}

/// The scores of [`TILE`] rows for the `K` classes of a tile.
///
/// # Safety
/// Each of `starts` must be valid for reading `rows.n_features()` elements.
#[inline(always)]
unsafe fn rows_by_classes<L: Lanes, const K: usize>(
    proof: L::Proof,
    starts: &[*const L::Elem; TILE],
    ahead: Option<&[*const L::Elem; 2]>,
    rows: &RowBlock<'_, L::Elem>,
    tile: &ClassTile<'_, L::Elem>,
    scores: &mut [L::Elem],
    stride: usize,
) {
    let d = rows.n_features();
    let (full, rest) = (d / L::LANES, d % L::LANES);
    let vectors = full + usize::from(rest > 0);
    assert!(tile.weights.len() >= vectors * K * L::LANES);

    let mut sums = [[L::splat(proof, L::Elem::default()); TILE]; K];
    for v in 0..vectors {
        for row in ahead.into_iter().flatten() {
            prefetch(row.wrapping_add(v * L::LANES));
        }
        let mut x = [sums[0][0]; TILE];
        for (x, start) in x.iter_mut().zip(starts) {
            // SAFETY: the caller grants `d` elements: `full` vectors and `rest` more.
            *x = unsafe {
                let source = start.add(v * L::LANES);
                if v < full { L::load(proof, source) } else { L::load_first(proof, source, rest) }
            };
        }
        for (k, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the weights have `K` vectors for each vector of features, as asserted.
            let w = unsafe { L::load(proof, tile.weights.as_ptr().add((v * K + k) * L::LANES)) };
            for (sum, x) in sums.iter_mut().zip(&x) {
                *sum = x.mul_add(w, *sum);
            }
        }
    }

    for (k, sums) in sums.into_iter().enumerate() {
        let sums = L::sum4(sums, tile.bias[k]);
        scores[k * stride..][..TILE].copy_from_slice(&sums);
    }
}
