//! The two matrix products, on a block of rows that stays in cache between them: the scores
//! S = X Wᵀ + b, and the gradient dW += dSᵀ X. There are several ways to compute them, each a [`Plan`]: for few
//! classes, where X is read where it lies, by [`Rows`] or by [`Columns`]; and for many, where it is packed into
//! [`Panels`]. Short rows are turned into columns. Sparse rows have plans of their own, [`SparseFew`] and
//! [`SparseMany`].

mod block;
mod columns;
mod copies;
mod panels;
mod plan;
#[cfg(feature = "train")]
mod product;
mod read;
mod recent;
mod rows;
mod sparse;
mod tiles;

use block::{ColumnBlock, RowBlock};
pub(crate) use columns::Columns;
pub(crate) use copies::Copies;
#[cfg(feature = "train")]
pub(crate) use copies::copy_rows;
use panels::RowLists;
pub(crate) use panels::{MAX_HELD, Panels, add_held};
pub(crate) use plan::Pack;
pub(crate) use plan::{Plan, PlanKind, Shape, pack, with_plan};
#[cfg(feature = "train")]
pub(crate) use product::{Strided, multiply};
#[cfg(feature = "train")]
pub(crate) use read::Reading;
use recent::RecentSums;
pub(crate) use rows::Rows;
pub(crate) use sparse::{
    FoldColumns, PackFeatures, SparseFew, SparseMany, Transposed, fold_columns,
};

use crate::{
    buffer::Buffer,
    element::Element,
    simd::{Lanes, MAX_LANES},
};

/// W and b in the order in which a plan reads them.
#[derive(Debug, Default)]
pub(crate) struct PackedWeights<T> {
    weights: Buffer<T>,
    bias: Buffer<T>,
    n_classes: usize,
    n_features: usize,
}

/// What a task contributes to the gradient, unless it is shared.
#[derive(Debug, Default)]
pub(crate) struct TaskGradient<T> {
    /// Σ wᵢ dLᵢ/dW of the task but for the recent sums, at the [`gradient_stride`].
    dw: Buffer<f64>,
    /// Whether anything was added to dW; if not, it is not even cleared.
    begun: bool,
    /// What is not yet part of dW.
    recent: RecentSums<T>,
    shape: [usize; 2],
    /// The rows of the last block that count; empty if there was none.
    rows: RowLists,
    sparse: bool,
    shared: bool,
}

impl<T: Element> TaskGradient<T> {
    /// Starts at zero. Many derivatives may be zero if they are `sparse`; all tasks add to one gradient if it is
    /// `shared`.
    pub(crate) fn clear(&mut self, weights: [usize; 2], sparse: bool, shared: bool) {
        self.begun = false;
        self.recent.clear();
        self.rows.clear();
        (self.shape, self.sparse, self.shared) = (weights, sparse, shared);
    }

    /// dW, to be added to.
    #[inline(always)]
    fn dw(&mut self) -> &mut [f64] {
        if !self.begun {
            let [n_classes, n_features] = self.shape;
            self.dw.resize(n_classes * gradient_stride(n_features));
            self.dw.as_mut_slice().fill(0.0);
            self.begun = true;
        }
        self.dw.as_mut_slice()
    }

    /// Adds the recent sums to dW.
    #[inline(always)]
    fn fold<L: Lanes<Elem = T>>(&mut self, proof: L::Proof) {
        let stride = gradient_stride(self.shape[1]);
        self.dw();
        for (class, dw) in self.dw.as_mut_slice().chunks_exact_mut(stride).enumerate() {
            self.recent.add_class::<L>(proof, class, dw);
        }
        self.recent.clear();
    }

    /// Adds the gradient of a class to `target`.
    #[inline(always)]
    pub(crate) fn add_class<L: Lanes<Elem = T>>(
        &self,
        proof: L::Proof,
        class: usize,
        target: &mut [f64],
    ) {
        if self.begun {
            let dw = &self.dw.as_slice()[class * gradient_stride(self.shape[1])..];
            target.iter_mut().zip(dw).for_each(|(sum, term)| *sum += term);
        }
        self.recent.add_class::<L>(proof, class, target);
    }
}

/// The places for each class in the gradient of a task: whole vectors of features, so that kernels need not
/// regard tails.
fn gradient_stride(n_features: usize) -> usize {
    n_features.next_multiple_of(MAX_LANES)
}

/// Where tile `i` starts when `n` items are covered by `n_tiles` tiles as evenly as possible, the larger ones last. The
/// divisions, which take as long as the scores of a few short rows, are the same for all tiles.
const fn tile_start(n: usize, n_tiles: usize, i: usize) -> usize {
    n / n_tiles * i + i.saturating_sub(n_tiles - n % n_tiles)
}

/// As many rows of `n_features` as take up at most `bytes`: whole vectors, at least one.
fn rows_within<T>(bytes: usize, n_features: usize) -> usize {
    let rows = bytes / size_of::<T>() / n_features.max(1);
    rows.clamp(MAX_LANES, MOST_ROWS) / MAX_LANES * MAX_LANES
}

/// Half of the L2 of a processor with the registers: 1 MiB or more with AVX-512, 512 KiB or less on many others. On one with
/// 512 KiB, an evaluation of 10000 × 3072 × 10, whose blocks take up 384 KiB, takes nine tenths of the time so, and one of
/// 1000 × 100000 × 10 half.
const fn half_of_l2<L: Lanes>() -> usize {
    match L::REGISTERS {
        32.. => 512 << 10,
        _ => 256 << 10,
    }
}

/// The most rows of a block, except for long columns: capped to bound scratch for short rows. Columns should
/// be no shorter either: each stretch of one is on another page than the next. With 96 rows instead
/// of 256, an evaluation of 50000 × 3072 × 10 takes two fifths more.
const MOST_ROWS: usize = 256;

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

/// Transposes a square of lanes: lane j of vector i becomes lane i of vector j. Every round exchanges the top
/// bit of the number of a lane with that of the number of its vector.
#[inline(always)]
fn transpose<L: Lanes>(square: &mut [L; MAX_LANES]) {
    let half = L::LANES / 2;
    for _ in 0..L::LANES.ilog2() {
        let before = *square;
        for i in 0..half {
            (square[2 * i], square[2 * i + 1]) = before[i].interleave(before[i + half]);
        }
    }
}
