//! What is minimised: one of the losses, its parameters, and the strength of the L2 term.

use crate::Error;

/// The mean loss over the samples plus λ Σ W². A small value to copy around; whether λ, Δ and ε are
/// legal is checked when it is evaluated.
///
/// ```
/// use softmargin::{Loss, Objective};
///
/// let objective = Objective::hinge(1.0).with_l2(1e-3);
/// assert_eq!(objective.loss(), Loss::Hinge { margin: 1.0 });
/// assert_eq!(objective.l2(), 1e-3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    loss: Loss,
    label_smoothing: f64,
    l2: f64,
}

/// The loss of one sample with scores s and label y.
///
/// ```
/// use softmargin::{Loss, Objective};
///
/// let name = match Objective::cross_entropy().loss() {
///     Loss::Hinge { margin } => format!("hinge, Δ = {margin}"),
///     Loss::CrossEntropy => "cross-entropy".to_owned(),
///     _ => "another".to_owned(),
/// };
/// assert_eq!(name, "cross-entropy");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Σ_{j≠y} max(0, s_j − s_y + Δ), the multiclass hinge loss of Weston and Watkins (1999).
    Hinge {
        /// Δ, at least 0.
        margin: f64,
    },
    /// Σ_{j≠y} max(0, s_j − s_y + Δ)²: the hinge without its kinks.
    SquaredHinge {
        /// Δ, at least 0.
        margin: f64,
    },
    /// max(0, max_{j≠y} s_j − s_y + Δ), the multiclass hinge loss of Crammer and Singer (2001). Of several
    /// classes with the largest score, the first one has the subgradient.
    CrammerSinger {
        /// Δ, at least 0.
        margin: f64,
    },
    /// −s_y + ln Σ_j e^{s_j}; with [`Objective::label_smoothing`] ε, (1 − ε) times that and ε times its mean over
    /// all classes in the place of y.
    CrossEntropy,
    /// ln(1 + e^{−ts}), the logistic loss of a model of one row, with t = 2y − 1.
    Logistic,
    /// max(0, Δ − ts), the hinge loss of a model of one row, with t = 2y − 1.
    BinaryHinge {
        /// Δ, at least 0.
        margin: f64,
    },
    /// max(0, Δ − ts)², the squared hinge loss of a model of one row, with t = 2y − 1.
    BinarySquaredHinge {
        /// Δ, at least 0.
        margin: f64,
    },
}

impl Loss {
    /// `"hinge"`, `"squared_hinge"`, `"crammer_singer"`, `"cross_entropy"`, `"logistic"`, `"binary_hinge"` or
    /// `"binary_squared_hinge"`: as its constructor.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hinge { .. } => "hinge",
            Self::SquaredHinge { .. } => "squared_hinge",
            Self::CrammerSinger { .. } => "crammer_singer",
            Self::CrossEntropy => "cross_entropy",
            Self::Logistic => "logistic",
            Self::BinaryHinge { .. } => "binary_hinge",
            Self::BinarySquaredHinge { .. } => "binary_squared_hinge",
        }
    }

    /// Whether it is for models of one row, whose labels are 0 and 1.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Logistic | Self::BinaryHinge { .. } | Self::BinarySquaredHinge { .. })
    }

    /// Δ, of the losses that have one.
    pub fn margin(self) -> Option<f64> {
        match self {
            Self::Hinge { margin }
            | Self::SquaredHinge { margin }
            | Self::CrammerSinger { margin }
            | Self::BinaryHinge { margin }
            | Self::BinarySquaredHinge { margin } => Some(margin),
            Self::CrossEntropy | Self::Logistic => None,
        }
    }
}

impl Objective {
    fn new(loss: Loss) -> Self {
        Self { loss, label_smoothing: 0.0, l2: 0.0 }
    }

    /// The multiclass hinge loss (Weston–Watkins) with margin Δ, usually 1.
    pub fn hinge(margin: f64) -> Self {
        Self::new(Loss::Hinge { margin })
    }

    /// The multiclass hinge loss with its margin violations squared, and margin Δ, usually 1.
    pub fn squared_hinge(margin: f64) -> Self {
        Self::new(Loss::SquaredHinge { margin })
    }

    /// The multiclass hinge loss of Crammer and Singer, which counts the largest margin violation alone, with margin
    /// Δ, usually 1.
    pub fn crammer_singer(margin: f64) -> Self {
        Self::new(Loss::CrammerSinger { margin })
    }

    /// Softmax cross-entropy: multinomial logistic regression.
    pub fn cross_entropy() -> Self {
        Self::new(Loss::CrossEntropy)
    }

    /// Binary logistic regression: the logistic loss of a model of one row, with labels 0 and 1. It is cross-entropy of
    /// two rows with half the multiplications and a single exponential: see [`to_two_rows`](Self::to_two_rows).
    ///
    /// ```
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let batch = Batch::new(MatrixView::new(&[1.0_f64, 3.0], 2, 1)?, &[0, 1])?;
    /// let model = LinearModel::from_parameters(1, 1, vec![1.0, -2.0])?; // s = x − 2
    /// let objective = Objective::logistic().with_l2(0.5);
    /// let loss = Evaluator::new(objective).loss(&model, &batch)?;
    /// assert!((loss - (-1.0_f64).exp().ln_1p() - 0.5).abs() < 1e-15);
    ///
    /// let (objective, model) = (objective.to_two_rows().expect("it is binary"), model.to_two_rows()?);
    /// assert_eq!(objective, Objective::cross_entropy().with_l2(1.0));
    /// assert!((Evaluator::new(objective).loss(&model, &batch)? - loss).abs() < 1e-15);
    /// assert_eq!(model.predict(&batch)?, [0, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn logistic() -> Self {
        Self::new(Loss::Logistic)
    }

    /// The binary linear SVM: the hinge loss of a model of one row, with labels 0 and 1, and margin Δ, usually 1. It is
    /// the [hinge](Self::hinge) of two rows with half the multiplications.
    pub fn binary_hinge(margin: f64) -> Self {
        Self::new(Loss::BinaryHinge { margin })
    }

    /// The hinge loss of a model of one row with its margin violations squared, with labels 0 and 1, and margin Δ,
    /// usually 1. It is the [squared hinge](Self::squared_hinge) of two rows with half the multiplications.
    pub fn binary_squared_hinge(margin: f64) -> Self {
        Self::new(Loss::BinarySquaredHinge { margin })
    }

    /// Moves ε of the probability that cross-entropy asks for from the label to all classes in equal parts:
    /// (1 − ε) + ε/C at the label, ε/C elsewhere (Szegedy and others, 2016). The default is ε = 0; other losses have
    /// no such thing, and none but 0 is legal there.
    ///
    /// ```
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let batch = Batch::new(MatrixView::new(&[1.0_f64], 1, 1)?, &[0])?;
    /// let (model, mut gradient) = (LinearModel::<f64>::zeros(2, 1), LinearModel::zeros(2, 1));
    /// let objective = Objective::cross_entropy().with_label_smoothing(0.1);
    /// Evaluator::new(objective).loss_and_gradient(&model, &batch, &mut gradient)?;
    /// // The probabilities are ½; those that are asked for, 0.95 and 0.05.
    /// assert!((gradient.bias()[0] - (0.5 - 0.95)).abs() < 1e-15);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_label_smoothing(self, label_smoothing: f64) -> Self {
        Self { label_smoothing, ..self }
    }

    /// Adds λ Σ W², whose gradient is 2λW. The bias is not regularised. The default is λ = 0.
    pub fn with_l2(self, l2: f64) -> Self {
        Self { l2, ..self }
    }

    /// Of a binary loss, the objective of two rows that is equal at [`LinearModel::to_two_rows`] of every model, with the
    /// same least value: cross-entropy for the logistic loss, the hinge and the squared hinge with the same margin for
    /// theirs, and 2λ. `None` for the losses of any number of rows.
    ///
    /// Two rows ∓½w with biases ∓½b have scores whose difference is s = wᵀx + b, on which alone the losses of two classes
    /// depend; and 2λ (‖½w‖² + ‖½w‖²) = λ‖w‖². Of all rows W₀ and W₁ with the same difference w, these have the least sum of
    /// squares, so that none have a lower objective.
    ///
    /// [`LinearModel::to_two_rows`]: crate::LinearModel::to_two_rows
    pub fn to_two_rows(self) -> Option<Self> {
        let loss = match self.loss {
            Loss::Logistic => Loss::CrossEntropy,
            Loss::BinaryHinge { margin } => Loss::Hinge { margin },
            Loss::BinarySquaredHinge { margin } => Loss::SquaredHinge { margin },
            _ => return None,
        };
        Some(Self { loss, l2: 2.0 * self.l2, ..self })
    }

    /// The loss of a sample.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// ε.
    pub fn label_smoothing(&self) -> f64 {
        self.label_smoothing
    }

    /// λ.
    pub fn l2(&self) -> f64 {
        self.l2
    }

    /// How many classes a model of so many rows has: a binary loss has two, of which the first has no row.
    pub(crate) fn n_classes(&self, n_rows: usize) -> usize {
        if self.loss.is_binary() { 2 } else { n_rows }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let legal = |value: f64| value >= 0.0 && value.is_finite();
        if !legal(self.l2) {
            return Err(Error::L2 { value: self.l2 });
        }
        match self.loss.margin() {
            Some(margin) if !legal(margin) => return Err(Error::Margin { value: margin }),
            _ => {}
        }
        let smoothing = self.label_smoothing;
        match self.loss {
            _ if !(0.0..=1.0).contains(&smoothing) => {
                Err(Error::LabelSmoothing { value: smoothing })
            }
            Loss::CrossEntropy => Ok(()),
            loss if smoothing > 0.0 => {
                Err(Error::LabelSmoothingOf { loss: loss.name(), value: smoothing })
            }
            _ => Ok(()),
        }
    }
}
