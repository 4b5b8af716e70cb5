//! The scores of a model by themselves, for predictions.

use crate::{
    Error, Isa, LinearModel, MatrixView, Scalar,
    batch::SampleRange,
    buffer::Buffer,
    diagnose,
    element::Element,
    kernel::{Copies, Pack, PackedWeights, Plan, PlanKind, Shape, with_plan},
    parallel::for_each_chunk,
    scores::ScoreBlock as _,
    simd::{Lanes, Run},
};

/// W x + b for every row, N × C in row-major order.
pub(crate) fn scores<T: Scalar>(
    model: &LinearModel<T>,
    x: MatrixView<'_, T>,
) -> Result<Vec<T>, Error> {
    model.check_features(x.cols())?;
    let c = model.n_classes();
    let size =
        x.rows().checked_mul(c).ok_or(Error::SizeOverflow { rows: x.rows(), row_stride: c })?;
    let mut scores = vec![T::default(); size];

    let isa = Isa::detect();
    let mut weights = PackedWeights::default();
    let plan = PlanKind::unpacked(x);
    T::pack(isa, Pack { plan, weights: &mut weights, model });
    let shape = Shape { n_samples: x.rows(), n_features: x.cols(), n_classes: c };
    let rows = plan.block_rows::<T>(shape);
    for_each_chunk(&mut scores, rows * c, |i, scores| {
        T::score_block(isa, ScoreBlock { weights: &weights, x, first: i * rows, scores });
    });

    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(i) => {
            let row = i / c;
            let cause = diagnose::score_cause(model, &x.row_elements(row).collect::<Vec<T>>());
            Err(Error::NonFinite { row, cause })
        }
    }
}

/// The scores of the rows from `first` on, as many as there are places for.
pub struct ScoreBlock<'a, T> {
    weights: &'a PackedWeights<T>,
    x: MatrixView<'a, T>,
    first: usize,
    scores: &'a mut [T],
}

impl<T: Element> Run<T> for ScoreBlock<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        with_plan!(PlanKind::unpacked(self.x), plan => L::call(proof, Planned(plan, self)));
    }
}

/// The same with its plan.
struct Planned<'a, P, T>(P, ScoreBlock<'a, T>);

impl<T: Element, P: Plan> Run<T> for Planned<'_, P, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self(plan, ScoreBlock { weights, x, first, scores }) = self;
        let (mut copies, mut memory) = (Copies::default(), Buffer::default());
        let c = weights.n_classes();
        let samples = SampleRange::rows(x, first..first + scores.len() / c);
        let block = plan.load::<L>(proof, &samples, &mut copies);
        let mut block = plan.scores::<L>(proof, &block, weights, &mut memory);
        for (i, scores) in scores.chunks_exact_mut(c).enumerate() {
            scores.iter_mut().enumerate().for_each(|(k, score)| *score = *block.at(i, k));
        }
    }
}
