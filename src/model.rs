//! The parameters of a linear classifier, W and b, in one buffer; a gradient has the same shape.

use crate::{Error, Predictor, Samples, Scalar};

/// W (C × D, row-major) followed by b (C), in one contiguous buffer.
///
/// An optimiser works on [`parameters_mut`](Self::parameters_mut) and need not know what is what.
///
/// ```
/// use softmargin::{LinearModel, MatrixView};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// // Two classes, three features: two rows of W, then b.
/// let model = LinearModel::from_parameters(2, 3, vec![1.0, 0.0, -1.0, 0.0, 2.0, 0.0, 0.5, 0.0])?;
/// assert_eq!((model.weights()[3 + 1], model.bias()), (2.0, &[0.5, 0.0][..]));
///
/// let x = MatrixView::new(&[1.0, 1.0, 1.0, 2.0, 0.0, 0.0], 2, 3)?;
/// assert_eq!(model.scores(x)?, [0.5, 2.0, 2.5, 0.0]);
/// assert_eq!(model.predict(x)?, [1, 0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearModel<T> {
    parameters: Vec<T>,
    n_classes: usize,
    n_features: usize,
}

impl<T: Scalar> LinearModel<T> {
    /// All weights and biases zero: where training starts, and what a gradient is written into.
    ///
    /// # Panics
    /// As `vec!` does, when `C × (D + 1)` elements do not fit the address space.
    pub fn zeros(n_classes: usize, n_features: usize) -> Self {
        let length = parameter_count(n_classes, n_features).expect("capacity overflow");
        Self { parameters: vec![T::default(); length], n_classes, n_features }
    }

    /// A model from its buffer: W row-major, then b.
    ///
    /// # Errors
    /// [`Error::ParametersLength`] unless there are `C × D + C` values; [`Error::SizeOverflow`].
    pub fn from_parameters(
        n_classes: usize,
        n_features: usize,
        parameters: Vec<T>,
    ) -> Result<Self, Error> {
        let expected = parameter_count(n_classes, n_features)
            .ok_or(Error::SizeOverflow { rows: n_classes, row_stride: n_features })?;
        if parameters.len() != expected {
            let (classes, features, actual) = (n_classes, n_features, parameters.len());
            return Err(Error::ParametersLength { classes, features, expected, actual });
        }
        Ok(Self { parameters, n_classes, n_features })
    }

    /// The scores s = W x + b of every row of a matrix, or of every sample of a batch: N × C in row-major
    /// order.
    ///
    /// # Errors
    /// [`Error::Features`] for rows of another length, [`Error::NoFeatures`], [`Error::NoClasses`],
    /// [`Error::NonFinite`] if a score is not finite, [`Error::SizeOverflow`].
    pub fn scores<'a>(&self, samples: impl Into<Samples<'a, T>>) -> Result<Vec<T>, Error> {
        Predictor::new(self).scores(samples)
    }

    /// The class with the largest score for every row of a matrix, or for every sample of a batch; the first
    /// one of equals. One row has class 0 alone: of a binary loss, let its [two rows](Self::to_two_rows) predict.
    ///
    /// # Errors
    /// As [`scores`](Self::scores).
    pub fn predict<'a>(&self, samples: impl Into<Samples<'a, T>>) -> Result<Vec<u32>, Error> {
        Predictor::new(self).predict(samples)
    }

    /// softmax(s) for every row of a matrix, or for every sample of a batch, N × C in row-major order: the
    /// probabilities of a model trained with cross-entropy.
    ///
    /// # Errors
    /// As [`scores`](Self::scores).
    pub fn predict_proba<'a>(&self, samples: impl Into<Samples<'a, T>>) -> Result<Vec<T>, Error> {
        Predictor::new(self).predict_proba(samples)
    }

    /// The two rows ∓½w, with biases ∓½b, of a model of one row, of a binary loss: their scores are apart by that of w,
    /// so that class 1 is predicted where it is above 0, and [`predict_proba`](Self::predict_proba) gives the probabilities
    /// of logistic regression. [`Objective::to_two_rows`](crate::Objective::to_two_rows) is its objective.
    ///
    /// Takes O(D).
    ///
    /// ```
    /// use softmargin::{LinearModel, MatrixView};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let one_row = LinearModel::from_parameters(1, 2, vec![1.0, -3.0, 0.5])?;
    /// let model = one_row.to_two_rows()?;
    /// assert_eq!(model.parameters(), [-0.5, 1.5, 0.5, -1.5, -0.25, 0.25]);
    /// let x = MatrixView::new(&[1.0, 0.0, 0.0, 1.0], 2, 2)?;
    /// assert_eq!((one_row.scores(x)?, model.predict(x)?), (vec![1.5, -2.5], vec![1, 0]));
    /// assert_eq!(model.to_one_row()?, one_row);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Rows`] unless the model has one row.
    pub fn to_two_rows(&self) -> Result<Self, Error> {
        self.check_rows("to_two_rows", 1)?;
        let times = |factor: f64, values: &[T]| -> Vec<T> {
            values.iter().map(|value| T::from_f64(factor * value.to_f64())).collect()
        };
        let (w, b) = (self.weights(), self.bias());
        let parameters = [times(-0.5, w), times(0.5, w), times(-0.5, b), times(0.5, b)].concat();
        Self::from_parameters(2, self.n_features, parameters)
    }

    /// The one row W₁ − W₀, with bias b₁ − b₀, of a model of two rows: its score is that of class 1 less that of class 0.
    /// Undoes [`to_two_rows`](Self::to_two_rows). Of other rows, what they have in common is lost, ½ (W₀ + W₁), on which
    /// no loss depends.
    ///
    /// Takes O(D).
    ///
    /// # Errors
    /// [`Error::Rows`] unless the model has two rows.
    pub fn to_one_row(&self) -> Result<Self, Error> {
        self.check_rows("to_one_row", 2)?;
        let (w, b) = (self.weights(), self.bias());
        let difference = |(one, zero): (&T, &T)| T::from_f64(one.to_f64() - zero.to_f64());
        let (w0, w1) = w.split_at(self.n_features);
        let rows = w1.iter().zip(w0).chain(b[1..].iter().zip(b));
        Self::from_parameters(1, self.n_features, rows.map(difference).collect())
    }

    /// An error unless the model has as many rows as `what` is for.
    pub(crate) fn check_rows(&self, what: &'static str, expected: usize) -> Result<(), Error> {
        let actual = self.n_classes;
        if actual == expected { Ok(()) } else { Err(Error::Rows { what, expected, actual }) }
    }
}

impl<T> LinearModel<T> {
    /// C.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// D.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// W: weight (c, d) is `weights()[c * n_features + d]`.
    pub fn weights(&self) -> &[T] {
        &self.parameters[..self.n_classes * self.n_features]
    }

    /// W, to be changed.
    pub fn weights_mut(&mut self) -> &mut [T] {
        &mut self.parameters[..self.n_classes * self.n_features]
    }

    /// b, one value a class.
    pub fn bias(&self) -> &[T] {
        &self.parameters[self.n_classes * self.n_features..]
    }

    /// b, to be changed.
    pub fn bias_mut(&mut self) -> &mut [T] {
        &mut self.parameters[self.n_classes * self.n_features..]
    }

    /// W and then b: all that an optimiser changes.
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }

    /// W and then b, to be changed.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }

    /// The buffer: W row-major, then b.
    pub fn into_parameters(self) -> Vec<T> {
        self.parameters
    }

    /// Checks that data with `n_features` features fits, and that there is something to compute.
    pub(crate) fn check_features(&self, n_features: usize) -> Result<(), Error> {
        if self.n_classes == 0 {
            return Err(Error::NoClasses);
        }
        if self.n_features == 0 {
            return Err(Error::NoFeatures);
        }
        if self.n_features != n_features {
            return Err(Error::Features { model: self.n_features, data: n_features });
        }
        Ok(())
    }

    /// Checks that `what`, of the given shape, has the shape of this model.
    pub(crate) fn check_shape(
        &self,
        what: &'static str,
        classes: usize,
        features: usize,
    ) -> Result<(), Error> {
        let (model_classes, model_features) = (self.n_classes, self.n_features);
        if (classes, features) != (model_classes, model_features) {
            return Err(Error::Shape { what, classes, features, model_classes, model_features });
        }
        Ok(())
    }
}

/// C × D + C, or `None` where that overflows.
pub(crate) fn parameter_count(n_classes: usize, n_features: usize) -> Option<usize> {
    n_classes.checked_mul(n_features)?.checked_add(n_classes)
}
