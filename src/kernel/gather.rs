//! The block at hand, in an order that the kernels of its path read: as it lies in memory where that will do, else
//! a copy, which stays in cache. Selected rows of column-major features are copied side by side, and short rows
//! as columns.

use super::{Block, ColumnBlock, Path, RowBlock};
use crate::{
    Batch, Element, Error, MatrixView,
    buffer::Buffer,
    simd::{Lanes, MAX_LANES, prefetch},
};
use core::ops::Range;

/// The memory of copies.
#[derive(Debug, Default)]
pub(crate) struct Gather<T> {
    offsets: Vec<usize>,
    rows: Buffer<T>,
    columns: Buffer<T>,
}

impl<T: Element> Gather<T> {
    /// Makes room for blocks of so many rows.
    pub(crate) fn resize(&mut self, path: Path, batch: &Batch<'_, T>, block_rows: usize) {
        let (x, d) = (batch.features(), batch.n_features());
        let in_rows = x.col_stride() == 1;
        let in_columns = !in_rows && batch.selection().is_none();
        let to_rows = !in_rows && !in_columns;
        let to_columns = path == Path::Columns && !in_columns;
        self.offsets.resize(2 * block_rows, 0);
        self.rows.resize(if to_rows { block_rows * copy_stride(d) } else { 0 });
        self.columns.resize(if to_columns { block_rows * d } else { 0 });
    }

    /// The samples `range`, of which there is at least one; those up to `end` come next.
    #[inline(always)]
    pub(crate) fn block<'a, L: Lanes<Elem = T>>(
        &'a mut self,
        proof: L::Proof,
        path: Path,
        batch: &Batch<'a, T>,
        range: Range<usize>,
        end: usize,
    ) -> Result<Block<'a, T>, Error> {
        let (x, n) = (batch.features(), range.len());
        let rows = if x.col_stride() == 1 {
            RowBlock::of_batch(batch, range, end, &mut self.offsets)
        } else if batch.selection().is_none() {
            return Ok(Block::Columns(ColumnBlock::of_matrix(x, range)));
        } else {
            let (copy, stride) = (self.rows.as_mut_slice(), copy_stride(x.cols()));
            copy_selected_rows(x, |i| batch.row_index(range.start + i), n, copy, stride);
            let copy = MatrixView::with_row_stride(copy, n, x.cols(), stride)?;
            RowBlock::of_matrix(copy, 0..n, &mut self.offsets)
        };
        if path != Path::Columns {
            return Ok(Block::Rows(rows));
        }
        let copy = self.columns.as_mut_slice();
        let stride = copy.len() / x.cols();
        copy_rows_as_columns::<L>(proof, &rows, copy, stride);
        let copy = MatrixView::column_major(copy, stride, x.cols())?;
        Ok(Block::Columns(ColumnBlock::of_matrix(copy, 0..n)))
    }
}

/// The distance of the rows of a copy: an odd number of the widest vectors, as rows of a multiple of 4096 bytes
/// would compete for the same places of a cache.
fn copy_stride(n_features: usize) -> usize {
    (n_features.div_ceil(MAX_LANES) | 1) * MAX_LANES
}

/// Copies the rows that `row_of` names, for each row of `target`.
#[inline(always)]
fn copy_selected_rows<T: Element>(
    x: MatrixView<'_, T>,
    row_of: impl Fn(usize) -> usize,
    n: usize,
    target: &mut [T],
    stride: usize,
) {
    let (x, d) = (x.view(), x.cols());
    // Some rows at a time, so that their places in `target` stay in the nearest cache.
    for first in (0..n).step_by(MAX_LANES) {
        for col in 0..d {
            for i in first..n.min(first + MAX_LANES) {
                target[i * stride + col] = x.get(row_of(i), col);
            }
        }
    }
}

/// Copies rows into columns, each with room for `stride` rows: squares of as many features as rows are
/// transposed in registers. Places behind the last row, up to a whole vector, become zero.
#[inline(always)]
fn copy_rows_as_columns<L: Lanes>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    target: &mut [L::Elem],
    stride: usize,
) {
    let (n, d) = (rows.len(), rows.n_features());
    assert!(n <= stride && stride.is_multiple_of(L::LANES));
    for row in (0..n).step_by(L::LANES) {
        for feature in (0..d).step_by(L::LANES) {
            let features = L::LANES.min(d - feature);
            let mut square = [L::splat(proof, L::Elem::default()); MAX_LANES];
            for (line, i) in square[..L::LANES].iter_mut().zip(row..n) {
                // SAFETY: the block has row i, and it is valid for reading its `d` features.
                *line = unsafe {
                    prefetch(rows.ahead(i).wrapping_add(feature));
                    let source = rows.row(i).add(feature);
                    match features {
                        _ if features < L::LANES => L::load_first(proof, source, features),
                        _ => L::load(proof, source),
                    }
                };
            }
            transpose(&mut square);
            for (column, j) in square[..features].iter().zip(feature..) {
                column.write_to(&mut target[j * stride + row..]);
            }
        }
    }
}

/// Lane j of vector i becomes lane i of vector j. Every round brings the top bit of the number of a lane
/// into the number of its vector, and the other way round.
#[inline(always)]
pub(super) fn transpose<L: Lanes>(tile: &mut [L; MAX_LANES]) {
    let half = L::LANES / 2;
    for _ in 0..L::LANES.ilog2() {
        let before = *tile;
        for i in 0..half {
            (tile[2 * i], tile[2 * i + 1]) = before[i].interleave(before[i + half]);
        }
    }
}
