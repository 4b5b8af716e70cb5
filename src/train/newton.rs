//! Newton's method in a trust region, over the whole batch. Each step is found by conjugate gradients with Hessian
//! products, preconditioned by the same `curvature` that L-BFGS begins with; this file has both loops. What they ask of
//! the samples goes by `cost`.

use super::{
    GRADIENT_TOLERANCE, Progress, StopReason, Summary, center_classes, check, check_l2,
    cost::{Cost, Data, Point, Sums},
    curvature::{Curvature, Sample, Source},
    dot, gap,
    lbfgs::{self, Lbfgs},
    max_norm, shifted,
};
use crate::{Batch, Error, Evaluator, LinearModel, Partial, Scalar};
use core::ops::ControlFlow;

/// The trust-region Newton method with conjugate gradients (Steihaug, 1983; Lin, Weng and Keerthi, "Trust region
/// Newton method for large-scale logistic regression", 2008), for losses without kinks: cross-entropy and the
/// squared hinge. Near the optimum each iteration adds digits, where [`Lbfgs`](super::Lbfgs) adds them slowly; it is
/// for high accuracy, and for data on which L-BFGS takes hundreds of iterations.
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::NewtonCg};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features = [0.0_f64, 1.0, 1.0, 0.0, -1.0, 0.5, 2.0, 2.0];
/// let batch = Batch::new(MatrixView::new(&features, 4, 2)?, &[0, 1, 2, 1])?;
/// let mut model = LinearModel::<f64>::zeros(3, 2);
/// let mut evaluator = Evaluator::new(Objective::squared_hinge(1.0).with_l2(1e-3));
/// let solver = NewtonCg { gradient_tolerance: 1e-12, ..NewtonCg::default() };
/// let summary =
///     solver.fit(&mut evaluator, &mut model, &batch, |_, _| ControlFlow::Continue(()))?;
/// assert!(summary.stop_reason.converged());
/// assert!(summary.progress.gradient_norm <= 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewtonCg {
    /// Stop after so many iterations, each of which takes some Hessian products.
    pub max_iterations: usize,
    /// Stop when no entry of the gradient exceeds this.
    pub gradient_tolerance: f64,
    /// Precondition with the curvature of a sample; see [`Lbfgs::curvature`] for what it takes and when it is left
    /// out.
    pub curvature: bool,
}

impl Default for NewtonCg {
    /// 100 iterations at most, tolerance 1e-5.
    fn default() -> Self {
        Self { max_iterations: 100, gradient_tolerance: GRADIENT_TOLERANCE, curvature: true }
    }
}

/// Hessian products of a step, at most.
const MAX_PRODUCTS: usize = 200;

/// What is left of the residual when a step is good enough, relative to the gradient: less near the optimum, where it
/// pays, but no less than this.
const LEAST_RESIDUAL: f64 = 1e-2;

/// Steps that are rejected one after the other, at most.
const REJECTIONS: usize = 30;

/// The share of the predicted decrease with which a step is accepted, with which the region stays as large, and with
/// which it may grow.
const ACCEPTED: f64 = 1e-4;
const POOR: f64 = 0.25;
const GOOD: f64 = 0.75;

impl NewtonCg {
    /// Minimises the evaluator's objective over `batch`, from `model` on; every iteration leaves in it a lower
    /// objective.
    ///
    /// `on_iteration` is told of every iteration, the starting point being number 0. The evaluations that it is told
    /// count Hessian products, too.
    ///
    /// # Errors
    /// [`Error::NoHessian`] for a loss with kinks; those of [`Evaluator::loss_and_gradient`] at the starting point;
    /// [`Error::Setting`] for a tolerance that is NaN or negative, or a λ beyond the range of `T`.
    pub fn fit<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        shifted::fit(
            evaluator,
            model,
            batch,
            on_iteration,
            &mut |evaluator, model, batch, report| {
                let cost = Cost::new(evaluator, Data::Batch(batch));
                self.minimize(cost, model, Some(batch), report)
            },
        )
    }

    /// As [`fit`](Self::fit), over data of which other processes have parts, or that comes in chunks. As
    /// [`Lbfgs::fit_partials`], it asks `accumulate` for [`Sums`], those of Hessian products, too; `sample` is what the
    /// curvature is learnt from: some thousands of the samples; without any, it is not.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::NewtonCg};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// // Two chunks of two samples; in your case, read anew each time.
    /// let chunks = [([0.0_f64, 1.0, 1.0, 0.0], [0, 1]), ([-1.0, 0.5, 2.0, 2.0], [2, 1])];
    /// let objective = Objective::cross_entropy().with_l2(1e-3);
    /// let (mut model, mut evaluator) = (LinearModel::zeros(3, 2), Evaluator::new(objective));
    /// let summary = NewtonCg::default().fit_partials(
    ///     &mut Evaluator::new(objective),
    ///     &mut model,
    ///     None,
    ///     |sums, partial| {
    ///         for (features, labels) in &chunks {
    ///             let batch = Batch::new(MatrixView::new(features, 2, 2)?, labels)?;
    ///             sums.add(&mut evaluator, &batch, partial)?;
    ///         }
    ///         Ok(4)
    ///     },
    ///     |_, _| ControlFlow::Continue(()),
    /// )?;
    /// assert!(summary.stop_reason.converged());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and those of `accumulate`, as [`Lbfgs::fit_partials`] has them.
    pub fn fit_partials<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        mut accumulate: impl FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>,
        mut on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let cost = Cost::new(evaluator, Data::Partials(&mut accumulate));
        self.minimize(cost, model, sample, &mut on_iteration)
    }

    fn minimize<T: Scalar>(
        &self,
        mut cost: Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<Summary, Error> {
        let tolerance = self.gradient_tolerance;
        check("gradient tolerance", tolerance, tolerance >= 0.0, "at least 0")?;
        let objective = cost.evaluator.objective();
        check_l2::<T>(objective.l2())?;
        if let Some(sample) = sample {
            model.check_features(sample.n_features())?;
        }
        let mut best = Point::at(model);
        cost.evaluate(&mut best)?;
        if let Some(sample) = sample {
            cost.check_sample(&best.model, sample)?;
        }
        if !objective.is_smooth() {
            return Err(Error::NoHessian { loss: objective.loss().name() });
        }
        let (n_samples, sample) = (cost.samples, sample.filter(|_| self.curvature));
        let mut fit = Fit { solver: self, sample, n_samples, cost: &mut cost, best, iteration: 0 };
        let stop_reason = fit.run(on_iteration);
        let progress = fit.progress();
        model.parameters_mut().copy_from_slice(fit.best.model.parameters());
        let summary = Summary { progress, stop_reason: stop_reason?, gap: None };
        Ok(gap::after_fit(summary, &mut cost, model))
    }
}

/// What is told of every iteration.
type OnIteration<'a, T> = &'a mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>;

/// A fit under way.
struct Fit<'a, 'b, 'c, 'd, T> {
    solver: &'a NewtonCg,
    /// What the curvature is learnt from.
    sample: Option<&'a Batch<'d, T>>,
    /// Of an evaluation.
    n_samples: u64,
    cost: &'a mut Cost<'b, 'c, T>,
    best: Point<T>,
    iteration: usize,
}

/// A step, as the quadratic model of the objective has it.
struct Step {
    direction: Vec<f64>,
    /// By how much the model falls.
    predicted: f64,
    /// Its length, in the norm of the preconditioner.
    length: f64,
    /// Whether it ends at the border of the region.
    at_border: bool,
}

impl<T: Scalar> Fit<'_, '_, '_, '_, T> {
    fn run(&mut self, on_iteration: OnIteration<'_, T>) -> Result<StopReason, Error> {
        let mut stop_reason = self.report(on_iteration);
        let mut curvature = None;
        if let (None, Some(sample)) = (stop_reason, self.sample) {
            let (isa, objective) = (self.cost.evaluator.isa(), self.cost.evaluator.objective());
            let (c, n) = (self.best.model.n_classes(), sample.n_samples());
            let from_zero = max_norm(self.best.model.parameters()) == 0.0;
            let to_fit = from_zero.then(|| Sample::to_fit(c, sample, self.n_samples)).flatten();
            let apart = to_fit.is_some();
            if let Some(to_fit) = to_fit {
                let solver = Lbfgs::default();
                let fitted = lbfgs::fit_roughly(&solver, self.cost, &self.best, &to_fit, n)?;
                if let Some(point) = fitted {
                    self.best = point;
                    self.iteration += 1;
                    stop_reason = self.report(on_iteration);
                }
            }
            if stop_reason.is_none() {
                let source = Source::Model { model: self.best.model.clone(), apart };
                curvature = source.learn(isa, &objective, c, sample, self.n_samples);
            }
        }
        let stop_reason = match stop_reason {
            Some(reason) => reason,
            None => self.iterate(curvature, on_iteration)?,
        };
        Ok(match stop_reason {
            StopReason::LineSearch if self.iteration == 0 => StopReason::NoProgress,
            stop_reason => stop_reason,
        })
    }

    fn progress(&self) -> Progress {
        Progress {
            iteration: self.iteration,
            objective: self.best.objective,
            gradient_norm: max_norm(self.best.gradient.parameters()),
            evaluations: self.cost.evaluations,
            samples: self.cost.samples,
        }
    }

    /// Tells of an iteration. Returns why it is the last one, if it is.
    fn report(&self, on_iteration: OnIteration<'_, T>) -> Option<StopReason> {
        let progress = self.progress();
        if on_iteration(&progress, &self.best.model).is_break() {
            Some(StopReason::Interrupted)
        } else if progress.gradient_norm <= self.solver.gradient_tolerance {
            Some(StopReason::GradientTolerance)
        } else {
            (self.iteration >= self.solver.max_iterations).then_some(StopReason::MaxIterations)
        }
    }

    fn iterate(
        &mut self,
        mut curvature: Option<Curvature>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<StopReason, Error> {
        let mut trial = Point::at(&self.best.model);
        let objective = self.cost.evaluator.objective();
        // No length is too long before the first step is seen to be.
        let mut radius = f64::INFINITY;
        let (mut rejections, mut diverged) = (0, false);
        let first_norm = max_norm(self.best.gradient.parameters());
        while rejections < REJECTIONS {
            let norm = max_norm(self.best.gradient.parameters());
            let residual = (norm / first_norm).sqrt().clamp(LEAST_RESIDUAL, 0.1);
            let mut step = self.step(radius, residual, &mut curvature)?;
            center_classes(&mut step.direction, trial.model.n_classes(), objective);
            trial.step(&self.best, 1.0, &step.direction);
            diverged = match self.cost.evaluate(&mut trial) {
                // That no shorter step would mend.
                Err(error) if self.cost.error.is_some() => return Err(error),
                result => result.is_err(),
            };
            let decrease = if diverged { -1.0 } else { self.best.objective - trial.objective };
            // What is lost in the last bits of the objective shows in the gradient.
            let flat = step.predicted <= T::EPSILON.to_f64() * self.best.objective.abs();
            let falls = max_norm(trial.gradient.parameters()) < norm;
            let ratio = if flat && !diverged {
                f64::from(u8::from(falls))
            } else {
                decrease / step.predicted
            };
            if ratio < POOR {
                radius = POOR * step.length;
            } else if ratio > GOOD && step.at_border {
                radius = 4.0 * step.length;
            }
            // Also where it is not a number.
            let accepted = ratio > ACCEPTED;
            if !accepted {
                if flat {
                    return Ok(StopReason::LineSearch);
                }
                rejections += 1;
                continue;
            }
            rejections = 0;
            self.iteration += 1;
            core::mem::swap(&mut self.best, &mut trial);
            if let Some(stop_reason) = self.report(on_iteration) {
                return Ok(stop_reason);
            }
        }
        Ok(if diverged { StopReason::Diverged } else { StopReason::LineSearch })
    }

    /// Minimises g·s + ½ s·Hs over the steps s that are no longer than the radius, until so much of the residual is
    /// left (Steihaug's conjugate gradients; Conn, Gould and Toint, "Trust-region methods", algorithm 7.5.1).
    fn step(
        &mut self,
        radius: f64,
        residual: f64,
        curvature: &mut Option<Curvature>,
    ) -> Result<Step, Error> {
        let mut precondition = |r: &[f64], z: &mut [f64]| match curvature {
            Some(curvature) => curvature.solve(r, z),
            None => z.copy_from_slice(r),
        };
        // r = −(g + Hs), z = M⁻¹ r with the preconditioner M, and the direction p.
        let mut r: Vec<f64> =
            self.best.gradient.parameters().iter().map(|slope| -slope.to_f64()).collect();
        let mut s = vec![0.0; r.len()];
        let mut z = vec![0.0; r.len()];
        precondition(&r, &mut z);
        let mut p = z.clone();
        let mut r_z = dot(&r, &z);
        let enough = residual * residual * r_z;
        // s·Ms, s·Mp and p·Mp, which follow from the recurrences.
        let (mut s_m_s, mut s_m_p, mut p_m_p) = (0.0, 0.0, r_z);
        let mut predicted = 0.0;
        let mut direction = self.best.model.clone();
        let mut product = self.best.model.clone();
        for _ in 0..MAX_PRODUCTS {
            let size = max_norm(&p);
            if size == 0.0 {
                break;
            }
            // Of size 1, as a direction in the element type may not be long or short.
            let unit = direction.parameters_mut().iter_mut().zip(&p);
            unit.for_each(|(unit, p)| *unit = T::from_f64(p / size));
            self.cost.hessian_product(&self.best.model, &direction, &mut product)?;
            let h_p = |i: usize| size * product.parameters()[i].to_f64();
            let p_h_p: f64 = (0..p.len()).map(|i| p[i] * h_p(i)).sum();
            let length = r_z / p_h_p;
            let beyond = s_m_s + 2.0 * length * s_m_p + length * length * p_m_p;
            // Without curvature, but for rounding, or where the step leaves the region, it ends at the border.
            let at_border = p_h_p <= 0.0 || beyond >= radius * radius;
            if p_h_p <= 0.0 && radius.is_infinite() {
                break;
            }
            let length = if at_border {
                let root = (s_m_p * s_m_p + p_m_p * (radius * radius - s_m_s)).sqrt();
                (root - s_m_p) / p_m_p
            } else {
                length
            };
            predicted += length * (r_z - 0.5 * length * p_h_p);
            s_m_s += length * (2.0 * s_m_p + length * p_m_p);
            for i in 0..p.len() {
                s[i] += length * p[i];
                r[i] -= length * h_p(i);
            }
            if at_border {
                return Ok(Step { direction: s, predicted, length: radius, at_border });
            }
            precondition(&r, &mut z);
            let next = dot(&r, &z);
            if next <= enough {
                break;
            }
            let factor = next / r_z;
            s_m_p = factor * (s_m_p + length * p_m_p);
            p_m_p = next + factor * factor * p_m_p;
            r_z = next;
            p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + factor * *p);
        }
        Ok(Step { direction: s, predicted, length: s_m_s.sqrt(), at_border: false })
    }
}
