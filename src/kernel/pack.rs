//! W in the order in which the scores read it, packed once an evaluation: for every tile of classes,
//! vector after vector of features, those of the tile's classes side by side. One stream of aligned
//! loads, and zeros where the features do not fill a vector.

use super::{tile_classes, tile_start};
use crate::{
    LinearModel, Scalar,
    buffer::Buffer,
    simd::{Lanes, Run},
};

/// W, packed for the lanes that packed it, and b.
#[derive(Debug, Default)]
pub(crate) struct PackedWeights<T> {
    weights: Buffer<T>,
    bias: Buffer<T>,
    n_features: usize,
}

/// Some classes of packed weights.
pub(super) struct ClassTile<'a, T> {
    /// The first of the classes.
    pub(super) start: usize,
    /// For every vector of features, `bias.len()` vectors of weights.
    pub(super) weights: &'a [T],
    /// One a class.
    pub(super) bias: &'a [T],
}

impl<T: Scalar> PackedWeights<T> {
    #[inline(always)]
    fn pack<L: Lanes<Elem = T>>(&mut self, model: &LinearModel<T>) {
        let (c, d) = (model.n_classes(), model.n_features());
        let vectors = d.div_ceil(L::LANES);
        self.n_features = d;
        self.bias.resize(c);
        self.bias.as_mut_slice().copy_from_slice(model.bias());
        self.weights.resize(c * vectors * L::LANES);
        let packed = self.weights.as_mut_slice();

        let n_tiles = c.div_ceil(tile_classes::<L>());
        for tile in 0..n_tiles {
            let classes = tile_start(c, n_tiles, tile)..tile_start(c, n_tiles, tile + 1);
            let packed = &mut packed[classes.start * vectors * L::LANES..];
            for (k, class) in classes.clone().enumerate() {
                let weights = &model.weights()[class * d..][..d];
                for (v, source) in weights.chunks(L::LANES).enumerate() {
                    let target = &mut packed[(v * classes.len() + k) * L::LANES..][..L::LANES];
                    target[..source.len()].copy_from_slice(source);
                    target[source.len()..].fill(T::default());
                }
            }
        }
    }

    pub(crate) fn n_classes(&self) -> usize {
        self.bias.as_slice().len()
    }

    pub(super) fn n_features(&self) -> usize {
        self.n_features
    }

    /// The tiles, for the lanes that packed them.
    #[inline(always)]
    pub(super) fn tiles<L: Lanes<Elem = T>>(&self) -> impl Iterator<Item = ClassTile<'_, T>> {
        let c = self.n_classes();
        let vectors = self.n_features.div_ceil(L::LANES);
        let n_tiles = c.div_ceil(tile_classes::<L>());
        (0..n_tiles).map(move |tile| {
            let (start, end) = (tile_start(c, n_tiles, tile), tile_start(c, n_tiles, tile + 1));
            let row = vectors * L::LANES;
            ClassTile {
                start,
                weights: &self.weights.as_slice()[start * row..end * row],
                bias: &self.bias.as_slice()[start..end],
            }
        })
    }
}

/// Packs a model with the lanes that will read it. Takes O(C D).
pub(crate) struct Pack<'a, T> {
    pub(crate) weights: &'a mut PackedWeights<T>,
    pub(crate) model: &'a LinearModel<T>,
}

impl<T: Scalar> Run<T> for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) {
        self.weights.pack::<L>(self.model);
    }
}
