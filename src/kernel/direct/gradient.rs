//! dW += dSᵀ X for a block of rows.
//!
//! A tile of a few classes × up to [`TILE`] vectors of features keeps its sums in registers while it
//! walks down the rows. After a chain of rows they are added to a second level of sums, and after a span
//! of rows to dW, which is kept in `f64`: no sum in `f32` ever grows long, and the error of a million
//! rows is hardly more than that of one chain.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::n_tiles;
use crate::{
    Element,
    kernel::{
        CHAIN, FEW_FEATURES, RowBlock, add_widened,
        block::GROUP,
        tile_start,
        tiles::{TileKernel, few, largest_few},
    },
    simd::{Lanes, prefetch},
};

/// Rows that are summed in one register, and rows that are summed in the precision of the elements:
/// no more than a block of rows as long as here. Where there are few features, shorter sums cost little.
const fn depths(n_features: usize) -> (usize, usize) {
    match n_features {
        ..=FEW_FEATURES => (8, 16),
        _ => (CHAIN, 8 * CHAIN),
    }
}

/// Adds Σ_r ds[k * stride + r] X[r][d] to `dw[k * dw_stride + d]`, for all classes k and features d.
/// The rows are taken up to a multiple of [`GROUP`]: behind the last one, `ds` must be zero. Up to the
/// next multiple of the lanes, the places behind the features are added zeros to.
#[inline(always)]
pub(crate) fn accumulate<L: Lanes>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    ds: &[L::Elem],
    stride: usize,
    n_classes: usize,
    dw: &mut [f64],
    dw_stride: usize,
) {
    assert!(rows.len() <= stride && stride.is_multiple_of(GROUP) && ds.len() >= n_classes * stride);
    let n_tiles = n_tiles::<L>(n_classes);
    let (full, vectors) = (rows.n_features() / L::LANES, rows.n_features().div_ceil(L::LANES));
    let (_, most) = largest_few::<L>();
    let mut v = 0;
    while v < vectors {
        // As wide as there are whole vectors; the last vector, if it is not whole, comes by itself.
        let width = match full.saturating_sub(v) {
            rest if rest >= most => most,
            2.. => 2,
            _ => 1,
        };
        for tile in 0..n_tiles {
            let start = tile_start(n_classes, n_tiles, tile);
            let classes = tile_start(n_classes, n_tiles, tile + 1) - start;
            let ds = &ds[start * stride..];
            let dw = &mut dw[start * dw_stride + v * L::LANES..];
            let feature = v * L::LANES;
            let sum = Sum { rows, tile, n_tiles, feature, ds, stride, dw, dw_stride };
            few::<L>(proof, (classes, width), sum);
        }
        v += width;
    }
}

/// Part of dW and what is added to it.
struct Sum<'a, T> {
    rows: &'a RowBlock<'a, T>,
    /// The number of the tile among those for the same features.
    tile: usize,
    n_tiles: usize,
    /// The first feature of the tile.
    feature: usize,
    /// From the first class of the tile on.
    ds: &'a [T],
    stride: usize,
    /// From the first class and feature of the tile on.
    dw: &'a mut [f64],
    dw_stride: usize,
}

/// In one register tile of `K` classes × `V` vectors.
impl<T: Element> TileKernel<T> for Sum<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const V: usize>(self, proof: L::Proof) {
        let Sum { rows, tile, n_tiles, feature, ds, stride, dw, dw_stride } = self;
        let zero = L::splat(proof, T::default());
        let rest = rows.n_features() - feature;
        let n_rows = rows.len().next_multiple_of(GROUP);
        assert!(rest >= V * L::LANES || V == 1);
        assert!(ds.len() >= (K - 1) * stride + n_rows);

        let (chain_rows, span_rows) = depths(rows.n_features());
        for span in (0..n_rows).step_by(span_rows) {
            let span = span..n_rows.min(span + span_rows);
            let mut sums = [[zero; V]; K];
            for first in span.clone().step_by(chain_rows) {
                let mut chain = [[zero; V]; K];
                for r in first..span.end.min(first + chain_rows) {
                    // SAFETY: `r < n_rows`, which is what the block has rows for.
                    let row = unsafe { rows.row(r) };
                    if tile < 2 && r % GROUP < V {
                        let (line, first) = (feature + r % GROUP * L::LANES, r - r % GROUP);
                        // SAFETY: the rows of a group are all among the `n_rows`, a multiple of its size.
                        let ahead = |i| unsafe { rows.ahead(first + i) };
                        prefetch(ahead(2 + tile).wrapping_add(line));
                        if n_tiles == 1 {
                            prefetch(ahead(3).wrapping_add(line));
                        }
                    }
                    let mut x = [zero; V];
                    for v in 0..V {
                        // SAFETY: a row is valid for reading all its features, of which `rest`
                        // lie behind `feature`: `V` whole vectors, or fewer elements than one.
                        x[v] = unsafe {
                            let source = row.add(feature + v * L::LANES);
                            if rest >= L::LANES {
                                L::load(proof, source)
                            } else {
                                L::load_first(proof, source, rest)
                            }
                        };
                    }
                    for k in 0..K {
                        // SAFETY: `r < n_rows`, and `ds` was asserted to be long enough.
                        let ds = L::splat(proof, unsafe { *ds.get_unchecked(k * stride + r) });
                        for v in 0..V {
                            chain[k][v] = ds.mul_add(x[v], chain[k][v]);
                        }
                    }
                }
                for k in 0..K {
                    for v in 0..V {
                        sums[k][v] = sums[k][v] + chain[k][v];
                    }
                }
            }
            for k in 0..K {
                for v in 0..V {
                    add_widened(sums[k][v], &mut dw[k * dw_stride + v * L::LANES..][..L::LANES]);
                }
            }
        }
    }
}
