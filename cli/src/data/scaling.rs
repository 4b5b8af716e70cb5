//! Features brought to a common scale, x′ = (x − m) f, and a model of x′ turned into one of x.

use super::Dataset;
use anyhow::Result;
use softmargin::LinearModel;

/// An offset and a factor for each feature.
#[derive(Clone, Debug)]
pub struct Scaling {
    offsets: Vec<f64>,
    factors: Vec<f64>,
}

impl Scaling {
    /// Every feature times the same number.
    pub fn by(factor: f64, n_features: usize) -> Self {
        Self { offsets: vec![0.0; n_features], factors: vec![factor; n_features] }
    }

    /// To mean 0 and variance 1 over the samples. Features that never change are left at 0.
    pub fn standardize(data: &Dataset) -> Result<Self> {
        let (n, d) = (data.n_samples as f64, data.n_features);
        let mut means = vec![0.0; d];
        data.for_each_chunk(|_, chunk| {
            for i in 0..chunk.rows() {
                let row = chunk.row(i).unwrap_or_default();
                means.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x) / n);
            }
            Ok(())
        })?;
        // In a second pass, as the squares of large numbers leave nothing of their differences.
        let mut variances = vec![0.0; d];
        data.for_each_chunk(|_, chunk| {
            for i in 0..chunk.rows() {
                let row = chunk.row(i).unwrap_or_default().iter().zip(&means);
                for (variance, (x, mean)) in variances.iter_mut().zip(row) {
                    *variance += (f64::from(*x) - mean).powi(2) / n;
                }
            }
            Ok(())
        })?;
        let factor = |variance: f64| if variance > 0.0 { variance.sqrt().recip() } else { 1.0 };
        Ok(Self { offsets: means, factors: variances.into_iter().map(factor).collect() })
    }

    /// Scales rows in place.
    pub(super) fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.offsets.len()) {
            for ((x, offset), factor) in row.iter_mut().zip(&self.offsets).zip(&self.factors) {
                *x = ((f64::from(*x) - offset) * factor) as f32;
            }
        }
    }

    /// Turns a model of scaled features into one of the features as they were, with the same scores.
    pub fn fold_into(&self, model: &mut LinearModel<f32>) {
        let d = model.n_features();
        for class in 0..model.n_classes() {
            let mut shift = 0.0;
            for l in 0..d {
                let weight = &mut model.weights_mut()[class * d + l];
                let folded = f64::from(*weight) * self.factors[l];
                shift += folded * self.offsets[l];
                *weight = folded as f32;
            }
            let bias = &mut model.bias_mut()[class];
            *bias = (f64::from(*bias) - shift) as f32;
        }
    }
}
