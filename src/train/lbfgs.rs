//! L-BFGS over the whole batch: the two-loop recursion and the line search of Moré and Thuente are those
//! of the crate `argmin`; this file lends them the evaluator as cost and gradient, and decides when to
//! stop. It steps the solver itself, because a callback may stop it, and because an error of the
//! evaluator is to come back as what it is.

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
    /// Minimises the evaluator's objective over `batch`, from `model` on.
    ///
    /// `on_iteration` is told of every iteration, the starting point being number 0.
    ///
    /// # Errors
    /// Those of [`Evaluator::loss_and_gradient`]; `model` is then the best one found before.
    pub fn fit<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        mut on_iteration: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let start: Parameters = model.parameters().iter().map(|p| p.to_f64()).collect();
        let gradient = LinearModel::zeros(model.n_classes(), model.n_features());
        let cost = RefCell::new(Cost {
            evaluator,
            model,
            batch,
            gradient,
            last: None,
            best: None,
            evaluations: 0,
            error: None,
        });
        let summary = self.iterate(&cost, start, &mut on_iteration);
        let Cost { model, best, .. } = cost.into_inner();
        if let Some((_, parameters)) = best {
            set(model, &parameters);
        }
        summary
    }

    fn iterate<T: Scalar>(
        &self,
        cost: &RefCell<Cost<'_, '_, T>>,
        start: Parameters,
        on_iteration: &mut impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let samples = cost.borrow().batch.n_samples() as u64;
        let progress = |iteration, objective, gradient_norm| {
            let evaluations = cost.borrow().evaluations;
            let samples = samples * evaluations as u64;
            Progress { iteration, objective, gradient_norm, evaluations, samples }
        };
        let stop = |progress, stop_reason| Ok(Summary { progress, stop_reason });

        let point = cost.borrow_mut().evaluate(&start)?;
        let mut now = progress(0, point.objective, max_norm(&point.gradient));
        let mut solver = LBFGS::new(LineSearch::new(), self.memory.max(1));
        let mut problem = Problem::new(Objective(cost));
        let mut state = Iterate::new().param(start).cost(point.objective).gradient(point.gradient);

        loop {
            if on_iteration(&now).is_break() {
                return stop(now, StopReason::Interrupted);
            } else if now.gradient_norm <= self.gradient_tolerance {
                return stop(now, StopReason::GradientTolerance);
            } else if now.iteration >= self.max_iterations {
                return stop(now, StopReason::MaxIterations);
            }

            let stepped = solver.next_iter(&mut problem, state);
            if let Some(error) = cost.borrow_mut().error.take() {
                return Err(error);
            }
            // Without a gradient the line search has failed: it found nothing lower.
            let next = stepped.ok().map(|(state, _)| state).filter(|s| s.get_gradient().is_some());
            let Some(mut next) = next else {
                return stop(
                    progress(now.iteration, now.objective, now.gradient_norm),
                    StopReason::LineSearch,
                );
            };
            next.update();
            next.increment_iter();
            let gradient_norm = next.get_gradient().map_or(0.0, |gradient| max_norm(gradient));
            let before = now.objective;
            now = progress(now.iteration + 1, next.get_cost(), gradient_norm);
            state = next;

            let scale = before.abs().max(now.objective.abs()).max(1.0);
            if (before - now.objective) / scale <= self.relative_decrease
                && now.gradient_norm > self.gradient_tolerance
            {
                let _ = on_iteration(&now);
                return stop(now, StopReason::RelativeDecrease);
            }
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
    /// The lowest objective so far, and where it is.
    best: Option<(f64, Parameters)>,
    evaluations: usize,
    error: Option<Error>,
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
        if self.best.as_ref().is_none_or(|(lowest, _)| objective < *lowest) {
            self.best = Some((objective, parameters.to_vec()));
        }
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
        let mut cost = self.0.borrow_mut();
        cost.evaluate(parameters).map_err(|error| {
            cost.error = Some(error.clone());
            error.into()
        })
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
