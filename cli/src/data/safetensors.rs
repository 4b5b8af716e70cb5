//! Features and labels as tensors of a safetensors file, as embeddings are often kept.

use super::Dataset;
use ::safetensors::{Dtype, SafeTensors};
use anyhow::{Context, Result, bail};

/// Reads the tensors `features` (N × D, F32 or F64) and, if it is there, `labels` (N, of integers).
pub fn parse_safetensors(bytes: &[u8]) -> Result<Dataset> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let features = tensors
        .tensor("features")
        .with_context(|| format!("no tensor \"features\"; there are {:?}", tensors.names()))?;
    let &[n, d] = features.shape() else {
        bail!("the tensor \"features\" has {} dimensions, not 2", features.shape().len());
    };
    if n == 0 || d == 0 {
        bail!("the tensor \"features\" has no values: its shape is [{n}, {d}]");
    }
    let data = features.data();
    let values = match features.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        other => bail!("the tensor \"features\" is {other:?}, not F32 or F64"),
    };
    let labels = match tensors.tensor("labels") {
        Err(_) => None,
        Ok(labels) if labels.shape() != [n] => {
            bail!("the tensor \"labels\" has the shape {:?}, not [{n}]", labels.shape())
        }
        Ok(labels) => {
            let (bytes, signed) = match labels.dtype() {
                Dtype::U8 => (1, false),
                Dtype::U16 => (2, false),
                Dtype::U32 => (4, false),
                Dtype::U64 => (8, false),
                Dtype::I16 => (2, true),
                Dtype::I32 => (4, true),
                Dtype::I64 => (8, true),
                other => bail!("the tensor \"labels\" is {other:?}, not of integers"),
            };
            let label = |(row, bytes): (usize, &[u8])| {
                let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let value = bytes.iter().rev().fold(0_u64, |v, b| v << 8 | u64::from(*b));
                let label = u32::try_from(value).ok().filter(|_| !negative);
                label.with_context(|| format!("row {row}: its label is none of 0, 1, 2, …"))
            };
            Some(labels.data().chunks_exact(bytes).enumerate().map(label).collect::<Result<_>>()?)
        }
    };
    Ok(Dataset::new(values, n, d, labels))
}
