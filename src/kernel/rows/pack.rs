//! W in the order in which the scores read it: for every tile of classes, step after step of features, those
//! of the tile's classes side by side. One stream of loads, and zeros where the features do not fill a step:
//! a vector where rows are read, one feature where columns are.

use crate::{
    LinearModel,
    kernel::{PackedWeights, tile_start, tiles::few_tiles},
    simd::Lanes,
};

/// Some classes of packed weights.
pub(in crate::kernel) struct ClassTile<'a, T> {
    /// The first of the classes.
    pub(in crate::kernel) start: usize,
    /// For every step of features, the weights of `bias.len()` classes.
    pub(in crate::kernel) weights: &'a [T],
    /// One a class.
    pub(in crate::kernel) bias: &'a [T],
}

/// Packs a model in steps of `step` features.
#[inline(always)]
pub(in crate::kernel) fn pack<L: Lanes>(
    proof: L::Proof,
    model: &LinearModel<L::Elem>,
    packed: &mut PackedWeights<L::Elem>,
    step: usize,
) {
    let (c, d) = (model.n_classes(), model.n_features());
    let steps = d.div_ceil(step);
    packed.bias.resize(c);
    packed.bias.as_mut_slice().copy_from_slice(model.bias());
    packed.weights.resize(c * steps * step);
    let packed = packed.weights.as_mut_slice();

    let (n_tiles, _) = few_tiles::<L>(c);
    for tile in 0..n_tiles {
        let classes = tile_start(c, n_tiles, tile)..tile_start(c, n_tiles, tile + 1);
        let packed = &mut packed[classes.start * steps * step..];
        for (k, class) in classes.clone().enumerate() {
            let weights = &model.weights()[class * d..][..d];
            for (i, source) in weights.chunks(step).enumerate() {
                let target = &mut packed[(i * classes.len() + k) * step..][..step];
                if source.len() == L::LANES {
                    L::from_slice(proof, source).write_to(target);
                    continue;
                }
                target[..source.len()].copy_from_slice(source);
                target[source.len()..].fill(L::Elem::default());
            }
        }
    }
}

/// The tiles, for the lanes that packed them.
#[inline(always)]
pub(in crate::kernel) fn tiles<L: Lanes>(
    packed: &PackedWeights<L::Elem>,
) -> impl Iterator<Item = ClassTile<'_, L::Elem>> {
    let c = packed.n_classes;
    let row = packed.weights.as_slice().len() / c;
    let (n_tiles, _) = few_tiles::<L>(c);
    (0..n_tiles).map(move |tile| {
        let (start, end) = (tile_start(c, n_tiles, tile), tile_start(c, n_tiles, tile + 1));
        ClassTile {
            start,
            weights: &packed.weights.as_slice()[start * row..end * row],
            bias: &packed.bias.as_slice()[start..end],
        }
    })
}
