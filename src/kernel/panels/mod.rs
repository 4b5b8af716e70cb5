//! For many classes: X is copied, block by block, into panels, and both products run over panels with the same
//! register tile. A panel holds NR columns, as many as the tile is wide, for every row of the block, row after
//! row, so that the gradient loads from it and the scores broadcast from it; the copy also gathers selected
//! rows, drops the padding between rows, and fills up the last vector with zeros. Its cost is that of one class
//! or two.
//!
//! The micro-kernel is that of the BLIS papers: at each step, an outer product of MR broadcast elements with a
//! few vectors is added to sums that stay in registers.

mod gradient;
mod pack;
mod scores;
mod terms;
mod tile;

pub(crate) use terms::{MAX_HELD, RowLists, add_held};

use super::{
    Copies, PackedWeights, Plan, Shape, TaskGradient,
    block::LinesAhead,
    gradient_stride,
    read::{Read, Unscaled, read},
    rows_within, tile_start,
    tiles::largest_many,
};
use crate::{
    LinearModel,
    batch::SampleRange,
    buffer::Buffer,
    element::Element,
    scores::{SampleMajor, ScoreBlock, panel_rows},
    simd::Lanes,
};

/// What of X a block may take up, so that it stays in L2. More than where X is not packed, as each pass over it
/// does more work.
const BLOCK_BYTES: usize = 768 << 10;

/// The most rows of a block: a panel of X and one of dS, that the gradient walks over together, stay in an L1 of
/// 32 KiB.
const MOST_ROWS: usize = 192;

/// The plan that packs X.
#[derive(Clone, Copy)]
pub(crate) struct Panels;

/// The rows of a block, packed.
pub(crate) struct PackedBlock<'a, T> {
    /// Panels of `panel_rows` rows.
    x: &'a [T],
    /// What is left of the next block to be asked for, where it is read as it lies.
    ahead: LinesAhead<'a>,
    n_rows: usize,
    n_features: usize,
    panel_rows: usize,
}

impl Plan for Panels {
    type Block<'a, T: Element> = PackedBlock<'a, T>;
    type Scores<'a, T: Element> = SampleMajor<'a, T>;

    const SHARES_GRADIENT: bool = true;

    fn block_rows<T: Element>(self, shape: Shape) -> usize {
        rows_within::<T>(BLOCK_BYTES, shape.n_features).min(MOST_ROWS)
    }

    #[inline(always)]
    fn pack<L: Lanes>(
        self,
        _: L::Proof,
        model: &LinearModel<L::Elem>,
        packed: &mut PackedWeights<L::Elem>,
    ) {
        pack::pack::<L>(model, packed);
    }

    #[inline(always)]
    fn load<'a, L: Lanes>(
        self,
        proof: L::Proof,
        samples: &SampleRange<'a, L::Elem>,
        copies: &'a mut Copies<L::Elem>,
        _: bool,
    ) -> PackedBlock<'a, L::Elem> {
        let (n_rows, n_features) = (samples.len(), samples.features().cols());
        let panel_rows = panel_rows(n_rows);
        let Copies { reading, reordered, .. } = copies;
        reordered.resize(n_panels::<L>(n_features) * panel_rows * panel_width::<L>());
        let x = reordered.as_mut_slice();
        let pack = pack::PackBlock { panels: &mut *x, panel_rows };
        if !samples.in_place() {
            read::<L>(proof, samples, reading, pack);
            return PackedBlock { x, ahead: LinesAhead::none(), n_rows, n_features, panel_rows };
        }
        let rows = reading.rows_in_place(samples);
        let mut ahead = LinesAhead::none();
        if let Some(rows) = &rows {
            pack.rows::<L, _, _>(proof, rows, Unscaled);
            ahead = rows.lines_ahead();
        }
        PackedBlock { x, ahead, n_rows, n_features, panel_rows }
    }

    #[inline(always)]
    fn scores<'a, L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut PackedBlock<'_, L::Elem>,
        weights: &PackedWeights<L::Elem>,
        memory: &'a mut Buffer<L::Elem>,
    ) -> SampleMajor<'a, L::Elem> {
        let (c, width) = (weights.n_classes, panel_width::<L>());
        let mut scores = SampleMajor::new(memory, x.n_rows, c, width);
        scores::compute::<L>(proof, x, weights, &mut scores);
        scores
    }

    #[inline(always)]
    fn accumulate<L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut PackedBlock<'_, L::Elem>,
        ds: &SampleMajor<'_, L::Elem>,
        gradient: &mut TaskGradient<L::Elem>,
        _: &mut [L::Elem],
    ) {
        gradient.rows.list::<L>(proof, ds, gradient.sparse);
        if !gradient.shared {
            gradient.dw();
            let terms = gradient.rows.terms(x.x, ds.as_slice());
            let (classes, d) = (0..ds.n_classes(), x.n_features);
            let dw = gradient.dw.as_mut_slice();
            gradient::accumulate::<L>(proof, &[terms], classes, d, dw, gradient_stride(d));
        }
    }
}

/// NR: the columns of a panel, the vectors of the widest tile.
const fn panel_width<L: Lanes>() -> usize {
    largest_many::<L>().1 * L::LANES
}

/// The tiles of the gradient that share the classes of a panel.
const fn tiles_in_panel<L: Lanes>() -> usize {
    panel_width::<L>().div_ceil(largest_many::<L>().0)
}

/// The first class of tile `i` of the gradient: those of a panel take its classes as evenly as possible.
#[inline(always)]
fn tile_class<L: Lanes>(i: usize) -> usize {
    let (n, width) = (tiles_in_panel::<L>(), panel_width::<L>());
    i / n * width + tile_start(width, n, i % n)
}

/// Tiles of the gradient for `n` classes.
#[inline(always)]
fn n_tiles<L: Lanes>(n: usize) -> usize {
    let panels = n / panel_width::<L>() * tiles_in_panel::<L>();
    (panels..).find(|&tile| tile_class::<L>(tile) >= n).expect("one of the next panel")
}

/// Panels for `n` columns.
fn n_panels<L: Lanes>(n: usize) -> usize {
    n.div_ceil(panel_width::<L>())
}

/// The vectors of panel `panel` that hold any of `n` columns.
fn vectors_in_panel<L: Lanes>(n: usize, panel: usize) -> usize {
    let columns = (n - panel * panel_width::<L>()).min(panel_width::<L>());
    columns.div_ceil(L::LANES)
}
