//! NumPy's NPZ files: a ZIP archive of NPY files, of which one has the features and one the labels.

use super::{
    Dataset,
    array::Array,
    names, npy,
    options::{ReadOptions, Split},
    source::{Bytes, Source},
};
use anyhow::{Context, Result, bail};
use std::{
    io::{Cursor, Read, Seek},
    path::Path,
};
use zip::ZipArchive;

/// Reads the features, and the labels if there are any.
pub(super) fn read(source: Source<'_>, options: &ReadOptions<'_>) -> Result<Dataset> {
    let bytes = source.bytes()?;
    let mut archive =
        ZipArchive::new(Cursor::new(&*bytes)).context("its directory cannot be read")?;
    let names = names_of(&archive);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if ["indptr", "indices", "format"].iter().all(|part| names.contains(part)) {
        bail!("it is a sparse matrix of SciPy, which is not supported; save X.toarray()");
    }
    if names.is_empty() {
        bail!("it is a ZIP archive without arrays of NumPy");
    }
    let (features, labels_name) = names::find(&names, options.split)?;
    let labels = match labels_name {
        None => None,
        Some(name) => {
            let bytes = member(&mut archive, name, options.max_unpacked)?;
            let labels = npy::layout(&bytes).and_then(|layout| layout.labels(&bytes));
            Some(labels.with_context(|| format!("the array {name:?}"))?)
        }
    };
    let context = || format!("the array {features:?}");
    let bytes = member(&mut archive, features, options.max_unpacked)?;
    let layout = npy::layout(&bytes).with_context(context)?;
    let array = Array::new(Bytes::Memory(bytes), layout).with_context(context)?;
    let mut data = Dataset::of_array(array, options).with_context(context)?;
    data.labels = labels;
    data.notes.push(names::note("array", features, labels_name));
    Ok(data)
}

/// The arrays in a file.
fn names_of<R: Read + Seek>(archive: &ZipArchive<R>) -> Vec<String> {
    let names = archive.file_names().filter_map(Result::ok);
    names.filter_map(|name| name.strip_suffix(".npy").map(str::to_owned)).collect()
}

/// Whether a file has features of their own for a split.
pub(super) fn has_split(path: &Path, split: Split) -> bool {
    let archive = std::fs::File::open(path).ok().and_then(|file| ZipArchive::new(file).ok());
    archive.is_some_and(|archive| {
        let names = names_of(&archive);
        names::has_split(&names.iter().map(String::as_str).collect::<Vec<_>>(), split)
    })
}

/// Unpacks an array. Memory is taken for what is there, not for what the directory says.
fn member(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, limit: u64) -> Result<Vec<u8>> {
    let context = || format!("the array {name:?}");
    let file = archive.by_name(&format!("{name}.npy")).with_context(context)?;
    // What is stored as it is takes up no more than the file does.
    let packed = file.compression() != zip::CompressionMethod::Stored;
    let limit = if packed { limit } else { u64::MAX };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).with_context(context)?;
    if bytes.len() as u64 > limit {
        bail!(
            "the array {name:?} has more than {limit} bytes when it is unpacked (--max-unpacked raises \
             the limit)"
        );
    }
    Ok(bytes)
}
