//! For many classes: X is copied, block by block, into panels, and both products run over panels with the
//! same register tile. A panel holds as many columns as the tile is wide, for every row of the block, row
//! after row, so that the gradient loads from it and the scores broadcast from it; the copy also gathers
//! selected rows, drops the padding between rows, and fills up the last vector with zeros. Its cost is
//! that of one class or two.
//!
//! The tile is that of the BLIS papers: at each step, an outer product of a few broadcast numbers with
//! a few vectors is added to sums that stay in registers.

mod gradient;
mod pack;
mod scores;
mod tile;

pub(crate) use gradient::{Block, ListRows, RowLists, SPAN_BLOCKS, accumulate};
pub(super) use pack::pack;
pub(crate) use pack::{pack_columns, pack_rows};
pub(crate) use scores::scores;

pub(crate) use tile::{panel_width, tile_classes};

use crate::simd::Lanes;

/// The widest panel, three vectors of sixteen lanes; the scratch memory is for any width.
pub(crate) const MAX_WIDTH: usize = 48;

/// Panels for `n` columns.
fn n_panels<L: Lanes>(n: usize) -> usize {
    n.div_ceil(panel_width::<L>())
}

/// The vectors of panel `panel` that hold any of `n` columns.
fn vectors_in_panel<L: Lanes>(n: usize, panel: usize) -> usize {
    let columns = (n - panel * panel_width::<L>()).min(panel_width::<L>());
    columns.div_ceil(L::LANES)
}
