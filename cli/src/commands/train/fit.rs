//! Runs the solver that was asked for, over all samples or over those that are not held out.

use super::{Solver, Train, checkpoint::CheckpointFile, ranks::Leader};
use crate::{
    apply::{Applied, that_counts, weighted},
    data::{Classes, Dataset},
    interrupt,
    metrics::Metrics,
    model_file::Parameters,
    progress::Reporter,
    units,
};
use anyhow::{Context, Result, bail};
use softmargin::{
    Batch, Error, Evaluator, Features, Isa, LinearModel, MatrixView, Partial,
    train::{
        self, CrossValidation, EarlyStopping, Fold, PathPoint, Progress, Resumable, StopReason,
        Summary, Sums,
    },
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::{ControlFlow, Range},
    time::Instant,
};

/// What is trained on.
pub(super) struct Samples<'a> {
    pub(super) data: &'a mut Dataset,
    pub(super) classes: &'a Classes,
    /// The class of each sample.
    pub(super) labels: &'a [u32],
    /// What the samples of each class count.
    pub(super) class_weights: Option<Vec<f32>>,
    /// Which of them may be trained on and held out.
    pub(super) folds: &'a [Fold],
    /// The fold that is, if not all are trained on.
    pub(super) fold: Option<usize>,
    /// What has other processes compute sums over their parts of the samples, where there are some.
    pub(super) leader: Option<&'a Leader<'a>>,
}

/// One of the two of a fold.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    Training,
    HeldOut,
}

/// A trained model and how it came about.
pub(super) struct Fit {
    pub(super) model: LinearModel<f32>,
    pub(super) summary: Summary,
    /// The λ that was used, or chosen.
    pub(super) l2: f64,
    /// The fits for all λ that were tried.
    pub(super) path: Vec<PathPoint<f32>>,
    /// What chose λ, if cross-validation did, and the seconds it took.
    pub(super) cross_validation: Option<(CrossValidation, f64)>,
    /// Where the solver was after so many seconds.
    pub(super) history: Vec<(f64, Progress)>,
    /// Where the solver went on from a checkpoint, if it did.
    pub(super) resumed: Option<Progress>,
    pub(super) seconds: f64,
    pub(super) validation_loss: Option<f64>,
}

impl Samples<'_> {
    /// All of them, of which the features are in memory.
    pub(super) fn batch(&self) -> Result<Batch<'_, f32>> {
        let features = self.data.view().context("the features are not in memory")?;
        let batch = Batch::new(features, self.labels)?;
        Ok(weighted(batch, self.data.weights.as_deref(), self.class_weights.as_deref())?)
    }

    /// Those that are trained on, of which the features are in memory.
    pub(super) fn training_batch(&self) -> Result<Batch<'_, f32>> {
        let batch = self.batch()?;
        Ok(self.rows_of(Part::Training).map_or(Ok(batch), |rows| batch.select(rows))?)
    }

    /// The rows of a part, unless these are all.
    pub(super) fn rows_of(&self, part: Part) -> Option<&[u32]> {
        self.fold().map(|fold| match part {
            Part::Training => &fold.training[..],
            Part::HeldOut => &fold.validation[..],
        })
    }

    /// Which of them are trained on and held out, unless all are trained on.
    fn fold(&self) -> Option<&Fold> {
        self.folds.get(self.fold?)
    }

    /// What went wrong, of which a rank may know more than the error says.
    pub(super) fn explain(&self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let lost = self.leader.and_then(Leader::lost);
        lost.unwrap_or_else(|| self.data.explain(error))
    }

    /// Those of a part among some rows of which the features are at hand; none if they count nothing. `places` is room for
    /// where they are.
    pub(super) fn batch_of<'a>(
        &'a self,
        part: Part,
        rows: Range<usize>,
        x: Features<'a, f32>,
        places: &'a mut Vec<u32>,
    ) -> Result<Option<Batch<'a, f32>>, Error> {
        let batch = Batch::new(x, &self.labels[rows.clone()])?;
        let weights = self.data.weights.as_ref().map(|weights| &weights[rows.clone()]);
        let batch = that_counts(weighted(batch, weights, self.class_weights.as_deref()))?;
        let (Some(batch), Some(chosen)) = (batch, self.rows_of(part)) else { return Ok(batch) };
        let before = |end: usize| chosen.partition_point(|row| (*row as usize) < end);
        places.clear();
        let here = chosen[before(rows.start)..before(rows.end)].iter();
        places.extend(here.map(|row| *row - rows.start as u32));
        if places.is_empty() { Ok(None) } else { that_counts(batch.select(places)) }
    }

    /// What they are, in words: for ranks that are to have the same ones, and for a fit that goes on with them.
    pub(super) fn describe(&self, isa: Isa) -> String {
        let (data, classes) = (&self.data, self.classes);
        let mut hasher = DefaultHasher::new();
        (self.labels, classes.labels()).hash(&mut hasher);
        for weights in [&data.weights, &self.class_weights] {
            weights.iter().flatten().for_each(|weight| weight.to_bits().hash(&mut hasher));
        }
        let labels = hasher.finish();
        let mut hasher = DefaultHasher::new();
        self.folds.iter().for_each(|fold| fold.validation.hash(&mut hasher));
        let held_out = match self.folds {
            [] => String::new(),
            _ => format!(" held-out rows that hash to {:016x},", hasher.finish()),
        };
        format!(
            "{} samples of {} features, {} classes, labels that hash to {labels:016x},{held_out} and {isa}",
            data.n_samples,
            data.n_features,
            classes.n(),
        )
    }

    /// How well a model predicts those that are trained on and those that are held out, if there are some.
    pub(super) fn measure(
        &self,
        model: &LinearModel<f32>,
        isa: Isa,
    ) -> Result<(Metrics, Option<Metrics>)> {
        let (data, labels) = (&*self.data, self.labels);
        if let Some(leader) = self.leader {
            return leader.measure(model, isa, data, labels, self.fold());
        }
        let parameters = Parameters::F32(model.clone());
        let applied = Applied { parameters: &parameters, isa };
        Ok(match self.fold() {
            None => (applied.measure(data, labels)?, None),
            Some(fold) => {
                let measured = applied.measure_parts(data, labels, &fold.validation)?;
                (measured.0, Some(measured.1))
            }
        })
    }

    /// Adds up the samples of a part chunk by chunk, but those that count nothing; or those of all ranks. Returns their
    /// number.
    fn sum(
        &self,
        part: Part,
        sums: &Sums<'_, f32>,
        evaluator: &mut Evaluator<f32>,
        partial: &mut Partial<f32>,
    ) -> Result<u64, Error> {
        if let Some(leader) = self.leader {
            return leader.sum(self, part, sums, evaluator, partial);
        }
        let (mut n_samples, mut places) = (0, Vec::new());
        self.data.for_each_chunk(|rows, x| {
            let Some(batch) = self.batch_of(part, rows, x, &mut places)? else { return Ok(()) };
            n_samples += batch.n_samples() as u64;
            sums.add(evaluator, &batch, partial)
        })?;
        Ok(n_samples)
    }
}

/// Samples that the curvature is learnt from, where the features are not in memory.
const MAX_SAMPLE: usize = 20_000;

/// What a solver calls after every step.
pub(super) type Report<'a> = &'a mut dyn FnMut(&Progress, &LinearModel<f32>) -> ControlFlow<()>;

impl Train {
    /// Trains, from `model` on, or from a checkpoint.
    ///
    /// # Errors
    /// If the solver fails: what it leaves is no model then.
    pub(super) fn fit(
        &self,
        samples: &mut Samples<'_>,
        mut model: LinearModel<f32>,
        checkpoint: Option<CheckpointFile<'_>>,
    ) -> Result<Fit> {
        let (total, unit) = match self.solver() {
            Solver::Lbfgs | Solver::Newton => (self.max_iter, "iteration"),
            Solver::Sgd => (self.sgd().epochs, "epoch"),
            Solver::Dual => (self.dual().max_epochs, "epoch"),
        };
        if !self.solver().takes_sums() {
            samples.data.load_rows()?;
        } else if self.cv.is_some() && samples.leader.is_none() {
            samples.data.load()?;
        }
        let interrupted = interrupt::watch()?;
        let start = Instant::now();
        let cross_validation = self.cross_validate(samples, &model, &interrupted)?;
        let cross_validation = cross_validation.map(|cv| (cv, start.elapsed().as_secs_f64()));
        let resumed = checkpoint.as_ref().and_then(CheckpointFile::progress);
        let mut reporter = Reporter::new(total, unit, resumed.map_or(0, |from| from.samples));
        let start = Instant::now();
        let mut history: Vec<(f64, Progress)> = Vec::new();
        let mut report = |progress: &Progress, _: &LinearModel<f32>| {
            reporter.report(progress);
            if history.last().is_none_or(|(_, last)| last.iteration != progress.iteration) {
                history.push((start.elapsed().as_secs_f64(), *progress));
            }
            if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };

        let samples = &*samples;
        let explain = |error| samples.explain(error);
        let given = self.objective.objective(None).l2();
        let mut l2 = cross_validation.as_ref().map_or(given, |(cv, _)| cv.best().l2);
        let mut path = Vec::new();
        let mut validation_loss = None;
        let summary = match samples.fold() {
            None => {
                let fit = self.resumable(checkpoint, |resumable| {
                    self.minimize(l2, &mut model, samples, resumable, &mut report)
                });
                fit.map_err(explain)?
            }
            Some(_) if !self.l2_path.is_empty() => {
                path = self.path(&model, samples, &mut report).map_err(explain)?;
                let best = train::best_of(&path).context("a path of no λ")?;
                (l2, model) = (best.l2, best.model.clone());
                validation_loss = Some(best.validation_loss);
                let last = path.last().map_or(best.summary, |point| point.summary);
                match last.stop_reason {
                    // Not all λ were tried.
                    StopReason::Interrupted => {
                        Summary { stop_reason: StopReason::Interrupted, ..best.summary }
                    }
                    _ => best.summary,
                }
            }
            Some(fold) => {
                let stopping = if self.sees_all(samples) {
                    let held_out = samples.batch()?.select(&fold.validation)?;
                    EarlyStopping::new(&self.evaluator(), held_out, self.patience)
                } else {
                    EarlyStopping::of_loss(self.held_out_loss(samples), self.patience)
                };
                let validated = self.resumable(checkpoint, |resumable| {
                    stopping.fit_resumable(
                        resumable,
                        &mut model,
                        |resumable, model, check| {
                            self.minimize(l2, model, samples, resumable, check)
                        },
                        &mut report,
                    )
                });
                let validated = validated.map_err(explain)?;
                validation_loss = Some(validated.validation_loss);
                let best = validated.best;
                let progress = Progress {
                    objective: best.objective,
                    gradient_norm: best.gradient_norm,
                    ..validated.summary.progress
                };
                // The gap is that of the last model.
                let is_last = best.iteration == validated.summary.progress.iteration;
                let gap = validated.summary.gap.filter(|_| is_last);
                Summary { progress, gap, ..validated.summary }
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        for point in &path {
            reporter.note(&format!(
                "λ {:<8}  validation accuracy {}  loss {}  {} iterations",
                units::number(point.l2),
                units::percent(point.validation_accuracy),
                units::loss(point.validation_loss),
                point.summary.progress.iteration
            ));
        }
        drop(reporter);
        check(&summary, unit)?;
        Ok(Fit {
            model,
            summary,
            l2,
            path,
            cross_validation,
            history,
            resumed,
            seconds,
            validation_loss,
        })
    }

    /// Fits a model for each λ that is to be tried, each from the one before, and measures it by what is held out.
    fn path(
        &self,
        start: &LinearModel<f32>,
        samples: &Samples<'_>,
        report: Report<'_>,
    ) -> Result<Vec<PathPoint<f32>>> {
        let (mut model, mut loss) = (start.clone(), self.held_out_loss(samples));
        let class_weights = samples.class_weights.as_deref();
        let mut path = Vec::new();
        for l2 in self.tried_l2() {
            let solver = Resumable::new(self.lbfgs());
            let summary = self.minimize(l2, &mut model, samples, solver, &mut *report)?;
            let (_, held_out) = samples.measure(&model, self.compute.isa())?;
            let held_out = held_out.context("nothing is held out")?;
            path.push(PathPoint {
                l2,
                summary,
                validation_accuracy: held_out.accuracy_by(class_weights),
                validation_loss: loss(&model)?,
                model: model.clone(),
            });
            if summary.stop_reason == StopReason::Interrupted {
                break;
            }
        }
        Ok(path)
    }

    /// The rows to train on and those to hold out: once, or for each fold of a cross-validation.
    pub(super) fn folds(
        &self,
        data: &Dataset,
        labels: &[u32],
        class_weights: Option<&[f32]>,
    ) -> Result<Vec<Fold>> {
        if self.cv.is_none() && self.validation.is_none() {
            return Ok(Vec::new());
        }
        // They depend on labels and weights alone, which all ranks have.
        let features = vec![0_u8; labels.len()];
        let batch = Batch::new(MatrixView::new(&features, labels.len(), 1)?, labels)?;
        let batch = weighted(batch, data.weights.as_deref(), class_weights)?;
        if let Some(k) = self.cv {
            return Ok(train::stratified_folds(&batch, k, self.seed)?);
        }
        let Some(share) = self.validation else { return Ok(Vec::new()) };
        let n = u32::try_from(data.n_samples).context("too many samples to hold some out")?;
        if n < 2 {
            bail!("--validation: a single sample cannot be divided");
        }
        let (training, validation) = train::split(n, share, self.seed);
        for (rows, what) in [(&training, "trained on"), (&validation, "held out")] {
            let context = || format!("--validation: of the samples that are {what}");
            batch.select(rows).with_context(context)?;
        }
        Ok(vec![Fold { training, validation }])
    }

    /// Whether the solver has the features of all samples at hand, and not just sums over them.
    fn sees_all(&self, samples: &Samples<'_>) -> bool {
        samples.leader.is_none() && (!self.solver().takes_sums() || samples.data.is_in_place())
    }

    /// The mean loss of the held-out samples, from sums over chunks of them, or over those of all ranks.
    pub(super) fn held_out_loss<'a>(
        &self,
        samples: &'a Samples<'_>,
    ) -> impl FnMut(&LinearModel<f32>) -> Result<f64, Error> + use<'a> {
        let objective = self.objective.objective(None).with_l2(0.0);
        let mut evaluator = Evaluator::new(objective).with_isa(self.compute.isa());
        let (c, d) = (samples.classes.n(), samples.data.n_features);
        let (mut partial, mut gradient) = (Partial::new(c, d), LinearModel::zeros(c, d));
        move |model| {
            partial.clear();
            let sums = Sums { objective, model, direction: None };
            samples.sum(Part::HeldOut, &sums, &mut evaluator, &mut partial)?;
            evaluator.finish(model, &partial, &mut gradient)
        }
    }

    pub(super) fn evaluator(&self) -> Evaluator<f32> {
        Evaluator::new(self.objective.objective(None)).with_isa(self.compute.isa())
    }

    /// Runs a fit that is saved in a file, if there is to be one.
    fn resumable<R>(
        &self,
        checkpoint: Option<CheckpointFile<'_>>,
        fit: impl FnOnce(Resumable<'_, f32>) -> Result<R>,
    ) -> Result<R> {
        match checkpoint {
            Some(checkpoint) => checkpoint.run(self.lbfgs(), fit),
            None => fit(Resumable::new(self.lbfgs())),
        }
    }

    /// Fits `model` for λ to the samples that are trained on. `lbfgs` is for that solver alone.
    fn minimize(
        &self,
        l2: f64,
        model: &mut LinearModel<f32>,
        samples: &Samples<'_>,
        lbfgs: Resumable<'_, f32>,
        report: Report<'_>,
    ) -> Result<Summary> {
        let objective = self.objective.objective(None).with_l2(l2);
        let mut evaluator = Evaluator::new(objective).with_isa(self.compute.isa());
        let evaluator = &mut evaluator;
        if self.sees_all(samples) {
            let batch = &samples.training_batch()?;
            return Ok(match self.solver() {
                Solver::Lbfgs => lbfgs.fit(evaluator, model, batch, report)?,
                Solver::Newton => self.newton().fit(evaluator, model, batch, report)?,
                Solver::Dual => self.dual().fit(evaluator, model, batch, report)?,
                Solver::Sgd => self.sgd().fit(evaluator, model, batch, report)?,
            });
        }
        let summed = self.evaluator();
        match self.solver() {
            Solver::Lbfgs => over_sums(samples, summed, |sample, sum| {
                lbfgs.fit_partials(evaluator, model, sample, sum, report)
            }),
            Solver::Newton => over_sums(samples, summed, |sample, sum| {
                self.newton().fit_partials(evaluator, model, sample, sum, report)
            }),
            Solver::Dual => {
                let all = samples.training_batch()?;
                over_sums(samples, summed, |_, sum| {
                    self.dual().fit_partials(evaluator, model, &all, sum, report)
                })
            }
            Solver::Sgd => {
                let all = samples.training_batch()?;
                over_sums(samples, summed, |_, sum| {
                    self.sgd().fit_partials(evaluator, model, &all, sum, report)
                })
            }
        }
    }
}

/// What computes the sums over all samples that a solver asks for.
pub(super) type Sum<'a> =
    &'a mut dyn FnMut(&Sums<'_, f32>, &mut Partial<f32>) -> Result<u64, Error>;

/// Runs a solver on sums over chunks of the samples, or over those of all ranks.
pub(super) fn over_sums(
    samples: &Samples<'_>,
    mut evaluator: Evaluator<f32>,
    solver: impl FnOnce(Option<&Batch<'_, f32>>, Sum<'_>) -> Result<Summary, Error>,
) -> Result<Summary> {
    // What the curvature is learnt from. Samples that count nothing teach nothing.
    let (mut few, labels, few_samples);
    let sample = if samples.data.is_in_place() {
        samples.training_batch().ok()
    } else {
        few = match samples.leader {
            Some(leader) if samples.data.is_share() => leader.bring(samples)?,
            _ => samples.data.sample(MAX_SAMPLE, samples.rows_of(Part::Training))?,
        };
        labels = samples.classes.encode(few.labels()?)?;
        few_samples = Samples {
            data: &mut few,
            classes: samples.classes,
            labels: &labels,
            class_weights: samples.class_weights.clone(),
            folds: &[],
            fold: None,
            leader: None,
        };
        few_samples.batch().ok()
    };
    let summary = solver(sample.as_ref(), &mut |sums, partial| {
        samples.sum(Part::Training, sums, &mut evaluator, partial)
    });
    match samples.leader.and_then(Leader::lost) {
        Some(error) => Err(error),
        None => Ok(summary?),
    }
}

/// A fit that failed has no result.
fn check(summary: &Summary, unit: &str) -> Result<()> {
    let (reason, n) = (summary.stop_reason, summary.progress.iteration);
    match reason {
        StopReason::Diverged => bail!(
            "the fit failed: after {n} {unit}s a step led to where the loss is not finite, or above where it \
             began; smaller features (--standardize), a smaller λ or a lower learning rate may help"
        ),
        reason if reason.failed() => bail!(
            "the fit failed: after {n} {unit}s it was nowhere better than at its start ({reason}); \
             --standardize, a smaller λ or another learning rate may help"
        ),
        _ => Ok(()),
    }
}
