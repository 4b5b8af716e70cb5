//! What a block of rows is to be scored against: the label and the weight of each sample; and, once it has
//! been, its loss.

use crate::{
    Batch,
    buffer::Buffer,
    element::Element,
    scores::ScoreBlock,
    simd::{Lanes, MAX_LANES},
    summation::sum_halves,
};
use core::ops::Range;

/// The targets of a block, in whole vectors: samples that fill up the last one have the weight 0.
#[derive(Debug, Default)]
pub(crate) struct Targets<T> {
    labels: Vec<u32>,
    /// The same as numbers, −1 past the last one.
    label_numbers: Buffer<T>,
    weights: Buffer<T>,
    /// −∞, the score of each label, or the derivative with respect to it.
    label_scores: Buffer<T>,
    /// The losses, not yet weighted.
    losses: Buffer<T>,
    /// The scores of the labels along a direction.
    direction: Buffer<T>,
}

impl<T: Element> Targets<T> {
    /// Loads the targets of the samples `range`. An error is the first one whose label is no class, and the label.
    #[inline(always)]
    pub(crate) fn load(
        &mut self,
        batch: &Batch<'_, T>,
        range: Range<usize>,
        n_classes: usize,
    ) -> Result<(), (usize, u32)> {
        let n = range.len();
        self.labels.clear();
        match batch.selection() {
            None => self.labels.extend_from_slice(&batch.labels()[range.clone()]),
            Some(rows) => {
                let rows = rows[range.clone()].iter();
                self.labels.extend(rows.map(|row| batch.labels()[*row as usize]));
            }
        }
        let is_class = |label: u32| (label as usize) < n_classes;
        if !self.labels.iter().fold(true, |all, label| all & is_class(*label)) {
            let invalid = self.labels.iter().position(|label| !is_class(*label));
            let i = invalid.expect("an out-of-range label");
            return Err((i, self.labels[i]));
        }

        let padded = n.next_multiple_of(MAX_LANES);
        self.losses.resize(padded);
        self.weights.resize(padded);
        let weights = self.weights.as_mut_slice();
        batch.write_weights(range.start, &mut weights[..n]);
        weights[n..].fill(T::default());
        self.label_numbers.resize(padded);
        let (numbers, padding) = self.label_numbers.as_mut_slice().split_at_mut(n);
        let labels = numbers.iter_mut().zip(&self.labels);
        labels.for_each(|(number, label)| *number = T::from_f64(f64::from(*label)));
        padding.fill(T::from_f64(-1.0));
        self.label_scores.resize(padded);
        let label_scores = self.label_scores.as_mut_slice();
        label_scores[..n].fill(T::from_f64(f64::NEG_INFINITY));
        label_scores[n..].fill(T::default());
        Ok(())
    }

    /// Exchanges the scores of the labels with what is kept here.
    #[inline(always)]
    pub(super) fn swap_labels<L: Lanes<Elem = T>>(
        &mut self,
        proof: L::Proof,
        scores: &mut impl ScoreBlock<Elem = T>,
    ) {
        let Self { labels, label_numbers, label_scores, .. } = self;
        scores.swap_labels::<L>(
            proof,
            labels,
            label_numbers.as_slice(),
            label_scores.as_mut_slice(),
        );
    }

    /// Keeps the scores of the labels along a direction.
    #[inline(always)]
    pub(super) fn read_direction(&mut self, scores: &mut impl ScoreBlock<Elem = T>) {
        self.direction.resize(self.weights.as_slice().len());
        let direction = self.direction.as_mut_slice();
        direction[self.labels.len()..].fill(T::default());
        for (i, (label, score)) in self.labels.iter().zip(direction).enumerate() {
            *score = *scores.at(i, *label as usize);
        }
    }

    /// The scores of the labels of the model and of the direction, and the weights, of the samples from `first` on.
    #[inline(always)]
    pub(super) fn label_vectors<L: Lanes<Elem = T>>(
        &self,
        proof: L::Proof,
        first: usize,
    ) -> ([L; 2], L) {
        let of = |buffer: &Buffer<T>| L::from_slice(proof, &buffer.as_slice()[first..]);
        ([of(&self.label_scores), of(&self.direction)], of(&self.weights))
    }

    /// Where the derivatives by the scores of the labels are to be, from that of sample `first` on.
    #[inline(always)]
    pub(super) fn derivatives(&mut self, first: usize) -> &mut [T] {
        &mut self.label_scores.as_mut_slice()[first..]
    }

    /// An error is the first sample whose derivative by the score of the label is not finite.
    #[inline(always)]
    pub(super) fn check_derivatives(&self) -> Result<(), usize> {
        let derivatives = &self.label_scores.as_slice()[..self.labels.len()];
        if derivatives.iter().fold(true, |all, derivative| all & derivative.is_finite()) {
            return Ok(());
        }
        let first = derivatives.iter().position(|derivative| !derivative.is_finite());
        Err(first.expect("a derivative that is not finite"))
    }

    /// The scores of the labels, the weights and the losses.
    #[inline(always)]
    pub(super) fn vectors(&mut self) -> (&mut [T], &[T], &mut [T]) {
        let Self { weights, label_scores, losses, .. } = self;
        (label_scores.as_mut_slice(), weights.as_slice(), losses.as_mut_slice())
    }

    /// Adds Σ wᵢ Lᵢ to `sum`. An error is the first sample at which a loss or the sum is not finite.
    #[inline(always)]
    pub(crate) fn add_losses(&self, sum: f64) -> Result<f64, usize> {
        let n = self.labels.len();
        let (weights, losses) = (&self.weights.as_slice()[..n], &self.losses.as_slice()[..n]);
        let total = sum + weighted_sum(weights, losses);
        if losses.iter().fold(total.is_finite(), |all, loss| all & loss.is_finite()) {
            return Ok(total);
        }
        let finite = |i: usize| {
            losses[i].is_finite() && (sum + weighted_sum(&weights[..=i], &losses[..=i])).is_finite()
        };
        Err((0..n).find(|&i| !finite(i)).expect("a loss or a sum that is not finite"))
    }
}

/// Σ wᵢ Lᵢ of a block, in several sums. Summed by blocks, as a long running sum of equal terms drifts even in
/// `f64`.
#[inline(always)]
fn weighted_sum<T: Element>(weights: &[T], losses: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    for (weights, losses) in weights.chunks(sums.len()).zip(losses.chunks(sums.len())) {
        for ((sum, weight), loss) in sums.iter_mut().zip(weights).zip(losses) {
            *sum += weight.to_f64() * loss.to_f64();
        }
    }
    sum_halves(sums)
}
