//! Predictions: one pass over blocks of rows, whose scores become what is asked for while they are in cache.
//! Nothing but the answer is kept: the memory beside it does not depend on the number of samples.

use crate::{
    Batch, Error, Features, Isa, LinearModel, Scalar,
    buffer::Buffer,
    diagnose,
    element::Element,
    kernel::{Copies, PackedWeights, Plan, PlanKind, Shape, pack, with_plan},
    loss::softmax,
    parallel::for_each_chunk,
    scores::ScoreBlock,
    simd::{Lanes, MAX_LANES, Run},
};
use core::ops::Range;

/// The samples to predict: all rows of some [`Features`], such as a [`MatrixView`](crate::MatrixView), or the selected rows of a batch, in the order of the selection.
/// Made by `into`, which the functions that take it call themselves.
///
/// ```
/// use softmargin::{Batch, LinearModel, MatrixView};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let model = LinearModel::from_parameters(2, 1, vec![-1.0_f32, 1.0, 0.0, 0.0])?;
/// let x = MatrixView::new(&[3.0_f32, -2.0, 1.0], 3, 1)?;
/// assert_eq!(model.predict(x)?, [1, 0, 1]);
///
/// let batch = Batch::<f32>::new(x, &[1, 0, 0])?;
/// assert_eq!(model.predict(&batch.select(&[1, 0])?)?, [0, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a, T>(Batch<'a, T>);

impl<'a, T: Scalar, F: Into<Features<'a, T>>> From<F> for Samples<'a, T> {
    fn from(features: F) -> Self {
        Self(Batch::unlabelled(features.into()))
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
/// let batch = Batch::<f32>::new(MatrixView::new(&[3.0_f32, -2.0, 1.0], 3, 1)?, &[1, 0, 0])?;
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
        let (n, c) = (batch.n_samples(), model.n_classes());
        let rows = job_rows(n);
        let job = |(i, output)| {
            let samples = i * rows..n.min((i + 1) * rows);
            Job { samples, output, not_finite: None }
        };
        let mut jobs: Vec<Job<'o, T>> = outputs.enumerate().map(job).collect();
        let mut weights = PackedWeights::default();
        let plan = PlanKind::choose(batch, c);
        pack(isa, plan, model, batch.features().scaling(), &mut weights);
        let shape = Shape { n_samples: n, n_features: batch.n_features(), n_classes: c };
        let block_rows = plan.block_rows::<T>(shape).min(score_rows::<T>(c));
        let pass = Pass { plan, block_rows, weights: &weights, batch };
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
    n_samples.div_ceil(64).next_multiple_of(MAX_LANES).max(256)
}

/// The scores of a block take up no more than this, unless a single vector of samples does.
const SCORE_BYTES: usize = 8 << 20;

/// The rows of a block, whole vectors.
fn score_rows<T>(n_classes: usize) -> usize {
    let rows = SCORE_BYTES / size_of::<T>() / n_classes;
    rows.max(MAX_LANES) / MAX_LANES * MAX_LANES
}

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
    plan: PlanKind,
    block_rows: usize,
    weights: &'a PackedWeights<T>,
    batch: &'a Batch<'a, T>,
}

/// A job, and what it needs.
pub struct RunJob<'a, 'o, T> {
    job: &'a mut Job<'o, T>,
    pass: &'a Pass<'a, T>,
}

impl<T: Element> Run<T> for RunJob<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        with_plan!(self.pass.plan, plan => L::call(proof, Planned(plan, self)));
    }
}

/// A job with its plan.
struct Planned<'a, 'o, P, T>(P, RunJob<'a, 'o, T>);

impl<T: Element, P: Plan> Run<T> for Planned<'_, '_, P, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self(plan, RunJob { job, pass: &Pass { block_rows, weights, batch, .. } }) = self;
        let (mut copies, mut memory) = (Copies::default(), Buffer::default());
        copies.reading.begin(&batch.features());
        for first in job.samples.clone().step_by(block_rows) {
            let block = first..job.samples.end.min(first + block_rows);
            let ahead = job.samples.end.min(block.end + block_rows);
            let samples = batch.samples(block.clone(), ahead);
            let mut x = plan.load::<L>(proof, &samples, &mut copies, false);
            let mut scores = plan.scores::<L>(proof, &mut x, weights, &mut memory);
            if let Some(i) = scores.first_not_finite() {
                job.not_finite = Some(first + i);
                return;
            }
            scores.pad::<L>();
            let at = first - job.samples.start;
            job.output.take::<L, _>(proof, &mut scores, batch, block, at);
        }
    }
}

impl<T: Element> Output<'_, T> {
    /// Takes the scores of a block, which begins at the sample `at` of the output.
    #[inline(always)]
    fn take<L: Lanes<Elem = T>, S: ScoreBlock<Elem = T>>(
        &mut self,
        proof: L::Proof,
        block: &mut S,
        batch: &Batch<'_, T>,
        samples: Range<usize>,
        at: usize,
    ) {
        let (n, c) = (block.n_samples(), block.n_classes());
        match self {
            Output::Scores { scores, softmax: of_scores } => {
                if *of_scores {
                    softmax::<L, _>(proof, block);
                }
                block.write_rows(&mut scores[at * c..][..n * c]);
            }
            Output::Labels(labels) => block.write_argmax::<L>(proof, &mut labels[at..][..n]),
            Output::Right(right) => {
                let mut labels = vec![0; n];
                block.write_argmax::<L>(proof, &mut labels);
                let rows = samples.map(|i| batch.row_index(i));
                let hits = rows.zip(labels).filter(|(row, label)| batch.labels()[*row] == *label);
                *right += hits.map(|(row, _)| batch.weight(row).to_f64()).sum::<f64>();
            }
        }
    }
}
