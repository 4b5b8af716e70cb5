//! The IDX format of MNIST: a big-endian header with a magic number and the sizes, then bytes. Plain or
//! gzipped, which the first bytes tell. The header is never believed: memory is taken for what is there,
//! and what is there must be what the header says.

use super::{Dataset, Split};
use anyhow::{Context, Result, bail};
use flate2::bufread::GzDecoder;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// Images of one size, as bytes.
pub struct Images {
    count: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

/// Reads images and labels of one split from a folder, each plain or with the suffix `.gz`. The labels
/// may be missing.
pub(super) fn read_folder(folder: &Path, split: Split, max_unpacked: u64) -> Result<Dataset> {
    let part = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let images_name = format!("{part}-images-idx3-ubyte");
    let Some(images) = find(folder, &images_name) else {
        bail!("{}: there is no {images_name} and no {images_name}.gz", folder.display());
    };
    let labels = find(folder, &format!("{part}-labels-idx1-ubyte"));
    let read_labels = |path: PathBuf| read(&path, |source| parse_labels(source, max_unpacked));
    let labels = labels.map(read_labels).transpose()?;
    let images = read(&images, |source| parse_images(source, max_unpacked))?;
    let folder = || folder.display().to_string();
    dataset(images, labels).with_context(folder)
}

/// Whether a folder has the images of a split.
pub fn has_split(folder: &Path, split: Split) -> bool {
    let part = if split == Split::Train { "train" } else { "t10k" };
    find(folder, &format!("{part}-images-idx3-ubyte")).is_some()
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.exists())
}

fn read<T>(path: &Path, parse: impl Fn(BufReader<File>) -> Result<T>) -> Result<T> {
    let context = || path.display().to_string();
    let file = File::open(path).with_context(context)?;
    parse(BufReader::new(file)).with_context(context)
}

/// Pixels divided by 255, with their labels.
pub fn dataset(images: Images, labels: Option<Vec<u32>>) -> Result<Dataset> {
    let Images { count, height, width, pixels } = images;
    if let Some(labels) = &labels
        && labels.len() != count
    {
        bail!("{count} images, but {} labels", labels.len());
    }
    let features = pixels.into_iter().map(|pixel| f32::from(pixel) / 255.0).collect();
    let dataset = Dataset::new(features, count, height * width, labels);
    Ok(Dataset { image_shape: Some((height, width)), ..dataset })
}

/// Reads images. If they are gzipped, what the header promises may be `max_unpacked` bytes at most.
pub fn parse_images(source: impl BufRead, max_unpacked: u64) -> Result<Images> {
    let (sizes, pixels) = parse(source, IMAGES, 3, max_unpacked)?;
    Ok(Images { count: sizes[0], height: sizes[1], width: sizes[2], pixels })
}

/// Reads labels, as [`parse_images`] does images.
pub fn parse_labels(source: impl BufRead, max_unpacked: u64) -> Result<Vec<u32>> {
    let (_, labels) = parse(source, LABELS, 1, max_unpacked)?;
    Ok(labels.into_iter().map(u32::from).collect())
}

/// Reads a file with the given magic number and as many sizes.
fn parse(
    mut source: impl BufRead,
    magic: u32,
    n_sizes: usize,
    max_unpacked: u64,
) -> Result<(Vec<usize>, Vec<u8>)> {
    let gzipped = source.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    if gzipped {
        parse_plain(GzDecoder::new(source), magic, n_sizes, max_unpacked)
    } else {
        parse_plain(source, magic, n_sizes, u64::MAX)
    }
}

fn parse_plain(
    mut source: impl Read,
    magic: u32,
    n_sizes: usize,
    max_bytes: u64,
) -> Result<(Vec<usize>, Vec<u8>)> {
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
