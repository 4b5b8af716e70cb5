//! A block of rows, where it lies in memory: by rows, or by columns.

use crate::{
    MatrixView,
    batch::RowRange,
    simd::{LINE, prefetch},
    view::View,
};
use core::ops::Range;

/// Rows whose starts are looked up together. The rows of a block are filled up to a multiple of it.
pub(super) const GROUP: usize = 4;

/// Consecutive rows of a column-major matrix, so that those of each column lie side by side; all features or some.
#[derive(Clone)]
pub(crate) struct ColumnBlock<'a, T> {
    x: View<'a, T>,
    rows: Range<usize>,
    /// The feature that is the first column of `x`.
    first: usize,
}

impl<'a, T> ColumnBlock<'a, T> {
    /// The rows `range` of a matrix.
    pub(super) fn new(x: MatrixView<'a, T>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= x.rows() && x.row_stride() == 1);
        Self { x: x.view(), rows: range, first: 0 }
    }

    /// The rows of a matrix that has the features from `first` on.
    pub(super) fn of_features(x: MatrixView<'a, T>, n_rows: usize, first: usize) -> Self {
        Self { first, ..Self::new(x, 0..n_rows) }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The features that it has.
    #[inline(always)]
    pub(super) fn features(&self) -> Range<usize> {
        self.first..self.first + self.x.cols()
    }

    /// Where the feature of row `i` is, followed by that of the next rows. Only to be prefetched, if the block
    /// has no such row or feature.
    #[inline(always)]
    pub(super) fn at(&self, i: usize, feature: usize) -> *const T {
        self.x.at(self.rows.start + i, feature.wrapping_sub(self.first))
    }
}

/// The offsets of the rows of a block, and of those that come next.
#[derive(Debug, Default)]
pub(crate) struct RowOffsets {
    offsets: Vec<usize>,
    /// If the offsets are the multiples of a distance between rows, that distance. They are then right for every block of
    /// as many consecutive rows.
    multiples_of: Option<usize>,
}

impl RowOffsets {
    /// Returns the row that the offsets count from; the offsets of the rows, and that of the last one again up to a multiple
    /// of [`GROUP`]; and the offsets of as many rows that come next, or of the same rows if none does.
    #[inline(always)]
    fn look_up(
        &mut self,
        samples: &RowRange<'_>,
        row_stride: usize,
    ) -> (usize, &[usize], &[usize]) {
        let n_rows = samples.len();
        let padded = n_rows.next_multiple_of(GROUP);
        let consecutive = samples.consecutive_with_next();
        let last = consecutive.as_ref().is_some_and(|range| range.len() == n_rows);
        let whole = |range: &Range<usize>| range.len() >= 2 * padded || (last && n_rows == padded);
        let known = self.multiples_of == Some(row_stride) && self.offsets.len() == 2 * padded;
        match consecutive.filter(whole) {
            Some(range) => {
                if !known {
                    self.offsets.clear();
                    self.offsets.extend((0..2 * padded).map(|i| i * row_stride));
                    self.multiples_of = Some(row_stride);
                }
                let (rows, ahead) = self.offsets.split_at(padded);
                (range.start, rows, if last { rows } else { ahead })
            }
            None => {
                self.multiples_of = None;
                self.offsets.resize(2 * padded, 0);
                let (rows, ahead) = self.offsets.split_at_mut(padded);
                for (i, (row, ahead)) in rows.iter_mut().zip(&mut *ahead).enumerate() {
                    *row = samples.row(i.min(n_rows - 1)) * row_stride;
                    *ahead = samples.row(n_rows + i) * row_stride;
                }
                (0, rows, ahead)
            }
        }
    }
}

/// Some rows of a row-major matrix, by the offsets of their first elements.
///
/// Every offset is that of a row of the matrix: what [`row`](Self::row) promises, the kernels rely on.
pub(crate) struct RowBlock<'a, T> {
    x: MatrixView<'a, T>,
    n_rows: usize,
    /// The element that the offsets count from.
    start: *const T,
    /// [`RowOffsets::look_up`].
    rows: &'a [usize],
    ahead: &'a [usize],
}

impl<'a, T> RowBlock<'a, T> {
    /// Rows of a row-major matrix, of which there is at least one.
    #[inline(always)]
    pub(super) fn new(
        x: MatrixView<'a, T>,
        samples: &RowRange<'_>,
        offsets: &'a mut RowOffsets,
    ) -> Self {
        let n_rows = samples.len();
        assert!(x.col_stride() == 1 && n_rows > 0);
        let (first, rows, ahead) = offsets.look_up(samples, x.row_stride());
        Self { x, n_rows, start: x.view().at(first, 0), rows, ahead }
    }

    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    /// The number of rows, rounded up to a multiple of [`GROUP`].
    pub(super) fn padded_len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn n_features(&self) -> usize {
        self.x.cols()
    }

    /// Whether the distance between rows is a multiple of 4096 bytes, or nearly so. Then the same features of some rows
    /// compete for the same few places in L1, and none stays there until its neighbours are read.
    #[inline(always)]
    pub(super) fn compete(&self) -> bool {
        (self.x.row_stride() % 4096 * size_of::<T>() + LINE / 2 - 1) % 4096 < LINE - 1
    }

    /// The start of row `i` of the block, valid for reading [`n_features`](Self::n_features) elements. Past the
    /// last row comes the last row again, up to a multiple of [`GROUP`].
    ///
    /// # Safety
    /// `i` must be less than that multiple.
    #[inline(always)]
    pub(super) unsafe fn row(&self, i: usize) -> *const T {
        debug_assert!(i < self.rows.len());
        // SAFETY: there is an offset for each row up to the multiple, as the caller says.
        let offset = unsafe { *self.rows.get_unchecked(i) };
        // Within the slice of the matrix, as every row is.
        self.start.wrapping_add(offset)
    }

    /// Where a feature of some rows is, whole groups of them: the offsets of each group, and what they count from.
    #[inline(always)]
    pub(super) fn groups(
        &self,
        rows: Range<usize>,
        feature: usize,
    ) -> (core::slice::ChunksExact<'a, usize>, *const T) {
        // Within the slice of the matrix, as every row is.
        (self.rows[rows].chunks_exact(GROUP), self.start.wrapping_add(feature))
    }

    /// Row `i` of the next block (or of this one, if it is the last), to be prefetched.
    ///
    /// # Panics
    /// If `i` is not less than the number of rows, rounded up to a multiple of [`GROUP`].
    #[inline(always)]
    pub(super) fn ahead(&self, i: usize) -> *const T {
        // Within the slice of the matrix, as every row is.
        self.start.wrapping_add(self.ahead[i])
    }

    /// The lines of all rows of the next block.
    #[inline(always)]
    pub(super) fn lines_ahead(&self) -> LinesAhead<'a> {
        let (n, d) = (self.ahead.len(), self.n_features());
        // Rows without anything between them are one long row.
        match self.ahead[n - 1].wrapping_sub(self.ahead[0]) == (n - 1) * d {
            true => self.lines_of(&self.ahead[..1], 0..n * d),
            false => self.lines_of(self.ahead, 0..d),
        }
    }

    /// The lines of some features of the rows of this block from `first` on.
    #[inline(always)]
    pub(super) fn lines_from(&self, first: usize, features: Range<usize>) -> LinesAhead<'a> {
        self.lines_of(self.rows.get(first..).unwrap_or_default(), features)
    }

    #[inline(always)]
    fn lines_of(&self, rows: &'a [usize], features: Range<usize>) -> LinesAhead<'a> {
        // Within the slice of the matrix, as the rows are, or only to be prefetched.
        let start = self.start.wrapping_add(features.start).cast();
        let size = size_of::<T>();
        let row_lines = (features.len() * size).div_ceil(LINE);
        LinesAhead { start, rows, size, row_lines, next: start, left: 0 }
    }
}

/// Lines of rows that come next, row by row, so that the requests touch one page after the other.
///
/// While a block is worked on, the next one is brought into L2, or, where there is no room for it, a part of the rows of
/// the same block: line by line, as a burst of requests would hold up the loads of the current tile.
#[derive(Clone, Copy)]
pub(crate) struct LinesAhead<'a> {
    /// The first byte of the lines of a row whose offset is 0.
    start: *const u8,
    /// The offsets of the rows to come, in numbers of so many bytes.
    rows: &'a [usize],
    size: usize,
    /// The lines of a row.
    row_lines: usize,
    /// Those of the current row: the first one that is left, and their number.
    next: *const u8,
    left: usize,
}

impl LinesAhead<'_> {
    /// No lines.
    pub(super) fn none() -> Self {
        let start = core::ptr::null();
        Self { start, rows: &[], size: 0, row_lines: 0, next: start, left: 0 }
    }

    /// Asks for the next line, if any is left.
    #[inline(always)]
    pub(super) fn request(&mut self) {
        if self.left == 0 {
            let Some((row, rows)) = self.rows.split_first() else { return };
            (self.next, self.left) = (self.start.wrapping_add(*row * self.size), self.row_lines);
            self.rows = rows;
        }
        prefetch(self.next);
        self.next = self.next.wrapping_add(LINE);
        self.left -= 1;
    }

    /// Asks for the next `n` lines, if so many are left: with one branch for all, unless a row ends.
    #[inline(always)]
    pub(super) fn request_lines(&mut self, n: usize) {
        if self.left < n {
            if self.left > 0 || !self.rows.is_empty() {
                *self = self.requested_across_rows(n);
            }
            return;
        }
        (0..n).for_each(|i| prefetch(self.next.wrapping_add(i * LINE)));
        self.next = self.next.wrapping_add(n * LINE);
        self.left -= n;
    }

    /// Not inlined, and by value, so that callers keep the lines in registers.
    #[cold]
    #[inline(never)]
    fn requested_across_rows(mut self, n: usize) -> Self {
        (0..n).for_each(|_| self.request());
        self
    }
}
