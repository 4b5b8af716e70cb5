//! The scores of a model by themselves, for predictions.

use crate::{
    Error, Isa, LinearModel, MatrixView, Scalar,
    buffer::Buffer,
    diagnose,
    kernel::{ColumnBlock, Pack, PackedWeights, Path, RowBlock, columns, direct},
    parallel::for_each_chunk,
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
    let path = Path::unpacked(x);
    T::pack(isa, Pack { path, weights: &mut weights, model });
    let rows = path.block_rows::<T>(x.cols());
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

impl<T: Scalar> Run<T> for ScoreBlock<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let c = self.weights.n_classes();
        let n = self.scores.len() / c;
        let (path, range) = (Path::unpacked(self.x), self.first..self.first + n);
        let stride = path.block_rows::<T>(self.x.cols());
        let mut by_class = Buffer::default();
        by_class.resize(c * stride);
        let target = by_class.as_mut_slice();
        if path == Path::Columns {
            let block = ColumnBlock::of_matrix(self.x, range);
            columns::scores::<L>(proof, &block, self.weights, target, stride);
        } else {
            let mut offsets = vec![0; stride];
            let block = RowBlock::of_matrix(self.x, range, &mut offsets);
            direct::scores::<L>(proof, &block, self.weights, target, stride);
        }
        for (i, scores) in self.scores.chunks_exact_mut(c).enumerate() {
            let of_row = by_class.as_slice()[i..].iter().step_by(stride);
            scores.iter_mut().zip(of_row).for_each(|(score, s)| *score = *s);
        }
    }
}
