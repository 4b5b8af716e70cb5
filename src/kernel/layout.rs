//! Where the score of a sample for a class is, and all that depends on it.

use super::{CHAIN, MAX_LANES, Path, add_widened};
use crate::{
    Scalar,
    loss::{SampleLoss, Samples},
    simd::Lanes,
};

/// The order of the scores of a block, and later of their derivatives.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    path: Path,
    n_classes: usize,
    /// Samples that there is room for.
    block_rows: usize,
    /// Lanes of a vector.
    lanes: usize,
}

impl Layout {
    pub(crate) fn of<L: Lanes>(path: Path, n_classes: usize, block_rows: usize) -> Self {
        Self { path, n_classes, block_rows, lanes: L::LANES }
    }

    /// The number of places for scores, padding included.
    pub(crate) fn len(&self) -> usize {
        let classes = match self.path {
            Path::Direct => self.n_classes,
            Path::Packed => self.n_classes.next_multiple_of(self.lanes),
        };
        classes * self.block_rows
    }

    /// Where the score of sample `i` for class `k` is.
    #[inline(always)]
    pub(crate) fn index(&self, i: usize, k: usize) -> usize {
        match self.path {
            Path::Direct => k * self.block_rows + i,
            Path::Packed => (k / self.lanes * self.block_rows + i) * self.lanes + k % self.lanes,
        }
    }

    /// Whether all scores of the first `n` samples are finite.
    #[inline(always)]
    pub(crate) fn all_finite<T: Scalar>(&self, scores: &[T], n: usize) -> bool {
        let (stride, len) = self.strides(n);
        let finite = |part: &[T]| part.iter().fold(true, |all, s| all & s.is_finite());
        scores.chunks_exact(stride).fold(true, |all, part| all & finite(&part[..len]))
    }

    /// Fills what is missing for whole vectors: with samples of score 0, or with classes of score −∞,
    /// which count for nothing. Returns the number of samples with those added.
    #[inline(always)]
    pub(crate) fn pad<T: Scalar>(&self, scores: &mut [T], n: usize) -> usize {
        match self.path {
            Path::Direct => {
                let padded = n.next_multiple_of(self.lanes);
                for class in scores.chunks_exact_mut(self.block_rows) {
                    class[n..padded].fill(T::default());
                }
                padded
            }
            Path::Packed => {
                let missing = self.n_classes.next_multiple_of(self.lanes) - self.n_classes;
                if missing > 0 {
                    let panel = self.n_classes / self.lanes * self.block_rows * self.lanes;
                    for sample in scores[panel..].chunks_exact_mut(self.lanes).take(n) {
                        sample[self.lanes - missing..].fill(T::from_f64(f64::NEG_INFINITY));
                    }
                }
                n
            }
        }
    }

    /// Evaluates a loss on all samples.
    #[inline(always)]
    pub(crate) fn evaluate<L: Lanes<Elem = T>, T: Scalar>(
        &self,
        proof: L::Proof,
        samples: Samples<'_, T>,
        loss: impl SampleLoss,
        gradient: bool,
    ) {
        let stride = self.strides(0).0;
        match self.path {
            Path::Direct => samples.evaluate_by_class::<L>(proof, loss, stride, gradient),
            Path::Packed => samples.evaluate_by_sample::<L>(proof, loss, stride, gradient),
        }
    }

    /// Adds the derivatives by the scores of each class, summed over the first `n` samples, to `db`.
    #[inline(always)]
    pub(crate) fn add_bias_gradient<L: Lanes<Elem = T>, T: Scalar>(
        &self,
        proof: L::Proof,
        ds: &[T],
        n: usize,
        db: &mut [f64],
    ) {
        let (stride, len) = self.strides(n);
        for (i, part) in ds.chunks_exact(stride).enumerate() {
            let mut sums = [0.0; MAX_LANES];
            for chain in part[..len].chunks(CHAIN * L::LANES) {
                let mut sum = L::splat(proof, T::default());
                for ds in chain.chunks_exact(L::LANES) {
                    sum = sum + L::from_slice(proof, ds);
                }
                add_widened(sum, &mut sums);
            }
            match self.path {
                Path::Direct => db[i] += sums.iter().sum::<f64>(),
                Path::Packed => {
                    let sums = db[i * L::LANES..].iter_mut().zip(&sums[..L::LANES]);
                    sums.for_each(|(db, sum)| *db += sum);
                }
            }
        }
    }

    /// The scores come in parts, by class or by panel: the distance from one to the next, and what of
    /// it the first `n` samples take up.
    #[inline(always)]
    fn strides(&self, n: usize) -> (usize, usize) {
        match self.path {
            Path::Direct => (self.block_rows, n),
            Path::Packed => (self.block_rows * self.lanes, n * self.lanes),
        }
    }
}
