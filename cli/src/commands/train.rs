//! `softmargin train`.

use super::{
    ComputeArgs, DataArgs, ObjectiveArgs, accuracy, non_negative, positive, print_json,
    print_notes, print_table,
};
use crate::{
    data::{self, Classes, Dataset, ReadOptions, Scaling, Split, sample},
    interrupt, model_file,
    output::Output,
    progress::Reporter,
    report::{self, Report},
    units,
};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use softmargin::{
    Batch, Evaluator, LinearModel,
    train::{self, EarlyStopping, Lbfgs, Progress, Schedule, Sgd, StopReason, Summary},
};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin train
  softmargin train --data /usr/share/datasets/fashion-mnist --out model.safetensors --report report
  softmargin train --data table.csv --label-column class --loss hinge --solver sgd --epochs 50
  softmargin train --data embeddings.npy --labels labels.npy --standardize --validation 0.1 \\
      --l2-path 1,0.1,0.01,0.001,0.0001")]
pub(super) struct Train {
    #[command(flatten)]
    data: DataArgs,
    /// Data to test on, of any kind that --data takes. By default the test images (t10k-…) of the folder
    /// that is trained on, if it has any
    #[arg(long)]
    test: Option<PathBuf>,
    /// The labels of the data to test on, as --labels
    #[arg(long, value_name = "FILE", requires = "test")]
    test_labels: Option<PathBuf>,
    /// Bring every feature to mean 0 and variance 1. The model that is saved takes the features as they are
    #[arg(long, conflicts_with_all = ["scale", "start"])]
    standardize: bool,
    /// Multiply every feature by this: 0.00392157 for pixels from 0 to 255 (those of IDX files are divided
    /// already). The model that is saved takes the features as they are
    #[arg(long, value_name = "FACTOR", conflicts_with = "start")]
    scale: Option<f64>,
    #[command(flatten)]
    objective: ObjectiveArgs,
    /// L-BFGS goes to the optimum, SGD near it
    #[arg(long, value_enum, default_value_t = Solver::Lbfgs)]
    solver: Solver,
    /// Iterations of L-BFGS, at most
    #[arg(long, default_value_t = 500)]
    max_iter: usize,
    /// L-BFGS stops when no entry of the gradient exceeds this (scikit-learn's tol)
    #[arg(long, default_value_t = Lbfgs::default().gradient_tolerance, value_parser = non_negative)]
    gradient_tolerance: f64,
    /// L-BFGS stops when the loss falls by less, relative to itself (SciPy's ftol)
    #[arg(long, default_value_t = Lbfgs::default().relative_decrease, value_parser = non_negative)]
    relative_decrease: f64,
    /// Epochs of SGD
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Samples a step of SGD
    #[arg(long, default_value_t = 256, value_parser = positive)]
    batch_size: usize,
    /// Length of the first steps of SGD
    #[arg(long, default_value_t = Sgd::default().learning_rate,
          value_parser = non_negative, allow_negative_numbers = true)]
    learning_rate: f64,
    /// How the steps of SGD become shorter
    #[arg(long, value_enum, default_value_t = ScheduleName::Cosine)]
    schedule: ScheduleName,
    /// What SGD keeps of its last step
    #[arg(long, default_value_t = 0.9, value_parser = non_negative)]
    momentum: f64,
    /// Nesterov's momentum
    #[arg(long)]
    nesterov: bool,
    /// Directions in which the features vary most, along which SGD takes shorter steps
    #[arg(long, value_name = "NUMBER", default_value_t = Sgd::default().principal)]
    principal: usize,
    /// Answer with the average of the iterates of SGD
    #[arg(long)]
    average: bool,
    /// Where SGD draws the order of the samples from, and --validation its samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A model to start from, instead of zeros
    #[arg(long, value_name = "FILE")]
    start: Option<PathBuf>,
    /// Hold out this share of the samples, and stop when their loss falls no further
    #[arg(long, value_name = "SHARE", value_parser = share)]
    validation: Option<f64>,
    /// Iterations or epochs without a lower loss of the held-out samples, after which to stop
    #[arg(long, default_value_t = 10, requires = "validation", value_parser = positive)]
    patience: usize,
    /// Try these λ instead of --l2, from the largest on, and keep the model that predicts most of the held-out
    /// samples
    #[arg(long, value_name = "λ,λ,…", value_delimiter = ',', requires = "validation",
          value_parser = non_negative, conflicts_with = "l2")]
    l2_path: Vec<f64>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Write the model here, as safetensors with the keys of PyTorch's nn.Linear
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Names of the classes, for the report and the model file
    #[arg(long, value_name = "NAME,NAME,…", value_delimiter = ',')]
    class_names: Vec<String>,
    /// Write a page with pictures of the fit into this folder
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Height and width of the images that the features are, for the report; IDX files say it themselves
    #[arg(long, value_name = "HEIGHTxWIDTH", value_parser = image_shape)]
    image_shape: Option<(usize, usize)>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Solver {
    Lbfgs,
    Sgd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScheduleName {
    Constant,
    Cosine,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        _ => Err("must be a number between 0 and 1".to_owned()),
    }
}

fn image_shape(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once('x').map(|(height, width)| (height.parse(), width.parse()));
    match sides {
        Some((Ok(height), Ok(width))) if height > 0 && width > 0 => Ok((height, width)),
        _ => Err("must be two numbers, as in 28x28".to_owned()),
    }
}

impl Train {
    pub(super) fn run(self) -> Result<()> {
        if !self.l2_path.is_empty() && self.solver == Solver::Sgd {
            bail!("--l2-path is for --solver lbfgs");
        }
        let mut data = self.data.read(Split::Train, None)?;
        let classes = self.data.classes(&self.class_names, data.labels()?)?;
        let labels = classes.encode(data.labels()?)?;
        let n_classes = classes.n();
        let test = self.test_data(&data).context("the test data does not fit")?;
        let test_labels = test.as_ref().map(|test| -> Result<_> { classes.encode(test.labels()?) });
        let test_labels = test_labels.transpose().context("the test data does not fit")?;
        let test = test.as_ref().zip(test_labels.as_deref());
        let start = self.start_model(data.n_features, n_classes)?;
        let output = self.out.as_deref().map(Output::create).transpose()?;
        let report = self.report.as_deref().map(report::create_folder).transpose()?;

        let (fit, threads) = self.compute.install(|threads| {
            let scaling = self.scaling(&data)?;
            if let Some(scaling) = &scaling {
                data.scale(scaling.clone())?;
            }
            Ok((self.fit(&mut data, &labels, test, start, scaling)?, threads))
        })?;
        if let Some(output) = output {
            model_file::save(&fit.model, &self.metadata(&fit, &classes, &data)?, output)?;
        }
        if let Some(folder) = report {
            let shape = self.image_shape.or(data.image_shape);
            let (labels, predictions) =
                (test.map_or(&*labels, |(_, labels)| labels), &fit.predictions);
            let (model, history) = (&fit.model, &*fit.history);
            let name = self.data.data.as_deref().and_then(Path::file_name);
            let name =
                name.map_or("a sample of Fashion-MNIST".into(), |name| name.to_string_lossy());
            let title = format!("A linear classifier of {name}");
            let (on_test, class_names) = (test.is_some(), classes.names());
            Report {
                title,
                table: self.rows(&fit, threads, &data),
                history,
                unit: self.unit(),
                model,
                labels,
                predictions,
                on_test,
                class_names,
                image_shape: shape.filter(|(h, w)| h * w == data.n_features),
            }
            .write(&folder)?;
        }
        if self.json {
            print_json(&self.object(&fit, threads))?;
        } else {
            print_table(&self.rows(&fit, threads, &data))?;
        }
        match fit.summary.stop_reason {
            StopReason::Interrupted if !fit.stopped_early => Err(interrupt::Interrupted.into()),
            _ => Ok(()),
        }
    }

    fn test_data(&self, data: &Dataset) -> Result<Option<Dataset>> {
        let labels = self.test_labels.as_deref();
        let options = ReadOptions { labels, ..self.data.options(Split::Test, Some(data.schema())) };
        let test = match (&self.test, &self.data.data) {
            (Some(path), _) => Dataset::read(path, &options)?,
            (None, None) => return sample(Split::Test).map(Some),
            (None, Some(path)) if data::has_split(path, Split::Test) => {
                Dataset::read(path, &options)?
            }
            (None, Some(_)) => return Ok(None),
        };
        print_notes(&test);
        Ok(Some(test))
    }

    fn start_model(&self, n_features: usize, n_classes: usize) -> Result<LinearModel<f32>> {
        let Some(path) = &self.start else {
            return Ok(LinearModel::zeros(n_classes, n_features));
        };
        let model = model_file::load(path)?.model;
        if (model.n_classes(), model.n_features()) != (n_classes, n_features) {
            bail!(
                "{} has {} classes × {} features, the data {n_classes} × {n_features}",
                path.display(),
                model.n_classes(),
                model.n_features()
            );
        }
        Ok(model)
    }

    fn scaling(&self, data: &Dataset) -> Result<Option<Scaling>> {
        match self.scale {
            Some(factor) => Ok(Some(Scaling::by(factor, data.n_features))),
            None => self.standardize.then(|| Scaling::standardize(data)).transpose(),
        }
    }

    fn fit(
        &self,
        data: &mut Dataset,
        labels: &[u32],
        test: Option<(&Dataset, &[u32])>,
        mut model: LinearModel<f32>,
        scaling: Option<Scaling>,
    ) -> Result<Fit> {
        if self.solver == Solver::Sgd || self.validation.is_some() {
            data.load()?;
        }
        let data = &*data;
        let (total, unit) = match self.solver {
            Solver::Lbfgs => (self.max_iter, "iteration"),
            Solver::Sgd => (self.epochs, "epoch"),
        };
        let mut reporter = Reporter::new(total, unit);
        let interrupted = interrupt::watch()?;
        let start = Instant::now();
        let mut history: Vec<(f64, Progress)> = Vec::new();
        let mut report = |progress: &Progress| {
            reporter.report(progress);
            if history.last().is_none_or(|(_, last)| last.iteration != progress.iteration) {
                history.push((start.elapsed().as_secs_f64(), *progress));
            }
            if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };

        let split = self.validation.map(|share| -> Result<_> {
            let n = u32::try_from(data.n_samples).context("too many samples to hold some out")?;
            Ok(train::split(n, share, self.seed))
        });
        let split = split.transpose()?;
        let (mut l2, mut stopped_early) = (self.objective.l2, false);
        let summary = match &split {
            None => {
                self.minimize(&mut model, data, labels, None, &mut |progress, _| report(progress))
            }
            Some((training, validation)) if !self.l2_path.is_empty() => {
                let batch = whole(data, labels)?;
                let (training, validation) = (batch.select(training)?, batch.select(validation)?);
                let path = self.lbfgs().path(
                    &Evaluator::new(self.objective.objective()).with_isa(self.compute.isa()),
                    &self.l2_path,
                    &model,
                    &training,
                    &validation,
                    |_, progress, _| report(progress),
                );
                let path = path.map_err(|error| data.explain(error))?;
                for point in &path {
                    let (accuracy, progress) = (point.validation_accuracy, point.summary.progress);
                    let accuracy = units::percent(accuracy);
                    reporter.note(&format!(
                        "λ {:<8}  validation accuracy {accuracy}  {} iterations",
                        point.l2, progress.iteration
                    ));
                }
                let best = train::best_of(&path).context("a path of no λ")?;
                (l2, model) = (best.l2, best.model.clone());
                Ok(best.summary)
            }
            Some((training, validation)) => {
                let validation = whole(data, labels)?.select(validation)?;
                let evaluator = Evaluator::new(self.objective.objective());
                let evaluator = evaluator.with_isa(self.compute.isa());
                let mut stopping = EarlyStopping::new(&evaluator, validation, self.patience);
                let mut check = |progress: &Progress, model: &LinearModel<f32>| {
                    report(progress)?;
                    let flow = stopping.check(progress, model);
                    stopped_early = flow.is_break();
                    flow
                };
                let summary = self.minimize(&mut model, data, labels, Some(training), &mut check);
                if let Some((iteration, _, best)) = stopping.finish()? {
                    model = best;
                    let best = history.iter().find(|(_, p)| p.iteration == iteration);
                    summary.map(|summary| {
                        let objective = best.map_or(summary.progress, |(_, progress)| *progress);
                        let progress = Progress {
                            objective: best.objective,
                            gradient_norm: best.gradient_norm,
                            ..summary.progress
                        };
                        Summary { progress, ..summary }
                    })
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        reporter.finish();
        let summary = summary?;
        if summary.stop_reason == StopReason::Diverged {
            bail!(
                "after {} {unit}s a step led to where the loss is not finite; smaller features or a lower \
                 learning rate may help",
                summary.progress.iteration
            );
        }

        let of_training = data.predictions(&model)?;
        let train_accuracy = accuracy(labels, &of_training);
        if let Some(scaling) = scaling {
            model = scaling.fold(&model).0;
        }
        let of_test = test.map(|(test, _)| test.predictions(&model)).transpose()?;
        let test_accuracy = match (test, &of_test) {
            (Some((_, labels)), Some(predictions)) => Some(accuracy(labels, predictions)),
            _ => None,
        };
        let predictions = of_test.unwrap_or(of_training);
        Ok(Fit {
            model,
            summary,
            stopped_early,
            l2,
            history,
            seconds,
            train_accuracy,
            test_accuracy,
            predictions,
        })
    }

    fn lbfgs(&self) -> Lbfgs {
        Lbfgs {
            max_iterations: self.max_iter,
            gradient_tolerance: self.gradient_tolerance,
            relative_decrease: self.relative_decrease,
            ..Lbfgs::default()
        }
    }

    /// Fits `model` to the data, or to some of its rows.
    fn minimize(
        &self,
        model: &mut LinearModel<f32>,
        data: &Dataset,
        labels: &[u32],
        rows: Option<&[u32]>,
        report: &mut dyn FnMut(&Progress, &LinearModel<f32>) -> ControlFlow<()>,
    ) -> Result<Summary> {
        let mut evaluator = Evaluator::new(self.objective.objective()).with_isa(self.compute.isa());
        if data.view().is_none() {
            let sample = data.sample(MAX_SAMPLE)?;
            // The rows that the sample has.
            let step = data.n_samples.div_ceil(MAX_SAMPLE).max(1);
            let sample_labels: Vec<u32> = labels.iter().copied().step_by(step).collect();
            let sample_batch = whole(&sample, &sample_labels)?;
            let each = |evaluate: train::Evaluate<'_, f32>| data.for_each_batch(labels, evaluate);
            let sample = Some(&sample_batch);
            let fit = self.lbfgs().fit_chunks(&mut evaluator, model, sample, each, report);
            return fit.map_err(|error| data.explain(error));
        }
        let mut batch = whole(data, labels)?;
        if let Some(rows) = rows {
            batch = batch.select(rows)?;
        }
        let summary = match self.solver {
            Solver::Lbfgs => self.lbfgs().fit(&mut evaluator, model, &batch, report),
            Solver::Sgd => Sgd {
                epochs: self.epochs,
                batch_size: self.batch_size,
                learning_rate: self.learning_rate,
                schedule: match self.schedule {
                    ScheduleName::Constant => Schedule::Constant,
                    ScheduleName::Cosine => Schedule::Cosine,
                },
                momentum: self.momentum,
                nesterov: self.nesterov,
                principal: self.principal,
                average: self.average,
                seed: self.seed,
            }
            .fit(&mut evaluator, model, &batch, report),
        };
        summary.map_err(|error| data.explain(error))
    }

    fn stopped_by(&self, fit: &Fit) -> &'static str {
        if fit.stopped_early { "early_stopping" } else { fit.summary.stop_reason.name() }
    }

    fn unit(&self) -> &'static str {
        match self.solver {
            Solver::Lbfgs => "iterations",
            Solver::Sgd => "epochs",
        }
    }

    /// What there is to say of a fit.
    fn rows(&self, fit: &Fit, threads: usize, data: &Dataset) -> Vec<(&'static str, String)> {
        let progress = fit.summary.progress;
        let (n, d, c) = (data.n_samples, data.n_features, fit.model.n_classes());
        // Two products of two operations for each sample, feature and class.
        let gflops = 4.0 * progress.samples as f64 * d as f64 * c as f64 / fit.seconds / 1e9;
        let unit = self.unit();
        let mut rows = vec![
            ("data", format!("{n} samples, {d} features, {c} classes")),
            ("loss", format!("{:.6}", progress.objective)),
            ("train accuracy", units::percent(fit.train_accuracy)),
        ];
        if let Some(accuracy) = fit.test_accuracy {
            rows.push(("test accuracy", units::percent(accuracy)));
        }
        if !self.l2_path.is_empty() {
            rows.push(("λ", format!("{}, the best of {}", fit.l2, self.l2_path.len())));
        }
        rows.extend([
            ("time", units::seconds(fit.seconds)),
            (unit, format!("{}, stopped by {}", progress.iteration, self.stopped_by(fit))),
            ("evaluations", progress.evaluations.to_string()),
            ("speed", format!("{gflops:.0} GFLOP/s")),
            ("threads", threads.to_string()),
            ("instruction set", self.compute.isa().to_string()),
        ]);
        if let Some(out) = &self.out {
            rows.push(("model", out.display().to_string()));
        }
        if let Some(folder) = &self.report {
            rows.push(("report", folder.join("index.html").display().to_string()));
        }
        rows
    }

    fn object(&self, fit: &Fit, threads: usize) -> serde_json::Value {
        let progress = fit.summary.progress;
        json!({
            "objective": progress.objective,
            "seconds": fit.seconds,
            "iterations": progress.iteration,
            "evaluations": progress.evaluations,
            "stop_reason": self.stopped_by(fit),
            "train_accuracy": fit.train_accuracy,
            "test_accuracy": fit.test_accuracy,
            "threads": threads,
            "isa": self.compute.isa().name(),
        })
    }

    /// What the model file says beside the parameters.
    fn metadata(
        &self,
        fit: &Fit,
        classes: &Classes,
        data: &Dataset,
    ) -> Result<model_file::Metadata> {
        let mut metadata = self.objective.metadata();
        metadata.insert("l2".to_owned(), fit.l2.to_string());
        metadata.insert("classes".to_owned(), serde_json::to_string(classes)?);
        metadata.insert("schema".to_owned(), serde_json::to_string(data.schema())?);
        if !self.class_names.is_empty() {
            metadata.insert("class_names".to_owned(), json!(self.class_names).to_string());
        }
        Ok(metadata)
    }
}

/// Samples that the curvature is learnt from, where the features are not in memory.
const MAX_SAMPLE: usize = 20_000;

/// A trained model and how it came about.
struct Fit {
    model: LinearModel<f32>,
    summary: Summary,
    stopped_early: bool,
    l2: f64,
    history: Vec<(f64, Progress)>,
    seconds: f64,
    train_accuracy: f64,
    test_accuracy: Option<f64>,
    /// Of the test data, or else of the training data.
    predictions: Vec<u32>,
}

fn whole<'a>(data: &'a Dataset, labels: &'a [u32]) -> Result<Batch<'a, f32>> {
    let features = data.view().context("the features are not in memory")?;
    Ok(Batch::new(features, labels)?)
}
