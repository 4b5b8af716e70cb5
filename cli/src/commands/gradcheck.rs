//! `softmargin gradcheck`: the analytic gradient against central differences, in `f64`, at a random model.

use super::{ComputeArgs, DataArgs, ObjectiveArgs, positive, print_json, print_table};
use crate::data::{Classes, Split};
use anyhow::{Result, bail};
use clap::Args;
use rand_xoshiro::{
    SplitMix64,
    rand_core::{Rng, SeedableRng},
};
use serde_json::json;
use softmargin::{Batch, Error, Evaluator, LinearModel, Loss};

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
        let mut data = self.data.read(self.split)?;
        data.load()?;
        let n = data.n_samples.min(self.rows);
        let d = data.n_features;
        let classes = Classes::of(data.labels()?, self.data.max_classes)?;
        data.check_weights(classes.n())?;
        let (c, labels) = (classes.n(), classes.encode(data.labels()?)?);
        let tally = self.compute.install(|_| {
            let mut tally = Tally::default();
            // All rows at once, as they are in memory.
            let pass = data.for_each_chunk(|_, features| {
                let first = features.slice_rows(0..n).unwrap_or(features);
                tally = self.check(&Batch::new(first, &labels[..n])?, c)?;
                Ok(())
            });
            pass.map_err(|error| data.explain(error))?;
            Ok(tally)
        })?;

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

    fn check(&self, batch: &Batch<'_, f64>, n_classes: usize) -> Result<Tally, Error> {
        let mut random = SplitMix64::seed_from_u64(self.seed);
        let scales = scales(batch);
        let (d, n_weights) = (batch.n_features(), n_classes * batch.n_features());
        // What a parameter has to move by for a score to move by about 1.
        let unit = |i: usize| if i < n_weights { scales[i % d] } else { 1.0 };
        let mut model = LinearModel::<f64>::zeros(n_classes, d);
        let parameters = model.parameters_mut().iter_mut().enumerate();
        parameters.for_each(|(i, p)| *p = 0.1 * unit(i) * (uniform(&mut random) - 0.5));
        let mut gradient = model.clone();
        let objective = self.objective.objective(None);
        let mut evaluator = Evaluator::new(objective).with_isa(self.compute.isa());
        evaluator.loss_and_gradient(&model, batch, &mut gradient)?;
        // Each entry in the unit of its parameter, so that they can be compared.
        let gradient: Vec<f64> =
            gradient.parameters().iter().enumerate().map(|(i, g)| g * unit(i)).collect();
        let largest = gradient.iter().fold(0.0_f64, |max, g| max.max(g.abs()));

        // The error of a difference is least where that of the bend and that of the rounding meet. The hinges
        // do not bend, but have kinks, and shorter steps meet fewer of them; the squared one has them in its slope.
        let (relative_step, has_kinks) = match objective.loss() {
            Loss::CrossEntropy => (1e-3, false),
            _ => (1e-5, true),
        };
        let mut tally = Tally::default();
        for _ in 0..self.parameters.min(model.parameters().len()) {
            let i = (uniform(&mut random) * model.parameters().len() as f64) as usize;
            let value = model.parameters()[i];
            let mut difference = |step: f64| -> Result<f64, Error> {
                let mut loss_at = |p: f64| {
                    model.parameters_mut()[i] = p;
                    evaluator.loss(&model, batch)
                };
                // As far apart as they are in floating point.
                let (right, left) = (value + step, value - step);
                let rise = loss_at(right)? - loss_at(left)?;
                model.parameters_mut()[i] = value;
                Ok(rise / ((right - left) / unit(i)))
            };
            let step = relative_step * unit(i);
            let (whole, half) = (difference(step)?, difference(step / 2.0)?);
            let scale = gradient[i].abs().max(FLOOR * largest).max(f64::MIN_POSITIVE);
            // Where the loss is smooth, half the step gives the same slope; across a kink it does not.
            if has_kinks && (whole - half).abs() / scale > TOLERANCE {
                tally.kinks += 1;
                continue;
            }
            tally.checked += 1;
            // Both are off by the third derivative times the square of the step, which cancels here (Richardson).
            let slope = if has_kinks { whole } else { half + (half - whole) / 3.0 };
            let error = (slope - gradient[i]).abs() / scale;
            if error >= tally.worst {
                tally.worst = error;
                tally.worst_at = name(i, n_classes, d);
            }
        }
        Ok(tally)
    }
}

/// One over the largest magnitude of each feature, and 1 of those that are always zero.
fn scales(batch: &Batch<'_, f64>) -> Vec<f64> {
    let mut largest = vec![0.0_f64; batch.n_features()];
    for i in 0..batch.n_samples() {
        let row = batch.features().row(i).unwrap_or_default();
        largest.iter_mut().zip(row).for_each(|(max, x)| *max = max.max(x.abs()));
    }
    largest.into_iter().map(|max| if max > 0.0 { max.recip() } else { 1.0 }).collect()
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
