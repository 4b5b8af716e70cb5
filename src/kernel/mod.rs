//! The two matrix products, on a block of rows that stays in cache between them: the scores
//! S = X Wᵀ + b, and the gradient dW += dSᵀ X.

mod block;
mod gradient;
mod pack;
mod scores;

pub(crate) use block::{RowBlock, block_rows};
pub(crate) use gradient::accumulate;
pub(crate) use pack::{Pack, PackedWeights};
pub(crate) use scores::scores;

use crate::simd::Lanes;

/// Rows (of the scores) or vectors of features (of the gradient) that a register tile spans.
const TILE: usize = 4;

/// The most classes that a register tile spans, so that `TILE` × this many sums, `TILE` vectors of X
/// and one of W fit the registers.
const fn tile_classes<L: Lanes>() -> usize {
    match L::REGISTERS {
        32.. => 6,
        16.. => 2,
        _ => 1,
    }
}

/// The fewest tiles that cover `n_classes`, as equal as can be: the first class of tile `i`.
const fn tile_start(n_classes: usize, n_tiles: usize, i: usize) -> usize {
    // In two parts, as `n_classes * i` may overflow.
    n_classes / n_tiles * i + n_classes % n_tiles * i / n_tiles
}
