//! `softmargin train`.

use super::{ComputeArgs, DataArgs, ObjectiveArgs, non_negative, positive, print_table};
use crate::{
    data::{Dataset, Split, idx, sample},
    interrupt, model_file,
    output::Output,
    progress::Reporter,
    units,
};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use softmargin::{
    Evaluator, LinearModel,
    train::{Lbfgs, Progress, Sgd, StopReason, Summary},
};
use std::{
    io::{Write, stdout},
    ops::ControlFlow,
    path::PathBuf,
    time::Instant,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin train
  softmargin train --data /usr/share/datasets/fashion-mnist --out model.safetensors
  softmargin train --data table.csv --label-column class --loss hinge --solver sgd --epochs 50")]
pub(super) struct Train {
    #[command(flatten)]
    data: DataArgs,
    /// Data to test on: a folder or a CSV file. By default the test images (t10k-…) of the folder that
    /// is trained on, if it has any
    #[arg(long)]
    test: Option<PathBuf>,
    #[command(flatten)]
    objective: ObjectiveArgs,
    /// L-BFGS goes to the optimum, SGD near it
    #[arg(long, value_enum, default_value_t = Solver::Lbfgs)]
    solver: Solver,
    /// Iterations of L-BFGS, at most
    #[arg(long, default_value_t = 500)]
    max_iter: usize,
    /// Epochs of SGD
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Samples a step of SGD
    #[arg(long, default_value_t = 256, value_parser = positive)]
    batch_size: usize,
    /// Length of the first steps of SGD
    #[arg(long, default_value_t = 0.05, value_parser = non_negative, allow_negative_numbers = true)]
    learning_rate: f64,
    /// Where SGD draws the order of the samples from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Write the model here, as safetensors with the keys of PyTorch's nn.Linear
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Solver {
    Lbfgs,
    Sgd,
}

impl Train {
    pub(super) fn run(self) -> Result<()> {
        let train = self.data.read(Split::Train)?;
        let test = self.test_data()?;
        let n_classes = train.n_classes()?;
        if let Some(test) = &test {
            check_test(test, train.n_features, n_classes).context("the test data does not fit")?;
        }
        let output = self.out.as_deref().map(Output::create).transpose()?;

        let (fit, threads) = self
            .compute
            .install(|threads| Ok((self.fit(&train, test.as_ref(), n_classes)?, threads)))?;
        if let Some(output) = output {
            model_file::save(&fit.model, output)?;
        }
        if self.json {
            self.print_json(&fit, threads)?;
        } else {
            self.print(&fit, threads, &train)?;
        }
        match fit.summary.stop_reason {
            StopReason::Interrupted => Err(interrupt::Interrupted.into()),
            _ => Ok(()),
        }
    }

    fn test_data(&self) -> Result<Option<Dataset>> {
        let options = self.data.options();
        match (&self.test, &self.data.data) {
            (Some(path), _) => Dataset::read(path, Split::Test, &options).map(Some),
            (None, None) => sample(Split::Test).map(Some),
            (None, Some(folder)) if idx::has_split(folder, Split::Test) => {
                Dataset::read(folder, Split::Test, &options).map(Some)
            }
            (None, Some(_)) => Ok(None),
        }
    }

    fn fit(&self, train: &Dataset, test: Option<&Dataset>, n_classes: usize) -> Result<Fit> {
        let batch = train.batch()?;
        let mut model = LinearModel::zeros(n_classes, train.n_features);
        let mut evaluator = Evaluator::new(self.objective.objective()).with_isa(self.compute.isa());
        let (total, unit) = match self.solver {
            Solver::Lbfgs => (self.max_iter, "iteration"),
            Solver::Sgd => (self.epochs, "epoch"),
        };
        let reporter = Reporter::new(total, unit);
        let interrupted = interrupt::watch()?;
        let report = |progress: &Progress, _: &LinearModel<f32>| {
            reporter.report(progress);
            if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let start = Instant::now();
        let summary = match self.solver {
            Solver::Lbfgs => Lbfgs { max_iterations: self.max_iter, ..Lbfgs::default() }.fit(
                &mut evaluator,
                &mut model,
                &batch,
                report,
            ),
            Solver::Sgd => Sgd {
                epochs: self.epochs,
                batch_size: self.batch_size,
                learning_rate: self.learning_rate,
                seed: self.seed,
                ..Sgd::default()
            }
            .fit(&mut evaluator, &mut model, &batch, report),
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

        let accuracy = |data: &Dataset| data.accuracy(&model.predict(data.view()?)?);
        let train_accuracy = accuracy(train)?;
        let test_accuracy = test.map(accuracy).transpose()?;
        Ok(Fit { model, summary, seconds, train_accuracy, test_accuracy })
    }

    fn print(&self, fit: &Fit, threads: usize, train: &Dataset) -> Result<()> {
        let progress = fit.summary.progress;
        let (n, d, c) = (train.n_samples, train.n_features, fit.model.n_classes());
        // Two products of two operations for each sample, feature and class.
        let gflops = 4.0 * progress.samples as f64 * d as f64 * c as f64 / fit.seconds / 1e9;
        let unit = match self.solver {
            Solver::Lbfgs => "iterations",
            Solver::Sgd => "epochs",
        };
        let mut rows = vec![
            ("data", format!("{n} samples, {d} features, {c} classes")),
            ("loss", format!("{:.6}", progress.objective)),
            ("train accuracy", units::percent(fit.train_accuracy)),
        ];
        if let Some(accuracy) = fit.test_accuracy {
            rows.push(("test accuracy", units::percent(accuracy)));
        }
        rows.extend([
            ("time", units::seconds(fit.seconds)),
            (unit, format!("{}, stopped by {}", progress.iteration, fit.summary.stop_reason)),
            ("evaluations", progress.evaluations.to_string()),
            ("speed", format!("{gflops:.0} GFLOP/s")),
            ("threads", threads.to_string()),
            ("instruction set", self.compute.isa().to_string()),
        ]);
        if let Some(out) = &self.out {
            rows.push(("model", out.display().to_string()));
        }
        print_table(&rows)
    }

    fn print_json(&self, fit: &Fit, threads: usize) -> Result<()> {
        let progress = fit.summary.progress;
        let object = json!({
            "objective": progress.objective,
            "seconds": fit.seconds,
            "iterations": progress.iteration,
            "evaluations": progress.evaluations,
            "stop_reason": fit.summary.stop_reason.name(),
            "train_accuracy": fit.train_accuracy,
            "test_accuracy": fit.test_accuracy,
            "threads": threads,
            "isa": self.compute.isa().name(),
        });
        Ok(writeln!(stdout(), "{object}")?)
    }
}

/// A trained model and how it came about.
struct Fit {
    model: LinearModel<f32>,
    summary: Summary,
    seconds: f64,
    train_accuracy: f64,
    test_accuracy: Option<f64>,
}

fn check_test(test: &Dataset, n_features: usize, n_classes: usize) -> Result<()> {
    test.check_features(n_features)?;
    if test.n_classes()? > n_classes {
        bail!("it has the label {}, but there are {n_classes} classes", test.n_classes()? - 1);
    }
    Ok(())
}
