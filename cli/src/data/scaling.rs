//! Features brought to a common scale, x′ = (x − shift) scale, and a model of x′ turned into one of x.

use super::{Dataset, Stored};
use crate::model_file::Parameters;
use anyhow::Result;
use softmargin::{Error, Features, LinearModel, NonFinite};

/// A shift and a scale for each feature.
#[derive(Clone, Debug)]
pub struct Scaling(softmargin::Scaling);

impl Scaling {
    /// Every feature times the same number.
    pub fn by(factor: f64) -> Self {
        Self(softmargin::Scaling::by(factor))
    }

    /// A shift for each feature, and then a scale for each.
    ///
    /// # Errors
    /// If one of them is not finite.
    pub(crate) fn of_numbers(numbers: &[f64]) -> Result<Self, Error> {
        let (shift, scale) = numbers.split_at(numbers.len() / 2);
        softmargin::Scaling::new(shift, scale).map(Self)
    }

    /// A shift for each of so many features, and then a scale for each.
    pub(crate) fn numbers(&self, n_features: usize) -> Vec<f64> {
        let shift = (0..n_features).map(|l| self.0.shift(l));
        shift.chain((0..n_features).map(|l| self.0.scale(l))).collect()
    }

    /// This scaling of what `first` makes of features, as a scaling of those.
    ///
    /// # Errors
    /// If a shift or a scale is not finite.
    pub fn after(&self, first: &Self, n_features: usize) -> Result<Self, Error> {
        let features = 0..n_features;
        let scale = features.clone().map(|l| first.0.scale(l) * self.0.scale(l));
        let shift = features.map(|l| first.0.shift(l) + self.0.shift(l) / first.0.scale(l));
        let (shift, scale): (Vec<f64>, Vec<f64>) = (shift.collect(), scale.collect());
        softmargin::Scaling::new(shift, scale).map(Self)
    }

    /// The number, if it is the same for every feature.
    pub fn factor(&self) -> Option<f64> {
        self.0.n_features().is_none().then(|| self.0.scale(0))
    }

    /// As it is computed while features are read.
    pub fn on_the_way(&self) -> &softmargin::Scaling {
        &self.0
    }

    /// To mean 0 and variance 1 over the samples. Features that never change, or by no more than the
    /// round-off of `f32`, have scale 0 and add nothing.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn standardize(data: &Dataset) -> Result<Self> {
        if let Stored::Sparse(_) = data.stored {
            return Self::standardize_sparse(data, |means, mut sums| {
                add_entries(data, means, &mut sums);
                Ok(sums)
            });
        }
        let pass = |means: Option<&[f64]>| {
            let mut moments = Moments::of(data);
            let pass = data.for_each_chunk::<f32>(|_, x| moments.add(&x, means));
            pass.map_err(|error| data.explain(error))?;
            anyhow::Ok(moments)
        };
        let Moments { sums: means, ranges, .. } = pass(None)?;
        let variances = pass(Some(&means))?.sums;
        Self::of_moments(means, variances, &ranges)
    }

    /// The same of sparse data, whose zeros are not stored. `pass` is to go through all entries in their order, by
    /// [`add_entries`].
    ///
    /// # Errors
    /// Those of `pass`.
    pub(crate) fn standardize_sparse(
        data: &Dataset,
        mut pass: impl FnMut(&[f64], Vec<f64>) -> Result<Vec<f64>>,
    ) -> Result<Self> {
        let (n, d) = (data.n_samples as f64, data.n_features);
        let (zeros, infinite) = (vec![0.0; 2 * d], vec![f64::INFINITY; d]);
        let none = [zeros, infinite.clone(), infinite.iter().map(|x| -x).collect()].concat();
        let mut sums = pass(&[], none)?;
        let ranges = sums.split_off(2 * d);
        let present = sums.split_off(d);
        let (means, (least, most)) = (sums, ranges.split_at(d));
        let range = |((least, most), present): ((&f64, &f64), &f64)| {
            let zero = if *present < n { 0.0 } else { *least };
            (least.min(zero) as f32, most.max(zero) as f32)
        };
        let ranges: Ranges = least.iter().zip(most).zip(&present).map(range).collect();
        let shares = present.iter().map(|present| (n - present) / n);
        let of_zeros = shares.zip(&means).map(|(share, mean): (f64, &f64)| share * mean.powi(2));
        let variances = pass(&means, of_zeros.collect())?;
        Self::of_moments(means, variances, &ranges)
    }

    /// To mean 0 and variance 1.
    ///
    /// # Errors
    /// If a mean is not finite.
    pub(crate) fn of_moments(
        means: Vec<f64>,
        variances: Vec<f64>,
        ranges: &[(f32, f32)],
    ) -> Result<Self> {
        let scale = |(variance, range): (f64, &(f32, f32))| {
            let scale = variance.sqrt().recip();
            // Nor by so little that `f32` cannot hold the scale.
            if is_constant(*range) || !(scale as f32).is_finite() { 0.0 } else { scale }
        };
        let scale: Vec<f64> = variances.into_iter().zip(ranges).map(scale).collect();
        Ok(Self(softmargin::Scaling::new(means, scale)?))
    }

    /// Scales rows of so many features in place.
    pub fn apply(&self, rows: &mut [f32], n_features: usize) {
        let of_feature = |l| (self.0.shift(l), self.0.scale(l));
        let of_features: Vec<(f64, f64)> = (0..n_features).map(of_feature).collect();
        for row in rows.chunks_exact_mut(n_features) {
            for (x, (shift, scale)) in row.iter_mut().zip(&of_features) {
                *x = ((f64::from(*x) - shift) * scale) as f32;
            }
        }
    }

    /// A model of the features as they were, with the scores that `model` has of scaled ones: in `f32`, unless its
    /// scores were off by too much then.
    pub fn fold(&self, model: &LinearModel<f32>) -> Parameters {
        match self.fold_narrow(model) {
            (folded, worst) if worst <= MAX_SCORE_ERROR => Parameters::F32(folded),
            _ => Parameters::F64(self.fold_wide(model)),
        }
    }

    fn fold_wide(&self, model: &LinearModel<f32>) -> LinearModel<f64> {
        let (c, d) = (model.n_classes(), model.n_features());
        let mut folded = LinearModel::zeros(c, d);
        for class in 0..c {
            let mut bias = f64::from(model.bias()[class]);
            for l in 0..d {
                let weight = f64::from(model.weights()[class * d + l]) * self.0.scale(l);
                folded.weights_mut()[class * d + l] = weight;
                bias -= weight * self.0.shift(l);
            }
            folded.bias_mut()[class] = bias;
        }
        folded
    }

    /// A model of the features as they were, with the scores that `model` has of scaled ones; and a bound,
    /// for features within a deviation of their mean, of how far its scores are off, as its weights are
    /// rounded to `f32` and its scores summed in it. Where features lie far from 0, as measured by how much
    /// they vary, that is much.
    fn fold_narrow(&self, model: &LinearModel<f32>) -> (LinearModel<f32>, f64) {
        let (c, d) = (model.n_classes(), model.n_features());
        let mut folded = model.clone();
        let mut worst = 0.0_f64;
        for class in 0..c {
            // What the rounding of weights changes, and what is summed.
            let (mut bias, mut error, mut size) = (f64::from(model.bias()[class]), 0.0, 0.0);
            for l in 0..d {
                let (shift, scale) = (self.0.shift(l), self.0.scale(l));
                let exact = f64::from(model.weights()[class * d + l]) * scale;
                let weight = exact as f32;
                folded.weights_mut()[class * d + l] = weight;
                let weight = f64::from(weight);
                // With the weight as it is rounded, so that its error counts from the mean, not from 0.
                bias -= weight * shift;
                if scale != 0.0 {
                    let deviation = scale.abs().recip();
                    error += (weight - exact).abs() * deviation;
                    size += weight.abs() * (shift.abs() + deviation);
                }
            }
            folded.bias_mut()[class] = bias as f32;
            error += (bias - f64::from(bias as f32)).abs();
            error += f64::from(f32::EPSILON) / 2.0 * (size + bias.abs());
            // An overflow is no number to compare with.
            worst = if error.is_finite() { worst.max(error) } else { f64::INFINITY };
        }
        (folded, worst)
    }
}

/// Goes on with the sums of the entries of sparse data before those that are at hand: without means, those of x / n, the
/// numbers of entries, the smallest and the largest value of each feature; with them, those of (x − mean)² / n. In order, so
/// that it does not matter where others begin.
pub(crate) fn add_entries(data: &Dataset, means: &[f64], sums: &mut [f64]) {
    let Stored::Sparse(sparse) = &data.stored else { return };
    let (n, d) = (data.n_samples as f64, data.n_features);
    for (feature, x) in sparse.entries() {
        let x = f64::from(x);
        if let Some(mean) = means.get(feature) {
            sums[feature] += (x - mean).powi(2) / n;
            continue;
        }
        let [sum, present, least, most] = [0, 1, 2, 3].map(|i| i * d + feature);
        sums[sum] += x / n;
        sums[present] += 1.0;
        sums[least] = sums[least].min(x);
        sums[most] = sums[most].max(x);
    }
}

/// Sums over rows of dense features: of x / n, or of (x − mean)² / n, for the n rows of all data. The second takes a pass of
/// its own, as the squares of large numbers leave nothing of their differences.
pub(crate) struct Moments {
    n: f64,
    pub(crate) sums: Vec<f64>,
    pub(crate) ranges: Ranges,
}

/// The smallest and the largest value of each feature.
pub(crate) type Ranges = Vec<(f32, f32)>;

impl Moments {
    /// Of no rows yet.
    pub(crate) fn of(data: &Dataset) -> Self {
        let d = data.n_features;
        let ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); d];
        Self { n: data.n_samples as f64, sums: vec![0.0; d], ranges }
    }

    /// Adds rows, without the means or with them.
    ///
    /// # Errors
    /// For a value that is not finite.
    pub(crate) fn add(
        &mut self,
        x: &Features<'_, f32>,
        means: Option<&[f64]>,
    ) -> Result<(), Error> {
        for i in 0..x.rows() {
            let row = x.row(i).unwrap_or_default();
            if let Some(feature) = row.iter().position(|x| !x.is_finite()) {
                let cause = NonFinite::Feature { feature, value: row[feature].into() };
                return Err(Error::NonFinite { row: i, cause });
            }
            for (l, (sum, x)) in self.sums.iter_mut().zip(row).enumerate() {
                let range = &mut self.ranges[l];
                *range = (range.0.min(x), range.1.max(x));
                let x = f64::from(x);
                *sum += means.map_or(x, |means| (x - means[l]).powi(2)) / self.n;
            }
        }
        Ok(())
    }
}

/// What scores may be off by, in the worst case: probabilities are then off by no more than that.
const MAX_SCORE_ERROR: f64 = 1e-3;

/// Below this, every whole number is an `f32`, and so are those next to it.
const EXACT_WHOLE: f32 = 16_777_216.0;

/// Whether the smallest and the largest value differ by no more than two units in the last place: but not whole numbers
/// of which `f32` has all, since what they differ by is no round-off.
fn is_constant((min, max): (f32, f32)) -> bool {
    let largest = min.abs().max(max.abs());
    if min < max && min.fract() == 0.0 && max.fract() == 0.0 && largest < EXACT_WHOLE {
        return false;
    }
    let unit = f64::from(largest) - f64::from(largest.next_down());
    f64::from(max) - f64::from(min) <= 2.0 * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(rows: &[&[f32]]) -> Dataset {
        Dataset::new(rows.concat(), rows.len(), rows[0].len())
    }

    fn standardize(values: impl IntoIterator<Item = f32>) -> (f64, f64) {
        let values: Vec<f32> = values.into_iter().collect();
        let n = values.len();
        let scaling = Scaling::standardize(&Dataset::new(values, n, 1)).unwrap();
        (scaling.0.shift(0), scaling.0.scale(0))
    }

    #[test]
    fn constants_add_nothing() {
        for value in [14.62_f32, 0.1, -1e30, 1e-30, 0.0, f32::MAX, 16777216.0] {
            let (shift, scale) = standardize([value; 1000]);
            assert!((shift / f64::from(value) - 1.0).abs() < 1e-12 || value == 0.0);
            assert_eq!(scale, 0.0, "{value}");
            // 0.1 + 0.2 beside 0.3.
            let noisy = (0..1000).map(|i| if i % 2 == 0 { value } else { value.next_down() });
            assert_eq!(standardize(noisy).1, 0.0, "{value} and the next");
        }
    }

    #[test]
    fn what_varies_has_variance_one() {
        for (offset, step) in [(0.0, 1.0), (1e6, 1.0), (1e7, 1.0), (0.0, 1e-30), (1e-3, 1e-6)] {
            let values: Vec<f32> = (0..100).map(|i| offset + step * (i % 10) as f32).collect();
            let exact = values.iter().map(|v| f64::from(*v));
            let mean = exact.clone().sum::<f64>() / 100.0;
            let variance = exact.map(|v| (v - mean).powi(2)).sum::<f64>() / 100.0;
            let (shift, scale) = standardize(values);
            assert!((shift - mean).abs() <= 1e-12 * mean.abs().max(f64::from(step)));
            assert!((scale * variance.sqrt() - 1.0).abs() < 1e-9, "{offset} {step}");
        }
    }

    #[test]
    fn whole_numbers_that_differ_by_one_are_no_round_off() {
        let (shift, scale) = standardize((0..100).map(|i| 1e7 + (i % 2) as f32));
        assert!((shift - 10_000_000.5).abs() < 1e-6 && (scale - 2.0).abs() < 1e-9, "{scale}");
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let error = Scaling::standardize(&data(&[&[1.0, 2.0], &[1.0, f32::NAN], &[2.0, 3.0]]));
        assert_eq!(error.unwrap_err().to_string(), "row 1, feature 1: NaN is not finite");
    }

    /// Scores of the folded model, in `f32`, against those of the scaled features, in `f64`.
    #[test]
    fn a_folded_model_scores_alike_within_the_bound() {
        for (offset, deviation) in [(0.0, 1.0), (5.0, 2.0), (1e3, 1.0), (1e6, 1.0), (1e6, 1e3)] {
            let rows: Vec<f32> =
                (0..300).map(|i| offset + deviation * ((i * 7 % 31) as f32 / 15.0 - 1.0)).collect();
            let data = Dataset::new(rows.clone(), 100, 3);
            let scaling = Scaling::standardize(&data).unwrap();
            let parameters = [0.7, -1.1, 0.4, 1.3, 0.2, -0.9, 0.1, -0.2].to_vec();
            let model = LinearModel::from_parameters(2, 3, parameters).unwrap();
            let (folded, bound) = scaling.fold_narrow(&model);
            let mut worst = 0.0_f64;
            for row in rows.chunks_exact(3) {
                for class in 0..2 {
                    let weights = &model.weights()[3 * class..][..3];
                    let exact = (0..3)
                        .map(|l| {
                            f64::from(weights[l])
                                * (f64::from(row[l]) - scaling.0.shift(l))
                                * scaling.0.scale(l)
                        })
                        .sum::<f64>()
                        + f64::from(model.bias()[class]);
                    let weights = &folded.weights()[3 * class..][..3];
                    let score = (0..3).fold(0.0_f32, |sum, l| sum + weights[l] * row[l])
                        + folded.bias()[class];
                    worst = worst.max((f64::from(score) - exact).abs());
                }
            }
            assert!(worst <= 4.0 * bound, "{offset} {deviation}: {worst} beyond {bound}");
            let kept = offset / deviation < 1e4;
            assert_eq!(bound < 1e-2, kept, "{offset} {deviation}: {bound}");
        }
    }
}
