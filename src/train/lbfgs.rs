//! L-BFGS over the whole batch: the two-loop recursion and the line search of Moré and Thuente are those
//! of the crate `argmin`; this file lends them the evaluator as cost and gradient, and decides when to
//! stop. It steps the solver itself, because a callback may stop it, and because it is to be
//! known why it stopped.

use super::{Progress, StopReason, Summary, max_norm};
use crate::{Batch, Error, Evaluator, LinearModel, Scalar};
use argmin::core::{CostFunction, Gradient, IterState, Problem, Solver, State};
use argmin::solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS};
use core::{cell::RefCell, ops::ControlFlow};

/// The limited-memory BFGS method (Nocedal and Wright, "Numerical Optimization", algorithm 7.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    /// Stop after so many iterations.
    pub max_iterations: usize,
    /// Differences of gradients remembered.
    pub memory: usize,
    /// Stop when no entry of the gradient exceeds this: scikit-learn's `tol`, SciPy's `gtol`.
    pub gradient_tolerance: f64,
    /// Stop when (F − F′) / max(|F|, |F′|, 1) falls to this: SciPy's `ftol`.
    pub relative_decrease: f64,
}

impl Default for Lbfgs {
    /// 100 iterations at most, memory 10, tolerances 1e-5 and 1e-9.
    fn default() -> Self {
        Self { max_iterations: 100, memory: 10, gradient_tolerance: 1e-5, relative_decrease: 1e-9 }
    }
}

type Parameters = Vec<f64>;
type Iterate = IterState<Parameters, Parameters, (), (), (), f64>;
type LineSearch = MoreThuenteLineSearch<Parameters, Parameters, f64>;

impl Lbfgs {
    /// Minimises the evaluator's objective over `batch`, from `model` on; every iteration leaves in it a
    /// lower objective.
    ///
    /// `on_iteration` is told of every iteration, the starting point being number 0.
    ///
    /// # Errors
    /// Those of [`Evaluator::loss_and_gradient`] at the starting point. Later on, a step to where the
    /// objective is not finite ends the fit as [`StopReason::Diverged`].
    pub fn fit<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        mut on_iteration: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let mut iterate: Parameters = model.parameters().iter().map(|p| p.to_f64()).collect();
        let gradient = LinearModel::zeros(model.n_classes(), model.n_features());
        let cost = RefCell::new(Cost {
            evaluator,
            model,
            batch,
            gradient,
            last: None,
            evaluations: 0,
            diverged: false,
        });
        let summary = self.iterate(&cost, &mut iterate, &mut on_iteration);
        set(cost.into_inner().model, &iterate);
        summary
    }

    /// Moves `iterate` towards the optimum.
    fn iterate<T: Scalar>(
        &self,
        cost: &RefCell<Cost<'_, '_, T>>,
        iterate: &mut Parameters,
        on_iteration: &mut impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let samples = cost.borrow().batch.n_samples() as u64;
        let progress = |iteration, objective, gradient_norm| {
            let evaluations = cost.borrow().evaluations;
            let samples = samples * evaluations as u64;
            Progress { iteration, objective, gradient_norm, evaluations, samples }
        };

        let point = cost.borrow_mut().evaluate(iterate)?;
        let mut now = progress(0, point.objective, max_norm(&point.gradient));
        let mut decrease = f64::INFINITY;
        let mut solver = LBFGS::new(LineSearch::new(), self.memory.max(1));
        let mut problem = Problem::new(Objective(cost));
        let state = Iterate::new().param(point.parameters).cost(point.objective);
        let mut state = state.gradient(point.gradient);
        loop {
            let stop_reason = if on_iteration(&now).is_break() {
                Some(StopReason::Interrupted)
            } else if now.gradient_norm <= self.gradient_tolerance {
                Some(StopReason::GradientTolerance)
            } else if decrease <= self.relative_decrease {
                Some(StopReason::RelativeDecrease)
            } else {
                (now.iteration >= self.max_iterations).then_some(StopReason::MaxIterations)
            };
            if let Some(stop_reason) = stop_reason {
                return Ok(Summary { progress: now, stop_reason });
            }

            let stepped = solver.next_iter(&mut problem, state).ok().map(|(state, _)| state);
            // A line search that fails leaves no gradient behind.
            let Some(mut next) = stepped.filter(|state| state.get_gradient().is_some()) else {
                let diverged = cost.borrow().diverged;
                let stop_reason =
                    if diverged { StopReason::Diverged } else { StopReason::LineSearch };
                let progress = progress(now.iteration, now.objective, now.gradient_norm);
                return Ok(Summary { progress, stop_reason });
            };
            next.update();
            next.increment_iter();
            let gradient_norm = next.get_gradient().map_or(0.0, |gradient| max_norm(gradient));
            let before = now.objective;
            now = progress(now.iteration + 1, next.get_cost(), gradient_norm);
            decrease = (before - now.objective) / before.abs().max(now.objective.abs()).max(1.0);
            if let Some(parameters) = next.get_param() {
                iterate.clone_from(parameters);
            }
            state = next;
        }
    }
}

/// The evaluator as a function of a vector of parameters.
struct Cost<'a, 'b, T> {
    evaluator: &'a mut Evaluator<T>,
    model: &'a mut LinearModel<T>,
    batch: &'a Batch<'b, T>,
    gradient: LinearModel<T>,
    /// The point evaluated last: a line search asks for its cost and its gradient one by one.
    last: Option<Point>,
    evaluations: usize,
    /// Whether a step led to where the objective is not finite.
    diverged: bool,
}

/// A point of parameters, evaluated.
#[derive(Clone)]
struct Point {
    parameters: Parameters,
    objective: f64,
    gradient: Parameters,
}

impl<T: Scalar> Cost<'_, '_, T> {
    fn evaluate(&mut self, parameters: &[f64]) -> Result<Point, Error> {
        if let Some(last) = self.last.as_ref().filter(|last| last.parameters == parameters) {
            return Ok(last.clone());
        }
        set(self.model, parameters);
        self.evaluations += 1;
        let objective =
            self.evaluator.loss_and_gradient(self.model, self.batch, &mut self.gradient)?;
        let gradient = self.gradient.parameters().iter().map(|g| g.to_f64()).collect();
        let point = Point { parameters: parameters.to_vec(), objective, gradient };
        self.last = Some(point.clone());
        Ok(point)
    }
}

fn set<T: Scalar>(model: &mut LinearModel<T>, parameters: &[f64]) {
    let pairs = model.parameters_mut().iter_mut().zip(parameters);
    pairs.for_each(|(parameter, value)| *parameter = T::from_f64(*value));
}

/// What `argmin` minimises. It asks through a shared reference, hence the cell.
struct Objective<'c, 'a, 'b, T>(&'c RefCell<Cost<'a, 'b, T>>);

impl<T: Scalar> Objective<'_, '_, '_, T> {
    fn evaluate(&self, parameters: &[f64]) -> Result<Point, argmin::core::Error> {
        // When the last bits of two gradients agree, the step between them is a division by zero.
        if !parameters.iter().all(|parameter| parameter.is_finite()) {
            return Err(
                argmin::core::ArgminError::ConditionViolated { text: "no step".into() }.into()
            );
        }
        let mut cost = self.0.borrow_mut();
        let point = cost.evaluate(parameters);
        cost.diverged = point.is_err();
        Ok(point?)
    }
}

impl<T: Scalar> CostFunction for Objective<'_, '_, '_, T> {
    type Param = Parameters;
    type Output = f64;

    fn cost(&self, parameters: &Parameters) -> Result<f64, argmin::core::Error> {
        Ok(self.evaluate(parameters)?.objective)
    }
}

impl<T: Scalar> Gradient for Objective<'_, '_, '_, T> {
    type Param = Parameters;
    type Gradient = Parameters;

    fn gradient(&self, parameters: &Parameters) -> Result<Parameters, argmin::core::Error> {
        Ok(self.evaluate(parameters)?.gradient)
    }
}
