//! Features brought to a common scale, x′ = (x − shift) scale, while they are read.

use crate::{Batch, Element, Error, NonFinite, Scalar};

/// A shift and a scale for each feature: x′ = (x − shift) scale stands for x in a
/// [`Batch::with_scaling`]. X is not touched, nor copied: blocks of rows are scaled as they are read.
///
/// The features are as exact as those of a copy that was scaled in `f64`, within the rounding of `T`, however far from
/// 0 they lie. A model of x′ is not one of x: predict with the same scaling.
///
/// ```
/// use softmargin::{Batch, MatrixView, Scaling};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let pixels = [0_u8, 51, 102, 255];
/// let batch = Batch::<f32>::new(MatrixView::new(&pixels, 2, 2)?, &[0, 1])?;
/// let by = Scaling::by(1.0 / 255.0);
/// assert_eq!(batch.with_scaling(&by)?.features().row(1), Some(vec![0.4, 1.0]));
/// let standardized = Scaling::standardize(&batch)?;
/// assert_eq!(batch.with_scaling(&standardized)?.features().row(1), Some(vec![1.0, 1.0]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling(Values);

#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// One scale for every feature, and no shift.
    By(f64),
    Each {
        shift: Vec<f64>,
        scale: Vec<f64>,
    },
}

impl Scaling {
    /// Every feature times `factor`: 1 / 255 for pixels. That it is finite is checked by
    /// [`Batch::with_scaling`], which knows the type to compute in.
    pub fn by(factor: f64) -> Self {
        Self(Values::By(factor))
    }

    /// A shift and a scale for each feature.
    ///
    /// # Errors
    /// [`Error::ScalingLength`] unless there are as many of both; [`Error::ScalingValue`] if one is not finite.
    pub fn new<T: Element>(shift: impl AsRef<[T]>, scale: impl AsRef<[T]>) -> Result<Self, Error> {
        let wide = |values: &[T]| values.iter().map(|value| value.to_f64()).collect::<Vec<_>>();
        let (shift, scale) = (wide(shift.as_ref()), wide(scale.as_ref()));
        if shift.len() != scale.len() {
            return Err(Error::ScalingLength { shifts: shift.len(), scales: scale.len() });
        }
        let scaling = Self(Values::Each { shift, scale });
        scaling.check::<f64>(scaling.n_features().unwrap_or_default())?;
        Ok(scaling)
    }

    /// To mean 0 and variance 1 over the samples of a batch, each of which counts the same, whatever its weight. A
    /// feature that is constant, or varies by no more than the round-off of `T`, has scale 0 and adds nothing. A
    /// scaling of the batch is not regarded.
    ///
    /// Reads the features twice. Takes O(N D).
    ///
    /// # Errors
    /// [`Error::NonFinite`] if a value is NaN or infinite.
    pub fn standardize<T: Scalar>(batch: &Batch<'_, T>) -> Result<Self, Error> {
        let (n, d) = (batch.n_samples() as f64, batch.n_features());
        let mut row = vec![0.0; d];
        let (mut shift, mut scale) = (vec![0.0; d], vec![0.0; d]);
        let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); d];
        for i in 0..batch.n_samples() {
            let at = batch.row_index(i);
            batch.features().read_row(at, &mut row);
            for ((mean, range), x) in shift.iter_mut().zip(&mut ranges).zip(&row) {
                *mean += x / n;
                *range = (range.0.min(*x), range.1.max(*x));
            }
            if let Some(feature) = row.iter().position(|x| !x.is_finite()) {
                let cause = NonFinite::Feature { feature, value: row[feature] };
                return Err(Error::NonFinite { row: at, cause });
            }
        }
        // In a second pass, as the squares of large numbers leave nothing of their differences.
        for i in 0..batch.n_samples() {
            batch.features().read_row(batch.row_index(i), &mut row);
            for ((variance, x), mean) in scale.iter_mut().zip(&row).zip(&shift) {
                *variance += (x - mean).powi(2) / n;
            }
        }
        for (scale, range) in scale.iter_mut().zip(&ranges) {
            let recip = scale.sqrt().recip();
            // Nor by so little that `T` cannot hold the scale.
            let varies =
                !is_constant(*range, T::EPSILON.to_f64()) && T::from_f64(recip).is_finite();
            *scale = if varies { recip } else { 0.0 };
        }
        Ok(Self(Values::Each { shift, scale }))
    }

    /// The number of features; none if there is one scale for however many there are.
    pub fn n_features(&self) -> Option<usize> {
        match &self.0 {
            Values::By(_) => None,
            Values::Each { shift, .. } => Some(shift.len()),
        }
    }

    /// The shift of a feature.
    ///
    /// # Panics
    /// If there is no such feature.
    pub fn shift(&self, feature: usize) -> f64 {
        match &self.0 {
            Values::By(_) => 0.0,
            Values::Each { shift, .. } => shift[feature],
        }
    }

    /// The scale of a feature.
    ///
    /// # Panics
    /// If there is no such feature.
    pub fn scale(&self, feature: usize) -> f64 {
        match &self.0 {
            Values::By(factor) => *factor,
            Values::Each { scale, .. } => scale[feature],
        }
    }

    /// (x − shift) scale.
    pub(crate) fn apply(&self, x: f64, feature: usize) -> f64 {
        (x - self.shift(feature)) * self.scale(feature)
    }

    /// Checks that there is a value for each feature, and that `T` can hold it.
    pub(crate) fn check<T: Element>(&self, n_features: usize) -> Result<(), Error> {
        if let Some(scaling) = self.n_features().filter(|n| *n != n_features) {
            return Err(Error::ScalingFeatures { scaling, data: n_features });
        }
        for feature in 0..n_features {
            for (what, value) in [("shift", self.shift(feature)), ("scale", self.scale(feature))] {
                if !T::from_f64(value).is_finite() {
                    return Err(Error::ScalingValue { what, feature, value });
                }
            }
        }
        Ok(())
    }
}

/// Whether the smallest and the largest value differ by no more than two units in the last place: but not whole numbers
/// of which the element type has all, since what they differ by is no round-off.
fn is_constant((min, max): (f64, f64), epsilon: f64) -> bool {
    let exact = |value: f64| value.fract() == 0.0 && value.abs() < 2.0 / epsilon;
    if min < max && exact(min) && exact(max) {
        return false;
    }
    max - min <= 2.0 * epsilon * min.abs().max(max.abs())
}
