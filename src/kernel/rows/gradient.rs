//! dW += dSᵀ X for a block of rows.
//!
//! A tile of a few classes × a few vectors of features keeps the first of the [`Levels`] of its sums in registers while
//! it walks down the rows; then they are added to the [`RecentSums`](crate::kernel::recent::RecentSums).

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::RowsInPlace;
use crate::{
    element::Element,
    kernel::{
        RowBlock, TaskGradient,
        block::GROUP,
        tile_start,
        tiles::{TileKernel, add_products, few, few_tiles},
    },
    scores::{ClassMajor, NEAR_STRIDE, ScoreBlock},
    simd::{LINE, Lanes, prefetch},
    summation::Levels,
};
use core::ops::Range;

/// What of X several tiles of classes take turns with, so that it stays in L1.
const TURN_BYTES: usize = 16 << 10;

/// Adds Σ_r ds_rk X_rl to dW_kl for all classes k and features l. Past the last row of the block, up to a whole group,
/// `ds` must be zero. Past the features, up to a whole vector, zeros are added.
#[inline(always)]
pub(super) fn accumulate<L: Lanes>(
    proof: L::Proof,
    x: &mut RowsInPlace<'_, L::Elem>,
    ds: &ClassMajor<'_, L::Elem>,
    gradient: &mut TaskGradient<L::Elem>,
) {
    assert_eq!(ds.stride(), STRIDE);
    let (n_classes, ds) = (ds.n_classes(), ds.as_slice());
    let (n_tiles, most) = few_tiles::<L>(n_classes);
    let n_features = x.rows.n_features();
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
            // The last vector comes by itself, if it is not whole.
            let whole = (n_features - feature) / L::LANES;
            let width = match whole {
                _ if whole >= most => most,
                2.. => 2,
                _ => 1,
            };
            // A single tile of classes takes all that are as wide. Several take turns, so that X stays in L1.
            let in_turn = match n_tiles {
                1 => whole / width,
                _ => TURN_BYTES / (rows.len() * width * L::LANES * size_of::<L::Elem>()),
            };
            let n = in_turn.min(whole / width).max(1);
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

/// Where rows are long, the tile of features is asked for that comes after so many others.
const TILES_AHEAD: usize = 4;

/// The distance between the classes of dS.
const STRIDE: usize = NEAR_STRIDE;

/// Part of the sums and what is added to them.
struct Sum<'a, 'x, T> {
    x: &'a mut RowsInPlace<'x, T>,
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
        let mut ahead = x.ahead;
        // Half the lines of the next block, or all of a tile that comes soon.
        let bytes = const { V * L::LANES * size_of::<T>() };
        let requests = (GROUP * bytes).div_ceil(2 * LINE);
        let soon = (0..bytes.div_ceil(LINE))
            .map(|line| TILES_AHEAD * V * L::LANES + line * LINE / size_of::<T>());
        let n_features = x.rows.n_features();
        let tail = if V == 1 { L::LANES - 1 } else { 0 };
        assert!(features.end <= n_features + tail);
        assert!(V == 1 || features.len().is_multiple_of(V * L::LANES));
        assert!(rows.end.is_multiple_of(GROUP) && ds.len() >= (K - 1) * STRIDE + rows.end);
        let end = features.start + features.len().next_multiple_of(L::LANES);
        assert!(sums.len() >= (K - 1) * stride + end);

        let step = const { n_chains::<L>(K, V) } * chain;
        for feature in features.step_by(V * L::LANES) {
            for start in rows.clone().step_by(step) {
                let rows = start..rows.end.min(start + step);
                let ask = |starts: [*const T; GROUP]| match (first, x.long) {
                    (false, _) => {}
                    (true, false) => ahead.request_lines(requests),
                    (true, true) => starts.iter().for_each(|start| {
                        soon.clone().for_each(|l| prefetch(start.wrapping_add(l)));
                    }),
                };
                // SAFETY: `ds` was asserted to have places for all rows; and the features are whole tiles of those of a
                // row, but for the last vector if `V` is 1.
                let tile = unsafe {
                    sum::<L, K, V>(proof, &x.rows, rows, (feature, n_features - feature), ds, ask)
                };
                for k in 0..K {
                    for v in 0..V {
                        let place =
                            sums.as_mut_ptr().wrapping_add(k * stride + feature + v * L::LANES);
                        // SAFETY: there are places for whole vectors of the features of each class, as asserted.
                        unsafe { (L::load(proof, place) + tile[k][v]).store(place) };
                    }
                }
            }
        }
        x.ahead = ahead;
    }
}

/// The chains of a tile of `k` classes × `v` vectors. Few sums are added to in several, as each addition waits for the one
/// before, if there are registers for them.
const fn n_chains<L: Lanes>(k: usize, v: usize) -> usize {
    let fit = L::REGISTERS.saturating_sub(v + 1) / (k * v);
    match k * v {
        ..=2 if fit >= 4 => 4,
        ..=6 if fit >= 2 => 2,
        _ => 1,
    }
}

/// The sums over some rows, whole groups of them, for `K` classes and the `V` vectors from a feature on. `ask`
/// is called with the places of that feature in each group of rows, to ask for what comes next: before the sums of the
/// group, as branches between those of its rows have the compiler keep vectors in memory.
///
/// # Safety
/// `ds` must have places for the rows of each class. From `feature` on, `V` vectors must be readable, or, if `V` is 1,
/// `rest` elements.
#[inline(always)]
unsafe fn sum<L: Lanes, const K: usize, const V: usize>(
    proof: L::Proof,
    x: &RowBlock<'_, L::Elem>,
    rows: Range<usize>,
    (feature, rest): (usize, usize),
    ds: &[L::Elem],
    mut ask: impl FnMut([*const L::Elem; GROUP]),
) -> [[L; V]; K] {
    let zero = L::splat(proof, L::Elem::default());
    let n_chains = const { n_chains::<L>(K, V) };
    let mut tiles = [[[zero; V]; K]; GROUP];
    let (groups, start) = x.groups(rows.clone(), feature);
    for (offsets, group) in groups.zip(rows.step_by(GROUP)) {
        let starts: [_; GROUP] = core::array::from_fn(|i| start.wrapping_add(offsets[i]));
        ask(starts);
        for i in 0..GROUP {
            let mut vectors = [zero; V];
            for v in 0..V {
                let source = starts[i].wrapping_add(v * L::LANES);
                // SAFETY: the caller grants `V` whole vectors, or fewer elements than one has.
                vectors[v] = unsafe {
                    if V > 1 || rest >= L::LANES {
                        L::load(proof, source)
                    } else {
                        L::load_first(proof, source, rest)
                    }
                };
            }
            let tile = &mut tiles[i % n_chains];
            let ds = ds.as_ptr().wrapping_add(group + i);
            // SAFETY: the caller grants places for all rows.
            unsafe { add_products::<L, K, V, true>(proof, tile, vectors, ds, STRIDE) };
        }
    }
    let mut total = tiles[0];
    for i in 1..n_chains {
        for k in 0..K {
            for v in 0..V {
                total[k][v] = total[k][v] + tiles[i][k][v];
            }
        }
    }
    total
}
