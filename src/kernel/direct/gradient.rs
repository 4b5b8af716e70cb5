//! dW += dSᵀ X for a block of rows.
//!
//! A tile of a few classes × up to [`TILE`] vectors of features keeps its sums in registers while it
//! walks down the rows. After a chain of rows they are added to a second level of sums, and after a span
//! of rows to dW, which is kept in `f64`: no sum in `f32` ever grows long, and the error of a million
//! rows is hardly more than that of one chain.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{TILE, tile_classes};
use crate::{
    kernel::{CHAIN, RowBlock, add_widened, tile_start},
    simd::{Lanes, prefetch},
};

/// Rows that are summed in one register, and rows that are summed in the precision of the elements. Where
/// the rows are short, the products are the smaller part of the work, and shorter sums cost little.
const fn depths(n_features: usize) -> (usize, usize) {
    match n_features {
        ..=64 => (8, 16),
        _ => (CHAIN, 4 * CHAIN),
    }
}

/// Adds Σ_r ds[k * stride + r] X[r][d] to `dw[k * dw_stride + d]`, for all classes k and features d.
/// Up to the next multiple of the lanes, the places behind the features are added zeros to.
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
    assert!(rows.len() <= stride && ds.len() >= n_classes * stride);
    let n_tiles = n_classes.div_ceil(tile_classes::<L>());
    let (full, vectors) = (rows.n_features() / L::LANES, rows.n_features().div_ceil(L::LANES));
    let mut v = 0;
    while v < vectors {
        // As wide as there are whole vectors; the last vector, if it is not whole, comes by itself.
        let width = match full.saturating_sub(v) {
            TILE.. => TILE,
            2.. => 2,
            _ => 1,
        };
        for tile in 0..n_tiles {
            let start = tile_start(n_classes, n_tiles, tile);
            let classes = tile_start(n_classes, n_tiles, tile + 1) - start;
            let ds = &ds[start * stride..];
            let dw = &mut dw[start * dw_stride + v * L::LANES..];
            let sums =
                Tile::<L> { proof, rows, start, feature: v * L::LANES, ds, stride, dw, dw_stride };
            match width {
                TILE => sums.of_classes::<TILE>(classes),
                2 => sums.of_classes::<2>(classes),
                _ => sums.of_classes::<1>(classes),
            }
        }
        v += width;
    }
}

/// One register tile of dW and what it is summed from.
struct Tile<'a, L: Lanes> {
    proof: L::Proof,
    rows: &'a RowBlock<'a, L::Elem>,
    /// The first class of the tile.
    start: usize,
    /// The first feature of the tile.
    feature: usize,
    /// From the first class of the tile on.
    ds: &'a [L::Elem],
    stride: usize,
    /// From the first class and feature of the tile on.
    dw: &'a mut [f64],
    dw_stride: usize,
}

impl<L: Lanes> Tile<'_, L> {
    #[inline(always)]
    fn of_classes<const V: usize>(self, classes: usize) {
        match classes {
            1 => self.accumulate::<1, V>(),
            2 => self.accumulate::<2, V>(),
            3 => self.accumulate::<3, V>(),
            4 => self.accumulate::<4, V>(),
            5 => self.accumulate::<5, V>(),
            6 => self.accumulate::<6, V>(),
            n => unreachable!("a tile of {n} classes"),
        }
    }

    #[inline(always)]
    fn accumulate<const K: usize, const V: usize>(self) {
        let Self { proof, rows, start, feature, ds, stride, dw, dw_stride } = self;
        let zero = L::splat(proof, L::Elem::default());
        let rest = rows.n_features() - feature;
        assert!(rest >= V * L::LANES || V == 1);
        assert!(ds.len() >= (K - 1) * stride + rows.len());

        let (chain_rows, span_rows) = depths(rows.n_features());
        for span in (0..rows.len()).step_by(span_rows) {
            let span = span..rows.len().min(span + span_rows);
            let mut sums = [[zero; V]; K];
            for first in span.clone().step_by(chain_rows) {
                let mut chain = [[zero; V]; K];
                for r in first..span.end.min(first + chain_rows) {
                    let mut x = [zero; V];
                    if start == 0 && r % TILE >= 2 {
                        for v in 0..V {
                            prefetch(rows.row_ahead(r).wrapping_add(feature + v * L::LANES));
                        }
                    }
                    for v in 0..V {
                        // SAFETY: a row is valid for reading all its features, of which `rest` lie
                        // behind `feature`: `V` whole vectors, or fewer elements than one.
                        x[v] = unsafe {
                            let source = rows.row(r).add(feature + v * L::LANES);
                            if rest >= L::LANES {
                                L::load(proof, source)
                            } else {
                                L::load_first(proof, source, rest)
                            }
                        };
                    }
                    for k in 0..K {
                        // SAFETY: `r < rows.len()`, and `ds` was asserted to be long enough.
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
