//! `softmargin evaluate`.

use super::{ComputeArgs, DataArgs, ObjectiveArgs, accuracy, print_json, print_table};
use crate::{data::Split, model_file, units};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use softmargin::{Batch, Evaluator, LinearModel, Partial};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin evaluate --model model.safetensors
  softmargin evaluate --model model.safetensors --data test.csv --loss hinge --margin 1 --json")]
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
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub(super) fn run(self) -> Result<()> {
        let loaded = model_file::load(&self.model)?;
        let data = self.data.read(self.split, Some(&loaded.schema()?))?;
        data.check_features(loaded.model.n_features())?;
        let labels = loaded.classes()?.encode(data.labels()?)?;
        let (model, labels) = (loaded.model, &*labels);
        let (loss, accuracy) = self.compute.install(|_| {
            let mut evaluator =
                Evaluator::new(self.objective.objective()).with_isa(self.compute.isa());
            let explain = |error| data.explain(error);
            let loss = match data.view() {
                Some(features) => {
                    evaluator.loss(&model, &Batch::new(features, labels)?).map_err(explain)?
                }
                None => {
                    let (c, d) = (model.n_classes(), model.n_features());
                    let (mut partial, mut gradient) =
                        (Partial::new(c, d), LinearModel::zeros(c, d));
                    data.for_each_batch(labels, |batch| {
                        evaluator.accumulate(&model, batch, &mut partial)
                    })
                    .map_err(explain)?;
                    evaluator.finish(&model, &partial, &mut gradient)?
                }
            };
            Ok((loss, accuracy(labels, &data.predictions(&model)?)))
        })?;
        if self.json {
            let object =
                json!({ "objective": loss, "accuracy": accuracy, "samples": data.n_samples });
            return print_json(&object);
        }
        print_table(&[
            ("samples", data.n_samples.to_string()),
            ("loss", format!("{loss:.6}")),
            ("accuracy", units::percent(accuracy)),
        ])
    }
}
