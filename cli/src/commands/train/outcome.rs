//! What a fit came to: as a table, as JSON, as a page with pictures, and as a warning where it did not converge.

use super::{Solver, Train, cross_validation, fit::Fit};
use crate::{
    data::{Classes, Dataset},
    metrics::Metrics,
    report::Report,
    units,
};
use anyhow::Result;
use serde_json::json;
use softmargin::{Loss, train::StopReason};
use std::path::Path;

/// How well the model predicts.
pub(super) struct Measured {
    /// The samples that were trained on.
    pub(super) train: Metrics,
    /// Those that were held out.
    pub(super) validation: Option<Metrics>,
    pub(super) test: Option<Metrics>,
}

impl Measured {
    /// Of the samples that say most of data to come, and what they are called.
    fn best(&self) -> (&'static str, &Metrics) {
        match (&self.test, &self.validation) {
            (Some(test), _) => ("test", test),
            (None, Some(validation)) => ("validation", validation),
            (None, None) => ("training", &self.train),
        }
    }
}

/// A fit, and what it was of.
pub(super) struct Outcome<'a> {
    pub(super) train: &'a Train,
    pub(super) fit: Fit,
    pub(super) measured: Measured,
    pub(super) classes: &'a Classes,
    pub(super) data: &'a Dataset,
    pub(super) threads: usize,
    /// How many processes had their part in it.
    pub(super) processes: usize,
}

impl Outcome<'_> {
    /// How far from the optimum the loss is, if that is known.
    fn gap(&self) -> String {
        let gap = self.fit.summary.gap.map(|gap| format!(", at most {gap:.1e} above the optimum"));
        gap.unwrap_or_default()
    }

    fn unit(&self) -> &'static str {
        match self.train.solver() {
            Solver::Lbfgs | Solver::Newton => "iterations",
            Solver::Sgd | Solver::Dual => "epochs",
        }
    }

    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { train, fit, measured, data, .. } = self;
        let progress = fit.summary.progress;
        let (n, d, c) = (data.n_samples, data.n_features, self.classes.n());
        // Two products of two operations for each feature of a sample, or each that is stored, and each class.
        let stored = data.n_entries().map_or(d as f64, |entries| entries as f64 / n as f64);
        let samples = progress.samples - fit.resumed.map_or(0, |from| from.samples);
        let gflops = 4.0 * samples as f64 * stored * c as f64 / fit.seconds / 1e9;
        let sparse = data.n_entries().map(|entries| format!(" ({entries} values stored)"));
        let mut rows = vec![
            (
                "data",
                format!("{n} samples, {d} features{}, {c} classes", sparse.unwrap_or_default()),
            ),
            ("loss", units::loss(progress.objective) + &self.gap()),
            ("train accuracy", units::percent(measured.train.accuracy())),
        ];
        if let Some(metrics) = &measured.validation {
            rows.push(("validation accuracy", units::percent(metrics.accuracy())));
        }
        if let Some(loss) = fit.validation_loss {
            rows.push(("validation loss", units::loss(loss)));
        }
        if let Some(metrics) = &measured.test {
            rows.push(("test accuracy", units::percent(metrics.accuracy())));
        }
        if let Some((cv, seconds)) = &fit.cross_validation {
            rows.extend(cross_validation::rows(cv, *seconds));
        }
        if !fit.path.is_empty() {
            rows.push(("λ", format!("{}, the best of {}", units::number(fit.l2), fit.path.len())));
        }
        let converged = if fit.summary.stop_reason.converged() { "" } else { ", not converged" };
        rows.extend([
            ("time", units::seconds(fit.seconds)),
            (
                self.unit(),
                format!(
                    "{}, stopped by {}{converged}",
                    progress.iteration, fit.summary.stop_reason
                ),
            ),
            ("evaluations", progress.evaluations.to_string()),
            ("speed", format!("{gflops:.0} GFLOP/s")),
            (
                "threads",
                match self.processes {
                    1 => self.threads.to_string(),
                    n => format!("{} on rank 0 of {n} processes", self.threads),
                },
            ),
            ("instruction set", train.compute.isa().to_string()),
        ]);
        if let Some(out) = &train.out {
            rows.push(("model", out.display().to_string()));
        }
        if let Some(path) = &train.checkpoint.checkpoint {
            let of = fit.resumed.map(|from| format!(", went on from iteration {}", from.iteration));
            rows.push(("checkpoint", format!("{}{}", path.display(), of.unwrap_or_default())));
        }
        if let Some(folder) = &train.report {
            rows.push(("report", folder.join("index.html").display().to_string()));
        }
        rows
    }

    /// How each λ fares, if cross-validation tried some, and each class.
    pub(super) fn text(&self) -> String {
        let (name, metrics) = self.measured.best();
        let cv = self.fit.cross_validation.as_ref();
        format!(
            "{}\non the {name} data\n{}",
            cv.map(|(cv, _)| cross_validation::table(cv)).unwrap_or_default(),
            metrics.text(|class| self.classes.name(class).to_owned())
        )
    }

    pub(super) fn object(&self) -> serde_json::Value {
        let Self { train, fit, measured, data, .. } = self;
        let progress = fit.summary.progress;
        let (name, metrics) = self.measured.best();
        let accuracy = |metrics: &Option<Metrics>| metrics.as_ref().map(Metrics::accuracy);
        let path = fit.path.iter().map(|point| {
            json!({
                "l2": point.l2,
                "objective": point.summary.progress.objective,
                "iterations": point.summary.progress.iteration,
                "converged": point.summary.stop_reason.converged(),
                "validation_accuracy": point.validation_accuracy,
                "validation_loss": point.validation_loss,
            })
        });
        json!({
            "samples": data.n_samples,
            "features": data.n_features,
            "classes": self.classes.n(),
            "objective": progress.objective,
            "gap": fit.summary.gap,
            "l2": fit.l2,
            "seconds": fit.seconds,
            "iterations": progress.iteration,
            "resumed_at": fit.resumed.map(|from| from.iteration),
            "evaluations": progress.evaluations,
            "stop_reason": fit.summary.stop_reason.name(),
            "converged": fit.summary.stop_reason.converged(),
            "train_accuracy": measured.train.accuracy(),
            "validation_accuracy": accuracy(&measured.validation),
            "validation_loss": fit.validation_loss,
            "test_accuracy": accuracy(&measured.test),
            "cross_validation": fit.cross_validation.as_ref().map(cross_validation::object),
            "l2_path": (!fit.path.is_empty()).then(|| path.collect::<Vec<_>>()),
            "metrics_of": name,
            "metrics": metrics.json(|class| json!(self.classes.label(class))),
            "processes": self.processes,
            "threads": self.threads,
            "isa": train.compute.isa().name(),
        })
    }

    /// What the user should know of how λ was chosen, and of how the fit ended.
    pub(super) fn warnings(&self) -> Vec<String> {
        let of_cv =
            self.fit.cross_validation.iter().flat_map(|(cv, _)| cross_validation::warnings(cv));
        of_cv.chain(self.warning()).collect()
    }

    fn warning(&self) -> Option<String> {
        let fit = &self.fit;
        let (iteration, norm) =
            (fit.summary.progress.iteration, fit.summary.progress.gradient_norm);
        let reason = fit.summary.stop_reason;
        if reason.converged() {
            return fit.summary.gap.filter(|gap| *gap > fit.summary.progress.objective).map(|gap| {
                format!(
                    "the bound on the distance to the optimum, {gap:.1e}, is above the objective itself, so that it does \
                     not show that this is the optimum; --standardize takes care of features that differ much in size"
                )
            });
        }
        if reason == StopReason::EarlyStopping
            && fit.model.parameters().iter().all(|value| *value == 0.0)
        {
            return Some(
                "the loss of the held-out samples was lowest where the fit began, with a model of zeros; the samples to \
                 train on may be too few, or of other classes"
                    .to_owned(),
            );
        }
        let what = match (reason, self.train.solver()) {
            // As asked for, or said already.
            (StopReason::EarlyStopping | StopReason::Interrupted, _) => return None,
            (StopReason::MaxIterations, Solver::Lbfgs | Solver::Newton) => {
                // Where hardly a margin is violated, there is little curvature, and hardly a dual variable.
                let loss = self.train.objective.objective(None).loss();
                let squared = matches!(loss, Loss::SquaredHinge { .. });
                let dual = squared && fit.l2 > 0.0 && self.measured.train.accuracy() > 0.95;
                let advice = if dual { "; --solver dual may take less time to the optimum" } else { "" };
                format!("stopped after {iteration} iterations (--max-iter){advice}")
            }
            (StopReason::MaxIterations, Solver::Sgd) => format!("all {iteration} epochs are done"),
            (_, Solver::Dual) => {
                let gap = self.gap();
                return Some(match reason {
                    StopReason::Stalled => format!(
                        "not converged: the loss, after {iteration} epochs{gap}, hardly comes nearer to it; \
                         --standardize or a larger --l2 may help, and a larger --tolerance asks for less"
                    ),
                    _ => format!(
                        "not converged: all {iteration} epochs are done{gap}; --standardize or a larger --l2 takes \
                         fewer, and --epochs allows for more"
                    ),
                });
            }
            (StopReason::Kink, _) => {
                "the loss has a kink where L-BFGS goes no further, which may be far from the optimum; --solver dual, with \
                 --l2 above 0, goes to the optimum, and --standardize or --solver sgd may come nearer; --loss \
                 squared-hinge has no kinks"
                    .to_owned()
            }
            (StopReason::LineSearch, _) => "the loss falls no further in the digits of f32 (line_search), and the gradient is \
                 above --gradient-tolerance; a larger one asks for less, and --standardize may leave more digits"
                .to_owned(),
            _ => format!("stopped by {reason}"),
        };
        Some(format!("not converged: {what}; the largest entry of the gradient is {norm:.1e}"))
    }

    pub(super) fn write_report(
        &self,
        folder: &Path,
        image_shape: Option<(usize, usize)>,
    ) -> Result<()> {
        let name = self.train.data.data.as_deref().and_then(Path::file_name);
        let name = name.map_or("a sample of Fashion-MNIST".into(), |name| name.to_string_lossy());
        let (measured, metrics) = self.measured.best();
        // λ = 0 has no place on a logarithmic axis.
        let cv = self.fit.cross_validation.as_ref().map(|(cv, _)| cv);
        let cv = cv.filter(|cv| cv.path.iter().any(|point| point.l2 > 0.0));
        let report = Report {
            title: format!("A linear classifier of {name}"),
            table: self.rows(),
            cross_validation: cv,
            history: &self.fit.history,
            unit: self.unit(),
            model: &self.fit.model,
            metrics,
            measured,
            class_names: self.classes.names(),
            image_shape,
        };
        report.write(folder)
    }
}
