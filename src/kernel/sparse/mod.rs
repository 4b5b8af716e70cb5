//! For sparse rows. The scores of a row are a sum over its entries of rows of W, which is kept feature by feature
//! for that; the gradient of a feature is a sum over the entries of its column of rows of dS. Both are the same
//! kernel ([`lines`]). X is transposed once for a batch and kept ([`Transposed`]); dS is kept for all samples,
//! or for as many as a round has ([`crate::schedule`]).
//!
//! By columns rather than by adding the terms of each row to a dW: so every entry of dW is a sum of its own, of
//! which nothing is shared between threads, in an order that does not depend on them; and there is one dW,
//! whatever the number of threads. It also is the faster way, as a sum stays in registers.

mod gradient;
mod lines;
mod transpose;
mod weights;

pub(crate) use gradient::{FoldColumns, fold_columns};
pub(crate) use transpose::Transposed;
pub(crate) use weights::{PackFeatures, pack_weights};

use super::{Copies, PackedWeights, Plan, Shape, TaskGradient, rows_within};
use crate::{
    CsrView, LinearModel,
    batch::{RowRange, SampleRange},
    buffer::Buffer,
    element::Element,
    features::Storage,
    scores::{ClassMajor, SampleMajor, ScoreBlock},
    simd::{Lanes, MAX_LANES},
};
use core::ops::Range;
use lines::{Lines, Sink, class_panels, sum_lines};

/// What the scores of a block may take up, so that they stay in L2 beside parts of W.
const SCORE_BYTES: usize = 128 << 10;

/// Up to this many classes scores are kept class by class, where a vector of samples has no empty lanes.
pub(super) const FEW_CLASSES: usize = 8;

/// The plan for sparse rows and up to [`FEW_CLASSES`].
#[derive(Clone, Copy)]
pub(crate) struct SparseFew;

/// The plan for sparse rows and more classes.
#[derive(Clone, Copy)]
pub(crate) struct SparseMany;

/// The rows of a block.
pub(crate) struct SparseBlock<'a, T> {
    x: CsrView<'a, T>,
    rows: RowRange<'a>,
}

impl<'a, T: Element> SparseBlock<'a, T> {
    fn new(samples: &SampleRange<'a, T>) -> Self {
        let Storage::Sparse(x) = samples.features().storage() else {
            unreachable!("plans for sparse rows are for these alone")
        };
        Self { x, rows: samples.rows().clone() }
    }
}

// SAFETY: a `CsrView` checks just that.
unsafe impl<T> Lines<T> for SparseBlock<'_, T> {
    fn entries(&self) -> (&[u32], &[T]) {
        self.x.entries()
    }

    fn n_indices(&self) -> usize {
        self.x.cols()
    }

    #[inline(always)]
    fn line(&self, line: usize) -> Range<usize> {
        let (pointers, row) = (self.x.row_pointers(), self.rows.row(line));
        pointers[row]..pointers[row + 1]
    }
}

macro_rules! sparse_plan {
    ($plan:ident, $scores:ident, $new:expr) => {
        impl Plan for $plan {
            type Block<'a, T: Element> = SparseBlock<'a, T>;
            type Scores<'a, T: Element> = $scores<'a, T>;

            const SHARES_GRADIENT: bool = true;
            const SPARSE: bool = true;

            fn block_rows<T: Element>(self, shape: Shape) -> usize {
                rows_within::<T>(SCORE_BYTES, shape.n_classes)
            }

            #[inline(always)]
            fn pack<L: Lanes>(
                self,
                _: L::Proof,
                model: &LinearModel<L::Elem>,
                packed: &mut PackedWeights<L::Elem>,
            ) {
                weights::pack_bias(model, packed);
            }

            #[inline(always)]
            fn load<'a, L: Lanes>(
                self,
                _: L::Proof,
                samples: &SampleRange<'a, L::Elem>,
                _: &'a mut Copies<L::Elem>,
                _: bool,
            ) -> SparseBlock<'a, L::Elem> {
                SparseBlock::new(samples)
            }

            #[inline(always)]
            fn scores<'a, L: Lanes>(
                self,
                proof: L::Proof,
                x: &mut SparseBlock<'_, L::Elem>,
                weights: &PackedWeights<L::Elem>,
                memory: &'a mut Buffer<L::Elem>,
            ) -> $scores<'a, L::Elem> {
                let (n, c) = (x.rows.len(), weights.n_classes);
                let mut scores = $new(memory, n, c);
                let table = weights.weights.as_slice();
                let mut sink = Scores { scores: &mut scores, bias: weights.bias.as_slice() };
                for (class, _) in class_panels::<L>(c) {
                    sum_lines::<L, _, _>(proof, x, 0..n, table, c, class, &mut sink);
                }
                scores
            }

            #[inline(always)]
            fn accumulate<L: Lanes>(
                self,
                _: L::Proof,
                _: &mut SparseBlock<'_, L::Elem>,
                ds: &$scores<'_, L::Elem>,
                _: &mut TaskGradient<L::Elem>,
                derivatives: &mut [L::Elem],
            ) {
                ds.write_rows(derivatives);
            }
        }
    };
}

sparse_plan!(SparseFew, ClassMajor, ClassMajor::new);
sparse_plan!(SparseMany, SampleMajor, |memory, n, c: usize| {
    SampleMajor::new(memory, n, c, c.next_multiple_of(MAX_LANES))
});

/// Adds the bias to the sums of a row.
struct Scores<'a, S, T> {
    scores: &'a mut S,
    /// Whole vectors.
    bias: &'a [T],
}

impl<T: Element, S: ScoreBlock<Elem = T>> Sink<T> for Scores<'_, S, T> {
    #[inline(always)]
    fn take<L: Lanes<Elem = T>, const V: usize>(
        &mut self,
        proof: L::Proof,
        line: usize,
        class: usize,
        sums: [L; V],
        wide: Option<&[f64]>,
    ) {
        let Self { scores, bias } = self;
        for (v, sums) in sums.into_iter().enumerate() {
            let class = class + v * L::LANES;
            let mut total = sums + L::from_slice(proof, &bias[class..]);
            if let Some(wide) = wide {
                let mut lanes = [T::default(); MAX_LANES];
                sums.write_to(&mut lanes);
                for ((lane, wide), bias) in
                    lanes.iter_mut().zip(&wide[v * L::LANES..]).zip(&bias[class..])
                {
                    *lane = T::from_f64(wide + lane.to_f64() + bias.to_f64());
                }
                total = L::from_slice(proof, &lanes);
            }
            scores.write_classes(line, class, total);
        }
    }
}
