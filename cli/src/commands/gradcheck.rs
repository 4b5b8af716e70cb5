//! `softmargin gradcheck`: the analytic gradient against central differences, in `f64`, at a random model.

use super::{ComputeArgs, DataArgs, LossName, ObjectiveArgs, positive, print_json, print_table};
use crate::data::Split;
use anyhow::{Context, Result, bail};
use clap::Args;
use rand_xoshiro::{
    SplitMix64,
    rand_core::{Rng, SeedableRng},
};
use serde_json::json;
use softmargin::{Batch, Evaluator, LinearModel, MatrixView};

/// The worst relative error that passes: good differences have about eight digits.
const TOLERANCE: f64 = 1e-6;

/// Entries smaller than this, relative to the largest of the gradient, are compared on its scale.
const FLOOR: f64 = 1e-3;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin gradcheck
  softmargin gradcheck --data table.csv --loss hinge --parameters 1000")]
pub(super) struct Gradcheck {
    #[command(flatten)]
    data: DataArgs,
    /// Which images of a folder, or of the bundled sample
    #[arg(long, value_enum, default_value_t = Split::Train)]
    split: Split,
    #[command(flatten)]
    objective: ObjectiveArgs,
    /// Rows of the data to use, from the first on
    #[arg(long, default_value_t = 500, value_parser = positive)]
    rows: usize,
    /// Parameters to check, drawn at random
    #[arg(long, default_value_t = 200, value_parser = positive)]
    parameters: usize,
    /// Where the model and the parameters to check are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// How the checked parameters fared.
#[derive(Default)]
struct Tally {
    checked: usize,
    kinks: usize,
    worst: f64,
    worst_at: String,
}

impl Gradcheck {
    pub(super) fn run(self) -> Result<()> {
        let mut data = self.data.read(self.split, None)?;
        data.load()?;
        let n = data.n_samples.min(self.rows);
        let d = data.n_features;
        let view = data.view().context("the features are not in memory")?;
        let rows = (0..n).flat_map(|i| view.row(i).unwrap_or_default());
        let features: Vec<f64> = rows.map(|x| f64::from(*x)).collect();
        let classes = self.data.classes(&[], data.labels()?)?;
        let (c, labels) = (classes.n(), classes.encode(data.labels()?)?);
        let batch = Batch::new(MatrixView::new(&features, n, d)?, &labels[..n])?;
        let tally = self.compute.install(|_| self.check(&batch, c))?;

        if self.json {
            print_json(&json!({
                "samples": n,
                "features": d,
                "classes": c,
                "checked": tally.checked,
                "kinks": tally.kinks,
                "worst_relative_error": tally.worst,
                "worst_at": tally.worst_at,
            }))?;
        } else {
            print_table(&[
                ("data", format!("{n} samples, {d} features, {c} classes")),
                ("parameters checked", tally.checked.to_string()),
                ("skipped, on a kink", tally.kinks.to_string()),
                ("worst relative error", format!("{:.2e} at {}", tally.worst, tally.worst_at)),
            ])?;
        }
        if tally.checked == 0 {
            bail!("every parameter was on a kink: nothing was checked");
        }
        if tally.worst > TOLERANCE {
            bail!("the worst relative error exceeds {TOLERANCE:e}");
        }
        Ok(())
    }

    fn check(&self, batch: &Batch<'_, f64>, n_classes: usize) -> Result<Tally> {
        let mut random = SplitMix64::seed_from_u64(self.seed);
        let mut model = LinearModel::<f64>::zeros(n_classes, batch.n_features());
        model.parameters_mut().iter_mut().for_each(|p| *p = 0.1 * (uniform(&mut random) - 0.5));
        let mut gradient = model.clone();
        let mut evaluator = Evaluator::new(self.objective.objective()).with_isa(self.compute.isa());
        evaluator.loss_and_gradient(&model, batch, &mut gradient)?;
        let largest = gradient.parameters().iter().fold(0.0_f64, |max, g| max.max(g.abs()));

        // The error of a difference is least where that of the bend and that of the rounding meet. The hinge
        // does not bend, but has kinks, and shorter steps meet fewer of them.
        let (relative_step, has_kinks) = match self.objective.loss {
            LossName::CrossEntropy => (1e-4, false),
            LossName::Hinge => (1e-5, true),
        };
        let mut tally = Tally::default();
        let n_parameters = model.parameters().len();
        for _ in 0..self.parameters.min(n_parameters) {
            let i = (uniform(&mut random) * n_parameters as f64) as usize;
            let value = model.parameters()[i];
            let step = relative_step * value.abs().max(1.0);
            let mut difference = |step: f64| -> Result<f64> {
                let mut loss_at = |p: f64| {
                    model.parameters_mut()[i] = p;
                    evaluator.loss(&model, batch)
                };
                let slope = (loss_at(value + step)? - loss_at(value - step)?) / (2.0 * step);
                model.parameters_mut()[i] = value;
                Ok(slope)
            };
            let (slope, half) = (difference(step)?, difference(step / 2.0)?);
            let scale = gradient.parameters()[i].abs().max(FLOOR * largest).max(f64::MIN_POSITIVE);
            // Where the loss is smooth, half the step gives the same slope; across a kink it does not.
            if has_kinks && (slope - half).abs() / scale > TOLERANCE {
                tally.kinks += 1;
                continue;
            }
            tally.checked += 1;
            let error = (slope - gradient.parameters()[i]).abs() / scale;
            if error >= tally.worst {
                tally.worst = error;
                tally.worst_at = name(i, n_classes, batch.n_features());
            }
        }
        Ok(tally)
    }
}

/// The name of a parameter.
fn name(i: usize, n_classes: usize, n_features: usize) -> String {
    match i.checked_sub(n_classes * n_features) {
        None => format!("W[{}, {}]", i / n_features, i % n_features),
        Some(class) => format!("b[{class}]"),
    }
}

/// A number from 0 to 1, and less than 1.
fn uniform(random: &mut SplitMix64) -> f64 {
    (random.next_u64() >> 11) as f64 / 2.0_f64.powi(53)
}
