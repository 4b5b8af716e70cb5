//! dW += dSᵀ X for blocks of packed rows. Down the tile go classes, across it vectors of features; the
//! steps are the rows, whose derivatives are broadcast from the panels of dS. Rows whose derivatives are
//! all zero for the classes of a tile, as those by the hinge loss often are, can be left out.
//!
//! The first two [`Levels`] of the sums are as with few classes; those of the second level are added up over
//! [`THIRD_LEVEL`] blocks, and then added to dW in `f64`.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{
    n_panels, panel_width,
    terms::Terms,
    tile::{Tile, add_outer_products, store},
    vectors_in_panel,
};
use crate::{
    element::Element,
    kernel::tiles::{TileKernel, largest_many, many},
    simd::{Lanes, prefetch},
    summation::{Levels, THIRD_LEVEL},
};
use core::ops::Range;

/// Adds Σ_r ds_rk X_rl over the rows of all blocks to `dw[(k − classes.start) * dw_stride + l]` for
/// the given classes k and all features l. The classes start at a multiple of those of a tile.
#[inline(always)]
pub(super) fn accumulate<L: Lanes>(
    proof: L::Proof,
    blocks: &[Terms<'_, L::Elem>],
    classes: Range<usize>,
    n_features: usize,
    dw: &mut [f64],
    dw_stride: usize,
) {
    let (start, (mr, _)) = (classes.start, largest_many::<L>());
    // The last classes take half a tile, if they are no more, and it has enough sums to keep both FMA units busy.
    let rest = match classes.len() % mr {
        rest if mr == 8 && rest <= mr / 2 => rest,
        _ => 0,
    };
    let whole = classes.end - rest;
    for panel in 0..n_panels::<L>(n_features) {
        let vectors = vectors_in_panel::<L>(n_features, panel);
        for (mr, classes) in [(mr, classes.start..whole), (mr / 2, whole..classes.end)] {
            if !classes.is_empty() {
                let class = classes.start - start;
                let dw = &mut dw[class * dw_stride + panel * panel_width::<L>()..];
                let sum = Sum { blocks, classes, panel, n_features, dw, dw_stride };
                many::<L>(proof, (mr, vectors), sum);
            }
        }
    }
}

/// The gradient of some classes by a panel of features, and what is added to it.
struct Sum<'a, T> {
    blocks: &'a [Terms<'a, T>],
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
        let (mr, _) = largest_many::<L>();
        assert!(classes.start.is_multiple_of(M) && width.is_multiple_of(M));
        for block in blocks {
            assert!(block.x.len() >= (panel + 1) * block.panel_rows() * width);
            assert!(block.ds.len() >= n_panels::<L>(classes.end) * block.panel_rows() * width);
        }

        let levels = Levels::PACKED;
        // A block's panel of X stays in L1 or L2 for all classes, this part of dW for all blocks.
        for (i, blocks) in blocks.chunks(THIRD_LEVEL).enumerate() {
            for class in classes.clone().step_by(M) {
                let dw = &mut dw[(class - classes.start) * dw_stride..];
                let n_classes = M.min(classes.end - class);
                if blocks.iter().all(|block| block.rows_of_tile(class / mr).is_empty()) {
                    continue;
                }
                let mut lines = if i == 0 { 0..n_classes } else { 0..0 };
                let mut third: Tile<L, M, V> = [[zero; V]; M];
                for block in blocks {
                    let of_panel = block.panel_rows() * width;
                    let a = block.ds.as_ptr();
                    let a = a.wrapping_add(class / width * of_panel + class % width);
                    let b = block.x.as_ptr().wrapping_add(panel * of_panel);
                    for rows in block.rows_of_tile(class / mr).chunks(levels.second) {
                        let mut second: Tile<L, M, V> = [[zero; V]; M];
                        for rows in rows.chunks(levels.first) {
                            if let Some(i) = lines.next() {
                                // Little by little, as a burst would hold up the loads of the tile.
                                let line = dw[i * dw_stride..].as_ptr();
                                (0..=features)
                                    .step_by(8)
                                    .for_each(|l| prefetch(line.wrapping_add(l)));
                            }
                            let mut first: Tile<L, M, V> = [[zero; V]; M];
                            let at = |k: usize| {
                                // SAFETY: `k` is less than the steps.
                                let row = unsafe { *rows.get_unchecked(k) } as usize * width;
                                (row, row)
                            };
                            // SAFETY: X has the panel and dS the panel of the classes, as asserted, the
                            // classes of a tile lying within one as their number divides its width; and
                            // the lists have rows of the panels.
                            unsafe {
                                let steps = rows.len();
                                add_outer_products(proof, &mut first, a, 1, b, steps, at);
                            }
                            add(&mut second, &first);
                        }
                        add(&mut third, &second);
                    }
                }
                for (i, sums) in store(third).iter().enumerate().take(n_classes) {
                    let dw = &mut dw[i * dw_stride..][..features];
                    for (sums, dw) in sums.iter().zip(dw.chunks_mut(L::LANES)) {
                        L::from_slice(proof, &sums.0).add_widened(dw);
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
