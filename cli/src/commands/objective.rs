//! The arguments that say what is minimised.

use super::non_negative;
use crate::model_file::About;
use anyhow::Context;
use clap::{Args, ValueEnum};
use softmargin::{Loss, Objective};

/// What is minimised: what the arguments say, else what a model was trained for, else the defaults.
#[derive(Debug, Args)]
pub(super) struct ObjectiveArgs {
    /// The loss of a sample [default: that of the model, or else cross-entropy]
    #[arg(long, value_enum)]
    loss: Option<LossName>,
    /// The margin Δ of the hinge losses [default: that of the model, or else 1]
    #[arg(long, value_parser = non_negative)]
    margin: Option<f64>,
    /// Cross-entropy: what is moved from the probability of the label to all classes in equal parts, from 0 to 1,
    /// against models that are too sure, or wrong labels [default: that of the model, or else 0]
    #[arg(long, value_name = "ε", value_parser = share)]
    label_smoothing: Option<f64>,
    /// The coefficient λ of the sum of squared weights [default: that of the model, or else 1e-4]
    #[arg(long, value_parser = non_negative)]
    pub(super) l2: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum LossName {
    /// Logistic regression: for probabilities, and the best choice if in doubt
    CrossEntropy,
    /// Linear SVM (Weston–Watkins): looks only at samples near the borders between classes; has kinks, which
    /// take a solver of their own
    Hinge,
    /// Linear SVM without kinks: as easy to fit as cross-entropy, but drawn to outliers
    SquaredHinge,
    /// Linear SVM that counts the closest wrong class alone: for many classes, of which few are confused; has
    /// kinks, too
    CrammerSinger,
}

const DEFAULT_MARGIN: f64 = 1.0;
const DEFAULT_L2: f64 = 1e-4;

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("must be a number from 0 to 1".to_owned()),
    }
}

impl LossName {
    /// As it is asked for.
    pub(super) fn name(self) -> String {
        self.to_possible_value().expect("no loss is hidden").get_name().to_owned()
    }

    fn of(loss: Loss) -> Option<Self> {
        Self::value_variants().iter().copied().find(|name| name.loss(0.0).name() == loss.name())
    }

    fn loss(self, margin: f64) -> Loss {
        self.objective(margin).loss()
    }

    pub(super) fn objective(self, margin: f64) -> Objective {
        match self {
            Self::CrossEntropy => Objective::cross_entropy(),
            Self::Hinge => Objective::hinge(margin),
            Self::SquaredHinge => Objective::squared_hinge(margin),
            Self::CrammerSinger => Objective::crammer_singer(margin),
        }
    }
}

impl ObjectiveArgs {
    pub(super) fn objective(&self, model: Option<&About>) -> Objective {
        let of_model = model.and_then(|about| about.loss);
        let margin = self.margin.or(of_model.and_then(Loss::margin)).unwrap_or(DEFAULT_MARGIN);
        let name = self.loss.or(of_model.and_then(LossName::of)).unwrap_or(LossName::CrossEntropy);
        let of_model = match name {
            LossName::CrossEntropy => model.and_then(|about| about.label_smoothing),
            _ => None,
        };
        let l2 = self.l2.or(model.and_then(|about| about.l2));
        name.objective(margin)
            .with_label_smoothing(self.label_smoothing.or(of_model).unwrap_or(0.0))
            .with_l2(l2.unwrap_or(DEFAULT_L2))
    }
}

/// A loss as numbers, for other processes, which need no λ for its sums.
///
/// # Errors
/// If it is none of those that the program fits.
pub(super) fn to_numbers(objective: Objective) -> anyhow::Result<[f64; 3]> {
    let loss = objective.loss();
    let of_loss = |name: &LossName| name.loss(0.0).name() == loss.name();
    let place = LossName::value_variants().iter().position(of_loss);
    let place = place.with_context(|| format!("the loss {} has no number", loss.name()))?;
    Ok([place as f64, loss.margin().unwrap_or(0.0), objective.label_smoothing()])
}

/// The objective of such numbers, with λ = 0.
///
/// # Errors
/// If they are those of no loss.
pub(super) fn of_numbers([place, margin, smoothing]: [f64; 3]) -> anyhow::Result<Objective> {
    let name = LossName::value_variants().get(place as usize);
    let name = name.with_context(|| format!("no loss has the number {place}"))?;
    Ok(name.objective(margin).with_label_smoothing(smoothing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_survive_being_numbers() {
        for objective in [
            Objective::hinge(0.0),
            Objective::squared_hinge(0.5),
            Objective::crammer_singer(1.0),
            Objective::cross_entropy().with_label_smoothing(0.1),
        ] {
            let numbers = to_numbers(objective.with_l2(1e-3)).unwrap();
            assert_eq!(of_numbers(numbers).unwrap(), objective);
        }
        assert!(to_numbers(Objective::logistic()).is_err());
    }
}
