//! The work of one task: block by block, rows are scored, the scores turned into losses and their
//! derivatives, and those folded into the task's own gradient, while the block is in cache.

use crate::{
    Batch, Error, Loss, NonFinite, Scalar,
    buffer::Buffer,
    diagnose,
    kernel::{self, PackedWeights, RowBlock, block_rows},
    loss::{CrossEntropy, Hinge, Samples},
    simd::{Lanes, Run},
};
use core::ops::Range;

/// The widest vector: blocks are padded to a multiple of it.
const MAX_LANES: usize = 16;

/// The scratch memory of a task and, afterwards, its sums.
#[derive(Debug, Default)]
pub(crate) struct Task<T> {
    offsets: Vec<usize>,
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
    pub(crate) loss: Loss,
    pub(crate) model: &'a crate::LinearModel<T>,
    pub(crate) weights: &'a PackedWeights<T>,
    pub(crate) batch: &'a Batch<'a, T>,
    pub(crate) gradient: bool,
}

impl<T: Scalar> Task<T> {
    /// Makes room for blocks of a shape.
    pub(crate) fn resize(&mut self, n_classes: usize, n_features: usize, gradient: bool) {
        let rows = block_rows::<T>(n_features);
        self.offsets.resize(2 * rows, 0);
        self.scores.resize(n_classes * rows);
        self.labels.resize(rows);
        self.weights.resize(rows);
        self.losses.resize(rows);
        if gradient {
            self.gradient.resize(n_classes * gradient_stride(n_features));
            self.bias_gradient.resize(n_classes);
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
    pub(crate) fn bias_gradient(&self) -> &[f64] {
        self.bias_gradient.as_slice()
    }
}

/// Features are padded to whole vectors, so that the gradient is added to without regard to tails.
fn gradient_stride(n_features: usize) -> usize {
    n_features.next_multiple_of(MAX_LANES)
}

/// A task at its samples.
pub(crate) struct RunTask<'a, T> {
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
        let rows = block_rows::<T>(pass.batch.n_features());
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
        let scores = self.scores.as_mut_slice();
        let stride = scores.len() / c;
        kernel::scores::<L>(proof, &rows, pass.weights, scores, stride);

        let all_finite = |n: usize, scores: &[T]| {
            let finite = |class: &[T]| class[..n].iter().fold(true, |all, s| all & s.is_finite());
            scores.chunks_exact(stride).fold(true, |all, class| all & finite(class))
        };
        if !all_finite(n, scores) {
            let finite = |i: usize| scores.iter().skip(i).step_by(stride).all(|s| s.is_finite());
            let i = (0..n).find(|&i| !finite(i)).expect("a score that is not finite");
            at_fault = Some(diagnose::score(pass.model, batch, row_of(i)));
            n = i;
        }

        let padded = n.next_multiple_of(L::LANES);
        let labels = &mut self.labels.as_mut_slice()[..padded];
        let weights = &mut self.weights.as_mut_slice()[..padded];
        let losses = &mut self.losses.as_mut_slice()[..padded];
        for class in scores.chunks_exact_mut(stride) {
            class[n..padded].fill(T::default());
        }
        labels[n..].fill(T::default());
        weights[n..].fill(T::default());
        match batch.sample_weights() {
            None => weights[..n].fill(T::from_f64(1.0)),
            Some(all) => (0..n).for_each(|i| weights[i] = all[row_of(i)]),
        }
        for (i, label) in labels[..n].iter_mut().enumerate() {
            let score = &mut scores[label_of(i) as usize * stride + i];
            *label = core::mem::replace(score, T::from_f64(f64::NEG_INFINITY));
        }

        let block = Samples { scores, stride, labels, weights, losses };
        match pass.loss {
            Loss::Hinge { margin } => block.evaluate::<L>(proof, Hinge { margin }, pass.gradient),
            Loss::CrossEntropy => block.evaluate::<L>(proof, CrossEntropy, pass.gradient),
        }

        let (scores, labels) = (self.scores.as_mut_slice(), self.labels.as_slice());
        let (weights, losses) = (self.weights.as_slice(), self.losses.as_slice());
        for i in 0..n {
            self.loss += weights[i].to_f64() * losses[i].to_f64();
            if !losses[i].is_finite() || !self.loss.is_finite() {
                return Err(Error::NonFinite { row: row_of(i), cause: NonFinite::Loss });
            }
        }
        if let Some(error) = at_fault {
            return Err(error);
        }

        if pass.gradient {
            for (i, label) in labels[..n].iter().enumerate() {
                scores[label_of(i) as usize * stride + i] = *label;
            }
            let sums = self.bias_gradient.as_mut_slice();
            for (sum, ds) in sums.iter_mut().zip(scores.chunks_exact(stride)) {
                *sum += ds[..n].iter().map(|ds| ds.to_f64()).sum::<f64>();
            }
            let dw = self.gradient.as_mut_slice();
            let dw_stride = gradient_stride(batch.n_features());
            kernel::accumulate::<L>(proof, &rows, scores, stride, c, dw, dw_stride);
        }
        Ok(())
    }
}
