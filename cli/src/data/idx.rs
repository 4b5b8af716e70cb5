//! The IDX format of MNIST: a big-endian header with a magic number and the sizes, then bytes. Plain or
//! gzipped, which the first bytes tell. The header is never believed: memory is taken for what is there,
//! and what is there must be what the header says.

use super::{
    Dataset, Labels,
    array::Array,
    options::{ReadOptions, Split},
    source::Source,
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// Reads images and labels of one split from a folder, each plain or with the suffix `.gz`. The labels
/// may be missing.
pub(super) fn read_folder(folder: &Path, options: &ReadOptions<'_>) -> Result<Dataset> {
    let split = options.split;
    let sets = sets(folder, split).with_context(|| folder.display().to_string())?;
    let set = match &*sets.into_iter().collect::<Vec<_>>() {
        [(_, set)] => set.clone(),
        [] => bail!("{}: there is no {}", folder.display(), expected(split)),
        several => {
            let names = several.iter().map(|(_, set)| set.images.display().to_string());
            bail!(
                "{}: there are several sets of images, give one as the file: {}",
                folder.display(),
                names.collect::<Vec<_>>().join(", ")
            )
        }
    };
    let max_unpacked = options.max_unpacked;
    let labels = set.labels.map(|path| -> Result<Labels> {
        let mut labels = read(&path, read_labels, max_unpacked)?;
        labels.name_file(&path.display().to_string());
        Ok(labels)
    });
    let labels = labels.transpose()?;
    let mut data = read(&set.images, read_images, max_unpacked)?;
    if let Some(labels) = &labels
        && labels.len() != data.n_samples
    {
        bail!("{}: {} images, but {} labels", folder.display(), data.n_samples, labels.len());
    }
    data.labels = labels;
    Ok(data)
}

/// Whether a folder has images of a split.
pub(super) fn has_split(folder: &Path, split: Split) -> bool {
    sets(folder, split).is_ok_and(|sets| !sets.is_empty())
}

fn expected(split: Split) -> &'static str {
    match split {
        Split::Train => "train-images-idx3-ubyte and no train-images-idx3-ubyte.gz",
        Split::Test => "t10k-images-idx3-ubyte and no t10k-images-idx3-ubyte.gz",
    }
}

/// Files that belong together.
#[derive(Clone, Debug)]
struct Set {
    images: PathBuf,
    labels: Option<PathBuf>,
}

/// The sets of a split in a folder, by their names: those of MNIST, with a dot or a dash before `idx3` and
/// anything around, as EMNIST's.
fn sets(folder: &Path, split: Split) -> Result<BTreeMap<String, Set>> {
    let parts: &[&str] = match split {
        Split::Train => &["train-images"],
        Split::Test => &["t10k-images", "test-images"],
    };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let plain = !name.ends_with(".gz");
        let key = name.trim_end_matches(".gz").to_ascii_lowercase().replace('.', "-");
        // A plain file comes before a gzipped one of the same name.
        if plain || !files.contains_key(&key) {
            files.insert(key, path);
        }
    }
    let is_set = |key: &str| key.contains("idx3") && parts.iter().any(|part| key.contains(part));
    let keys = files.keys().filter(|key| is_set(key));
    let set = |key: &String| Set {
        images: files[key].clone(),
        labels: files.get(&key.replace("-images", "-labels").replace("idx3", "idx1")).cloned(),
    };
    Ok(keys.map(|key| (key.clone(), set(key))).collect())
}

fn read<T>(path: &Path, parse: impl Fn(Source<'_>) -> Result<T>, max_unpacked: u64) -> Result<T> {
    let source = Source::open(path, max_unpacked);
    source.and_then(parse).with_context(|| path.display().to_string())
}

/// Images and their labels as bytes of files.
pub(super) fn parse(images: &[u8], labels: Option<&[u8]>, max_unpacked: u64) -> Result<Dataset> {
    let mut data = read_images(Source::new(images, max_unpacked)?)?;
    if let Some(labels) = labels {
        data.labels = Some(read_labels(Source::new(labels, max_unpacked)?)?);
    }
    Ok(data)
}

/// Reads images; pixels stay bytes, and are divided by 255 when they are read. What the header promises may be as
/// much as the source may have.
pub(super) fn read_images(source: Source<'_>) -> Result<Dataset> {
    let (sizes, pixels) = read_array(source, IMAGES, 3)?;
    let &[count, height, width] = &*sizes else { bail!("images have three sizes") };
    if height == 0 || width == 0 {
        bail!("there are no values: its shape is {sizes:?}");
    }
    Ok(Dataset::of_pixels(Array::of_pixels(pixels, [count, height, width])))
}

/// Reads labels, as [`read_images`] does images.
pub(super) fn read_labels(source: Source<'_>) -> Result<Labels> {
    let (_, labels) = read_array(source, LABELS, 1)?;
    Ok(Labels::of_numbers(labels.into_iter().map(i64::from)))
}

/// Reads a file with the given magic number and as many sizes.
fn read_array(source: Source<'_>, magic: u32, n_sizes: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let max_bytes = source.limit();
    let mut source = source.unlimited();
    let found = read_u32(&mut source)?;
    if found != magic {
        bail!("not an IDX file of this kind: it starts with {found:#010x}, not {magic:#010x}");
    }
    let mut sizes = Vec::new();
    let mut expected = 1_usize;
    for _ in 0..n_sizes {
        let size = read_u32(&mut source)? as usize;
        expected = expected.checked_mul(size).context("the sizes in its header overflow")?;
        sizes.push(size);
    }
    if expected as u64 > max_bytes {
        bail!(
            "its header promises {expected} bytes, more than the {max_bytes} that may be unpacked \
             (--max-unpacked raises the limit)"
        );
    }
    let mut bytes = Vec::new();
    // One more, to see whether something follows.
    source.take((expected as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() {
        actual if actual < expected => {
            bail!("truncated: its header promises {expected} bytes, but there are {actual}")
        }
        actual if actual > expected => {
            bail!("more follows the {expected} bytes its header promises")
        }
        _ => Ok((sizes, bytes)),
    }
}

fn read_u32(source: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    source.read_exact(&mut bytes).context("truncated within its header")?;
    Ok(u32::from_be_bytes(bytes))
}
