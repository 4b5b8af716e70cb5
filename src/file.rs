//! Models as files in the format of safetensors, with the keys of PyTorch's `nn.Linear`: `weight` (C × D) and
//! `bias` (C). A file is either as it was or whole: it is written beside, synchronised and renamed.

use crate::{Error, LinearModel, Scalar};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// As the format has it, a longer header is an error.
const MAX_HEADER: u64 = 100_000_000;

impl<T: Scalar> LinearModel<T> {
    /// Writes the model, and what else there is to say of it, to a file: F32 or F64, as `T` is. The same model
    /// with the same metadata is the same file, byte by byte.
    ///
    /// An existing file is replaced when the new one is complete and on the disk, and its permissions stay; a
    /// symbolic link is followed.
    ///
    /// ```
    /// use softmargin::LinearModel;
    /// use std::collections::HashMap;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.safetensors");
    /// let model = LinearModel::from_parameters(2, 1, vec![-1.0_f32, 1.0, 0.0, 0.5])?;
    /// model.save(&path, &HashMap::from([("l2".to_owned(), "0.01".to_owned())]))?;
    ///
    /// assert_eq!(LinearModel::load(&path)?, model);
    /// let (_, metadata) = LinearModel::<f32>::load_with_metadata(&path)?;
    /// assert_eq!(metadata["l2"], "0.01");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written, and for a model that [`load`](Self::load) would refuse. The
    /// file is as it was then.
    pub fn save(
        &self,
        path: impl AsRef<Path>,
        metadata: &HashMap<String, String>,
    ) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = self.to_safetensors(metadata).map_err(|error| file_error(path, &error))?;
        replace(path, &bytes).map_err(|error| file_error(path, &error))
    }

    /// Reads a model from a file that [`save`](Self::save) wrote, or PyTorch or scikit-learn by way of the
    /// safetensors of Python: the tensors `weight` (C × D) and `bias` (C), or any such names behind a
    /// prefix, as `fc.weight` and `fc.bias`; F64, F32, F16 or BF16, rounded to `T`. A missing bias is zero, as
    /// that of PyTorch's `Linear(bias=False)`. Other tensors are not looked at.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, is damaged or has no such tensors, or several that may be
    /// the weights; if their shapes do not match; and for a parameter that is NaN, infinite, or beyond
    /// the range of `T`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::load_with_metadata(path)?.0)
    }

    /// As [`load`](Self::load), together with what else the file says of the model.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_metadata(
        path: impl AsRef<Path>,
    ) -> Result<(Self, HashMap<String, String>), Error> {
        let path = path.as_ref();
        let bytes = read(path).map_err(|error| file_error(path, &error))?;
        Self::from_safetensors(&bytes).map_err(|error| file_error(path, &error))
    }

    /// What [`save`](Self::save) writes.
    ///
    /// # Errors
    /// [`Error::NoClasses`] and [`Error::NoFeatures`] for a model without parameters, and
    /// [`Error::Safetensors`] for a parameter that is NaN or infinite, and for more than 100 MB of metadata.
    pub fn to_safetensors(&self, metadata: &HashMap<String, String>) -> Result<Vec<u8>, Error> {
        let (c, d) = (self.n_classes(), self.n_features());
        self.check_features(d)?;
        let values = self.parameters().iter().map(|value| value.to_f64()).collect::<Vec<_>>();
        check_parameters::<T>(&values, c, d)?;
        let dtype = dtype::<T>();
        let (weight, bias) = (to_bytes(self.weights()), to_bytes(self.bias()));
        let tensors = [
            ("weight", TensorView::new(dtype, vec![c, d], &weight).map_err(refusal)?),
            ("bias", TensorView::new(dtype, vec![c], &bias).map_err(refusal)?),
        ];
        serialize(tensors, metadata.clone())
    }

    /// A model from the bytes of a file, as [`load`](Self::load) reads it, and its metadata.
    ///
    /// # Errors
    /// [`Error::Safetensors`], as [`load`](Self::load).
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, HashMap<String, String>), Error> {
        let (tensors, metadata) = parse(bytes)?;
        let mut names = tensors.names();
        names.sort_unstable();
        let is_weight = |name: &&str| *name == "weight" || name.ends_with(".weight");
        let candidates: Vec<&str> = names.iter().copied().filter(is_weight).collect();
        let &[key] = &*candidates else {
            return Err(refusal(match &*candidates {
                [] => format!("no tensor is named \"weight\" or \"….weight\"; there are {names:?}"),
                several => format!("several tensors may be the weights: {several:?}"),
            }));
        };
        let weight = tensors.tensor(key).map_err(refusal)?;
        let &[c, d] = weight.shape() else {
            let dimensions = weight.shape().len();
            return Err(refusal(format!("the tensor {key:?} has {dimensions} dimensions, not 2")));
        };
        if c == 0 || d == 0 {
            let shape = format!("there are {c} classes and {d} features");
            return Err(refusal(format!("the tensor {key:?} has no values: {shape}")));
        }
        let mut values = values(key, &weight)?;
        let key = format!("{}bias", key.strip_suffix("weight").unwrap_or_default());
        match tensors.tensor(&key) {
            Ok(bias) if bias.shape() != [c] => {
                let shape = bias.shape();
                return Err(refusal(format!(
                    "the tensor {key:?} has the shape {shape:?}, not [{c}]"
                )));
            }
            Ok(bias) => values.extend(self::values(&key, &bias)?),
            Err(_) => values.resize(c * d + c, 0.0),
        }
        check_parameters::<T>(&values, c, d)?;
        let parameters = values.into_iter().map(T::from_f64).collect();
        Ok((Self::from_parameters(c, d, parameters)?, metadata))
    }
}

pub(crate) fn refusal(message: impl ToString) -> Error {
    Error::Safetensors { message: message.to_string() }
}

/// The tensors and the metadata of a file.
pub(crate) fn parse(bytes: &[u8]) -> Result<(SafeTensors<'_>, HashMap<String, String>), Error> {
    // The format has no mark at the beginning: a file of another kind shows by a header that makes no sense.
    let no_file = |error| refusal(format!("no valid safetensors file: {error}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(no_file)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(no_file)?;
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

/// How a file has numbers of this type.
pub(crate) fn dtype<T: Scalar>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

/// Numbers as a file has them.
pub(crate) fn to_bytes<'a, T: Scalar>(values: impl IntoIterator<Item = &'a T>) -> Vec<u8> {
    let values = values.into_iter().map(|value| value.to_f64());
    match dtype::<T>() {
        Dtype::F32 => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
        _ => values.flat_map(f64::to_le_bytes).collect(),
    }
}

/// A file of tensors; the same ones are the same file, byte by byte.
pub(crate) fn serialize<'a>(
    tensors: impl IntoIterator<Item = (&'a str, TensorView<'a>)>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, Error> {
    let metadata = (!metadata.is_empty()).then_some(metadata);
    sort_header(safetensors::serialize(tensors, metadata).map_err(refusal)?).map_err(refusal)
}

fn file_error(path: &Path, message: &dyn ToString) -> Error {
    Error::File { path: path.to_owned(), message: message.to_string() }
}

/// The values of a tensor.
pub(crate) fn values(key: &str, tensor: &TensorView<'_>) -> Result<Vec<f64>, Error> {
    let data = tensor.data();
    let two = || data.as_chunks().0.iter().copied();
    Ok(match tensor.dtype() {
        Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        Dtype::F32 => {
            data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()
        }
        Dtype::F16 => two().map(|bytes| f16::from_le_bytes(bytes).into()).collect(),
        Dtype::BF16 => two().map(|bytes| bf16::from_le_bytes(bytes).into()).collect(),
        other => {
            let message = format!("the tensor {key:?} is {other:?}, not F64, F32, F16 or BF16");
            return Err(refusal(message));
        }
    })
}

/// An error for the first parameter that is not finite, or would not be as `T`.
fn check_parameters<T: Scalar>(values: &[f64], c: usize, d: usize) -> Result<(), Error> {
    let Some(i) = values.iter().position(|value| !T::from_f64(*value).is_finite()) else {
        return Ok(());
    };
    let what = match i.checked_sub(c * d) {
        None => format!("the weight of class {}, feature {}", i / d, i % d),
        Some(class) => format!("the bias of class {class}"),
    };
    let value = values[i];
    let range = if value.is_finite() { ", beyond the range of f32" } else { "" };
    Err(refusal(format!("{what} is {value:e}{range}")))
}

/// The same file with the keys of its header in order, as those of a map are in any.
fn sort_header(mut file: Vec<u8>) -> Result<Vec<u8>, serde_json::Error> {
    let (length, rest) = file.split_at_mut(8);
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let header: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(&rest[..length])?;
    // As long as before, but for the spaces at its end.
    let mut header = serde_json::to_vec(&header)?;
    header.resize(length, b' ');
    rest[..length].copy_from_slice(&header);
    Ok(file)
}

/// All of a file; but not of one that has no end, as it begins otherwise than models do.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = vec![0; 8];
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("no safetensors file: it is too short"),
        _ => error,
    })?;
    let header = bytes.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
    if !(2..=MAX_HEADER).contains(&header) {
        return Err(io::Error::other(format!(
            "no safetensors file: its header has {header} bytes"
        )));
    }
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a file in the place of another, or where none was.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let target = follow(path)?;
    let permissions = match fs::metadata(&target) {
        // Renaming would put a file in the place of a device or a folder.
        Ok(there) if !there.is_file() => return Err(io::Error::other("it is no regular file")),
        Ok(there) => Some(there.permissions()),
        Err(_) => None,
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".softmargin-");
    // Otherwise only the owner might read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // Its errors name the temporary file, which nobody knows.
    let mut beside = builder.tempfile_in(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("the folder does not exist"),
        kind => io::Error::from(kind),
    })?;
    let file = beside.as_file_mut();
    file.write_all(contents)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.sync_all()?;
    beside.persist(&target).map_err(|error| error.error)?;
    // The new name is to be on the disk, too, where folders can be synchronised.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// What a symbolic link leads to, whether there is a file or not.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..40 {
        let Ok(link) = fs::read_link(&target) else { return Ok(target) };
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(io::Error::other("too many symbolic links"))
}
