//! For few classes: both products read the rows of X where they lie. A register tile spans a few rows, or vectors of
//! features, and as many classes as fit; with few classes that is nearly all of them, so panels of X would gain almost
//! nothing.

mod gradient;
pub(super) mod pack;
mod scores;

use super::{
    Copies, PackedWeights, Plan, RowBlock, Shape, TaskGradient,
    block::LinesAhead,
    copies::{RowCopy, SampleRows},
    half_of_l2,
    plan::SHORT_ROW,
    rows_within,
};
use crate::{
    LinearModel, batch::SampleRange, buffer::Buffer, element::Element, scores::ClassMajor,
    simd::Lanes,
};

/// What of X a block may take up: so little that L2, of which current processors have at least 512 KiB, holds it, the
/// next one and W. With twice as much, an evaluation of 60000 × 784 × 10 takes a tenth more.
const BLOCK_BYTES: usize = 128 << 10;

/// The least rows of a block: for fewer, adding their sums to dW in `f64` would be much of the work. With 16
/// instead, an evaluation of 4000 × 3072 × 10 takes a fifth more.
const LEAST_ROWS: usize = 32;

/// Where so few rows take up more than this, a block stays in L3 at best. The fewer of them there are, the sooner it is
/// read again: with 32 rows instead, an evaluation of 1000 × 100000 × 10 takes a third more.
const LONG_BYTES: usize = 512 << 10;
const LEAST_LONG_ROWS: usize = 16;

/// The most rows of a block. The losses ask for nothing from memory, so that long blocks of short rows leave it idle:
/// with 128 rows instead, an evaluation of 500000 × 100 × 3 takes a twentieth more.
const MOST_ROWS: usize = 64;

/// The same of rows so short that what a block takes besides its products counts: with 64 rows instead, an evaluation of
/// 1000000 × 32 × 2 takes a twentieth more.
const MOST_SHORT_ROWS: usize = 128;

/// The plan that reads rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows;

impl Plan for Rows {
    type Block<'a, T: Element> = RowsInPlace<'a, T>;
    type Scores<'a, T: Element> = ClassMajor<'a, T>;

    const SHARES_GRADIENT: bool = false;

    fn block_rows<T: Element>(self, shape: Shape) -> usize {
        let least = match shape.n_features * size_of::<T>() * LEAST_ROWS {
            ..=LONG_BYTES => LEAST_ROWS,
            _ => LEAST_LONG_ROWS,
        };
        let most = if shape.n_features <= SHORT_ROW { MOST_SHORT_ROWS } else { MOST_ROWS };
        rows_within::<T>(BLOCK_BYTES, shape.n_features).clamp(least, most)
    }

    #[inline(always)]
    fn pack<L: Lanes>(
        self,
        proof: L::Proof,
        model: &LinearModel<L::Elem>,
        packed: &mut PackedWeights<L::Elem>,
    ) {
        pack::pack::<L>(proof, model, packed, L::LANES);
    }

    #[inline(always)]
    fn load<'a, L: Lanes>(
        self,
        proof: L::Proof,
        samples: &SampleRange<'a, L::Elem>,
        copies: &'a mut Copies<L::Elem>,
        again: bool,
    ) -> RowsInPlace<'a, L::Elem> {
        let bytes = samples.len() * samples.features().cols() * size_of::<L::Elem>();
        // A copy that is not in L2 takes longer than it saves.
        let again = again && bytes <= 2 * half_of_l2::<L>();
        let SampleRows { rows, ahead, copy, sums } = copies.as_rows::<L>(proof, samples, again);
        RowsInPlace { rows, long: bytes > half_of_l2::<L>(), ahead, copy, sums }
    }

    #[inline(always)]
    fn scores<'a, L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut RowsInPlace<'_, L::Elem>,
        weights: &PackedWeights<L::Elem>,
        memory: &'a mut Buffer<L::Elem>,
    ) -> ClassMajor<'a, L::Elem> {
        let mut scores = ClassMajor::new(memory, x.rows.len(), weights.n_classes);
        scores::compute::<L>(proof, x, weights, &mut scores);
        scores
    }

    #[inline(always)]
    fn accumulate<L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut RowsInPlace<'_, L::Elem>,
        ds: &ClassMajor<'_, L::Elem>,
        gradient: &mut TaskGradient<L::Elem>,
        _: &mut [L::Elem],
    ) {
        gradient::accumulate::<L>(proof, x, ds, gradient);
    }
}

/// The rows of a block where they lie.
pub(crate) struct RowsInPlace<'a, T> {
    rows: RowBlock<'a, T>,
    /// Whether they are too many bytes for the next block to be brought into L2 beside them. Then the scores ask for
    /// the rows that they read next, and the gradient for the features.
    long: bool,
    /// What is left of the next block to be asked for: by the scores one half, by the gradient the other.
    ahead: LinesAhead<'a>,
    /// If the rows [compete](RowBlock::compete), where the scores can copy them for the gradient.
    copy: Option<RowCopy<'a, T>>,
    /// For the scores: sums whose lanes are not yet added up.
    sums: &'a mut Buffer<T>,
}
