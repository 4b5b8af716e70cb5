//! Arrays of NumPy and tensors of safetensors as they lie in a file: elements of one type, in one order,
//! from which rows of features or labels are made. The values are converted when they are read, so that a
//! file may be larger than there is memory; those of a type that the library reads stay where they are.

use super::{
    compute::Compute,
    labels::{Labels, Numbers, Texts},
    lost::Lost,
    number::unfit,
    source::Bytes,
};
use anyhow::{Context, Result, bail};
use bytemuck::AnyBitPattern;
use half::{bf16, f16};
use softmargin::{Features, MatrixView};
use std::ops::Range;

/// The type of an element, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Bool,
    Integer {
        bytes: usize,
        signed: bool,
    },
    F16,
    Bf16,
    F32,
    F64,
    /// Code points of 32 bits, so many.
    Utf32(usize),
    /// Bytes, so many.
    Ascii(usize),
}

impl Element {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Integer { bytes, .. } | Self::Ascii(bytes) => bytes,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Utf32(length) => 4 * length,
        }
    }
}

/// How an array lies in bytes.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    /// Whether the first index varies fastest, as in Fortran.
    pub(super) columns: bool,
    /// Where the first element begins.
    pub(super) start: usize,
}

/// A value that is no feature.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadValue {
    pub(super) row: usize,
    pub(super) column: usize,
    /// As it is in the file.
    pub(super) value: f64,
}

impl BadValue {
    pub(super) fn error(self) -> anyhow::Error {
        let Self { row, column, value } = self;
        anyhow::anyhow!("row {row}, feature {column}: {value:?} {}", unfit(value))
    }
}

impl Layout {
    /// The bytes that its elements take up, unless they are more than there can be.
    pub(super) fn n_bytes(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.element.bytes(), |product, size| product.checked_mul(*size))
    }

    /// N and D of features: all that follows the first index is a row, as of images.
    pub(super) fn sizes(&self) -> Result<(usize, usize)> {
        if matches!(self.element, Element::Utf32(_) | Element::Ascii(_)) {
            bail!("its elements are text, and no features");
        }
        let [rows, ref rest @ ..] = *self.shape else {
            bail!("it holds a single number");
        };
        let cols = rest.iter().product();
        if rows == 0 || cols == 0 {
            bail!("there are no values: its shape is {:?}", self.shape);
        }
        Ok((rows, cols))
    }

    /// The values of some rows, row by row.
    ///
    /// # Errors
    /// The first value that is not finite, or not in `f32`.
    pub(super) fn read_rows(&self, bytes: &[u8], rows: Range<usize>) -> Result<Vec<f32>, BadValue> {
        self.read_as(bytes, rows, |value| value as f32)
    }

    /// All values, row by row, with the digits that they have.
    ///
    /// # Errors
    /// As [`read_rows`](Self::read_rows).
    pub(super) fn read_wide(&self, bytes: &[u8]) -> Result<Vec<f64>, BadValue> {
        let rows = self.shape.first().copied().unwrap_or(1);
        self.read_as(bytes, 0..rows, |value| value)
    }

    fn read_as<T: Copy + Default + Into<f64>>(
        &self,
        bytes: &[u8],
        rows: Range<usize>,
        cast: impl Fn(f64) -> T + Copy,
    ) -> Result<Vec<T>, BadValue> {
        match self.element {
            Element::Bool => {
                self.gather(bytes, rows, |[b]: [u8; 1]| f64::from(u8::from(b != 0)), cast)
            }
            Element::F16 => {
                self.gather(bytes, rows, |b: [u8; 2]| f16::from_le_bytes(b).into(), cast)
            }
            Element::Bf16 => {
                self.gather(bytes, rows, |b: [u8; 2]| bf16::from_le_bytes(b).into(), cast)
            }
            Element::F32 => {
                self.gather(bytes, rows, |b: [u8; 4]| f32::from_le_bytes(b).into(), cast)
            }
            Element::F64 => self.gather(bytes, rows, f64::from_le_bytes, cast),
            Element::Integer { bytes: 1, signed: false } => {
                self.gather(bytes, rows, |[b]: [u8; 1]| b.into(), cast)
            }
            Element::Integer { bytes: 1, .. } => {
                self.gather(bytes, rows, |b: [u8; 1]| i8::from_le_bytes(b).into(), cast)
            }
            Element::Integer { bytes: 2, signed: false } => {
                self.gather(bytes, rows, |b: [u8; 2]| u16::from_le_bytes(b).into(), cast)
            }
            Element::Integer { bytes: 2, .. } => {
                self.gather(bytes, rows, |b: [u8; 2]| i16::from_le_bytes(b).into(), cast)
            }
            Element::Integer { bytes: 4, signed: false } => {
                self.gather(bytes, rows, |b: [u8; 4]| u32::from_le_bytes(b).into(), cast)
            }
            Element::Integer { bytes: 4, .. } => {
                self.gather(bytes, rows, |b: [u8; 4]| i32::from_le_bytes(b).into(), cast)
            }
            Element::Integer { signed: false, .. } => {
                self.gather(bytes, rows, |b: [u8; 8]| u64::from_le_bytes(b) as f64, cast)
            }
            Element::Integer { .. } => {
                self.gather(bytes, rows, |b: [u8; 8]| i64::from_le_bytes(b) as f64, cast)
            }
            Element::Utf32(_) | Element::Ascii(_) => Ok(Vec::new()),
        }
    }

    fn gather<const B: usize, T: Copy + Default + Into<f64>>(
        &self,
        bytes: &[u8],
        rows: Range<usize>,
        decode: impl Fn([u8; B]) -> f64,
        cast: impl Fn(f64) -> T,
    ) -> Result<Vec<T>, BadValue> {
        let n = self.shape.first().copied().unwrap_or(1);
        let cols: usize = self.shape.iter().skip(1).product();
        let elements = bytes[self.start..].as_chunks::<B>().0;
        let values: Vec<T> = if self.columns {
            let mut values = vec![T::default(); rows.len() * cols];
            // So many rows at a time that the lines of the cache that are written are written in full.
            let blocks = values.chunks_mut((ROWS_AT_A_TIME * cols).max(1));
            for (start, block) in rows.clone().step_by(ROWS_AT_A_TIME).zip(blocks) {
                for stored in 0..cols {
                    let col = self.row_major(stored);
                    let column = &elements[stored * n + start..];
                    for (row, element) in block.chunks_exact_mut(cols).zip(column) {
                        row[col] = cast(decode(*element));
                    }
                }
            }
            values
        } else {
            let elements = &elements[rows.start * cols..rows.end * cols];
            elements.iter().map(|element| cast(decode(*element))).collect()
        };
        let unfit = |value: &T| {
            let wide: f64 = (*value).into();
            !(wide as f32).is_finite()
        };
        match values.iter().position(unfit) {
            None => Ok(values),
            Some(i) => {
                let (row, column) = (rows.start + i / cols, i % cols);
                let stored = |c: &usize| !self.columns || self.row_major(*c) == column;
                let at = match self.columns {
                    false => row * cols + column,
                    true => (0..cols).find(stored).unwrap_or(column) * n + row,
                };
                Err(BadValue { row, column, value: decode(elements[at]) })
            }
        }
    }

    /// The column, in row-major order, of what is the column of this number in the order of Fortran.
    fn row_major(&self, mut stored: usize) -> usize {
        let sizes = self.shape.get(1..).unwrap_or_default();
        let mut column = 0;
        let mut stride: usize = sizes.iter().product();
        for size in sizes {
            stride /= size;
            column += stored % size * stride;
            stored /= size;
        }
        column
    }

    /// All elements of one dimension, which are integers, as what `convert` makes of them.
    pub(super) fn integers<T>(
        &self,
        bytes: &[u8],
        convert: impl Fn(i128) -> Option<T>,
    ) -> Result<Vec<T>> {
        let Element::Integer { bytes: size, signed } = self.element else {
            bail!("its elements are no integers");
        };
        let data = &bytes[self.start..][..self.length()? * size];
        let elements = data.chunks_exact(size).enumerate();
        let convert = |(i, element)| {
            let number = integer(element, signed);
            convert(number).with_context(|| format!("element {i} is {number}"))
        };
        elements.map(convert).collect()
    }

    /// The number of elements of an array of one dimension.
    pub(super) fn length(&self) -> Result<usize> {
        match *self.shape {
            [n] => Ok(n),
            _ => bail!("it has one dimension, but its shape is {:?}", self.shape),
        }
    }

    /// The text that is the only element.
    pub(super) fn text(&self, bytes: &[u8]) -> Option<String> {
        let single = self.shape.iter().all(|size| *size == 1);
        let data = bytes[self.start..].get(..self.element.bytes()).filter(|_| single)?;
        match self.element {
            Element::Ascii(_) => Some(str::from_utf8(data).ok()?.trim_end_matches('\0').to_owned()),
            Element::Utf32(_) => {
                let points = data.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b));
                points.take_while(|point| *point != 0).map(char::from_u32).collect()
            }
            _ => None,
        }
    }

    /// One label a sample: whole numbers of any type, truth values or text, in one dimension or one column.
    pub(super) fn labels(&self, bytes: &[u8]) -> Result<Labels> {
        let &([n] | [n, 1]) = &*self.shape else {
            bail!("labels have one dimension, but its shape is {:?}", self.shape);
        };
        let size = self.element.bytes();
        // Of no bytes there are no chunks.
        let data = &bytes[self.start..][..n * size];
        if size == 0 && n > 0 {
            bail!("row 0: the label is missing (\"\")");
        }
        let elements = data.chunks_exact(size.max(1)).enumerate().map(|(row, e)| (row as u64, e));
        let mut numbers = Numbers::default();
        let mut texts = Texts::default();
        match self.element {
            Element::Bool => {
                for (row, element) in elements {
                    texts.push(if element == [0] { "False" } else { "True" }, row)?;
                }
                return Ok(texts.finish()?.0);
            }
            Element::Utf32(_) => {
                for (row, element) in elements {
                    let points = element.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b));
                    let text: Option<String> =
                        points.take_while(|point| *point != 0).map(char::from_u32).collect();
                    let text = text.with_context(|| format!("row {row}: the label is no text"))?;
                    texts.push(text.trim(), row)?;
                }
                return Ok(texts.finish()?.0);
            }
            Element::Ascii(_) => {
                for (row, element) in elements {
                    let end = element.iter().rposition(|byte| *byte != 0).map_or(0, |end| end + 1);
                    let text = str::from_utf8(&element[..end]);
                    let text = text.with_context(|| format!("row {row}: the label is no text"))?;
                    texts.push(text.trim(), row)?;
                }
                return Ok(texts.finish()?.0);
            }
            Element::F16 => {
                for (row, element) in elements {
                    let value = f16::from_le_bytes(element.try_into()?);
                    numbers.push_float(value.into(), row)?;
                }
            }
            Element::Bf16 => {
                for (row, element) in elements {
                    let value = bf16::from_le_bytes(element.try_into()?);
                    numbers.push_float(value.into(), row)?;
                }
            }
            Element::F32 => {
                for (row, element) in elements {
                    let value = f32::from_le_bytes(element.try_into()?);
                    numbers.push_float(value.into(), row)?;
                }
            }
            Element::F64 => {
                for (row, element) in elements {
                    numbers.push_float(f64::from_le_bytes(element.try_into()?), row)?;
                }
            }
            Element::Integer { signed, .. } => {
                for (row, element) in elements {
                    let number = integer(element, signed);
                    let small = i64::try_from(number).ok();
                    let number = small
                        .with_context(|| format!("row {row}: the label {number} is too large"))?;
                    numbers.push(number, row);
                }
            }
        }
        Ok(numbers.finish())
    }
}

/// An integer of up to eight bytes.
fn integer(element: &[u8], signed: bool) -> i128 {
    let negative = signed && element.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..element.len()].copy_from_slice(element);
    i128::from_le_bytes(wide)
}

/// Rows that are brought from columns at a time.
const ROWS_AT_A_TIME: usize = 64;

/// Features that lie in a file.
#[derive(Debug)]
pub(super) struct Array {
    bytes: Bytes,
    layout: Layout,
    rows: usize,
    cols: usize,
}

impl Array {
    /// `layout` must fit within `bytes`.
    pub(super) fn new(bytes: Bytes, layout: Layout) -> Result<Self> {
        let (rows, cols) = layout.sizes()?;
        let end = layout.n_bytes().and_then(|n| n.checked_add(layout.start));
        if end.is_none_or(|end| end > bytes.len()) {
            bail!("truncated");
        }
        Ok(Self { bytes, layout, rows, cols })
    }

    /// Images of bytes, of which there may be none.
    pub(super) fn of_pixels(pixels: Vec<u8>, [count, height, width]: [usize; 3]) -> Self {
        let element = Element::Integer { bytes: 1, signed: false };
        let layout =
            Layout { element, shape: vec![count, height, width], columns: false, start: 0 };
        Self { bytes: Bytes::Memory(pixels), layout, rows: count, cols: height * width }
    }

    /// N and D.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Height and width, if the samples are images of bytes.
    pub(super) fn image_shape(&self) -> Option<(usize, usize)> {
        match (self.layout.element, &*self.layout.shape) {
            (
                Element::Integer { bytes: 1, signed: false },
                &([_, height, width] | [_, height, width, 1] | [_, 1, height, width]),
            ) => Some((height, width)),
            _ => None,
        }
    }

    /// All values, if they can be read where they lie: of a type that the library reads, row by row or column by
    /// column, beginning where such a value may.
    pub(super) fn features<T: Compute>(&self) -> Option<Features<'_, T>> {
        match self.layout.element {
            Element::Integer { bytes: 1, signed: false } => self.matrix::<u8>().map(Into::into),
            Element::Integer { bytes: 1, signed: true } => self.matrix::<i8>().map(Into::into),
            Element::F16 => self.matrix::<f16>().map(Into::into),
            Element::Bf16 => self.matrix::<bf16>().map(Into::into),
            Element::F32 => self.matrix::<f32>().map(T::features),
            _ => None,
        }
    }

    fn matrix<E: AnyBitPattern>(&self) -> Option<MatrixView<'_, E>> {
        // Elements are little-endian.
        if cfg!(target_endian = "big") {
            return None;
        }
        let bytes = &self.bytes[self.layout.start..][..self.layout.n_bytes()?];
        let values = bytemuck::try_cast_slice(bytes).ok()?;
        let (rows, cols) = (self.rows, self.cols);
        match (self.is_in_rows(), self.layout.shape.len()) {
            (true, _) => MatrixView::new(values, rows, cols).ok(),
            (false, 2) => MatrixView::column_major(values, rows, cols).ok(),
            // The features of an image are in another order.
            (false, _) => None,
        }
    }

    /// What is lost of the features where they are converted, by so many values at most.
    pub(super) fn lost(&self, most: usize) -> Lost {
        const ROWS: usize = 100;
        let wide = match self.layout.element {
            Element::F64 => true,
            Element::Integer { bytes, .. } => bytes > 2,
            _ => false,
        };
        let rows = ROWS.min(self.rows).min(most / self.cols);
        // What is wrong with a value is said where all are read.
        let values = match wide && rows > 1 {
            true => self.layout.read_as(&self.bytes, 0..rows, |value| value).unwrap_or_default(),
            false => return Lost::default(),
        };
        Lost::of(self.cols, |column| {
            values.iter().skip(column).step_by(self.cols).copied().collect()
        })
    }

    /// Whether the values of a row lie beside each other.
    pub(super) fn is_in_rows(&self) -> bool {
        !self.layout.columns || self.cols == 1
    }

    /// The values of some rows.
    pub(super) fn read_rows(&self, rows: Range<usize>) -> Result<Vec<f32>, BadValue> {
        self.layout.read_rows(&self.bytes, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::labels::Label, *};

    fn layout(element: Element, shape: &[usize]) -> Layout {
        Layout { element, shape: shape.to_vec(), columns: false, start: 0 }
    }

    const I16: Element = Element::Integer { bytes: 2, signed: true };

    #[test]
    fn rows_of_every_type() {
        let expect = |element, bytes: &[u8], expected: [f32; 2]| {
            let got = layout(element, &[1, 2]).read_rows(bytes, 0..1).unwrap();
            assert_eq!(got, expected, "{element:?}");
        };
        let integer = |bytes, signed| Element::Integer { bytes, signed };
        expect(Element::Bool, &[0, 1], [0.0, 1.0]);
        expect(integer(1, false), &[255, 3], [255.0, 3.0]);
        expect(integer(1, true), &[255, 3], [-1.0, 3.0]);
        expect(integer(2, false), &[255, 255, 3, 0], [65535.0, 3.0]);
        expect(I16, &[255, 255, 3, 0], [-1.0, 3.0]);
        let both = |a: [u8; 4], b: [u8; 4]| [a, b].concat();
        expect(integer(4, true), &both((-7_i32).to_le_bytes(), [9, 0, 0, 0]), [-7.0, 9.0]);
        expect(integer(4, false), &both([255; 4], [9, 0, 0, 0]), [4294967300.0, 9.0]);
        let both = |a: [u8; 8], b: [u8; 8]| [a, b].concat();
        expect(integer(8, true), &both((-7_i64).to_le_bytes(), 9_i64.to_le_bytes()), [-7.0, 9.0]);
        expect(
            integer(8, false),
            &both([255; 8], 9_u64.to_le_bytes()),
            [18446744073709552000.0, 9.0],
        );
        expect(Element::F16, &[0, 0xc0, 1, 0], [-2.0, 2.0_f32.powi(-24)]);
        expect(Element::Bf16, &[0x80, 0x3f, 0, 0xc0], [1.0, -2.0]);
        expect(Element::F64, &both(0.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()), [0.5, -2.0]);
    }

    /// Element (i, j, k) is 100 i + 10 j + k, in the order of Fortran.
    #[test]
    fn columns_become_rows() {
        let (n, a, b) = (130, 3, 4);
        let mut bytes = Vec::new();
        for k in 0..b {
            for j in 0..a {
                for i in 0..n {
                    bytes.extend(((100 * i + 10 * j + k) as i16).to_le_bytes());
                }
            }
        }
        let layout = Layout { columns: true, ..layout(I16, &[n, a, b]) };
        for rows in [0..n, 5..6, 60..130, 7..7] {
            let values = layout.read_rows(&bytes, rows.clone()).unwrap();
            let expected: Vec<f32> = rows
                .flat_map(|i| {
                    (0..a).flat_map(move |j| (0..b).map(move |k| (100 * i + 10 * j + k) as f32))
                })
                .collect();
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn values_that_are_no_features() {
        for (value, word) in [
            (1e39, "1e39 is too large for f32"),
            (f64::NAN, "NaN is not finite"),
            (f64::NEG_INFINITY, "-inf is not finite"),
        ] {
            for columns in [false, true] {
                let mut values = [0.5; 12];
                // Row 2 and column 1 of 4 × 3.
                values[if columns { 6 } else { 7 }] = value;
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                let layout = Layout { columns, ..layout(Element::F64, &[4, 3]) };
                let bad = layout.read_rows(&bytes, 1..4).unwrap_err();
                assert_eq!(bad.error().to_string(), format!("row 2, feature 1: {word}"));
            }
        }
    }

    #[test]
    fn labels_of_every_type() {
        let distinct = |element, shape: &[usize], bytes: &[u8]| {
            layout(element, shape).labels(bytes).map(|labels| labels.distinct().to_vec())
        };
        let numbers =
            |numbers: &[i64]| numbers.iter().copied().map(Label::Number).collect::<Vec<_>>();
        let names =
            |names: &[&str]| names.iter().map(|n| Label::Name(n.to_string())).collect::<Vec<_>>();
        assert_eq!(distinct(I16, &[2], &[1, 0, 255, 255]).unwrap(), numbers(&[-1, 1]));
        assert_eq!(distinct(I16, &[2, 1], &[1, 0, 255, 255]).unwrap(), numbers(&[-1, 1]));
        assert_eq!(distinct(Element::Bool, &[3], &[1, 0, 1]).unwrap(), names(&["False", "True"]));
        assert_eq!(
            distinct(Element::Ascii(3), &[2], b"cat\0\0\0").unwrap_err().to_string(),
            "row 1: the label is missing (\"\")"
        );
        assert_eq!(distinct(Element::Ascii(3), &[2], b"catox\0").unwrap(), names(&["cat", "ox"]));
        let utf32: Vec<u8> = "é\0ab".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        assert_eq!(distinct(Element::Utf32(2), &[2], &utf32).unwrap(), names(&["ab", "é"]));
        let floats =
            |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(distinct(Element::F32, &[2], &floats(&[2.0, -1.0])).unwrap(), numbers(&[-1, 2]));
        for (value, word) in [
            (0.5, "0.5 is no class"),
            (f32::NAN, "missing"),
            (f32::INFINITY, "inf is no class"),
            (1e30, "is no class"),
        ] {
            let error =
                distinct(Element::F32, &[2], &floats(&[2.0, value])).unwrap_err().to_string();
            assert!(error.starts_with("row 1: ") && error.contains(word), "{error}");
        }
        let u64 = Element::Integer { bytes: 8, signed: false };
        assert!(distinct(u64, &[1], &[255; 8]).unwrap_err().to_string().contains("too large"));
        assert!(distinct(I16, &[1, 2], &[1, 0, 2, 0]).unwrap_err().to_string().contains("[1, 2]"));
    }
}
