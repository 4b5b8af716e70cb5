//! Models as safetensors files with the keys of PyTorch's `nn.Linear`: `weight` (C × D) and `bias` (C),
//! both F32.

use crate::output::Output;
use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use softmargin::LinearModel;
use std::{fs, path::Path};

/// Writes a model where `output` says.
pub(crate) fn save(model: &LinearModel<f32>, output: Output) -> Result<()> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (c, d) = (model.n_classes(), model.n_features());
    let (weight, bias) = (bytes(model.weights()), bytes(model.bias()));
    let tensors = [
        ("weight", TensorView::new(Dtype::F32, vec![c, d], &weight)?),
        ("bias", TensorView::new(Dtype::F32, vec![c], &bias)?),
    ];
    output.write(&safetensors::serialize(tensors, None)?)
}

/// Reads a model.
pub fn load(path: &Path) -> Result<LinearModel<f32>> {
    let context = || format!("cannot read the model {}", path.display());
    let bytes = fs::read(path).with_context(context)?;
    parse(&bytes).with_context(context)
}

/// Reads a model from the bytes of a safetensors file.
pub fn parse(bytes: &[u8]) -> Result<LinearModel<f32>> {
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
    Ok(LinearModel::from_parameters(c, d, values.collect())?)
}
