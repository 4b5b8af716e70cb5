//! `softmargin evaluate`.

use super::{ComputeArgs, DataArgs, ObjectiveArgs, print_table};
use crate::{data::Split, model_file, units};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use softmargin::Evaluator;
use std::{
    io::{Write, stdout},
    path::PathBuf,
};

#[derive(Debug, Args)]
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
        let model = model_file::load(&self.model)?;
        let data = self.data.read(self.split)?;
        data.check_features(model.n_features())?;
        let (loss, accuracy) = self.compute.install(|_| {
            let mut evaluator =
                Evaluator::new(self.objective.objective()).with_isa(self.compute.isa());
            let loss = evaluator.loss(&model, &data.batch()?)?;
            Ok((loss, data.accuracy(&model.predict(data.view()?)?)?))
        })?;
        if self.json {
            let object =
                json!({ "objective": loss, "accuracy": accuracy, "samples": data.n_samples });
            return Ok(writeln!(stdout(), "{object}")?);
        }
        print_table(&[
            ("samples", data.n_samples.to_string()),
            ("loss", format!("{loss:.6}")),
            ("accuracy", units::percent(accuracy)),
        ])
    }
}
