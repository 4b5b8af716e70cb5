//! Scores class by class: the samples of a class lie side by side, so that a vector holds a class of several
//! samples.

use super::{SampleScores, ScoreBlock, add_first_vectors};
use crate::{
    buffer::Buffer,
    element::Element,
    simd::{Lanes, MAX_LANES},
    summation::{FIRST_LEVEL, sum_halves},
};

/// Up to as many samples the classes are [`NEAR_STRIDE`] apart.
const MOST_NEAR: usize = 256;

/// A constant, so that kernels reach all classes of a tile from one address; and no power of two, as lines at such
/// distances compete for the same places in L1.
pub(crate) const NEAR_STRIDE: usize = MOST_NEAR + MAX_LANES;

/// Up to so many classes, comparing all of them with the labels of a vector of samples takes less time than looking up
/// one score after the other.
const MOST_COMPARED: usize = 16;

/// The score of sample i for class k is `scores[k * stride + i]`.
pub(crate) struct ClassMajor<'a, T> {
    scores: &'a mut [T],
    stride: usize,
    n_samples: usize,
    n_classes: usize,
}

impl<'a, T: Element> ClassMajor<'a, T> {
    /// Makes room in `memory` for scores that are to be written.
    #[inline(always)]
    pub(crate) fn new(memory: &'a mut Buffer<T>, n_samples: usize, n_classes: usize) -> Self {
        let stride = match n_samples {
            ..=MOST_NEAR => NEAR_STRIDE,
            _ => n_samples.next_multiple_of(MAX_LANES) + MAX_LANES,
        };
        memory.resize(n_classes * stride);
        Self { scores: memory.as_mut_slice(), stride, n_samples, n_classes }
    }

    /// The distance between classes: the samples, up to whole vectors on every instruction set.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// All places.
    pub(crate) fn as_slice(&self) -> &[T] {
        self.scores
    }

    /// All places.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        self.scores
    }
}

impl<T: Element> ScoreBlock for ClassMajor<'_, T> {
    type Elem = T;

    fn n_samples(&self) -> usize {
        self.n_samples
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    #[inline(always)]
    fn at(&mut self, i: usize, k: usize) -> &mut T {
        &mut self.scores[k * self.stride + i]
    }

    #[inline(always)]
    fn write_classes<L: Lanes<Elem = T>>(&mut self, i: usize, class: usize, scores: L) {
        let mut lanes = [T::default(); MAX_LANES];
        scores.write_to(&mut lanes);
        let places = self.scores[class * self.stride + i..].iter_mut().step_by(self.stride);
        for (place, score) in places.zip(&lanes[..L::LANES]) {
            *place = *score;
        }
    }

    #[inline(always)]
    fn all_finite(&self) -> bool {
        let finite = |class: &[T]| class.iter().fold(true, |all, s| all & s.is_finite());
        let mut classes = self.scores.chunks_exact(self.stride);
        classes.all(|class| finite(&class[..self.n_samples]))
    }

    #[inline(always)]
    fn pad<L: Lanes<Elem = T>>(&mut self) {
        let padding = self.n_samples..self.n_samples.next_multiple_of(L::LANES);
        for class in self.scores.chunks_exact_mut(self.stride) {
            class[padding.clone()].fill(T::default());
        }
    }

    #[inline(always)]
    fn vector<L: Lanes<Elem = T>>(&mut self, first: usize) -> impl SampleScores<L> {
        let Self { scores, stride, n_classes, .. } = self;
        Vector { scores: &mut scores[first..], stride: *stride, n_classes: *n_classes }
    }

    #[inline(always)]
    fn write_rows(&self, target: &mut [T]) {
        let c = self.n_classes();
        // As many samples at a time as there are elements in a cache line, each of which is then read once.
        for (first, target) in (0..).step_by(MAX_LANES).zip(target.chunks_mut(MAX_LANES * c)) {
            let n = target.len() / c;
            for (k, class) in self.scores.chunks_exact(self.stride).enumerate() {
                let scores = class[first..][..n].iter().enumerate();
                scores.for_each(|(i, score)| target[i * c + k] = *score);
            }
        }
    }

    #[inline(always)]
    fn write_argmax<L: Lanes<Elem = T>>(&mut self, _: L::Proof, classes: &mut [u32]) {
        classes.fill(0);
        let Some((largest, others)) = self.scores.split_at_mut_checked(self.stride) else { return };
        for (k, class) in others.chunks_exact(self.stride).enumerate() {
            let samples = class.iter().zip(&mut *largest).zip(&mut *classes);
            for ((score, largest), place) in samples {
                let larger = *score > *largest;
                *largest = if larger { *score } else { *largest };
                *place = if larger { k as u32 + 1 } else { *place };
            }
        }
    }

    #[inline(always)]
    fn swap_labels<L: Lanes<Elem = T>>(
        &mut self,
        proof: L::Proof,
        labels: &[u32],
        label_numbers: &[T],
        label_scores: &mut [T],
    ) {
        if self.n_classes() > MOST_COMPARED {
            return super::swap_labels(self, labels, label_scores);
        }
        let one = L::splat(proof, T::from_f64(1.0));
        let least = L::splat(proof, T::from_f64(f64::NEG_INFINITY));
        for first in (0..labels.len()).step_by(L::LANES) {
            let label = L::from_slice(proof, &label_numbers[first..]);
            let place = &mut label_scores[first..];
            let mut class = L::splat(proof, T::default());
            let before = L::from_slice(proof, place);
            let mut after = before;
            for scores in self.scores[first..].chunks_mut(self.stride) {
                // The maximum is the score, but for the compiler, which turns a selection from what was loaded from the
                // same place into a masked store: on processors of AMD, one takes 20 cycles and more.
                let score = least.max(L::from_slice(proof, scores));
                let own = class.eq(label);
                after = L::select(own, score, after);
                L::select(own, before, score).write_to(scores);
                class = class + one;
            }
            after.write_to(place);
        }
    }

    #[inline(always)]
    fn add_class_sums<L: Lanes<Elem = T>>(&self, proof: L::Proof, sums: &mut [f64]) {
        // The derivatives of the samples that fill up a vector are zero.
        let padded = self.n_samples.next_multiple_of(L::LANES);
        for (class, sum) in self.scores.chunks_exact(self.stride).zip(sums) {
            let mut lanes = [0.0; MAX_LANES];
            add_first_vectors::<L>(proof, &class[..padded], L::LANES, &mut lanes);
            *sum += sum_halves(lanes);
        }
    }
}

/// Of every class, a vector of samples: at the start of every `stride` scores.
struct Vector<'a, T> {
    scores: &'a mut [T],
    stride: usize,
    n_classes: usize,
}

impl<L: Lanes> SampleScores<L> for Vector<'_, L::Elem> {
    #[inline(always)]
    fn n_classes(&self) -> usize {
        self.n_classes
    }

    #[inline(always)]
    fn max(&self, proof: L::Proof, least: L) -> L {
        // Two at a time, as each waits for the one before.
        let mut max = [least; 2];
        for classes in self.scores.chunks(2 * self.stride) {
            max[0] = L::from_slice(proof, classes).max(max[0]);
            if classes.len() > self.stride {
                max[1] = L::from_slice(proof, &classes[self.stride..]).max(max[1]);
            }
        }
        max[0].max(max[1])
    }

    #[inline(always)]
    fn update<const K: usize, const P: usize, const N: usize>(
        &mut self,
        proof: L::Proof,
        others: [&Self; K],
        parameters: [L; P],
        replace: bool,
        f: impl Fn(L, [L; K], [L; P]) -> (L, [L; N]),
    ) -> [L; N] {
        let mut sums = [L::splat(proof, L::Elem::default()); N];
        let mut at = 0;
        // In two levels, as a long sum over many classes would lose digits.
        for classes in self.scores.chunks_mut(FIRST_LEVEL * self.stride) {
            let mut first = [L::splat(proof, L::Elem::default()); N];
            for class in classes.chunks_mut(self.stride) {
                let of_others = others.map(|other| L::from_slice(proof, &other.scores[at..]));
                at += self.stride;
                let (score, terms) = f(L::from_slice(proof, class), of_others, parameters);
                for n in 0..N {
                    first[n] = first[n] + terms[n];
                }
                if replace {
                    score.write_to(class);
                }
            }
            for n in 0..N {
                sums[n] = sums[n] + first[n];
            }
        }
        sums
    }

    #[inline(always)]
    fn keep_first(&mut self, proof: L::Proof, max: L, kept: L) {
        let zero = L::splat(proof, L::Elem::default());
        // Zero, once a sample has found its score.
        let mut left = kept;
        for class in self.scores.chunks_mut(self.stride) {
            let less = max.gt(L::from_slice(proof, class));
            L::select(less, zero, left).write_to(class);
            left = L::select(less, left, zero);
        }
    }
}
