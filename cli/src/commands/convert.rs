//! `softmargin convert`.

use super::print_json;
use crate::{
    data::{self, Format, npy},
    model_file::{About, ModelFile, Parameters},
    output::{Output, check_distinct},
    with_model,
};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use softmargin::LinearModel;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin convert --to npy --model model.safetensors --weight weight.npy --bias bias.npy
  softmargin convert --to safetensors --weight coef.npy --bias intercept.npy --model model.safetensors")]
pub(super) struct Convert {
    /// What to write; the other is read
    #[arg(long, value_enum)]
    to: Target,
    /// The model, as `train --out` writes it
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// W, C × D, as NPY: what scikit-learn calls coef_. A single row, as scikit-learn has for two classes, becomes the
    /// model of two classes with the same probabilities. Numbers that need float64 stay so in the model
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
enum Target {
    Npy,
    Safetensors,
}

impl Convert {
    pub(super) fn prints(&self) -> bool {
        self.json
    }

    pub(super) fn run(self) -> Result<()> {
        self.check_paths()?;
        let (model, written) = match self.to {
            Target::Npy => (self.to_npy()?, vec![&self.weight, &self.bias]),
            Target::Safetensors => (self.to_model()?, vec![&self.model]),
        };
        if self.json {
            let (classes, features) = (model.n_classes(), model.n_features());
            let written: Vec<String> =
                written.iter().map(|path| path.display().to_string()).collect();
            print_json(&json!({ "classes": classes, "features": features, "written": written }))?;
        }
        Ok(())
    }

    fn to_npy(&self) -> Result<Parameters> {
        let parameters = ModelFile::load(&self.model)?.parameters;
        let (weight, bias) = (Output::create(&self.weight)?, Output::create(&self.bias)?);
        let shape = [parameters.n_classes(), parameters.n_features()];
        with_model!(&parameters, model => {
            weight.write(&npy::serialize(&shape, model.weights())?)?;
            bias.write(&npy::serialize(&shape[..1], model.bias())?)?;
        });
        Ok(parameters)
    }

    fn to_model(&self) -> Result<Parameters> {
        let (shape, weights) = read(&self.weight)?;
        let (bias_shape, bias) = read(&self.bias)?;
        let place = self.weight.display();
        let &[c, d] = &*shape else {
            bail!("{place}: W has two dimensions, but its shape is {shape:?}");
        };
        if c == 0 || d == 0 {
            bail!("{place}: W has no values: its shape is {shape:?}");
        }
        if *bias_shape != [c] {
            bail!("{}: b has the shape [{c}], but there it is {bias_shape:?}", self.bias.display());
        }
        let model = LinearModel::from_parameters(c, d, [weights, bias].concat())?;
        // A single row decides between two classes, as scikit-learn and LIBLINEAR have it.
        let parameters = parameters(if c == 1 { model.to_two_rows()? } else { model })?;
        let file = ModelFile { parameters, about: About::default() };
        file.save(Output::create(&self.model)?)?;
        Ok(file.parameters)
    }

    /// Checks that no file is written over another one of the same command.
    fn check_paths(&self) -> Result<()> {
        let paths = [&self.model, &self.weight, &self.bias].map(PathBuf::as_path);
        for (i, path) in paths.iter().enumerate() {
            check_distinct(path, paths[..i].iter().copied())?;
        }
        Ok(())
    }
}

/// A model in `f32` if that has all digits, and otherwise in `f64`: of features far from 0, scores need them.
fn parameters(model: LinearModel<f64>) -> Result<Parameters> {
    let values = model.parameters();
    let narrow: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let exact = narrow.iter().zip(values).all(|(narrow, wide)| f64::from(*narrow) == *wide);
    Ok(if exact {
        let (c, d) = (model.n_classes(), model.n_features());
        Parameters::F32(LinearModel::from_parameters(c, d, narrow)?)
    } else {
        Parameters::F64(model)
    })
}

fn read(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    let context = || path.display().to_string();
    data::read_file(path, Format::Npy)
        .and_then(|bytes| npy::parse_values(&bytes))
        .with_context(context)
}
