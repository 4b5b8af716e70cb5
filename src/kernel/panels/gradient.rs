//! dW += dSᵀ X for blocks of packed rows. Down the tile go classes, across it vectors of features; the
//! steps are the rows, whose derivatives are broadcast from the panels of dS. Rows whose derivatives are
//! all zero for the classes of a tile, as those by the hinge loss often are, can be left out.
//!
//! The first two [`Levels`] of the sums are as with few classes; those of the second level are added up over
//! [`THIRD_LEVEL`] blocks, in memory, for a panel of classes by one of features, and then added to dW in `f64`.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{
    n_panels, n_tiles, panel_width,
    terms::Terms,
    tile::{Stored, Tile, add_outer_products},
    tile_class, vectors_in_panel,
};
use crate::{
    element::Element,
    kernel::{
        half_of_l2,
        tiles::{TileKernel, many},
    },
    simd::{Lanes, prefetch},
    summation::{Levels, THIRD_LEVEL},
};
use core::ops::Range;

/// Adds Σ_r ds_rk X_rl over the rows of all blocks to `dw[(k − classes.start) * dw_stride + l]` for
/// the given classes k and all features l. The classes start at a multiple of
/// [`MAX_LANES`](crate::simd::MAX_LANES).
#[inline(always)]
pub(super) fn accumulate<L: Lanes>(
    proof: L::Proof,
    blocks: &[Terms<'_, L::Elem>],
    classes: Range<usize>,
    n_features: usize,
    dw: &mut [f64],
    dw_stride: usize,
) {
    let width = panel_width::<L>();
    let class_bytes: usize =
        blocks.iter().map(|block| block.panel_rows() * size_of::<L::Elem>()).sum();
    // So many panels of dS stay in L2 while all features pass by.
    let in_l2 = (half_of_l2::<L>() / (width * class_bytes).max(1)).max(1);
    let (first, end) = (classes.start / width, classes.end.div_ceil(width));
    let mut sums = [[Stored::default(); MAX_VECTORS]; MAX_WIDTH];
    let sums = &mut sums[..width];
    for first in (first..end).step_by(in_l2) {
        for panel in 0..n_panels::<L>(n_features) {
            let features = width.min(n_features - panel * width);
            let vectors = vectors_in_panel::<L>(n_features, panel);
            // A panel of X and one of dS stay in L1 or L2 for all tiles, this part of dW for all blocks.
            for ds_panel in first..end.min(first + in_l2) {
                let start = classes.start.max(ds_panel * width);
                let of_panel = start..classes.end.min((ds_panel + 1) * width);
                let tiles = n_tiles::<L>(of_panel.start)..n_tiles::<L>(of_panel.end);
                let dw = &mut dw[(start - classes.start) * dw_stride + panel * width..];
                for blocks in blocks.chunks(THIRD_LEVEL) {
                    let counts = |block: &Terms<'_, _>| {
                        tiles.clone().any(|tile| !block.rows_of_tile(tile).is_empty())
                    };
                    if !blocks.iter().any(counts) {
                        continue;
                    }
                    sums.fill([Stored::default(); MAX_VECTORS]);
                    for (i, block) in blocks.iter().enumerate() {
                        let ahead = (i == 0).then_some((&*dw, dw_stride));
                        let mut rest = tiles.clone();
                        while let Some(tiles) = next_of_one_height::<L>(&mut rest, classes.end) {
                            let mr = height::<L>(tiles.start, classes.end);
                            let classes = of_panel.clone();
                            let sum = Sum { block, classes, tiles, panel, features, ahead, sums };
                            many::<L>(proof, (mr, vectors), sum);
                        }
                    }
                    let sums = &sums[start - ds_panel * width..][..of_panel.len()];
                    for (k, sums) in sums.iter().enumerate() {
                        let dw = &mut dw[k * dw_stride..][..features];
                        for (sums, dw) in sums.iter().zip(dw.chunks_mut(L::LANES)) {
                            L::from_slice(proof, &sums.0).add_widened(dw);
                        }
                    }
                }
            }
        }
    }
}

/// Takes those of the next tiles that are as high as the first one is, which one kernel computes.
#[inline(always)]
fn next_of_one_height<L: Lanes>(
    tiles: &mut Range<usize>,
    n_classes: usize,
) -> Option<Range<usize>> {
    let first = tiles.next()?;
    let of_first = height::<L>(first, n_classes);
    let others = tiles.clone().take_while(|&tile| height::<L>(tile, n_classes) == of_first);
    tiles.start += others.count();
    Some(first..tiles.start)
}

/// The classes and the vectors of features of the largest panels.
const MAX_WIDTH: usize = 48;
const MAX_VECTORS: usize = 3;

/// The classes that a tile computes. The last ones take half a tile, if they are no more, and it has enough sums to keep both
/// FMA units busy.
#[inline(always)]
fn height<L: Lanes>(tile: usize, n_classes: usize) -> usize {
    let class = tile_class::<L>(tile);
    match tile_class::<L>(tile + 1) - class {
        8 if n_classes - class <= 4 => 4,
        height => height,
    }
}

/// Sums of some tiles of a panel of dS by a panel of X, and what a block adds to them.
struct Sum<'a, T> {
    block: &'a Terms<'a, T>,
    /// Those of the panel of dS, or some of them.
    classes: Range<usize>,
    tiles: Range<usize>,
    /// The number of the panel of X.
    panel: usize,
    /// The features that it has.
    features: usize,
    /// Where the sums will be added, from the first of the classes and features on, and the distance between classes,
    /// if it is to be asked for.
    ahead: Option<(&'a [f64], usize)>,
    /// Of the third level, for each class of the whole panel.
    sums: &'a mut [[Stored<T>; MAX_VECTORS]],
}

/// In tiles of `M` classes × `V` vectors of features.
impl<T: Element> TileKernel<T> for Sum<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const M: usize, const V: usize>(self, proof: L::Proof) {
        let Sum { block, classes, tiles, panel, features, ahead, sums } = self;
        let (width, of_panel) = (panel_width::<L>(), block.panel_rows() * panel_width::<L>());
        let zero = L::splat(proof, T::default());
        let ds_panel = classes.start / width;
        assert!(block.x.len() >= (panel + 1) * of_panel);
        assert!(block.ds.len() >= (ds_panel + 1) * of_panel);
        let b = block.x.as_ptr().wrapping_add(panel * of_panel);

        let levels = Levels::PACKED;
        for tile in tiles {
            let class = tile_class::<L>(tile);
            let mut lines = class - classes.start..class - classes.start + M;
            let class = class - ds_panel * width;
            assert!(class + M <= width);
            let a = block.ds.as_ptr().wrapping_add(ds_panel * of_panel + class);
            for rows in block.rows_of_tile(tile).chunks(levels.second) {
                let mut second: Tile<L, M, V> = [[zero; V]; M];
                for rows in rows.chunks(levels.first) {
                    if let (Some((dw, dw_stride)), Some(i)) = (ahead, lines.next()) {
                        // Little by little, as a burst would hold up the loads of the tile.
                        let line = dw.as_ptr().wrapping_add(i * dw_stride);
                        (0..=features).step_by(8).for_each(|l| prefetch(line.wrapping_add(l)));
                    }
                    let mut first: Tile<L, M, V> = [[zero; V]; M];
                    let steps = rows.len();
                    // SAFETY: X and dS have the panels, as asserted, and the panel of dS the classes; and the lists
                    // have rows of the panels, and there are as many as steps.
                    unsafe {
                        if block.has_all_rows() {
                            // One after the other, without looking them up: 2 to 4 % of an evaluation.
                            let start = rows[0] as usize;
                            let at = |k: usize| ((start + k) * width, (start + k) * width);
                            add_outer_products(proof, &mut first, a, 1, b, steps, at);
                        } else {
                            let at = |k: usize| {
                                let row = *rows.get_unchecked(k) as usize * width;
                                (row, row)
                            };
                            add_outer_products(proof, &mut first, a, 1, b, steps, at);
                        }
                    }
                    add(&mut second, &first);
                }
                let sums = &mut sums[class..][..M];
                for m in 0..M {
                    for v in 0..V {
                        let sum = &mut sums[m][v].0;
                        (L::from_slice(proof, sum) + second[m][v]).write_to(sum);
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
