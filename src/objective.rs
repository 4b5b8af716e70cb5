//! What is minimised: one of the two losses, and the strength of the L2 term.

use crate::Error;

/// The mean loss over the samples plus λ Σ W². A small value to copy around; whether λ and Δ are
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
    /// −s_y + ln Σ_j e^{s_j}.
    CrossEntropy,
}

impl Objective {
    /// The multiclass hinge loss (Weston–Watkins) with margin Δ, usually 1.
    pub fn hinge(margin: f64) -> Self {
        Self { loss: Loss::Hinge { margin }, l2: 0.0 }
    }

    /// Softmax cross-entropy: multinomial logistic regression.
    pub fn cross_entropy() -> Self {
        Self { loss: Loss::CrossEntropy, l2: 0.0 }
    }

    /// Adds λ Σ W², whose gradient is 2λW. The bias is not regularised. The default is λ = 0.
    pub fn with_l2(self, l2: f64) -> Self {
        Self { l2, ..self }
    }

    /// The loss of a sample.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// λ.
    pub fn l2(&self) -> f64 {
        self.l2
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let legal = |value: f64| value >= 0.0 && value.is_finite();
        if !legal(self.l2) {
            return Err(Error::L2 { value: self.l2 });
        }
        match self.loss {
            Loss::Hinge { margin } if !legal(margin) => Err(Error::Margin { value: margin }),
            _ => Ok(()),
        }
    }
}
