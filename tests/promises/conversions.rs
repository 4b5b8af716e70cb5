//! The page of conversions, line by line: the objectives of other libraries, written down as they document
//! them, beside ours.

use crate::common::{Case, Shape};
use softmargin::{Batch, Evaluator, LinearModel, Objective};

const TOLERANCE: f64 = 1e-12;

fn case(c: usize) -> Case<f64> {
    Case::random(Objective::cross_entropy(), Shape { n: 40, d: 7, c }, 71)
}

fn ours(
    objective: Objective,
    model: &LinearModel<f64>,
    batch: &Batch<'_, f64>,
) -> (f64, LinearModel<f64>) {
    let mut gradient = LinearModel::zeros(model.n_classes(), model.n_features());
    let loss = Evaluator::new(objective).loss_and_gradient(model, batch, &mut gradient).unwrap();
    (loss, gradient)
}

fn close(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0), "{what}: {a} and {b}");
}

fn scores(model: &LinearModel<f64>, batch: &Batch<'_, f64>) -> Vec<f64> {
    model.scores(batch.features()).unwrap()
}

/// −ln softmax(s)_y, without a shift, as the scores here are small.
fn log_loss(s: &[f64], y: usize) -> f64 {
    s.iter().map(|s| s.exp()).sum::<f64>().ln() - s[y]
}

fn square_sum(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

#[test]
fn pytorch_weight_decay() {
    let (case, decay) = (case(4), 0.03);
    let (_, plain) = ours(Objective::cross_entropy(), &case.model, &case.batch());
    let (_, decayed) =
        ours(Objective::cross_entropy().with_l2(decay / 2.0), &case.model, &case.batch());
    for ((with, without), weight) in
        decayed.weights().iter().zip(plain.weights()).zip(case.model.weights())
    {
        close(*with, without + decay * weight, "a slope");
    }
    assert_eq!(decayed.bias(), plain.bias());
}

#[test]
fn pytorch_multi_margin_loss() {
    let (case, margin, decay) = (case(5), 0.7_f64, 0.02);
    let s = scores(&case.model, &case.batch());
    let theirs = s.chunks_exact(5).zip(case.labels.iter()).map(|(s, y)| {
        let y = *y as usize;
        let terms = (0..5).filter(|&j| j != y).map(|j| (margin - s[y] + s[j]).max(0.0));
        terms.sum::<f64>() / 5.0
    });
    let theirs = theirs.sum::<f64>() / 40.0 + decay / 2.0 * square_sum(case.model.weights());
    let objective = Objective::hinge(margin).with_l2(5.0 * decay / 2.0);
    close(ours(objective, &case.model, &case.batch()).0, 5.0 * theirs, "K times theirs");
}

#[test]
fn pytorch_multi_margin_loss_squared() {
    let (case, margin) = (case(5), 0.7_f64);
    let s = scores(&case.model, &case.batch());
    let theirs = s.chunks_exact(5).zip(case.labels.iter()).map(|(s, y)| {
        let y = *y as usize;
        let terms = (0..5).filter(|&j| j != y).map(|j| (margin - s[y] + s[j]).max(0.0).powi(2));
        terms.sum::<f64>() / 5.0
    });
    let theirs = theirs.sum::<f64>() / 40.0;
    let objective = Objective::squared_hinge(margin);
    close(ours(objective, &case.model, &case.batch()).0, 5.0 * theirs, "K times theirs");
}

/// As PyTorch documents it: the mean over all classes, and weights that are divided by their sum.
#[test]
fn pytorch_cross_entropy() {
    let (case, smoothing, weights) = (case(4), 0.3, [0.5, 2.0, 1.0, 0.25]);
    let s = scores(&case.model, &case.batch());
    let losses = |s: &[f64]| [0, 1, 2, 3].map(|y| log_loss(s, y));
    let samples = || s.chunks_exact(4).zip(case.labels.iter().map(|y| *y as usize));
    let smoothed = samples().map(|(s, y)| {
        (1.0 - smoothing) * log_loss(s, y) + smoothing * losses(s).iter().sum::<f64>() / 4.0
    });
    let objective = Objective::cross_entropy().with_label_smoothing(smoothing);
    let theirs = smoothed.sum::<f64>() / 40.0;
    close(ours(objective, &case.model, &case.batch()).0, theirs, "smoothed");
    let weighted = samples().map(|(s, y)| weights[y] * log_loss(s, y)).sum::<f64>();
    let theirs = weighted / samples().map(|(_, y)| weights[y]).sum::<f64>();
    let batch = case.batch().with_class_weights(&weights).unwrap();
    close(ours(Objective::cross_entropy(), &case.model, &batch).0, theirs, "weighted");
}

#[test]
fn liblinear_crammer_singer() {
    let (case, c, n) = (case(4), 0.6, 40.0);
    let s = scores(&case.model, &case.batch());
    let losses = s.chunks_exact(4).zip(case.labels.iter()).map(|(s, y)| {
        let y = *y as usize;
        let others = (0..4).filter(|&k| k != y).map(|k| s[k]);
        (1.0 + others.fold(f64::NEG_INFINITY, f64::max) - s[y]).max(0.0)
    });
    let theirs = c * losses.sum::<f64>() + 0.5 * square_sum(case.model.weights());
    let objective = Objective::crammer_singer(1.0).with_l2(1.0 / (2.0 * c * n));
    close(c * n * ours(objective, &case.model, &case.batch()).0, theirs, "c N times ours");
}

#[test]
fn scikit_learn_c_of_many_classes() {
    let (case, c, n) = (case(4), 3.5, 40.0);
    let s = scores(&case.model, &case.batch());
    let losses = s.chunks_exact(4).zip(case.labels.iter()).map(|(s, y)| log_loss(s, *y as usize));
    let theirs = c * losses.sum::<f64>() + 0.5 * square_sum(case.model.weights());
    let objective = Objective::cross_entropy().with_l2(1.0 / (2.0 * c * n));
    close(c * n * ours(objective, &case.model, &case.batch()).0, theirs, "c N times ours");
}

/// W₁ = −W₀ = ½ w, and likewise the biases.
fn two_classes(w: &[f64], beta: f64) -> LinearModel<f64> {
    let weights = w.iter().map(|w| -w / 2.0).chain(w.iter().map(|w| w / 2.0));
    LinearModel::from_parameters(2, w.len(), weights.chain([-beta / 2.0, beta / 2.0]).collect())
        .unwrap()
}

/// The binary model of scikit-learn is a single row, with the loss and the penalty of LIBLINEAR.
#[test]
fn scikit_learn_c_of_two_classes() {
    let (case, c, n) = (case(2), 0.35, 40.0);
    let (w, beta): (Vec<f64>, f64) = ((0..7).map(|l| 0.9 - 0.4 * l as f64).collect(), -0.5);
    let batch = case.batch();
    let probability = |i: usize| {
        let x = batch.features().row(i).unwrap();
        1.0 / (1.0 + (-w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() - beta).exp())
    };
    let likelihood = |i: usize| match case.labels[i] {
        1 => probability(i),
        _ => 1.0 - probability(i),
    };
    let theirs = c * (0..40).map(|i| -likelihood(i).ln()).sum::<f64>() + 0.5 * square_sum(&w);
    let (model, objective) = (two_classes(&w, beta), Objective::cross_entropy());
    let at = |l2: f64| c * n * ours(objective.with_l2(l2), &model, &batch).0;
    close(at(1.0 / (c * n)), theirs, "c N times ours");
    assert!((at(1.0 / (2.0 * c * n)) - theirs).abs() > 0.1, "as for three classes");
    // The same probabilities.
    let proba = model.predict_proba(&batch).unwrap();
    (0..40).for_each(|i| close(proba[2 * i + 1], probability(i), "a probability"));
}

#[test]
fn liblinear_c() {
    let (case, c, n) = (case(2), 0.8, 40.0);
    let w: Vec<f64> = (0..7).map(|l| 0.3 * l as f64 - 1.0).collect();
    let (beta, batch) = (0.25, case.batch());
    let model = two_classes(&w, beta);
    let margins: Vec<f64> = (0..40)
        .map(|i| {
            let x = batch.features().row(i).unwrap();
            let y = if case.labels[i] == 1 { 1.0 } else { -1.0 };
            y * (w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + beta)
        })
        .collect();
    let regular = 0.5 * square_sum(&w);
    let logistic = c * margins.iter().map(|m| (1.0 + (-m).exp()).ln()).sum::<f64>() + regular;
    let svm = c * margins.iter().map(|m| (1.0 - m).max(0.0)).sum::<f64>() + regular;
    let squared = c * margins.iter().map(|m| (1.0 - m).max(0.0).powi(2)).sum::<f64>() + regular;
    for (theirs, objective) in [
        (logistic, Objective::cross_entropy()),
        (svm, Objective::hinge(1.0)),
        (svm, Objective::crammer_singer(1.0)),
        (squared, Objective::squared_hinge(1.0)),
    ] {
        let objective = objective.with_l2(1.0 / (c * n));
        close(c * n * ours(objective, &model, &batch).0, theirs, "c N times ours");
        // Moved together, both classes keep their scores apart: nothing is gained but a larger ΣW².
        let mut moved = model.clone();
        moved.weights_mut().iter_mut().for_each(|w| *w += 0.1);
        assert!(ours(objective, &moved, &batch).0 > ours(objective, &model, &batch).0);
    }
    // As they have it, in one row.
    let one_row = LinearModel::from_parameters(1, 7, [&w[..], &[beta]].concat()).unwrap();
    assert_eq!(one_row.to_two_rows().unwrap(), model);
    for (theirs, objective) in [
        (logistic, Objective::logistic()),
        (svm, Objective::binary_hinge(1.0)),
        (squared, Objective::binary_squared_hinge(1.0)),
    ] {
        let objective = objective.with_l2(1.0 / (2.0 * c * n));
        close(c * n * ours(objective, &one_row, &batch).0, theirs, "c N times ours, one row");
    }
}

#[test]
fn cs231n_half_lambda() {
    let (case, lambda) = (case(3), 0.4);
    let s = scores(&case.model, &case.batch());
    let svm = s.chunks_exact(3).zip(case.labels.iter()).map(|(s, y)| {
        let y = *y as usize;
        (0..3).filter(|&j| j != y).map(|j| (s[j] - s[y] + 1.0).max(0.0)).sum::<f64>()
    });
    let theirs = svm.sum::<f64>() / 40.0 + 0.5 * lambda * square_sum(case.model.weights());
    let objective = Objective::hinge(1.0).with_l2(lambda / 2.0);
    close(ours(objective, &case.model, &case.batch()).0, theirs, "the loss");
}
