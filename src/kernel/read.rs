//! A block where it lies, as it is stored: what the copies of the plans are made from.

use super::{
    block::{ColumnBlock, LinesAhead, RowBlock, RowOffsets},
    copies::copy_selected_rows,
};
use crate::{
    Features, MatrixView,
    batch::{RowRange, SampleRange},
    buffer::Buffer,
    element::Element,
    features::{Storage, with_matrix},
    simd::{Lanes, MAX_LANES, Run, Widen},
};

/// What features become, once they are widened.
pub(super) trait Scale<T>: Copy {
    /// Scales the features from `feature` on of a row. Past the last one there are zeros, which stay so.
    fn features<L: Lanes<Elem = T>>(self, proof: L::Proof, x: L, feature: usize) -> L;

    /// Scales a feature of some rows.
    fn rows<L: Lanes<Elem = T>>(self, proof: L::Proof, x: L, feature: usize) -> L;
}

/// Nothing but what they are.
#[derive(Clone, Copy)]
pub(super) struct Unscaled;

impl<T> Scale<T> for Unscaled {
    #[inline(always)]
    fn features<L: Lanes<Elem = T>>(self, _: L::Proof, x: L, _: usize) -> L {
        x
    }

    #[inline(always)]
    fn rows<L: Lanes<Elem = T>>(self, _: L::Proof, x: L, _: usize) -> L {
        x
    }
}

/// (x − shift) scale + rest: each for every feature, and for whole vectors of them.
///
/// Near the shift the difference is exact (Sterbenz). What the shift lost when it was rounded to `T`, times the scale,
/// is the rest, so that the features are centred as in `f64`, however far from 0 they lie.
#[derive(Clone, Copy)]
pub(super) struct Scaled<'a, T> {
    shift: &'a [T],
    scale: &'a [T],
    rest: &'a [T],
}

impl<'a, T: Element> Scaled<'a, T> {
    #[inline(always)]
    fn new([shift, scale, rest]: &'a [Buffer<T>; 3]) -> Self {
        Self { shift: shift.as_slice(), scale: scale.as_slice(), rest: rest.as_slice() }
    }
}

impl<T: Element> Scale<T> for Scaled<'_, T> {
    #[inline(always)]
    fn features<L: Lanes<Elem = T>>(self, proof: L::Proof, x: L, feature: usize) -> L {
        let vector = |values: &[T]| L::from_slice(proof, &values[feature..]);
        (x - vector(self.shift)).mul_add(vector(self.scale), vector(self.rest))
    }

    #[inline(always)]
    fn rows<L: Lanes<Elem = T>>(self, proof: L::Proof, x: L, feature: usize) -> L {
        let all = |values: &[T]| L::splat(proof, values[feature]);
        (x - all(self.shift)).mul_add(all(self.scale), all(self.rest))
    }
}

/// The memory that reading a block takes.
#[derive(Debug, Default)]
pub(crate) struct Reading<T> {
    /// Where the rows of the block start.
    offsets: RowOffsets,
    /// Rows that were selected from columns.
    rows: Buffer<T>,
    /// [`Scaled`].
    scaling: [Buffer<T>; 3],
}

impl<T: Element> Reading<T> {
    /// Prepares for blocks of some features.
    pub(crate) fn begin(&mut self, features: &Features<'_, T>) {
        // Where rows are sparse, W and b are scaled instead.
        let scaling = features.scaling().filter(|_| !features.is_sparse());
        let Some(scaling) = scaling else { return };
        let d = features.cols();
        for buffer in &mut self.scaling {
            buffer.resize(d.next_multiple_of(MAX_LANES));
            buffer.as_mut_slice()[d..].fill(T::default());
        }
        let [shifts, scales, rests] = &mut self.scaling;
        for feature in 0..d {
            let (shift, scale) = (scaling.shift(feature), scaling.scale(feature));
            let rounded = T::from_f64(shift);
            shifts.as_mut_slice()[feature] = rounded;
            scales.as_mut_slice()[feature] = T::from_f64(scale);
            rests.as_mut_slice()[feature] = T::from_f64((rounded.to_f64() - shift) * scale);
        }
    }

    /// What scales the features.
    #[inline(always)]
    pub(super) fn scaled(&self) -> Scaled<'_, T> {
        Scaled::new(&self.scaling)
    }

    /// The rows of a block, if they are a row-major matrix of the numbers that are computed with.
    #[inline(always)]
    pub(super) fn rows_in_place<'a>(
        &'a mut self,
        samples: &SampleRange<'a, T>,
    ) -> Option<RowBlock<'a, T>> {
        let x = samples.features().matrix().filter(|x| x.col_stride() == 1)?;
        let scaled = samples.features().scaling().is_some();
        (!scaled).then(|| RowBlock::new(x, samples.rows(), &mut self.offsets))
    }
}

/// What makes a copy of a block.
pub(super) trait Read<T: Element> {
    /// Of rows.
    fn rows<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        proof: L::Proof,
        rows: &RowBlock<'_, E>,
        scale: S,
    );

    /// Of rows of a column-major matrix.
    fn columns<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        proof: L::Proof,
        columns: &ColumnBlock<'_, E>,
        scale: S,
    );
}

/// Reads samples, of which there is at least one, by rows or by columns: as they lie. Returns the lines of the rows that
/// come next; none of a column-major matrix.
#[inline(always)]
pub(super) fn read<'r, 'x: 'r, L: Lanes>(
    proof: L::Proof,
    samples: &SampleRange<'x, L::Elem>,
    reading: &'r mut Reading<L::Elem>,
    reader: impl Read<L::Elem>,
) -> LinesAhead<'r> {
    L::call(proof, ReadSamples { samples, reading, reader })
}

/// A function of its own, as it has a branch for each type that is stored.
struct ReadSamples<'a, 'r, 'x, T, R> {
    samples: &'a SampleRange<'x, T>,
    reading: &'r mut Reading<T>,
    reader: R,
}

impl<'r, 'x: 'r, T: Element, R: Read<T>> Run<T> for ReadSamples<'_, 'r, 'x, T, R> {
    type Output = LinesAhead<'r>;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> LinesAhead<'r> {
        read_samples::<L>(proof, self.samples, self.reading, self.reader)
    }
}

#[inline(always)]
fn read_samples<'r, 'x: 'r, L: Lanes>(
    proof: L::Proof,
    samples: &SampleRange<'x, L::Elem>,
    reading: &'r mut Reading<L::Elem>,
    reader: impl Read<L::Elem>,
) -> LinesAhead<'r> {
    let Storage::Dense(matrix) = samples.features().storage() else {
        unreachable!("sparse rows have plans of their own")
    };
    let Reading { offsets, rows, scaling } = reading;
    let memory = (offsets, rows);
    match samples.features().scaling() {
        None => {
            with_matrix!(matrix, x => read_as::<L, _>(proof, x, samples.rows(), Unscaled, memory, reader))
        }
        Some(_) => {
            let scale = Scaled::new(scaling);
            with_matrix!(matrix, x => read_as::<L, _>(proof, x, samples.rows(), scale, memory, reader))
        }
    }
}

#[inline(always)]
fn read_as<'r, 'x: 'r, L: Lanes, E: Widen<L::Elem>>(
    proof: L::Proof,
    x: MatrixView<'x, E>,
    rows: &RowRange<'_>,
    scale: impl Scale<L::Elem>,
    (offsets, copy): (&'r mut RowOffsets, &mut Buffer<L::Elem>),
    reader: impl Read<L::Elem>,
) -> LinesAhead<'r> {
    match rows.consecutive() {
        _ if x.col_stride() == 1 => {
            let rows = &RowBlock::new(x, rows, offsets);
            L::call(proof, ReadRows { reader, rows, scale });
            return rows.lines_ahead();
        }
        Some(range) => {
            let columns = &ColumnBlock::new(x, range);
            L::call(proof, ReadColumns { reader, columns, scale });
        }
        None => {
            let copy = copy_selected_rows(x, rows, copy);
            let rows = &RowBlock::new(copy, &RowRange::first(rows.len()), offsets);
            L::call(proof, ReadRows { reader, rows, scale });
        }
    }
    LinesAhead::none()
}

struct ReadRows<'a, 'x, R, E, S> {
    reader: R,
    rows: &'a RowBlock<'x, E>,
    scale: S,
}

impl<T: Element, R: Read<T>, E: Widen<T>, S: Scale<T>> Run<T> for ReadRows<'_, '_, R, E, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        self.reader.rows::<L, E, S>(proof, self.rows, self.scale);
    }
}

struct ReadColumns<'a, 'x, R, E, S> {
    reader: R,
    columns: &'a ColumnBlock<'x, E>,
    scale: S,
}

impl<T: Element, R: Read<T>, E: Widen<T>, S: Scale<T>> Run<T> for ReadColumns<'_, '_, R, E, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        self.reader.columns::<L, E, S>(proof, self.columns, self.scale);
    }
}
