//! S = X Wᵀ + b for a block of packed rows. Down the tile go rows, across it vectors of classes; the
//! steps are the features, whose numbers are broadcast from the panels of X.

use super::{
    tile::{Numbers, Vectors, add_outer_products, shape},
    tiles,
};
use crate::{kernel::PackedWeights, simd::Lanes};

/// Writes the scores of the first `n_rows` rows into panels of S: that of row r for class k to
/// `scores[(k / LANES * panel_rows + r) * LANES + k % LANES]`. Classes that fill up the last panel get
/// the score 0; rows up to the next multiple of 8 are written too, with whatever the panels of X hold.
#[inline(always)]
pub(crate) fn scores<L: Lanes>(
    proof: L::Proof,
    x: &[L::Elem],
    n_rows: usize,
    panel_rows: usize,
    weights: &PackedWeights<L::Elem>,
    scores: &mut [L::Elem],
) {
    let d = weights.n_features;
    let panels = weights.n_classes.div_ceil(L::LANES);
    assert!(n_rows <= panel_rows && panel_rows.is_multiple_of(8));
    assert!(x.len() >= d.div_ceil(L::LANES) * panel_rows * L::LANES);
    assert!(weights.weights.as_slice().len() >= panels * d * L::LANES);
    assert!(scores.len() >= panels * panel_rows * L::LANES);

    let (down, across) = shape::<L>();
    for (panel, width) in tiles(panels, across) {
        for row in (0..n_rows).step_by(down) {
            let block = Block::<L> { proof, x, row, panel_rows, weights, panel, scores };
            // SAFETY: the buffers hold all panels, as asserted, and each of the panels the rows of the
            // tile, as their number is a multiple of the rows of a tile.
            unsafe {
                match (down, width) {
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
    /// The panels of X must have the rows from `row` to `row + M`, the weights the panels from `panel`
    /// to `panel + V`.
    #[inline(always)]
    unsafe fn scores<const M: usize, const V: usize>(self) {
        let Self { proof, x, row, panel_rows, weights, panel, scores } = self;
        let d = weights.n_features;
        let mut tile = [[L::splat(proof, L::Elem::default()); V]; M];
        let of_vector = d * L::LANES;
        for feature in (0..d).step_by(L::LANES) {
            let steps = L::LANES.min(d - feature);
            // SAFETY: the panel of X that starts with `feature` has the rows, that of W the features.
            unsafe {
                let start = x.as_ptr().add(feature * panel_rows + row * L::LANES);
                let numbers = Numbers { start, of_number: L::LANES, of_step: 1 };
                let start = weights.weights.as_slice().as_ptr();
                let start = start.add((panel * d + feature) * L::LANES);
                let vectors = Vectors { start, of_vector };
                add_outer_products(proof, &mut tile, numbers, vectors, steps);
            }
        }
        for (v, bias) in
            weights.bias.as_slice()[panel * L::LANES..].chunks_exact(L::LANES).enumerate().take(V)
        {
            let bias = L::from_slice(proof, bias);
            for (i, sums) in tile.iter().enumerate() {
                let target = ((panel + v) * panel_rows + row + i) * L::LANES;
                (sums[v] + bias).write_to(&mut scores[target..]);
            }
        }
    }
}
