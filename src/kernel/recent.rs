//! The sums of the last rows of a task, in the element type: the second level of summation, where X is read by rows.
//! They are added to dW in `f64` after so many rows that this hardly takes time.

use crate::{
    buffer::Buffer,
    element::Element,
    simd::{Lanes, MAX_LANES},
};

/// Sums that are not yet part of dW, class by class.
#[derive(Debug, Default)]
pub(super) struct RecentSums<T> {
    sums: Buffer<T>,
    /// From one class to the next: whole vectors at an odd number of cache lines, so that those of all classes find
    /// places in L1.
    stride: usize,
    n_rows: usize,
}

impl<T: Element> RecentSums<T> {
    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.n_rows = 0;
    }

    /// The sums, to which `n_rows` are added, and the distance between classes.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        n_rows: usize,
        [n_classes, n_features]: [usize; 2],
    ) -> (&mut [T], usize) {
        if self.n_rows == 0 {
            self.stride = (n_features.div_ceil(MAX_LANES) | 1) * MAX_LANES;
            self.sums.resize(n_classes * self.stride);
            self.sums.as_mut_slice().fill(T::default());
        }
        self.n_rows += n_rows;
        (self.sums.as_mut_slice(), self.stride)
    }

    /// The rows that the sums are of.
    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Adds the sums of a class to as many numbers as there are features, or, past them, zeros.
    #[inline(always)]
    pub(super) fn add_class<L: Lanes<Elem = T>>(
        &self,
        proof: L::Proof,
        class: usize,
        target: &mut [f64],
    ) {
        if self.n_rows > 0 {
            let sums = &self.sums.as_slice()[class * self.stride..][..self.stride];
            let (whole, rest) = target.split_at_mut(target.len() - target.len() % L::LANES);
            let (of_whole, of_rest) = sums.split_at(whole.len());
            let vectors = of_whole.chunks_exact(L::LANES).zip(whole.chunks_exact_mut(L::LANES));
            for (sums, target) in vectors {
                L::from_slice(proof, sums).add_widened(target);
            }
            rest.iter_mut().zip(of_rest).for_each(|(target, sum)| *target += sum.to_f64());
        }
    }
}
