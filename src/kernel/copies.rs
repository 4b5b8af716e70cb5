//! Copies of a block, in an order that the kernels of a plan read, where it does not lie in memory so. They
//! stay in cache, and their memory is used again for every block.

use super::{ColumnBlock, RowBlock, transpose};
use crate::{
    MatrixView,
    batch::{RowRange, SampleRange},
    buffer::Buffer,
    element::Element,
    features::Storage,
    simd::{Lanes, MAX_LANES, prefetch},
};

/// The memory of the copies of a task.
#[derive(Debug, Default)]
pub(crate) struct Copies<T> {
    /// Where the rows of the block start.
    offsets: Vec<usize>,
    /// Rows that were selected from columns.
    rows: Buffer<T>,
    /// The block in columns, or in panels.
    pub(super) reordered: Buffer<T>,
}

/// The samples, by rows where they lie or where they were copied, or by columns where they lie.
pub(super) enum InPlace<'a, T> {
    Rows(RowBlock<'a, T>),
    Columns(ColumnBlock<'a, T>),
}

impl<T: Element> Copies<T> {
    /// Samples, of which there is at least one, and the memory for a copy in another order.
    #[inline(always)]
    pub(super) fn in_place<'a>(
        &'a mut self,
        samples: &SampleRange<'a, T>,
    ) -> (InPlace<'a, T>, &'a mut Buffer<T>) {
        let Self { offsets, rows, reordered } = self;
        let Storage::Dense(x) = samples.features().storage();
        let block = match samples.rows().consecutive() {
            _ if x.col_stride() == 1 => InPlace::Rows(RowBlock::new(x, samples.rows(), offsets)),
            Some(range) => InPlace::Columns(ColumnBlock::new(x, range)),
            None => {
                let copy = copy_selected_rows(x, samples.rows(), rows);
                InPlace::Rows(RowBlock::new(copy, &RowRange::first(samples.len()), offsets))
            }
        };
        (block, reordered)
    }
}

/// Copies samples that are selected from columns into rows.
#[inline(always)]
fn copy_selected_rows<'a, T: Element>(
    x: MatrixView<'_, T>,
    samples: &RowRange<'_>,
    target: &'a mut Buffer<T>,
) -> MatrixView<'a, T> {
    let (x, n) = (x.view(), samples.len());
    // An odd number of the widest vectors, as rows at multiples of 4096 bytes compete for the same lines of L1.
    let stride = (x.cols().div_ceil(MAX_LANES) | 1) * MAX_LANES;
    target.resize(n * stride);
    let rows = target.as_mut_slice();
    // Some rows at a time, so that their places stay in L1.
    for first in (0..n).step_by(MAX_LANES) {
        for col in 0..x.cols() {
            for i in first..n.min(first + MAX_LANES) {
                rows[i * stride + col] = x.get(samples.row(i), col);
            }
        }
    }
    MatrixView::with_row_stride(target.as_slice(), n, x.cols(), stride).expect("room for the rows")
}

/// Copies rows into columns: squares of as many features as rows are transposed in registers.
#[inline(always)]
pub(super) fn copy_rows_as_columns<'a, L: Lanes>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    target: &'a mut Buffer<L::Elem>,
) -> ColumnBlock<'a, L::Elem> {
    let (n, d) = (rows.len(), rows.n_features());
    let stride = n.next_multiple_of(MAX_LANES);
    target.resize(stride * d);
    let columns = target.as_mut_slice();
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
                column.write_to(&mut columns[j * stride + row..]);
            }
        }
    }
    let columns = MatrixView::column_major(target.as_slice(), stride, d).expect("all columns");
    ColumnBlock::new(columns, 0..n)
}
