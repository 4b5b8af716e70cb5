//! Stretches of columns, as both products read them: where they lie, or in copies. Where columns are stored in another
//! type or are scaled, some features are copied at a time, once for each product, so that the copy stays in L1 and takes
//! up little memory, however many features there are.

use crate::{
    MatrixView,
    batch::SampleRange,
    buffer::Buffer,
    element::Element,
    features::{Matrix, Storage, with_matrix},
    kernel::{
        ColumnBlock, Copies,
        copies::{CopyRowsAsColumns, load},
        read::{Scale, Scaled, Unscaled, read},
    },
    simd::{LINE, Lanes, MAX_LANES, Run, Widen, prefetch},
};
use core::ops::Range;

/// The rows of a block, in columns.
pub(crate) enum Stretches<'a, T> {
    /// As they are read.
    All(ColumnBlock<'a, T>),
    /// To be copied.
    Stored(StoredStretches<'a, T>),
}

pub(crate) struct StoredStretches<'a, T> {
    matrix: Matrix<'a, T>,
    rows: Range<usize>,
    scale: Option<Scaled<'a, T>>,
    copy: &'a mut Buffer<T>,
}

impl<'a, T: Element> Stretches<'a, T> {
    #[inline(always)]
    pub(super) fn load<L: Lanes<Elem = T>>(
        proof: L::Proof,
        samples: &SampleRange<'a, T>,
        copies: &'a mut Copies<T>,
    ) -> Self {
        let Copies { reading, reordered: copy, .. } = copies;
        let features = samples.features();
        let Storage::Dense(matrix) = features.storage() else {
            unreachable!("sparse rows have plans of their own")
        };
        match samples.rows().consecutive().filter(|_| !matrix.is_row_major()) {
            None => {
                let (n, d) = (samples.len(), features.cols());
                let stride = n.next_multiple_of(MAX_LANES);
                copy.resize(stride * d);
                let target = copy.as_mut_slice();
                read::<L>(proof, samples, reading, CopyRowsAsColumns { target, stride });
                let columns = MatrixView::column_major(copy.as_slice(), stride, d);
                Self::All(ColumnBlock::new(columns.expect("all columns"), 0..n))
            }
            Some(rows) => match (matrix, features.scaling()) {
                (Matrix::Same(x), None) => Self::All(ColumnBlock::new(x, rows)),
                (matrix, scaling) => {
                    let scale = scaling.map(|_| reading.scaled());
                    Self::Stored(StoredStretches { matrix, rows, scale, copy })
                }
            },
        }
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::All(block) => block.len(),
            Self::Stored(stored) => stored.rows.len(),
        }
    }

    /// The number of features.
    pub(super) fn n_features(&self) -> usize {
        match self {
            Self::All(block) => block.features().len(),
            Self::Stored(stored) => with_matrix!(stored.matrix, x => x.cols()),
        }
    }

    /// A block that has some features. A copy asks for those from the feature `ahead.1` on, as many rows further on as
    /// `ahead.0` says, which come next.
    #[inline(always)]
    pub(super) fn features<L: Lanes<Elem = T>>(
        &mut self,
        proof: L::Proof,
        features: Range<usize>,
        ahead: (usize, usize),
    ) -> ColumnBlock<'_, T> {
        match self {
            Self::All(block) => block.clone(),
            Self::Stored(stored) => copy::<L>(proof, stored, features, ahead),
        }
    }
}

#[inline(always)]
fn copy<'a, L: Lanes>(
    proof: L::Proof,
    stored: &'a mut StoredStretches<'_, L::Elem>,
    features: Range<usize>,
    ahead: (usize, usize),
) -> ColumnBlock<'a, L::Elem> {
    let StoredStretches { matrix, rows, scale, copy } = stored;
    // An odd number of the widest vectors, as columns at multiples of 4096 bytes compete for the same lines of L1.
    let stride = (rows.len().div_ceil(MAX_LANES) | 1) * MAX_LANES;
    let (first, n_features) = (features.start, features.len());
    copy.resize(stride * n_features);
    let target = copy.as_mut_slice();
    with_matrix!(*matrix, x => {
        let source = &ColumnBlock::new(x, rows.clone());
        match *scale {
            None => {
                let scale = Unscaled;
                L::call(proof, Copy { source, features, ahead, scale, target, stride });
            }
            Some(scale) => L::call(proof, Copy { source, features, ahead, scale, target, stride }),
        }
    });
    let columns = MatrixView::column_major(copy.as_slice(), stride, n_features);
    ColumnBlock::of_features(columns.expect("all columns"), rows.len(), first)
}

/// Copies some features of some rows.
struct Copy<'a, 'x, T, E, S> {
    source: &'a ColumnBlock<'x, E>,
    features: Range<usize>,
    /// How many rows after the first one, and at which feature, is what comes next.
    ahead: (usize, usize),
    scale: S,
    target: &'a mut [T],
    stride: usize,
}

impl<T: Element, E: Widen<T>, S: Scale<T>> Run<T> for Copy<'_, '_, T, E, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { source, features, ahead, scale, target, stride } = self;
        let n = source.len();
        assert!(features.end <= source.features().end);
        for (i, (feature, target)) in features.zip(target.chunks_exact_mut(stride)).enumerate() {
            for (row, target) in (0..n).step_by(L::LANES).zip(target.chunks_exact_mut(L::LANES)) {
                if (row * size_of::<E>()).is_multiple_of(LINE) {
                    prefetch(source.at(ahead.0 + row, ahead.1 + i));
                }
                // SAFETY: the block has the feature, as asserted, and the rows, which lie side by side.
                let x: L = unsafe { load(proof, source.at(row, feature), n - row) };
                scale.rows(proof, x, feature).write_to(target);
            }
        }
    }
}
