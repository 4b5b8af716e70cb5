//! How a batch is divided into tasks, and when their sums are added up. The order of all sums depends on the shape
//! alone, never on the number of threads, so that the bits of a result are the same on any number of them.
//!
//! Where each task has its own gradient there is one round: each task walks over its part of the samples, and
//! then the gradients are added up. Where the gradient is so large that the tasks share it there are many: in each,
//! every task computes the derivatives of one block of rows; then each thread adds all of these blocks to a range of
//! the classes.

use crate::{
    kernel::{MAX_HELD, PlanKind, Shape},
    parallel::n_threads,
    simd::MAX_LANES,
    summation::THIRD_LEVEL,
};
use core::ops::Range;

/// Multiplications in each of the two products below which a task is not worth a thread: some tens of
/// microseconds of work.
const MIN_TASK_WORK: usize = 1 << 20;

/// Rows below which a task is not worth its own gradient, which is cleared, read and added to the others' once:
/// with 16 it takes a fifth of the time of 4097 × 1023 × 37, with 512 a twentieth, with 2048 next to nothing, but
/// there would be two tasks.
const MIN_TASK_ROWS: usize = 512;

/// How many tasks batches of fewer rows are divided into, and the rows of a task that are worth it then: for two
/// threads, 32 rows do, which takes a quarter from the time of 100 × 20000 × 10. In four tasks of 64 rows,
/// 256 × 4096 × 10 takes a twentieth more than in two.
const FEW_TASKS: [(usize, usize); 2] = [(2, 32), (4, 128)];

/// Enough for the threads of large machines, and for threads of unequal speed.
const MAX_TASKS: usize = 32;

/// What the tasks' gradients may take up together.
const MAX_GRADIENT_BYTES: usize = 32 << 20;

/// From this many weights on the gradient is shared: gradients of tasks, larger than L2, would be read from memory
/// and written to it for every block, and take up memory.
const SHARED_WEIGHTS: usize = 1 << 18;

/// What the derivatives of a round of sparse rows may take up. Each round goes over dW once more.
const MAX_DERIVATIVE_BYTES: usize = 64 << 20;

/// A division of N samples into tasks and rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    n_samples: usize,
    /// Tasks of a round.
    pub(crate) n_tasks: usize,
    /// Samples of a task in a round.
    task_rows: usize,
    /// Whether the tasks share one gradient.
    pub(crate) shared: bool,
    /// Classes of the gradient that a thread folds at a time.
    pub(crate) fold_classes: usize,
}

impl Schedule {
    pub(crate) fn new(plan: PlanKind, shape: Shape, block_rows: usize) -> Self {
        let Shape { n_samples, n_features, n_classes } = shape;
        let weights = n_classes.saturating_mul(n_features).max(1);
        let shared = plan.shares_gradient() && weights >= SHARED_WEIGHTS;
        if shared {
            // As whole sums of the third level are folded each time, their bits do not depend on the tasks.
            let threads = n_threads();
            let per_thread = if threads.is_multiple_of(THIRD_LEVEL) { 1 } else { THIRD_LEVEL };
            let n_tasks = threads.saturating_mul(per_thread).min(MAX_HELD);
            // Whole register tiles on every instruction set, as evenly as possible.
            let of_thread = (n_classes / threads + MAX_LANES / 2) / MAX_LANES * MAX_LANES;
            let fold_classes = if threads == 1 { n_classes } else { of_thread.max(MAX_LANES) };
            return Self { n_samples, n_tasks, task_rows: block_rows, shared, fold_classes };
        }
        let worth = n_samples.saturating_mul(weights) / MIN_TASK_WORK;
        let affordable = MAX_GRADIENT_BYTES / size_of::<f64>() / weights;
        let few = FEW_TASKS.map(|(tasks, rows)| tasks.min(n_samples / rows));
        let by_rows = few.into_iter().fold(n_samples / MIN_TASK_ROWS, usize::max);
        let n_tasks = worth.min(affordable).min(by_rows).clamp(1, MAX_TASKS);
        // A power of two is as much work for each of two, four or eight threads.
        let n_tasks = 1 << n_tasks.ilog2();
        let task_rows = n_samples.div_ceil(n_tasks).next_multiple_of(MAX_LANES);
        let n_tasks = n_samples.div_ceil(task_rows);
        Self { n_samples, n_tasks, task_rows, shared, fold_classes: n_classes.div_ceil(n_tasks) }
    }

    /// For sparse rows with so many entries: each task computes the derivatives of its samples, of which those of a
    /// round are kept, `sample_bytes` each.
    pub(crate) fn sparse(
        shape: Shape,
        n_entries: usize,
        block_rows: usize,
        sample_bytes: usize,
    ) -> Self {
        let Shape { n_samples, n_classes, .. } = shape;
        let round_rows = n_samples.min((MAX_DERIVATIVE_BYTES / sample_bytes).max(block_rows));
        let worth = n_entries.saturating_mul(n_classes) / MIN_TASK_WORK;
        let task_rows = round_rows.div_ceil(worth.clamp(1, MAX_TASKS)).next_multiple_of(MAX_LANES);
        let n_tasks = round_rows.div_ceil(task_rows);
        Self { n_samples, n_tasks, task_rows, shared: true, fold_classes: n_classes }
    }

    /// The samples of a round, but for the last one.
    pub(crate) fn round_rows(&self) -> usize {
        self.n_tasks * self.task_rows
    }

    /// The samples of a task in a round.
    pub(crate) fn task_rows(&self) -> usize {
        self.task_rows
    }

    /// The rounds, each by the first of its samples.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.n_samples).step_by(self.round_rows())
    }

    /// The samples of a task in a round.
    pub(crate) fn samples(&self, round: usize, task: usize) -> Range<usize> {
        let place = |task: usize| self.n_samples.min(round + task * self.task_rows);
        place(task)..place(task + 1)
    }
}
