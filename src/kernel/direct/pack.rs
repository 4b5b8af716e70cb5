//! W in the order in which the scores read it: for every tile of classes, vector after vector of
//! features, those of the tile's classes side by side. One stream of aligned loads, and zeros where the
//! features do not fill a vector.

use super::n_tiles;
use crate::{
    LinearModel,
    kernel::{PackedWeights, tile_start},
    simd::Lanes,
};

/// Some classes of packed weights.
pub(super) struct ClassTile<'a, T> {
    /// The first of the classes.
    pub(super) start: usize,
    /// For every vector of features, `bias.len()` vectors of weights.
    pub(super) weights: &'a [T],
    /// One a class.
    pub(super) bias: &'a [T],
}

/// Packs a model.
#[inline(always)]
pub(in crate::kernel) fn pack<L: Lanes>(
    model: &LinearModel<L::Elem>,
    packed: &mut PackedWeights<L::Elem>,
) {
    let (c, d) = (model.n_classes(), model.n_features());
    let vectors = d.div_ceil(L::LANES);
    packed.bias.resize(c);
    packed.bias.as_mut_slice().copy_from_slice(model.bias());
    packed.weights.resize(c * vectors * L::LANES);
    let packed = packed.weights.as_mut_slice();

    let n_tiles = n_tiles::<L>(c);
    for tile in 0..n_tiles {
        let classes = tile_start(c, n_tiles, tile)..tile_start(c, n_tiles, tile + 1);
        let packed = &mut packed[classes.start * vectors * L::LANES..];
        for (k, class) in classes.clone().enumerate() {
            let weights = &model.weights()[class * d..][..d];
            for (v, source) in weights.chunks(L::LANES).enumerate() {
                let target = &mut packed[(v * classes.len() + k) * L::LANES..][..L::LANES];
                target[..source.len()].copy_from_slice(source);
                target[source.len()..].fill(L::Elem::default());
            }
        }
    }
}

/// The tiles, for the lanes that packed them.
#[inline(always)]
pub(super) fn tiles<L: Lanes>(
    packed: &PackedWeights<L::Elem>,
) -> impl Iterator<Item = ClassTile<'_, L::Elem>> {
    let c = packed.n_classes;
    let row = packed.n_features.next_multiple_of(L::LANES);
    let n_tiles = n_tiles::<L>(c);
    (0..n_tiles).map(move |tile| {
        let (start, end) = (tile_start(c, n_tiles, tile), tile_start(c, n_tiles, tile + 1));
        ClassTile {
            start,
            weights: &packed.weights.as_slice()[start * row..end * row],
            bias: &packed.bias.as_slice()[start..end],
        }
    })
}
