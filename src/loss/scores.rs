//! The scores of a vector of samples, for all classes, in the two orders there are.

use crate::{
    Element,
    kernel::CHAIN,
    simd::{Lanes, MAX_LANES},
};

/// Two passes over scores that are not in one place. The samples are in the lanes of the arguments and
/// of what is returned.
pub(crate) trait Scores<L: Lanes> {
    /// The largest score of each sample, or `least` where that is larger.
    fn max(&self, proof: L::Proof, least: L) -> L;

    /// Gives each score, with the parameters of its sample, to `f`, which returns another in its place
    /// and what to add to the sums of its sample, which are returned. The scores are left as they are if
    /// not `replace`.
    fn update<const P: usize, const N: usize>(
        &mut self,
        proof: L::Proof,
        parameters: [L; P],
        replace: bool,
        f: impl Fn(L, [L; P]) -> (L, [L; N]),
    ) -> [L; N];
}

/// The scores of a class side by side: those of `LANES` samples are a vector at the start of each
/// `stride` scores.
pub(crate) struct ByClass<'a, T> {
    pub(crate) scores: &'a mut [T],
    pub(crate) stride: usize,
}

impl<L: Lanes> Scores<L> for ByClass<'_, L::Elem> {
    #[inline(always)]
    fn max(&self, proof: L::Proof, least: L) -> L {
        let mut max = least;
        for class in self.scores.chunks(self.stride) {
            max = L::from_slice(proof, class).max(max);
        }
        max
    }

    #[inline(always)]
    fn update<const P: usize, const N: usize>(
        &mut self,
        proof: L::Proof,
        parameters: [L; P],
        replace: bool,
        f: impl Fn(L, [L; P]) -> (L, [L; N]),
    ) -> [L; N] {
        let mut sums = [L::splat(proof, L::Elem::default()); N];
        // Short sums of sums: where there are many classes, a long one would lose digits.
        for classes in self.scores.chunks_mut(CHAIN * self.stride) {
            let mut chain = [L::splat(proof, L::Elem::default()); N];
            for class in classes.chunks_mut(self.stride) {
                let (score, terms) = f(L::from_slice(proof, class), parameters);
                for n in 0..N {
                    chain[n] = chain[n] + terms[n];
                }
                if replace {
                    score.write_to(class);
                }
            }
            for n in 0..N {
                sums[n] = sums[n] + chain[n];
            }
        }
        sums
    }
}

/// The scores of a sample side by side, `width` of them at a time, whole vectors: those of sample i are
/// in `scores[i * width..]` and `stride` further on, and so forth.
pub(crate) struct BySample<'a, T> {
    pub(crate) scores: &'a mut [T],
    pub(crate) stride: usize,
    pub(crate) width: usize,
    /// Up to `LANES`; the lanes of missing samples are zero.
    pub(crate) n_samples: usize,
}

impl<L: Lanes> Scores<L> for BySample<'_, L::Elem> {
    #[inline(always)]
    fn max(&self, proof: L::Proof, least: L) -> L {
        let mut lanes = [L::Elem::default(); MAX_LANES];
        let lowest = L::splat(proof, L::Elem::from_f64(f64::NEG_INFINITY));
        for four in (0..self.n_samples).step_by(4) {
            let mut max = [lowest; 4];
            for i in four..self.n_samples.min(four + 4) {
                for part in self.scores.chunks(self.stride) {
                    for scores in part[i * self.width..][..self.width].chunks_exact(L::LANES) {
                        max[i - four] = L::from_slice(proof, scores).max(max[i - four]);
                    }
                }
            }
            lanes[four..four + 4].copy_from_slice(&L::max4(max));
        }
        L::from_slice(proof, &lanes).max(least)
    }

    #[inline(always)]
    fn update<const P: usize, const N: usize>(
        &mut self,
        proof: L::Proof,
        parameters: [L; P],
        replace: bool,
        f: impl Fn(L, [L; P]) -> (L, [L; N]),
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
                for part in self.scores.chunks_mut(self.stride) {
                    for scores in part[i * self.width..][..self.width].chunks_exact_mut(L::LANES) {
                        let (score, terms) = f(L::from_slice(proof, scores), parameters);
                        for n in 0..N {
                            of_sample[n] = of_sample[n] + terms[n];
                        }
                        if replace {
                            score.write_to(scores);
                        }
                    }
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
}
