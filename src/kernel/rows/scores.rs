//! S = X Wᵀ + b for a block of rows.
//!
//! A tile of a few rows × a few classes keeps one vector of sums for every pair in registers while
//! it walks over the features; at the end the lanes of each are added up. The rows are read where
//! they lie, whatever their stride. The scores are stored class by class, with the rows of a class
//! side by side, because the losses take one sample a lane.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{
    n_tiles,
    pack::{ClassTile, tiles},
};
use crate::{
    element::Element,
    kernel::{
        PackedWeights, RowBlock,
        block::GROUP,
        sum_lanes, tile_start,
        tiles::{TileKernel, few, largest_few},
    },
    scores::ClassMajor,
    simd::{Lanes, prefetch},
};
use core::ops::Range;

/// What of the packed weights is walked over at a time, for all rows of a block: it stays in an L1 of 32 KiB while
/// the rows pass through.
const WEIGHT_BYTES: usize = 20 << 10;

/// Writes the scores of the rows. When they are no multiple of [`GROUP`], the places past them are written too,
/// with scores of the last row.
#[inline(always)]
pub(super) fn compute<L: Lanes>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    weights: &PackedWeights<L::Elem>,
    scores: &mut ClassMajor<'_, L::Elem>,
) {
    let (stride, scores) = (scores.stride(), scores.as_mut_slice());
    assert_eq!(rows.n_features(), weights.n_features);
    let vectors = rows.n_features().div_ceil(L::LANES);
    let n_tiles = n_tiles::<L>(weights.n_classes);
    for (t, tile) in tiles::<L>(weights).enumerate() {
        let n_parts = size_of_val(tile.weights).div_ceil(WEIGHT_BYTES);
        for part in 0..n_parts {
            let part = tile_start(vectors, n_parts, part)..tile_start(vectors, n_parts, part + 1);
            let scores = &mut scores[tile.start * stride..];
            let classes = tile.bias.len();
            let block = Block { rows, tile: &tile, n_tiles, t, part, scores, stride };
            few::<L>(proof, (classes, largest_few::<L>().1), block);
        }
    }
}

/// The rows of a block, and part of the weights of a few classes.
struct Block<'a, T> {
    rows: &'a RowBlock<'a, T>,
    tile: &'a ClassTile<'a, T>,
    /// The number of the tile, and how many there are.
    t: usize,
    n_tiles: usize,
    /// The vectors of features to walk over.
    part: Range<usize>,
    /// From the first class of the tile on.
    scores: &'a mut [T],
    stride: usize,
}

/// In register tiles of `K` classes × `R` rows.
impl<T: Element> TileKernel<T> for Block<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const R: usize>(self, proof: L::Proof) {
        let Block { rows, tile, t, n_tiles, part, scores, stride } = self;
        let d = rows.n_features();
        let (full, rest) = (d / L::LANES, d % L::LANES);
        assert!(part.end <= full + usize::from(rest > 0));
        assert!(tile.weights.len() >= part.end * K * L::LANES);

        for first in (0..rows.len()).step_by(GROUP) {
            let group = rows.group(first);
            // SAFETY: the group was found to be one of the block.
            let ahead = |i| unsafe { rows.ahead(first + i) };
            let mut ahead = match t {
                0 | 1 => [ahead(t), ahead(1)],
                _ => [group[0]; 2],
            };
            for offset in (0..GROUP).step_by(R) {
                let mut starts = [group[0]; R];
                starts.copy_from_slice(&group[offset..][..R]);
                let mut sums = [[L::splat(proof, T::default()); R]; K];
                for v in part.clone() {
                    prefetch(ahead[0].wrapping_add(v * L::LANES));
                    if n_tiles == 1 {
                        prefetch(ahead[1].wrapping_add(v * L::LANES));
                    }
                    let mut x = [sums[0][0]; R];
                    for r in 0..R {
                        // SAFETY: a row is valid for reading `d` elements: `full` vectors and `rest`
                        // more.
                        x[r] = unsafe {
                            let source = starts[r].add(v * L::LANES);
                            if v < full {
                                L::load(proof, source)
                            } else {
                                L::load_first(proof, source, rest)
                            }
                        };
                    }
                    for k in 0..K {
                        let w = tile.weights.as_ptr().wrapping_add((v * K + k) * L::LANES);
                        // SAFETY: there are `K` vectors of weights for each of features, as asserted.
                        let w = unsafe { L::load(proof, w) };
                        for r in 0..R {
                            sums[k][r] = x[r].mul_add(w, sums[k][r]);
                        }
                    }
                }

                let totals = sum_lanes(sums);
                for k in 0..K {
                    let scores = &mut scores[k * stride + first + offset..][..R];
                    for r in 0..R {
                        let before = if part.start == 0 { tile.bias[k] } else { scores[r] };
                        scores[r] = before + totals[k][r];
                    }
                }
                ahead = [group[0]; 2];
            }
        }
    }
}
