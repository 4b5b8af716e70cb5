//! Predictions: one pass over blocks of rows, whose scores become what is asked for while they are in cache.
//! Nothing but the answer is kept: the memory beside it does not depend on the number of samples.

use crate::{
    Batch, Error, Isa, LinearModel, MatrixView, Scalar,
    buffer::Buffer,
    diagnose,
    kernel::{Block, Gather, Layout, Pack, PackedWeights, Path, columns, direct, packed},
    loss::Scores,
    parallel::for_each_chunk,
    simd::{Lanes, Run, math},
};
use core::ops::Range;

/// The samples to predict: the rows of a matrix, or the selected rows of a batch, in the order of the selection.
/// Made by `into`, which the functions that take it call themselves.
///
/// ```
/// use softmargin::{Batch, LinearModel, MatrixView};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let model = LinearModel::from_parameters(2, 1, vec![-1.0_f32, 1.0, 0.0, 0.0])?;
/// let x = MatrixView::new(&[3.0, -2.0, 1.0], 3, 1)?;
/// assert_eq!(model.predict(x)?, [1, 0, 1]);
///
/// let batch = Batch::new(x, &[1, 0, 0])?;
/// assert_eq!(model.predict(&batch.select(&[1, 0])?)?, [0, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a, T>(Batch<'a, T>);

impl<'a, T: Scalar> From<MatrixView<'a, T>> for Samples<'a, T> {
    fn from(features: MatrixView<'a, T>) -> Self {
        Self(Batch::unlabelled(features))
    }
}

impl<'a, T: Scalar> From<&Batch<'a, T>> for Samples<'a, T> {
    fn from(batch: &Batch<'a, T>) -> Self {
        Self(*batch)
    }
}

/// Predicts with a model, on an instruction set of one's choice. [`LinearModel::scores`],
/// [`predict`](LinearModel::predict) and [`predict_proba`](LinearModel::predict_proba) take the best one.
///
/// ```
/// use softmargin::{Batch, Isa, LinearModel, MatrixView, Predictor};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let model = LinearModel::from_parameters(2, 1, vec![-1.0_f32, 1.0, 0.0, 0.0])?;
/// let batch = Batch::new(MatrixView::new(&[3.0, -2.0, 1.0], 3, 1)?, &[1, 0, 0])?;
/// let predictor = Predictor::new(&model).with_isa("portable".parse::<Isa>()?);
/// assert_eq!(predictor.predict(&batch)?, [1, 0, 1]);
/// assert_eq!(predictor.accuracy(&batch)?, 2.0 / 3.0);
/// # Ok(())
/// # }
/// ```
///
/// All methods take O(N D C), return [`Error::Features`] for rows of another length than those that the model
/// was made for, [`Error::NoFeatures`], [`Error::NoClasses`], and [`Error::NonFinite`] if a score is not finite,
/// and look at no row that is not selected.
#[derive(Clone, Copy, Debug)]
pub struct Predictor<'a, T> {
    model: &'a LinearModel<T>,
    isa: Isa,
}

impl<'a, T: Scalar> Predictor<'a, T> {
    /// Predicts with `model`, and the best instruction set of this machine.
    pub fn new(model: &'a LinearModel<T>) -> Self {
        Self { model, isa: Isa::detect() }
    }

    /// Uses the given instruction set instead.
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The scores s = W x + b of every sample, N × C in row-major order.
    ///
    /// # Errors
    /// See above; and [`Error::SizeOverflow`] if N × C numbers are more than memory can hold.
    pub fn scores<'x>(&self, samples: impl Into<Samples<'x, T>>) -> Result<Vec<T>, Error> {
        self.matrix(&samples.into().0, false)
    }

    /// softmax(s) of every sample, N × C in row-major order: the probabilities of a model trained with
    /// cross-entropy.
    ///
    /// # Errors
    /// As [`scores`](Self::scores).
    pub fn predict_proba<'x>(&self, samples: impl Into<Samples<'x, T>>) -> Result<Vec<T>, Error> {
        self.matrix(&samples.into().0, true)
    }

    /// The class with the largest score for every sample; the first one of equals.
    ///
    /// # Errors
    /// See above.
    pub fn predict<'x>(&self, samples: impl Into<Samples<'x, T>>) -> Result<Vec<u32>, Error> {
        let batch = samples.into().0;
        let mut labels = vec![0; batch.n_samples()];
        let rows = job_rows(batch.n_samples());
        self.run(&batch, labels.chunks_mut(rows).map(Output::Labels))?;
        Ok(labels)
    }

    /// The share of the samples for which the model predicts the label, each sample counting by its weight:
    /// Σ wᵢ over those, divided by Z. A label that is no class of the model is not predicted.
    ///
    /// # Errors
    /// See above.
    pub fn accuracy(&self, batch: &Batch<'_, T>) -> Result<f64, Error> {
        let n_jobs = batch.n_samples().div_ceil(job_rows(batch.n_samples()));
        let jobs = self.run(batch, (0..n_jobs).map(|_| Output::Right(0.0)))?;
        let right = jobs.iter().map(|job| match job.output {
            Output::Right(weight) => weight,
            _ => 0.0,
        });
        Ok(right.sum::<f64>() / batch.total_weight())
    }

    fn matrix(&self, batch: &Batch<'_, T>, softmax: bool) -> Result<Vec<T>, Error> {
        let (n, c) = (batch.n_samples(), self.model.n_classes());
        let overflow = Error::SizeOverflow { rows: n, row_stride: c };
        let size = n.checked_mul(c).filter(|size| size.checked_mul(size_of::<T>()).is_some());
        let mut matrix = vec![T::default(); size.ok_or(overflow)?];
        let parts = matrix.chunks_mut((job_rows(n) * c).max(1));
        self.run(batch, parts.map(|scores| Output::Scores { scores, softmax }))?;
        Ok(matrix)
    }

    /// Fills the outputs, each of which is for as many samples as the others.
    fn run<'o>(
        &self,
        batch: &Batch<'_, T>,
        outputs: impl Iterator<Item = Output<'o, T>>,
    ) -> Result<Vec<Job<'o, T>>, Error> {
        let Self { model, isa } = *self;
        model.check_features(batch.n_features())?;
        let (n, path) = (batch.n_samples(), Path::of(batch, model.n_classes()));
        let rows = job_rows(n);
        let job = |(i, output)| {
            let samples = i * rows..n.min((i + 1) * rows);
            Job { samples, output, not_finite: None }
        };
        let mut jobs: Vec<Job<'o, T>> = outputs.enumerate().map(job).collect();
        let mut weights = PackedWeights::default();
        T::pack(isa, Pack { path, model, weights: &mut weights });
        let pass = Pass { path, weights: &weights, batch };
        for_each_chunk(&mut jobs, 1, |_, jobs| {
            T::predict(isa, RunJob { job: &mut jobs[0], pass: &pass });
        });
        match jobs.iter().find_map(|job| job.not_finite) {
            Some(i) => Err(diagnose::score(model, batch, batch.row_index(i))),
            None => Ok(jobs),
        }
    }
}

/// The samples of a job: as many as are worth a thread, and no fewer than a 64th.
fn job_rows(n_samples: usize) -> usize {
    n_samples.div_ceil(64).next_multiple_of(ROW_MULTIPLE).max(256)
}

/// Blocks are whole numbers of the widest vectors,
const ROW_MULTIPLE: usize = 16;

/// and their scores take up no more than this, unless a single vector of samples does.
const SCORE_BYTES: usize = 8 << 20;

/// What becomes of the scores of some samples.
enum Output<'a, T> {
    Scores {
        scores: &'a mut [T],
        softmax: bool,
    },
    Labels(&'a mut [u32]),
    /// The weight of those whose label is predicted.
    Right(f64),
}

/// Some of the samples.
struct Job<'a, T> {
    samples: Range<usize>,
    output: Output<'a, T>,
    /// The first sample with a score that is not finite.
    not_finite: Option<usize>,
}

/// What all jobs share.
struct Pass<'a, T> {
    path: Path,
    weights: &'a PackedWeights<T>,
    batch: &'a Batch<'a, T>,
}

/// A job, and what it needs.
pub struct RunJob<'a, 'o, T> {
    job: &'a mut Job<'o, T>,
    pass: &'a Pass<'a, T>,
}

impl<T: Scalar> Run<T> for RunJob<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { job, pass: &Pass { path, weights, batch } } = self;
        let (c, d) = (weights.n_classes(), batch.n_features());
        let most = (SCORE_BYTES / size_of::<T>() / c).max(ROW_MULTIPLE);
        let rows = path.block_rows::<T>(d).min(most / ROW_MULTIPLE * ROW_MULTIPLE);
        let layout = Layout::of::<L>(path, c, rows);
        let (mut gather, mut panels, mut buffer) =
            (Gather::default(), Buffer::default(), Buffer::default());
        gather.resize(path, batch, rows);
        panels.resize(if path == Path::Packed { (d + packed::MAX_WIDTH) * rows } else { 0 });
        buffer.resize(layout.len());
        let (panels, scores) = (panels.as_mut_slice(), buffer.as_mut_slice());

        for first in job.samples.clone().step_by(rows) {
            let range = first..job.samples.end.min(first + rows);
            let (n, end) = (range.len(), job.samples.end.min(range.end + rows));
            let block = gather.block::<L>(proof, path, batch, range.clone(), end);
            match (path, block.expect("a copy of the right size")) {
                (Path::Packed, block) => {
                    match block {
                        Block::Rows(block) => packed::pack_rows::<L>(proof, &block, panels, rows),
                        Block::Columns(block) => {
                            packed::pack_columns::<L>(proof, &block, panels, rows);
                        }
                    }
                    packed::scores::<L>(proof, panels, n, rows, weights, scores);
                }
                (_, Block::Rows(block)) => {
                    direct::scores::<L>(proof, &block, weights, scores, rows);
                }
                (_, Block::Columns(block)) => {
                    columns::scores::<L>(proof, &block, weights, scores, rows);
                }
            }
            if !layout.all_finite(scores, n) {
                let finite = |i: usize| (0..c).all(|k| scores[layout.index(i, k)].is_finite());
                job.not_finite = (0..n).find(|&i| !finite(i)).map(|i| first + i);
                return;
            }
            layout.pad(scores, n);
            let block =
                ScoredBlock { path, layout, scores, c, range, at: first - job.samples.start };
            L::call(proof, Write { block, batch, output: &mut job.output });
        }
    }
}

/// The scores of a block, finite and padded.
struct ScoredBlock<'a, T> {
    path: Path,
    layout: Layout,
    scores: &'a mut [T],
    c: usize,
    range: Range<usize>,
    /// Where the block begins in the output of its job.
    at: usize,
}

/// Turns the scores of a block into what is asked for.
struct Write<'a, 'o, T> {
    block: ScoredBlock<'a, T>,
    batch: &'a Batch<'a, T>,
    output: &'a mut Output<'o, T>,
}

impl<T: Scalar> Run<T> for Write<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { mut block, batch, output } = self;
        let (n, c, at) = (block.range.len(), block.c, block.at);
        match output {
            Output::Scores { scores, softmax } => {
                if *softmax {
                    block.softmax::<L>(proof);
                }
                block.write_rows::<L>(&mut scores[at * c..][..n * c]);
            }
            Output::Labels(labels) => block.write_labels::<L>(proof, &mut labels[at..][..n]),
            Output::Right(right) => {
                let mut labels = vec![0; n];
                let rows = block.range.clone().map(|i| batch.row_index(i));
                block.write_labels::<L>(proof, &mut labels);
                for (row, _) in
                    rows.zip(labels).filter(|(row, label)| batch.labels()[*row] == *label)
                {
                    *right += batch.weight(row).to_f64();
                }
            }
        }
    }
}

impl<T: Scalar> ScoredBlock<'_, T> {
    /// Row-major scores, or whatever has taken their place.
    #[inline(always)]
    fn write_rows<L: Lanes<Elem = T>>(&self, target: &mut [T]) {
        let Self { layout, c, .. } = *self;
        if self.path == Path::Packed {
            for (i, target) in target.chunks_exact_mut(c).enumerate() {
                let width = packed::panel_width::<L>();
                for (panel, target) in target.chunks_mut(width).enumerate() {
                    let source = &self.scores[layout.index(i, panel * width)..];
                    target.copy_from_slice(&source[..target.len()]);
                }
            }
            return;
        }
        // As many rows at a time as there are elements in a cache line, each of which is then read once.
        for (first, target) in (0..).step_by(ROW_MULTIPLE).zip(target.chunks_mut(ROW_MULTIPLE * c))
        {
            let n = target.len() / c;
            for k in 0..c {
                let source = &self.scores[layout.index(first, k)..][..n];
                source.iter().enumerate().for_each(|(i, score)| target[i * c + k] = *score);
            }
        }
    }

    /// The first of the largest scores of each sample.
    #[inline(always)]
    fn write_labels<L: Lanes<Elem = T>>(&mut self, proof: L::Proof, labels: &mut [u32]) {
        let (layout, c, n) = (self.layout, self.c, labels.len());
        let lowest = T::from_f64(f64::NEG_INFINITY);
        labels.fill(0);
        if self.path == Path::Packed {
            let width = packed::panel_width::<L>();
            for (first, labels) in (0..n).step_by(L::LANES).zip(labels.chunks_mut(L::LANES)) {
                let mut largest = [lowest; ROW_MULTIPLE];
                let max = layout.by_sample(self.scores, first, n);
                Scores::<L>::max(&max, proof, L::splat(proof, lowest)).write_to(&mut largest);
                for (i, (label, largest)) in labels.iter_mut().zip(largest).enumerate() {
                    *label = (0..c)
                        .step_by(width)
                        .find_map(|k| {
                            let scores = &self.scores[layout.index(first + i, k)..][..width];
                            scores.iter().position(|s| *s == largest).map(|lane| (k + lane) as u32)
                        })
                        .expect("the largest score is one of them");
                }
            }
            return;
        }
        let mut largest = vec![lowest; n];
        for k in 0..c {
            let scores = &self.scores[layout.index(0, k)..][..n];
            for ((score, largest), label) in scores.iter().zip(&mut largest).zip(&mut *labels) {
                let larger = *score > *largest;
                *largest = if larger { *score } else { *largest };
                *label = if larger { k as u32 } else { *label };
            }
        }
    }

    /// Replaces the scores by their softmax.
    #[inline(always)]
    fn softmax<L: Lanes<Elem = T>>(&mut self, proof: L::Proof) {
        let n = self.range.len();
        for first in (0..n).step_by(L::LANES) {
            match self.layout.by_class(self.scores, first) {
                Some(scores) => softmax::<L>(proof, scores),
                None => softmax::<L>(proof, self.layout.by_sample(self.scores, first, n)),
            }
        }
    }
}

/// e^{s_k − m} / Σ e^{s_j − m} of a vector of samples, with m the largest score of each.
#[inline(always)]
fn softmax<L: Lanes>(p: L::Proof, mut scores: impl Scores<L>) {
    let max = scores.max(p, L::splat(p, L::Elem::from_f64(f64::NEG_INFINITY)));
    let [sum] = scores.update(p, [max], true, |score, [max]| {
        let e = math::exp(p, score - max);
        (e, [e])
    });
    let [] = scores.update(p, [sum], true, |e, [sum]| (e / sum, []));
}
