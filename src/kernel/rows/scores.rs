//! S = X Wᵀ + b for a block of rows.
//!
//! A tile of a few rows × a few classes keeps one vector of sums for every pair in registers while
//! it walks over the features; at the end the lanes of each are added up. The rows are read where
//! they lie, whatever their stride. The scores are stored class by class, with the rows of a class
//! side by side, because the losses take one sample a lane.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{
    CopiedRows,
    pack::{ClassTile, tiles},
};
use crate::{
    element::Element,
    kernel::{
        PackedWeights,
        block::GROUP,
        sum_lanes, tile_start,
        tiles::{TileKernel, few, few_tiles},
    },
    scores::ClassMajor,
    simd::{Lanes, prefetch},
};
use core::ops::Range;

/// What of the packed weights is walked over at a time, for all rows of a block: it stays in an L1 of 32 KiB while
/// the rows pass through.
const WEIGHT_BYTES: usize = 20 << 10;

/// Writes the scores of the rows, and their copy. When they are no multiple of [`GROUP`], the places past them are
/// written too, with the last row again.
#[inline(always)]
pub(super) fn compute<L: Lanes>(
    proof: L::Proof,
    x: &mut CopiedRows<'_, L::Elem>,
    weights: &PackedWeights<L::Elem>,
    scores: &mut ClassMajor<'_, L::Elem>,
) {
    let (stride, scores) = (scores.stride(), scores.as_mut_slice());
    assert_eq!(x.rows.n_features(), weights.n_features);
    let vectors = x.rows.n_features().div_ceil(L::LANES);
    let (_, most) = few_tiles::<L>(weights.n_classes);
    for (t, tile) in tiles::<L>(weights).enumerate() {
        let n_parts = size_of_val(tile.weights).div_ceil(WEIGHT_BYTES);
        for part in 0..n_parts {
            let part = tile_start(vectors, n_parts, part)..tile_start(vectors, n_parts, part + 1);
            let scores = &mut scores[tile.start * stride..];
            let shape = (tile.bias.len(), most);
            let tile = &tile;
            match t {
                0 => few::<L>(proof, shape, Block::<_, true> { x, tile, part, scores, stride }),
                _ => few::<L>(proof, shape, Block::<_, false> { x, tile, part, scores, stride }),
            }
        }
    }
}

/// The rows of a block, and part of the weights of a few classes. The `FIRST` classes read the rows where they lie,
/// and copy them; the others read the copy.
struct Block<'a, 'x, T, const FIRST: bool> {
    x: &'a mut CopiedRows<'x, T>,
    tile: &'a ClassTile<'a, T>,
    /// The vectors of features to walk over.
    part: Range<usize>,
    /// From the first class of the tile on.
    scores: &'a mut [T],
    stride: usize,
}

/// In register tiles of `K` classes × `R` rows.
impl<T: Element, const FIRST: bool> TileKernel<T> for Block<'_, '_, T, FIRST> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const R: usize>(self, proof: L::Proof) {
        let Block { x, tile, part, scores, stride } = self;
        let copies = CopiedRows::<T>::copies::<L>();
        let CopiedRows { rows, copy, stride: copy_stride } = x;
        let (d, copy_stride) = (rows.n_features(), *copy_stride);
        let vectors = d.div_ceil(L::LANES);
        // In a copy, all vectors are whole.
        let (whole, rest) = match FIRST || !copies {
            true => (d / L::LANES, d % L::LANES),
            false => (vectors, 0),
        };
        assert!(part.end <= vectors && vectors * L::LANES <= copy_stride);
        assert!(!copies || copy.len() >= rows.padded_len() * copy_stride);
        assert!(tile.weights.len() >= part.end * K * L::LANES);
        let (copy, weights) = (copy.as_mut_ptr(), tile.weights.as_ptr());

        for group in (0..rows.len()).step_by(GROUP) {
            let in_place = rows.group(group);
            for offset in (0..GROUP).step_by(R) {
                let targets: [_; R] =
                    core::array::from_fn(|r| copy.wrapping_add((group + offset + r) * copy_stride));
                let (mut starts, mut ahead) =
                    (targets.map(<*mut T>::cast_const), [core::ptr::null(); R]);
                if FIRST || !copies {
                    starts.copy_from_slice(&in_place[offset..][..R]);
                }
                if FIRST {
                    ahead = core::array::from_fn(|r| rows.ahead(group + offset + r));
                }
                let mut sums = [[L::splat(proof, T::default()); R]; K];
                for v in part.start..part.end.min(whole) {
                    let mut vectors = [sums[0][0]; R];
                    for r in 0..R {
                        // SAFETY: a row is valid for reading its `whole` vectors, and its copy for writing them, as
                        // asserted.
                        unsafe {
                            vectors[r] = L::load(proof, starts[r].add(v * L::LANES));
                            if FIRST && (copies || offset + r < GROUP / 2) {
                                prefetch(ahead[r].wrapping_add(v * L::LANES));
                            }
                            if FIRST && copies {
                                vectors[r].store(targets[r].add(v * L::LANES));
                            }
                        }
                    }
                    // SAFETY: there are `K` vectors of weights for each of features, as asserted.
                    unsafe { add_products(proof, &mut sums, vectors, weights, v) };
                }
                if part.end > whole {
                    let mut vectors = [sums[0][0]; R];
                    for r in 0..R {
                        // SAFETY: a row is valid for reading `rest` elements more, and its copy for writing a vector.
                        unsafe {
                            vectors[r] =
                                L::load_first(proof, starts[r].add(whole * L::LANES), rest);
                            if FIRST && copies {
                                vectors[r].store(targets[r].add(whole * L::LANES));
                            }
                        }
                    }
                    // SAFETY: as above.
                    unsafe { add_products(proof, &mut sums, vectors, weights, whole) };
                }

                let totals = sum_lanes(sums);
                for k in 0..K {
                    let scores = &mut scores[k * stride + group + offset..][..R];
                    for r in 0..R {
                        let before = if part.start == 0 { tile.bias[k] } else { scores[r] };
                        scores[r] = before + totals[k][r];
                    }
                }
            }
        }
    }
}

/// Adds the products of a vector of each row and vector `v` of the weights of each class.
///
/// # Safety
/// Of `weights`, the `K` vectors from `K * v` on must be valid for reading.
#[inline(always)]
unsafe fn add_products<L: Lanes, const K: usize, const R: usize>(
    proof: L::Proof,
    sums: &mut [[L; R]; K],
    x: [L; R],
    weights: *const L::Elem,
    v: usize,
) {
    for k in 0..K {
        // SAFETY: the caller grants the vectors.
        let w = unsafe { L::load(proof, weights.add((v * K + k) * L::LANES)) };
        for r in 0..R {
            sums[k][r] = x[r].mul_add(w, sums[k][r]);
        }
    }
}
