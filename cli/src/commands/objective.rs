//! The arguments that say what is minimised.

use super::non_negative;
use crate::model_file::About;
use clap::{Args, ValueEnum};
use softmargin::{Loss, Objective};

/// What is minimised: what the arguments say, else what a model was trained for, else the defaults.
#[derive(Debug, Args)]
pub(super) struct ObjectiveArgs {
    /// The loss of a sample [default: that of the model, or else cross-entropy]
    #[arg(long, value_enum)]
    loss: Option<LossName>,
    /// The margin Δ of the hinge loss [default: that of the model, or else 1]
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    margin: Option<f64>,
    /// The coefficient λ of the sum of squared weights [default: that of the model, or else 1e-4]
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    pub(super) l2: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum LossName {
    CrossEntropy,
    Hinge,
}

const DEFAULT_MARGIN: f64 = 1.0;
const DEFAULT_L2: f64 = 1e-4;

impl ObjectiveArgs {
    pub(super) fn objective(&self, model: Option<&About>) -> Objective {
        let of_model = model.and_then(|about| about.loss);
        let margin = self.margin.or(match of_model {
            Some(Loss::Hinge { margin }) => Some(margin),
            _ => None,
        });
        let hinge = match self.loss {
            Some(name) => name == LossName::Hinge,
            None => matches!(of_model, Some(Loss::Hinge { .. })),
        };
        let objective = if hinge {
            Objective::hinge(margin.unwrap_or(DEFAULT_MARGIN))
        } else {
            Objective::cross_entropy()
        };
        let l2 = self.l2.or(model.and_then(|about| about.l2));
        objective.with_l2(l2.unwrap_or(DEFAULT_L2))
    }
}
