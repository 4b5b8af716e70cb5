//! A borrowed matrix: elements at constant distances. Whoever holds a [`MatrixView`] holds the proof that
//! every one of them may be read; the kernels rely on it.

use crate::{Error, view::View};

/// A read-only matrix, row-major or column-major, contiguous or with padding. Nothing is copied.
///
/// ```
/// use softmargin::MatrixView;
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let data = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let rows = MatrixView::new(&data, 2, 3)?;
/// assert_eq!(rows.row(1), Some(&[4.0, 5.0, 6.0][..]));
/// // The first two columns, where rows are three elements apart.
/// let some = MatrixView::with_row_stride(&data, 2, 2, 3)?;
/// assert_eq!(some.row(1), Some(&[4.0, 5.0][..]));
/// // The same numbers as three columns of two.
/// let columns = MatrixView::column_major(&data, 2, 3)?;
/// assert_eq!((columns.row_stride(), columns.col_stride()), (1, 2));
///
/// assert!(MatrixView::new(&data, 2, 4).is_err(), "eight elements");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MatrixView<'a, T>(View<'a, T>);

impl<T> Clone for MatrixView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for MatrixView<'_, T> {}

impl<'a, T> MatrixView<'a, T> {
    /// A contiguous matrix, row by row: element (i, j) is `data[i * cols + j]`. With few classes, rows that begin at
    /// cache lines (multiples of 64 bytes, as in a mapped NPY file or a tensor of PyTorch) are read up to a tenth
    /// faster than others, as those of a large `Vec`.
    ///
    /// # Errors
    /// [`Error::DataLength`] unless `data` has exactly `rows × cols` elements;
    /// [`Error::SizeOverflow`] if that product overflows.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        check_length(data, rows, cols)?;
        Self::with_row_stride(data, rows, cols, cols)
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
        check_end(data, [rows, cols], (rows, row_stride), cols)?;
        let view = View::new(data, [rows, cols], [row_stride, 1]);
        view.map(Self).ok_or(Error::SizeOverflow { rows, row_stride })
    }

    /// A contiguous matrix, column by column: element (i, j) is `data[i + j * rows]`. This is how pandas
    /// hands over a table, and how Fortran, R and `faer` store a matrix.
    ///
    /// It is read where it lies. An evaluation takes up to a quarter more time than that of a row-major matrix, or
    /// less where rows are short. The last bits of its results may be others, as other sums are taken first, but
    /// they are the same on any number of threads, too. Rows that are selected at random cost a cache line for
    /// each element: for minibatches, transpose once.
    ///
    /// # Errors
    /// [`Error::DataLength`] unless `data` has exactly `rows × cols` elements;
    /// [`Error::SizeOverflow`] if that product overflows.
    pub fn column_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        check_length(data, rows, cols)?;
        Self::with_col_stride(data, rows, cols, rows)
    }

    /// A matrix with padded columns: element (i, j) is `data[i + j * col_stride]`. What lies between the
    /// columns and behind the last one is never read.
    ///
    /// # Errors
    /// [`Error::ColStride`] if `col_stride < rows`; [`Error::StridedLength`] if the slice ends before
    /// the last column; [`Error::SizeOverflow`] if its size overflows.
    pub fn with_col_stride(
        data: &'a [T],
        rows: usize,
        cols: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        if col_stride < rows {
            return Err(Error::ColStride { col_stride, rows });
        }
        check_end(data, [rows, cols], (cols, col_stride), rows)?;
        let view = View::new(data, [rows, cols], [1, col_stride]);
        view.map(Self).ok_or(Error::SizeOverflow { rows: cols, row_stride: col_stride })
    }

    /// A view of what another crate has a view of, with these strides.
    #[cfg(any(feature = "ndarray", feature = "faer"))]
    pub(crate) fn of_view(
        view: Option<View<'a, T>>,
        [row_stride, col_stride]: [isize; 2],
    ) -> Result<Self, Error> {
        view.map(Self).ok_or(Error::Strides { row_stride, col_stride })
    }

    /// The number of rows (N).
    pub fn rows(&self) -> usize {
        self.0.rows()
    }

    /// The number of columns (D).
    pub fn cols(&self) -> usize {
        self.0.cols()
    }

    /// Elements from one row to the next: 1 in a column-major matrix.
    pub fn row_stride(&self) -> usize {
        self.0.row_stride()
    }

    /// Elements from one column to the next: 1 in a row-major matrix.
    pub fn col_stride(&self) -> usize {
        self.0.col_stride()
    }

    /// The matrix of the rows of a range, of which nothing is copied; `None` unless all of them are there. O(1).
    ///
    /// ```
    /// use softmargin::MatrixView;
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let x = MatrixView::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2)?;
    /// let last = x.slice_rows(1..3).expect("two of three rows");
    /// assert_eq!((last.rows(), last.row(0)), (2, Some(&[3.0, 4.0][..])));
    /// assert!(x.slice_rows(2..4).is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn slice_rows(&self, range: core::ops::Range<usize>) -> Option<Self> {
        self.0.slice_rows(range).map(Self)
    }

    /// Row `i` of a row-major matrix; `None` behind the last one, and for a column-major matrix, whose rows
    /// are no slices.
    pub fn row(&self, i: usize) -> Option<&'a [T]> {
        self.0.row(i)
    }

    /// The elements of row `i`.
    ///
    /// # Panics
    /// The iterator does, if there is no such row.
    pub(crate) fn row_elements(&self, i: usize) -> impl Iterator<Item = T> + use<'a, T>
    where
        T: Copy,
    {
        let view = self.0;
        (0..view.cols()).map(move |j| view.get(i, j))
    }

    pub(crate) fn view(&self) -> View<'a, T> {
        self.0
    }
}

fn check_length<T>(data: &[T], rows: usize, cols: usize) -> Result<(), Error> {
    let expected = rows.checked_mul(cols).ok_or(Error::SizeOverflow { rows, row_stride: cols })?;
    let actual = data.len();
    if actual != expected {
        return Err(Error::DataLength { rows, cols, expected, actual });
    }
    Ok(())
}

/// Checks that a slice has room for `n` lines of `length` at a distance of `stride`.
fn check_end<T>(
    data: &[T],
    [rows, cols]: [usize; 2],
    (n, stride): (usize, usize),
    length: usize,
) -> Result<(), Error> {
    let expected = match n {
        0 => Some(0),
        _ => (n - 1).checked_mul(stride).and_then(|start| start.checked_add(length)),
    };
    let expected = expected.ok_or(Error::SizeOverflow { rows: n, row_stride: stride })?;
    let actual = data.len();
    if actual < expected {
        return Err(Error::StridedLength { rows, cols, stride, expected, actual });
    }
    Ok(())
}
