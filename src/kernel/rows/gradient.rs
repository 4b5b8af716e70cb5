//! dW += dSᵀ X for a block of rows.
//!
//! A tile of a few classes × a few vectors of features keeps the first two [`Levels`] of its sums in registers
//! while it walks down the rows; then they are added to dW in `f64`.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::n_tiles;
use crate::{
    element::Element,
    kernel::{
        RowBlock,
        block::GROUP,
        gradient_stride, tile_start,
        tiles::{TileKernel, few, largest_few},
    },
    scores::{ClassMajor, ScoreBlock},
    simd::{Lanes, prefetch},
    summation::{Levels, add_widened},
};

/// Adds Σ_r ds_rk X_rl to dW_kl for all classes k and features l. The rows are taken up to a multiple of
/// [`GROUP`]: past the last one, `ds` must be zero. Past the features, up to a whole vector, zeros are added.
#[inline(always)]
pub(super) fn accumulate<L: Lanes>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    ds: &ClassMajor<'_, L::Elem>,
    dw: &mut [f64],
) {
    let (n_classes, stride, ds) = (ds.n_classes(), ds.stride(), ds.as_slice());
    let dw_stride = gradient_stride(rows.n_features());
    assert!(rows.len() <= stride && stride.is_multiple_of(GROUP));
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

        let levels = Levels::of_rows(rows.n_features());
        for start in (0..n_rows).step_by(levels.second) {
            let end = n_rows.min(start + levels.second);
            let mut second = [[zero; V]; K];
            for start in (start..end).step_by(levels.first) {
                let mut first = [[zero; V]; K];
                for r in start..end.min(start + levels.first) {
                    // SAFETY: `r < n_rows`, which is what the block has rows for.
                    let row = unsafe { rows.row(r) };
                    if tile < 2 && r % GROUP < V {
                        let (line, group) = (feature + r % GROUP * L::LANES, r - r % GROUP);
                        // SAFETY: the rows of a group are all among the `n_rows`, a multiple of its size.
                        let ahead = |i| unsafe { rows.ahead(group + i) };
                        prefetch(ahead(2 + tile).wrapping_add(line));
                        if n_tiles == 1 {
                            prefetch(ahead(3).wrapping_add(line));
                        }
                    }
                    let mut x = [zero; V];
                    for v in 0..V {
                        // SAFETY: a row is valid for reading all its features, of which `rest`
                        // come from `feature` on: `V` whole vectors, or fewer elements than one.
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
                            first[k][v] = ds.mul_add(x[v], first[k][v]);
                        }
                    }
                }
                for k in 0..K {
                    for v in 0..V {
                        second[k][v] = second[k][v] + first[k][v];
                    }
                }
            }
            for k in 0..K {
                for v in 0..V {
                    add_widened(second[k][v], &mut dw[k * dw_stride + v * L::LANES..][..L::LANES]);
                }
            }
        }
    }
}
