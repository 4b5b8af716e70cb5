//! The work of one task: block by block, rows are scored, the scores turned into losses and their
//! derivatives, and those folded into the task's own gradient, while the block is in cache.

use crate::{
    Batch, Error, LinearModel, Loss, NonFinite, Scalar,
    buffer::Buffer,
    diagnose,
    kernel::{Layout, MAX_LANES, PackedWeights, Path, RowBlock, direct, packed},
    loss::{CrossEntropy, Hinge, Samples},
    simd::{Lanes, Run},
};
use core::ops::Range;

/// The scratch memory of a task and, afterwards, its sums.
#[derive(Debug, Default)]
pub(crate) struct Task<T> {
    offsets: Vec<usize>,
    panels: Buffer<T>,
    scores: Buffer<T>,
    labels: Buffer<T>,
    weights: Buffer<T>,
    losses: Buffer<T>,
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
}

impl<T: Scalar> Task<T> {
    /// Makes room for the blocks of an evaluation.
    pub(crate) fn resize(&mut self, pass: &Pass<'_, T>) {
        let (c, d) = (pass.model.n_classes(), pass.model.n_features());
        let rows = pass.path.block_rows::<T>(d);
        self.offsets.resize(2 * rows, 0);
        match pass.path {
            Path::Direct => self.scores.resize(c * rows),
            Path::Packed => {
                self.panels.resize((d + packed::MAX_WIDTH) * rows);
                self.scores.resize((c + packed::MAX_WIDTH) * rows);
            }
        }
        self.labels.resize(rows);
        self.weights.resize(rows);
        self.losses.resize(rows);
        if pass.gradient {
            self.gradient.resize(c * gradient_stride(d));
            self.bias_gradient.resize(c + packed::MAX_WIDTH);
        }
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

impl<T: Scalar> Run<T> for RunTask<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { task, pass, samples } = self;
        task.loss = 0.0;
        task.error = None;
        if pass.gradient {
            task.gradient.as_mut_slice().fill(0.0);
            task.bias_gradient.as_mut_slice().fill(0.0);
        }
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

impl<T: Scalar> Task<T> {
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

        let label_of = |i: usize| batch.labels()[row_of(i)];
        if let Some(i) = (0..n).find(|&i| label_of(i) as usize >= c) {
            at_fault = Some(Error::Label { row: row_of(i), label: label_of(i), classes: c });
            n = i;
        }

        let rows = RowBlock::of_batch(batch, first..first + n, end, &mut self.offsets);
        let block_rows = self.losses.as_slice().len();
        let layout = Layout::of::<L>(pass.path, c, block_rows);
        let scores = &mut self.scores.as_mut_slice()[..layout.len()];
        match pass.path {
            Path::Direct => {
                direct::scores::<L>(proof, &rows, pass.weights, scores, block_rows);
            }
            Path::Packed => {
                let panels = self.panels.as_mut_slice();
                packed::pack_rows::<L>(proof, &rows, panels, block_rows);
                packed::scores::<L>(proof, panels, n, block_rows, pass.weights, scores);
            }
        }
        if !layout.all_finite(scores, n) {
            let finite = |i: usize| (0..c).all(|k| scores[layout.index(i, k)].is_finite());
            let i = (0..n).find(|&i| !finite(i)).expect("a score that is not finite");
            at_fault = Some(diagnose::score(pass.model, batch, row_of(i)));
            n = i;
        }

        let padded = layout.pad(scores, n);
        let labels = &mut self.labels.as_mut_slice()[..padded];
        let weights = &mut self.weights.as_mut_slice()[..padded];
        let losses = &mut self.losses.as_mut_slice()[..padded];
        labels[n..].fill(T::default());
        weights[n..].fill(T::default());
        match batch.sample_weights() {
            None => weights[..n].fill(T::from_f64(1.0)),
            Some(all) => (0..n).for_each(|i| weights[i] = all[row_of(i)]),
        }
        for (i, label) in labels[..n].iter_mut().enumerate() {
            let score = &mut scores[layout.index(i, label_of(i) as usize)];
            *label = core::mem::replace(score, T::from_f64(f64::NEG_INFINITY));
        }

        let samples = Samples { scores, labels, weights, losses };
        match pass.loss {
            Loss::Hinge { margin } => {
                layout.evaluate::<L, T>(proof, samples, Hinge { margin }, pass.gradient);
            }
            Loss::CrossEntropy => {
                layout.evaluate::<L, T>(proof, samples, CrossEntropy, pass.gradient);
            }
        }

        let scores = &mut self.scores.as_mut_slice()[..layout.len()];
        let labels = self.labels.as_slice();
        let (weights, losses) = (self.weights.as_slice(), self.losses.as_slice());
        // By blocks, as a long running sum of equal terms drifts even in `f64`.
        let mut block_loss = 0.0;
        for i in 0..n {
            block_loss += weights[i].to_f64() * losses[i].to_f64();
            if !losses[i].is_finite() || !(self.loss + block_loss).is_finite() {
                return Err(Error::NonFinite { row: row_of(i), cause: NonFinite::Loss });
            }
        }
        self.loss += block_loss;
        if let Some(error) = at_fault {
            return Err(error);
        }

        if pass.gradient {
            for (i, label) in labels[..n].iter().enumerate() {
                scores[layout.index(i, label_of(i) as usize)] = *label;
            }
            layout.add_bias_gradient::<L, T>(
                proof,
                scores,
                padded,
                self.bias_gradient.as_mut_slice(),
            );
            let (dw, d) = (self.gradient.as_mut_slice(), batch.n_features());
            let dw_stride = gradient_stride(d);
            match pass.path {
                Path::Direct => {
                    direct::accumulate::<L>(proof, &rows, scores, block_rows, c, dw, dw_stride);
                }
                Path::Packed => {
                    let x = self.panels.as_slice();
                    packed::accumulate::<L>(proof, scores, c, x, d, n, block_rows, dw, dw_stride);
                }
            }
        }
        Ok(())
    }
}
