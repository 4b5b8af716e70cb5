//! Scores sample by sample, in panels: the classes of a sample lie side by side, `width` of them in each
//! panel, so that a vector holds several classes of a sample.

use super::{SampleScores, ScoreBlock, add_first_vectors};
use crate::{
    buffer::Buffer,
    element::Element,
    simd::{Lanes, MAX_LANES},
};

/// The rows that a panel has room for: whole vectors and whole register tiles, of up to 8 rows, on every instruction
/// set. An odd number, as panels at multiples of a power of two compete for the same places in L1.
pub(crate) fn panel_rows(n_samples: usize) -> usize {
    n_samples.next_multiple_of(MAX_LANES) + 5
}

/// The score of sample i for class k is `scores[(k / width * panel_rows + i) * width + k % width]`.
pub(crate) struct SampleMajor<'a, T> {
    scores: &'a mut [T],
    n_samples: usize,
    n_classes: usize,
    panel_rows: usize,
    /// Classes of a panel: whole vectors.
    width: usize,
}

impl<'a, T: Element> SampleMajor<'a, T> {
    /// Makes room in `memory` for scores that are to be written, in panels of `width` classes.
    #[inline(always)]
    pub(crate) fn new(
        memory: &'a mut Buffer<T>,
        n_samples: usize,
        n_classes: usize,
        width: usize,
    ) -> Self {
        let panel_rows = panel_rows(n_samples);
        memory.resize(n_classes.next_multiple_of(width) * panel_rows);
        Self { scores: memory.as_mut_slice(), n_samples, n_classes, panel_rows, width }
    }

    /// See [`panel_rows`].
    pub(crate) fn panel_rows(&self) -> usize {
        self.panel_rows
    }

    /// All places.
    pub(crate) fn as_slice(&self) -> &[T] {
        self.scores
    }

    /// All places.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        self.scores
    }

    /// Every panel, as far as there are samples.
    fn panels(&self) -> impl Iterator<Item = &[T]> {
        let panels = self.scores.chunks_exact(self.panel_rows * self.width);
        panels.map(|panel| &panel[..self.n_samples * self.width])
    }
}

impl<T: Element> ScoreBlock for SampleMajor<'_, T> {
    type Elem = T;

    fn n_samples(&self) -> usize {
        self.n_samples
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    #[inline(always)]
    fn at(&mut self, i: usize, k: usize) -> &mut T {
        let (panel, class) = (k / self.width, k % self.width);
        &mut self.scores[(panel * self.panel_rows + i) * self.width + class]
    }

    #[inline(always)]
    fn write_classes<L: Lanes<Elem = T>>(&mut self, i: usize, class: usize, scores: L) {
        let (panel, class) = (class / self.width, class % self.width);
        scores.write_to(&mut self.scores[(panel * self.panel_rows + i) * self.width + class..]);
    }

    #[inline(always)]
    fn all_finite(&self) -> bool {
        self.panels().all(|panel| panel.iter().fold(true, |all, s| all & s.is_finite()))
    }

    #[inline(always)]
    fn pad<L: Lanes<Elem = T>>(&mut self) {
        let (width, last) = (self.width, self.n_classes % self.width);
        if last > 0 {
            let panel = self.n_classes / width * self.panel_rows * width;
            for sample in self.scores[panel..].chunks_exact_mut(width).take(self.n_samples) {
                sample[last..].fill(T::from_f64(f64::NEG_INFINITY));
            }
        }
    }

    #[inline(always)]
    fn vector<L: Lanes<Elem = T>>(&mut self, first: usize) -> impl SampleScores<L> {
        let (width, n_samples) = (self.width, L::LANES.min(self.n_samples - first));
        let scores = &mut self.scores[first * width..];
        let (panel, n_classes) = (self.panel_rows * width, self.n_classes);
        Vector { scores, panel, width, n_samples, n_classes }
    }

    #[inline(always)]
    fn write_rows(&self, target: &mut [T]) {
        for (i, target) in target.chunks_exact_mut(self.n_classes).enumerate() {
            for (panel, target) in self.panels().zip(target.chunks_mut(self.width)) {
                target.copy_from_slice(&panel[i * self.width..][..target.len()]);
            }
        }
    }

    #[inline(always)]
    fn write_argmax<L: Lanes<Elem = T>>(&mut self, proof: L::Proof, classes: &mut [u32]) {
        let lowest = L::splat(proof, T::from_f64(f64::NEG_INFINITY));
        let firsts = (0..self.n_samples).step_by(L::LANES);
        for (first, classes) in firsts.zip(classes.chunks_mut(L::LANES)) {
            let mut largest = [T::default(); MAX_LANES];
            self.vector::<L>(first).max(proof, lowest).write_to(&mut largest);
            for (i, (class, largest)) in classes.iter_mut().zip(largest).enumerate() {
                let found = self.panels().enumerate().find_map(|(k, panel)| {
                    let scores = &panel[(first + i) * self.width..][..self.width];
                    let lane = scores.iter().position(|score| *score == largest)?;
                    Some((k * self.width + lane) as u32)
                });
                *class = found.expect("the largest score is one of them");
            }
        }
    }

    #[inline(always)]
    fn swap_labels<L: Lanes<Elem = T>>(
        &mut self,
        _: L::Proof,
        labels: &[u32],
        _: &[T],
        label_scores: &mut [T],
    ) {
        super::swap_labels(self, labels, label_scores);
    }

    #[inline(always)]
    fn add_class_sums<L: Lanes<Elem = T>>(&self, proof: L::Proof, sums: &mut [f64]) {
        for (panel, sums) in self.panels().zip(sums.chunks_mut(self.width)) {
            for (v, sums) in sums.chunks_mut(L::LANES).enumerate() {
                add_first_vectors::<L>(proof, &panel[v * L::LANES..], self.width, sums);
            }
        }
    }
}

/// Some samples: of sample i, `width` scores at `scores[i * width..]`, and after each `panel`.
struct Vector<'a, T> {
    scores: &'a mut [T],
    panel: usize,
    width: usize,
    /// Up to `LANES`; the lanes of missing samples are zero.
    n_samples: usize,
    n_classes: usize,
}

impl<L: Lanes> SampleScores<L> for Vector<'_, L::Elem> {
    #[inline(always)]
    fn n_classes(&self) -> usize {
        self.n_classes
    }

    #[inline(always)]
    fn max(&self, proof: L::Proof, least: L) -> L {
        let mut lanes = [L::Elem::default(); MAX_LANES];
        let lowest = L::splat(proof, L::Elem::from_f64(f64::NEG_INFINITY));
        for four in (0..self.n_samples).step_by(4) {
            let mut max = [lowest; 4];
            for i in four..self.n_samples.min(four + 4) {
                for panel in self.scores.chunks(self.panel) {
                    for scores in panel[i * self.width..][..self.width].chunks_exact(L::LANES) {
                        max[i - four] = L::from_slice(proof, scores).max(max[i - four]);
                    }
                }
            }
            lanes[four..four + 4].copy_from_slice(&L::max4(max));
        }
        L::from_slice(proof, &lanes).max(least)
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
        let zero = L::splat(proof, L::Elem::default());
        let mut of_samples = [[L::Elem::default(); MAX_LANES]; P];
        for (lanes, parameter) in of_samples.iter_mut().zip(parameters) {
            parameter.write_to(lanes);
        }
        let mut lanes = [[L::Elem::default(); MAX_LANES]; N];
        for four in (0..self.n_samples).step_by(4) {
            let mut sums = [[zero; 4]; N];
            for i in four..self.n_samples.min(four + 4) {
                let parameters = of_samples.map(|lanes| L::splat(proof, lanes[i]));
                let mut of_sample = [zero; N];
                let mut at = i * self.width;
                for panel in self.scores.chunks_mut(self.panel) {
                    let vectors = panel[i * self.width..][..self.width].chunks_exact_mut(L::LANES);
                    for (v, scores) in vectors.enumerate() {
                        let place = at + v * L::LANES;
                        let of_others =
                            others.map(|other| L::from_slice(proof, &other.scores[place..]));
                        let (score, terms) = f(L::from_slice(proof, scores), of_others, parameters);
                        for n in 0..N {
                            of_sample[n] = of_sample[n] + terms[n];
                        }
                        if replace {
                            score.write_to(scores);
                        }
                    }
                    at += self.panel;
                }
                for n in 0..N {
                    sums[n][i - four] = of_sample[n];
                }
            }
            for n in 0..N {
                lanes[n][four..four + 4].copy_from_slice(&L::sum4(sums[n]));
            }
        }
        lanes.map(|lanes| L::from_slice(proof, &lanes))
    }

    #[inline(always)]
    fn keep_first(&mut self, proof: L::Proof, max: L, kept: L) {
        let Self { panel, width, .. } = *self;
        let zero = L::splat(proof, L::Elem::default());
        let one = L::splat(proof, L::Elem::from_f64(1.0));
        let mut lanes = [[L::Elem::default(); MAX_LANES]; 2];
        max.write_to(&mut lanes[0]);
        kept.write_to(&mut lanes[1]);
        let n_vectors = self.scores.len().div_ceil(panel) * width / L::LANES;
        for (i, (max, kept)) in lanes[0].into_iter().zip(lanes[1]).enumerate().take(self.n_samples)
        {
            let max_of_sample = L::splat(proof, max);
            // Where a vector has the largest score, as many as are left from it on: most of them at the first one.
            let mut left = L::splat(proof, L::Elem::from_f64(n_vectors as f64));
            let mut most = zero;
            for panel in self.scores.chunks(panel) {
                for scores in panel[i * width..][..width].chunks_exact(L::LANES) {
                    let less = max_of_sample.gt(L::from_slice(proof, scores));
                    most = L::select(less, zero, left).max(most);
                    left = left - one;
                }
            }
            let [most, ..] = L::max4([most; 4]);
            let first = (n_vectors - most.to_f64() as usize) * L::LANES;
            let at = first / width * panel + i * width + first % width;
            let lane = self.scores[at..][..L::LANES].iter().position(|score| *score == max);
            for panel in self.scores.chunks_mut(panel) {
                panel[i * width..][..width].fill(L::Elem::default());
            }
            self.scores[at + lane.expect("the largest score is one of them")] = kept;
        }
    }
}
