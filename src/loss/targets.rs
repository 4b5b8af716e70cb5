//! What a block of rows is to be scored against: the label and the weight of each sample; and, once it has
//! been, its loss.

use crate::{
    Batch,
    buffer::Buffer,
    element::Element,
    scores::ScoreBlock,
    simd::{LINE, Lanes, MAX_LANES, prefetch},
    summation::sum_halves,
};
use core::ops::Range;

/// The targets of a block, in whole vectors: samples that fill up the last one have the weight 0.
#[derive(Debug, Default)]
pub(crate) struct Targets<T> {
    /// The row of each label; `u32::MAX` where it has none.
    label_rows: Vec<u32>,
    /// The same as numbers, −1 past the last one.
    label_numbers: Buffer<T>,
    weights: Buffer<T>,
    /// Whether any weight may be other than 1.
    weighted: bool,
    /// −∞ or, of a binary loss, 0; the score of each label, or the derivative with respect to it.
    label_scores: Buffer<T>,
    /// The losses, not yet weighted.
    losses: Buffer<T>,
    /// The scores of the labels along a direction.
    direction: Buffer<T>,
}

impl<T: Element> Targets<T> {
    /// Loads the targets of the samples `range`, of so many classes. Of a binary loss, the first class has no row. An
    /// error is the first sample whose label is no class, and the label.
    #[inline(always)]
    pub(crate) fn load(
        &mut self,
        batch: &Batch<'_, T>,
        range: Range<usize>,
        n_classes: usize,
        binary: bool,
    ) -> Result<(), (usize, u32)> {
        let n = range.len();
        let labels = &mut self.label_rows;
        labels.clear();
        match batch.selection() {
            None => {
                labels.extend_from_slice(&batch.labels()[range.clone()]);
                request(batch.labels(), range.end, n);
            }
            Some(rows) => {
                let rows = rows[range.clone()].iter();
                labels.extend(rows.map(|row| batch.labels()[*row as usize]));
            }
        }
        let is_class = |label: u32| (label as usize) < n_classes;
        // The largest label alone is compared as a number of classes: vectors find it in half the instructions.
        if !is_class(labels.iter().fold(0, |most, label| most.max(*label))) {
            let invalid = labels.iter().position(|label| !is_class(*label));
            let i = invalid.expect("an out-of-range label");
            return Err((i, labels[i]));
        }
        let mut exchanged = T::from_f64(f64::NEG_INFINITY);
        if binary {
            labels.iter_mut().for_each(|label| *label = label.wrapping_sub(1));
            exchanged = T::default();
        }

        let padded = n.next_multiple_of(MAX_LANES);
        self.losses.resize(padded);
        self.weights.resize(padded);
        let weights = self.weights.as_mut_slice();
        self.weighted = batch.write_weights(range.start, &mut weights[..n]);
        if let (Some(weights), None) = (batch.sample_weights(), batch.selection()) {
            request(weights, range.end, n);
        }
        weights[n..].fill(T::default());
        self.label_numbers.resize(padded);
        let (numbers, padding) = self.label_numbers.as_mut_slice().split_at_mut(n);
        let rows = numbers.iter_mut().zip(&self.label_rows);
        rows.for_each(|(number, row)| *number = T::from_f64(f64::from(*row)));
        padding.fill(T::from_f64(-1.0));
        self.label_scores.resize(padded);
        let label_scores = self.label_scores.as_mut_slice();
        label_scores[..n].fill(exchanged);
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
        let Self { label_rows, label_numbers, label_scores, .. } = self;
        let (numbers, label_scores) = (label_numbers.as_slice(), label_scores.as_mut_slice());
        scores.swap_labels::<L>(proof, label_rows, numbers, label_scores);
    }

    /// Keeps the scores of the labels along a direction, and leaves 0 in their places.
    #[inline(always)]
    pub(super) fn take_direction<L: Lanes<Elem = T>>(
        &mut self,
        proof: L::Proof,
        scores: &mut impl ScoreBlock<Elem = T>,
    ) {
        let Self { label_rows, label_numbers, direction, .. } = self;
        let numbers = label_numbers.as_slice();
        direction.resize(numbers.len());
        direction.as_mut_slice().fill(T::default());
        scores.swap_labels::<L>(proof, label_rows, numbers, direction.as_mut_slice());
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
        let derivatives = &self.label_scores.as_slice()[..self.label_rows.len()];
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
    pub(crate) fn add_losses<L: Lanes<Elem = T>>(
        &self,
        proof: L::Proof,
        sum: f64,
    ) -> Result<f64, usize> {
        let n = self.label_rows.len();
        let (weights, losses) = (&self.weights.as_slice()[..n], &self.losses.as_slice()[..n]);
        let block = match self.weighted {
            true => weighted_sum::<L>(weights, losses),
            false => lane_sum::<L>(proof, losses),
        };
        // A loss that is not finite makes a sum that is not, also where its weight is 0.
        if (sum + block).is_finite() {
            return Ok(sum + block);
        }
        let finite = |i: usize| {
            losses[i].is_finite()
                && (sum + weighted_sum::<L>(&weights[..=i], &losses[..=i])).is_finite()
        };
        Err((0..n).find(|&i| !finite(i)).expect("a loss or a sum that is not finite"))
    }
}

/// Asks for `n` targets from `start` on: a block has so few that the processor does not see that they are read in order,
/// and waits for each block's. With two classes and 32 features an evaluation takes 7 % less so.
#[inline(always)]
fn request<T>(targets: &[T], start: usize, n: usize) {
    for i in (0..n).step_by(LINE / size_of::<T>()) {
        prefetch(targets.as_ptr().wrapping_add(start + i));
    }
}

/// Σ Lᵢ of a block: one sum a lane. Summed by blocks, as a long running sum of equal terms drifts even in `f64`.
#[inline(always)]
fn lane_sum<L: Lanes>(proof: L::Proof, losses: &[L::Elem]) -> f64 {
    let mut sums = [0.0; MAX_LANES];
    let (whole, rest) = losses.split_at(losses.len() - losses.len() % L::LANES);
    for losses in whole.chunks_exact(L::LANES) {
        L::from_slice(proof, losses).add_widened(&mut sums);
    }
    sums.iter_mut().zip(rest).for_each(|(sum, loss)| *sum += loss.to_f64());
    sum_halves(sums)
}

/// Σ wᵢ Lᵢ of a block, in the same order, so that weights of 1 make no difference.
#[inline(always)]
fn weighted_sum<L: Lanes>(weights: &[L::Elem], losses: &[L::Elem]) -> f64 {
    let mut sums = [0.0; MAX_LANES];
    for (weights, losses) in weights.chunks(L::LANES).zip(losses.chunks(L::LANES)) {
        for ((sum, weight), loss) in sums.iter_mut().zip(weights).zip(losses) {
            *sum += weight.to_f64() * loss.to_f64();
        }
    }
    sum_halves(sums)
}
