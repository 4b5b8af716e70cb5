//! Where the score of a sample for a class is, and all that depends on it.

use super::{CHAIN, Path, add_widened, packed};
use crate::{
    Element,
    loss::{ByClass, BySample},
    simd::{Lanes, MAX_LANES},
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
    /// Classes of a panel, where the scores are in panels.
    panel_width: usize,
}

impl Layout {
    pub(crate) fn of<L: Lanes>(path: Path, n_classes: usize, block_rows: usize) -> Self {
        let panel_width = packed::panel_width::<L>();
        Self { path, n_classes, block_rows, lanes: L::LANES, panel_width }
    }

    /// The number of places for scores, padding included.
    pub(crate) fn len(&self) -> usize {
        let classes = match self.path {
            Path::Direct | Path::Columns => self.n_classes,
            Path::Packed => self.n_classes.next_multiple_of(self.panel_width),
        };
        classes * self.block_rows
    }

    /// Where the score of sample `i` for class `k` is.
    #[inline(always)]
    pub(crate) fn index(&self, i: usize, k: usize) -> usize {
        match self.path {
            Path::Direct | Path::Columns => k * self.block_rows + i,
            Path::Packed => {
                (k / self.panel_width * self.block_rows + i) * self.panel_width
                    + k % self.panel_width
            }
        }
    }

    /// Whether all scores of the first `n` samples are finite.
    #[inline(always)]
    pub(crate) fn all_finite<T: Element>(&self, scores: &[T], n: usize) -> bool {
        let (stride, len) = self.strides(n);
        let finite = |part: &[T]| part.iter().fold(true, |all, s| all & s.is_finite());
        scores.chunks_exact(stride).fold(true, |all, part| all & finite(&part[..len]))
    }

    /// Fills what is missing for whole vectors: with samples of score 0, or with classes of score −∞,
    /// which count for nothing.
    #[inline(always)]
    pub(crate) fn pad<T: Element>(&self, scores: &mut [T], n: usize) {
        match self.path {
            Path::Direct | Path::Columns => {
                let padded = n.next_multiple_of(self.lanes);
                for class in scores.chunks_exact_mut(self.block_rows) {
                    class[n..padded].fill(T::default());
                }
            }
            Path::Packed => {
                let width = self.panel_width;
                let missing = self.n_classes.next_multiple_of(width) - self.n_classes;
                if missing > 0 {
                    let panel = self.n_classes / width * self.block_rows * width;
                    for sample in scores[panel..].chunks_exact_mut(width).take(n) {
                        sample[width - missing..].fill(T::from_f64(f64::NEG_INFINITY));
                    }
                }
            }
        }
    }

    /// Exchanges the score of each sample for its class with the sample's place in `labels`.
    #[inline(always)]
    pub(crate) fn swap_labels<T>(&self, scores: &mut [T], classes: &[u32], labels: &mut [T]) {
        for (i, (class, label)) in classes.iter().zip(labels).enumerate() {
            core::mem::swap(label, &mut scores[self.index(i, *class as usize)]);
        }
    }

    /// The scores of the vector of samples from `first` on, if they are class by class.
    #[inline(always)]
    pub(crate) fn by_class<'a, T>(
        &self,
        scores: &'a mut [T],
        first: usize,
    ) -> Option<ByClass<'a, T>> {
        let scores = &mut scores[first..];
        (self.path != Path::Packed).then_some(ByClass { scores, stride: self.block_rows })
    }

    /// The scores of the vector of samples from `first` on, of `n` in all, sample by sample.
    #[inline(always)]
    pub(crate) fn by_sample<'a, T>(
        &self,
        scores: &'a mut [T],
        first: usize,
        n: usize,
    ) -> BySample<'a, T> {
        let (width, n_samples) = (self.panel_width, self.lanes.min(n - first));
        let scores = &mut scores[first * width..];
        BySample { scores, stride: self.block_rows * width, width, n_samples }
    }

    /// Adds the derivatives by the scores of each class, summed over the first `n` samples, to `db`.
    #[inline(always)]
    pub(crate) fn add_bias_gradient<L: Lanes<Elem = T>, T: Element>(
        &self,
        proof: L::Proof,
        ds: &[T],
        n: usize,
        db: &mut [f64],
    ) {
        let (stride, len) = self.strides(match self.path {
            // The derivatives of samples that fill up a vector are zero.
            Path::Direct | Path::Columns => n.next_multiple_of(self.lanes),
            Path::Packed => n,
        });
        for (i, part) in ds.chunks_exact(stride).enumerate() {
            match self.path {
                Path::Direct | Path::Columns => {
                    let mut sums = [0.0; MAX_LANES];
                    add_columns::<L>(proof, &part[..len], L::LANES, &mut sums);
                    db[i] += sums.iter().sum::<f64>();
                }
                Path::Packed => {
                    for v in (0..self.panel_width).step_by(L::LANES) {
                        let db = &mut db[i * self.panel_width + v..];
                        add_columns::<L>(proof, &part[v..len], self.panel_width, db);
                    }
                }
            }
        }
    }

    /// The scores come in parts, by class or by panel: the distance from one to the next, and what of
    /// it the first `n` samples take up.
    #[inline(always)]
    fn strides(&self, n: usize) -> (usize, usize) {
        match self.path {
            Path::Direct | Path::Columns => (self.block_rows, n),
            Path::Packed => (self.block_rows * self.panel_width, n * self.panel_width),
        }
    }
}

/// Adds up the first vectors of each row of `width`, and adds the sums to `target`.
#[inline(always)]
fn add_columns<L: Lanes>(proof: L::Proof, rows: &[L::Elem], width: usize, target: &mut [f64]) {
    for chain in rows.chunks(CHAIN * width) {
        let mut sum = L::splat(proof, L::Elem::default());
        for row in chain.chunks(width) {
            sum = sum + L::from_slice(proof, row);
        }
        add_widened(sum, target);
    }
}
