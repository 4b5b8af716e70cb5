//! dW += dSᵀ X for a block of rows.
//!
//! A tile of a few classes × a few vectors of features keeps the first two [`Levels`] of its sums in registers
//! while it walks down the rows; then they are added to dW in `f64`.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{CopiedRows, n_tiles};
use crate::{
    element::Element,
    kernel::{
        gradient_stride, tile_start,
        tiles::{TileKernel, few, largest_few},
    },
    scores::{ClassMajor, NEAR_STRIDE, ScoreBlock},
    simd::Lanes,
    summation::{Levels, add_widened},
};

/// Adds Σ_r ds_rk X_rl to dW_kl for all classes k and features l. The rows are those of the copy: past the last one
/// of the block, `ds` must be zero. Past the features, up to a whole vector, zeros are added.
#[inline(always)]
pub(super) fn accumulate<L: Lanes>(
    proof: L::Proof,
    x: &CopiedRows<'_, L::Elem>,
    ds: &ClassMajor<'_, L::Elem>,
    dw: &mut [f64],
) {
    assert_eq!(ds.stride(), STRIDE);
    let (n_classes, ds) = (ds.n_classes(), ds.as_slice());
    let dw_stride = gradient_stride(x.rows.n_features());
    let n_tiles = n_tiles::<L>(n_classes);
    let vectors = x.rows.n_features().div_ceil(L::LANES);
    let (_, most) = largest_few::<L>();
    let mut v = 0;
    while v < vectors {
        let width = match vectors - v {
            rest if rest >= most => most,
            2.. => 2,
            _ => 1,
        };
        let feature = v * L::LANES;
        for tile in 0..n_tiles {
            let start = tile_start(n_classes, n_tiles, tile);
            let classes = tile_start(n_classes, n_tiles, tile + 1) - start;
            let (ds, dw) = (&ds[start * STRIDE..], &mut dw[start * dw_stride + feature..]);
            let sum = Sum { x, feature, ds, dw, dw_stride };
            few::<L>(proof, (classes, width), sum);
        }
        v += width;
    }
}

/// The distance between the classes of dS.
const STRIDE: usize = NEAR_STRIDE;

/// Part of dW and what is added to it.
struct Sum<'a, T> {
    x: &'a CopiedRows<'a, T>,
    /// The first feature of the tile.
    feature: usize,
    /// From the first class of the tile on.
    ds: &'a [T],
    /// From the first class and feature of the tile on.
    dw: &'a mut [f64],
    dw_stride: usize,
}

/// In one register tile of `K` classes × `V` vectors.
impl<T: Element> TileKernel<T> for Sum<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const V: usize>(self, proof: L::Proof) {
        let Sum { x, feature, ds, dw, dw_stride } = self;
        let zero = L::splat(proof, T::default());
        let CopiedRows { copy, stride, .. } = x;
        let n_rows = x.copied_rows();
        assert!(copy.len() >= n_rows * stride && feature + V * L::LANES <= *stride);
        assert!(ds.len() >= (K - 1) * STRIDE + n_rows);

        let levels = Levels::of_rows(x.rows.n_features());
        for start in (0..n_rows).step_by(levels.second) {
            let end = n_rows.min(start + levels.second);
            let mut second = [[zero; V]; K];
            for start in (start..end).step_by(levels.first) {
                let mut sums = [[zero; V]; K];
                for r in start..end.min(start + levels.first) {
                    let mut vectors = [zero; V];
                    for v in 0..V {
                        let source =
                            copy.as_ptr().wrapping_add(r * stride + feature + v * L::LANES);
                        // SAFETY: `r < n_rows`, and each row of the copy has the vectors, as asserted.
                        vectors[v] = unsafe { L::load(proof, source) };
                    }
                    for k in 0..K {
                        // SAFETY: `r < n_rows`, and `ds` was asserted to be long enough.
                        let ds = L::splat(proof, unsafe { *ds.get_unchecked(k * STRIDE + r) });
                        for v in 0..V {
                            sums[k][v] = ds.mul_add(vectors[v], sums[k][v]);
                        }
                    }
                }
                for k in 0..K {
                    for v in 0..V {
                        second[k][v] = second[k][v] + sums[k][v];
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
