//! The choice of λ by cross-validation, and what is told of it.

use super::{
    Solver, Train,
    fit::{Samples, over_sums},
};
use crate::{interrupt::Interrupted, progress::Steps, units};
use anyhow::{Context, Result, bail};
use core::ops::ControlFlow;
use serde_json::json;
use softmargin::{
    Batch, Evaluator, LinearModel,
    train::{
        self, CrossValidated, CrossValidation, Estimate, FoldScore, LearnedCurvature, Progress,
        StopReason, Summary,
    },
};
use std::fmt::Write;

/// The λ to try, unless others are given.
const PATH: [f64; 10] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5];

impl Train {
    /// The λ that are tried, each once, from the largest on, as its optimum is the nearest to zero.
    pub(super) fn tried_l2(&self) -> Vec<f64> {
        let mut path = if self.l2_path.is_empty() { PATH.to_vec() } else { self.l2_path.clone() };
        path.sort_by(|a, b| b.total_cmp(a));
        path.dedup();
        path
    }

    /// # Errors
    /// If the solver cannot fit all λ that are to be tried.
    pub(super) fn check_path(&self) -> Result<()> {
        let what = match (self.cv, &*self.l2_path) {
            (Some(_), _) => "--cv",
            (None, []) => return Ok(()),
            (None, _) => "--l2-path",
        };
        match self.solver {
            Some(Solver::Sgd) => bail!(
                "{what} takes a solver that goes to the optimum, lbfgs, newton or dual (--solver); sgd does not"
            ),
            Some(Solver::Dual) if self.tried_l2().contains(&0.0) => {
                bail!("--l2-path has λ = 0, but --solver dual takes λ above 0")
            }
            _ => Ok(()),
        }
    }

    /// Tries each λ on each fold, if that is asked for.
    pub(super) fn cross_validate(
        &self,
        samples: &mut Samples<'_>,
        start: &LinearModel<f32>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<CrossValidation>> {
        let Some(k) = self.cv else { return Ok(None) };
        let path = &self.tried_l2();
        let steps = Steps::many(k * path.len(), "fits");
        let mut fits = 0;
        let mut next = |l2: f64| {
            steps.next(&format!("λ = {}, fold {} of {k}", units::number(l2), fits % k + 1));
            fits += 1;
        };
        let mut curvature = LearnedCurvature::default();
        if samples.leader.is_some() {
            let validated = self.cross_validate_sums(samples, start, |l2, model, samples| {
                next(l2);
                self.fit_fold_of_sums(&mut curvature, l2, model, samples, interrupted)
            });
            samples.fold = None;
            return Ok(Some(validated.map_err(|error| samples.explain(error))?));
        }
        let (evaluator, batch) = (self.evaluator(), samples.batch()?);
        let validated = train::cross_validate(
            &evaluator,
            path,
            start,
            &batch,
            samples.folds,
            |evaluator, model, batch| {
                next(evaluator.objective().l2());
                self.fit_fold(&mut curvature, evaluator, model, batch, interrupted)
            },
        );
        Ok(Some(validated.map_err(|error: anyhow::Error| samples.explain(error))?))
    }

    /// As [`train::cross_validate`], of samples that all ranks have together.
    fn cross_validate_sums(
        &self,
        samples: &mut Samples<'_>,
        start: &LinearModel<f32>,
        mut fit: impl FnMut(f64, &mut LinearModel<f32>, &Samples<'_>) -> Result<Summary>,
    ) -> Result<CrossValidation> {
        let mut models = vec![start.clone(); samples.folds.len()];
        let mut path = Vec::new();
        for l2 in self.tried_l2() {
            let mut folds = Vec::new();
            for (fold, model) in models.iter_mut().enumerate() {
                samples.fold = Some(fold);
                let summary = fit(l2, model, samples)?;
                let loss = self.held_out_loss(samples)(model)?;
                let (_, held_out) = samples.measure(model, self.compute.isa())?;
                let held_out = held_out.context("nothing is held out")?;
                let class_weights = samples.class_weights.as_deref();
                folds.push(FoldScore {
                    loss,
                    accuracy: held_out.accuracy_by(class_weights),
                    total_weight: held_out.weight_by(class_weights),
                    summary,
                });
            }
            path.push(CrossValidated::of_folds(l2, folds));
        }
        Ok(CrossValidation { path })
    }

    fn fit_fold(
        &self,
        curvature: &mut LearnedCurvature,
        evaluator: &mut Evaluator<f32>,
        model: &mut LinearModel<f32>,
        batch: &Batch<'_, f32>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Summary> {
        let report = go_on_unless(interrupted);
        unless_interrupted(match self.solver() {
            Solver::Dual => self.dual().for_folds().fit(evaluator, model, batch, report)?,
            Solver::Newton => self.newton().for_folds().fit(evaluator, model, batch, report)?,
            Solver::Lbfgs | Solver::Sgd => {
                let solver = self.lbfgs().for_folds();
                solver.fit_with_curvature(curvature, evaluator, model, batch, report)?
            }
        })
    }

    /// By a solver for many processes.
    fn fit_fold_of_sums(
        &self,
        curvature: &mut LearnedCurvature,
        l2: f64,
        model: &mut LinearModel<f32>,
        samples: &Samples<'_>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Summary> {
        let objective = self.objective.objective(None).with_l2(l2);
        let evaluator = &mut Evaluator::new(objective).with_isa(self.compute.isa());
        let report = go_on_unless(interrupted);
        let summed = self.evaluator();
        let summary = match self.solver() {
            Solver::Dual => {
                let (solver, all) = (self.dual().for_folds(), samples.training_batch()?);
                over_sums(samples, summed, |_, sum| {
                    solver.fit_partials(evaluator, model, &all, sum, report)
                })
            }
            Solver::Newton => over_sums(samples, summed, |sample, sum| {
                let solver = self.newton().for_folds();
                solver.fit_partials(evaluator, model, sample, sum, report)
            }),
            Solver::Lbfgs | Solver::Sgd => over_sums(samples, summed, |sample, sum| {
                let solver = self.lbfgs().for_folds();
                solver.fit_partials_with_curvature(curvature, evaluator, model, sample, sum, report)
            }),
        };
        unless_interrupted(summary?)
    }
}

fn go_on_unless(
    interrupted: &dyn Fn() -> bool,
) -> impl FnMut(&Progress, &LinearModel<f32>) -> ControlFlow<()> {
    move |_, _| match interrupted() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

fn unless_interrupted(summary: Summary) -> Result<Summary> {
    match summary.stop_reason {
        StopReason::Interrupted => Err(anyhow::Error::from(Interrupted::OnTheWay)
            .context("interrupted before λ was chosen; nothing is written")),
        _ => Ok(summary),
    }
}

fn loss(estimate: Estimate) -> String {
    format!("{:.4} ± {:.4}", estimate.mean, estimate.standard_error)
}

fn accuracy(estimate: Estimate) -> String {
    format!("{:.2} ± {:.2} %", 100.0 * estimate.mean, 100.0 * estimate.standard_error)
}

/// What it came to.
pub(super) fn rows(cv: &CrossValidation, seconds: f64) -> Vec<(&'static str, String)> {
    let best = cv.best();
    let (folds, tried) = (best.folds.len(), cv.path.len());
    vec![
        ("cross-validation accuracy", accuracy(best.accuracy)),
        ("cross-validation loss", loss(best.loss)),
        ("cross-validation time", units::seconds(seconds)),
        ("λ", format!("{}, the best of {tried} in {folds} folds", units::number(best.l2))),
    ]
}

/// A line for each λ.
pub(super) fn table(cv: &CrossValidation) -> String {
    let (best, simplest) = (cv.best().l2, cv.one_standard_error().l2);
    let mut text = "\ncross-validation: mean ± standard error of what was held out\n".to_owned();
    let width = cv.path.iter().map(|point| units::number(point.l2).len()).max().unwrap_or(0);
    let _ = writeln!(text, "{:>width$}  {:<15}  accuracy", "λ", "loss");
    for CrossValidated { l2, loss: of_loss, accuracy: of_accuracy, .. } in &cv.path {
        let mark = match *l2 {
            l2 if l2 == best => "  the least loss",
            l2 if l2 == simplest => "  the largest λ within one standard error of it",
            _ => "",
        };
        let (l2, loss) = (units::number(*l2), loss(*of_loss));
        let accuracy = accuracy(*of_accuracy);
        let _ = writeln!(text, "{l2:>width$}  {loss:<15}  {accuracy}{mark}");
    }
    text
}

pub(super) fn object((cv, seconds): &(CrossValidation, f64)) -> serde_json::Value {
    let path = cv.path.iter().map(|point| {
        let folds = point.folds.iter().map(|fold| {
            json!({
                "loss": fold.loss,
                "accuracy": fold.accuracy,
                "weight": fold.total_weight,
                "iterations": fold.summary.progress.iteration,
                "evaluations": fold.summary.progress.evaluations,
                "converged": fold.summary.stop_reason.converged(),
            })
        });
        json!({
            "l2": point.l2,
            "loss": point.loss.mean,
            "loss_standard_error": point.loss.standard_error,
            "accuracy": point.accuracy.mean,
            "accuracy_standard_error": point.accuracy.standard_error,
            "folds": folds.collect::<Vec<_>>(),
        })
    });
    json!({
        "l2": cv.best().l2,
        "l2_one_standard_error": cv.one_standard_error().l2,
        "path": path.collect::<Vec<_>>(),
        "seconds": seconds,
    })
}

/// What should be known of the choice.
pub(super) fn warnings(cv: &CrossValidation) -> Vec<String> {
    let mut warnings = Vec::new();
    let fits = || cv.path.iter().flat_map(|point| &point.folds);
    let not = fits().filter(|fold| !fold.summary.stop_reason.converged()).count();
    if not > 0 {
        let all = fits().count();
        warnings.push(format!(
            "{not} of the {all} fits of the cross-validation did not converge; --standardize or a larger --max-iter may \
             help"
        ));
    }
    let (best, n) = (cv.best().l2, cv.path.len());
    let (largest, smallest) = (cv.path[0].l2, cv.path[n - 1].l2);
    for (end, what, others) in [(largest, "largest", "larger"), (smallest, "smallest", "smaller")] {
        if n > 1 && end > 0.0 && best == end {
            warnings.push(format!(
                "the best λ, {}, is the {what} that was tried; {others} ones may be better (--l2-path)",
                units::number(best)
            ));
        }
    }
    warnings
}
