//! NumPy's NPY files. Features are not read but mapped into memory, so that a file may be larger than there
//! is memory: the kernels read `f32` where it lies, other types are converted chunk by chunk.

use anyhow::{Context, Result, bail};
use memmap2::Mmap;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::{fs::File, io::Cursor, ops::Range, path::Path};

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    F32,
    F64,
    U8,
    Integer { bytes: usize, signed: bool },
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Integer { bytes, .. } => bytes,
        }
    }
}

/// What the header of a file says, and where its data begins.
struct Header {
    element: Element,
    shape: Vec<usize>,
    /// Whether the last index varies slowest.
    columns: bool,
    start: usize,
}

impl Header {
    /// Reads the header, and checks that what it promises is what follows.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let truncated = || "truncated within its header";
        if !bytes.starts_with(b"\x93NUMPY") {
            bail!("not an NPY file: it does not start with \\x93NUMPY");
        }
        // A length that is a lie is not to be believed by whoever allocates for it.
        let field = |range: Range<usize>| bytes.get(range).with_context(truncated);
        let length = match bytes.get(6).with_context(truncated)? {
            1 => {
                field(8..10)?.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte))
                    + 10
            }
            _ => {
                field(8..12)?.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte))
                    + 12
            }
        };
        let header = field(0..length)?;
        let text = String::from_utf8_lossy(header);
        // The parser takes time without end for brackets within brackets, which records have.
        let count = |bracket: char| text.matches(bracket).count();
        if count('[') > 0 || count('{') > 1 || count('(') > 1 {
            bail!("its header is not that of a plain array");
        }
        if !shape_fits(&text) {
            bail!("its shape overflows");
        }
        let mut cursor = Cursor::new(header);
        let header = NpyHeader::from_reader(&mut cursor).context("its header cannot be read")?;

        let DType::Plain(dtype) = header.dtype() else {
            bail!("its elements are records");
        };
        let size = dtype.num_bytes().unwrap_or(0);
        let element = match (dtype.type_char(), size) {
            (TypeChar::Float, 4) => Element::F32,
            (TypeChar::Float, 8) => Element::F64,
            (TypeChar::Uint, 1) => Element::U8,
            (TypeChar::Int, bytes @ (1 | 2 | 4 | 8)) => Element::Integer { bytes, signed: true },
            (TypeChar::Uint, bytes @ (2 | 4 | 8)) => Element::Integer { bytes, signed: false },
            _ => bail!("its elements are {dtype}, which is not supported"),
        };
        if dtype.endianness() == Endianness::Big {
            bail!("its elements are {dtype}, big-endian; save it with astype(\"<f4\")");
        }
        let sizes = header.shape().iter().map(|size| usize::try_from(*size));
        let shape = sizes.collect::<Result<Vec<_>, _>>().context("its shape is too large")?;
        let columns = header.order() == Order::Fortran && shape.len() > 1;
        let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let expected = elements.and_then(|elements| elements.checked_mul(element.bytes()));
        let expected = expected.context("its shape overflows")?;
        let actual = bytes.len() - length;
        if actual != expected {
            bail!("its header promises {expected} bytes of data, but there are {actual}");
        }
        Ok(Self { element, shape, columns, start: length })
    }
}

/// Whether the product of the sizes in a header is a number, which `npyz` takes for granted.
fn shape_fits(header: &str) -> bool {
    let shape = header.split("shape").nth(1).and_then(|rest| rest.split(['(', ')']).nth(1));
    let sizes = shape.unwrap_or_default().split(',').map(str::trim).filter(|size| !size.is_empty());
    let mut sizes = sizes.map(|size| size.trim_end_matches('L').parse::<usize>().ok());
    // In bytes, of the largest elements there are.
    sizes.try_fold(16_usize, |product, size| product.checked_mul(size?)).is_some()
}

/// The features in a file, N × D.
#[derive(Debug)]
pub struct Npy {
    map: Mmap,
    start: usize,
    element: Element,
    rows: usize,
    cols: usize,
}

impl Npy {
    /// Opens a file; reads its header only. A file of more than two dimensions (images, say) is one of rows of
    /// all that follows the first.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the file must not shrink while it is mapped, as of every program that maps files; what is
        // in it may be anything.
        let map = unsafe { Mmap::map(&file)? };
        let Header { element, shape, columns, start } = Header::parse(&map)?;
        if columns {
            bail!("it is in Fortran order; save it with numpy.ascontiguousarray");
        }
        if matches!(element, Element::Integer { .. }) {
            bail!("its elements are integers; features are float32, float64 or uint8");
        }
        let [rows, ref rest @ ..] = *shape else {
            bail!("it holds a single number");
        };
        let cols = rest.iter().product();
        if rows == 0 || cols == 0 {
            bail!("there are no values: its shape is {shape:?}");
        }
        Ok(Self { map, start, element, rows, cols })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// All values, if they are at hand: the file has `f32`, and they begin where one may.
    pub(super) fn values(&self) -> Option<&[f32]> {
        match self.element {
            Element::F32 => bytemuck::try_cast_slice(&self.map[self.start..]).ok(),
            _ => None,
        }
    }

    /// The values of some rows.
    pub(super) fn read_rows(&self, rows: Range<usize>) -> Vec<f32> {
        let row = self.cols * self.element.bytes();
        let bytes = &self.map[self.start + rows.start * row..][..rows.len() * row];
        match self.element {
            Element::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Element::F64 => {
                bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()
            }
            Element::U8 | Element::Integer { .. } => bytes.iter().map(|b| f32::from(*b)).collect(),
        }
    }
}

/// Reads labels: one dimension of whole numbers.
pub(super) fn read_labels(path: &Path) -> Result<Vec<u32>> {
    parse_labels(&std::fs::read(path)?)
}

/// Reads labels from the bytes of a file.
pub fn parse_labels(bytes: &[u8]) -> Result<Vec<u32>> {
    let Header { element, shape, start, .. } = Header::parse(bytes)?;
    if shape.len() != 1 {
        bail!("labels have one dimension, but its shape is {shape:?}");
    }
    let label = |row: usize, bytes: &[u8]| {
        let unsigned = bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let whole = match element {
            Element::F32 => return float_label(row, f32::from_bits(unsigned as u32).into()),
            Element::F64 => return float_label(row, f64::from_bits(unsigned)),
            Element::Integer { signed: true, .. } if negative => None,
            Element::U8 | Element::Integer { .. } => u32::try_from(unsigned).ok(),
        };
        whole.with_context(|| format!("row {row}: its label is none of 0, 1, 2, …"))
    };
    let values = bytes[start..].chunks_exact(element.bytes());
    values.enumerate().map(|(row, bytes)| label(row, bytes)).collect()
}

fn float_label(row: usize, value: f64) -> Result<u32> {
    if value.fract() == 0.0 && (0.0..4e9).contains(&value) {
        Ok(value as u32)
    } else {
        bail!("row {row}: {value} is no label (0, 1, 2, …)")
    }
}

/// A file of `f32`.
pub fn serialize(shape: &[usize], values: &[f32]) -> Result<Vec<u8>> {
    use npyz::WriterBuilder;
    let shape: Vec<u64> = shape.iter().map(|size| *size as u64).collect();
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes);
    let mut writer = options.begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()?;
    Ok(bytes)
}

/// Reads an array of `f32` or `f64` with its shape, row by row: scikit-learn's coefficients often come in columns.
pub fn parse_values(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>)> {
    let Header { element, shape, columns, start } = Header::parse(bytes)?;
    let data = &bytes[start..];
    let mut values: Vec<f32> = match element {
        Element::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Element::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => bail!("its elements are integers, not float32 or float64"),
    };
    match *shape {
        [rows, cols] if columns => {
            let place = |i: usize| i % cols * rows + i / cols;
            values = (0..values.len()).map(|i| values[place(i)]).collect();
        }
        _ if columns => bail!("it is in Fortran order; save it with numpy.ascontiguousarray"),
        _ => {}
    }
    Ok((shape, values))
}
