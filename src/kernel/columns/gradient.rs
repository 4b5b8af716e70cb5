//! dW += dSᵀ X for a block of rows.
//!
//! A tile of a few classes × a few features keeps one vector of sums for every pair in registers while it walks
//! down the rows. After the first of the [`Levels`], the lanes are added up and the total is added to dW in `f64`.
//!
//! The features are walked over from the last one to the first: those that the scores have read last are still in
//! L2 and the dTLB, and those that are left there at the end are the first ones that the
//! scores of the next block read.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use crate::{
    element::Element,
    kernel::{
        ColumnBlock, MOST_ROWS,
        columns::Stretches,
        gradient_stride, sum_lanes, tile_start,
        tiles::{TileKernel, add_products, few, few_tiles},
    },
    scores::{ClassMajor, ScoreBlock},
    simd::{Lanes, prefetch, prefetch_near},
    summation::Levels,
};

/// Adds Σ_r ds_rk X_rl to dW_kl for all classes k and features l. Past the last row, up to a whole vector, `ds`
/// must be finite.
#[inline(always)]
pub(super) fn accumulate<L: Lanes>(
    proof: L::Proof,
    x: &mut Stretches<'_, L::Elem>,
    ds: &ClassMajor<'_, L::Elem>,
    dw: &mut [f64],
) {
    let (n_classes, stride, ds) = (ds.n_classes(), ds.stride(), ds.as_slice());
    let (n, d, (n_tiles, most)) = (x.len(), x.n_features(), few_tiles::<L>(n_classes));
    let (dw_stride, level) = (gradient_stride(d), Levels::of_vectors::<L>(d).first);
    let mut end = d;
    while end > 0 {
        let width = match end {
            rest if rest >= most => most,
            2.. => 2,
            _ => 1,
        };
        let feature = end - width;
        let block = &x.features::<L>(proof, feature..end, (n, feature));
        for tile in 0..n_tiles {
            let start = tile_start(n_classes, n_tiles, tile);
            let classes = tile_start(n_classes, n_tiles, tile + 1) - start;
            let (ds, dw) = (&ds[start * stride..], &mut dw[start * dw_stride + feature..]);
            let sum = Sum { block, tile, feature, level, ds, stride, dw, dw_stride };
            few::<L>(proof, (classes, width), sum);
        }
        end = feature;
    }
}

/// Part of dW and what is added to it.
struct Sum<'a, T> {
    block: &'a ColumnBlock<'a, T>,
    /// The number of the tile among those for the same features.
    tile: usize,
    /// The first feature of the tile.
    feature: usize,
    /// The rows of the first level of summation.
    level: usize,
    /// From the first class of the tile on.
    ds: &'a [T],
    stride: usize,
    /// From the first class and feature of the tile on.
    dw: &'a mut [f64],
    dw_stride: usize,
}

/// In one register tile of `K` classes × `F` features.
impl<T: Element> TileKernel<T> for Sum<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const F: usize>(self, proof: L::Proof) {
        let Sum { block, tile, feature, level, ds, stride, dw, dw_stride } = self;
        let n = block.len();
        assert!(block.features().start <= feature && feature + F <= block.features().end);
        assert!(ds.len() >= (K - 1) * stride + n.next_multiple_of(L::LANES));

        for first in (0..n).step_by(level) {
            let mut sums = [[L::splat(proof, T::default()); F]; K];
            for row in (first..n.min(first + level)).step_by(L::LANES) {
                let mut x = [sums[0][0]; F];
                for f in 0..F {
                    let source = block.at(row, feature + f);
                    // SAFETY: the block has the feature, as asserted, and `n − row` rows from this one on, which
                    // lie side by side.
                    x[f] = unsafe {
                        if n - row >= L::LANES {
                            L::load(proof, source)
                        } else {
                            L::load_first(proof, source, n - row)
                        }
                    };
                }
                // Of every four features, up to two of the next block are asked for here, one for each tile, as
                // bursts of requests would hold up the loads. The scores ask for the others. If blocks are longer, no
                // cache would hold the next one.
                if tile < 2 && n <= MOST_ROWS {
                    prefetch(block.at(n + row, feature + tile));
                }
                // The features that come next are in L2 at best: short stretches do not let the
                // hardware see them coming.
                if tile == 0 {
                    for f in 0..F {
                        prefetch_near(block.at(row, (feature + f).wrapping_sub(F)));
                    }
                }
                let ds = ds.as_ptr().wrapping_add(row);
                // SAFETY: `ds` has whole vectors for all rows, as asserted.
                unsafe { add_products::<L, K, F, false>(proof, &mut sums, x, ds, stride) };
            }
            let totals = sum_lanes(sums);
            for k in 0..K {
                let dw = &mut dw[k * dw_stride..][..F];
                for f in 0..F {
                    dw[f] += totals[k][f].to_f64();
                }
            }
        }
    }
}
