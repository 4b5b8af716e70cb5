//! Models as files, the same ones as those of the program.

use crate::{
    arrays::{array, is_double, read_model, to_arrays, with_number},
    exception,
};
use pyo3::prelude::*;
use safetensors::{Dtype, SafeTensors};
use softmargin::LinearModel;
use std::{collections::HashMap, path::PathBuf};

/// W, b and what else a file says.
type Loaded<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, HashMap<String, String>);

/// Writes W and b to a file, which is as it was before or whole.
#[pyfunction]
#[allow(non_snake_case)]
pub(crate) fn save(
    path: PathBuf,
    W: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    metadata: HashMap<String, String>,
) -> PyResult<()> {
    let w = array(W, "W")?;
    with_number!(is_double(&w, &w), T => {
        let mut model = LinearModel::<T>::zeros(0, 0);
        read_model(&w, b, &mut model)?;
        W.py().detach(|| model.save(path, &metadata)).map_err(exception)
    })
}

/// W, b and the metadata in the bytes of a file.
#[pyfunction]
pub(crate) fn load<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Loaded<'py>> {
    // What is wrong with the bytes is for the crate to tell.
    let double = SafeTensors::deserialize(bytes).is_ok_and(|tensors| {
        let mut tensors = tensors.tensors().into_iter();
        tensors.any(|(key, tensor)| key.ends_with("weight") && tensor.dtype() == Dtype::F64)
    });
    with_number!(double, T => {
        let (model, metadata) = LinearModel::<T>::from_safetensors(bytes).map_err(exception)?;
        let (w, b) = to_arrays(py, &model);
        Ok((w, b, metadata))
    })
}
