//! NumPy's NPZ files: a ZIP archive of NPY files, of which one has the features and one the labels; or which are the
//! parts of a sparse matrix, as SciPy's `save_npz` writes it.

use super::{
    Dataset,
    array::{Array, BadValue, Element, Layout},
    names, npy,
    options::{ReadOptions, Split},
    source::{Bytes, Source},
    sparse::{Sparse, check_weights, explain},
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
    let all = |parts: &[&str]| parts.iter().all(|part| names.contains(part));
    if all(&["indptr"]) || all(&["data", "format", "shape"]) {
        return read_sparse(&mut archive, &names, options);
    }
    if names.is_empty() {
        bail!("it is a ZIP archive without arrays of NumPy");
    }
    let (features, labels_name) = names::find(&names, options.split)?;
    let labels = labels_name
        .map(|name| with_array(&mut archive, name, options, |layout, bytes| layout.labels(bytes)));
    let labels = labels.transpose()?;
    let context = || format!("the array {features:?}");
    let bytes = member(&mut archive, features, options.max_unpacked)?;
    let layout = npy::layout(&bytes).with_context(context)?;
    let array = Array::new(Bytes::Memory(bytes), layout).with_context(context)?;
    let mut data = Dataset::of_array(array, options).with_context(context)?;
    data.labels = labels;
    data.notes.push(names::note("array", features, labels_name));
    Ok(data)
}

/// Reads a sparse matrix in the parts of SciPy, and the labels if somebody put them there, too.
fn read_sparse(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    names: &[&str],
    options: &ReadOptions<'_>,
) -> Result<Dataset> {
    let format = with_array(archive, "format", options, |layout, bytes| {
        layout.text(bytes).context("it is no text, as SciPy has it")
    })?;
    if format != "csr" {
        bail!("it is a matrix of SciPy in the format {format:?}, not \"csr\"; save X.tocsr()");
    }
    let shape: Vec<usize> = with_array(archive, "shape", options, |layout, bytes| {
        layout.integers(bytes, |size| size.try_into().ok())
    })?;
    let &[n_samples, n_features] = &*shape else {
        bail!("a matrix has two dimensions, but its shape is {shape:?}");
    };
    if n_samples == 0 || n_features == 0 {
        bail!("there are no values: its shape is {shape:?}");
    }
    let indptr: Vec<usize> = with_array(archive, "indptr", options, |layout, bytes| {
        layout.integers(bytes, |start| start.try_into().ok())
    })?;
    let indices: Vec<u32> = with_array(archive, "indices", options, |layout, bytes| {
        layout.integers(bytes, |index| index.try_into().ok())
    })?;
    let values = with_array(archive, "data", options, |layout, bytes| {
        if matches!(layout.element, Element::Utf32(_) | Element::Ascii(_)) {
            bail!("its elements are text");
        }
        layout.read_rows(bytes, 0..layout.length()?).map_err(|bad| {
            let row = indptr.partition_point(|start| *start <= bad.row).saturating_sub(1);
            let column = indices.get(bad.row).map_or(0, |index| *index as usize);
            BadValue { row, column, ..bad }.error()
        })
    })?;
    if options.schema.is_none() {
        check_weights(1, n_features, options.max_unpacked)?;
    }
    if indptr.len() != n_samples + 1 {
        let pointers = indptr.len();
        bail!(
            "its shape is {shape:?}, but \"indptr\" has {pointers} elements, not one more than rows"
        );
    }
    // SciPy refuses it, too: the entries before it would be of no row.
    if indptr[0] != 0 {
        bail!("\"indptr\" is to begin with 0, and begins with {}", indptr[0]);
    }
    let sparse = Sparse::new(indptr, indices, values, n_features).map_err(explain)?;
    let labels_name = names::labels(names)?;
    let labels = labels_name
        .map(|name| with_array(archive, name, options, |layout, bytes| layout.labels(bytes)));
    let labels = labels.transpose()?;
    let mut data = Dataset::of_sparse(sparse, options);
    data.labels = labels;
    data.notes.push(match labels_name {
        Some(name) => format!("features: a sparse matrix of SciPy, labels: {name:?}"),
        None => "features: a sparse matrix of SciPy, without labels".to_owned(),
    });
    Ok(data)
}

/// What `read` makes of an array.
fn with_array<T>(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
    options: &ReadOptions<'_>,
    read: impl FnOnce(&Layout, &[u8]) -> Result<T>,
) -> Result<T> {
    let bytes = member(archive, name, options.max_unpacked)?;
    let result = npy::layout(&bytes).and_then(|layout| read(&layout, &bytes));
    result.with_context(|| format!("the array {name:?}"))
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
