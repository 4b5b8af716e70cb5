//! Features and labels as tensors of a safetensors file, as embeddings are often kept.

use super::{
    Dataset,
    array::{Array, Element, Layout},
    names,
    options::ReadOptions,
    source::Source,
};
use ::safetensors::{Dtype, SafeTensors, tensor::TensorView};
use anyhow::{Context, Result, bail};

/// Reads the tensors `features` (N × …) and, if it is there, `labels` (N), or those of other usual names.
pub(super) fn read(source: Source<'_>, options: &ReadOptions<'_>) -> Result<Dataset> {
    let bytes = source.bytes()?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut all = tensors.names();
    all.sort_unstable();
    let (features, labels_name) = names::find(&all, options.split)?;
    let layout = |name: &str| {
        let context = || format!("the tensor {name:?}");
        layout(&tensors.tensor(name)?, &bytes).with_context(context)
    };
    let labels = match labels_name {
        None => None,
        Some(name) => {
            let labels = layout(name)?.labels(&bytes);
            Some(labels.with_context(|| format!("the tensor {name:?}"))?)
        }
    };
    let context = format!("the tensor {features:?}");
    let note = names::note("tensor", features, labels_name);
    let layout = layout(features)?;
    let array = Array::new(bytes, layout).with_context(|| context.clone())?;
    let mut data = Dataset::of_array(array, options).with_context(|| context)?;
    data.notes.push(note);
    data.labels = labels;
    Ok(data)
}

/// How a tensor lies in the file.
fn layout(tensor: &TensorView<'_>, file: &[u8]) -> Result<Layout> {
    let integer = |bytes, signed| Element::Integer { bytes, signed };
    let element = match tensor.dtype() {
        Dtype::BOOL => Element::Bool,
        Dtype::U8 => integer(1, false),
        Dtype::U16 => integer(2, false),
        Dtype::U32 => integer(4, false),
        Dtype::U64 => integer(8, false),
        Dtype::I8 => integer(1, true),
        Dtype::I16 => integer(2, true),
        Dtype::I32 => integer(4, true),
        Dtype::I64 => integer(8, true),
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        other => bail!("its elements are {other:?}, which is not supported; save it as F32"),
    };
    let start = tensor.data().as_ptr().addr().saturating_sub(file.as_ptr().addr());
    Ok(Layout { element, shape: tensor.shape().to_vec(), columns: false, start })
}
