//! For few classes: both products read the rows of X where they lie. A register tile spans four rows,
//! or four vectors of features, and as many classes as fit; with few classes that is nearly all of
//! them, so there is next to nothing to be gained from a copy of X in another order.

mod gradient;
mod pack;
mod scores;

pub(crate) use gradient::accumulate;
pub(super) use pack::pack;
pub(crate) use scores::scores;

use crate::simd::Lanes;

/// Rows (of the scores) or vectors of features (of the gradient) that a register tile spans.
pub(super) const TILE: usize = 4;

/// The most classes that a register tile spans, so that `TILE` × this many sums, `TILE` vectors of X
/// and one of W fit the registers.
const fn tile_classes<L: Lanes>() -> usize {
    match L::REGISTERS {
        32.. => 6,
        16.. => 2,
        _ => 1,
    }
}
