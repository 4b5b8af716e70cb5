//! Copies of a block, in an order that the kernels of a plan read and of the numbers that they compute with, where it
//! does not lie in memory so. They stay in cache, and their memory is used again for every block.

use super::{
    ColumnBlock, RowBlock,
    block::{GROUP, LinesAhead, RowOffsets},
    read::{Read, Reading, Scale, read},
    transpose,
};
use crate::{
    MatrixView,
    batch::{RowRange, SampleRange},
    buffer::Buffer,
    element::{Element, Stored},
    simd::{Lanes, MAX_LANES, Widen, prefetch},
};

/// The memory of the copies of a task.
#[derive(Debug, Default)]
pub(crate) struct Copies<T> {
    pub(crate) reading: Reading<T>,
    /// The block in rows.
    rows: Buffer<T>,
    /// The offsets of its rows.
    offsets: RowOffsets,
    /// The block in the order of a plan: in columns or in panels.
    pub(super) reordered: Buffer<T>,
    /// Sums of the scores of rows.
    sums: Buffer<T>,
}

impl<T: Element> Copies<T> {
    /// Samples as rows, where they lie or in a copy; perhaps to be read `again`, once they are scored.
    #[inline(always)]
    pub(super) fn as_rows<'a, L: Lanes<Elem = T>>(
        &'a mut self,
        proof: L::Proof,
        samples: &SampleRange<'a, T>,
        again: bool,
    ) -> SampleRows<'a, T> {
        let Self { reading, rows, offsets, sums, .. } = self;
        let (n, d) = (samples.len(), samples.features().cols());
        if !samples.in_place() {
            let mut copy = RowCopy::new(rows, offsets, n, d);
            let (target, stride) = copy.places();
            let ahead = read::<L>(proof, samples, reading, CopyRows { target, stride });
            return SampleRows { rows: copy.into_rows(), ahead, copy: None, sums };
        }
        let in_place = reading.rows_in_place(samples).expect("rows in place");
        let ahead = in_place.lines_ahead();
        let copy = (again && in_place.compete()).then(|| RowCopy::new(rows, offsets, n, d));
        SampleRows { rows: in_place, ahead, copy, sums }
    }
}

/// Samples as rows.
pub(super) struct SampleRows<'a, T> {
    pub(super) rows: RowBlock<'a, T>,
    /// The lines of the next ones, where those lie.
    pub(super) ahead: LinesAhead<'a>,
    /// If the rows are read again and [compete](RowBlock::compete), where they can be copied.
    pub(super) copy: Option<RowCopy<'a, T>>,
    /// Memory for the sums of scores.
    pub(super) sums: &'a mut Buffer<T>,
}

/// Memory for a copy of rows, in whole vectors.
pub(super) struct RowCopy<'a, T> {
    places: &'a mut Buffer<T>,
    offsets: &'a mut RowOffsets,
    n_rows: usize,
    n_features: usize,
    stride: usize,
}

impl<'a, T: Element> RowCopy<'a, T> {
    fn new(
        places: &'a mut Buffer<T>,
        offsets: &'a mut RowOffsets,
        n_rows: usize,
        n_features: usize,
    ) -> Self {
        Self { places, offsets, n_rows, n_features, stride: row_stride(n_features) }
    }

    /// Makes room for the rows, up to a multiple of [`GROUP`]. Returns it, and the distance between rows.
    pub(super) fn places(&mut self) -> (&mut [T], usize) {
        self.places.resize(self.n_rows.next_multiple_of(GROUP) * self.stride);
        (self.places.as_mut_slice(), self.stride)
    }

    /// The rows, once they are copied.
    pub(super) fn into_rows(self) -> RowBlock<'a, T> {
        let Self { places, offsets, n_rows, n_features, stride } = self;
        let copy = MatrixView::with_row_stride(places.as_slice(), n_rows, n_features, stride);
        RowBlock::new(copy.expect("room for the rows"), &RowRange::first(n_rows), offsets)
    }
}

/// Copies samples, which must be dense and selected, into rows of whole vectors with zeros past the last feature. Returns
/// the distance between rows; there are places for one more feature than a row has.
#[cfg(feature = "train")]
#[inline(always)]
pub(crate) fn copy_rows<L: Lanes>(
    proof: L::Proof,
    samples: &SampleRange<'_, L::Elem>,
    reading: &mut Reading<L::Elem>,
    target: &mut Buffer<L::Elem>,
) -> usize {
    let stride = row_stride(samples.features().cols() + 1);
    target.resize(samples.len() * stride);
    read::<L>(proof, samples, reading, CopyRows { target: target.as_mut_slice(), stride });
    stride
}

/// From one row of a copy to the next: an odd number of the widest vectors, as rows at multiples of 4096 bytes compete
/// for the same lines of L1.
fn row_stride(n_features: usize) -> usize {
    (n_features.div_ceil(MAX_LANES) | 1) * MAX_LANES
}

/// Copies samples that are selected from columns into rows.
pub(super) fn copy_selected_rows<'a, T: Element, E: Stored>(
    x: MatrixView<'_, E>,
    samples: &RowRange<'_>,
    target: &'a mut Buffer<T>,
) -> MatrixView<'a, T> {
    let (x, n) = (x.view(), samples.len());
    let stride = row_stride(x.cols());
    target.resize(n * stride);
    let rows = target.as_mut_slice();
    // Some rows at a time, so that their places stay in L1.
    for first in (0..n).step_by(MAX_LANES) {
        for col in 0..x.cols() {
            for i in first..n.min(first + MAX_LANES) {
                rows[i * stride + col] = T::from_f64(x.get(samples.row(i), col).value());
            }
        }
    }
    MatrixView::with_row_stride(target.as_slice(), n, x.cols(), stride).expect("room for the rows")
}

/// Copies rows into rows, in whole vectors. The kernels ask for those that come next: here, a burst of requests would wait for
/// memory.
struct CopyRows<'a, T> {
    target: &'a mut [T],
    /// From one row to the next: no less than the vectors of a row.
    stride: usize,
}

impl<T: Element> Read<T> for CopyRows<'_, T> {
    #[inline(always)]
    fn rows<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        proof: L::Proof,
        rows: &RowBlock<'_, E>,
        scale: S,
    ) {
        let (n, d) = (rows.len(), rows.n_features());
        let whole = d - d % L::LANES;
        for (i, target) in self.target.chunks_exact_mut(self.stride).enumerate().take(n) {
            // SAFETY: the block has row i.
            let source = unsafe { rows.row(i) };
            let (vectors, last) = target.split_at_mut(whole);
            for (v, target) in vectors.chunks_exact_mut(L::LANES).enumerate() {
                let feature = v * L::LANES;
                // SAFETY: a row of the block is valid for reading its `whole` features.
                let x: L = unsafe { E::load(proof, source.add(feature)) };
                scale.features(proof, x, feature).write_to(target);
            }
            if whole < d {
                // SAFETY: and so for the features after them, which are fewer than a vector has.
                let x: L = unsafe { E::load_first(proof, source.add(whole), d - whole) };
                scale.features(proof, x, whole).write_to(last);
            }
        }
    }

    fn columns<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        _: L::Proof,
        _: &ColumnBlock<'_, E>,
        _: S,
    ) {
        unreachable!("rows were chosen for columns");
    }
}

/// The numbers from `source` on, of which there are `n`: a vector, or fewer and zeros.
///
/// # Safety
/// `source` must be valid for reading a vector of numbers, or `n` if that is less.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes, E: Widen<L::Elem>>(
    proof: L::Proof,
    source: *const E,
    n: usize,
) -> L {
    // SAFETY: as the caller says.
    unsafe {
        match n {
            _ if n < L::LANES => E::load_first(proof, source, n),
            _ => E::load(proof, source),
        }
    }
}

/// Copies rows into columns: squares of as many features as rows are transposed in registers.
pub(super) struct CopyRowsAsColumns<'a, T> {
    pub(super) target: &'a mut [T],
    /// From one column to the next: no less than the rows, a multiple of [`MAX_LANES`].
    pub(super) stride: usize,
}

impl<T: Element> Read<T> for CopyRowsAsColumns<'_, T> {
    #[inline(always)]
    fn rows<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        proof: L::Proof,
        rows: &RowBlock<'_, E>,
        scale: S,
    ) {
        let Self { target, stride } = self;
        let (n, d) = (rows.len(), rows.n_features());
        for row in (0..n).step_by(L::LANES) {
            for feature in (0..d).step_by(L::LANES) {
                let features = L::LANES.min(d - feature);
                let mut square = [L::splat(proof, T::default()); MAX_LANES];
                for (line, i) in square[..L::LANES].iter_mut().zip(row..n) {
                    prefetch(rows.ahead(i).wrapping_add(feature));
                    // SAFETY: the block has row i, and it is valid for reading its `d` features.
                    let x: L = unsafe { load(proof, rows.row(i).add(feature), d - feature) };
                    *line = scale.features(proof, x, feature);
                }
                transpose(&mut square);
                for (column, j) in square[..features].iter().zip(feature..) {
                    column.write_to(&mut target[j * stride + row..]);
                }
            }
        }
    }

    fn columns<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        _: L::Proof,
        _: &ColumnBlock<'_, E>,
        _: S,
    ) {
        unreachable!("columns are read as columns");
    }
}
