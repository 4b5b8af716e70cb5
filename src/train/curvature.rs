//! The curvature of a smooth loss, which L-BFGS begins with instead of the unit matrix.
//!
//! Its Hessian has a block for each pair of classes. Those on the diagonal, Σ wᵢ hᵢ xᵢxᵢᵀ / Z + 2λ I with the second
//! derivatives h by the scores of one class, of cross-entropy p (1 − p), are most of it (Böhning, "Multinomial logistic regression
//! algorithm", 1992, bounds all by one such matrix). They are estimated from some of the samples and factored,
//! L Lᵀ for each class. What is left for L-BFGS to learn is as little as these blocks are true: it needs tens of
//! iterations then where it would need hundreds.
//!
//! A model of zeros is as unsure of one class as of any other, so that its blocks differ by a factor at most. Where the
//! blocks are too large, or where too few samples are left to learn each of them from, one factor serves all classes:
//! the second moments of the features, times the same h. Where that one is too large, too, as those of words
//! are, its diagonal is left: rare features take longer steps.

use super::{cholesky::Cholesky, max_norm};
use crate::{
    Batch, Error, Isa, LinearModel, MatrixView, Objective, Scalar,
    features::Storage,
    kernel::{Strided, multiply},
    parallel::for_each_chunk,
};
use core::ops::Range;

/// What the factors may take up together.
const MAX_BYTES: usize = 64 << 20;

/// Samples for each feature that the curvature is estimated from. Where each class has a block of its own, and more than
/// ten classes share the samples, half as many for each feature and class; and as many to fit a first model to.
const SAMPLES_PER_FEATURE: usize = 5;

/// And no fewer than these, which cost next to nothing.
const MIN_SAMPLES: usize = 2000;

/// With fewer samples for each feature, if there are others, curvature is not to be learnt.
const FEWEST_PER_FEATURE: usize = 2;

/// `f32` numbers that a sample and its scores may take up.
const MAX_SAMPLED: usize = 32 << 20;

/// What the factors may cost, in evaluations of the batch: without them, L-BFGS takes hundreds more.
const MAX_EVALUATIONS: usize = 100;

/// The share of the samples that a first model is fitted to, at most: it takes tens of evaluations of them.
const ROUGH_SHARE: u64 = 10;

/// h of the factor that serves all classes, relative to the mean at the model. A fit becomes surer, and of most samples
/// long before its end: the few that stay in doubt, of each class others, are for the secants to learn. Three times as much
/// or half as much costs a few iterations.
const COMMON: f64 = 0.2;

/// Added to the diagonal, relative to it: what `f32` can tell from nothing.
const RIDGE: f32 = 1e-5;

/// Samples whose weight is a smaller share of the mean are left out.
const NEGLIGIBLE: f64 = 0.05;

/// Rows that are copied at a time, with their weights for one class.
const WEIGHTED_ROWS: usize = 512;

/// What one fit has learnt of the curvature, for other samples of the same kind. It begins with nothing. See
/// [`Lbfgs::fit_with_curvature`](super::Lbfgs::fit_with_curvature).
#[derive(Clone, Debug, Default)]
pub struct LearnedCurvature(Option<(Objective, Curvature)>);

impl LearnedCurvature {
    /// What is known of an objective with models of this size.
    pub(super) fn of<T: Scalar>(
        &self,
        objective: &Objective,
        model: &LinearModel<T>,
    ) -> Option<Curvature> {
        let (learned_for, curvature) = self.0.as_ref()?;
        let size = (model.n_classes(), model.n_features());
        (learned_for == objective && curvature.size() == size).then(|| curvature.clone())
    }

    pub(super) fn learn(&mut self, objective: &Objective, curvature: &Curvature) {
        self.0 = Some((*objective, curvature.clone()));
    }
}

/// A factor for each class, or one for all of them, or the diagonal alone.
#[derive(Clone, Debug)]
pub(super) struct Curvature {
    isa: Isa,
    /// The root mean square of each feature and, behind them, of the 1 that goes with the bias; of the diagonal, its
    /// roots.
    scales: Vec<f64>,
    /// Of features divided by the scales.
    factors: Vec<Cholesky>,
    /// Room for what is solved, class by class.
    by_class: Vec<f32>,
}

/// Whether classes have factors of their own.
#[derive(Clone, Copy)]
enum Factors {
    EachClass,
    Common,
}

/// What the curvature is learnt from, so that it can be learnt again.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source<T> {
    /// There is nothing to learn it from.
    Nothing,
    /// A model of zeros, for what serves all classes.
    Zeros,
    /// This model; of samples [apart](Sample::apart) from those that it was fitted to, if it was.
    Model { model: LinearModel<T>, apart: bool },
}

impl<T: Scalar> Source<T> {
    /// Learns the curvature from a batch, where there are so many samples in all. The same each time.
    pub(super) fn learn(
        &self,
        isa: Isa,
        objective: &Objective,
        n_classes: usize,
        batch: &Batch<'_, T>,
        n_samples: u64,
    ) -> Option<Curvature> {
        match self {
            Self::Nothing => None,
            Self::Zeros => {
                let zeros = LinearModel::zeros(n_classes, batch.n_features());
                Curvature::common(isa, objective, &zeros, batch)
            }
            Self::Model { model, apart } => {
                let apart = apart.then(|| Sample::apart(n_classes, batch, n_samples)).flatten();
                Curvature::at(isa, objective, model, batch, apart)
            }
        }
    }
}

/// Some samples of a batch, side by side.
pub(super) struct Sample<T> {
    features: Vec<T>,
    n_features: usize,
    labels: Vec<u32>,
    weights: Option<Vec<T>>,
}

impl<T: Scalar> Sample<T> {
    /// Samples to fit a first model to, spread evenly over the batch.
    ///
    /// None if there are too few samples for these and others [apart](Self::apart), of the batch or of the `n_samples`
    /// of an evaluation, or if the factors would be too large.
    pub(super) fn to_fit(n_classes: usize, batch: &Batch<'_, T>, n_samples: u64) -> Option<Self> {
        Self::every_second(0, n_classes, batch, n_samples)
    }

    /// As many others, between them, to learn the curvature of each class from: a model is surer of the samples it was
    /// fitted to than of all the rest, and curvature is where it is not sure.
    fn apart(n_classes: usize, batch: &Batch<'_, T>, n_samples: u64) -> Option<Self> {
        Self::every_second(1, n_classes, batch, n_samples)
    }

    fn every_second(
        first: usize,
        n_classes: usize,
        batch: &Batch<'_, T>,
        n_samples: u64,
    ) -> Option<Self> {
        let size = Self::size(n_classes, batch, Factors::EachClass)?;
        if batch.n_samples() < 2 * size || n_samples < ROUGH_SHARE * size as u64 {
            return None;
        }
        let samples = (first..2 * size).step_by(2);
        Some(Self::gather(batch, samples.map(|i| place(i, 2 * size, batch.n_samples()))))
    }

    /// How many samples the curvature is learnt from; none if there are too few, or if the factors would be too large
    /// or too dear.
    fn size(n_classes: usize, batch: &Batch<'_, T>, factors: Factors) -> Option<usize> {
        let (n, m) = (batch.n_samples(), batch.n_features() + 1);
        let (n_factors, per_feature, width) = match factors {
            Factors::EachClass => {
                (n_classes, SAMPLES_PER_FEATURE.max(n_classes / 2), 2 * n_classes)
            }
            Factors::Common => (1, SAMPLES_PER_FEATURE, 1),
        };
        let bytes = m.checked_mul(m)?.checked_mul(n_factors)? / 2;
        if bytes > MAX_BYTES || n < m {
            return None;
        }
        // An evaluation multiplies 2 N D C times; the second moments of a sample, D² times for each factor.
        let affordable =
            (2 * MAX_EVALUATIONS).saturating_mul(n).saturating_mul(n_classes) / (m * n_factors);
        let most = affordable.min(MAX_SAMPLED / m.max(width)).min(n);
        let size = m.saturating_mul(per_feature).max(MIN_SAMPLES).min(most);
        (size >= n.min(FEWEST_PER_FEATURE * m)).then_some(size)
    }

    /// At most so many samples, spread evenly.
    pub(super) fn spread(batch: &Batch<'_, T>, most: usize) -> Self {
        let n = batch.n_samples();
        let size = most.min(n);
        Self::gather(batch, (0..size).map(|i| place(i, size, n)))
    }

    fn gather(batch: &Batch<'_, T>, samples: impl Iterator<Item = usize>) -> Self {
        let rows: Vec<usize> = samples.map(|i| batch.row_index(i)).collect();
        let mut features = Vec::with_capacity(rows.len() * batch.n_features());
        for row in &rows {
            features.extend(batch.features().row(*row).expect("a row of the batch"));
        }
        let labels = rows.iter().map(|row| batch.labels()[*row]).collect();
        let weighted = batch.sample_weights().or(batch.class_weights()).is_some();
        let weights = weighted.then(|| rows.iter().map(|row| batch.weight(*row)).collect());
        Self { features, n_features: batch.n_features(), labels, weights }
    }

    /// The mean of the features, and the rows without it, times the square root of their share of the weights.
    pub(super) fn centered(&self) -> (Vec<f64>, Vec<f64>) {
        let weight = |i: usize| self.weights.as_ref().map_or(1.0, |weights| weights[i].to_f64());
        let total: f64 = (0..self.labels.len()).map(weight).sum();
        let mut mean = vec![0.0; self.n_features];
        for (i, row) in self.features.chunks_exact(self.n_features).enumerate() {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += weight(i) / total * x.to_f64());
        }
        let mut rows = Vec::with_capacity(self.features.len());
        for (i, row) in self.features.chunks_exact(self.n_features).enumerate() {
            let root = (weight(i) / total).sqrt();
            rows.extend(row.iter().zip(&mean).map(|(x, mean)| root * (x.to_f64() - mean)));
        }
        (mean, rows)
    }

    /// As a batch.
    ///
    /// # Errors
    /// [`Error::ZeroSampleWeights`].
    pub(super) fn batch(&self) -> Result<Batch<'_, T>, Error> {
        let n = self.labels.len();
        let batch = Batch::new(MatrixView::new(&self.features, n, self.n_features)?, &self.labels)?;
        self.weights.as_ref().map_or(Ok(batch), |weights| batch.with_sample_weights(weights))
    }
}

/// Where the `i`-th of `size` samples is, spread evenly over `n`.
pub(super) fn place(i: usize, size: usize, n: usize) -> usize {
    (i as u128 * n as u128 / size as u128) as usize
}

impl Curvature {
    /// The curvature at `model`, as some samples of a batch tell it; none where there are too few of them, or where the
    /// factors would be too large.
    fn of<T: Scalar>(
        isa: Isa,
        objective: &Objective,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        factors: Factors,
    ) -> Option<Self> {
        let size = Sample::size(model.n_classes(), batch, factors)?;
        Self::estimate(isa, objective, model, Sample::spread(batch, size), factors)
    }

    /// The most that can be learnt at `model`: a factor for each class, from `sample` or from others, or what serves
    /// all classes.
    fn at<T: Scalar>(
        isa: Isa,
        objective: &Objective,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        sample: Option<Sample<T>>,
    ) -> Option<Self> {
        match sample {
            Some(sample) => Self::estimate(isa, objective, model, sample, Factors::EachClass),
            None => Self::of(isa, objective, model, batch, Factors::EachClass),
        }
        .or_else(|| Self::common(isa, objective, model, batch))
    }

    /// One factor for all classes or, of sparse features where it is too large, its diagonal.
    fn common<T: Scalar>(
        isa: Isa,
        objective: &Objective,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
    ) -> Option<Self> {
        Self::of(isa, objective, model, batch, Factors::Common)
            .or_else(|| Self::diagonal(isa, objective, model.n_classes(), batch))
    }

    /// The diagonal of the curvature at a model of zeros, which is the same for all classes, for sparse features; none
    /// where no sample has any.
    ///
    /// Takes O(entries).
    fn diagonal<T: Scalar>(
        isa: Isa,
        objective: &Objective,
        n_classes: usize,
        batch: &Batch<'_, T>,
    ) -> Option<Self> {
        let Storage::Sparse(x) = batch.features().storage() else { return None };
        let (n, d) = (batch.n_samples(), batch.n_features());
        let scaling = batch.features().scaling();
        let mut squares = vec![0.0; d + 1];
        let (mut total, mut entries) = (0.0, 0.0);
        for row in (0..n).map(|i| batch.row_index(i)) {
            let weight = batch.weight(row).to_f64();
            total += weight;
            let (indices, values) = x.row(row)?;
            entries += weight * indices.len() as f64;
            for (l, value) in indices.iter().map(|l| *l as usize).zip(values) {
                let value = value.to_f64() * scaling.map_or(1.0, |scaling| scaling.scale(l));
                squares[l] += weight * value * value;
            }
        }
        let mut second = vec![0.0; n_classes];
        objective.second_derivatives(&mut second, 0);
        let h = COMMON * second.iter().sum::<f64>() / n_classes as f64;
        // As if each feature had been seen once more: of rare ones, the samples tell too little.
        let more = squares.iter().sum::<f64>() / entries * total / n as f64;
        squares[d] = total - more;
        let mut scales = squares;
        for (l, scale) in scales.iter_mut().enumerate() {
            let l2 = if l < d { 2.0 * objective.l2() } else { 0.0 };
            *scale = (h * (*scale + more) / total + l2).sqrt();
        }
        let usable = scales.iter().all(|scale| scale.is_finite() && *scale > 0.0);
        let by_class = vec![0.0; n_classes * Cholesky::padded(d + 1)];
        usable.then_some(Self { isa, scales, factors: Vec::new(), by_class })
    }

    /// Classes and features.
    fn size(&self) -> (usize, usize) {
        (self.by_class.len() / Cholesky::padded(self.scales.len()), self.scales.len() - 1)
    }

    /// Whether it is more than a diagonal.
    pub(super) fn has_factors(&self) -> bool {
        !self.factors.is_empty()
    }

    /// The curvature at `model`, as a sample tells it; none where no sample has any.
    ///
    /// Takes O(n D²) for n samples, and O(D³), for each factor.
    fn estimate<T: Scalar>(
        isa: Isa,
        objective: &Objective,
        model: &LinearModel<T>,
        sample: Sample<T>,
        factors: Factors,
    ) -> Option<Self> {
        let (n, d, c) = (sample.labels.len(), sample.n_features, model.n_classes());
        let (m, x) = (d + 1, &sample.features);
        let l2 = objective.l2();
        let scores = model.scores(MatrixView::new(x, n, d).ok()?).ok()?;
        let mut second: Vec<f64> = scores.iter().map(|score| score.to_f64()).collect();
        for_each_chunk(&mut second, c, |i, scores| {
            objective.second_derivatives(scores, sample.labels[i] as usize);
        });
        let typical = second.iter().sum::<f64>() / second.len() as f64;
        if typical == 0.0 {
            return None;
        }
        let width = match factors {
            Factors::EachClass => c,
            Factors::Common => {
                let mean = |h: &[f64]| COMMON * h.iter().sum::<f64>() / c as f64;
                second = second.chunks_exact(c).map(mean).collect();
                1
            }
        };
        let total = sample.batch().ok()?.total_weight();
        let weight = |i: usize| sample.weights.as_ref().map_or(1.0, |w| w[i].to_f64()) / total;
        let sample_weights: Vec<f64> = (0..n).map(weight).collect();

        let mut scales = vec![0.0_f64; m];
        for (x, weight) in x.chunks_exact(d).zip(&sample_weights) {
            for (scale, x) in scales.iter_mut().zip(x) {
                *scale += weight * x.to_f64() * x.to_f64();
            }
        }
        scales[d] = 1.0;
        for scale in &mut scales {
            *scale = if *scale > 0.0 && scale.is_finite() { scale.sqrt() } else { 1.0 };
        }
        let mut samples = vec![1.0; n * m];
        for (sample, x) in samples.chunks_exact_mut(m).zip(x.chunks_exact(d)) {
            for ((target, x), scale) in sample.iter_mut().zip(x).zip(&scales) {
                *target = (x.to_f64() / scale) as f32;
            }
        }
        // Of the copies that are made here, this is one too many.
        drop(sample);
        let ridge = |l: usize| match l {
            l if l < d => (2.0 * l2 / (scales[l] * scales[l])).min(1e30) as f32,
            _ => 0.0,
        };

        let mut factors: Vec<Option<Cholesky>> = (0..width).map(|_| None).collect();
        for_each_chunk(&mut factors, 1, |class, factor| {
            // A class that has no curvature of its own is to be no direction without any.
            let none = (0..n).all(|i| second[i * width + class] == 0.0);
            let weight = |i: usize| {
                sample_weights[i] * if none { typical } else { second[i * width + class] }
            };
            // Most samples are surely of another class; all of these together hardly count.
            let least = NEGLIGIBLE * (0..n).map(weight).sum::<f64>() / n as f64;
            let kept: Vec<usize> = (0..n).filter(|i| weight(*i) > least).collect();
            let mut panels: Vec<Vec<f32>> = (0..Cholesky::n_panels(m))
                .map(|p| vec![0.0; (m - Cholesky::columns(m, p).start) * Cholesky::WIDTH])
                .collect();
            let mut weighted = Vec::with_capacity(WEIGHTED_ROWS.min(kept.len()) * m);
            for rows in kept.chunks(WEIGHTED_ROWS) {
                weighted.clear();
                for &i in rows {
                    let root = weight(i).sqrt() as f32;
                    weighted.extend(samples[i * m..][..m].iter().map(|x| root * x));
                }
                for_each_chunk(&mut panels, 1, |p, panel| {
                    add_second_moments(&weighted, m, Cholesky::columns(m, p), &mut panel[0]);
                });
            }
            for_each_chunk(&mut panels, 1, |p, panel| {
                for (j, l) in Cholesky::columns(m, p).enumerate() {
                    let diagonal = &mut panel[0][j * Cholesky::WIDTH + j];
                    *diagonal += *diagonal * RIDGE + ridge(l);
                }
            });
            factor[0] = Some(Cholesky::factor(m, panels));
        });
        let factors = factors.into_iter().flatten().collect();
        let by_class = vec![0.0; c * Cholesky::padded(m)];
        Some(Self { isa, scales, factors, by_class })
    }

    /// Writes what the inverse of the curvature makes of a gradient by W and b, both in their order.
    pub(super) fn solve<T: Scalar>(&mut self, gradient: &[T], solution: &mut [f64]) {
        let (c, d) = self.size();
        let Self { isa, scales, factors, by_class } = self;
        let padded = Cholesky::padded(d + 1);
        let (weights, bias) = gradient.split_at(c * d);
        // So that nothing is too large or too small for `f32`.
        let size = max_norm(gradient).max(f64::MIN_POSITIVE);
        for_each_chunk(by_class, padded, |class, x| {
            let gradient = weights[class * d..][..d].iter().chain(&bias[class..]);
            for ((x, entry), scale) in x.iter_mut().zip(gradient).zip(scales.iter()) {
                *x = (entry.to_f64() / (size * scale)) as f32;
            }
            x[d + 1..].fill(0.0);
            if let Some(factor) = factors.get(class % factors.len().max(1)) {
                factor.solve(*isa, x);
            }
        });
        let (weights, bias) = solution.split_at_mut(c * d);
        for ((x, weights), bias) in
            by_class.chunks_exact(padded).zip(weights.chunks_exact_mut(d)).zip(bias)
        {
            for ((weight, x), scale) in weights.iter_mut().zip(x).zip(scales.iter()) {
                *weight = f64::from(*x) * (size / scale);
            }
            *bias = f64::from(x[d]) * (size / scales[d]);
        }
    }
}

/// Adds Σ xᵢ xᵢᵀ over rows of length `m` to a panel, in these columns and the rows from the first of them on, as
/// [`Cholesky`] wants them.
fn add_second_moments(rows: &[f32], m: usize, columns: Range<usize>, panel: &mut [f32]) {
    let size = [m - columns.start, rows.len() / m, columns.len()];
    let right = Strided::rows(&rows[columns.start.min(rows.len())..], m);
    multiply(size, 1.0, right.transposed(), right, 1.0, panel, Cholesky::WIDTH);
}
