//! For few classes and column-major features, and for short rows, copied as columns: both products read the
//! columns of X, one sample a lane. Of every column a block has a stretch, and each lies far from the next:
//! stretches are long, so that the way to them is worth it.

mod block;
mod gradient;
mod scores;

pub(crate) use block::Stretches;

use super::{Copies, MOST_ROWS, PackedWeights, Plan, Shape, TaskGradient, rows::pack};
use crate::{
    LinearModel, batch::SampleRange, buffer::Buffer, element::Element, scores::ClassMajor,
    simd::Lanes,
};

/// What of X a block may take up. It stays in L3 at best, as stretches of columns have to be long.
const BLOCK_BYTES: usize = 16 << 20;

/// The rows of a block that is too large for any cache. It is read from memory twice, up to a page of each
/// column at a time: with 256 rows instead, an evaluation of 10000 × 20000 × 10 takes a sixth more.
const PAGE_ROWS: usize = 1024;

/// The plan that reads columns.
#[derive(Clone, Copy)]
pub(crate) struct Columns;

impl Plan for Columns {
    type Block<'a, T: Element> = Stretches<'a, T>;
    type Scores<'a, T: Element> = ClassMajor<'a, T>;

    const SHARES_GRADIENT: bool = false;

    fn block_rows<T: Element>(self, shape: Shape) -> usize {
        match BLOCK_BYTES / size_of::<T>() / shape.n_features.max(1) {
            ..MOST_ROWS => PAGE_ROWS,
            _ => MOST_ROWS,
        }
    }

    #[inline(always)]
    fn pack<L: Lanes>(
        self,
        proof: L::Proof,
        model: &LinearModel<L::Elem>,
        packed: &mut PackedWeights<L::Elem>,
    ) {
        pack::pack::<L>(proof, model, packed, 1);
    }

    #[inline(always)]
    fn load<'a, L: Lanes>(
        self,
        proof: L::Proof,
        samples: &SampleRange<'a, L::Elem>,
        copies: &'a mut Copies<L::Elem>,
        _: bool,
    ) -> Stretches<'a, L::Elem> {
        Stretches::load::<L>(proof, samples, copies)
    }

    #[inline(always)]
    fn scores<'a, L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut Stretches<'_, L::Elem>,
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
        x: &mut Stretches<'_, L::Elem>,
        ds: &ClassMajor<'_, L::Elem>,
        gradient: &mut TaskGradient<L::Elem>,
        _: &mut [L::Elem],
    ) {
        gradient::accumulate::<L>(proof, x, ds, gradient.dw());
    }
}
