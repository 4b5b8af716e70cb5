//! For many classes: X is copied, block by block, into panels as wide as a vector, and both products
//! run over panels with the same register tile. A panel holds one vector of features for every row of
//! the block, row after row, so that the gradient loads from it and the scores broadcast from it; the
//! copy also gathers selected rows, drops the padding between rows, and fills up the last vector with
//! zeros. Its cost is that of one class or two.
//!
//! The tile is that of the BLIS papers: at each step, an outer product of a few broadcast numbers with
//! a few vectors is added to sums that stay in registers.

mod gradient;
mod pack;
mod scores;
mod tile;

pub(crate) use gradient::accumulate;
pub(super) use pack::pack;
pub(crate) use pack::pack_rows;
pub(crate) use scores::scores;

use super::tile_start;

/// Tiles of at most `max` vectors that cover `n` vectors, as equal as can be: their starts and widths.
fn tiles(n: usize, max: usize) -> impl Iterator<Item = (usize, usize)> {
    let n_tiles = n.div_ceil(max);
    (0..n_tiles).map(move |i| {
        let (start, end) = (tile_start(n, n_tiles, i), tile_start(n, n_tiles, i + 1));
        (start, end - start)
    })
}
