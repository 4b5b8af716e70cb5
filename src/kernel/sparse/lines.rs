//! The kernel of both sparse products: Σ value · table[index] over the entries of a line, where the table has a
//! row for every index, one element a class. For the scores a line is a row of X and the table is W, feature by
//! feature; for the gradient a line is a column of X and the table is dS, sample by sample.
//!
//! Rows of the table are read wherever the indices lead, so that they are asked for some entries ahead. A line is
//! summed in chains of [`FIRST_LEVEL`] terms and sums of these; a long one goes on in `f64`.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use crate::{
    element::Element,
    kernel::tiles::{TileKernel, largest_line, line},
    simd::{LINE, Lanes, MAX_LANES, prefetch_near},
    summation::{FIRST_LEVEL, SECOND_LEVEL},
};
use core::ops::Range;

/// The most classes of a panel.
pub(super) const MAX_WIDTH: usize = 8 * MAX_LANES;

/// How many entries ahead rows of the table are asked for: more would leave L1 before they are read.
const AHEAD: usize = 8;

/// Up to this size the table stays in L2, and asking costs more than waiting: 100000 × 100000 × 2, where W takes
/// 800 KB, takes a third more with it.
const NEAR_BYTES: usize = 1 << 20;

/// Lines of entries.
///
/// # Safety
/// All ranges must be ranges of the entries, of which there are as many indices as values, and all indices in
/// them less than `n_indices`.
pub(super) unsafe trait Lines<T> {
    /// The indices and the values of all lines.
    fn entries(&self) -> (&[u32], &[T]);
    /// What all indices are less than.
    fn n_indices(&self) -> usize;
    /// The entries of a line.
    ///
    /// # Panics
    /// If there is no such line.
    fn line(&self, line: usize) -> Range<usize>;
}

/// Where the sums of lines go.
pub(super) trait Sink<T> {
    /// Takes the sums of a line for the classes from `class` on, as many as fill the vectors and exist. What has
    /// been summed in `f64` is to be added.
    fn take<L: Lanes<Elem = T>, const V: usize>(
        &mut self,
        proof: L::Proof,
        line: usize,
        class: usize,
        sums: [L; V],
        wide: Option<&[f64]>,
    );
}

/// The classes in panels that a tile of registers takes: the first class of each, and its whole vectors of classes.
#[inline(always)]
pub(super) fn class_panels<L: Lanes>(n_classes: usize) -> impl Iterator<Item = (usize, usize)> {
    let width = largest_line::<L>() * L::LANES;
    let firsts = (0..n_classes).step_by(width);
    firsts.map(move |class| (class, width.min((n_classes - class).next_multiple_of(L::LANES))))
}

/// Calls the sink with the sums of each line for the classes of the panel that begins with `class`.
#[inline(always)]
pub(super) fn sum_lines<L: Lanes, X: Lines<L::Elem>, S: Sink<L::Elem>>(
    proof: L::Proof,
    x: &X,
    lines: Range<usize>,
    table: &[L::Elem],
    n_classes: usize,
    class: usize,
    sink: &mut S,
) {
    assert!(class < n_classes && table.len() >= x.n_indices() * n_classes);
    let vectors = largest_line::<L>().min((n_classes - class).div_ceil(L::LANES));
    let sum = SumLines { x, lines, table: &table[class..], n_classes, class, sink };
    line::<L>(proof, (chains(vectors), vectors), sum);
}

/// Chains of sums that an entry is added to in turn: as many additions at a time as their latency asks for.
const fn chains(vectors: usize) -> usize {
    match vectors {
        1 => 4,
        2..=4 => 2,
        _ => 1,
    }
}

struct SumLines<'a, X, T, S> {
    x: &'a X,
    lines: Range<usize>,
    /// From the first of the classes on.
    table: &'a [T],
    n_classes: usize,
    class: usize,
    sink: &'a mut S,
}

/// Entries, and the rows of the table that they point to. Its methods are no closures, as those are not always
/// inlined into a function that is compiled for an instruction set.
#[derive(Clone, Copy)]
struct Terms<'a, T> {
    indices: &'a [u32],
    values: &'a [T],
    table: &'a [T],
    n_classes: usize,
    /// Classes of the last vector.
    tail: usize,
}

impl<T: Element> Terms<'_, T> {
    /// The row of the table for an entry.
    ///
    /// # Safety
    /// There must be such an entry.
    #[inline(always)]
    unsafe fn row(&self, e: usize) -> *const T {
        debug_assert!(e < self.indices.len());
        // SAFETY: there is such an entry, as the caller says.
        let index = unsafe { *self.indices.get_unchecked(e) } as usize;
        self.table.as_ptr().wrapping_add(index * self.n_classes)
    }

    /// Asks for the row for an entry, if there is one.
    #[inline(always)]
    fn ask<L: Lanes<Elem = T>, const V: usize>(&self, e: usize) {
        if e < self.indices.len() {
            // SAFETY: there is such an entry.
            let row = unsafe { self.row(e) };
            for line in 0..(V * L::LANES * size_of::<T>()).div_ceil(LINE) {
                prefetch_near(row.wrapping_add(line * LINE / size_of::<T>()));
            }
        }
    }

    /// Adds the term of an entry.
    ///
    /// # Safety
    /// There must be such an entry, its index must be that of a row of the table, and `V` vectors, of which the
    /// last one has `tail` lanes that count, must end with the classes.
    #[inline(always)]
    unsafe fn add<L: Lanes<Elem = T>, const V: usize>(
        &self,
        proof: L::Proof,
        e: usize,
        sums: &mut [L; V],
    ) {
        // SAFETY: there are the entry and the row, as the caller says; as many values as indices; and of the row
        // no more is read than the classes.
        unsafe {
            let (row, value) = (self.row(e), L::splat(proof, *self.values.get_unchecked(e)));
            for v in 0..V {
                let source = row.add(v * L::LANES);
                let vector = if v + 1 == V && self.tail < L::LANES {
                    L::load_first(proof, source, self.tail)
                } else {
                    L::load(proof, source)
                };
                sums[v] = value.mul_add(vector, sums[v]);
            }
        }
    }
}

/// In `M` chains of `V` vectors.
impl<T: Element, X: Lines<T>, S: Sink<T>> TileKernel<T> for SumLines<'_, X, T, S> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const M: usize, const V: usize>(self, proof: L::Proof) {
        let Self { x, lines, table, n_classes, class, sink } = self;
        let (indices, values) = x.entries();
        let tail = (n_classes - class - (V - 1) * L::LANES).min(L::LANES);
        let terms = Terms { indices, values, table, n_classes, tail };
        let zero = L::splat(proof, T::default());
        let far = size_of_val(table) > NEAR_BYTES;
        let second_level = SECOND_LEVEL * FIRST_LEVEL * M;
        let mut wide = [0.0; MAX_WIDTH];
        let wide = &mut wide[..V * L::LANES];
        for line in lines {
            let Range { start, end } = x.line(line);
            let long = end - start > second_level;
            if long {
                wide.fill(0.0);
            }
            let mut second = [zero; V];
            let mut e = start;
            while e < end {
                let stop = end.min(e + FIRST_LEVEL * M);
                let mut first = [[zero; V]; M];
                // SAFETY: these are entries of a line, with indices as `Lines` promises; the table has a row for each
                // (`sum_lines`), and so many vectors are those of the classes.
                unsafe {
                    while e + M <= stop {
                        for m in 0..M {
                            if far {
                                terms.ask::<L, V>(e + AHEAD + m);
                            }
                            terms.add(proof, e + m, &mut first[m]);
                        }
                        e += M;
                    }
                    while e < stop {
                        terms.add(proof, e, &mut first[0]);
                        e += 1;
                    }
                }
                for v in 0..V {
                    for m in 0..M {
                        second[v] = second[v] + first[m][v];
                    }
                }
                if long && (e - start).is_multiple_of(second_level) {
                    for v in 0..V {
                        second[v].add_widened(&mut wide[v * L::LANES..]);
                    }
                    second = [zero; V];
                }
            }
            sink.take(proof, line, class, second, long.then_some(&*wide));
        }
    }
}
