//! S = X Wᵀ + b for a block of rows.
//!
//! A tile of a few vectors of rows × a few classes keeps their sums in registers while it walks over some
//! features, with a weight broadcast to all lanes; then they are added to the scores. All classes see the same
//! features before the next ones are looked at, while they are in L1.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use crate::{
    element::Element,
    kernel::{
        ColumnBlock, PackedWeights,
        columns::Stretches,
        rows::pack::{ClassTile, tiles},
        tiles::{TileKernel, add_products, few, few_tiles},
    },
    scores::ClassMajor,
    simd::{LINE, Lanes, prefetch_near},
};
use core::ops::Range;

/// Features that a tile of four vectors walks over; tiles of two have half the work for each, and walk over twice
/// as many. While it does, a tile asks for as many that come next, which have to stay in L1 until then: with 64
/// instead of 16, an evaluation of 60000 × 784 × 10 takes a fifth more.
const STEPS: usize = 16;

/// Writes the scores of the rows, and something past the last row up to a whole vector.
#[inline(always)]
pub(super) fn compute<L: Lanes>(
    proof: L::Proof,
    x: &mut Stretches<'_, L::Elem>,
    weights: &PackedWeights<L::Elem>,
    scores: &mut ClassMajor<'_, L::Elem>,
) {
    let (stride, scores) = (scores.stride(), scores.as_mut_slice());
    let (n, d) = (x.len(), x.n_features());
    assert_eq!(d, weights.n_features);
    let (_, most) = few_tiles::<L>(weights.n_classes);
    let steps = STEPS * 4 / most;
    for first in (0..d).step_by(steps) {
        let features = first..d.min(first + steps);
        let ahead = if features.end < d { (0, features.end) } else { (n, 0) };
        let block = &x.features::<L>(proof, features.clone(), ahead);
        let mut row = 0;
        while row < n {
            // As high as there are whole vectors; the last vector, if it is not whole, comes by itself.
            let height = match (n - row) / L::LANES {
                rest if rest >= most => most,
                2.. => 2,
                _ => 1,
            };
            for (t, tile) in tiles::<L>(weights).enumerate() {
                let scores = &mut scores[tile.start * stride + row..];
                let (classes, features) = (tile.bias.len(), features.clone());
                let sum = Sum { block, row, features, tile: &tile, first: t == 0, scores, stride };
                few::<L>(proof, (classes, height), sum);
            }
            row += height * L::LANES;
        }
    }
}

/// Some scores, and what is added to them.
struct Sum<'a, T> {
    block: &'a ColumnBlock<'a, T>,
    /// The first row of the tile.
    row: usize,
    features: Range<usize>,
    tile: &'a ClassTile<'a, T>,
    /// Whether the tile is the first for these rows.
    first: bool,
    /// From the first row and class of the tile on.
    scores: &'a mut [T],
    stride: usize,
}

/// In one register tile of `K` classes × `R` vectors of rows.
impl<T: Element> TileKernel<T> for Sum<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const R: usize>(self, proof: L::Proof) {
        let Sum { block, row, features, tile, first, scores, stride } = self;
        let (present, rest) = (block.features(), block.len() - row);
        assert!(rest >= R * L::LANES || R == 1);
        assert!(present.start <= features.start && features.end <= present.end);
        assert!(tile.weights.len() >= features.end * K);

        // The features that come next; past the last ones, the first ones of the rows that come next.
        let (ahead_rows, mut ahead) = match features.end {
            end if end < present.end => (row, end),
            _ => (row + block.len(), 0),
        };
        let start = features.start == 0;
        let mut sums = [[L::splat(proof, T::default()); R]; K];
        for feature in features {
            if first {
                for r in (0..R).step_by(LINE / size_of::<L>()) {
                    prefetch_near(block.at(ahead_rows + r * L::LANES, ahead));
                }
                ahead += 1;
            }
            let mut x = [sums[0][0]; R];
            for r in 0..R {
                let source = block.at(row + r * L::LANES, feature);
                // SAFETY: the block has the feature and, from the first row of the tile on, `rest` rows, which
                // lie side by side: `R` whole vectors, or fewer elements than one.
                x[r] = unsafe {
                    if rest >= L::LANES {
                        L::load(proof, source)
                    } else {
                        L::load_first(proof, source, rest)
                    }
                };
            }
            let weights = tile.weights.as_ptr().wrapping_add(feature * K);
            // SAFETY: there are `K` weights for each feature, as asserted.
            unsafe { add_products::<L, K, R, true>(proof, &mut sums, x, weights, 1) };
        }
        for k in 0..K {
            for r in 0..R {
                let scores = &mut scores[k * stride + r * L::LANES..];
                let before = match start {
                    true => L::splat(proof, tile.bias[k]),
                    false => L::from_slice(proof, scores),
                };
                (before + sums[k][r]).write_to(scores);
            }
        }
    }
}
