//! dW += dSᵀ X for a block of rows.
//!
//! A tile of a few classes × a few vectors of features keeps the first of the [`Levels`] of its sums in registers while
//! it walks down the rows; then they are added to the [`RecentSums`](crate::kernel::recent::RecentSums).

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::CopiedRows;
use crate::{
    element::Element,
    kernel::{
        TaskGradient,
        block::GROUP,
        tile_start,
        tiles::{TileKernel, few, few_tiles},
    },
    scores::{ClassMajor, NEAR_STRIDE, ScoreBlock},
    simd::Lanes,
    summation::Levels,
};
use core::ops::Range;

/// Adds Σ_r ds_rk X_rl to dW_kl for all classes k and features l. Past the last row of the block, up to a whole group,
/// `ds` must be zero. Past the features, up to a whole vector, zeros are added.
#[inline(always)]
pub(super) fn accumulate<L: Lanes>(
    proof: L::Proof,
    x: &mut CopiedRows<'_, L::Elem>,
    ds: &ClassMajor<'_, L::Elem>,
    gradient: &mut TaskGradient<L::Elem>,
) {
    assert_eq!(ds.stride(), STRIDE);
    let (n_classes, ds) = (ds.n_classes(), ds.as_slice());
    let (n_tiles, most) = few_tiles::<L>(n_classes);
    let n_features = x.rows.n_features();
    // In a copy, all vectors are whole; elsewhere, the last one comes by itself, if it is not.
    let readable = match CopiedRows::<L::Elem>::copies::<L>() {
        true => n_features.next_multiple_of(L::LANES),
        false => n_features,
    };
    let levels = Levels::of_rows(n_features);
    let n_rows = x.rows.padded_len();
    for start in (0..n_rows).step_by(levels.second) {
        let rows = start..n_rows.min(start + levels.second);
        if gradient.recent.n_rows() + rows.len() > levels.second {
            gradient.fold::<L>(proof);
        }
        let (sums, stride) = gradient.recent.add(rows.len(), [n_classes, n_features]);
        let mut feature = 0;
        while feature < n_features {
            let whole = (readable - feature) / L::LANES;
            let width = match whole {
                _ if whole >= most => most,
                2.. => 2,
                _ => 1,
            };
            // A single tile of classes takes all that are as wide. Several take turns, so that X stays in L1.
            let n = if n_tiles == 1 { (whole / width).max(1) } else { 1 };
            let end = feature + n * width * L::LANES;
            for tile in 0..n_tiles {
                let start = tile_start(n_classes, n_tiles, tile);
                let classes = tile_start(n_classes, n_tiles, tile + 1) - start;
                let (ds, sums) = (&ds[start * STRIDE..], &mut sums[start * stride..]);
                let (rows, chain, first) = (rows.clone(), levels.first, tile == 0);
                let (x, features) = (&mut *x, feature..end);
                let sum = Sum { x, rows, chain, first, features, ds, sums, stride };
                few::<L>(proof, (classes, width), sum);
            }
            feature = end;
        }
    }
}

/// The distance between the classes of dS.
const STRIDE: usize = NEAR_STRIDE;

/// Part of the sums and what is added to them.
struct Sum<'a, 'x, T> {
    x: &'a mut CopiedRows<'x, T>,
    /// Whole groups of the block.
    rows: Range<usize>,
    /// Rows of the first level.
    chain: usize,
    /// Whether the tile of classes is the first for these features.
    first: bool,
    /// Whole tiles of them; a last vector that is not whole is by itself.
    features: Range<usize>,
    /// From the first class of the tile on.
    ds: &'a [T],
    /// From the first class of the tile on.
    sums: &'a mut [T],
    stride: usize,
}

/// In register tiles of `K` classes × `V` vectors: one, or a few for small ones.
impl<T: Element> TileKernel<T> for Sum<'_, '_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const V: usize>(self, proof: L::Proof) {
        let Sum { x, rows, chain, first, features, ds, sums, stride } = self;
        let zero = L::splat(proof, T::default());
        let mut ahead = x.ahead;
        let copies = CopiedRows::<T>::copies::<L>();
        // In a copy, all vectors are whole.
        let readable = if copies { x.stride } else { x.rows.n_features() };
        let tail = if V == 1 { L::LANES - 1 } else { 0 };
        assert!(features.end <= readable + tail);
        assert!(rows.end.is_multiple_of(GROUP) && ds.len() >= (K - 1) * STRIDE + rows.end);

        // Few sums are added to in several chains, as each addition waits for the one before, if there are registers for
        // them.
        let n_chains = const {
            let fit = L::REGISTERS.saturating_sub(V + 1) / (K * V);
            match K * V {
                ..=2 if fit >= 4 => 4,
                ..=4 if fit >= 2 => 2,
                _ => 1,
            }
        };
        let step = n_chains * chain;
        for feature in features.step_by(V * L::LANES) {
            let rest = readable - feature;
            for start in rows.clone().step_by(step) {
                let mut tiles = [[[zero; V]; K]; GROUP];
                for group in (start..rows.end.min(start + step)).step_by(GROUP) {
                    let starts = x.group::<L>(group);
                    for i in 0..GROUP {
                        if !copies && first {
                            (0..const { V.div_ceil(2) }).for_each(|_| ahead.request());
                        }
                        let mut vectors = [zero; V];
                        for v in 0..V {
                            let source = starts[i].wrapping_add(feature + v * L::LANES);
                            // SAFETY: a row is valid for reading `rest` elements from `feature` on: `V` whole vectors,
                            // as the features end with one if `V` is not 1, or fewer elements than one has.
                            vectors[v] = unsafe {
                                if V > 1 || rest >= L::LANES {
                                    L::load(proof, source)
                                } else {
                                    L::load_first(proof, source, rest)
                                }
                            };
                        }
                        for k in 0..K {
                            // SAFETY: `ds` was asserted to have places for all rows up to a whole group.
                            let ds = unsafe { *ds.get_unchecked(k * STRIDE + group + i) };
                            let ds = L::splat(proof, ds);
                            let tile = &mut tiles[i % n_chains];
                            for v in 0..V {
                                tile[k][v] = ds.mul_add(vectors[v], tile[k][v]);
                            }
                        }
                    }
                }
                for k in 0..K {
                    for v in 0..V {
                        let mut sum = tiles[0][k][v];
                        for i in 1..n_chains {
                            sum = sum + tiles[i][k][v];
                        }
                        let sums = &mut sums[k * stride + feature + v * L::LANES..];
                        (L::from_slice(proof, sums) + sum).write_to(sums);
                    }
                }
            }
        }
        x.ahead = ahead;
    }
}
