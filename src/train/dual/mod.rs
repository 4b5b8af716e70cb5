//! Dual coordinate ascent: the losses with kinks to their optimum, and a proof of it.
//!
//! Each hinge is a maximum over dual variables αᵢⱼ, one for each sample i and class j other than its label y:
//!
//! ```text
//! Lᵢ(s) = max Σ_{j≠y} αⱼ (s_j − s_y + Δ) − ½ γ αⱼ²
//!
//! Weston and Watkins   0 ≤ αⱼ ≤ 1              γ = 0
//! squared              0 ≤ αⱼ                  γ = ½
//! Crammer and Singer   0 ≤ αⱼ,  Σ αⱼ ≤ 1       γ = 0
//! ```
//!
//! Let aᵢ be the derivatives that α stands for (αⱼ for class j, −Σ α for the label), and G = (1/Z) Σ wᵢ aᵢ xᵢᵀ. For any
//! α within these bounds, exchanging the minimum over W and b with the maximum over α shows for all W and b that
//!
//! ```text
//! F(W, b) ≥ D(α) = (1/Z) Σ wᵢ (Δ Σ αᵢⱼ − ½ γ Σ αᵢⱼ²) − ‖G‖² / 4λ        if (1/Z) Σ wᵢ aᵢ = 0,
//! ```
//!
//! with W = −G / 2λ where the two are equal (Weston and Watkins, "Support vector machines for multi-class pattern
//! recognition", 1999; Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector
//! machines", 2001). So F(W, b) − D(α) is a bound on the distance of any model to the optimum.
//!
//! [`DualAscent`] raises D sample by sample, with W always that of α (Hsieh and others, "A dual coordinate descent method
//! for large-scale linear SVM", 2008; Keerthi and others, "A sequential dual method for large scale multi-class linear
//! SVMs", 2008; Shalev-Shwartz and Zhang, "Stochastic dual coordinate ascent methods for regularized loss
//! minimization", 2013). After a pass over all samples come some over those that moved or have variables between
//! their bounds, which are few in the end.
//!
//! **The bias.** Its condition ties all samples together. Instead, b is pulled towards a point b̄ by a term μ‖b − b̄‖²,
//! which is a constant feature in the dual; now and then b̄ becomes b, and the pull vanishes in the limit (Rockafellar's
//! method of multipliers). A dual point that lacks some of the condition proves nothing yet. So it is mixed with one
//! that makes up for it, the same for all samples of a label: where class k has g more than 0, samples with label k get
//! α > 0 for classes that have less than 0. With these, e of all samples' weight moves from k to j, and G changes by
//! e (e_j − e_k) times the mean of the features of label k, which is known; the share of the mixture is no more than the
//! largest g by the share of a class.

mod ascent;
mod bound;
mod problem;

pub(crate) use self::{ascent::Ascend, bound::AddDual, problem::RowSquares};

use self::{
    ascent::{GROUP, Point, Scratch},
    bound::Dual,
    problem::Problem,
};
use super::{
    Lbfgs, Progress, StopReason, Summary, check, check_l2,
    cost::{Cost, Data, Sums, is_of_a_step},
    margins::Margins,
    max_norm,
    shifted::Shifted,
    shuffle,
};
use crate::{
    Batch, Error, Evaluator, LinearModel, Partial, Scalar, buffer::Buffer, element::Element,
    simd::MAX_LANES,
};
use core::ops::ControlFlow;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

/// Dual coordinate ascent, for the losses with kinks (the hinge of Weston and Watkins, and that of Crammer and Singer)
/// and for the squared hinge, with λ > 0. It goes past kinks to the optimum, and stops when a bound on F − F*, the
/// distance to it, shows that it is there: [`Summary::gap`]. The binary hinge losses are fitted as
/// [two rows](crate::Objective::to_two_rows).
///
/// Takes memory for N × C dual variables. A pass takes the time of a few evaluations on one thread.
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::DualAscent};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features = [0.0_f64, 1.0, 1.0, 0.0, -1.0, 0.5, 2.0, 2.0];
/// let batch = Batch::new(MatrixView::new(&features, 4, 2)?, &[0, 1, 2, 1])?;
/// let mut model = LinearModel::<f64>::zeros(3, 2);
/// let mut evaluator = Evaluator::new(Objective::hinge(1.0).with_l2(1e-2));
/// let go_on = |_: &_, _: &_| ControlFlow::Continue(());
/// let summary = DualAscent::default().fit(&mut evaluator, &mut model, &batch, go_on)?;
/// assert!(summary.stop_reason.converged());
/// // No model has an objective that is lower by more than this.
/// assert!(summary.gap.expect("a bound") <= 1e-4 * summary.progress.objective);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DualAscent {
    /// Stop when the bound on F − F* falls to this, relative to F.
    pub tolerance: f64,
    /// Stop after so many epochs, each of which is a pass over all samples and some over few of them.
    pub max_epochs: usize,
    /// Where the order of the samples is drawn from.
    pub seed: u64,
}

impl Default for DualAscent {
    /// Tolerance 1e-4, 1000 epochs at most.
    fn default() -> Self {
        Self { tolerance: 1e-4, max_epochs: 1000, seed: 0 }
    }
}

/// Iterations of L-BFGS to begin with, at most. It is soon at a kink, with a model that is better than those of the first
/// epochs, and of features of unequal scales perhaps than all of them.
const SOON: usize = 100;

/// Passes over some samples after one over all, at most.
const PASSES: usize = 20;

/// The fit is stalled if the bound has not fallen to so much of itself in so many epochs.
const STALLED: (f64, usize) = (0.9, 100);

/// These passes end when they have taken the distance to this share of what it was.
const ENOUGH: f64 = 0.3;

impl DualAscent {
    /// Minimises the evaluator's objective over `batch`, from `model` on: first by L-BFGS, whose iterations count as
    /// epochs, until it is at a kink. Then the bias of `model` is what the ascent begins with; W is that of the dual
    /// variables, which begin at 0. What is left in `model` is the best one of all epochs.
    ///
    /// `on_epoch` is told of every epoch and the best model so far, the starting point being number 0.
    ///
    /// # Errors
    /// Those of [`Evaluator::loss_and_gradient`] at the starting point; [`Error::NoDual`] for cross-entropy and the
    /// logistic loss; [`Error::Setting`] for a tolerance that is NaN or negative, or where λ is 0 or λ or 1 / λ is beyond
    /// the range of `T`; [`Error::SizeOverflow`] for more samples than a `u32` can count.
    pub fn fit<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        mut on_epoch: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        self.minimize(Cost::new(evaluator, Data::Batch(batch)), model, batch, &mut on_epoch)
    }

    /// As [`fit`](Self::fit), with the evaluations of all samples left to others: `accumulate` is asked for their sums, as
    /// [`Lbfgs::fit_partials`] asks for them, by the iterations of L-BFGS and once after each epoch. The ascent itself is
    /// done here, over `batch`, which has all samples.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::DualAscent};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let features = [0.0_f64, 1.0, 1.0, 0.0, -1.0, 0.5, 2.0, 2.0];
    /// let batch = Batch::new(MatrixView::new(&features, 4, 2)?, &[0, 1, 2, 1])?;
    /// let objective = Objective::hinge(1.0).with_l2(1e-2);
    /// let (mut model, mut evaluator) = (LinearModel::zeros(3, 2), Evaluator::new(objective));
    /// let summary = DualAscent::default().fit_partials(
    ///     &mut Evaluator::new(objective),
    ///     &mut model,
    ///     &batch,
    ///     |sums, partial| {
    ///         // In your case, by other processes, each for its part.
    ///         sums.add(&mut evaluator, &batch, partial)?;
    ///         Ok(4)
    ///     },
    ///     |_, _| ControlFlow::Continue(()),
    /// )?;
    /// assert!(summary.gap.expect("a bound") <= 1e-4 * summary.progress.objective);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Self::fit). An [`Error::NonFinite`] of `accumulate`, after the first evaluation, tells that a model is none
    /// to keep; any other error of it ends the fit.
    pub fn fit_partials<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        mut accumulate: impl FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>,
        mut on_epoch: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let cost = Cost::new(evaluator, Data::Partials(&mut accumulate));
        self.minimize(cost, model, batch, &mut on_epoch)
    }

    fn minimize<T: Scalar>(
        &self,
        mut cost: Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_epoch: OnEpoch<'_, T>,
    ) -> Result<Summary, Error> {
        check("tolerance", self.tolerance, self.tolerance >= 0.0, "at least 0")?;
        let two_rows = cost.evaluator.objective().to_two_rows();
        // Of the logistic loss, cross-entropy has no margin.
        let Some(objective) = two_rows.filter(|two_rows| two_rows.loss().margin().is_some()) else {
            return self.ascend(cost, model, batch, on_epoch);
        };
        cost.evaluator.check(model)?;
        let mut evaluator = Evaluator::new(objective).with_isa(cost.evaluator.isa());
        let mut of_two_rows = model.to_two_rows()?;
        let cost = cost.with(&mut evaluator);
        let summary = self.ascend(cost, &mut of_two_rows, batch, &mut |progress, best| {
            // The rows are each other's negatives.
            *model = best.to_one_row().expect("two rows");
            on_epoch(progress, model)
        })?;
        *model = of_two_rows.to_one_row()?;
        Ok(summary)
    }

    /// [`minimize`](Self::minimize), for models of a row a class.
    fn ascend<T: Scalar>(
        &self,
        mut cost: Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_epoch: OnEpoch<'_, T>,
    ) -> Result<Summary, Error> {
        let objective = cost.evaluator.objective();
        check_l2::<T>(objective.l2())?;
        let (c, d) = (model.n_classes(), model.n_features());
        let in_range = objective.l2() > 0.0 && T::from_f64(0.5 / objective.l2()).is_finite();
        let rule = "greater than 0, with 1 / 2λ in the range of the element type";
        check("L2 coefficient λ", objective.l2(), in_range, rule)?;
        if u32::try_from(batch.features().rows().max(batch.n_samples())).is_err() {
            return Err(Error::SizeOverflow { rows: batch.n_samples(), row_stride: d });
        }
        cost.check_sample(model, batch)?;
        let margins = Margins::new(&mut cost, [c, d])?;
        let margins = margins.ok_or(Error::NoDual { loss: objective.loss().name() })?;
        let mut means = vec![0.0; d];
        for of_class in margins.sums.chunks_exact(d) {
            means.iter_mut().zip(of_class).for_each(|(mean, sum)| *mean += sum);
        }
        let shifted = Shifted::by(batch, means)?;
        let problem = Problem::new(&objective, cost.evaluator.isa(), batch, &shifted, margins)?;

        let soon = Lbfgs { max_iterations: self.max_epochs.min(SOON), ..Lbfgs::default() };
        let summary = soon.minimize(&mut cost, model, Some(batch), &mut *on_epoch)?;
        if summary.stop_reason == StopReason::Interrupted {
            return Ok(summary);
        }
        let Progress { objective, gradient_norm, iteration, .. } = summary.progress;
        let point = Point::start(&problem, &shifted, model);
        let mut fit = Fit {
            solver: self,
            cost: &mut cost,
            batch,
            problem: &problem,
            shifted: &shifted,
            point,
            scratch: Scratch::default(),
            candidate: model.clone(),
            gradient: LinearModel::zeros(c, d),
            model,
            best: Best { objective, gradient_norm },
            // No loss is negative.
            bound: 0.0,
            fell_to: (f64::INFINITY, iteration),
            epoch: iteration,
            visited: 0,
        };
        let stop_reason = fit.run(on_epoch)?;
        let gap = Some((fit.best.objective - fit.bound).max(0.0));
        Ok(Summary { progress: fit.progress(), stop_reason, gap })
    }
}

/// The best model so far.
#[derive(Clone, Copy)]
struct Best {
    objective: f64,
    gradient_norm: f64,
}

/// What is told of every epoch.
type OnEpoch<'a, T> = &'a mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>;

/// A fit under way.
struct Fit<'a, 'c, 'b, T> {
    solver: &'a DualAscent,
    cost: &'a mut Cost<'c, 'b, T>,
    batch: &'a Batch<'a, T>,
    problem: &'a Problem<'a, T>,
    shifted: &'a Shifted,
    point: Point<T>,
    scratch: Scratch<T>,
    candidate: LinearModel<T>,
    gradient: LinearModel<T>,
    model: &'a mut LinearModel<T>,
    best: Best,
    /// What no objective falls below.
    bound: f64,
    /// The gap, when it last fell by enough, and the epoch.
    fell_to: (f64, usize),
    epoch: usize,
    /// Samples that the passes met, again and again.
    visited: u64,
}

impl<T: Scalar> Fit<'_, '_, '_, T> {
    fn run(&mut self, on_epoch: OnEpoch<'_, T>) -> Result<StopReason, Error> {
        let n = self.batch.n_samples();
        let counts = |&i: &u32| self.problem.label_and_weight(i as usize).1 > 0.0;
        let mut all: Vec<u32> = (0..n as u32).filter(counts).collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.solver.seed);
        // The distance when b̄ was moved last.
        let mut moved_at = f64::INFINITY;
        // The last iteration of L-BFGS has been told of.
        let mut stop_reason = self.stop_reason();
        loop {
            if let Some(stop_reason) = stop_reason {
                return Ok(stop_reason);
            }
            let (distance, mut active) = self.pass(&mut all, &mut random);
            let mut left = distance;
            for _ in 0..PASSES {
                if active.is_empty() || left <= ENOUGH * distance {
                    break;
                }
                (left, active) = self.pass(&mut active, &mut random);
            }
            self.epoch += 1;
            let dual = Dual::new(self.cost.evaluator.isa(), self.problem, &mut self.point);
            self.bound = self.bound.max(dual.bound(self.problem));
            dual.set_weights(self.problem, &mut self.point);
            self.evaluate()?;
            if left <= 0.5 * moved_at {
                moved_at = left;
                self.point.move_center(self.problem);
            }
            stop_reason = match on_epoch(&self.progress(), self.model).is_break() {
                true => Some(StopReason::Interrupted),
                false => self.stop_reason(),
            };
        }
    }

    /// Visits some samples in a random order. Returns the distance between primal and dual, as the samples were met,
    /// and those to visit again.
    fn pass(&mut self, order: &mut [u32], random: &mut Xoshiro256PlusPlus) -> (f64, Vec<u32>) {
        shuffle(order, random);
        let row = |&i: &u32| self.problem.batch.row_index(i as usize) as u32;
        let rows: Vec<u32> = order.iter().map(row).collect();
        let mut active = Vec::new();
        let ascend = Ascend {
            problem: self.problem,
            order,
            rows: &rows,
            point: &mut self.point,
            scratch: &mut self.scratch,
            active: &mut active,
        };
        let distance = T::ascend(self.cost.evaluator.isa(), ascend);
        self.visited += order.len() as u64;
        (distance, active)
    }

    /// Keeps the model of the point if it is the best one.
    fn evaluate(&mut self) -> Result<(), Error> {
        self.point.write_model(self.problem, self.shifted, &mut self.candidate);
        let Self { cost, candidate, gradient, .. } = self;
        match cost.loss_and_gradient(candidate, gradient) {
            Ok(objective) if objective < self.best.objective => {
                let gradient_norm = max_norm(gradient.parameters());
                self.best = Best { objective, gradient_norm };
                self.model.parameters_mut().copy_from_slice(candidate.parameters());
            }
            Err(error) if !is_of_a_step(&error) => return Err(error),
            _ => {}
        }
        Ok(())
    }

    fn progress(&self) -> Progress {
        Progress {
            iteration: self.epoch,
            objective: self.best.objective,
            gradient_norm: self.best.gradient_norm,
            evaluations: self.cost.evaluations,
            samples: self.cost.samples + self.visited,
        }
    }

    /// Why this epoch is the last one, if it is.
    fn stop_reason(&mut self) -> Option<StopReason> {
        let gap = self.best.objective - self.bound;
        if gap < STALLED.0 * self.fell_to.0 {
            self.fell_to = (gap, self.epoch);
        }
        if gap <= self.solver.tolerance * self.best.objective {
            Some(StopReason::Gap)
        } else if self.epoch >= self.solver.max_epochs {
            Some(StopReason::MaxIterations)
        } else {
            (self.epoch - self.fell_to.1 >= STALLED.1).then_some(StopReason::Stalled)
        }
    }
}

impl<T: Element> Point<T> {
    /// Without weights, and with the bias of a model, where its classes have samples.
    fn start(problem: &Problem<'_, T>, shifted: &Shifted, model: &LinearModel<T>) -> Self
    where
        T: Scalar,
    {
        let (n, c, d) = (problem.batch.n_samples(), problem.n_classes, problem.n_features);
        let width = c.next_multiple_of(MAX_LANES);
        let sparse = problem.batch.features().is_sparse();
        let stride = if sparse { width } else { (d + 1).next_multiple_of(MAX_LANES) };
        let mut weights = Buffer::default();
        weights.resize(if sparse { (d + 1) * width } else { c.next_multiple_of(GROUP) * stride });
        weights.as_mut_slice().fill(T::default());
        let mut center = Buffer::default();
        center.resize(width);
        center.as_mut_slice().fill(Problem::<T>::never());
        let of_model = model.bias().iter().zip(model.weights().chunks_exact(d));
        for ((center, (bias, weights)), share) in
            center.as_mut_slice().iter_mut().zip(of_model).zip(&problem.margins.shares)
        {
            if *share > 0.0 {
                *center = T::from_f64(bias.to_f64() + shifted.of_bias(weights));
            }
        }
        Self { alpha: vec![T::default(); n * c], weights, stride, sparse, center }
    }

    /// A weight; that of the feature behind the last one is that of the constant feature.
    fn weight_mut(&mut self, class: usize, feature: usize) -> &mut T {
        let index = match self.sparse {
            true => feature * self.stride + class,
            false => class * self.stride + feature,
        };
        &mut self.weights.as_mut_slice()[index]
    }

    /// b, of the features as they are taken.
    fn bias(&mut self, problem: &Problem<'_, T>, class: usize) -> f64 {
        let weight = self.weight_mut(class, problem.n_features).to_f64();
        self.center.as_slice()[class].to_f64() + problem.constant.to_f64() * weight
    }

    /// Makes b the point that it is pulled towards.
    fn move_center(&mut self, problem: &Problem<'_, T>) {
        for class in (0..problem.n_classes).filter(|class| problem.margins.shares[*class] > 0.0) {
            let bias = self.bias(problem, class);
            self.center.as_mut_slice()[class] = T::from_f64(bias);
        }
    }

    /// W and b of the features as they are seen.
    fn write_model(
        &mut self,
        problem: &Problem<'_, T>,
        shifted: &Shifted,
        model: &mut LinearModel<T>,
    ) where
        T: Scalar,
    {
        let (c, d) = (problem.n_classes, problem.n_features);
        let longest = problem.squares.iter().fold(0.0, |max: f64, x| max.max(x.to_f64())).sqrt();
        let mut least = f64::INFINITY;
        for class in 0..c {
            let mut squares = 0.0;
            for feature in 0..d {
                let weight = *self.weight_mut(class, feature);
                model.weights_mut()[class * d + feature] = weight;
                squares += weight.to_f64().powi(2);
            }
            if problem.margins.shares[class] > 0.0 {
                let bias = self.bias(problem, class);
                let of_shift = shifted.of_bias(&model.weights()[class * d..][..d]);
                model.bias_mut()[class] = T::from_f64(bias - of_shift);
                least = least.min(bias - longest * squares.sqrt());
            }
        }
        // A class without samples has no optimum but −∞; what is below all scores is as good.
        let below = least - 1.01 * problem.margins.margin - 1e-2 * least.abs();
        for class in (0..c).filter(|class| problem.margins.shares[*class] == 0.0) {
            model.bias_mut()[class] = T::from_f64(below);
        }
    }
}
