//! `softmargin convert`.

use super::print_json;
use crate::{data::npy, model_file, output::Output};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use softmargin::LinearModel;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin convert --to npy --model model.safetensors --weight weight.npy --bias bias.npy
  softmargin convert --to safetensors --weight coef.npy --bias intercept.npy --model model.safetensors")]
pub(super) struct Convert {
    /// What to write; the other is read
    #[arg(long, value_enum)]
    to: Format,
    /// The model, as `train --out` writes it
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// W, C × D, as NPY: what scikit-learn calls coef_
    #[arg(long, value_name = "FILE")]
    weight: PathBuf,
    /// b, C, as NPY: what scikit-learn calls intercept_
    #[arg(long, value_name = "FILE")]
    bias: PathBuf,
    /// Print one JSON object: the sizes of the model, and the files written
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Npy,
    Safetensors,
}

impl Convert {
    pub(super) fn run(self) -> Result<()> {
        let (model, written) = match self.to {
            Format::Npy => (self.to_npy()?, vec![&self.weight, &self.bias]),
            Format::Safetensors => (self.to_model()?, vec![&self.model]),
        };
        if self.json {
            let (classes, features) = (model.n_classes(), model.n_features());
            print_json(&json!({ "classes": classes, "features": features, "written": written }))?;
        }
        Ok(())
    }

    fn to_npy(&self) -> Result<LinearModel<f32>> {
        let model = model_file::load(&self.model)?.model;
        let (weight, bias) = (Output::create(&self.weight)?, Output::create(&self.bias)?);
        let shape = [model.n_classes(), model.n_features()];
        weight.write(&npy::serialize(&shape, model.weights())?)?;
        bias.write(&npy::serialize(&shape[..1], model.bias())?)?;
        Ok(model)
    }

    fn to_model(&self) -> Result<LinearModel<f32>> {
        let (shape, weights) = read(&self.weight)?;
        let (bias_shape, bias) = read(&self.bias)?;
        let &[c, d] = &*shape else {
            bail!("{}: W has two dimensions, but its shape is {shape:?}", self.weight.display());
        };
        if *bias_shape != [c] {
            bail!("{}: b has the shape [{c}], but there it is {bias_shape:?}", self.bias.display());
        }
        let model = LinearModel::from_parameters(c, d, [weights, bias].concat())?;
        model_file::save(&model, &model_file::Metadata::default(), Output::create(&self.model)?)?;
        Ok(model)
    }
}

fn read(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let context = || format!("{}", path.display());
    npy::parse_values(&fs::read(path).with_context(context)?).with_context(context)
}
