//! A block of rows: as many as stay in cache between the two products.

use super::Path;
use crate::{Batch, Element, MatrixView, simd::MAX_LANES, view::View};
use core::ops::Range;

/// What of X a block may take up, so that it stays in a second-level cache: half of the 512 KiB that
/// current processors have at least where the rows are read where they lie, and more where they are
/// packed, as each pass over them then does more work. A block of columns stays in a third-level cache at best.
const fn block_bytes(path: Path) -> usize {
    match path {
        Path::Direct => 256 << 10,
        Path::Columns => 16 << 20,
        Path::Packed => 768 << 10,
    }
}

/// Blocks are no longer than the scratch memory of small rows deserves. Columns are no shorter either: every stretch of
/// one is far from the next, on a page of its own. With 96 rows instead of 256, an evaluation of
/// 50000 × 3072 × 10 takes two fifths more.
pub(super) const MOST_ROWS: usize = 256;

/// The columns of a block too large for any cache are read from memory twice, up to a page at a time: with 256
/// rows instead, an evaluation of 10000 × 20000 × 10 takes a sixth more.
const PAGE_ROWS: usize = 1024;

impl Path {
    /// The rows of a block, for rows of `n_features`.
    pub(crate) fn block_rows<T>(self, n_features: usize) -> usize {
        let rows = block_bytes(self) / size_of::<T>() / n_features.max(1);
        match self {
            Self::Columns if rows < MOST_ROWS => PAGE_ROWS,
            _ => rows.clamp(MAX_LANES, MOST_ROWS) / MAX_LANES * MAX_LANES,
        }
    }
}

/// Rows whose starts are looked up together. The rows of a block are filled up to a multiple of it.
pub(super) const GROUP: usize = 4;

/// A block of rows, as they lie in memory.
pub(crate) enum Block<'a, T> {
    Rows(RowBlock<'a, T>),
    Columns(ColumnBlock<'a, T>),
}

/// Rows of a column-major matrix that follow each other, so that those of each column lie side by side.
pub(crate) struct ColumnBlock<'a, T> {
    x: View<'a, T>,
    rows: Range<usize>,
}

impl<'a, T: Element> ColumnBlock<'a, T> {
    /// The rows `range` of a matrix.
    pub(crate) fn of_matrix(x: MatrixView<'a, T>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= x.rows() && x.row_stride() == 1);
        Self { x: x.view(), rows: range }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn n_features(&self) -> usize {
        self.x.cols()
    }

    /// Where the feature of row `i` is, and behind it that of the rows that follow. If the block has no such
    /// row, or the matrix no such feature, it is to be prefetched at most.
    #[inline(always)]
    pub(super) fn at(&self, i: usize, feature: usize) -> *const T {
        self.x.at(self.rows.start + i, feature)
    }
}

/// Some rows of a matrix, by the offsets of their first elements.
///
/// Every offset is that of a row of `x`: what [`row`](Self::row) promises, the kernels rely on.
pub(crate) struct RowBlock<'a, T> {
    x: MatrixView<'a, T>,
    /// Its first element.
    start: *const T,
    n_rows: usize,
    /// Those of the rows, and again that of the last one up to a multiple of [`GROUP`].
    rows: &'a [usize],
    /// As many rows that come next.
    ahead: &'a [usize],
}

impl<'a, T: Element> RowBlock<'a, T> {
    /// The samples `range` of a batch, of which there is at least one, and those up to `end`, which
    /// come next; `offsets` is scratch memory for twice the rows of a block.
    pub(crate) fn of_batch(
        batch: &Batch<'a, T>,
        range: Range<usize>,
        end: usize,
        offsets: &'a mut [usize],
    ) -> Self {
        let x = batch.features();
        assert!(x.col_stride() == 1);
        let (rows, ahead) = offsets.split_at_mut(range.len().next_multiple_of(GROUP));
        let ahead = &mut ahead[..rows.len()];
        // `Batch` has checked that the rows it selects are rows of its matrix.
        let fill = |offsets: &mut [usize], range: Range<usize>| {
            for (i, offset) in offsets.iter_mut().enumerate() {
                *offset = batch.row_index((range.start + i).min(range.end - 1)) * x.row_stride();
            }
        };
        fill(rows, range.clone());
        fill(ahead, range.end.min(end - 1)..end);
        Self { x, start: x.view().at(0, 0), n_rows: range.len(), rows, ahead }
    }

    /// The rows `range` of a matrix, of which there is at least one; `offsets` is scratch memory for
    /// as many, and up to a multiple of [`GROUP`].
    pub(crate) fn of_matrix(
        x: MatrixView<'a, T>,
        range: Range<usize>,
        offsets: &'a mut [usize],
    ) -> Self {
        assert!(range.end <= x.rows() && x.col_stride() == 1);
        let rows = &mut offsets[..range.len().next_multiple_of(GROUP)];
        for (i, offset) in rows.iter_mut().enumerate() {
            *offset = (range.start + i).min(range.end - 1) * x.row_stride();
        }
        Self { x, start: x.view().at(0, 0), n_rows: range.len(), rows, ahead: rows }
    }

    pub(crate) fn len(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn n_features(&self) -> usize {
        self.x.cols()
    }

    /// The start of row `i` of the block, valid for reading [`n_features`](Self::n_features)
    /// elements; behind the last row comes the last row, up to a multiple of [`GROUP`].
    ///
    /// # Safety
    /// `i` must be less than that multiple.
    #[inline(always)]
    pub(crate) unsafe fn row(&self, i: usize) -> *const T {
        debug_assert!(i < self.rows.len());
        // SAFETY: there is an offset for each row up to the multiple, as the caller says.
        let offset = unsafe { *self.rows.get_unchecked(i) };
        // Within the slice of the matrix, as every row is.
        self.start.wrapping_add(offset)
    }

    /// The starts of the rows from `first` on, each valid for reading
    /// [`n_features`](Self::n_features) elements; behind the last row comes the last row.
    #[inline(always)]
    pub(super) fn group(&self, first: usize) -> [*const T; GROUP] {
        let offsets = &self.rows[first..][..GROUP];
        // Within the slice of the matrix, as every row is.
        core::array::from_fn(|i| self.start.wrapping_add(offsets[i]))
    }

    /// Row `i` of the next block (or of this one, if it is the last), to be prefetched.
    ///
    /// While a block is worked on, the next one is brought into a second-level cache, line by line, as
    /// a burst of requests would hold up the loads of the tile at hand. Of every [`GROUP`] of rows the
    /// scores bring the first two and the gradient the last two, each along its first two tiles of
    /// classes; or along its only one, if there are no more.
    ///
    /// # Safety
    /// `i` must be less than the number of rows, rounded up to a multiple of [`GROUP`].
    #[inline(always)]
    pub(super) unsafe fn ahead(&self, i: usize) -> *const T {
        debug_assert!(i < self.ahead.len());
        // SAFETY: there are as many offsets as those of the rows of this block, as the caller says.
        let offset = unsafe { *self.ahead.get_unchecked(i) };
        self.start.wrapping_add(offset)
    }
}
