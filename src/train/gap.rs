//! How far a model is from the optimum, at most: a bound from the dual problem of its loss with L2.
//!
//! **Losses of margins.** The derivatives of the loss at a model are dual variables, and D(α) is as
//! [`dual`](super::dual) has it. What they lack of the condition of the bias is made up for there, too, by a mixture with
//! others of share τ, terms t and gradient G′. With g the gradient of F, the distance is a sum that hardly cancels:
//!
//! ```text
//! F − D = ‖(1 − τ) g + τ 2λW + G′‖² / 4λ + (1 − τ) ⟨g_b, b⟩ + τ mean Lᵢ − ⟨G′, W⟩ − t
//! ```
//!
//! Of the squared hinge this is done after a step of the bias, along which the objective falls, too.
//!
//! **Cross-entropy.** Let q be the distributions that are asked for (the labels, smoothed or not), and p any
//! distributions over the classes, one for each sample, whose mean is that of q. Fenchel's inequality for the
//! log-sum-exp, and for λΣW², shows for all W and b that
//!
//! ```text
//! F(W, b) ≥ mean H(pᵢ) − ‖G(p)‖² / 4λ        G(p) = mean (pᵢ − qᵢ) xᵢᵀ        H(p) = −Σ p ln p
//! ```
//!
//! (Boyd and Vandenberghe, "Convex optimization", section 5.1.6; Yu, Huang and Lin, "Dual coordinate descent methods
//! for logistic regression and maximum entropy models", 2011). The softmax of a model's scores gives such p, but for
//! their mean, which differs from that of q by the gradient g_b with respect to the bias. Two corrections make up for
//! it:
//!
//! - Along a change c of the bias, p′ = p + (diag(p) − ppᵀ) c, so that G(p′) and the mean follow from a Hessian product,
//!   and H(p′) from KL(p′‖p) ≤ cᵀ(diag(p) − ppᵀ) c. Conjugate gradients find the c that leaves little of g_b.
//! - The rest vanishes in a mixture (1 − τ) p′ + τ r with one distribution r for all samples, whose entropy is at least
//!   the mixture of the entropies. G(r) is the gradient of the model without weights whose softmax is r.
//!
//! With these, the difference of F and the bound is a sum of terms none of which is negative, so that nothing cancels:
//!
//! ```text
//! (1 − τ) cᵀHc + ‖(1 − τ) g′ + τ (G(r) + 2λW)‖² / 4λ + τ (mean Lᵢ − ⟨G(r), W⟩ − ⟨r − mean q, b⟩ − H(r))
//! ```
//!
//! where g′ is the gradient with respect to W, with its L2 term, at p′.
//!
//! **Binary losses.** Their bound is that of [two rows](crate::Objective::to_two_rows): the objectives are equal, and so are
//! the least values.

use super::{
    StopReason, Summary,
    cost::{Cost, Data},
    dot,
    margins::{Margins, class_sums},
};
use crate::{Batch, Error, Evaluator, LinearModel, Loss, Scalar};

/// Hessian products that are spent on the first correction, at most.
const MAX_PRODUCTS: usize = 8;

/// A bound on how far the objective of a model lies above the least there is, F − F*, or `None` where none is known: for
/// λ = 0, and where a class has no samples (cross-entropy has no optimum then) or the model is so far from the optimum
/// that the bound would say nothing. The model need not come from a solver; for those that do, it is
/// [`Summary::gap`](super::Summary::gap).
///
/// The bound holds up to the rounding errors of the objective. Near the optimum it is a few times the distance where
/// λ is no small part of the curvature of the loss, and else as many times it as that curvature is of 2λ. At a kink the
/// derivatives of the loss say little, and the bound may be far above the distance:
/// [`DualAscent`](super::DualAscent) knows a better one. Takes the time of ten evaluations or less, and less memory
/// than a copy of a model takes ten times.
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features = [0.0_f64, 1.0, 1.0, 0.0, -1.0, 0.5, 2.0, 2.0];
/// let batch = Batch::new(MatrixView::new(&features, 4, 2)?, &[0, 1, 2, 1])?;
/// let mut model = LinearModel::zeros(3, 2);
/// let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-2));
/// let proceed = |_: &train::Progress, _: &LinearModel<f64>| ControlFlow::Continue(());
/// train::Lbfgs::default().fit(&mut evaluator, &mut model, &batch, proceed)?;
/// let gap = train::optimality_gap(&mut evaluator, &model, &batch)?;
/// assert!(gap.expect("a bound") < 1e-6);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Evaluator::loss_and_gradient`].
pub fn optimality_gap<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    model: &LinearModel<T>,
    batch: &Batch<'_, T>,
) -> Result<Option<f64>, Error> {
    of_cost(&mut Cost::new(evaluator, Data::Batch(batch)), model)
}

/// [`optimality_gap`], of all samples wherever they are.
pub(super) fn of_cost<T: Scalar>(
    cost: &mut Cost<'_, '_, T>,
    model: &LinearModel<T>,
) -> Result<Option<f64>, Error> {
    let objective = cost.evaluator.objective();
    if let Some(objective) = objective.to_two_rows() {
        cost.evaluator.check(model)?;
        let mut of_two_rows = Evaluator::new(objective).with_isa(cost.evaluator.isa());
        return of_cost(&mut cost.with(&mut of_two_rows), &model.to_two_rows()?);
    }
    match objective.loss() {
        _ if objective.l2() <= 0.0 => Ok(None),
        Loss::CrossEntropy => of_softmax(cost, model),
        _ => of_margins(cost, model),
    }
}

/// The bound for cross-entropy.
fn of_softmax<T: Scalar>(
    cost: &mut Cost<'_, '_, T>,
    model: &LinearModel<T>,
) -> Result<Option<f64>, Error> {
    let objective = cost.evaluator.objective();
    let l2 = objective.l2();
    let (c, d) = (model.n_classes(), model.n_features());
    let asked = mean_labels(cost, [c, d])?;
    let mut gradient = LinearModel::zeros(c, d);
    let loss = cost.loss_and_gradient(model, &mut gradient)?;
    let (weights, bias) = (wide(model.weights()), wide(model.bias()));
    let mean_loss = loss - l2 * dot(&weights, &weights);

    let (mut g, mut g_bias) = (wide(gradient.weights()), wide(gradient.bias()));
    // More would make the bound no smaller by more than a tenth.
    let rest = 0.1 * dot(&g, &g) / (4.0 * l2);
    let enough = rest / (mean_loss + (c as f64).ln());
    let step = bias_step(cost, model, &asked, enough, [&g, &g_bias])?;
    // p′ = p (1 + c − pᵀc) is no distribution unless this is at most 1.
    let range = step.change.iter().fold(0.0, |max: f64, c| max.max(*c))
        - step.change.iter().fold(0.0, |min: f64, c| min.min(*c));
    let mut divergence = 0.0;
    if range <= 1.0 {
        (divergence, g, g_bias) = (step.square, step.g, step.g_bias);
    }

    // r = p̄ − g_b / τ, and a little more of it than there must be, so that no probability is zero.
    let mean = |k: usize| asked[k] + g_bias[k];
    let least = (0..c).map(|k| g_bias[k] / mean(k)).fold(0.0, f64::max);
    let share = 1.1 * least;
    if !(share < 1.0 && (0..c).all(|k| mean(k) > 0.0)) {
        return Ok(None);
    }
    if share == 0.0 {
        return Ok(Some(divergence + dot(&g, &g) / (4.0 * l2)));
    }
    let mut constant = LinearModel::zeros(c, d);
    for (k, bias) in constant.bias_mut().iter_mut().enumerate() {
        *bias = T::from_f64((mean(k) - g_bias[k] / share).ln());
    }
    // As they are rounded.
    let exponentials: Vec<f64> = constant.bias().iter().map(|bias| bias.to_f64().exp()).collect();
    let total: f64 = exponentials.iter().sum();
    cost.loss_and_gradient(&constant, &mut gradient)?;
    let of_constant = wide(gradient.weights());
    let mut excess = mean_loss - dot(&of_constant, &weights);
    for k in 0..c {
        let r = exponentials[k] / total;
        excess += r * r.ln() - (r - asked[k]) * bias[k];
    }
    for ((g, of_constant), weight) in g.iter_mut().zip(of_constant).zip(weights) {
        *g = (1.0 - share) * *g + share * (of_constant + 2.0 * l2 * weight);
    }
    Ok(Some((1.0 - share) * divergence + dot(&g, &g) / (4.0 * l2) + share * excess.max(0.0)))
}

/// Adds the bound to how a fit ended, unless it is known already, or the fit was stopped from outside or failed. What it
/// has found is not lost where the bound cannot be computed.
pub(super) fn after_fit<T: Scalar>(
    summary: Summary,
    cost: &mut Cost<'_, '_, T>,
    model: &LinearModel<T>,
) -> Summary {
    let reason = summary.stop_reason;
    if reason.failed() || reason == StopReason::Interrupted {
        return summary;
    }
    let gap = summary.gap.or_else(|| of_cost(cost, model).unwrap_or(None));
    Summary { gap, ..summary }
}

/// Whether a bound says no more than that no objective is negative.
pub(super) fn shows_nothing(gap: f64, objective: f64) -> bool {
    gap > objective
}

/// The mean of the distributions that are asked for.
fn mean_labels<T: Scalar>(
    cost: &mut Cost<'_, '_, T>,
    shape: [usize; 2],
) -> Result<Vec<f64>, Error> {
    let shares = match cost.batch() {
        // Without a pass over the features.
        Some(batch) => {
            let mut shares = vec![0.0; shape[0]];
            for row in (0..batch.n_samples()).map(|i| batch.row_index(i)) {
                let label = batch.labels()[row];
                let none = Error::Label { row, label, classes: shape[0] };
                *shares.get_mut(label as usize).ok_or(none)? += batch.weight(row).to_f64();
            }
            shares.iter_mut().for_each(|share| *share /= batch.total_weight());
            shares
        }
        None => class_sums(cost, shape)?.0,
    };
    let smoothing = cost.evaluator.objective().label_smoothing();
    let smoothed = |share: f64| (1.0 - smoothing) * share + smoothing / shape[0] as f64;
    Ok(shares.into_iter().map(smoothed).collect())
}

/// The bound for a loss of margins.
fn of_margins<T: Scalar>(
    cost: &mut Cost<'_, '_, T>,
    model: &LinearModel<T>,
) -> Result<Option<f64>, Error> {
    let shape = [model.n_classes(), model.n_features()];
    let l2 = cost.evaluator.objective().l2();
    let Some(margins) = Margins::new(cost, shape)? else { return Ok(None) };
    let mut gradient = LinearModel::zeros(shape[0], shape[1]);
    let mut point = model.clone();
    let objective = cost.loss_and_gradient(&point, &mut gradient)?;
    let mut at = objective;
    if cost.evaluator.objective().is_smooth() && margins.shares.iter().all(|share| *share > 0.0) {
        // To a bias that leaves less to make up for.
        let g = [wide(gradient.weights()), wide(gradient.bias())];
        let step = bias_step(cost, model, &margins.shares, 0.0, [&g[0], &g[1]])?;
        for (bias, change) in point.bias_mut().iter_mut().zip(step.change) {
            *bias = T::from_f64(bias.to_f64() + change);
        }
        let mut moved = LinearModel::zeros(shape[0], shape[1]);
        match cost.loss_and_gradient(&point, &mut moved) {
            Ok(lower) if lower <= at => (at, gradient) = (lower, moved),
            _ => point.clone_from(model),
        }
    }
    let (weights, bias) = (wide(point.weights()), wide(point.bias()));
    let (g, g_bias) = (wide(gradient.weights()), wide(gradient.bias()));
    Ok(margins.balance(&g_bias).map(|balance| {
        let (share, kept) = (balance.share, 1.0 - balance.share);
        let mut squares = 0.0;
        for ((g, weight), change) in g.iter().zip(&weights).zip(&balance.gradient) {
            squares += (kept * g + share * 2.0 * l2 * weight + change).powi(2);
        }
        let mean_loss = at - l2 * dot(&weights, &weights);
        let rest = kept * dot(&g_bias, &bias) + share * mean_loss
            - dot(&balance.gradient, &weights)
            - balance.terms;
        objective - at + (squares / (4.0 * l2) + rest).max(0.0)
    }))
}

fn wide<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// A change c of the bias, and what it makes of the gradients to first order.
struct BiasStep {
    change: Vec<f64>,
    g: Vec<f64>,
    g_bias: Vec<f64>,
    /// cᵀHc.
    square: f64,
}

/// The step that makes the gradient of the bias small, so that no part of it is more than `enough` of that of `asked`:
/// by conjugate gradients. No step, if that makes it no smaller.
fn bias_step<T: Scalar>(
    cost: &mut Cost<'_, '_, T>,
    model: &LinearModel<T>,
    asked: &[f64],
    enough: f64,
    [g, g_bias]: [&[f64]; 2],
) -> Result<BiasStep, Error> {
    let c = asked.len();
    let (mut shifted, mut residual) = (g.to_vec(), g_bias.to_vec());
    let norm = |residual: &[f64]| {
        residual.iter().zip(asked).map(|(r, asked)| (r / asked).abs()).fold(0.0, f64::max)
    };
    // Well above the rounding errors of the products.
    let enough = enough.max(T::EPSILON.to_f64().sqrt() * norm(&residual));
    // Probabilities on the diagonal of H are the preconditioner.
    let precondition =
        |r: &[f64]| r.iter().zip(asked).map(|(r, asked)| -r / asked).collect::<Vec<_>>();
    let mut change = vec![0.0; c];
    let mut product_sum = vec![0.0; c];
    let mut z = precondition(&residual);
    let mut p = z.clone();
    let mut r_z = -dot(&residual, &z);
    let mut direction = LinearModel::zeros(c, model.n_features());
    let mut product = direction.clone();
    for _ in 0..MAX_PRODUCTS {
        let size = p.iter().fold(0.0, |max: f64, p| max.max(p.abs()));
        if norm(&residual) <= enough || !(size > 0.0 && size.is_finite()) {
            break;
        }
        // Of size 1, as a direction in the element type may not be short.
        for (unit, p) in direction.bias_mut().iter_mut().zip(&mut p) {
            *unit = T::from_f64(*p / size);
            *p = unit.to_f64() * size;
        }
        cost.hessian_product(model, &direction, &mut product)?;
        let h_p: Vec<f64> = product.bias().iter().map(|h| size * h.to_f64()).collect();
        let p_h_p = dot(&p, &h_p);
        if p_h_p <= 0.0 {
            break;
        }
        let length = r_z / p_h_p;
        let of_weights = shifted.iter_mut().zip(product.weights());
        of_weights.for_each(|(g, h)| *g += length * size * h.to_f64());
        for k in 0..c {
            change[k] += length * p[k];
            product_sum[k] += length * h_p[k];
            residual[k] += length * h_p[k];
        }
        z = precondition(&residual);
        let next = -dot(&residual, &z);
        let factor = next / r_z;
        r_z = next;
        p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + factor * *p);
    }
    if norm(&residual) >= norm(g_bias) {
        let (g, g_bias) = (g.to_vec(), g_bias.to_vec());
        return Ok(BiasStep { change: vec![0.0; c], g, g_bias, square: 0.0 });
    }
    let square = dot(&change, &product_sum).max(0.0);
    Ok(BiasStep { change, g: shifted, g_bias: residual, square })
}
