//! The gradient is the derivative of the loss: central differences of the loss, in f64 and away from
//! the kinks of the losses, agree with every entry of dL/dW and dL/db, with sample weights,
//! selections and regularisation.

use crate::common::{Case, Shape, evaluate, for_each_isa};
use softmargin::{Evaluator, Objective, reference};

/// The step. The third derivative makes an error of about STEP², rounding one of about 1e-16 / STEP.
const STEP: f64 = 1.0 / 131_072.0;

/// The smallest |s_k − s_y + Δ| and, of several other classes, |s_j − s_k|: how far the nearest kink is.
fn distance_to_kink(case: &Case<f64>) -> f64 {
    let Some(margin) = case.objective.loss().margin() else { return f64::INFINITY };
    let mut distance = f64::INFINITY;
    for row in case.sample_rows() {
        let mut s = reference::scores(&case.model, &case.batch().features().row(row).unwrap());
        if case.objective.loss().is_binary() {
            s.insert(0, 0.0);
        }
        let y = case.labels[row] as usize;
        for k in (0..s.len()).filter(|&k| k != y) {
            distance = distance.min((s[k] - s[y] + margin).abs());
            let others = (0..k).filter(|&j| j != y);
            distance = others.fold(distance, |distance, j| distance.min((s[j] - s[k]).abs()));
        }
    }
    distance
}

fn check(objective: Objective) {
    for (n, d, c) in [(1, 1, 2), (13, 5, 3), (40, 9, 10), (7, 18, 17)] {
        let c = if objective.loss().is_binary() { 1 } else { c };
        let shape = Shape { n, d, c };
        let variants = |seed| {
            let plain = Case::<f64>::random(objective, shape, seed);
            let weighted = plain.clone().randomly_weighted(seed);
            let selected = weighted.clone().selected(seed).repeated(3, seed).padded(1);
            [plain, weighted, selected]
        };
        // The first seed of which no sample is near a kink: there the loss has no derivative.
        let far = |case: &Case<f64>| distance_to_kink(case) > 20.0 * STEP;
        let cases = (0..1000).map(variants).find(|cases| far(&cases[0])).unwrap();
        for case in cases {
            for_each_isa(|isa| {
                let analytic = evaluate(isa, &case).gradient;
                let mut evaluator = Evaluator::new(objective).with_isa(isa);
                let mut model = case.model.clone();
                for (i, analytic) in analytic.parameters().iter().enumerate() {
                    let at = model.parameters()[i];
                    let mut loss_at = |value| {
                        model.parameters_mut()[i] = value;
                        evaluator.loss(&model, &case.batch()).unwrap()
                    };
                    let (above, below) = (loss_at(at + STEP), loss_at(at - STEP));
                    loss_at(at);
                    let numeric = (above - below) / ((at + STEP) - (at - STEP));
                    assert!(
                        (numeric - analytic).abs() <= 2e-9 * analytic.abs().max(1.0),
                        "{shape}, {objective:?} on {isa}, parameter {i}: {analytic:e}, but the \
                         difference quotient is {numeric:e}"
                    );
                }
            });
        }
    }
}

#[test]
fn hinge() {
    check(Objective::hinge(1.0));
    check(Objective::hinge(0.3).with_l2(0.7));
}

#[test]
fn squared_hinge() {
    check(Objective::squared_hinge(1.0));
    check(Objective::squared_hinge(0.3).with_l2(0.7));
}

#[test]
fn crammer_singer() {
    check(Objective::crammer_singer(1.0));
    check(Objective::crammer_singer(0.3).with_l2(0.7));
}

#[test]
fn binary() {
    check(Objective::logistic().with_l2(0.7));
    check(Objective::binary_hinge(0.3).with_l2(0.7));
    check(Objective::binary_squared_hinge(0.3).with_l2(0.7));
}

#[test]
fn cross_entropy() {
    check(Objective::cross_entropy());
    check(Objective::cross_entropy().with_l2(0.7));
    check(Objective::cross_entropy().with_label_smoothing(0.2).with_l2(0.7));
}
