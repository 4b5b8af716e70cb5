//! `softmargin predict`.

use super::{ComputeArgs, DataArgs};
use crate::{
    data::{LabelColumn, Split},
    model_file,
    output::Output,
};
use anyhow::Result;
use clap::Args;
use std::{
    io::{Write, stdout},
    path::PathBuf,
};

#[derive(Debug, Args)]
pub(super) struct Predict {
    /// The model, as `train --out` writes it
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Which images of a folder, or of the bundled sample
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// The probability of every class instead of the label
    #[arg(long)]
    proba: bool,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Write the CSV here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Predict {
    pub(super) fn run(mut self) -> Result<()> {
        let model = model_file::load(&self.model)?.model;
        // Data to predict has labels or not; with as many columns as the model has features, it has none.
        let beyond = LabelColumn::BeyondFeatures(model.n_features());
        self.data.label_column.get_or_insert(beyond);
        let data = self.data.read(self.split, Some(model.n_features()))?;
        data.check_features(model.n_features())?;
        let output = self.out.as_deref().map(Output::create).transpose()?;

        let classes = 0..model.n_classes();
        let csv = self.compute.install(|_| {
            if self.proba {
                let header =
                    classes.map(|class| format!("class_{class}")).collect::<Vec<_>>().join(",");
                let mut csv = header + "\n";
                data.for_each_chunk(|_, chunk| {
                    for row in model.predict_proba(chunk)?.chunks_exact(model.n_classes()) {
                        csv += &row.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
                        csv += "\n";
                    }
                    Ok(())
                })?;
                Ok(csv)
            } else {
                let labels = data.predictions(&model)?;
                Ok(labels
                    .iter()
                    .fold("label\n".to_owned(), |csv, label| csv + &label.to_string() + "\n"))
            }
        })?;
        match output {
            Some(output) => output.write(csv.as_bytes()),
            None => Ok(stdout().write_all(csv.as_bytes())?),
        }
    }
}
