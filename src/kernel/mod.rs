//! The two matrix products, on a block of rows that stays in cache between them: the scores
//! S = X Wᵀ + b, and the gradient dW += dSᵀ X. There are three ways to compute them: for few classes, where
//! X is read where it lies, by rows or by columns, and for many; [`Path`] chooses. Short rows are turned into
//! columns.

mod block;
pub(crate) mod columns;
pub(crate) mod direct;
mod gather;
mod layout;
pub(crate) mod packed;
#[cfg(feature = "train")]
mod product;
mod tiles;

pub(crate) use block::{Block, ColumnBlock, RowBlock};
pub(crate) use gather::Gather;
pub(crate) use layout::Layout;
#[cfg(feature = "train")]
pub(crate) use product::{Strided, multiply};

use crate::{
    Batch, Element, LinearModel, MatrixView,
    buffer::Buffer,
    simd::{Lanes, MAX_LANES, Run},
};

/// How the products of a shape are computed, and so in which order the scores of a block are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Path {
    /// [`direct`]: the scores of a class side by side, one sample a lane.
    Direct,
    /// [`columns`]: the same order.
    Columns,
    /// [`packed`]: the scores of a sample side by side, one class a lane.
    Packed,
}

impl Path {
    /// The fastest path for so many classes.
    pub(crate) fn of<T: Element>(batch: &Batch<'_, T>, n_classes: usize) -> Self {
        match batch.selection() {
            _ if batch.n_features() <= SHORT_ROW.min(2 * n_classes) => Self::Columns,
            _ if n_classes >= PACKED_CLASSES => Self::Packed,
            None => Self::unpacked(batch.features()),
            // Gathered into rows.
            Some(_) => Self::Direct,
        }
    }

    /// The path that reads features where they lie.
    pub(crate) fn unpacked<T: Element>(x: MatrixView<'_, T>) -> Self {
        if x.col_stride() == 1 { Self::Direct } else { Self::Columns }
    }
}

/// From this many classes on, X is packed. With 32 classes both ways take the same time within a tenth
/// (AVX-512), where rows have hundreds of features; with 100, packed is ahead by a tenth, with 16, direct
/// by a fifth. Short rows favour packing (by a quarter at 16 or 64 features and 37 classes), AVX2 reading
/// long ones directly (by a fifth up to 64 classes): the number of classes is what decides most.
const PACKED_CLASSES: usize = 33;

/// Rows of so few features are short, and fill no register tile: they are copied as columns, if there are also
/// enough classes to make up for the copy. With 26 classes and 16 features that takes two thirds of the time
/// (AVX-512) or three quarters (AVX2); with 10 and 16 three quarters, or as long.
const SHORT_ROW: usize = 32;

/// Terms that are summed in one register before it is added to a sum of sums.
pub(crate) const CHAIN: usize = 16;

/// Up to so many features, the products are the smaller part of the work, and the sums of a gradient are shorter.
const FEW_FEATURES: usize = 64;

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

impl<T: Element> Run<T> for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) {
        let Self { path, model, weights } = self;
        (weights.n_classes, weights.n_features) = (model.n_classes(), model.n_features());
        match path {
            Path::Direct => direct::pack::<L>(model, weights, L::LANES),
            Path::Columns => direct::pack::<L>(model, weights, 1),
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

/// The sum of the lanes of each vector.
#[inline(always)]
fn sum_lanes<L: Lanes, const N: usize, const M: usize>(vectors: [[L; N]; M]) -> [[L::Elem; N]; M] {
    let mut totals = [[L::Elem::default(); N]; M];
    for first in (0..M * N).step_by(4) {
        // The last one again, where there are no four.
        let place = |i: usize| ((first + i).min(M * N - 1) / N, (first + i).min(M * N - 1) % N);
        let four = L::sum4(core::array::from_fn(|i| vectors[place(i).0][place(i).1]));
        for (i, total) in four.into_iter().enumerate() {
            totals[place(i).0][place(i).1] = total;
        }
    }
    totals
}
