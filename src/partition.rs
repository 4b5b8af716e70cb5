//! How a batch is divided into tasks. It depends on the shape alone, never on the number of threads:
//! that, and the fixed order in which the tasks' sums are added, is what makes the bits of a result
//! the same on any number of threads.

use crate::{
    kernel::{Path, packed::SPAN_BLOCKS},
    parallel::n_threads,
    simd::MAX_LANES,
};
use core::ops::Range;

/// Multiplications in each of the two products below which a task is not worth a thread: some tens
/// of microseconds of work.
const MIN_TASK_WORK: usize = 1 << 20;

/// Rows below which a task is not worth its own gradient, which is cleared, read and added to the others'
/// once: with 16 it takes a fifth of the time of 4097 × 1023 × 37, with 512 a twentieth, with 2048 next to
/// nothing, but there would be two tasks.
const MIN_TASK_ROWS: usize = 512;

/// Enough for the threads of large machines, and for threads of unequal speed.
const MAX_TASKS: usize = 32;

/// What the tasks' gradients may take up together.
const MAX_GRADIENT_BYTES: usize = 32 << 20;

/// From so many weights on, the gradient is one for all tasks: gradients of their own, larger than a
/// near cache, would be read from memory and written to it for every block, and take up memory.
const SHARED_WEIGHTS: usize = 1 << 18;

/// The most tasks that share a gradient, a number of whole spans.
pub(crate) const MAX_SHARING: usize = 64;

/// How threads share one gradient: again and again, each task computes the derivatives of one block of
/// rows; then the gradient is added to, each range of its classes by one thread, span of blocks by span. As
/// all sums go in the order of the blocks, and whole spans are at hand each time, the bits of the sums do
/// not depend on how many those are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing {
    /// The tasks: whole spans of blocks, one block a task, as much work for each thread.
    pub(crate) n_tasks: usize,
    /// The classes of a range, whole tiles for all lanes.
    pub(crate) part_classes: usize,
}

impl Sharing {
    /// If the gradient is so large that it is shared.
    pub(crate) fn new(path: Path, n_classes: usize, n_features: usize) -> Option<Self> {
        let shared = path == Path::Packed && n_classes.saturating_mul(n_features) >= SHARED_WEIGHTS;
        let threads = n_threads();
        let per_thread = if threads.is_multiple_of(SPAN_BLOCKS) { 1 } else { SPAN_BLOCKS };
        let n_tasks = threads.saturating_mul(per_thread).min(MAX_SHARING);
        let part_classes = n_classes.div_ceil(threads).next_multiple_of(8);
        shared.then_some(Self { n_tasks, part_classes })
    }
}

/// A division of N samples into ranges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    n_samples: usize,
    task_rows: usize,
}

impl Partition {
    pub(crate) fn new(n_samples: usize, n_classes: usize, n_features: usize) -> Self {
        let parameters = n_classes.saturating_mul(n_features).max(1);
        let worth = n_samples.saturating_mul(parameters) / MIN_TASK_WORK;
        let affordable = MAX_GRADIENT_BYTES / size_of::<f64>() / parameters;
        let tasks = worth.min(affordable).min(n_samples / MIN_TASK_ROWS).clamp(1, MAX_TASKS);
        // A power of two is as much work for each of two, four or eight threads.
        let tasks = 1 << tasks.ilog2();
        let task_rows = n_samples.div_ceil(tasks).next_multiple_of(MAX_LANES);
        Self { n_samples, task_rows }
    }

    pub(crate) fn n_tasks(&self) -> usize {
        self.n_samples.div_ceil(self.task_rows)
    }

    /// The samples of a task.
    pub(crate) fn samples(&self, task: usize) -> Range<usize> {
        let start = task * self.task_rows;
        start..self.n_samples.min(start + self.task_rows)
    }
}
