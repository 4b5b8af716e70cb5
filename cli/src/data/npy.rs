//! NumPy's NPY files: the header, which says how the array lies in what follows.

use super::array::{BadValue, Element, Layout};
use anyhow::{Context, Result, bail};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::{io::Cursor, ops::Range};

/// Reads the header of a file, and checks that what it promises is what follows.
pub(super) fn layout(bytes: &[u8]) -> Result<Layout> {
    let truncated = || "truncated within its header";
    if !bytes.starts_with(b"\x93NUMPY") {
        bail!("not an NPY file: it does not start with \\x93NUMPY");
    }
    // A length that is a lie is not to be believed by whoever allocates for it.
    let field = |range: Range<usize>| bytes.get(range).with_context(truncated);
    let length = match bytes.get(6).with_context(truncated)? {
        1 => {
            field(8..10)?.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte)) + 10
        }
        _ => {
            field(8..12)?.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte)) + 12
        }
    };
    let header = field(0..length)?;
    let text = String::from_utf8_lossy(header);
    // The parser takes time without end for brackets within brackets, which records have.
    let count = |bracket: char| text.matches(bracket).count();
    if count('[') > 0 || count('{') > 1 || count('(') > 1 {
        bail!("its header is not that of a plain array (records and dates are none)");
    }
    if !shape_fits(&text) {
        bail!("its shape overflows");
    }
    let mut cursor = Cursor::new(header);
    let header = NpyHeader::from_reader(&mut cursor).context("its header cannot be read")?;

    let DType::Plain(dtype) = header.dtype() else {
        bail!("its elements are records");
    };
    let element = match (dtype.type_char(), dtype.num_bytes().unwrap_or(0)) {
        (TypeChar::Bool, 1) => Element::Bool,
        (TypeChar::Float, 2) => Element::F16,
        (TypeChar::Float, 4) => Element::F32,
        (TypeChar::Float, 8) => Element::F64,
        (TypeChar::Int, bytes @ (1 | 2 | 4 | 8)) => Element::Integer { bytes, signed: true },
        (TypeChar::Uint, bytes @ (1 | 2 | 4 | 8)) => Element::Integer { bytes, signed: false },
        (TypeChar::UnicodeStr, bytes) => Element::Utf32(bytes / 4),
        (TypeChar::ByteStr, bytes) => Element::Ascii(bytes),
        (TypeChar::Object, _) => bail!(
            "its elements are objects of Python, which is not supported; save it with astype(str) or \
             astype(\"float32\")"
        ),
        _ => bail!(
            "its elements are {dtype}, which is not supported; save it with astype(\"float32\")"
        ),
    };
    if dtype.endianness() == Endianness::Big {
        let little = dtype.to_string().replace('>', "<");
        bail!("its elements are {dtype}, big-endian; save it with astype({little:?})");
    }
    let sizes = header.shape().iter().map(|size| usize::try_from(*size));
    let shape = sizes.collect::<Result<Vec<_>, _>>().context("its shape is too large")?;
    let columns = header.order() == Order::Fortran && shape.len() > 1;
    let layout = Layout { element, shape, columns, start: length };
    let expected = layout.n_bytes().context("its shape overflows")?;
    let actual = bytes.len() - length;
    if actual != expected {
        bail!("its header promises {expected} bytes of data, but there are {actual}");
    }
    Ok(layout)
}

/// Whether the product of the sizes in a header is a number, which `npyz` takes for granted.
fn shape_fits(header: &str) -> bool {
    let shape = header.split("shape").nth(1).and_then(|rest| rest.split(['(', ')']).nth(1));
    let sizes = shape.unwrap_or_default().split(',').map(str::trim).filter(|size| !size.is_empty());
    let mut sizes = sizes.map(|size| size.trim_end_matches('L').parse::<usize>().ok());
    // In bytes, of the largest elements there are.
    sizes.try_fold(16_usize, |product, size| product.checked_mul(size?)).is_some()
}

/// A file of `f32` or `f64`.
pub fn serialize<T: npyz::AutoSerialize + Copy>(shape: &[usize], values: &[T]) -> Result<Vec<u8>> {
    use npyz::WriterBuilder;
    let shape: Vec<u64> = shape.iter().map(|size| *size as u64).collect();
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes);
    let mut writer = options.begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()?;
    Ok(bytes)
}

/// Reads an array of numbers with its shape, row by row: scikit-learn's coefficients often come in columns.
///
/// # Errors
/// If it is no array, or if a value is not finite or beyond the range of `f32`.
pub fn parse_values(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f64>)> {
    let layout = layout(bytes)?;
    if matches!(layout.element, Element::Utf32(_) | Element::Ascii(_)) {
        bail!("its elements are text");
    }
    let values = layout.read_wide(bytes).map_err(BadValue::error)?;
    Ok((layout.shape, values))
}
