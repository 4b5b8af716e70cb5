//! dW += dSᵀ X for blocks of packed rows. Down the tile go classes, across it vectors of features; the
//! steps are the rows, whose derivatives are broadcast from the panels of dS. Rows whose derivatives are
//! all zero for the classes of a tile, as those by the hinge loss often are, can be left out.
//!
//! As with few classes, a register sums over [`CHAIN`] rows only; what it has is then added to a sum over
//! [`LINK`] chains, that to a sum over a block, or two, and that to dW in `f64`.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{
    n_panels, panel_width,
    tile::{Tile, add_outer_products, store},
    tile_classes, vectors_in_panel,
};
use crate::{
    Element,
    kernel::{
        CHAIN, add_widened,
        tiles::{TileKernel, largest_many, many},
    },
    simd::{Lanes, Run, prefetch},
};
use core::ops::Range;

/// Chains that are summed before that is added to the sum of a span. Terms that are all equal, as those of
/// repeated rows are, err in one direction: by 2⁻²⁴ of the sum for half the length of each level of sums.
const LINK: usize = 8;

/// Blocks that are summed in the element type before that is added to dW in `f64`, which for a large
/// model costs what a dozen rows cost.
pub(crate) const SPAN_BLOCKS: usize = 2;

/// A block of rows in panels of `panel_rows` rows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Block<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) ds: &'a [T],
    pub(crate) panel_rows: usize,
    pub(crate) rows: RowLists<'a>,
}

/// The rows of a block that count, each less than the rows of its panels.
#[derive(Clone, Copy)]
pub(crate) enum RowLists<'a> {
    /// For all classes.
    All(&'a [u16]),
    /// For each tile of classes: at `tile * stride` the number of rows, and behind it the rows.
    ByTile { lists: &'a [u16], stride: usize },
}

impl Default for RowLists<'_> {
    fn default() -> Self {
        Self::All(&[])
    }
}

impl<'a> RowLists<'a> {
    fn of_tile(self, tile: usize) -> &'a [u16] {
        match self {
            Self::All(rows) => rows,
            Self::ByTile { lists, stride } => {
                let list = &lists[tile * stride..][..stride];
                &list[1..=list[0] as usize]
            }
        }
    }
}

/// Adds Σ_r dS[r][k] X[r][l] over the rows of all blocks to `dw[(k − classes.start) * dw_stride + l]` for
/// the given classes k and all features l. The classes start at a multiple of those of a tile.
#[inline(always)]
pub(crate) fn accumulate<L: Lanes>(
    proof: L::Proof,
    blocks: &[Block<'_, L::Elem>],
    classes: Range<usize>,
    n_features: usize,
    dw: &mut [f64],
    dw_stride: usize,
) {
    let (mr, _) = largest_many::<L>();
    for panel in 0..n_panels::<L>(n_features) {
        let dw = &mut dw[panel * panel_width::<L>()..];
        let sum = Sum { blocks, classes: classes.clone(), panel, n_features, dw, dw_stride };
        many::<L>(proof, (mr, vectors_in_panel::<L>(n_features, panel)), sum);
    }
}

/// The gradient of some classes by a panel of features, and what is added to it.
struct Sum<'a, T> {
    blocks: &'a [Block<'a, T>],
    classes: Range<usize>,
    panel: usize,
    n_features: usize,
    /// From the first feature of the panel on.
    dw: &'a mut [f64],
    dw_stride: usize,
}

/// In tiles of `M` classes × `V` vectors of features.
impl<T: Element> TileKernel<T> for Sum<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const M: usize, const V: usize>(self, proof: L::Proof) {
        let Sum { blocks, classes, panel, n_features, dw, dw_stride } = self;
        let width = panel_width::<L>();
        let features = width.min(n_features - panel * width);
        let zero = L::splat(proof, T::default());
        assert!(classes.start.is_multiple_of(M) && width.is_multiple_of(M));
        for block in blocks {
            assert!(block.x.len() >= (panel + 1) * block.panel_rows * width);
            assert!(block.ds.len() >= n_panels::<L>(classes.end) * block.panel_rows * width);
        }

        // A block's panel of X stays near for all classes, this part of dW for all blocks.
        for (i, blocks) in blocks.chunks(SPAN_BLOCKS).enumerate() {
            for class in classes.clone().step_by(M) {
                let dw = &mut dw[(class - classes.start) * dw_stride..];
                let n_classes = M.min(classes.end - class);
                if blocks.iter().all(|block| block.rows.of_tile(class / M).is_empty()) {
                    continue;
                }
                let mut lines = if i == 0 { 0..n_classes } else { 0..0 };
                let mut sums: Tile<L, M, V> = [[zero; V]; M];
                for block in blocks {
                    let numbers = class / width * block.panel_rows * width + class % width;
                    let numbers = block.ds.as_ptr().wrapping_add(numbers);
                    let vectors = block.x.as_ptr().wrapping_add(panel * block.panel_rows * width);
                    for rows in block.rows.of_tile(class / M).chunks(LINK * CHAIN) {
                        let mut link: Tile<L, M, V> = [[zero; V]; M];
                        for rows in rows.chunks(CHAIN) {
                            if let Some(i) = lines.next() {
                                // Little by little, as a burst would hold up the loads of the tile.
                                let line = dw[i * dw_stride..].as_ptr();
                                (0..=features)
                                    .step_by(8)
                                    .for_each(|l| prefetch(line.wrapping_add(l)));
                            }
                            let mut chain: Tile<L, M, V> = [[zero; V]; M];
                            let at = |k: usize| {
                                // SAFETY: `k` is less than the steps.
                                let row = unsafe { *rows.get_unchecked(k) } as usize * width;
                                (row, row)
                            };
                            // SAFETY: X has the panel and dS the panel of the classes, as asserted, the
                            // classes of a tile lying within one as their number divides its width; and
                            // `RowLists` has rows of the panels.
                            unsafe {
                                let steps = rows.len();
                                add_outer_products(
                                    proof, &mut chain, numbers, 1, vectors, steps, at,
                                );
                            }
                            add(&mut link, &chain);
                        }
                        add(&mut sums, &link);
                    }
                }
                for (i, sums) in store(sums).iter().enumerate().take(n_classes) {
                    let dw = &mut dw[i * dw_stride..][..features];
                    for (sums, dw) in sums.iter().zip(dw.chunks_mut(L::LANES)) {
                        add_widened(L::from_slice(proof, &sums.0), dw);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add<L: Lanes, const M: usize, const V: usize>(sums: &mut Tile<L, M, V>, terms: &Tile<L, M, V>) {
    for i in 0..M {
        for v in 0..V {
            sums[i][v] = sums[i][v] + terms[i][v];
        }
    }
}

/// Lists, for every tile of classes, the rows whose derivatives are not all zero.
pub(crate) struct ListRows<'a, T> {
    pub(crate) ds: &'a [T],
    pub(crate) n_classes: usize,
    pub(crate) n_rows: usize,
    pub(crate) panel_rows: usize,
    /// `stride` for each tile, as [`RowLists::ByTile`] describes.
    pub(crate) lists: &'a mut [u16],
    pub(crate) stride: usize,
}

impl<T: Element> Run<T> for ListRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) {
        let Self { ds, n_classes, n_rows, panel_rows, lists, stride } = self;
        let (m, width) = (tile_classes::<L>(), panel_width::<L>());
        assert!(n_rows < stride && n_rows <= panel_rows);
        for (tile, list) in lists.chunks_exact_mut(stride).take(n_classes.div_ceil(m)).enumerate() {
            let panel = &ds[tile * m / width * panel_rows * width..][..n_rows * width];
            let (count, rows) = list.split_first_mut().expect("room for the number of rows");
            let mut n = 0;
            for (row, ds) in panel.chunks_exact(width).enumerate() {
                let ds = &ds[tile * m % width..][..m];
                rows[n] = row as u16;
                n += usize::from(ds.iter().fold(false, |any, ds| any | (*ds != T::default())));
            }
            *count = n as u16;
        }
    }
}
