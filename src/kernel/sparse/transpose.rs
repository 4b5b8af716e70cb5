//! The columns of a batch of sparse rows, made once and kept for later evaluations of the same batch.

use super::lines::Lines;
use crate::{Batch, element::Element, features::Storage};
use core::ops::Range;

/// Jobs of a round, at most: enough for the threads of large machines.
const MAX_JOBS: usize = 64;

/// Features and entries below which a job is not worth a thread.
const MIN_JOB: usize = 4096;

/// The columns of a batch, of one round of samples after another.
#[derive(Debug, Default)]
pub(crate) struct Transposed<T> {
    /// What it was made from: the identities of the matrix and of the selection, and the samples of a round.
    key: Option<(u64, u64, usize)>,
    n_samples: usize,
    /// The features that have entries, in order.
    features: Vec<u32>,
    /// Where the entries of each begin; and where the last one ends.
    starts: Vec<usize>,
    /// The sample of each entry, in order, counted from the first of the round.
    samples: Vec<u32>,
    values: Vec<T>,
    jobs: Vec<Job>,
    /// Where the jobs of each round begin; and where the last one ends.
    rounds: Vec<usize>,
    /// Of each feature, where the next entry goes.
    places: Vec<usize>,
}

/// Features of a round, whose part of dW is computed together.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(super) features: Range<usize>,
    /// Those of them that have entries, among all such.
    pub(super) columns: Range<usize>,
}

/// The columns of a round.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a, T> {
    pub(super) features: &'a [u32],
    starts: &'a [usize],
    samples: &'a [u32],
    values: &'a [T],
    n_samples: usize,
}

// SAFETY: `Transposed::update` makes the starts ascend up to the number of entries, which have a sample, less than
// `n_samples`, and a value each.
unsafe impl<T> Lines<T> for Columns<'_, T> {
    fn entries(&self) -> (&[u32], &[T]) {
        (self.samples, self.values)
    }

    fn n_indices(&self) -> usize {
        self.n_samples
    }

    #[inline(always)]
    fn line(&self, line: usize) -> Range<usize> {
        self.starts[line]..self.starts[line + 1]
    }
}

impl<T: Element> Transposed<T> {
    /// Makes this the columns of a batch in rounds of so many samples, unless it is. Takes O(entries + D) for each
    /// round then.
    ///
    /// # Panics
    /// If the batch is not sparse.
    pub(crate) fn update(&mut self, batch: &Batch<'_, T>, round_rows: usize) {
        let Storage::Sparse(x) = batch.features().storage() else {
            unreachable!("columns are made of sparse rows alone")
        };
        let key = Some((x.identity(), batch.selection_identity(), round_rows));
        if self.key == key {
            return;
        }
        self.key = None;
        self.n_samples = round_rows.min(batch.n_samples());
        for list in [&mut self.starts, &mut self.rounds] {
            list.clear();
        }
        self.features.clear();
        self.samples.clear();
        self.values.clear();
        self.jobs.clear();
        for first in (0..batch.n_samples()).step_by(round_rows) {
            let range = first..batch.n_samples().min(first + round_rows);
            let rows = || range.clone().map(|i| x.row(batch.row_index(i)).expect("a row of X"));
            self.add_round(x.cols(), rows);
        }
        self.starts.push(self.samples.len());
        self.rounds.push(self.jobs.len());
        self.key = key;
    }

    /// Adds the columns of some rows.
    fn add_round<'a, R: Iterator<Item = (&'a [u32], &'a [T])>>(
        &mut self,
        d: usize,
        rows: impl Fn() -> R,
    ) where
        T: 'a,
    {
        let (first, n_columns) = (self.samples.len(), self.features.len());
        self.places.clear();
        self.places.resize(d, 0);
        let mut n_entries = 0;
        for (indices, _) in rows() {
            n_entries += indices.len();
            indices.iter().for_each(|l| self.places[*l as usize] += 1);
        }
        let mut next = first;
        for (feature, place) in self.places.iter_mut().enumerate().filter(|(_, place)| **place > 0)
        {
            self.features.push(feature as u32);
            self.starts.push(next);
            next += core::mem::replace(place, next);
        }
        self.samples.resize(next, 0);
        self.values.resize(next, T::default());
        for (i, (indices, values)) in rows().enumerate() {
            for (l, value) in indices.iter().zip(values) {
                let place = &mut self.places[*l as usize];
                self.samples[*place] = i as u32;
                self.values[*place] = *value;
                *place += 1;
            }
        }

        // As evenly as whole features allow.
        self.rounds.push(self.jobs.len());
        let size = ((n_entries + d) / MAX_JOBS).max(MIN_JOB);
        let (mut column, mut feature, mut work) = (n_columns, 0, 0);
        for (i, &l) in self.features.iter().enumerate().skip(n_columns) {
            let end = self.starts.get(i + 1).copied().unwrap_or(next);
            work += end - self.starts[i];
            let done = l as usize + 1;
            if work + done - feature >= size {
                self.jobs.push(Job { features: feature..done, columns: column..i + 1 });
                (column, feature, work) = (i + 1, done, 0);
            }
        }
        if feature < d {
            self.jobs.push(Job { features: feature..d, columns: column..self.features.len() });
        }
    }

    /// The columns of all rounds, and the jobs of one of them.
    pub(crate) fn round(&mut self, round: usize) -> (Columns<'_, T>, &mut [Job]) {
        let Self { n_samples, features, starts, samples, values, jobs, rounds, .. } = self;
        let columns = Columns { features, starts, samples, values, n_samples: *n_samples };
        (columns, &mut jobs[rounds[round]..rounds[round + 1]])
    }
}
