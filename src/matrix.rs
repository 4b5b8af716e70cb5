//! A borrowed matrix: rows of equal length at a constant distance in one slice. Whoever holds a
//! [`MatrixView`] holds the proof that every row lies within its slice; the kernels rely on it.

use crate::Error;

/// A read-only matrix in row-major order, contiguous or with padded rows. Nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct MatrixView<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a, T> MatrixView<'a, T> {
    /// A contiguous matrix: element (i, j) is `data[i * cols + j]`.
    ///
    /// # Errors
    /// [`Error::DataLength`] unless `data` has exactly `rows × cols` elements;
    /// [`Error::SizeOverflow`] if that product overflows.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        let expected =
            rows.checked_mul(cols).ok_or(Error::SizeOverflow { rows, row_stride: cols })?;
        if data.len() != expected {
            return Err(Error::DataLength { rows, cols, expected, actual: data.len() });
        }
        Ok(Self { data, rows, cols, row_stride: cols })
    }

    /// A matrix with padded rows: element (i, j) is `data[i * row_stride + j]`. What lies between
    /// the rows and behind the last one is never read.
    ///
    /// # Errors
    /// [`Error::RowStride`] if `row_stride < cols`; [`Error::StridedLength`] if the slice ends before
    /// the last row; [`Error::SizeOverflow`] if its size overflows.
    pub fn with_row_stride(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
    ) -> Result<Self, Error> {
        if row_stride < cols {
            return Err(Error::RowStride { row_stride, cols });
        }
        let expected = match rows {
            0 => Some(0),
            _ => (rows - 1).checked_mul(row_stride).and_then(|start| start.checked_add(cols)),
        };
        let expected = expected.ok_or(Error::SizeOverflow { rows, row_stride })?;
        if data.len() < expected {
            let actual = data.len();
            return Err(Error::StridedLength { rows, cols, row_stride, expected, actual });
        }
        Ok(Self { data, rows, cols, row_stride })
    }

    /// The number of rows (N).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns (D).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from the start of one row to the start of the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Row `i`, or `None` behind the last one.
    pub fn row(&self, i: usize) -> Option<&'a [T]> {
        (i < self.rows).then(|| &self.data[i * self.row_stride..][..self.cols])
    }

    /// The first element of row 0.
    pub(crate) fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }
}
