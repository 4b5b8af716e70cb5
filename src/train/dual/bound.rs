//! The value of the dual, at the variables where they are or rather at some near them that meet the condition of the
//! bias: what no model can fall below.

use super::{
    ascent::{Point, ROWS},
    problem::Problem,
};
use crate::train::dot;
use crate::{
    Isa, Scalar,
    buffer::Buffer,
    element::Element,
    features::Storage,
    kernel::{Reading, copy_rows},
    simd::{Lanes, Run},
};

/// What the dual variables come to.
#[derive(Debug)]
pub(super) struct Dual {
    /// (1/Z) Σ wᵢ αᵢ xᵢᵀ with αᵢ the derivatives of the loss of sample i: G, C × D.
    pub(super) gradient: Vec<f64>,
    /// That of the bias, which is to be 0.
    pub(super) bias: Vec<f64>,
    /// The terms of the samples: Δ Σ α, and less for the squared hinge.
    pub(super) terms: f64,
}

impl Dual {
    /// Of a point, whose variables are first brought within bounds that rounding has let them exceed.
    pub(super) fn new<T: Scalar>(isa: Isa, problem: &Problem<'_, T>, point: &mut Point<T>) -> Self {
        let (n, c, d) = (problem.batch.n_samples(), problem.n_classes, problem.n_features);
        let z = problem.batch.total_weight();
        let bend = problem.margins.kind.bend();
        let mut dual = Self { gradient: vec![0.0; c * d], bias: vec![0.0; c], terms: 0.0 };
        let mut samples = Vec::new();
        for (i, alpha) in (0..n).zip(point.alpha.chunks_exact_mut(c)) {
            let mut sum: f64 = alpha.iter().map(|alpha| alpha.to_f64()).sum();
            if sum == 0.0 {
                continue;
            }
            if sum > problem.margins.kind.cap() {
                let factor = (1.0 - T::EPSILON.to_f64()) / sum;
                alpha.iter_mut().for_each(|a| *a = T::from_f64(a.to_f64() * factor));
                sum = alpha.iter().map(|alpha| alpha.to_f64()).sum();
            }
            samples.push(i as u32);
            let (label, weight) = problem.label_and_weight(i);
            let weight = weight / z;
            let squares: f64 = alpha.iter().map(|alpha| alpha.to_f64().powi(2)).sum();
            dual.terms += weight * (problem.margins.margin * sum - 0.5 * bend * squares);
            dual.bias.iter_mut().zip(&*alpha).for_each(|(b, a)| *b += weight * a.to_f64());
            dual.bias[label] -= weight * sum;
        }
        let rows: Vec<u32> =
            samples.iter().map(|&i| problem.batch.row_index(i as usize) as u32).collect();
        let gradient = &mut dual.gradient;
        let (samples, rows) = (&samples, &rows);
        T::add_dual(isa, AddDual { problem, samples, rows, alpha: &point.alpha, gradient });
        dual.gradient.iter_mut().for_each(|g| *g /= z);
        dual
    }

    /// A lower bound of the objective of all models.
    pub(super) fn bound<T: Element>(&self, problem: &Problem<'_, T>) -> f64 {
        let Some(balance) = problem.margins.balance(&self.bias) else { return f64::NEG_INFINITY };
        let (kept, mut gradient) = (1.0 - balance.share, balance.gradient);
        gradient.iter_mut().zip(&self.gradient).for_each(|(sum, g)| *sum += kept * g);
        kept * self.terms + balance.terms - dot(&gradient, &gradient) / (4.0 * problem.l2)
    }

    /// Makes W and b those that follow from the dual variables, to the last digit.
    pub(super) fn set_weights<T: Element>(&self, problem: &Problem<'_, T>, point: &mut Point<T>) {
        let (c, d) = (problem.n_classes, problem.n_features);
        let constant = problem.constant.to_f64();
        for k in 0..c {
            for l in 0..=d {
                let slope = if l < d { self.gradient[k * d + l] } else { constant * self.bias[k] };
                *point.weight_mut(k, l) = T::from_f64(-slope / (2.0 * problem.l2));
            }
        }
    }
}

/// Adds wᵢ αᵢ xᵢᵀ of some samples to the gradient.
pub struct AddDual<'a, 'b, T> {
    problem: &'a Problem<'b, T>,
    samples: &'a [u32],
    rows: &'a [u32],
    alpha: &'a [T],
    gradient: &'a mut [f64],
}

impl<T: Element> Run<T> for AddDual<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { problem, samples, rows, alpha, gradient } = self;
        let (c, d) = (problem.n_classes, problem.n_features);
        let features = problem.batch.features();
        let mut factors = vec![0.0; c];
        let factors_of = |i: usize, factors: &mut [f64]| {
            let (label, weight) = problem.label_and_weight(i);
            let mut sum = 0.0;
            for (factor, alpha) in factors.iter_mut().zip(&alpha[i * c..][..c]) {
                *factor = weight * alpha.to_f64();
                sum += *factor;
            }
            factors[label] = -sum;
        };
        if let Storage::Sparse(x) = features.storage() {
            for (&i, &row) in samples.iter().zip(rows) {
                factors_of(i as usize, &mut factors);
                let (indices, values) = x.row(row as usize).expect("a row of X");
                for (k, factor) in factors.iter().enumerate().filter(|(_, factor)| **factor != 0.0)
                {
                    for (&feature, &value) in indices.iter().zip(values) {
                        let feature = feature as usize;
                        let x = problem.scaled(value, feature).to_f64();
                        gradient[k * d + feature] += factor * x;
                    }
                }
            }
            return;
        }
        let (mut reading, mut copies) = (Reading::default(), Buffer::default());
        reading.begin(&features);
        for first in (0..samples.len()).step_by(ROWS) {
            let block = first..samples.len().min(first + ROWS);
            let range = problem.batch.rows(rows, block.clone());
            let stride = copy_rows::<L>(proof, &range, &mut reading, &mut copies);
            for (&i, x) in samples[block].iter().zip(copies.as_slice().chunks_exact(stride)) {
                factors_of(i as usize, &mut factors);
                for (gradient, &factor) in gradient.chunks_exact_mut(d).zip(&factors) {
                    if factor == 0.0 {
                        continue;
                    }
                    let factor = L::splat(proof, T::from_f64(factor));
                    for (x, gradient) in x.chunks_exact(L::LANES).zip(gradient.chunks_mut(L::LANES))
                    {
                        (factor * L::from_slice(proof, x)).add_widened(gradient);
                    }
                }
            }
        }
    }
}
