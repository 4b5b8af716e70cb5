//! The scores of a block of rows, and later their derivatives: where the score of a sample for a class is,
//! and all that depends on it. There are two orders, each a type: the samples of a class side by side
//! ([`ClassMajor`]), and the classes of a sample side by side ([`SampleMajor`]).

mod class_major;
mod sample_major;

pub(crate) use class_major::{ClassMajor, NEAR_STRIDE};
pub(crate) use sample_major::{SampleMajor, panel_rows};

use crate::{element::Element, simd::Lanes, summation::FIRST_LEVEL};

/// The scores of a block.
pub(crate) trait ScoreBlock {
    type Elem: Element;

    /// The number of samples.
    fn n_samples(&self) -> usize;

    /// The number of classes.
    fn n_classes(&self) -> usize;

    /// The place of the score of sample `i` for class `k`.
    fn at(&mut self, i: usize, k: usize) -> &mut Self::Elem;

    /// Writes the scores of sample `i` for the classes from `class` on, as many as there are lanes or classes.
    fn write_classes<L: Lanes<Elem = Self::Elem>>(&mut self, i: usize, class: usize, scores: L);

    /// Whether all scores are finite.
    fn all_finite(&self) -> bool;

    /// Fills the places that complete whole vectors, of samples with the score 0 or of classes with the score
    /// −∞, which contribute nothing to any loss.
    fn pad<L: Lanes<Elem = Self::Elem>>(&mut self);

    /// The scores of the `LANES` samples from `first` on, which must be a multiple of `LANES`.
    fn vector<L: Lanes<Elem = Self::Elem>>(&mut self, first: usize) -> impl SampleScores<L>;

    /// Adds the sum over the samples of each class to `sums`, which may have more places than there are
    /// classes.
    fn add_class_sums<L: Lanes<Elem = Self::Elem>>(&self, proof: L::Proof, sums: &mut [f64]);

    /// Writes the scores, or what has replaced them, sample by sample.
    fn write_rows(&self, target: &mut [Self::Elem]);

    /// Writes the class with the largest score of each sample, the first one of equals. The block must be padded.
    fn write_argmax<L: Lanes<Elem = Self::Elem>>(&mut self, proof: L::Proof, classes: &mut [u32]);

    /// The first sample that has a score that is not finite.
    #[inline(always)]
    fn first_not_finite(&mut self) -> Option<usize> {
        if self.all_finite() {
            return None;
        }
        let (n, c) = (self.n_samples(), self.n_classes());
        (0..n).find(|&i| (0..c).any(|k| !self.at(i, k).is_finite()))
    }

    /// Exchanges the score of each sample for its label with the sample's place in `label_scores`, but for labels that are
    /// no classes of the block. The labels are there as numbers, too, in whole vectors; past the last one they are no
    /// classes.
    fn swap_labels<L: Lanes<Elem = Self::Elem>>(
        &mut self,
        proof: L::Proof,
        labels: &[u32],
        label_numbers: &[Self::Elem],
        label_scores: &mut [Self::Elem],
    );
}

/// Exchanges one score after the other.
#[inline(always)]
fn swap_labels<S: ScoreBlock>(scores: &mut S, labels: &[u32], label_scores: &mut [S::Elem]) {
    let n_classes = scores.n_classes();
    for (i, (label, score)) in labels.iter().zip(label_scores).enumerate() {
        if (*label as usize) < n_classes {
            core::mem::swap(score, scores.at(i, *label as usize));
        }
    }
}

/// The scores of a vector of samples, for all classes: passes over them, whatever their order. The
/// samples are the lanes of the arguments and of the results.
pub(crate) trait SampleScores<L: Lanes> {
    /// The number of classes.
    fn n_classes(&self) -> usize;

    /// The largest score of each sample, or `least` where that is larger.
    fn max(&self, proof: L::Proof, least: L) -> L;

    /// Calls `f` with each score, what stands in the same place of others of the same shape, and the parameters of its
    /// sample. It returns a value that replaces the score, if `replace`, and terms of sums over the classes; the sums
    /// are returned.
    ///
    /// `f` is compiled for the instruction set only where it is inlined: it is to have no other caller.
    fn update<const K: usize, const P: usize, const N: usize>(
        &mut self,
        proof: L::Proof,
        others: [&Self; K],
        parameters: [L; P],
        replace: bool,
        f: impl Fn(L, [L; K], [L; P]) -> (L, [L; N]),
    ) -> [L; N];

    /// Replaces the first score of each sample that is not less than `max`, which is the largest one, by `kept`, and
    /// all others by zero.
    fn keep_first(&mut self, proof: L::Proof, max: L, kept: L);
}

/// Adds the first vectors of each row of `width` elements to `target`, lane by lane.
#[inline(always)]
fn add_first_vectors<L: Lanes>(
    proof: L::Proof,
    rows: &[L::Elem],
    width: usize,
    target: &mut [f64],
) {
    for rows in rows.chunks(FIRST_LEVEL * width) {
        let mut sum = L::splat(proof, L::Elem::default());
        for row in rows.chunks(width) {
            sum = sum + L::from_slice(proof, row);
        }
        sum.add_widened(target);
    }
}
