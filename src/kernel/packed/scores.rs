//! S = X Wᵀ + b for a block of packed rows. Down the tile go rows, across it vectors of classes; the
//! steps are the features, whose numbers are broadcast from the panels of X.

use super::{
    n_panels, panel_width,
    tile::{Numbers, add_outer_products, shape},
    vectors_in_panel,
};
use crate::{kernel::PackedWeights, simd::Lanes};

/// Writes the scores of the first `n_rows` rows into panels of S, of `panel_rows` rows each. Classes that
/// fill up the last panel get the score 0; rows up to the next multiple of 8 are written too, with whatever
/// the panels of X hold.
#[inline(always)]
pub(crate) fn scores<L: Lanes>(
    proof: L::Proof,
    x: &[L::Elem],
    n_rows: usize,
    panel_rows: usize,
    weights: &PackedWeights<L::Elem>,
    scores: &mut [L::Elem],
) {
    let (c, d, width) = (weights.n_classes, weights.n_features, panel_width::<L>());
    assert!(n_rows <= panel_rows && panel_rows.is_multiple_of(8));
    assert!(x.len() >= n_panels::<L>(d) * panel_rows * width);
    assert!(weights.weights.as_slice().len() >= n_panels::<L>(c) * d * width);
    assert!(scores.len() >= n_panels::<L>(c) * panel_rows * width);

    let (down, _) = shape::<L>();
    for panel in 0..n_panels::<L>(c) {
        for row in (0..n_rows).step_by(down) {
            let block = Block::<L> { proof, x, row, panel_rows, weights, panel, scores };
            // SAFETY: the buffers hold all panels, as asserted, and each of the panels the rows of the
            // tile, as their number is a multiple of the rows of a tile.
            unsafe {
                match (down, vectors_in_panel::<L>(c, panel)) {
                    (8, 3) => block.scores::<8, 3>(),
                    (8, 2) => block.scores::<8, 2>(),
                    (8, 1) => block.scores::<8, 1>(),
                    (4, 3) => block.scores::<4, 3>(),
                    (4, 2) => block.scores::<4, 2>(),
                    (4, 1) => block.scores::<4, 1>(),
                    (2, 2) => block.scores::<2, 2>(),
                    (2, 1) => block.scores::<2, 1>(),
                    shape => unreachable!("a tile of {shape:?}"),
                }
            }
        }
    }
}

/// One tile of S and what it is computed from.
struct Block<'a, L: Lanes> {
    proof: L::Proof,
    x: &'a [L::Elem],
    row: usize,
    panel_rows: usize,
    weights: &'a PackedWeights<L::Elem>,
    panel: usize,
    scores: &'a mut [L::Elem],
}

impl<L: Lanes> Block<'_, L> {
    /// # Safety
    /// The panels of X must have the rows from `row` to `row + M`, the weights the panel.
    #[inline(always)]
    unsafe fn scores<const M: usize, const V: usize>(self) {
        let Self { proof, x, row, panel_rows, weights, panel, scores } = self;
        let (d, width) = (weights.n_features, panel_width::<L>());
        let mut tile = [[L::splat(proof, L::Elem::default()); V]; M];
        for feature in (0..d).step_by(width) {
            let steps = width.min(d - feature);
            // SAFETY: the panel of X that starts with `feature` has the rows, that of W the features.
            unsafe {
                let start = x.as_ptr().add(feature * panel_rows + row * width);
                let numbers = Numbers { start, of_number: width, of_step: 1 };
                let vectors =
                    weights.weights.as_slice().as_ptr().add((panel * d + feature) * width);
                add_outer_products(proof, &mut tile, numbers, vectors, steps);
            }
        }
        let bias = &weights.bias.as_slice()[panel * width..];
        let scores = &mut scores[(panel * panel_rows + row) * width..];
        for v in 0..V {
            let bias = L::from_slice(proof, &bias[v * L::LANES..]);
            for (i, sums) in tile.iter().enumerate() {
                (sums[v] + bias).write_to(&mut scores[i * width + v * L::LANES..]);
            }
        }
        if V * L::LANES < width {
            for scores in scores.chunks_mut(width).take(M) {
                scores[V * L::LANES..width].fill(L::Elem::default());
            }
        }
    }
}
