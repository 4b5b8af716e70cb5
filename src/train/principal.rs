//! The directions in which the features vary most. Along them a step is too long that is too short along all the
//! others: of images, the first one varies hundreds of times as much as the average one, and every step
//! must be so short that it does not overshoot there. Taking shorter steps along a few directions lets all the
//! others be longer.
//!
//! Features are taken from their mean, as if that were part of the bias, on which nothing else depends then.
//!
//! The directions are the first eigenvectors of the second moments, by orthogonal iteration (Golub and Van
//! Loan, "Matrix Computations", section 8.2.4).

use super::curvature::Sample;
use crate::{
    Batch, Scalar,
    kernel::{Strided, multiply},
};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};

/// Samples that tell the directions.
const SAMPLES: usize = 2000;

/// Each brings the directions closer by the ratio of the eigenvalues; they need not be exact.
const ITERATIONS: usize = 8;

/// Directions and, for each, the share of a step that is left out.
pub(super) struct Principal {
    /// Of each feature.
    mean: Vec<f64>,
    /// Orthonormal rows of D.
    directions: Vec<f32>,
    shares: Vec<f32>,
}

impl Principal {
    /// The first `k` directions, half of all at most. Along each the steps become so short as if the features
    /// varied there no more than in the last one, or than in the average one of those that are left.
    ///
    /// None where there are no such directions: the features do not vary, or more than numbers can tell.
    ///
    /// Takes O(k D) for each of some thousand samples.
    pub(super) fn of<T: Scalar>(batch: &Batch<'_, T>, k: usize) -> Option<Self> {
        let width = batch.n_features();
        let k = k.min(width / 2);
        if k == 0 {
            return None;
        }
        let (mean, samples) = Sample::spread(batch, SAMPLES).centered();
        let n = samples.len() / width;
        let total: f64 = samples.iter().map(|x| x * x).sum();
        if !(total > 0.0 && total.is_finite()) {
            return None;
        }
        // The eigenvalues add up to 1, whatever the unit of the features.
        let samples: Vec<f32> = samples.iter().map(|x| (x / total.sqrt()) as f32).collect();
        let rows = Strided::rows(&samples, width);

        let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut directions: Vec<f32> = (0..k * width)
            .map(|_| (random.next_u32() >> 8) as f32 / 2.0_f32.powi(23) - 1.0)
            .collect();
        let mut along = vec![0.0; n * k];
        for _ in 0..ITERATIONS {
            orthonormalize(&mut directions, width);
            let right = Strided::rows(&directions, width).transposed();
            multiply([n, width, k], 1.0, rows, right, 0.0, &mut along, k);
            let left = Strided::rows(&along, k).transposed();
            multiply([k, n, width], 1.0, left, rows, 0.0, &mut directions, width);
        }
        // What is left of a direction of length one is as long as its eigenvalue.
        let lengths = orthonormalize(&mut directions, width);
        let left = (1.0 - lengths.iter().sum::<f64>()) / (width - k) as f64;
        let last = lengths.iter().copied().fold(f64::INFINITY, f64::min).max(left);
        let shares = lengths.iter().map(|length| (1.0 - last / length).max(0.0) as f32).collect();
        Some(Self { mean, directions, shares })
    }

    /// Makes a step of a gradient by W and b, in their order.
    pub(super) fn damp(&self, gradient: &mut [f64]) {
        let (d, k) = (self.mean.len(), self.shares.len());
        let c = gradient.len() / (d + 1);
        let (weights, bias) = gradient.split_at_mut(c * d);
        for (weights, bias) in weights.chunks_exact_mut(d).zip(&*bias) {
            weights.iter_mut().zip(&self.mean).for_each(|(slope, mean)| *slope -= bias * mean);
        }
        let mut rows: Vec<f32> = weights.iter().map(|slope| *slope as f32).collect();
        let directions = Strided::rows(&self.directions, d);
        let mut along = vec![0.0; c * k];
        let across = directions.transposed();
        multiply([c, d, k], 1.0, Strided::rows(&rows, d), across, 0.0, &mut along, k);
        for along in along.chunks_exact_mut(k) {
            along.iter_mut().zip(&self.shares).for_each(|(along, share)| *along *= share);
        }
        multiply([c, k, d], 1.0, Strided::rows(&along, k), directions, 0.0, &mut rows, d);
        weights.iter_mut().zip(&rows).for_each(|(step, part)| *step -= f64::from(*part));
        // What the mean is multiplied by goes to the bias.
        for (weights, bias) in weights.chunks_exact(d).zip(bias) {
            *bias -= weights.iter().zip(&self.mean).map(|(step, mean)| step * mean).sum::<f64>();
        }
    }
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
