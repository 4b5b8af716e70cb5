//! What is left of a block for the gradient: its panels, and for each tile of classes the rows that count. It
//! outlives the task's work on the block, so that all threads can add the blocks of all tasks to one gradient.

use super::{gradient::accumulate, n_tiles, panel_width, tile_class};
use crate::{
    buffer::Buffer,
    element::Element,
    kernel::{Copies, TaskGradient},
    scores::{SampleMajor, ScoreBlock},
    simd::{Lanes, Run},
};
use core::ops::Range;

/// The rows of a block that count for the gradient. At each multiple of `stride` there is, for a tile of classes,
/// the number of rows, followed by the rows; if `stride` is zero, one list is for all tiles.
#[derive(Debug, Default)]
pub(crate) struct RowLists {
    lists: Vec<u16>,
    stride: usize,
    panel_rows: usize,
}

impl RowLists {
    /// Forgets the block.
    pub(crate) fn clear(&mut self) {
        self.lists.clear();
    }

    /// Lists the rows of derivatives: all of them, or, if they are `sparse`, for every tile of classes those
    /// that are not all zero.
    #[inline(always)]
    pub(super) fn list<L: Lanes>(
        &mut self,
        proof: L::Proof,
        ds: &SampleMajor<'_, L::Elem>,
        sparse: bool,
    ) {
        let (n, panel_rows) = (ds.n_samples(), ds.panel_rows());
        self.panel_rows = panel_rows;
        if sparse {
            self.stride = panel_rows + 1;
            self.lists.resize(n_tiles::<L>(ds.n_classes()) * self.stride, 0);
            let (lists, stride, ds) = (&mut *self.lists, self.stride, ds.as_slice());
            L::call(proof, ListRows { ds, n_rows: n, panel_rows, lists, stride });
        } else {
            self.stride = 0;
            self.lists.clear();
            self.lists.push(n as u16);
            self.lists.extend(0..n as u16);
        }
    }

    /// The terms of the block whose panels are `x` and `ds`.
    pub(super) fn terms<'a, T>(&'a self, x: &'a [T], ds: &'a [T]) -> Terms<'a, T> {
        let Self { lists, stride, panel_rows } = self;
        Terms { x, ds, lists, stride: *stride, panel_rows: *panel_rows }
    }
}

/// Lists, for every tile of classes, the rows whose derivatives are not all zero.
struct ListRows<'a, T> {
    ds: &'a [T],
    n_rows: usize,
    panel_rows: usize,
    lists: &'a mut [u16],
    stride: usize,
}

impl<T: Element> Run<T> for ListRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) {
        let Self { ds, n_rows, panel_rows, lists, stride } = self;
        let width = panel_width::<L>();
        for (tile, list) in lists.chunks_exact_mut(stride).enumerate() {
            let (class, end) = (tile_class::<L>(tile), tile_class::<L>(tile + 1));
            let panel = &ds[class / width * panel_rows * width..][..n_rows * width];
            let (count, rows) = list.split_first_mut().expect("room for the number of rows");
            let mut n = 0;
            for (row, ds) in panel.chunks_exact(width).enumerate() {
                let ds = &ds[class % width..][..end - class];
                rows[n] = row as u16;
                n += usize::from(ds.iter().fold(false, |any, ds| any | (*ds != T::default())));
            }
            *count = n as u16;
        }
    }
}

/// The terms that a block adds to the gradient.
#[derive(Clone, Copy, Default)]
pub(super) struct Terms<'a, T> {
    /// Panels of X.
    pub(super) x: &'a [T],
    /// Panels of dS.
    pub(super) ds: &'a [T],
    lists: &'a [u16],
    stride: usize,
    panel_rows: usize,
}

impl<'a, T> Terms<'a, T> {
    /// The rows that the panels have room for.
    pub(super) fn panel_rows(&self) -> usize {
        self.panel_rows
    }

    /// Whether all rows count, one after the other, for every tile.
    #[inline(always)]
    pub(super) fn has_all_rows(&self) -> bool {
        self.stride == 0
    }

    /// The rows that count for a tile of classes, each less than [`panel_rows`](Self::panel_rows).
    #[inline(always)]
    pub(super) fn rows_of_tile(&self, tile: usize) -> &'a [u16] {
        let list = &self.lists[tile * self.stride..];
        &list[1..=list[0] as usize]
    }
}

/// The most blocks that [`add_held`] takes: a multiple of those of the third level of summation.
pub(crate) const MAX_HELD: usize = 64;

/// Adds the terms of the blocks that tasks hold, in their order, to the gradient of some classes, which start at
/// a multiple of [`MAX_LANES`]. A task that holds none has no lists.
#[inline(always)]
pub(crate) fn add_held<'a, L: Lanes>(
    proof: L::Proof,
    held: impl Iterator<Item = (&'a Copies<L::Elem>, &'a Buffer<L::Elem>, &'a TaskGradient<L::Elem>)>,
    classes: Range<usize>,
    n_features: usize,
    dw: &mut [f64],
) {
    let mut blocks = [Terms::default(); MAX_HELD];
    let mut n = 0;
    for (copies, ds, gradient) in held.filter(|(_, _, task)| !task.rows.lists.is_empty()) {
        blocks[n] = gradient.rows.terms(copies.reordered.as_slice(), ds.as_slice());
        n += 1;
    }
    accumulate::<L>(proof, &blocks[..n], classes, n_features, dw, n_features);
}
