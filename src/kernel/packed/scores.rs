//! S = X Wᵀ + b for a block of packed rows. Down the tile go rows, across it vectors of classes; the
//! steps are the features, whose numbers are broadcast from the panels of X.

use super::{
    n_panels, panel_width,
    tile::{Tile, add_outer_products, store},
    vectors_in_panel,
};
use crate::{
    Element,
    kernel::{
        PackedWeights,
        tiles::{TileKernel, largest_many, many},
    },
    simd::Lanes,
};

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
    let (c, width) = (weights.n_classes, panel_width::<L>());
    let (mr, _) = largest_many::<L>();
    for (panel, scores) in scores.chunks_mut(panel_rows * width).enumerate() {
        let rows = Rows { x, n_rows, panel_rows, weights, panel, scores };
        many::<L>(proof, (mr, vectors_in_panel::<L>(c, panel)), rows);
    }
}

/// The rows of a block and the weights of a panel of classes.
struct Rows<'a, T> {
    x: &'a [T],
    n_rows: usize,
    panel_rows: usize,
    weights: &'a PackedWeights<T>,
    /// The number of the panel of classes.
    panel: usize,
    /// That panel of S.
    scores: &'a mut [T],
}

/// Their scores, in tiles of `M` rows × `V` vectors of classes.
impl<T: Element> TileKernel<T> for Rows<'_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const M: usize, const V: usize>(self, proof: L::Proof) {
        let Rows { x, n_rows, panel_rows, weights, panel, scores } = self;
        let (d, width) = (weights.n_features, panel_width::<L>());
        let bias = &weights.bias.as_slice()[panel * width..][..width];
        let weights = &weights.weights.as_slice()[panel * d * width..][..d * width];
        assert!(n_rows <= panel_rows && panel_rows.is_multiple_of(M));
        assert!(x.len() >= n_panels::<L>(d) * panel_rows * width);

        for row in (0..n_rows).step_by(M) {
            let mut tile: Tile<L, M, V> = [[L::splat(proof, T::default()); V]; M];
            for feature in (0..d).step_by(width) {
                let numbers = x.as_ptr().wrapping_add(feature * panel_rows + row * width);
                let vectors = weights.as_ptr().wrapping_add(feature * width);
                let (steps, at) = (width.min(d - feature), |k| (k, k * width));
                // SAFETY: X has the panel that starts with `feature`, as asserted, and it the rows of
                // the tile, as their number divides that of the panel; the weights have the features.
                unsafe {
                    add_outer_products(proof, &mut tile, numbers, width, vectors, steps, at);
                }
            }
            let scores = &mut scores[row * width..][..M * width];
            for (sums, scores) in store(tile).iter().zip(scores.chunks_exact_mut(width)) {
                for v in 0..V {
                    let bias = L::from_slice(proof, &bias[v * L::LANES..]);
                    let scores = &mut scores[v * L::LANES..];
                    (L::from_slice(proof, &sums[v].0) + bias).write_to(scores);
                }
                scores[V * L::LANES..].fill(T::default());
            }
        }
    }
}
