//! `softmargin evaluate`.

use super::{ComputeArgs, DataArgs, ObjectiveArgs, print_json, print_table};
use crate::{apply::Applied, data::Split, model_file::ModelFile, units};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
The loss, its margin, the smoothing of labels and λ are those of the model, unless arguments say otherwise.

Examples:
  softmargin evaluate --model model.safetensors
  softmargin evaluate --model model.safetensors --data test.csv --json")]
pub(super) struct Evaluate {
    /// The model, as `train --out` writes it
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Which images of a folder, or of the bundled sample
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    #[command(flatten)]
    objective: ObjectiveArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub(super) fn run(self) -> Result<()> {
        let ModelFile { parameters, about } = ModelFile::load(&self.model)?;
        let classes = about.classes_or_numbered(parameters.n_classes());
        let data = self.data.read_for_model(self.split, &about, parameters.n_features())?;
        let trained_with = about.schema.as_ref().and_then(|schema| schema.weight_column.as_ref());
        if let (Some(column), None) = (trained_with, &data.weights) {
            super::warn(&format!(
                "the model was trained with sample weights, those of column {column}, and the data has none: here every \
                 sample counts the same"
            ));
        }
        let labels = classes.encode(data.labels()?)?;
        let objective = self.objective.objective(Some(&about));
        let (loss, metrics) = self.compute.install(|_| {
            let applied = Applied { parameters: &parameters, isa: self.compute.isa() };
            Ok((applied.loss(&data, &labels, objective)?, applied.measure(&data, &labels)?))
        })?;
        // The weights of scaled features, whose squares were penalised, are not those in the file.
        let penalty = match (self.objective.l2, about.l2_penalty) {
            (None, Some(penalty)) => penalty,
            _ => objective.l2() * parameters.square_sum(),
        };
        if self.json {
            return print_json(&json!({
                "objective": loss + penalty,
                "loss": loss,
                "accuracy": metrics.accuracy(),
                "samples": data.n_samples,
                "metrics": metrics.json(|class| json!(classes.label(class))),
            }));
        }
        print_table(&[
            ("samples", data.n_samples.to_string()),
            ("loss", units::loss(loss)),
            ("objective, with λ ΣW²", units::loss(loss + penalty)),
            ("accuracy", units::percent(metrics.accuracy())),
        ])?;
        super::print_text(&format!("\n{}", metrics.text(|class| classes.name(class).to_owned())))
    }
}
