//! Models as safetensors files with the keys of PyTorch's `nn.Linear`: `weight` (C × D) and `bias` (C); and, as
//! metadata, what they were trained for and on.

use crate::{
    data::{self, Classes, Format, Schema},
    output::Output,
};
use anyhow::{Context, Result};
use safetensors::{Dtype, SafeTensors};
use serde::{Serialize, de::DeserializeOwned};
use softmargin::{LinearModel, Loss, Scalar};
use std::{collections::HashMap, path::Path};

/// W and b. In `f64` where `f32` would lose digits that the scores need, as those of features far from zero do.
#[derive(Clone, Debug)]
pub enum Parameters {
    /// Nearly always.
    F32(LinearModel<f32>),
    /// Of features far from zero, or from elsewhere.
    F64(LinearModel<f64>),
}

/// Does the same with a model of either type.
#[macro_export]
macro_rules! with_model {
    ($parameters:expr, $model:ident => $work:expr) => {
        match $parameters {
            $crate::model_file::Parameters::F32($model) => $work,
            $crate::model_file::Parameters::F64($model) => $work,
        }
    };
}

impl Parameters {
    /// C.
    pub fn n_classes(&self) -> usize {
        with_model!(self, model => model.n_classes())
    }

    /// D.
    pub fn n_features(&self) -> usize {
        with_model!(self, model => model.n_features())
    }

    /// Two rows with the same probabilities, of a single one.
    fn to_two_rows(&self) -> Result<Self> {
        Ok(match self {
            Self::F32(model) => Self::F32(model.to_two_rows()?),
            Self::F64(model) => Self::F64(model.to_two_rows()?),
        })
    }

    /// ΣW².
    pub(crate) fn square_sum(&self) -> f64 {
        with_model!(self, model => square_sum(model.weights()))
    }
}

fn square_sum<T: Scalar>(values: &[T]) -> f64 {
    values.iter().map(|value| value.to_f64().powi(2)).sum()
}

/// A model from a file.
#[derive(Debug)]
pub struct ModelFile {
    /// W and b.
    pub parameters: Parameters,
    /// What else the file says.
    pub about: About,
}

/// What a model was trained for and on, as far as its file says.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The loss.
    pub loss: Option<Loss>,
    /// The smoothing ε of the labels.
    pub label_smoothing: Option<f64>,
    /// λ.
    pub l2: Option<f64>,
    /// λ ΣW², of the weights that were trained: those of scaled features are others than the ones in the file.
    pub l2_penalty: Option<f64>,
    /// The classes, in the order of the rows of W.
    pub classes: Option<Classes>,
    /// What the features were in the file that was trained on.
    pub schema: Option<Schema>,
    /// The version of the program that wrote it.
    pub version: Option<String>,
}

impl About {
    fn metadata(&self) -> Result<HashMap<String, String>> {
        let mut metadata = HashMap::new();
        let mut insert = |key: &str, value: String| metadata.insert(key.to_owned(), value);
        if let Some(loss) = self.loss {
            insert("loss", loss.name().to_owned());
            if let Some(margin) = loss.margin() {
                insert("margin", margin.to_string());
            }
        }
        if let Some(smoothing) = self.label_smoothing {
            insert("label_smoothing", smoothing.to_string());
        }
        if let Some(l2) = self.l2 {
            insert("l2", l2.to_string());
        }
        if let Some(penalty) = self.l2_penalty {
            insert("l2_penalty", penalty.to_string());
        }
        insert("softmargin_version", env!("CARGO_PKG_VERSION").to_owned());
        if let Some(classes) = &self.classes {
            insert("labels", to_json(&classes.labels())?);
            insert("class_names", to_json(&classes.names())?);
        }
        if let Some(schema) = &self.schema {
            insert("schema", to_json(schema)?);
        }
        Ok(metadata)
    }

    /// The classes of a model of `n`: 0, 1, 2, … where the file does not say.
    pub(crate) fn classes_or_numbered(&self, n: usize) -> Classes {
        self.classes.clone().unwrap_or_else(|| Classes::numbered(n))
    }

    fn parse(metadata: &HashMap<String, String>) -> Result<Self> {
        let number = |key: &str| -> Result<Option<f64>> {
            let parse = |text: &String| {
                let value = text.parse().ok().filter(|value: &f64| *value >= 0.0);
                value.with_context(|| format!("its {key} is {text:?}"))
            };
            metadata.get(key).map(parse).transpose()
        };
        let margin = number("margin")?.unwrap_or(1.0);
        let loss = match metadata.get("loss").map(String::as_str) {
            None => None,
            Some("cross_entropy") => Some(Loss::CrossEntropy),
            Some("hinge") => Some(Loss::Hinge { margin }),
            Some("squared_hinge") => Some(Loss::SquaredHinge { margin }),
            Some("crammer_singer") => Some(Loss::CrammerSinger { margin }),
            Some(other) => anyhow::bail!("its loss is {other:?}, which this version does not know"),
        };
        Ok(Self {
            loss,
            label_smoothing: number("label_smoothing")?,
            l2: number("l2")?,
            l2_penalty: number("l2_penalty")?,
            classes: Classes::of_parts(
                from_json(metadata, "labels")?,
                from_json(metadata, "class_names")?,
            )?,
            schema: from_json(metadata, "schema")?,
            version: metadata.get("softmargin_version").cloned(),
        })
    }
}

fn to_json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

fn from_json<T: DeserializeOwned>(
    metadata: &HashMap<String, String>,
    key: &str,
) -> Result<Option<T>> {
    let parse = |text: &String| {
        serde_json::from_str(text).with_context(|| format!("its {key:?} cannot be read"))
    };
    metadata.get(key).map(parse).transpose()
}

impl ModelFile {
    /// Writes the model where `output` says.
    pub(crate) fn save(&self, output: Output) -> Result<()> {
        let metadata = self.about.metadata()?;
        output.write(&with_model!(&self.parameters, model => model.to_safetensors(&metadata)?))
    }

    /// Reads a model.
    ///
    /// # Errors
    /// What is wrong with the file, which the message names.
    pub fn load(path: &Path) -> Result<Self> {
        let context = || format!("cannot read the model {}", path.display());
        data::read_file(path, Format::Safetensors)
            .and_then(|bytes| Self::parse(&bytes))
            .with_context(context)
    }

    /// Reads a model from the bytes of a safetensors file.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        // What is wrong with the bytes is for the library to tell.
        let wide = SafeTensors::deserialize(bytes).is_ok_and(|tensors| {
            let mut tensors = tensors.tensors().into_iter();
            tensors.any(|(key, tensor)| key.ends_with("weight") && tensor.dtype() == Dtype::F64)
        });
        let (parameters, metadata) = if wide {
            let (model, metadata) = LinearModel::from_safetensors(bytes)?;
            (Parameters::F64(model), metadata)
        } else {
            let (model, metadata) = LinearModel::from_safetensors(bytes)?;
            (Parameters::F32(model), metadata)
        };
        let about = About::parse(&metadata)?;
        // One row of another program is a binary model.
        let parameters = match parameters.n_classes() == 1 && about.version.is_none() {
            true => parameters.to_two_rows()?,
            false => parameters,
        };
        if let Some(classes) = &about.classes
            && classes.n() != parameters.n_classes()
        {
            anyhow::bail!("it names {} classes, but has {}", classes.n(), parameters.n_classes());
        }
        if let Some(schema) = &about.schema
            && schema.n_features != parameters.n_features()
        {
            let d = parameters.n_features();
            anyhow::bail!("its schema has {} features, but its weights {d}", schema.n_features);
        }
        Ok(Self { parameters, about })
    }
}
