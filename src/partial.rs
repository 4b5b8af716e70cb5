//! Unnormalised sums over some of the samples. Chunks of a data set, read one after the other or by
//! many processes, each give a [`Partial`]; merged, they are the sums of the whole.

use crate::{Element, Error, LinearModel, model::parameter_count};
use core::marker::PhantomData;

/// The sums Σ wᵢ dLᵢ/dW, Σ wᵢ dLᵢ/db, Σ wᵢ Lᵢ and Σ wᵢ over the samples seen so far, in `f64`.
///
/// Filled by [`Evaluator::accumulate`](crate::Evaluator::accumulate), joined by
/// [`merge`](Self::merge), turned into the loss and its gradient by
/// [`Evaluator::finish`](crate::Evaluator::finish). To send one to another process, send
/// [`sums`](Self::sums): they add up element by element, as an all-reduce does; or, for bits that do not depend on
/// the number of processes, in the order of a [`PartialTree`](crate::PartialTree).
///
/// ```
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, Partial};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let chunks = [([1.0_f64, 2.0], [0, 1]), ([3.0, 4.0], [1, 1])]; // of two rows of one feature each
/// let (model, mut gradient) = (LinearModel::zeros(2, 1), LinearModel::zeros(2, 1));
/// let mut evaluator = Evaluator::new(Objective::cross_entropy());
/// let mut partial = Partial::new(2, 1);
/// for (features, labels) in &chunks {
///     let batch = Batch::new(MatrixView::new(features, 2, 1)?, labels)?;
///     evaluator.accumulate(&model, &batch, &mut partial)?;
/// }
/// assert_eq!(partial.total_weight(), 4.0);
/// let loss = evaluator.finish(&model, &partial, &mut gradient)?;
/// assert!((loss - 2f64.ln()).abs() < 1e-15);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Partial<T> {
    sums: Vec<f64>,
    n_classes: usize,
    n_features: usize,
    element: PhantomData<fn() -> T>,
}

/// Σ wᵢ Lᵢ and Σ wᵢ stand behind the sums of W and b.
const SCALARS: usize = 2;

impl<T: Element> Partial<T> {
    /// No samples yet, for models of C classes and D features.
    ///
    /// # Panics
    /// As `vec!` does, when `C × (D + 1)` elements do not fit the address space.
    pub fn new(n_classes: usize, n_features: usize) -> Self {
        let length = parameter_count(n_classes, n_features).and_then(|n| n.checked_add(SCALARS));
        let sums = vec![0.0; length.expect("capacity overflow")];
        Self { sums, n_classes, n_features, element: PhantomData }
    }

    /// A partial from the [`sums`](Self::sums) of another, from another process perhaps.
    ///
    /// # Errors
    /// [`Error::ParametersLength`] unless there are `C × D + C + 2` values; [`Error::SizeOverflow`].
    pub fn from_sums(n_classes: usize, n_features: usize, sums: Vec<f64>) -> Result<Self, Error> {
        let expected = parameter_count(n_classes, n_features)
            .and_then(|n| n.checked_add(SCALARS))
            .ok_or(Error::SizeOverflow { rows: n_classes, row_stride: n_features })?;
        if sums.len() != expected {
            let (classes, features, actual) = (n_classes, n_features, sums.len());
            return Err(Error::ParametersLength { classes, features, expected, actual });
        }
        Ok(Self { sums, n_classes, n_features, element: PhantomData })
    }

    /// Adds the samples of `other` to these.
    ///
    /// # Errors
    /// [`Error::Shape`] if `other` is for models of another shape; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.check_same_shape(other)?;
        for (sum, term) in self.sums.iter_mut().zip(&other.sums) {
            *sum += term;
        }
        Ok(())
    }

    /// Checks that this is for models of the same shape as another.
    pub(crate) fn check_same_shape(&self, other: &Self) -> Result<(), Error> {
        if (self.n_classes, self.n_features) != (other.n_classes, other.n_features) {
            return Err(Error::Shape {
                what: "partial",
                classes: other.n_classes,
                features: other.n_features,
                model_classes: self.n_classes,
                model_features: self.n_features,
            });
        }
        Ok(())
    }

    /// Checks that this is for models of the shape of `model`.
    pub(crate) fn check_shape(&self, model: &LinearModel<T>) -> Result<(), Error> {
        model.check_shape("partial", self.n_classes, self.n_features)
    }

    /// Forgets all samples, so that the buffer can be used again.
    pub fn clear(&mut self) {
        self.sums.fill(0.0);
    }
}

impl<T> Partial<T> {
    /// C.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// D.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Σ wᵢ over the samples seen so far: their number, where they have no weights.
    pub fn total_weight(&self) -> f64 {
        self.sums[self.sums.len() - 1]
    }

    /// Z, which the sums are divided by: [`total_weight`](Self::total_weight), if any sample was seen.
    pub(crate) fn divisor(&self) -> Result<f64, Error> {
        match self.total_weight() {
            0.0 => Err(Error::NoSamples),
            z => Ok(z),
        }
    }

    /// All sums in one buffer: C × D of the weights, C of the bias, the loss, the weight.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// Makes this a partial for models of another shape; what it held is lost. Allocates only if it
    /// has never been as large.
    pub(crate) fn reshape(&mut self, n_classes: usize, n_features: usize) {
        (self.n_classes, self.n_features) = (n_classes, n_features);
        // A model of this shape exists, so its size does not overflow.
        self.sums.resize(n_classes * n_features + n_classes + SCALARS, 0.0);
    }

    /// All sums, to be filled; laid out as [`sums`](Self::sums).
    pub(crate) fn sums_mut(&mut self) -> &mut [f64] {
        &mut self.sums
    }

    /// The unnormalised loss.
    ///
    /// # Errors
    /// [`Error::NoLoss`] if these are sums of Hessian products, or some of them are.
    pub(crate) fn loss(&self) -> Result<f64, Error> {
        let loss = self.sums[self.sums.len() - SCALARS];
        if loss.is_nan() { Err(Error::NoLoss) } else { Ok(loss) }
    }

    /// Marks sums of Hessian products: by NaN, which stays NaN wherever they are sent and whatever is added to them.
    #[cfg(feature = "train")]
    pub(crate) fn set_no_loss(&mut self) {
        let place = self.sums.len() - SCALARS;
        self.sums[place] = f64::NAN;
    }

    /// The unnormalised gradient: C × D of the weights, then C of the bias.
    pub(crate) fn gradient(&self) -> &[f64] {
        &self.sums[..self.sums.len() - SCALARS]
    }
}
