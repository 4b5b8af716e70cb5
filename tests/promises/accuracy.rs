//! Accurate at scale: the f32 gradient of a million rows is within 1e-7 of the f64 answer on exactly
//! the same values, in the max norm relative to its largest entry. Half of that may already go into
//! rounding the largest entry to f32; one running sum in f32 would miss it by a factor of thousands.

use crate::common::{
    Case, Random, Scales, evaluate, for_each_isa, max_abs, max_difference, with_threads,
};
use softmargin::reference::{self, Reference};
use softmargin::{Isa, LinearModel, Loss, Objective};

const ROWS: usize = 1_000_000;
const BOUND: f64 = 1e-7;

/// Random data: features around `offset`, weights of deviation `spread`, labels of no relation to
/// them. The labels make it hard: the terms of the sum nearly cancel.
fn million(objective: Objective, (d, c): (usize, usize), offset: f64, spread: f64) -> Case<f32> {
    let mut random = Random::new(91);
    let x: Vec<f32> = (0..ROWS * d).map(|_| (offset + random.normal()) as f32).collect();
    let labels: Vec<u32> = (0..ROWS).map(|_| random.below(c) as u32).collect();
    let parameters = (0..c * (d + 1)).map(|_| (spread * random.normal()) as f32).collect();
    Case::new(objective, LinearModel::from_parameters(c, d, parameters).unwrap(), &x, &labels)
}

/// The same case with every value converted to f64, which is exact.
fn widened(case: &Case<f32>) -> Case<f64> {
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let widen = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
    let model = LinearModel::from_parameters(c, d, widen(case.model.parameters())).unwrap();
    Case::new(case.objective, model, &widen(&case.x), &case.labels)
}

/// A sum and what it lost in rounding (Neumaier).
#[derive(Clone, Copy, Default)]
struct Compensated(f64, f64);

impl Compensated {
    fn add(&mut self, x: f64) {
        let sum = self.0 + x;
        let (larger, smaller) = if self.0.abs() >= x.abs() { (self.0, x) } else { (x, self.0) };
        self.1 += (larger - sum) + smaller;
        self.0 = sum;
    }

    fn value(self) -> f64 {
        self.0 + self.1
    }
}

/// The oracle's answer as the mean of means of a hundred rows, summed with compensation: the oracle adds
/// its terms one by one, and a million equal ones would cost it five digits.
fn oracle(case: &Case<f64>) -> Reference {
    const ROWS: usize = 100;
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let mut sums = vec![Compensated::default(); 1 + c * d + c];
    let n = case.labels.len();
    assert!(n.is_multiple_of(ROWS));
    for start in (0..n).step_by(ROWS) {
        let rows: Vec<u32> = (start..start + ROWS).map(|row| row as u32).collect();
        let batch = case.batch().select(&rows).unwrap();
        let part = reference::loss_and_gradient(&case.objective, &case.model, &batch);
        let values = [part.loss].into_iter().chain(part.weights).chain(part.bias);
        sums.iter_mut().zip(values).for_each(|(sum, value)| sum.add(value));
    }
    let mut means = sums.into_iter().map(|sum| sum.value() * ROWS as f64 / n as f64);
    let loss = means.next().unwrap();
    Reference { loss, weights: means.by_ref().take(c * d).collect(), bias: means.collect() }
}

fn check(name: &str, case: &Case<f32>) {
    let wide = widened(case);
    let answer = with_threads(2, || evaluate(Isa::detect(), &wide));
    let oracle = oracle(&wide);
    Scales::new(&wide, &oracle).check(&answer, &oracle, 1e-13, &format!("{name}: the f64 answer"));

    let expected = answer.gradient.parameters();
    let largest = max_abs(expected.iter().copied());
    for_each_isa(|isa| {
        let got = with_threads(2, || evaluate(isa, case));
        let error = max_difference(got.gradient.parameters(), expected) / largest;
        let loss_error = (got.loss - answer.loss).abs() / answer.loss;
        println!("{name}, {isa}: gradient {error:.2e} of {largest:.2e}, loss {loss_error:.2e}");
        assert!(error <= BOUND, "{name} on {isa}: the gradient is off by {error:e}");
        assert!(loss_error <= 1e-6, "{name} on {isa}: the loss is off by {loss_error:e}");
    });
}

#[test]
fn random_weights() {
    check("random weights", &million(Objective::cross_entropy(), (20, 5), 0.0, 0.1));
}

/// The gradient is nothing but noise, a thousandth of its terms. With four classes these are exact: the
/// third of three, the same for every row, would be off by as much in every one of them.
#[test]
fn zero_weights() {
    check("zero weights", &million(Objective::cross_entropy(), (12, 4), 0.0, 0.0));
}

#[test]
fn constant_offset() {
    check("constant offset", &million(Objective::cross_entropy(), (8, 4), 3.0, 0.1));
}

/// Every class violates the margin, so that no rounding decides which do.
#[test]
fn hinge() {
    check("hinge", &million(Objective::hinge(1.0), (12, 4), 0.5, 0.0));
}

#[test]
fn squared_hinge() {
    check("squared hinge", &million(Objective::squared_hinge(1.0), (12, 4), 0.5, 0.1));
}

/// With a share of 1/32 for each class: what f32 cannot hold would be off by as much in every row.
#[test]
fn smoothed_labels() {
    let objective = Objective::cross_entropy().with_label_smoothing(0.125);
    check("smoothed labels", &million(objective, (12, 4), 0.5, 0.1));
}

/// How features are distributed.
const DISTRIBUTIONS: [&str; 5] = ["normal", "lognormal", "Cauchy", "offset", "collinear"];

/// Features of a distribution; for the hinge loss, clipped and rounded so that every score is exact in any
/// order of summation, and no rounding decides about a margin.
fn distributed(objective: Objective, distribution: &str, n: usize) -> Case<f32> {
    let (d, c) = (8, 4);
    let hinge = matches!(objective.loss(), Loss::Hinge { .. });
    let mut random = Random::new(92);
    let mut x = Vec::with_capacity(n * d);
    for _ in 0..n {
        let common = random.normal();
        for _ in 0..d {
            let normal = random.normal();
            let value = match distribution {
                "normal" => normal,
                "lognormal" => normal.exp(),
                "Cauchy" => (std::f64::consts::PI * (random.unit() - 0.5)).tan(),
                "offset" => 100.0 + normal,
                "collinear" => common + 1e-3 * normal,
                _ => unreachable!("{distribution}"),
            };
            x.push(if hinge {
                (value.clamp(-128.0, 128.0) * 256.0).round() / 256.0
            } else {
                value
            });
        }
    }
    let x: Vec<f32> = x.into_iter().map(|x| x as f32).collect();
    let labels: Vec<u32> = (0..n).map(|_| random.below(c) as u32).collect();
    let parameter = |_| {
        let value = 0.1 * random.normal();
        (if hinge { (value * 64.0).round() / 64.0 } else { value }) as f32
    };
    let parameters = (0..c * (d + 1)).map(parameter).collect();
    Case::new(objective, LinearModel::from_parameters(c, d, parameters).unwrap(), &x, &labels)
}

/// Loss and dW as one would write them down, in f32 from beginning to end.
fn plain_f32(case: &Case<f32>) -> (f32, Vec<f32>) {
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let n = case.labels.len() as f32;
    let (mut loss, mut dw) = (0.0_f32, vec![0.0_f32; c * d]);
    for (x, &label) in case.x.chunks_exact(d).zip(case.labels.iter()) {
        let label = label as usize;
        let rows = case.model.weights().chunks_exact(d).zip(case.model.bias());
        let mut s: Vec<f32> =
            rows.map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b).collect();
        match case.objective.loss() {
            Loss::Hinge { margin } => {
                let of_label = s[label];
                let mut violated = 0.0;
                for (k, s) in s.iter_mut().enumerate() {
                    let gap = *s - of_label + margin as f32;
                    *s = if k != label && gap > 0.0 { 1.0 } else { 0.0 };
                    loss += *s * gap / n;
                    violated += *s;
                }
                s[label] = -violated;
            }
            _ => {
                let max = s.iter().fold(f32::NEG_INFINITY, |max, s| max.max(*s));
                let sum: f32 = s.iter().map(|s| (s - max).exp()).sum();
                loss += (max - s[label] + sum.ln()) / n;
                s.iter_mut().for_each(|s| *s = (*s - max).exp() / sum);
                s[label] -= 1.0;
            }
        }
        for (dw, ds) in dw.chunks_exact_mut(d).zip(&s) {
            dw.iter_mut().zip(x).for_each(|(dw, x)| *dw += ds / n * x);
        }
    }
    (loss, dw)
}

/// The table: errors of loss and gradient, relative to the loss and to the largest entry of the gradient,
/// beside those of the plain f32 formulation. At a million rows ours are smaller by a factor of fifty at
/// the very least.
#[test]
fn beside_the_plain_formulation() {
    println!("| loss | features | rows | loss: ours | plain | gradient: ours | plain |");
    println!("|---|---|--:|--:|--:|--:|--:|");
    for (name, objective) in
        [("cross-entropy", Objective::cross_entropy()), ("hinge", Objective::hinge(1.0))]
    {
        for distribution in DISTRIBUTIONS {
            for n in [1000, 30_000, ROWS] {
                let case = distributed(objective, distribution, n);
                let exact = oracle(&widened(&case));
                let largest = max_abs(exact.weights.iter().copied());
                let errors = |loss: f64, dw: &[f32]| {
                    let of_loss = (loss - exact.loss).abs() / exact.loss;
                    (of_loss, max_difference(dw, &exact.weights) / largest)
                };
                let (loss, dw) = plain_f32(&case);
                let plain = errors(loss.into(), &dw);
                let mut worst = (0.0_f64, 0.0_f64);
                for_each_isa(|isa| {
                    let got = with_threads(2, || evaluate(isa, &case));
                    let ours = errors(got.loss, got.gradient.weights());
                    worst = (worst.0.max(ours.0), worst.1.max(ours.1));
                });
                println!(
                    "| {name} | {distribution} | {n} | {:.1e} | {:.1e} | {:.1e} | {:.1e} |",
                    worst.0, plain.0, worst.1, plain.1
                );
                assert!(worst.0 <= 1e-6 && worst.1 <= 1e-6, "{name}, {distribution}, {n}");
                if n == ROWS {
                    let factors = (plain.0 / worst.0, plain.1 / worst.1);
                    assert!(
                        factors.0 >= 50.0 && factors.1 >= 50.0,
                        "{name}, {distribution}: only {factors:?} times closer"
                    );
                }
            }
        }
    }
}

/// A single running sum in f32 fails the bound on the same data: the test does ask for something.
#[test]
fn one_sum_in_f32_is_not_enough() {
    let case = million(Objective::hinge(1.0), (12, 4), 0.5, 0.0);
    let mut naive = vec![0.0_f32; 12];
    let mut wide = vec![0.0_f64; 12];
    for (x, &label) in case.x.chunks_exact(12).zip(case.labels.iter()) {
        let ds = if label == 0 { -3.0 } else { 1.0 };
        for ((naive, wide), x) in naive.iter_mut().zip(&mut wide).zip(x) {
            *naive += ds * x;
            *wide += f64::from(ds * x);
        }
    }
    let error = max_difference(&naive, &wide) / max_abs(wide.iter().copied());
    assert!(error > BOUND, "{error:e}");
}

/// Rows that are all the same: every rounding of a sum errs in the same direction, so that the levels of
/// sums must be short. Found by fuzzing.
#[test]
fn repeated_rows() {
    let mut random = Random::new(93);
    let mut worst = 0.0_f64;
    for (d, c, seeds) in [(9, 4, 40), (70, 4, 40), (46, 46, 100), (520, 510, 2)] {
        for (n, _) in
            [24, 32, 37, 96, 192, 384, 1000].iter().flat_map(|n| (0..seeds).map(move |i| (*n, i)))
        {
            let row: Vec<f32> = (0..d).map(|_| random.normal() as f32).collect();
            let x: Vec<f32> = row.iter().copied().cycle().take(n * d).collect();
            let model = LinearModel::from_parameters(c, d, vec![0.0; c * (d + 1)]).unwrap();
            let weights = vec![2.0 * random.unit() as f32; n];
            let objective = Objective::hinge(1.0);
            let case = Case::new(objective, model, &x, &vec![0; n]).weighted(&weights);
            // The mean of equal gradients is any of them.
            let expected = |class: usize| if class == 0 { 1.0 - c as f64 } else { 1.0 };
            let expected: Vec<f64> =
                (0..c).flat_map(|k| row.iter().map(move |x| expected(k) * f64::from(*x))).collect();
            let largest = max_abs(expected.iter().copied());
            for_each_isa(|isa| {
                let got = evaluate(isa, &case);
                let error = max_difference(got.gradient.weights(), &expected) / largest;
                worst = worst.max(error);
                assert!(error <= 6e-7, "{n} equal rows, {c} classes on {isa}: off by {error:e}");
            });
        }
    }
    println!("equal rows: off by {worst:.2e} at most");
}
