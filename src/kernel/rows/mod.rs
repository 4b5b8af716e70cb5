//! For few classes: the scores read the rows of X where they lie, and copy them for the gradient on the way. A
//! register tile spans a few rows, or vectors of features, and as many classes as fit; with few classes that is
//! nearly all of them, so panels of X would gain almost nothing.

mod gradient;
pub(super) mod pack;
mod scores;

use super::{
    Copies, PackedWeights, Plan, RowBlock, Shape, TaskGradient,
    block::{GROUP, LinesAhead},
    rows_within,
};
use crate::{
    LinearModel,
    batch::SampleRange,
    buffer::Buffer,
    element::Element,
    scores::ClassMajor,
    simd::{Lanes, MAX_LANES},
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
/// with 256 rows instead, an evaluation of 1000000 × 32 × 2 takes half as long again.
const MOST_ROWS: usize = 64;

/// The plan that reads rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows;

impl Plan for Rows {
    type Block<'a, T: Element> = CopiedRows<'a, T>;
    type Scores<'a, T: Element> = ClassMajor<'a, T>;

    const SHARES_GRADIENT: bool = false;

    fn block_rows<T: Element>(self, shape: Shape) -> usize {
        let least = match shape.n_features * size_of::<T>() * LEAST_ROWS {
            ..=LONG_BYTES => LEAST_ROWS,
            _ => LEAST_LONG_ROWS,
        };
        rows_within::<T>(BLOCK_BYTES, shape.n_features).clamp(least, MOST_ROWS)
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
    ) -> CopiedRows<'a, L::Elem> {
        let (rows, copy, sums) = copies.as_rows::<L>(proof, samples);
        CopiedRows::new::<L>(rows, copy, sums)
    }

    #[inline(always)]
    fn scores<'a, L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut CopiedRows<'_, L::Elem>,
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
        x: &mut CopiedRows<'_, L::Elem>,
        ds: &ClassMajor<'_, L::Elem>,
        gradient: &mut TaskGradient<L::Elem>,
        _: &mut [L::Elem],
    ) {
        gradient::accumulate::<L>(proof, x, ds, gradient);
    }
}

/// The rows of a block where they lie, and perhaps a copy of them, which the scores make as they read the rows for
/// the first classes: whole vectors, in aligned rows at an odd number of cache lines. The gradient reads a few
/// columns of all rows at a time; at the distances of most matrices, multiples of a power of two, these compete for
/// the same places in L1.
pub(crate) struct CopiedRows<'a, T> {
    rows: RowBlock<'a, T>,
    /// What is left of the next block to be asked for: by the scores one half, by the gradient the other.
    ahead: LinesAhead<'a, T>,
    copy: &'a mut [T],
    /// From one row of the copy to the next.
    stride: usize,
    /// For the scores: sums whose lanes are not yet added up.
    sums: &'a mut Buffer<T>,
}

impl<'a, T: Element> CopiedRows<'a, T> {
    #[inline(always)]
    fn new<L: Lanes<Elem = T>>(
        rows: RowBlock<'a, T>,
        copy: &'a mut Buffer<T>,
        sums: &'a mut Buffer<T>,
    ) -> Self {
        let stride = (rows.n_features().div_ceil(MAX_LANES) | 1) * MAX_LANES;
        let copied_rows = if Self::copies::<L>() { rows.padded_len() } else { 0 };
        copy.resize(copied_rows * stride);
        let ahead = rows.lines_ahead();
        Self { rows, ahead, copy: copy.as_mut_slice(), stride, sums }
    }

    /// Whether rows are copied. A copy costs as much as it saves where the registers hold the sums of so many
    /// classes that each line of X is read once in each product: an evaluation of 60000 × 784 × 10 takes a
    /// tenth less without it.
    const fn copies<L: Lanes>() -> bool {
        L::REGISTERS < 32
    }

    /// The starts of a group of rows as the gradient reads them: each is valid for reading `stride` elements of the
    /// copy, or as many as there are features.
    ///
    /// # Panics
    /// If there is no such group.
    #[inline(always)]
    fn group<L: Lanes<Elem = T>>(&self, first: usize) -> [*const T; GROUP] {
        if !Self::copies::<L>() {
            return self.rows.group(first);
        }
        let group = &self.copy[first * self.stride..][..GROUP * self.stride];
        core::array::from_fn(|i| group.as_ptr().wrapping_add(i * self.stride))
    }
}
