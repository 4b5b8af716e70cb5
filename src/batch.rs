//! Samples with their labels, and which of them count how much. Everything that can be checked
//! without the model is checked here, once, so that an evaluation does not check it again.

use crate::{Element, Error, Features, Scaling, csr::unique};
use core::ops::Range;

/// A batch of labelled samples: a view of the caller's data, of which nothing is copied.
///
/// Weights and a selection are added in any order:
///
/// ```
/// use softmargin::{Batch, MatrixView};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features = [0.0_f32, 1.0, 1.0, 0.0, 2.0, 2.0]; // three rows of two features
/// let batch = Batch::new(MatrixView::new(&features, 3, 2)?, &[0, 1, 1])?;
/// let batch = batch.with_sample_weights(&[1.0, 3.0, 0.5])?.with_class_weights(&[2.0, 1.0])?;
/// assert_eq!(batch.total_weight(), 2.0 + 3.0 + 0.5);
///
/// let minibatch = batch.select(&[2, 0])?;
/// assert_eq!((minibatch.n_samples(), minibatch.total_weight()), (2, 2.5));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    features: Features<'a, T>,
    labels: &'a [u32],
    sample_weights: Option<&'a [T]>,
    class_weights: Option<&'a [T]>,
    selection: Option<&'a [u32]>,
    /// Tells the selection apart from all others.
    selection_identity: u64,
    total_weight: f64,
}

impl<'a, T: Element> Batch<'a, T> {
    /// All rows of `features`, each with weight 1. `labels[i]`, a class from 0, belongs to row i.
    ///
    /// # Errors
    /// [`Error::NoSamples`], [`Error::NoFeatures`], [`Error::LabelsLength`]. That the labels are
    /// classes of the model is checked by the evaluation, which knows the model.
    pub fn new(features: impl Into<Features<'a, T>>, labels: &'a [u32]) -> Result<Self, Error> {
        let features = features.into();
        let rows = features.rows();
        if rows == 0 {
            return Err(Error::NoSamples);
        }
        if features.cols() == 0 {
            return Err(Error::NoFeatures);
        }
        if labels.len() != rows {
            return Err(Error::LabelsLength { labels: labels.len(), rows });
        }
        Ok(Self {
            features,
            labels,
            sample_weights: None,
            class_weights: None,
            selection: None,
            selection_identity: 0,
            total_weight: rows as f64,
        })
    }

    /// Rows without labels, perhaps none: to be scored.
    pub(crate) fn unlabelled(features: Features<'a, T>) -> Self {
        Self {
            features,
            labels: &[],
            sample_weights: None,
            class_weights: None,
            selection: None,
            selection_identity: 0,
            total_weight: features.rows() as f64,
        }
    }

    /// Gives row i the weight `weights[i]`. The loss is then Σ wᵢLᵢ / Σ wᵢ.
    ///
    /// # Errors
    /// [`Error::SampleWeightsLength`] unless there is one weight a row of the feature matrix;
    /// [`Error::SampleWeight`] for a negative, infinite or NaN weight, selected or not;
    /// [`Error::ZeroSampleWeights`] if those that count sum to zero.
    ///
    /// Takes O(N).
    pub fn with_sample_weights(mut self, weights: &'a [T]) -> Result<Self, Error> {
        let rows = self.features.rows();
        if weights.len() != rows {
            return Err(Error::SampleWeightsLength { weights: weights.len(), rows });
        }
        for (row, weight) in weights.iter().enumerate() {
            let value = weight.to_f64();
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::SampleWeight { row, value });
            }
        }
        self.sample_weights = Some(weights);
        self.with_total_weight()
    }

    /// With x′ = (x − shift) scale in place of every feature x, computed while it is read: X is neither touched nor
    /// copied. A second scaling replaces the first.
    ///
    /// # Errors
    /// [`Error::ScalingFeatures`] if it is for another number of features; [`Error::ScalingValue`] for a shift or a
    /// scale that is not finite in `T`.
    ///
    /// Takes O(D).
    pub fn with_scaling(mut self, scaling: &'a Scaling) -> Result<Self, Error> {
        self.features = self.features.with_scaling(scaling)?;
        Ok(self)
    }

    /// Multiplies the weight of every sample by that of its class, `weights[label]`: there is one weight for
    /// each class. Z is the sum of the products, so that only the ratios of the weights count. Weights that
    /// make classes count the same, however many samples each has, are proportional to 1 / that number.
    ///
    /// # Errors
    /// [`Error::ClassWeight`] for a negative, infinite or NaN weight; [`Error::NoClassWeight`] for a sample
    /// whose label has no weight; [`Error::ZeroSampleWeights`] if the products sum to zero, and
    /// [`Error::SampleWeightsOverflow`] if one of them or their sum is infinite.
    ///
    /// Takes O(N).
    pub fn with_class_weights(mut self, weights: &'a [T]) -> Result<Self, Error> {
        for (class, weight) in weights.iter().enumerate() {
            let value = weight.to_f64();
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::ClassWeight { class, value });
            }
        }
        self.class_weights = Some(weights);
        self.with_total_weight()
    }

    /// Keeps the rows that `rows` names, in that order; a row that is named twice counts twice.
    /// Labels and sample weights stay indexed by the original row. A second selection replaces the
    /// first.
    ///
    /// # Errors
    /// [`Error::NoSamples`] for an empty selection, [`Error::SelectedRow`] for a row that does not
    /// exist, [`Error::ZeroSampleWeights`] if the weights of the rows sum to zero,
    /// [`Error::NoClassWeight`] as [`with_class_weights`](Self::with_class_weights).
    ///
    /// Takes O(rows.len()).
    pub fn select(mut self, rows: &'a [u32]) -> Result<Self, Error> {
        if rows.is_empty() {
            return Err(Error::NoSamples);
        }
        let n = self.features.rows();
        if let Some(position) = rows.iter().position(|&row| row as usize >= n) {
            return Err(Error::SelectedRow { position, row: rows[position], rows: n });
        }
        (self.selection, self.selection_identity) = (Some(rows), unique());
        self.with_total_weight()
    }

    fn with_total_weight(mut self) -> Result<Self, Error> {
        let samples = self.n_samples();
        self.total_weight = 0.0;
        for i in 0..samples {
            let row = self.row_index(i);
            if let Some(weights) =
                self.class_weights.filter(|w| self.labels[row] as usize >= w.len())
            {
                let (label, weights) = (self.labels[row], weights.len());
                return Err(Error::NoClassWeight { row, label, weights });
            }
            self.total_weight += self.weight(row).to_f64();
            if self.total_weight == f64::INFINITY {
                return Err(Error::SampleWeightsOverflow { row });
            }
        }
        if self.total_weight == 0.0 {
            return Err(Error::ZeroSampleWeights { samples });
        }
        Ok(self)
    }

    /// The number of samples: the rows selected, or all of them.
    pub fn n_samples(&self) -> usize {
        self.selection.map_or(self.features.rows(), <[u32]>::len)
    }

    /// The number of features (D).
    pub fn n_features(&self) -> usize {
        self.features.cols()
    }

    /// The features of all rows, selected or not.
    pub fn features(&self) -> Features<'a, T> {
        self.features
    }

    /// The labels of all rows, selected or not.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// The sample weights of all rows, if there are any.
    pub fn sample_weights(&self) -> Option<&'a [T]> {
        self.sample_weights
    }

    /// The weights of the classes, if there are any.
    pub fn class_weights(&self) -> Option<&'a [T]> {
        self.class_weights
    }

    /// The selected rows, if not all.
    pub fn selection(&self) -> Option<&'a [u32]> {
        self.selection
    }

    /// Z: the sum of the weights of the samples, each that of the sample times that of its class.
    pub fn total_weight(&self) -> f64 {
        self.total_weight
    }

    /// The samples `range` of a block, and up to `end` those that come next.
    ///
    /// # Panics
    /// If there are not as many.
    #[inline(always)]
    pub(crate) fn samples(&self, range: Range<usize>, end: usize) -> SampleRange<'a, T> {
        assert!(range.start <= range.end && range.end <= end && end <= self.n_samples());
        let rows = RowRange { selection: self.selection, range, end };
        SampleRange { features: self.features, rows }
    }

    /// The samples of a range of some rows, and as many that come next.
    ///
    /// # Panics
    /// If there are not as many, or no such rows.
    #[cfg(feature = "train")]
    #[inline(always)]
    pub(crate) fn rows<'r>(&self, rows: &'r [u32], range: Range<usize>) -> SampleRange<'r, T>
    where
        'a: 'r,
    {
        let n = self.features.rows();
        let end = rows.len().min(range.end + range.len());
        assert!(range.end <= end && rows[range.start..end].iter().all(|&row| (row as usize) < n));
        let rows = RowRange { selection: Some(rows), range, end };
        SampleRange { features: self.features, rows }
    }

    /// The same for two batches with a selection if, and only if, one is a copy of the other; 0 without one.
    pub(crate) fn selection_identity(&self) -> u64 {
        self.selection_identity
    }

    /// The original row of sample `i`; `i` must be less than [`n_samples`](Self::n_samples).
    pub(crate) fn row_index(&self, i: usize) -> usize {
        self.selection.map_or(i, |rows| rows[i] as usize)
    }

    /// The weight of an original row: that of the sample times that of its class.
    pub(crate) fn weight(&self, row: usize) -> T {
        let one = T::from_f64(1.0);
        let of_sample = self.sample_weights.map_or(one, |weights| weights[row]);
        match self.class_weights {
            None => of_sample,
            // The exact product of two `f32` is an `f64`: it is rounded once, as a product of `T` is.
            Some(weights) => {
                let of_class = weights[self.labels[row] as usize];
                T::from_f64(of_sample.to_f64() * of_class.to_f64())
            }
        }
    }

    /// Writes the weights of the samples from `first` on, as many as there are places for. Returns whether any may be other
    /// than 1.
    pub(crate) fn write_weights(&self, first: usize, target: &mut [T]) -> bool {
        let weighted = self.sample_weights.is_some() || self.class_weights.is_some();
        if weighted {
            let rows = (first..).map(|i| self.row_index(i));
            target.iter_mut().zip(rows).for_each(|(weight, row)| *weight = self.weight(row));
        } else {
            target.fill(T::from_f64(1.0));
        }
        weighted
    }
}

/// Consecutive samples of a batch, and some that come next: all of them are rows of its features.
pub(crate) struct SampleRange<'a, T> {
    features: Features<'a, T>,
    rows: RowRange<'a>,
}

impl<'a, T: Element> SampleRange<'a, T> {
    /// The features of all rows.
    pub(crate) fn features(&self) -> Features<'a, T> {
        self.features
    }

    /// The number of samples, without those that come next.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether they are rows of the numbers that are computed with.
    pub(crate) fn in_place(&self) -> bool {
        let rows = self.features.matrix().is_some_and(|x| x.col_stride() == 1);
        rows && self.features.scaling().is_none()
    }

    /// Which rows they are.
    pub(crate) fn rows(&self) -> &RowRange<'a> {
        &self.rows
    }
}

/// The rows of consecutive samples, and of some that come next.
#[derive(Clone)]
pub(crate) struct RowRange<'a> {
    selection: Option<&'a [u32]>,
    range: Range<usize>,
    end: usize,
}

impl RowRange<'_> {
    /// The first `n` rows of a matrix; none comes next.
    pub(crate) fn first(n: usize) -> Self {
        Self { selection: None, range: 0..n, end: n }
    }

    /// The number of samples, without those that come next.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// The rows, if they are consecutive.
    pub(crate) fn consecutive(&self) -> Option<Range<usize>> {
        self.selection.is_none().then(|| self.range.clone())
    }

    /// The rows and those that come next, if they are consecutive.
    pub(crate) fn consecutive_with_next(&self) -> Option<Range<usize>> {
        self.selection.is_none().then_some(self.range.start..self.end)
    }

    /// The row of sample `i`, or of the last one that comes next.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> usize {
        let i = (self.range.start + i).min(self.end - 1);
        self.selection.map_or(i, |rows| rows[i] as usize)
    }
}
