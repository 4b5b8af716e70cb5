//! Accurate at scale: the f32 gradient of a million rows is within 1e-7 of the f64 answer on exactly
//! the same values, in the max norm relative to its largest entry. Half of that may already go into
//! rounding the largest entry to f32; one running sum in f32 would miss it by a factor of thousands.

mod common;

use common::{Case, Random, Scales, evaluate, for_each_isa, max_abs, max_difference, with_threads};
use softmargin::reference::{self, Reference};
use softmargin::{Isa, LinearModel, Objective};

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

/// The oracle's answer as the mean of a thousand means: it adds its terms one by one, and a million
/// equal ones would cost it five digits.
fn oracle(case: &Case<f64>) -> Reference {
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let mut mean = Reference { loss: 0.0, weights: vec![0.0; c * d], bias: vec![0.0; c] };
    for chunk in 0..1000 {
        let rows: Vec<u32> = (chunk * 1000..(chunk + 1) * 1000).collect();
        let batch = case.batch().select(&rows).unwrap();
        let part = reference::loss_and_gradient(&case.objective, &case.model, &batch);
        mean.loss += part.loss / 1000.0;
        mean.weights.iter_mut().zip(part.weights).for_each(|(sum, term)| *sum += term / 1000.0);
        mean.bias.iter_mut().zip(part.bias).for_each(|(sum, term)| *sum += term / 1000.0);
    }
    mean
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
