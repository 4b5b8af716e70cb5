//! For few classes: both products read the rows of X where they lie. A register tile spans a few rows,
//! or vectors of features, and as many classes as fit; with few classes that is nearly all of them,
//! so there is next to nothing to be gained from a copy of X in another order.

mod gradient;
mod pack;
mod scores;

pub(crate) use gradient::accumulate;
pub(super) use pack::{ClassTile, pack, tiles};
pub(crate) use scores::scores;

use crate::{kernel::tiles::largest_few, simd::Lanes};

/// The tiles that cover so many classes.
pub(super) const fn n_tiles<L: Lanes>(n_classes: usize) -> usize {
    n_classes.div_ceil(largest_few::<L>().0)
}
