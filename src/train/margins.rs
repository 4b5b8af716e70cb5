//! What the dual problems of the losses of margins have in common: see [`dual`](super::dual) for the mathematics.

use super::cost::Cost;
use crate::{Error, Evaluator, LinearModel, Loss, Objective, Scalar};

/// A loss whose dual variables have bounds of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 0 ≤ α ≤ 1.
    Hinge,
    /// 0 ≤ α, and a term −α²/4.
    Squared,
    /// 0 ≤ α, and Σ α ≤ 1 for each sample.
    CrammerSinger,
}

impl Kind {
    /// The upper bound of each dual variable.
    pub(super) fn upper(self) -> f64 {
        if self == Self::Hinge { 1.0 } else { f64::INFINITY }
    }

    /// The upper bound of their sum, over the classes.
    pub(super) fn cap(self) -> f64 {
        if self == Self::CrammerSinger { 1.0 } else { f64::INFINITY }
    }

    /// The dual term of a sample is Δ Σ α less so much times ½ Σ α².
    pub(super) fn bend(self) -> f64 {
        if self == Self::Squared { 0.5 } else { 0.0 }
    }
}

/// A loss of margins, and the classes of the samples.
#[derive(Debug)]
pub(super) struct Margins {
    pub(super) kind: Kind,
    /// Δ.
    pub(super) margin: f64,
    /// The share of each class of all weights.
    pub(super) shares: Vec<f64>,
    /// The share of a class times the mean of its features, for each class: C × D.
    pub(super) sums: Vec<f64>,
}

/// Dual variables that are the same for all samples of a label, to be mixed with others.
pub(super) struct Balance {
    /// Their share of the mixture, τ.
    pub(super) share: f64,
    /// What they add to (1 − τ) times the terms of the others, and to (1 − τ) times their gradient.
    pub(super) terms: f64,
    pub(super) gradient: Vec<f64>,
}

impl Margins {
    /// `None` for a loss that is none of margins, of any number of rows.
    ///
    /// # Errors
    /// As [`Evaluator::loss_and_gradient`].
    pub(super) fn new<T: Scalar>(
        cost: &mut Cost<'_, '_, T>,
        shape: [usize; 2],
    ) -> Result<Option<Self>, Error> {
        let (kind, margin) = match cost.evaluator.objective().loss() {
            Loss::Hinge { margin } => (Kind::Hinge, margin),
            Loss::SquaredHinge { margin } => (Kind::Squared, margin),
            Loss::CrammerSinger { margin } => (Kind::CrammerSinger, margin),
            _ => return Ok(None),
        };
        let (shares, sums) = class_sums(cost, shape)?;
        Ok(Some(Self { kind, margin, shares, sums }))
    }

    /// What makes up for the derivatives of the bias, which are to be 0: class k with g more than 0 has its samples pass
    /// it on to the classes that have less. `None` if there is more of it than a mixture can make up for.
    pub(super) fn balance(&self, bias: &[f64]) -> Option<Balance> {
        let d = self.sums.len() / bias.len();
        // Their sum is 0 but for rounding errors, without which there is always a class that has less.
        let mean = bias.iter().sum::<f64>() / bias.len() as f64;
        let bias: Vec<f64> = bias.iter().map(|bias| bias - mean).collect();
        let mut gradient = vec![0.0; self.sums.len()];
        let excess = |k: usize| bias[k].max(0.0);
        let lack = |k: usize| (-bias[k]).max(0.0);
        let total_lack: f64 = (0..bias.len()).map(lack).sum();
        if bias.iter().all(|bias| *bias <= 0.0) {
            return Some(Balance { share: 0.0, terms: 0.0, gradient });
        }
        // So that no variable exceeds 1, nor their sum.
        let ratio =
            (0..bias.len()).filter(|k| excess(*k) > 0.0).map(|k| excess(k) / self.shares[k]);
        let ratio = ratio.fold(0.0, f64::max);
        let share = ratio / (1.0 + ratio);
        if !(share < 1.0 && total_lack > 0.0) {
            return None;
        }
        let to: Vec<f64> = (0..bias.len()).map(|j| lack(j) / total_lack).collect();
        let squares: f64 = to.iter().map(|to| to * to).sum();
        let (mut terms, mut passed_on) = (0.0, vec![0.0; d]);
        for k in (0..bias.len()).filter(|k| excess(*k) > 0.0) {
            let flow = (1.0 - share) * excess(k);
            terms += self.margin * flow
                - 0.5 * self.kind.bend() * flow * flow * squares / (share * self.shares[k]);
            let of_class = k * d..(k + 1) * d;
            let sums = self.sums[of_class.clone()].iter().zip(&mut gradient[of_class]);
            for ((sum, gradient), passed_on) in sums.zip(&mut passed_on) {
                let features = flow * sum / self.shares[k];
                *gradient -= features;
                *passed_on += features;
            }
        }
        for (gradient, to) in gradient.chunks_exact_mut(d).zip(to) {
            gradient.iter_mut().zip(&passed_on).for_each(|(g, passed_on)| *g += to * passed_on);
        }
        Some(Balance { share, terms, gradient })
    }
}

/// [`Margins::shares`] and [`Margins::sums`]. A gradient has them: where the score of a class that no sample is of is
/// higher than all others, it is the one that violates the margin 0 of each sample.
///
/// # Errors
/// As [`Evaluator::loss_and_gradient`].
pub(super) fn class_sums<T: Scalar>(
    cost: &mut Cost<'_, '_, T>,
    [c, d]: [usize; 2],
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let mut evaluator = Evaluator::new(Objective::hinge(0.0)).with_isa(cost.evaluator.isa());
    let mut model = LinearModel::zeros(c + 1, d);
    model.bias_mut()[c] = T::from_f64(1.0);
    let mut cost = cost.with(&mut evaluator);
    let partial = cost.sum(&model, None)?;
    partial.check_shape(&model)?;
    let total = partial.divisor()?;
    let (weights, bias) = partial.gradient().split_at((c + 1) * d);
    let share = |sum: &f64| -sum / total;
    Ok((bias[..c].iter().map(share).collect(), weights[..c * d].iter().map(share).collect()))
}
