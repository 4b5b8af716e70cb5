//! What dual ascent works on: the samples as it reads them, and the numbers that all of its parts share.

use super::ascent::ROWS;
use crate::{
    Batch, Error, Isa, Objective, Scalar,
    buffer::Buffer,
    element::Element,
    features::Storage,
    kernel::{Reading, copy_rows},
    simd::{Lanes, MAX_LANES, Run},
    train::{margins::Margins, shifted::Shifted},
};

/// How much longer the constant feature is, at least, than would let the bias move by Δ where the mean of the
/// derivatives is 1.
const BIAS_CURVATURE: f64 = 1e3;

/// Samples, shifted so that they have mean 0 (where they are dense) and with a constant feature behind the others.
#[derive(Debug)]
pub(crate) struct Problem<'a, T> {
    pub(super) batch: Batch<'a, T>,
    /// The loss, and the classes of the features as they are taken.
    pub(super) margins: Margins,
    /// λ.
    pub(super) l2: f64,
    pub(super) n_classes: usize,
    pub(super) n_features: usize,
    /// By what W changes with the derivatives of a sample of weight 1, times x: 1 / 2λZ.
    pub(super) per_weight: f64,
    /// The constant feature, whose weight stands for the bias.
    pub(super) constant: T,
    /// ‖x‖², the constant feature included.
    pub(super) squares: Vec<T>,
}

impl<'a, T: Scalar> Problem<'a, T> {
    /// `margins` have the sums of the features as they are seen.
    pub(super) fn new(
        objective: &Objective,
        isa: Isa,
        batch: &Batch<'a, T>,
        shifted: &'a Shifted,
        mut margins: Margins,
    ) -> Result<Self, Error> {
        let (n, d) = (batch.n_samples(), batch.n_features());
        let batch = shifted.batch(batch)?;
        let of_classes = margins.sums.chunks_exact_mut(d).zip(&margins.shares);
        for (sums, share) in of_classes {
            sums.iter_mut().zip(&shifted.by).for_each(|(sum, by)| *sum -= share * by);
        }
        let mut problem = Self {
            batch,
            l2: objective.l2(),
            n_classes: margins.shares.len(),
            n_features: d,
            per_weight: 0.5 / (objective.l2() * batch.total_weight()),
            constant: T::default(),
            squares: Vec::new(),
            margins,
        };
        let mut squares = vec![T::default(); n];
        let rows: Vec<u32> = (0..n).map(|i| problem.batch.row_index(i) as u32).collect();
        let batch = &problem.batch;
        T::row_squares(isa, RowSquares { batch, rows: &rows, squares: &mut squares });
        let mean = squares.iter().map(|square| square.to_f64() / n as f64).sum::<f64>();
        // The bias moves as easily as the weights do, and no less than is needed for small violations of its condition.
        let least = problem.l2 * problem.margins.margin.max(f64::MIN_POSITIVE) * BIAS_CURVATURE;
        problem.constant = T::from_f64(mean.max(least).sqrt());
        let constant = problem.constant.to_f64().powi(2);
        for square in &mut squares {
            *square = T::from_f64(square.to_f64() + constant);
        }
        problem.squares = squares;
        Ok(problem)
    }
}

impl<T: Element> Problem<'_, T> {
    /// A score that violates no margin.
    pub(super) fn never() -> T {
        T::from_f64(-0.25 * T::MAX.to_f64())
    }

    /// The label and the weight of a sample.
    pub(super) fn label_and_weight(&self, i: usize) -> (usize, f64) {
        let row = self.batch.row_index(i);
        (self.batch.labels()[row] as usize, self.batch.weight(row).to_f64())
    }

    /// A feature of a sparse row.
    #[inline(always)]
    pub(super) fn scaled(&self, value: T, feature: usize) -> T {
        scaled(&self.batch, value, feature)
    }
}

#[inline(always)]
fn scaled<T: Element>(batch: &Batch<'_, T>, value: T, feature: usize) -> T {
    match batch.features().scaling() {
        Some(scaling) => T::from_f64(value.to_f64() * scaling.scale(feature)),
        None => value,
    }
}

/// ‖x‖² of every sample.
pub struct RowSquares<'a, 'b, T> {
    batch: &'a Batch<'b, T>,
    /// The rows of the samples.
    rows: &'a [u32],
    squares: &'a mut [T],
}

impl<T: Element> Run<T> for RowSquares<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { batch, rows, squares } = self;
        let (n, d) = (batch.n_samples(), batch.n_features());
        if let Storage::Sparse(x) = batch.features().storage() {
            // Entries of the same feature add up.
            let mut sums = vec![0.0; d];
            for (row, square) in rows.iter().zip(squares) {
                let (indices, values) = x.row(*row as usize).expect("a row of X");
                let entries = || indices.iter().map(|index| *index as usize).zip(values);
                for (feature, value) in entries() {
                    sums[feature] += scaled(batch, *value, feature).to_f64();
                }
                let all = entries().map(|(feature, _)| core::mem::take(&mut sums[feature]).powi(2));
                *square = T::from_f64(all.sum());
            }
            return;
        }
        let (mut reading, mut copies) = (Reading::default(), Buffer::default());
        reading.begin(&batch.features());
        for first in (0..n).step_by(ROWS) {
            let block = first..n.min(first + ROWS);
            let samples = batch.rows(rows, block.clone());
            let stride = copy_rows::<L>(proof, &samples, &mut reading, &mut copies);
            for (square, x) in squares[block].iter_mut().zip(copies.as_slice().chunks_exact(stride))
            {
                let mut sum = L::splat(proof, T::default());
                for x in x[..d.next_multiple_of(L::LANES)].chunks_exact(L::LANES) {
                    let x = L::from_slice(proof, x);
                    sum = x.mul_add(x, sum);
                }
                let mut lanes = [T::default(); MAX_LANES];
                sum.write_to(&mut lanes);
                *square = T::from_f64(lanes.iter().map(|lane| lane.to_f64()).sum());
            }
        }
    }
}
