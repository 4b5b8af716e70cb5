//! The work of one task: block by block, rows are scored, the scores turned into losses and their
//! derivatives, and those folded into the task's own gradient, while the block is in cache.

use crate::{
    Batch, Element, Error, LinearModel, Loss, NonFinite,
    buffer::Buffer,
    diagnose,
    kernel::{
        Block, Gather, Layout, PackedWeights, Path, columns, direct,
        packed::{self, ListRows, RowLists},
    },
    loss::EvaluateLoss,
    partition::MAX_SHARING,
    simd::{Lanes, MAX_LANES, Run},
};
use core::ops::Range;

/// The scratch memory of a task and, afterwards, its sums.
#[derive(Debug, Default)]
pub(crate) struct Task<T> {
    gather: Gather<T>,
    classes: Vec<u32>,
    panels: Buffer<T>,
    scores: Buffer<T>,
    labels: Buffer<T>,
    weights: Buffer<T>,
    losses: Buffer<T>,
    /// The rows of the block at hand that count for the gradient: the first ones of these,
    rows: Vec<u16>,
    n_rows: usize,
    /// or, by the hinge loss, those listed for each tile of classes.
    lists: Vec<u16>,
    gradient: Buffer<f64>,
    bias_gradient: Buffer<f64>,
    loss: f64,
    error: Option<Error>,
}

/// What all tasks of an evaluation share.
pub(crate) struct Pass<'a, T> {
    pub(crate) path: Path,
    pub(crate) loss: Loss,
    pub(crate) model: &'a LinearModel<T>,
    pub(crate) weights: &'a PackedWeights<T>,
    pub(crate) batch: &'a Batch<'a, T>,
    pub(crate) gradient: bool,
    /// Whether the gradient is one for all tasks, to which [`AddBlocks`] adds.
    pub(crate) shared: bool,
}

impl<T: Element> Task<T> {
    /// Makes room for the blocks of an evaluation.
    pub(crate) fn resize(&mut self, pass: &Pass<'_, T>) {
        let (c, d) = (pass.model.n_classes(), pass.model.n_features());
        let rows = pass.path.block_rows::<T>(d);
        self.gather.resize(pass.path, pass.batch, rows);
        match pass.path {
            Path::Direct | Path::Columns => self.scores.resize(c * rows),
            Path::Packed => {
                self.panels.resize((d + packed::MAX_WIDTH) * rows);
                self.scores.resize((c + packed::MAX_WIDTH) * rows);
            }
        }
        self.classes.resize(rows, 0);
        self.labels.resize(rows);
        self.weights.resize(rows);
        self.losses.resize(rows);
        if pass.gradient {
            self.rows.clear();
            self.rows.extend(0..rows as u16);
            self.gradient.resize(if pass.shared { 0 } else { c * gradient_stride(d) });
            self.bias_gradient.resize(c + packed::MAX_WIDTH);
        }
    }

    /// The block at hand.
    fn packed_block(&self) -> packed::Block<'_, T> {
        let panel_rows = self.losses.as_slice().len();
        let rows = match &*self.lists {
            [] => RowLists::All(&self.rows[..self.n_rows]),
            lists => RowLists::ByTile { lists, stride: panel_rows + 1 },
        };
        let (x, ds) = (self.panels.as_slice(), self.scores.as_slice());
        packed::Block { x, ds, panel_rows, rows }
    }

    /// What stopped the task, if anything did.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Σ wᵢ Lᵢ.
    pub(crate) fn loss(&self) -> f64 {
        self.loss
    }

    /// Σ wᵢ dLᵢ/dW for one class.
    pub(crate) fn gradient(&self, class: usize, n_features: usize) -> &[f64] {
        &self.gradient.as_slice()[class * gradient_stride(n_features)..][..n_features]
    }

    /// Σ wᵢ dLᵢ/db.
    /// There may be more places than classes.
    pub(crate) fn bias_gradient(&self) -> &[f64] {
        self.bias_gradient.as_slice()
    }
}

/// Features are padded to whole vectors, so that the gradient is added to without regard to tails.
fn gradient_stride(n_features: usize) -> usize {
    n_features.next_multiple_of(MAX_LANES)
}

/// A task at its samples.
pub struct RunTask<'a, T> {
    pub(crate) task: &'a mut Task<T>,
    pub(crate) pass: &'a Pass<'a, T>,
    pub(crate) samples: Range<usize>,
}

impl<T: Element> Run<T> for RunTask<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { task, pass, samples } = self;
        (task.n_rows, task.loss, task.error) = (0, 0.0, None);
        task.lists.clear();
        task.gradient.as_mut_slice().fill(0.0);
        task.bias_gradient.as_mut_slice().fill(0.0);
        let rows = task.losses.as_slice().len();
        for start in samples.clone().step_by(rows) {
            let block = start..samples.end.min(start + rows);
            let ahead = samples.end.min(block.end + rows);
            if let Err(error) = task.block::<L>(proof, pass, block, ahead) {
                task.error = Some(error);
                return;
            }
        }
    }
}

impl<T: Element> Task<T> {
    /// Scores, losses, gradient of one block. The first sample that is at fault ends it.
    #[inline(always)]
    fn block<L: Lanes<Elem = T>>(
        &mut self,
        proof: L::Proof,
        pass: &Pass<'_, T>,
        samples: Range<usize>,
        end: usize,
    ) -> Result<(), Error> {
        let (c, batch) = (pass.weights.n_classes(), pass.batch);
        let (first, mut n) = (samples.start, samples.len());
        let row_of = |i: usize| batch.row_index(first + i);
        let mut at_fault = None;

        let classes = &mut self.classes[..n];
        match batch.selection() {
            None => classes.copy_from_slice(&batch.labels()[first..][..n]),
            Some(rows) => {
                let rows = classes.iter_mut().zip(&rows[first..]);
                rows.for_each(|(class, row)| *class = batch.labels()[*row as usize]);
            }
        }
        if !classes.iter().fold(true, |all, &class| all & ((class as usize) < c)) {
            n = classes.iter().position(|&class| class as usize >= c).expect("one that is not");
            at_fault = Some(Error::Label { row: row_of(n), label: classes[n], classes: c });
        }
        if n == 0 {
            return at_fault.map_or(Ok(()), Err);
        }

        let range = first..first + n;
        let block = self.gather.block::<L>(proof, pass.path, batch, range, end)?;
        let block_rows = self.losses.as_slice().len();
        let layout = Layout::of::<L>(pass.path, c, block_rows);
        let scores = &mut self.scores.as_mut_slice()[..layout.len()];
        match (pass.path, &block) {
            (Path::Packed, block) => {
                let panels = self.panels.as_mut_slice();
                match block {
                    Block::Rows(rows) => packed::pack_rows::<L>(proof, rows, panels, block_rows),
                    Block::Columns(columns) => {
                        packed::pack_columns::<L>(proof, columns, panels, block_rows);
                    }
                }
                packed::scores::<L>(proof, panels, n, block_rows, pass.weights, scores);
            }
            (_, Block::Rows(rows)) => {
                direct::scores::<L>(proof, rows, pass.weights, scores, block_rows);
            }
            (_, Block::Columns(columns)) => {
                columns::scores::<L>(proof, columns, pass.weights, scores, block_rows);
            }
        }
        if !layout.all_finite(scores, n) {
            let finite = |i: usize| (0..c).all(|k| scores[layout.index(i, k)].is_finite());
            let i = (0..n).find(|&i| !finite(i)).expect("a score that is not finite");
            at_fault = Some(diagnose::score(pass.model, batch, row_of(i)));
            n = i;
        }

        layout.pad(scores, n);
        let padded = n.next_multiple_of(L::LANES);
        let labels = &mut self.labels.as_mut_slice()[..padded];
        let weights = &mut self.weights.as_mut_slice()[..padded];
        let losses = &mut self.losses.as_mut_slice()[..padded];
        labels[n..].fill(T::default());
        labels[..n].fill(T::from_f64(f64::NEG_INFINITY));
        weights[n..].fill(T::default());
        match batch.sample_weights() {
            None => weights[..n].fill(T::from_f64(1.0)),
            Some(all) => (0..n).for_each(|i| weights[i] = all[row_of(i)]),
        }
        layout.swap_labels(scores, &self.classes[..n], labels);

        let (loss, gradient) = (pass.loss, pass.gradient);
        let n_samples = n;
        L::call(
            proof,
            EvaluateLoss { loss, layout, scores, n_samples, labels, weights, losses, gradient },
        );

        let scores = &mut self.scores.as_mut_slice()[..layout.len()];
        let labels = &mut self.labels.as_mut_slice()[..n];
        let (weights, losses) = (&self.weights.as_slice()[..n], &self.losses.as_slice()[..n]);
        let total = self.loss + weighted_sum(weights, losses);
        if !losses.iter().fold(total.is_finite(), |all, loss| all & loss.is_finite()) {
            let finite = |i: usize| {
                losses[i].is_finite()
                    && (self.loss + weighted_sum(&weights[..=i], &losses[..=i])).is_finite()
            };
            let i = (0..n).find(|&i| !finite(i)).expect("a loss or a sum that is not finite");
            return Err(Error::NonFinite { row: row_of(i), cause: NonFinite::Loss });
        }
        self.loss = total;
        if let Some(error) = at_fault {
            return Err(error);
        }

        if pass.gradient {
            layout.swap_labels(scores, &self.classes[..n], labels);
            layout.add_bias_gradient::<L, T>(proof, scores, n, self.bias_gradient.as_mut_slice());
            let (d, dw_stride) = (batch.n_features(), gradient_stride(batch.n_features()));
            match (pass.path, &block) {
                (Path::Packed, _) => {
                    self.n_rows = n;
                    if matches!(loss, Loss::Hinge { .. }) {
                        let (ds, stride) = (&*scores, block_rows + 1);
                        self.lists.resize(c.div_ceil(packed::tile_classes::<L>()) * stride, 0);
                        let (lists, panel_rows) = (&mut *self.lists, block_rows);
                        let (n_classes, n_rows) = (c, n);
                        let list = ListRows { ds, n_classes, n_rows, panel_rows, lists, stride };
                        L::call(proof, list);
                    }
                    if !pass.shared {
                        let mut dw = core::mem::take(&mut self.gradient);
                        let (blocks, target) = ([self.packed_block()], dw.as_mut_slice());
                        packed::accumulate::<L>(proof, &blocks, 0..c, d, target, dw_stride);
                        self.gradient = dw;
                    }
                }
                (_, Block::Rows(rows)) => {
                    let dw = self.gradient.as_mut_slice();
                    direct::accumulate::<L>(proof, rows, scores, block_rows, c, dw, dw_stride);
                }
                (_, Block::Columns(columns)) => {
                    let dw = self.gradient.as_mut_slice();
                    columns::accumulate::<L>(proof, columns, scores, block_rows, c, dw, dw_stride);
                }
            }
        }
        Ok(())
    }
}

/// Adds the blocks at hand of all tasks, in their order, to the gradient of some classes.
pub struct AddBlocks<'a, T> {
    pub(crate) tasks: &'a [Task<T>],
    pub(crate) classes: Range<usize>,
    pub(crate) n_features: usize,
    /// The gradient from the first of the classes on.
    pub(crate) dw: &'a mut [f64],
}

impl<T: Element> Run<T> for AddBlocks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { tasks, classes, n_features: d, dw } = self;
        let mut blocks = [packed::Block::default(); MAX_SHARING];
        for (block, task) in blocks.iter_mut().zip(tasks) {
            *block = task.packed_block();
        }
        packed::accumulate::<L>(proof, &blocks[..tasks.len()], classes, d, dw, d);
    }
}

/// Σ wᵢ Lᵢ of a block, in as many sums as there are lanes. Summed by blocks, as a long running sum of
/// equal terms drifts even in `f64`.
#[inline(always)]
fn weighted_sum<T: Element>(weights: &[T], losses: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    for (weights, losses) in weights.chunks(sums.len()).zip(losses.chunks(sums.len())) {
        for ((sum, weight), loss) in sums.iter_mut().zip(weights).zip(losses) {
            *sum += weight.to_f64() * loss.to_f64();
        }
    }
    sums.iter().sum()
}
