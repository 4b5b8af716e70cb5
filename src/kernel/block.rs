//! A block of rows: as many as stay in cache between the two products.

use super::Path;
#[cfg(doc)]
use super::direct::TILE;
use crate::{Batch, MatrixView, Scalar};
use core::ops::Range;

/// What of X a block may take up, so that it stays in a second-level cache: half of the 512 KiB that
/// current processors have at least where the rows are read where they lie, and more where they are
/// packed, as each pass over them then does more work.
const fn block_bytes(path: Path) -> usize {
    match path {
        Path::Direct => 256 << 10,
        Path::Packed => 768 << 10,
    }
}

/// Blocks are whole numbers of the widest vectors, and no longer than the scratch memory of small
/// rows deserves.
const BLOCK_ROWS: Range<usize> = 16..256;

impl Path {
    /// The rows of a block, for rows of `n_features`.
    pub(crate) fn block_rows<T>(self, n_features: usize) -> usize {
        let rows = block_bytes(self) / size_of::<T>() / n_features.max(1);
        rows.clamp(BLOCK_ROWS.start, BLOCK_ROWS.end) / BLOCK_ROWS.start * BLOCK_ROWS.start
    }
}

/// Some rows of a matrix, by the offsets of their first elements.
///
/// Every offset is that of a row of `x`: what [`row`](Self::row) promises, the kernels rely on.
pub(crate) struct RowBlock<'a, T> {
    x: MatrixView<'a, T>,
    offsets: &'a [usize],
    n_rows: usize,
}

impl<'a, T: Scalar> RowBlock<'a, T> {
    /// The samples `range` of a batch, and those up to `end`, which come next, for
    /// [`row_ahead`](Self::row_ahead); `offsets` is scratch memory for all of them.
    pub(crate) fn of_batch(
        batch: &Batch<'a, T>,
        range: Range<usize>,
        end: usize,
        offsets: &'a mut [usize],
    ) -> Self {
        let x = batch.features();
        for (offset, i) in offsets.iter_mut().zip(range.start..end) {
            // `Batch` has checked that the rows it selects are rows of its matrix.
            *offset = batch.row_index(i) * x.row_stride();
        }
        Self { x, offsets: &offsets[..end - range.start], n_rows: range.len() }
    }

    /// The rows `range` of a matrix; `offsets` is scratch memory for as many.
    pub(crate) fn of_matrix(
        x: MatrixView<'a, T>,
        range: Range<usize>,
        offsets: &'a mut [usize],
    ) -> Self {
        assert!(range.end <= x.rows());
        for (offset, row) in offsets.iter_mut().zip(range.clone()) {
            *offset = row * x.row_stride();
        }
        Self { x, offsets: &offsets[..range.len()], n_rows: range.len() }
    }

    pub(crate) fn len(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn n_features(&self) -> usize {
        self.x.cols()
    }

    /// The start of row `i` of the block, valid for reading [`n_features`](Self::n_features)
    /// elements.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> *const T {
        // Within the slice of the matrix, as every row is.
        self.x.as_ptr().wrapping_add(self.offsets[i])
    }

    /// The start of the row as far into the next block as `i` is into this one (or of the last row
    /// known), to be prefetched. While a block is worked on, the two products bring in the next one
    /// between them: the scores the first two of every [`TILE`] rows, the gradient the others.
    #[inline(always)]
    pub(super) fn row_ahead(&self, i: usize) -> *const T {
        self.row((self.n_rows + i).min(self.offsets.len() - 1))
    }
}
