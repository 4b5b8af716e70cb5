//! A pass of dual coordinate ascent: sample after sample, the dual variables of one are set to what is best while those
//! of all others stay, and W follows. This is where the time goes, so it is compiled for each instruction set.

use super::problem::Problem;
use crate::{
    buffer::Buffer,
    element::Element,
    features::Storage,
    kernel::{Reading, copy_rows},
    simd::{Lanes, MAX_LANES, Run},
    train::margins::Kind,
};

/// Rows of dense features that are copied together.
pub(super) const ROWS: usize = 16;

/// Classes whose scores are computed together.
pub(super) const GROUP: usize = 4;

/// Steps that are spent on the equation of one sample, at most.
const STEPS: usize = 40;

/// The dual variables, and the W and b that follow from them.
#[derive(Debug)]
pub(crate) struct Point<T> {
    /// α, sample by sample.
    pub(super) alpha: Vec<T>,
    /// W with the weight of the constant feature behind the others. Of dense features class by class, a multiple of
    /// [`GROUP`] of them at a distance of `stride`; of sparse ones feature by feature.
    pub(super) weights: Buffer<T>,
    pub(super) stride: usize,
    pub(super) sparse: bool,
    /// What b is without the constant feature; so low that nothing is violated, for classes without samples and for
    /// those that fill the last vector.
    pub(super) center: Buffer<T>,
}

/// The memory of a pass.
#[derive(Debug, Default)]
pub(crate) struct Scratch<T> {
    reading: Reading<T>,
    rows: Buffer<T>,
    /// Scores, and then margin violations.
    scores: Buffer<T>,
    alpha: Buffer<T>,
    /// Where the variables would go, were it not for their bounds.
    targets: Buffer<T>,
    /// By how much the derivatives of a sample change, times its share of W.
    change: Buffer<T>,
}

/// One pass over some samples.
pub struct Ascend<'a, 'b, T> {
    pub(super) problem: &'a Problem<'b, T>,
    /// The samples, in the order in which they are visited, and their rows.
    pub(super) order: &'a [u32],
    pub(super) rows: &'a [u32],
    pub(super) point: &'a mut Point<T>,
    pub(super) scratch: &'a mut Scratch<T>,
    /// Gets the samples whose variables have moved, or are between their bounds.
    pub(super) active: &'a mut Vec<u32>,
}

impl<T: Element> Run<T> for Ascend<'_, '_, T> {
    /// Z times the distance between primal and dual, summed over the samples as they were met; it is that of no single
    /// point, but that of the last one near the optimum.
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> f64 {
        let Self { problem, order, rows, point, scratch, active } = self;
        let Scratch { reading, rows: copies, scores, alpha, targets, change } = scratch;
        let c = problem.n_classes;
        let width = c.next_multiple_of(MAX_LANES);
        for buffer in [&mut *scores, &mut *alpha, &mut *targets, &mut *change] {
            buffer.resize(width);
            buffer.as_mut_slice().fill(T::default());
        }
        // Those that fill the last vector stay so.
        scores.as_mut_slice().copy_from_slice(point.center.as_slice());
        let mut sample = Sample {
            scores: scores.as_mut_slice(),
            alpha: alpha.as_mut_slice(),
            targets: targets.as_mut_slice(),
            change: change.as_mut_slice(),
        };
        let mut gap = 0.0;
        let features = problem.batch.features();
        let Point { alpha: all, weights, stride, center, .. } = point;
        let (weights, stride, center) = (weights.as_mut_slice(), *stride, center.as_slice());
        if let Storage::Sparse(x) = features.storage() {
            for &i in order {
                let (row, i) = (problem.batch.row_index(i as usize), i as usize);
                let (indices, values) = x.row(row).expect("a row of X");
                let entries = || {
                    let scaled = indices.iter().zip(values).map(|(&index, &value)| {
                        let index = index as usize;
                        (index, problem.scaled(value, index))
                    });
                    scaled.chain([(problem.n_features, problem.constant)])
                };
                sparse_scores::<L>(proof, weights, entries(), center, sample.scores);
                let own = &mut all[i * c..][..c];
                let visit = sample.maximize::<L>(proof, problem, i, row, own);
                if visit.moved {
                    add_sparse::<L>(proof, entries(), sample.change, weights);
                }
                gap += visit.gap;
                if visit.moved || visit.free {
                    active.push(i as u32);
                }
            }
            return gap;
        }
        reading.begin(&features);
        let d = problem.n_features;
        for first in (0..order.len()).step_by(ROWS) {
            let block = first..order.len().min(first + ROWS);
            let samples = problem.batch.rows(rows, block.clone());
            let row_stride = copy_rows::<L>(proof, &samples, reading, copies);
            for (&i, x) in
                order[block].iter().zip(copies.as_mut_slice().chunks_exact_mut(row_stride))
            {
                let x = &mut x[..(d + 1).next_multiple_of(L::LANES)];
                x[d..].fill(T::default());
                x[d] = problem.constant;
                let (row, i) = (problem.batch.row_index(i as usize), i as usize);
                dense_scores::<L>(proof, weights, stride, x, center, sample.scores);
                let own = &mut all[i * c..][..c];
                let visit = sample.maximize::<L>(proof, problem, i, row, own);
                if visit.moved {
                    let classes = weights.chunks_exact_mut(stride).zip(&*sample.change);
                    for (weights, &change) in classes.filter(|(_, change)| **change != T::default())
                    {
                        add_row::<L>(proof, change, x, weights);
                    }
                }
                gap += visit.gap;
                if visit.moved || visit.free {
                    active.push(i as u32);
                }
            }
        }
        gap
    }
}

/// W x + b, of whole vectors, for a multiple of [`GROUP`] classes.
#[inline(always)]
fn dense_scores<L: Lanes>(
    proof: L::Proof,
    weights: &[L::Elem],
    stride: usize,
    x: &[L::Elem],
    center: &[L::Elem],
    scores: &mut [L::Elem],
) {
    for ((weights, scores), center) in weights
        .chunks_exact(GROUP * stride)
        .zip(scores.chunks_exact_mut(GROUP))
        .zip(center.chunks_exact(GROUP))
    {
        let mut sums = [L::splat(proof, L::Elem::default()); GROUP];
        let (a, rest) = weights.split_at(stride);
        let (b, rest) = rest.split_at(stride);
        let (c, d) = rest.split_at(stride);
        let vectors = a
            .chunks_exact(L::LANES)
            .zip(b.chunks_exact(L::LANES))
            .zip(c.chunks_exact(L::LANES).zip(d.chunks_exact(L::LANES)));
        for (x, ((a, b), (c, d))) in x.chunks_exact(L::LANES).zip(vectors) {
            let x = L::from_slice(proof, x);
            for (sum, weights) in sums.iter_mut().zip([a, b, c, d]) {
                *sum = x.mul_add(L::from_slice(proof, weights), *sum);
            }
        }
        for ((score, center), sum) in scores.iter_mut().zip(center).zip(L::sum4(sums)) {
            *score = *center + sum;
        }
    }
}

/// `target += factor x`.
#[inline(always)]
fn add_row<L: Lanes>(proof: L::Proof, factor: L::Elem, x: &[L::Elem], target: &mut [L::Elem]) {
    let factor = L::splat(proof, factor);
    for (x, target) in x.chunks_exact(L::LANES).zip(target.chunks_exact_mut(L::LANES)) {
        let sum = factor.mul_add(L::from_slice(proof, x), L::from_slice(proof, target));
        sum.write_to(target);
    }
}

/// W x + b, where x has few entries.
#[inline(always)]
fn sparse_scores<L: Lanes>(
    proof: L::Proof,
    weights: &[L::Elem],
    entries: impl Iterator<Item = (usize, L::Elem)> + Clone,
    center: &[L::Elem],
    scores: &mut [L::Elem],
) {
    let width = scores.len();
    for (first, scores) in (0..width).step_by(L::LANES).zip(scores.chunks_exact_mut(L::LANES)) {
        let mut sum = L::from_slice(proof, &center[first..]);
        for (feature, value) in entries.clone() {
            let weights = L::from_slice(proof, &weights[feature * width + first..]);
            sum = L::splat(proof, value).mul_add(weights, sum);
        }
        sum.write_to(scores);
    }
}

/// W += change xᵀ, where x has few entries.
#[inline(always)]
fn add_sparse<L: Lanes>(
    proof: L::Proof,
    entries: impl Iterator<Item = (usize, L::Elem)>,
    change: &[L::Elem],
    weights: &mut [L::Elem],
) {
    let width = change.len();
    for (feature, value) in entries {
        add_row::<L>(proof, value, change, &mut weights[feature * width..][..width]);
    }
}

/// What a visit to a sample came to.
struct Visit {
    /// The distance between its primal and its dual term, before it.
    gap: f64,
    /// Whether its variables changed.
    moved: bool,
    /// Whether one of them is between its bounds.
    free: bool,
}

/// The classes of one sample, in whole vectors.
struct Sample<'a, T> {
    scores: &'a mut [T],
    alpha: &'a mut [T],
    targets: &'a mut [T],
    change: &'a mut [T],
}

impl<T: Element> Sample<'_, T> {
    /// Goes to the maximum of the dual over the variables of one sample, of which the scores are known. If they move,
    /// `change` is what W changes by, times x.
    ///
    /// With v the margin violations at α, the maximum is at
    ///
    /// ```text
    /// α′ⱼ = min(u, max(0, tⱼ − r κ))        t = r (v + q α)        r = 1 / (q + γ)
    /// ```
    ///
    /// where q is the curvature along the sample, and κ / q what s_y has gained: q κ = q (Σ α′ − Σ α), or more where
    /// Σ α′ may not exceed 1. That is one equation in κ, whose two sides are monotone and made of straight lines:
    /// Newton's method solves it, kept within bounds.
    #[inline(always)]
    fn maximize<L: Lanes<Elem = T>>(
        &mut self,
        proof: L::Proof,
        problem: &Problem<'_, T>,
        i: usize,
        row: usize,
        own: &mut [T],
    ) -> Visit {
        let Self { scores, alpha, targets, change } = self;
        let c = own.len();
        let (zero, number) = (T::default(), |x: f64| L::splat(proof, T::from_f64(x)));
        let label = problem.batch.labels()[row] as usize;
        alpha[..c].copy_from_slice(own);
        let of_label = scores[label].to_f64();
        scores[label] = Problem::<T>::never();
        let share = problem.batch.weight(row).to_f64() * problem.per_weight;
        // Where it is next to nothing, a step may be as long as the variables reach, but not infinite.
        let q = (share * problem.squares[i].to_f64()).max(T::MIN_POSITIVE.to_f64() * 1e8);
        let (kind, margin) = (problem.margins.kind, problem.margins.margin);
        let bend = kind.bend();
        let r = 1.0 / (q + bend);

        // Margin violations, and by how much the primal term exceeds the dual one.
        let (no, upper) = (L::splat(proof, zero), number(kind.upper()));
        let (lift, slope, curve) = (number(margin - of_label), number(r), number(q));
        let half_bend = number(0.5 * bend);
        let (mut gaps, mut worst, mut sums) = (no, no, no);
        for ((scores, alpha), targets) in scores
            .chunks_exact(L::LANES)
            .zip(alpha.chunks_exact(L::LANES))
            .zip(targets.chunks_exact_mut(L::LANES))
        {
            let violation = L::from_slice(proof, scores) + lift;
            let alpha = L::from_slice(proof, alpha);
            let exceeds = violation.max(no);
            let term = match kind {
                Kind::Hinge => exceeds,
                Kind::Squared => exceeds * exceeds,
                Kind::CrammerSinger => no,
            };
            worst = exceeds.max(worst);
            gaps = gaps + (term - alpha * (violation - half_bend * alpha));
            sums = sums + alpha;
            (slope * curve.mul_add(alpha, violation)).write_to(targets);
        }
        let [gap, before, ..] = L::sum4([gaps, sums, no, no]);
        let [largest, ..] = L::max4([worst, no, no, no]);
        let (mut gap, before) = (gap.to_f64(), before.to_f64());
        if kind == Kind::CrammerSinger {
            gap += largest.to_f64();
        }

        let cap = kind.cap();
        let tolerance = 4.0 * T::EPSILON.to_f64() * (1.0 + before);
        let (mut low, mut high, mut kappa) = (-before, f64::INFINITY, 0.0);
        for _ in 0..STEPS {
            let shift = number(r * q * kappa);
            let (mut sums, mut free) = (no, no);
            for targets in targets.chunks_exact(L::LANES) {
                let target = L::from_slice(proof, targets) - shift;
                sums = sums + target.max(no).min(upper);
                let inside = L::select(target.gt(no), number(1.0), no);
                free = free + L::select(target.gt(upper), no, inside);
            }
            let [sum, free, ..] = L::sum4([sums, free, no, no]);
            let capped = before + kappa > cap;
            let excess = sum.to_f64() - if capped { cap } else { before + kappa };
            if excess.abs() <= tolerance {
                break;
            }
            let rate = r * q * free.to_f64() + if capped { 0.0 } else { 1.0 };
            if excess > 0.0 {
                low = kappa
            } else {
                high = kappa
            }
            let next = kappa + excess / rate;
            kappa = match () {
                _ if next > low && next < high => next,
                _ if high.is_finite() => 0.5 * (low + high),
                _ => 2.0 * kappa.abs() + 1.0,
            };
        }

        let shift = number(r * q * kappa);
        let factor = number(-share);
        let (mut moved, mut sums, mut free) = (no, no, no);
        for ((alpha, targets), change) in alpha
            .chunks_exact_mut(L::LANES)
            .zip(targets.chunks_exact(L::LANES))
            .zip(change.chunks_exact_mut(L::LANES))
        {
            let next = (L::from_slice(proof, targets) - shift).max(no).min(upper);
            let difference = next - L::from_slice(proof, alpha);
            moved = moved + difference * difference;
            sums = sums + difference;
            let inside = L::select(next.gt(no), number(1.0), no);
            free = free + L::select(upper.gt(next), inside, no);
            next.write_to(alpha);
            (factor * difference).write_to(change);
        }
        let [moved, sum, free, _] = L::sum4([moved, sums, free, no]);
        let moved = moved > zero;
        if moved {
            own.copy_from_slice(&alpha[..c]);
            change[label] = T::from_f64(share * sum.to_f64());
        }
        Visit { gap, moved, free: free > zero }
    }
}
