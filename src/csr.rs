//! Borrowed sparse rows. Whoever holds a [`CsrView`] holds the proof that every row is a range of the entries
//! and that every index is a feature; the kernels rely on it.

use crate::Error;
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A read-only sparse matrix in the layout of SciPy's `csr_matrix` (compressed sparse rows). Nothing is copied.
///
/// Row i has the entries `indptr[i]..indptr[i + 1]`: `values[e]` is its feature `indices[e]`. Features without an
/// entry are 0. The indices of a row need not be sorted, and entries of the same feature add up.
///
/// ```
/// use softmargin::CsrView;
///
/// # fn main() -> Result<(), softmargin::Error> {
/// // Three rows of a million features; the second one is empty.
/// let x = CsrView::new(3, 1_000_000, &[0, 2, 2, 3], &[7, 999_999, 0], &[1.0_f32, 0.5, -2.0])?;
/// assert_eq!((x.rows(), x.cols(), x.n_entries()), (3, 1_000_000, 3));
/// assert_eq!(x.row(0), Some((&[7, 999_999][..], &[1.0, 0.5][..])));
/// assert_eq!(x.row(1), Some((&[][..], &[][..])));
///
/// let error = CsrView::new(1, 5, &[0, 1], &[5], &[1.0]).unwrap_err();
/// assert_eq!(error.to_string(), "row 0: indices[0] is 5, but there are 5 features (0 to 4)");
/// # Ok(())
/// # }
/// ```
///
/// An evaluation transposes what it sees for the first time, which costs as much as some evaluations, and keeps
/// the result for later ones: make the view once, before them. Copies of a view count as the same.
#[derive(Debug)]
pub struct CsrView<'a, T> {
    indptr: &'a [usize],
    indices: &'a [u32],
    values: &'a [T],
    cols: usize,
    identity: u64,
}

impl<T> Clone for CsrView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for CsrView<'_, T> {}

/// A number that no other call returns. It tells borrowed data apart from all other data: as long as something
/// with the number is there, the data is borrowed, and does not change.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

impl<'a, T> CsrView<'a, T> {
    /// A matrix of so many rows and columns. `indptr` has one number more than there are rows, and need not begin
    /// with 0: a part of the row pointers of a larger matrix is a part of its rows.
    ///
    /// Takes O(rows + entries) to check the indices.
    ///
    /// # Errors
    /// [`Error::RowPointersLength`] unless `indptr` has `rows + 1` numbers; [`Error::IndicesLength`] unless there
    /// are as many indices as values; [`Error::RowPointer`] for a row that ends before it begins, or past the
    /// last entry; [`Error::FeatureIndex`] for an index that is no column.
    pub fn new(
        rows: usize,
        cols: usize,
        indptr: &'a [usize],
        indices: &'a [u32],
        values: &'a [T],
    ) -> Result<Self, Error> {
        if indptr.len().checked_sub(1) != Some(rows) {
            return Err(Error::RowPointersLength { pointers: indptr.len(), rows });
        }
        if indices.len() != values.len() {
            return Err(Error::IndicesLength { indices: indices.len(), values: values.len() });
        }
        let entries = indices.len();
        let is_range = |row: &[usize]| row[0] <= row[1] && row[1] <= entries;
        let invalid = indptr.windows(2).position(|row| !is_range(row));
        // Without rows, there is one pointer that no range has.
        if let Some(row) = invalid.or((indptr[rows] > entries).then_some(0)) {
            let (start, end) = (indptr[row], indptr[rows.min(row + 1)]);
            return Err(Error::RowPointer { row, start, end, entries });
        }
        let read = indptr[0].min(entries)..indptr[rows];
        // All at once, which takes vectors; where the fault is, only if there is one.
        let within = indices[read.clone()].iter().fold(true, |all, &i| all & ((i as usize) < cols));
        if !within {
            let invalid = indices[read.clone()].iter().position(|&i| i as usize >= cols);
            let position = read.start + invalid.expect("an out-of-range index");
            let row = indptr.partition_point(|&start| start <= position) - 1;
            return Err(Error::FeatureIndex { row, position, index: indices[position], cols });
        }
        Ok(Self { indptr, indices, values, cols, identity: unique() })
    }

    /// The number of rows (N).
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// The number of columns (D).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The number of entries of all rows.
    pub fn n_entries(&self) -> usize {
        self.indptr[self.rows()] - self.indptr[0]
    }

    /// The indices and the values of row `i`; `None` past the last one.
    #[inline(always)]
    pub fn row(&self, i: usize) -> Option<(&'a [u32], &'a [T])> {
        (i < self.rows()).then(|| {
            let entries = self.indptr[i]..self.indptr[i + 1];
            (&self.indices[entries.clone()], &self.values[entries])
        })
    }

    /// The matrix of the rows of a range, of which nothing is copied; `None` unless all of them are there. O(1).
    ///
    /// ```
    /// use softmargin::CsrView;
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let x = CsrView::new(3, 4, &[0, 1, 1, 3], &[2, 0, 3], &[1.0, 2.0, 3.0])?;
    /// let last = x.slice_rows(1..3).expect("two of three rows");
    /// assert_eq!((last.rows(), last.n_entries(), last.row(1)), (2, 2, x.row(2)));
    /// assert!(x.slice_rows(2..4).is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn slice_rows(&self, range: Range<usize>) -> Option<Self> {
        let fits = range.start <= range.end && range.end <= self.rows();
        fits.then(|| Self {
            indptr: &self.indptr[range.start..=range.end],
            identity: unique(),
            ..*self
        })
    }

    /// Where the rows begin and end among the [`entries`](Self::entries).
    pub(crate) fn row_pointers(&self) -> &'a [usize] {
        self.indptr
    }

    /// The indices and the values that the row pointers point to.
    pub(crate) fn entries(&self) -> (&'a [u32], &'a [T]) {
        (self.indices, self.values)
    }

    /// The same for two views if, and only if, one is a copy of the other.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }
}
