//! For few classes: both products read the rows of X where they lie. A register tile spans a few rows, or
//! vectors of features, and as many classes as fit; with few classes that is nearly all of them, so a copy
//! of X in another order would gain almost nothing.

mod gradient;
pub(super) mod pack;
mod scores;

use super::{
    Copies, PackedWeights, Plan, RowBlock, Shape, TaskGradient, copies::InPlace, rows_within,
    tiles::largest_few,
};
use crate::{
    LinearModel, batch::SampleRange, buffer::Buffer, element::Element, scores::ClassMajor,
    simd::Lanes,
};

/// What of X a block may take up, so that it stays in L2: half of the 512 KiB that current processors have at
/// least.
const BLOCK_BYTES: usize = 256 << 10;

/// The plan that reads rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows;

impl Plan for Rows {
    type Block<'a, T: Element> = RowBlock<'a, T>;
    type Scores<'a, T: Element> = ClassMajor<'a, T>;

    const SHARES_GRADIENT: bool = false;

    fn block_rows<T: Element>(self, shape: Shape) -> usize {
        rows_within::<T>(BLOCK_BYTES, shape.n_features)
    }

    #[inline(always)]
    fn pack<L: Lanes>(self, model: &LinearModel<L::Elem>, packed: &mut PackedWeights<L::Elem>) {
        pack::pack::<L>(model, packed, L::LANES);
    }

    #[inline(always)]
    fn load<'a, L: Lanes>(
        self,
        _: L::Proof,
        samples: &SampleRange<'a, L::Elem>,
        copies: &'a mut Copies<L::Elem>,
    ) -> RowBlock<'a, L::Elem> {
        match copies.in_place(samples).0 {
            InPlace::Rows(rows) => rows,
            InPlace::Columns(_) => unreachable!("rows were chosen for columns"),
        }
    }

    #[inline(always)]
    fn scores<'a, L: Lanes>(
        self,
        proof: L::Proof,
        x: &RowBlock<'_, L::Elem>,
        weights: &PackedWeights<L::Elem>,
        memory: &'a mut Buffer<L::Elem>,
    ) -> ClassMajor<'a, L::Elem> {
        let mut scores = ClassMajor::new(memory, x.len(), weights.n_classes);
        scores::compute::<L>(proof, x, weights, &mut scores);
        scores
    }

    #[inline(always)]
    fn accumulate<L: Lanes>(
        self,
        proof: L::Proof,
        x: &RowBlock<'_, L::Elem>,
        ds: &ClassMajor<'_, L::Elem>,
        gradient: &mut TaskGradient,
    ) {
        gradient::accumulate::<L>(proof, x, ds, gradient.dw.as_mut_slice());
    }
}

/// The number of tiles that cover `n_classes`.
pub(super) const fn n_tiles<L: Lanes>(n_classes: usize) -> usize {
    n_classes.div_ceil(largest_few::<L>().0)
}
