//! The oracle: the definition of the loss and its gradient, term by term, in `f64`. It is slow and
//! obvious on purpose; every kernel answers to it in the tests.

use crate::{Batch, Element, LinearModel, Loss, Objective};

/// L, dL/dW and dL/db.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The loss with its L2 term.
    pub loss: f64,
    /// dL/dW, C × D.
    pub weights: Vec<f64>,
    /// dL/db.
    pub bias: Vec<f64>,
}

/// Evaluates the definition. Labels must be classes of the model.
pub fn loss_and_gradient<T: Element>(
    objective: &Objective,
    model: &LinearModel<T>,
    batch: &Batch<'_, T>,
) -> Reference {
    let (c, d) = (model.n_classes(), model.n_features());
    let mut loss = 0.0;
    let mut weights = vec![0.0; c * d];
    let mut bias = vec![0.0; c];

    for i in 0..batch.n_samples() {
        let row = batch.row_index(i);
        let x = batch.features().exact_row(row).expect("a row of the batch");
        let y = batch.labels()[row] as usize;
        let w = batch.sample_weights().map_or(1.0, |weights| weights[row].to_f64());
        let w_class = batch.class_weights().map_or(1.0, |weights| weights[y].to_f64());
        let w = w * w_class / batch.total_weight();

        let s = scores(model, &x);
        let (sample_loss, ds) = sample_loss(objective, &s, y);

        loss += w * sample_loss;
        for k in 0..c {
            for l in 0..d {
                weights[k * d + l] += w * ds[k] * x[l];
            }
            bias[k] += w * ds[k];
        }
    }

    for (gradient, weight) in weights.iter_mut().zip(model.weights()) {
        loss += objective.l2() * weight.to_f64() * weight.to_f64();
        *gradient += 2.0 * objective.l2() * weight.to_f64();
    }
    Reference { loss, weights, bias }
}

/// The Hessian of L times a direction, W before b. Labels must be classes of the model.
pub fn hessian_product<T: Element>(
    objective: &Objective,
    model: &LinearModel<T>,
    batch: &Batch<'_, T>,
    direction: &LinearModel<T>,
) -> Vec<f64> {
    let (c, d) = (model.n_classes(), model.n_features());
    let mut product: Vec<f64> =
        direction.weights().iter().map(|v| 2.0 * objective.l2() * v.to_f64()).collect();
    product.resize(c * d + c, 0.0);
    for i in 0..batch.n_samples() {
        let row = batch.row_index(i);
        let x = batch.features().exact_row(row).expect("a row of the batch");
        let y = batch.labels()[row] as usize;
        let w = batch.sample_weights().map_or(1.0, |weights| weights[row].to_f64());
        let w_class = batch.class_weights().map_or(1.0, |weights| weights[y].to_f64());
        let w = w * w_class / batch.total_weight();

        let (s, t) = (scores(model, &x), scores(direction, &x));
        let ds = sample_hessian_product(objective, &s, &t, y);
        for k in 0..c {
            for l in 0..d {
                product[k * d + l] += w * ds[k] * x[l];
            }
            product[c * d + k] += w * ds[k];
        }
    }
    product
}

/// W x + b.
pub fn scores<T: Element, X: Element>(model: &LinearModel<T>, x: &[X]) -> Vec<f64> {
    let d = model.n_features();
    let dot = |w: &[T]| w.iter().zip(x).map(|(w, x)| w.to_f64() * x.to_f64()).sum::<f64>();
    (0..model.n_classes())
        .map(|k| dot(&model.weights()[k * d..][..d]) + model.bias()[k].to_f64())
        .collect()
}

/// The loss of a sample with scores `s` and label `y`, and its derivatives by the scores.
pub fn sample_loss(objective: &Objective, s: &[f64], y: usize) -> (f64, Vec<f64>) {
    match objective.loss() {
        Loss::Hinge { margin } => hinge(s, y, margin),
        Loss::SquaredHinge { margin } => squared_hinge(s, y, margin),
        Loss::CrammerSinger { margin } => crammer_singer(s, y, margin),
        Loss::CrossEntropy => smoothed(s, y, objective.label_smoothing()),
        Loss::Logistic => logistic(s, y),
        Loss::BinaryHinge { margin } => binary_hinge(s, y, margin),
        Loss::BinarySquaredHinge { margin } => binary_squared_hinge(s, y, margin),
    }
}

/// The Hessian of the loss of a sample by its scores `s`, times `t`: of a loss with kinks, zero.
pub fn sample_hessian_product(objective: &Objective, s: &[f64], t: &[f64], y: usize) -> Vec<f64> {
    let c = s.len();
    let mut product = vec![0.0; c];
    match objective.loss() {
        Loss::SquaredHinge { margin } => {
            for j in (0..c).filter(|&j| j != y && s[j] - s[y] + margin > 0.0) {
                product[j] += 2.0 * (t[j] - t[y]);
                product[y] -= 2.0 * (t[j] - t[y]);
            }
        }
        Loss::CrossEntropy => {
            let top = s.iter().fold(f64::NEG_INFINITY, |top, s_j| top.max(*s_j));
            let e: Vec<f64> = s.iter().map(|s_j| (s_j - top).exp()).collect();
            let sum: f64 = e.iter().sum();
            for k in 0..c {
                for j in 0..c {
                    product[k] += e[k] / sum * (e[j] / sum) * (t[k] - t[j]);
                }
            }
        }
        Loss::Logistic => {
            let e = (-s[0].abs()).exp();
            product[0] = e / ((1.0 + e) * (1.0 + e)) * t[0];
        }
        Loss::BinarySquaredHinge { margin } => {
            if margin - sign(y) * s[0] > 0.0 {
                product[0] = 2.0 * t[0];
            }
        }
        Loss::Hinge { .. } | Loss::CrammerSinger { .. } | Loss::BinaryHinge { .. } => {}
    }
    product
}

/// Σ_{j≠y} max(0, s_j − s_y + Δ) and its derivatives.
fn hinge(s: &[f64], y: usize, margin: f64) -> (f64, Vec<f64>) {
    let mut loss = 0.0;
    let mut ds = vec![0.0; s.len()];
    for j in (0..s.len()).filter(|&j| j != y) {
        let violation = s[j] - s[y] + margin;
        if violation > 0.0 {
            loss += violation;
            ds[j] += 1.0;
            ds[y] -= 1.0;
        }
    }
    (loss, ds)
}

/// Σ_{j≠y} max(0, s_j − s_y + Δ)² and its derivatives.
fn squared_hinge(s: &[f64], y: usize, margin: f64) -> (f64, Vec<f64>) {
    let mut loss = 0.0;
    let mut ds = vec![0.0; s.len()];
    for j in (0..s.len()).filter(|&j| j != y) {
        let violation = s[j] - s[y] + margin;
        if violation > 0.0 {
            loss += violation * violation;
            ds[j] += 2.0 * violation;
            ds[y] -= 2.0 * violation;
        }
    }
    (loss, ds)
}

/// max(0, max_{j≠y} s_j − s_y + Δ) and its derivatives, of the first class with the largest score.
fn crammer_singer(s: &[f64], y: usize, margin: f64) -> (f64, Vec<f64>) {
    let mut ds = vec![0.0; s.len()];
    let others = (0..s.len()).filter(|&j| j != y);
    let Some(top) = others.reduce(|top, j| if s[j] > s[top] { j } else { top }) else {
        return (0.0, ds);
    };
    let violation = s[top] - s[y] + margin;
    if violation > 0.0 {
        ds[top] += 1.0;
        ds[y] -= 1.0;
    }
    (violation.max(0.0), ds)
}

/// Cross-entropy with the label smoothed: (1 − ε) of the label's loss and ε of the mean over all labels.
fn smoothed(s: &[f64], y: usize, smoothing: f64) -> (f64, Vec<f64>) {
    let (mut loss, mut ds) = cross_entropy(s, y);
    let c = s.len() as f64;
    for j in (0..s.len()).filter(|&j| j != y) {
        loss += smoothing / c * s[y] - smoothing / c * s[j];
        ds[j] -= smoothing / c;
    }
    ds[y] += smoothing / c * (c - 1.0);
    (loss, ds)
}

/// −s_y + ln Σ_j e^{s_j} and its derivatives, shifted by the largest score of the row.
fn cross_entropy(s: &[f64], y: usize) -> (f64, Vec<f64>) {
    let top = (0..s.len()).fold(0, |top, j| if s[j] > s[top] { j } else { top });
    let e: Vec<f64> = s.iter().map(|s_j| (s_j - s[top]).exp()).collect();
    let others: f64 = (0..s.len()).filter(|&j| j != top).map(|j| e[j]).sum();
    let loss = s[top] - s[y] + others.ln_1p();
    let sum = 1.0 + others;
    let mut ds: Vec<f64> = e.iter().map(|e_j| e_j / sum).collect();
    ds[y] = -(0..s.len()).filter(|&j| j != y).map(|j| e[j]).sum::<f64>() / sum;
    (loss, ds)
}

/// Of the labels of a binary loss, −1 and 1.
fn sign(y: usize) -> f64 {
    if y == 1 { 1.0 } else { -1.0 }
}

/// ln(1 + e^{−ts}) and its derivative, shifted by −ts where that is positive.
fn logistic(s: &[f64], y: usize) -> (f64, Vec<f64>) {
    let z = -sign(y) * s[0];
    let e = (-z.abs()).exp();
    let probability = if z > 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
    (z.max(0.0) + e.ln_1p(), vec![-sign(y) * probability])
}

/// max(0, Δ − ts) and its derivative.
fn binary_hinge(s: &[f64], y: usize, margin: f64) -> (f64, Vec<f64>) {
    let violation = margin - sign(y) * s[0];
    if violation > 0.0 { (violation, vec![-sign(y)]) } else { (0.0, vec![0.0]) }
}

/// max(0, Δ − ts)² and its derivative.
fn binary_squared_hinge(s: &[f64], y: usize, margin: f64) -> (f64, Vec<f64>) {
    let violation = (margin - sign(y) * s[0]).max(0.0);
    (violation * violation, vec![-sign(y) * 2.0 * violation])
}
