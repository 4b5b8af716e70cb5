//! The two matrix products, on a block of rows that stays in cache between them: the scores
//! S = X Wᵀ + b, and the gradient dW += dSᵀ X. There are two ways to compute them, for few classes and
//! for many; [`Path`] chooses.

mod block;
pub(crate) mod direct;
mod layout;
pub(crate) mod packed;
#[cfg(feature = "train")]
mod product;
mod transpose;
mod view;

pub(crate) use block::RowBlock;
pub(crate) use layout::Layout;
#[cfg(feature = "train")]
pub(crate) use product::{Strided, multiply};
pub(crate) use transpose::{copy_rows, copy_selected_rows, copy_stride};
pub(crate) use view::View;

use crate::{
    LinearModel, Scalar,
    buffer::Buffer,
    simd::{Lanes, Run},
};

/// How the products of a shape are computed, and so in which order the scores of a block are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Path {
    /// [`direct`]: the scores of a class side by side, one sample a lane.
    Direct,
    /// [`packed`]: the scores of a sample side by side, one class a lane.
    Packed,
}

impl Path {
    /// The faster path for so many classes.
    pub(crate) fn of(n_classes: usize) -> Self {
        if n_classes < PACKED_CLASSES { Self::Direct } else { Self::Packed }
    }
}

/// From this many classes on, X is packed. With 32 classes both ways take the same time within a tenth
/// (AVX-512), where rows have hundreds of features; with 100, packed is ahead by a tenth, with 16, direct
/// by a fifth. Short rows favour packing (by a quarter at 16 or 64 features and 37 classes), AVX2 reading
/// long ones directly (by a fifth up to 64 classes): the number of classes is what decides most.
const PACKED_CLASSES: usize = 33;

/// The lanes of the widest vectors, of which the scratch memory has whole numbers.
pub(crate) const MAX_LANES: usize = 16;

/// Rows that are summed in one register before it is added to a sum of sums.
const CHAIN: usize = 16;

/// W and b in the order in which a path reads them, packed once an evaluation.
#[derive(Debug, Default)]
pub(crate) struct PackedWeights<T> {
    weights: Buffer<T>,
    bias: Buffer<T>,
    n_classes: usize,
    n_features: usize,
}

impl<T> PackedWeights<T> {
    pub(crate) fn n_classes(&self) -> usize {
        self.n_classes
    }
}

/// Packs a model with the lanes that will read it. Takes O(C D).
pub struct Pack<'a, T> {
    pub(crate) path: Path,
    pub(crate) model: &'a LinearModel<T>,
    pub(crate) weights: &'a mut PackedWeights<T>,
}

impl<T: Scalar> Run<T> for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) {
        let Self { path, model, weights } = self;
        (weights.n_classes, weights.n_features) = (model.n_classes(), model.n_features());
        match path {
            Path::Direct => direct::pack::<L>(model, weights),
            Path::Packed => packed::pack::<L>(model, weights),
        }
    }
}

/// Where tile `i` starts when `n` things are covered by tiles as equal as can be.
const fn tile_start(n: usize, n_tiles: usize, i: usize) -> usize {
    // In two parts, as `n * i` may overflow.
    n / n_tiles * i + n % n_tiles * i / n_tiles
}

/// Adds the lanes to the first `f64` of `target`, as many as there are.
#[inline(always)]
fn add_widened<L: Lanes>(sums: L, target: &mut [f64]) {
    let mut lanes = [L::Elem::default(); MAX_LANES];
    sums.write_to(&mut lanes);
    for (target, lane) in target.iter_mut().zip(&lanes[..L::LANES]) {
        *target += lane.to_f64();
    }
}
