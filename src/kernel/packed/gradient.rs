//! dW += dSᵀ X for a block of packed rows. Down the tile go classes, across it vectors of features; the
//! steps are the rows, whose derivatives are broadcast from the panels of dS.
//!
//! As with few classes, a register sums over [`CHAIN`] rows only; what it has is then added to a sum
//! over the block, and that to dW in `f64`.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{
    n_panels, panel_width,
    tile::{Numbers, Tile, add_outer_products, shape},
    vectors_in_panel,
};
use crate::{
    kernel::{CHAIN, add_widened},
    simd::{Lanes, prefetch},
};

/// Elements of dW in a cache line.
const LINE: usize = 64 / size_of::<f64>();

/// Cache lines of dW that are asked for with every chain.
const LINES_AHEAD: usize = 6;

/// Adds Σ_r dS[r][k] X[r][l] to `dw[k * dw_stride + l]` for all classes k and features l, where X and dS
/// are panels of `panel_rows` rows of which the first `n_rows` count. Up to the next multiple of the
/// lanes, the places behind the features are added zeros to.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "two matrices and a third, with their shapes")]
pub(crate) fn accumulate<L: Lanes>(
    proof: L::Proof,
    ds: &[L::Elem],
    n_classes: usize,
    x: &[L::Elem],
    n_features: usize,
    n_rows: usize,
    panel_rows: usize,
    dw: &mut [f64],
    dw_stride: usize,
) {
    let width = panel_width::<L>();
    assert!(n_rows <= panel_rows);
    assert!(x.len() >= n_panels::<L>(n_features) * panel_rows * width);
    assert!(ds.len() >= n_panels::<L>(n_classes) * panel_rows * width);

    let (down, _) = shape::<L>();
    for panel in 0..n_panels::<L>(n_features) {
        for class in (0..n_classes).step_by(down) {
            let dw = &mut dw[class * dw_stride + panel * width..];
            let classes = down.min(n_classes - class);
            let block = Block::<L> {
                proof,
                ds,
                class,
                classes,
                x,
                panel,
                n_rows,
                panel_rows,
                dw,
                dw_stride,
            };
            // SAFETY: the buffers hold all panels, as asserted; the classes of a tile lie within one, as
            // their number divides its width.
            unsafe {
                match (down, vectors_in_panel::<L>(n_features, panel)) {
                    (8, 3) => block.accumulate::<8, 3>(),
                    (8, 2) => block.accumulate::<8, 2>(),
                    (8, 1) => block.accumulate::<8, 1>(),
                    (4, 3) => block.accumulate::<4, 3>(),
                    (4, 2) => block.accumulate::<4, 2>(),
                    (4, 1) => block.accumulate::<4, 1>(),
                    (2, 2) => block.accumulate::<2, 2>(),
                    (2, 1) => block.accumulate::<2, 1>(),
                    shape => unreachable!("a tile of {shape:?}"),
                }
            }
        }
    }
}

/// One tile of dW and what is added to it.
struct Block<'a, L: Lanes> {
    proof: L::Proof,
    ds: &'a [L::Elem],
    class: usize,
    classes: usize,
    x: &'a [L::Elem],
    panel: usize,
    n_rows: usize,
    panel_rows: usize,
    /// From the first class and feature of the tile on.
    dw: &'a mut [f64],
    dw_stride: usize,
}

impl<L: Lanes> Block<'_, L> {
    /// # Safety
    /// The panels of dS must have the classes from `class` to `class + M` in one panel, X the panel `panel`,
    /// and both at least `n_rows` rows.
    #[inline(always)]
    unsafe fn accumulate<const M: usize, const V: usize>(self) {
        let Self { proof, ds, class, classes, x, panel, n_rows, panel_rows, dw, dw_stride } = self;
        let width = panel_width::<L>();
        let zero = L::splat(proof, L::Elem::default());
        let mut sums: Tile<L, M, V> = [[zero; V]; M];
        // dW is too large for the near caches. While the tile is summed it is brought near, little by little,
        // as a burst of requests would hold up those for X and dS.
        let mut lines =
            (0..classes).flat_map(|i| (0..V * L::LANES).step_by(LINE).map(move |l| (i, l)));
        for row in (0..n_rows).step_by(CHAIN) {
            for (i, l) in lines.by_ref().take(LINES_AHEAD) {
                prefetch(dw[i * dw_stride..].as_ptr().wrapping_add(l));
            }
            let mut chain: Tile<L, M, V> = [[zero; V]; M];
            // SAFETY: both buffers have the panels, and the panels the rows, up to `n_rows`.
            unsafe {
                let start = class / width * panel_rows * width + class % width;
                let start = ds.as_ptr().add(start + row * width);
                let numbers = Numbers { start, of_number: 1, of_step: width };
                let vectors = x.as_ptr().add((panel * panel_rows + row) * width);
                add_outer_products(proof, &mut chain, numbers, vectors, CHAIN.min(n_rows - row));
            }
            for i in 0..M {
                for v in 0..V {
                    sums[i][v] = sums[i][v] + chain[i][v];
                }
            }
        }
        for (i, sums) in sums.iter().enumerate().take(classes) {
            for (v, sums) in sums.iter().enumerate() {
                add_widened(*sums, &mut dw[i * dw_stride + v * L::LANES..][..L::LANES]);
            }
        }
    }
}
