//! `softmargin predict`.

use super::{ComputeArgs, DataArgs};
use crate::{
    data::{Classes, Label, Split},
    model_file,
    output::Output,
};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::{
    io::{Write, stdout},
    path::PathBuf,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin predict --model model.safetensors --data new.csv
  softmargin predict --model model.safetensors --data embeddings.npy --proba --out probabilities.csv")]
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
    /// Print one JSON object instead of CSV
    #[arg(long)]
    json: bool,
    /// Write here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Predict {
    pub(super) fn run(self) -> Result<()> {
        let loaded = model_file::load(&self.model)?;
        let (classes, schema) = (loaded.classes()?, loaded.schema()?);
        let model = loaded.model;
        let data = self.data.read(self.split, Some(&schema))?;
        data.check_features(model.n_features())?;
        let output = self.out.as_deref().map(Output::create).transpose()?;

        let predicted = self.compute.install(|_| {
            if !self.proba {
                let of = |class: u32| classes.label(class as usize).clone();
                return Ok(Predicted::Labels(
                    data.predictions(&model)?.into_iter().map(of).collect(),
                ));
            }
            let mut rows = Vec::with_capacity(data.n_samples);
            data.for_each_chunk(|_, chunk| {
                let probabilities = model.predict_proba(chunk)?;
                rows.extend(probabilities.chunks_exact(model.n_classes()).map(<[f32]>::to_vec));
                Ok(())
            })
            .map_err(|error| data.explain(error))?;
            Ok(Predicted::Probabilities(rows))
        })?;
        let text = if self.json {
            serde_json::to_string(&predicted)? + "\n"
        } else {
            predicted.csv(&classes)
        };
        match output {
            Some(output) => output.write(text.as_bytes()),
            None => Ok(stdout().write_all(text.as_bytes())?),
        }
    }
}

/// What there is to say of the samples, one after the other.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Predicted {
    Labels(Vec<Label>),
    /// Of every class.
    Probabilities(Vec<Vec<f32>>),
}

impl Predicted {
    fn csv(&self, classes: &Classes) -> String {
        fn line<T: ToString>(cells: impl Iterator<Item = T>) -> String {
            cells.map(|cell| cell.to_string()).collect::<Vec<_>>().join(",") + "\n"
        }
        match self {
            Self::Labels(labels) => {
                labels.iter().fold("label\n".to_owned(), |csv, label| csv + &format!("{label}\n"))
            }
            Self::Probabilities(rows) => {
                let header =
                    line((0..classes.n()).map(|class| format!("class_{}", classes.name(class))));
                header + &rows.iter().map(|row| line(row.iter())).collect::<String>()
            }
        }
    }
}
