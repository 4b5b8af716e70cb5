//! The directions in which the features vary most. Along them a step is too long that is too short along all the
//! others: of images, the first one varies hundreds of times as much as the average one, and every step
//! must be so short that it does not overshoot there. Taking shorter steps along a few directions lets all the
//! others be longer.
//!
//! Features are taken from their mean, as if that were part of the bias, on which nothing else depends then.
//!
//! The directions are the first eigenvectors of the second moments, by orthogonal iteration (Golub and Van
//! Loan, "Matrix Computations", section 8.2.4).

use super::curvature::{Sample, place};
use crate::{
    Batch, CsrView, Scalar,
    features::Storage,
    kernel::{Strided, multiply},
};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};

/// Samples that tell the directions.
const SAMPLES: usize = 2000;

/// Steps of the power method for sparse rows: it only has to tell how long steps may be.
const POWER_STEPS: usize = 10;

/// Each brings the directions closer by the ratio of the eigenvalues; they need not be exact.
const ITERATIONS: usize = 8;

/// Directions and, for each, the share of a step that is left out; and how much the features vary then.
pub(super) struct Principal {
    /// Of each feature; empty if they are taken as they are.
    mean: Vec<f64>,
    /// Orthonormal rows of D.
    directions: Vec<f32>,
    shares: Vec<f32>,
    /// What is left of the largest eigenvalue of the second moments,
    largest: f64,
    /// and of the sum of all.
    sum: f64,
    /// What is left of all steps of the weights, and of those of the bias.
    scales: [f64; 2],
}

impl Principal {
    /// The first `k` directions, half of all at most. Along each the steps become so short as if the features
    /// varied there no more than in the last one, or than in the average one of those that are left. Without any,
    /// the features are taken as they are, not from their mean.
    ///
    /// None where numbers cannot tell how much the features vary.
    ///
    /// Takes O(k D) for each of some thousand samples.
    pub(super) fn of<T: Scalar>(batch: &Batch<'_, T>, k: usize) -> Option<Self> {
        if let Storage::Sparse(x) = batch.features().storage() {
            return Self::of_sparse(batch, x);
        }
        let width = batch.n_features();
        let k = k.min(width / 2);
        let (mean, samples) = Sample::spread(batch, SAMPLES).centered();
        let total: f64 = samples.iter().map(|x| x * x).sum();
        let length: f64 = mean.iter().map(|mean| mean * mean).sum();
        if !(total + length).is_finite() {
            return None;
        }
        // The eigenvalues add up to 1, whatever the unit of the features.
        let unit = if total > 0.0 { total.sqrt() } else { 1.0 };
        let samples: Vec<f32> = samples.iter().map(|x| (x / unit) as f32).collect();
        let (mut directions, eigenvalues) = directions(&samples, width, k.max(1));
        if k == 0 {
            // A bound of the largest one, with the 1 that goes with the bias.
            let largest = eigenvalues[0] * total + length + 1.0;
            let (mean, directions, shares) = (Vec::new(), Vec::new(), Vec::new());
            let sum = total + length + 1.0;
            return Some(Self { mean, directions, shares, largest, sum, scales: [1.0; 2] });
        }
        let left = (1.0 - eigenvalues.iter().sum::<f64>()).max(0.0) / (width - k) as f64;
        let last = eigenvalues.iter().copied().fold(f64::INFINITY, f64::min).max(left);
        let share = |value: f64| if value > last { 1.0 - last / value } else { 0.0 };
        let shares: Vec<f32> = eigenvalues.iter().map(|value| share(*value) as f32).collect();
        let left_out: f64 = eigenvalues.iter().map(|value| value * share(*value)).sum();
        if total == 0.0 {
            directions.fill(0.0);
        }
        let (largest, sum) = (last * total, (1.0 - left_out) * total);
        Some(Self { mean, directions, shares, largest, sum, scales: [1.0; 2] })
    }

    /// No directions: taken from their mean, sparse features would be sparse no longer. How long the steps may be is
    /// found by the power method.
    ///
    /// Takes O(entries) for each of some thousand samples, and O(D).
    fn of_sparse<T: Scalar>(batch: &Batch<'_, T>, x: CsrView<'_, T>) -> Option<Self> {
        let (n, size) = (batch.n_samples(), SAMPLES.min(batch.n_samples()));
        let rows: Vec<usize> = (0..size).map(|i| batch.row_index(place(i, size, n))).collect();
        let total: f64 = rows.iter().map(|row| batch.weight(*row).to_f64()).sum();
        let entries = |row: usize| {
            let (indices, values) = x.row(row).expect("a row of X");
            indices.iter().map(|l| *l as usize).zip(values.iter().map(|value| value.to_f64()))
        };
        let share = |row: usize| if total > 0.0 { batch.weight(row).to_f64() / total } else { 0.0 };
        // The last place goes with the bias.
        let mut vector = vec![1.0; x.cols() + 1];
        let (mut largest, mut sum) = (1.0, 1.0);
        for i in 0..POWER_STEPS {
            let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|v| *v /= length);
            let mut next = vec![0.0; vector.len()];
            for &row in &rows {
                let product: f64 = entries(row).map(|(l, value)| vector[l] * value).sum();
                let term = share(row) * (product + vector[x.cols()]);
                entries(row).for_each(|(l, value)| next[l] += term * value);
                next[x.cols()] += term;
                if i == 0 {
                    sum += share(row) * entries(row).map(|(_, value)| value * value).sum::<f64>();
                }
            }
            vector = next;
            largest = vector.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        }
        if !(largest + sum).is_finite() {
            return None;
        }
        let (mean, directions, shares) = (Vec::new(), Vec::new(), Vec::new());
        Some(Self { mean, directions, shares, largest: largest.max(1.0), sum, scales: [1.0; 2] })
    }

    /// Shortens steps of length `rate` to what does not diverge for a loss whose second derivatives by the
    /// scores are about `curvature`.
    ///
    /// The heavy ball rolls down a parabola of curvature h if rate × h is less than 2 (1 + momentum) (Polyak,
    /// 1964). A minibatch has a curvature of its own, that of the batch and
    /// 1 / `batch_size` of that of a single sample (Gower and others, "SGD: general analysis and improved rates",
    /// 2019), which acts on 1 / (1 − momentum) steps.
    pub(super) fn shorten(&mut self, rate: f64, momentum: f64, batch_size: usize, curvature: f64) {
        let scale = |largest: f64, sum: f64| {
            let of_batch = 2.0 * (1.0 + momentum) / (curvature * largest);
            let of_sample = (1.0 - momentum) * batch_size as f64 / (curvature * sum);
            (of_batch.min(of_sample) / rate).min(1.0)
        };
        let bias = if self.mean.is_empty() { (self.largest, self.sum) } else { (1.0, 0.0) };
        self.scales = [scale(self.largest, self.sum), scale(bias.0, bias.1)];
    }

    /// What is left of a step of the weights, and of one of the bias.
    pub(super) fn scales(&self) -> [f64; 2] {
        self.scales
    }

    /// Whether steps differ by their direction.
    pub(super) fn directs(&self) -> bool {
        !self.mean.is_empty()
    }

    /// Makes W and b, in their order, those of features taken from their mean; or back again, with −1.
    pub(super) fn center(&self, parameters: &mut [f64], sign: f64, n_features: usize) {
        let c = parameters.len() / (n_features + 1);
        let (weights, bias) = parameters.split_at_mut(c * n_features);
        for (weights, bias) in weights.chunks_exact(n_features).zip(bias) {
            let product: f64 = weights.iter().zip(&self.mean).map(|(w, mean)| w * mean).sum();
            *bias += sign * product;
        }
    }

    /// Makes a gradient by W and b one by what [`center`](Self::center) makes of them.
    pub(super) fn center_slopes(&self, gradient: &mut [f64], n_features: usize) {
        let c = gradient.len() / (n_features + 1);
        let (weights, bias) = gradient.split_at_mut(c * n_features);
        for (weights, bias) in weights.chunks_exact_mut(n_features).zip(bias) {
            weights.iter_mut().zip(&self.mean).for_each(|(slope, mean)| *slope -= *bias * mean);
        }
    }

    /// Leaves out of such a gradient what is too much along the directions.
    pub(super) fn damp(&self, gradient: &mut [f64], n_features: usize) {
        let (d, k) = (n_features, self.shares.len());
        let c = gradient.len() / (d + 1);
        let weights = &mut gradient[..c * d];
        if k > 0 {
            // So that nothing is too large or too small for `f32`.
            let unit = weights.iter().fold(f64::MIN_POSITIVE, |max, slope| slope.abs().max(max));
            let mut rows: Vec<f32> = weights.iter().map(|slope| (slope / unit) as f32).collect();
            let directions = Strided::rows(&self.directions, d);
            let mut along = vec![0.0; c * k];
            let across = directions.transposed();
            multiply([c, d, k], 1.0, Strided::rows(&rows, d), across, 0.0, &mut along, k);
            for along in along.chunks_exact_mut(k) {
                along.iter_mut().zip(&self.shares).for_each(|(along, share)| *along *= share);
            }
            multiply([c, k, d], 1.0, Strided::rows(&along, k), directions, 0.0, &mut rows, d);
            let steps = weights.iter_mut().zip(&rows);
            steps.for_each(|(step, part)| *step -= unit * f64::from(*part));
        }
    }
}

/// The first `k` eigenvectors of Σ x xᵀ over the rows, and their eigenvalues.
fn directions(samples: &[f32], width: usize, k: usize) -> (Vec<f32>, Vec<f64>) {
    let n = samples.len() / width;
    let rows = Strided::rows(samples, width);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
    let mut directions: Vec<f32> =
        (0..k * width).map(|_| (random.next_u32() >> 8) as f32 / 2.0_f32.powi(23) - 1.0).collect();
    let mut along = vec![0.0; n * k];
    for _ in 0..ITERATIONS {
        orthonormalize(&mut directions, width);
        let right = Strided::rows(&directions, width).transposed();
        multiply([n, width, k], 1.0, rows, right, 0.0, &mut along, k);
        let left = Strided::rows(&along, k).transposed();
        multiply([k, n, width], 1.0, left, rows, 0.0, &mut directions, width);
    }
    // What is left of a direction of length one is as long as its eigenvalue.
    let eigenvalues = orthonormalize(&mut directions, width);
    (directions, eigenvalues)
}

/// Makes rows orthogonal to those before them, and of length one; returns the lengths that they had by then.
/// (Gram and Schmidt's, modified.)
fn orthonormalize(rows: &mut [f32], width: usize) -> Vec<f64> {
    let mut lengths = Vec::new();
    for i in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(i * width);
        let row = &mut rest[..width];
        for before in before.chunks_exact(width) {
            let along: f64 = dot(before, row);
            row.iter_mut().zip(before).for_each(|(x, b)| *x -= (along * f64::from(*b)) as f32);
        }
        let length = dot(row, row).sqrt();
        // Where the samples have no further direction, none is left.
        let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
        row.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
        lengths.push(length);
    }
    lengths
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
