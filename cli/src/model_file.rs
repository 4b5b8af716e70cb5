//! Models as safetensors files with the keys of PyTorch's `nn.Linear`: `weight` (C × D) and `bias` (C),
//! both F32; and how they came about, as metadata.

use crate::{
    data::{Classes, Schema},
    output::Output,
};
use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use softmargin::LinearModel;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

/// What a file says of a model beside its parameters, by name.
pub type Metadata = HashMap<String, String>;

/// A model from a file.
#[derive(Debug)]
pub struct Loaded {
    /// W and b.
    pub model: LinearModel<f32>,
    /// What else the file says: of the loss, λ, the names of the classes, …
    pub metadata: Metadata,
}

impl Loaded {
    /// The classes of the model.
    pub(crate) fn classes(&self) -> Result<Classes> {
        let n = self.model.n_classes();
        match self.metadata.get("classes") {
            Some(json) => {
                let classes: Classes = serde_json::from_str(json).context("its classes")?;
                if classes.n() != n {
                    bail!("it names {} classes, but has {n}", classes.n());
                }
                Ok(classes)
            }
            None => Ok(Classes::numbered(n)),
        }
    }

    /// What the model was trained on.
    pub(crate) fn schema(&self) -> Result<Schema> {
        let d = self.model.n_features();
        match self.metadata.get("schema") {
            Some(json) => {
                let schema: Schema = serde_json::from_str(json).context("its schema")?;
                if schema.n_features != d {
                    bail!("its schema has {} features, but the model {d}", schema.n_features);
                }
                Ok(schema)
            }
            None => Ok(Schema::of_features(d)),
        }
    }
}

/// Writes a model where `output` says.
pub(crate) fn save(model: &LinearModel<f32>, metadata: &Metadata, output: Output) -> Result<()> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (c, d) = (model.n_classes(), model.n_features());
    let (weight, bias) = (bytes(model.weights()), bytes(model.bias()));
    let tensors = [
        ("weight", TensorView::new(Dtype::F32, vec![c, d], &weight)?),
        ("bias", TensorView::new(Dtype::F32, vec![c], &bias)?),
    ];
    let mut metadata = metadata.clone();
    metadata.insert("softmargin_version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    metadata.insert("n_features".to_owned(), d.to_string());
    metadata.insert("n_classes".to_owned(), c.to_string());
    output.write(&sorted(safetensors::serialize(tensors, Some(metadata))?)?)
}

/// The same file with the keys of its header in order: the same model is to be the same file every time.
fn sorted(mut file: Vec<u8>) -> Result<Vec<u8>> {
    let (length, rest) = file.split_at_mut(8);
    let length = u64::from_le_bytes(length.try_into()?) as usize;
    let header: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(&rest[..length])?;
    // As long as before, but for the spaces at its end.
    let mut header = serde_json::to_vec(&header)?;
    header.resize(length, b' ');
    rest[..length].copy_from_slice(&header);
    Ok(file)
}

/// Reads a model.
pub fn load(path: &Path) -> Result<Loaded> {
    let context = || format!("cannot read the model {}", path.display());
    let bytes = fs::read(path).with_context(context)?;
    parse(&bytes).with_context(context)
}

/// Reads a model from the bytes of a safetensors file.
pub fn parse(bytes: &[u8]) -> Result<Loaded> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let tensors = SafeTensors::deserialize(bytes)?;
    let tensor = |key: &str| tensors.tensor(key).with_context(|| format!("no tensor {key:?}"));
    let (weight, bias) = (tensor("weight")?, tensor("bias")?);
    for (key, tensor) in [("weight", &weight), ("bias", &bias)] {
        if tensor.dtype() != Dtype::F32 {
            bail!("the tensor {key:?} is {:?}, not F32", tensor.dtype());
        }
    }
    let &[c, d] = weight.shape() else {
        bail!("the tensor \"weight\" has {} dimensions, not 2", weight.shape().len());
    };
    if bias.shape() != [c] {
        bail!("the tensor \"bias\" has the shape {:?}, not [{c}]", bias.shape());
    }
    if c == 0 || d == 0 {
        bail!("the tensor \"weight\" has no values: there are {c} classes and {d} features");
    }
    let values = [weight.data(), bias.data()].concat();
    let values = values.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let model = LinearModel::from_parameters(c, d, values.collect())?;
    Ok(Loaded { model, metadata })
}
