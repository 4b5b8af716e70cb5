//! L-BFGS over the whole batch: the two-loop recursion and the line search of Moré and Thuente are those
//! of the crate `argmin`; this file lends them the evaluator as cost and gradient, and decides when to
//! stop. It steps the solver itself, because a callback may stop it, and because it is to be
//! known why it stopped.

use super::{
    Progress, StopReason, Summary,
    curvature::{Curvature, Sample},
    max_norm, values,
};
use crate::{Batch, Error, Evaluator, LinearModel, Loss, Partial, Scalar};
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
    /// Learn the curvature of cross-entropy from a sample first, which saves most of the iterations. Takes
    /// C (D + 1)² bytes of memory, and is left out where those are more than 128 MiB, where there are fewer
    /// samples than features, and for the hinge loss, which has none.
    pub curvature: bool,
}

impl Default for Lbfgs {
    /// 100 iterations at most, memory 10, tolerances 1e-5 and 1e-9.
    fn default() -> Self {
        Self {
            max_iterations: 100,
            memory: 10,
            gradient_tolerance: 1e-5,
            relative_decrease: 1e-9,
            curvature: true,
        }
    }
}

type Iterate = IterState<Vec<f64>, Vec<f64>, (), (), (), f64>;
type LineSearch = MoreThuenteLineSearch<Vec<f64>, Vec<f64>, f64>;

/// Iterations of a first fit, without the curvature. Over a few samples, they cost as much as a few over all.
const ROUGH_ITERATIONS: usize = 50;

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
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let cost = Cost::new(evaluator, model.clone(), Data::Batch(batch));
        self.minimize(cost, model, Some(batch), on_iteration)
    }

    /// As [`fit`](Self::fit), over data that comes in chunks: more of it than there is memory, say.
    ///
    /// For every evaluation, `for_each_batch` is to call the function it is given with one chunk after the
    /// other, the same ones each time, and to pass on its errors. `sample` is what the curvature is
    /// learnt from: some thousands of the samples; without any, it is not.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and those of `for_each_batch`.
    pub fn fit_chunks<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        mut for_each_batch: impl FnMut(Evaluate<'_, T>) -> Result<(), Error>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let cost = Cost::new(evaluator, model.clone(), Data::Chunks(&mut for_each_batch));
        self.minimize(cost, model, sample, on_iteration)
    }

    fn minimize<T: Scalar>(
        &self,
        mut cost: Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        mut on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let start = cost.evaluate(&values(model))?;
        let mut fit = Fit { solver: self, best: start, iteration: 0, decrease: f64::INFINITY };
        let mut stop_reason = fit.report(&cost, &mut on_iteration);
        let cross_entropy = matches!(cost.evaluator.objective().loss(), Loss::CrossEntropy);
        if let (None, true, true, Some(sample)) =
            (stop_reason, self.curvature, cross_entropy, sample)
        {
            stop_reason = fit.learn_curvature(&mut cost, sample, &mut on_iteration)?;
        }
        let stop_reason = stop_reason
            .or_else(|| fit.iterate(&mut cost, usize::MAX, &mut on_iteration))
            .unwrap_or(StopReason::MaxIterations);
        let progress = fit.progress(&cost);
        set(model, &fit.best.parameters);
        Ok(Summary { progress, stop_reason })
    }
}

/// What is told of every iteration.
type OnIteration<'a, T> = &'a mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>;

/// A fit under way.
struct Fit<'a> {
    solver: &'a Lbfgs,
    best: Point,
    iteration: usize,
    /// By how much the objective fell last, relative to itself.
    decrease: f64,
}

impl Fit<'_> {
    fn progress<T: Scalar>(&self, cost: &Cost<'_, '_, T>) -> Progress {
        Progress {
            iteration: self.iteration,
            objective: self.best.objective,
            gradient_norm: max_norm(&self.best.gradient),
            evaluations: cost.evaluations,
            samples: cost.samples,
        }
    }

    /// Tells of an iteration. Returns why it is the last one, if it is.
    fn report<T: Scalar>(
        &self,
        cost: &Cost<'_, '_, T>,
        on_iteration: OnIteration<'_, T>,
    ) -> Option<StopReason> {
        let progress = self.progress(cost);
        if on_iteration(&progress, &cost.model).is_break() {
            Some(StopReason::Interrupted)
        } else if progress.gradient_norm <= self.solver.gradient_tolerance {
            Some(StopReason::GradientTolerance)
        } else if self.decrease <= self.solver.relative_decrease {
            Some(StopReason::RelativeDecrease)
        } else {
            (self.iteration >= self.solver.max_iterations).then_some(StopReason::MaxIterations)
        }
    }

    /// Makes `point` the best one.
    fn accept(&mut self, point: Point) {
        let (before, now) = (self.best.objective, point.objective);
        self.decrease = (before - now) / before.abs().max(now.abs()).max(1.0);
        self.iteration += 1;
        self.best = point;
    }

    /// Learns the curvature from samples of a batch. A model of zeros says nothing of where it is going to
    /// matter, and is first fitted to other samples: that is the first iteration, if it makes things better. As
    /// fewer samples are easier to overfit, λ is larger there. Where there are no other samples, some
    /// iterations are done without knowing the curvature.
    fn learn_curvature<T: Scalar>(
        &mut self,
        cost: &mut Cost<'_, '_, T>,
        batch: &Batch<'_, T>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<Option<StopReason>, Error> {
        let objective = cost.evaluator.objective();
        let Some((to_fit, to_measure)) = Sample::pair(cost.model.n_classes(), batch) else {
            return Ok(None);
        };
        let mut stop_reason = None;
        if self.best.parameters.iter().all(|parameter| *parameter == 0.0) {
            match to_fit.as_ref().map(Sample::batch) {
                None => stop_reason = self.iterate(cost, ROUGH_ITERATIONS, on_iteration),
                // Samples of weight zero tell nothing.
                Some(Err(_)) => return Ok(None),
                Some(Ok(few)) => {
                    let share = few.n_samples() as f64 / batch.n_samples() as f64;
                    let objective = objective.with_l2(objective.l2() / share.sqrt());
                    let mut evaluator = Evaluator::new(objective).with_isa(cost.evaluator.isa());
                    let rough = Lbfgs {
                        max_iterations: ROUGH_ITERATIONS,
                        curvature: false,
                        ..*self.solver
                    };
                    let mut model = LinearModel::zeros(cost.model.n_classes(), batch.n_features());
                    let go_on = |_: &Progress, _: &LinearModel<T>| ControlFlow::Continue(());
                    let summary = rough.fit(&mut evaluator, &mut model, &few, go_on)?;
                    cost.evaluations += summary.progress.evaluations;
                    cost.samples += summary.progress.samples;
                    let point = cost.evaluate(&values(&model))?;
                    if point.objective < self.best.objective {
                        self.accept(point);
                        stop_reason = self.report(cost, on_iteration);
                    }
                }
            }
        }
        if stop_reason.is_none() && to_measure.batch().is_ok() {
            set(&mut cost.model, &self.best.parameters);
            cost.last = None;
            cost.curvature =
                Curvature::estimate(cost.evaluator.isa(), &cost.model, &to_measure, objective.l2())
                    .ok();
        }
        Ok(stop_reason)
    }

    /// Iterates until there is a reason to stop, or until so many iterations are done.
    fn iterate<T: Scalar>(
        &mut self,
        cost: &mut Cost<'_, '_, T>,
        until: usize,
        on_iteration: OnIteration<'_, T>,
    ) -> Option<StopReason> {
        let mut state = Iterate::new()
            .param(cost.start(&self.best))
            .cost(self.best.objective)
            .gradient(cost.gradient_by_coordinates(&self.best.gradient));
        let cost = RefCell::new(cost);
        let mut solver = LBFGS::new(LineSearch::new(), self.solver.memory.max(1));
        let mut problem = Problem::new(Objective(&cost));
        while self.iteration < until {
            let stepped = solver.next_iter(&mut problem, state).ok().map(|(state, _)| state);
            // A line search that fails leaves no gradient behind.
            let Some(mut next) = stepped.filter(|state| state.get_gradient().is_some()) else {
                let diverged = cost.borrow().diverged;
                return Some(if diverged { StopReason::Diverged } else { StopReason::LineSearch });
            };
            next.update();
            next.increment_iter();
            let mut cost = cost.borrow_mut();
            // The point was evaluated last, or else is evaluated again.
            let coordinates = next.get_param().cloned().unwrap_or_default();
            match cost.evaluate_at(&coordinates) {
                Ok(point) => self.accept(point),
                Err(_) => return Some(StopReason::Diverged),
            }
            let stop_reason = self.report(&cost, on_iteration);
            if stop_reason.is_some() {
                return stop_reason;
            }
            state = next;
        }
        None
    }
}

/// What [`Lbfgs::fit_chunks`] wants to be called with every chunk.
pub type Evaluate<'a, T> = &'a mut dyn FnMut(&Batch<'_, T>) -> Result<(), Error>;

/// What is evaluated.
enum Data<'a, 'b, T> {
    Batch(&'a Batch<'b, T>),
    Chunks(&'a mut dyn FnMut(Evaluate<'_, T>) -> Result<(), Error>),
}

/// The evaluator as a function of a vector of parameters, or of coordinates.
struct Cost<'a, 'b, T> {
    evaluator: &'a mut Evaluator<T>,
    model: LinearModel<T>,
    data: Data<'a, 'b, T>,
    gradient: LinearModel<T>,
    curvature: Option<Curvature>,
    /// The coordinates evaluated last: a line search asks for their cost and their gradient one by one.
    last: Option<(Vec<f64>, Point)>,
    evaluations: usize,
    samples: u64,
    /// Whether a step led to where the objective is not finite.
    diverged: bool,
}

/// Parameters, evaluated.
#[derive(Clone)]
struct Point {
    parameters: Vec<f64>,
    objective: f64,
    gradient: Vec<f64>,
}

impl<'a, 'b, T: Scalar> Cost<'a, 'b, T> {
    fn new(evaluator: &'a mut Evaluator<T>, model: LinearModel<T>, data: Data<'a, 'b, T>) -> Self {
        let gradient = LinearModel::zeros(model.n_classes(), model.n_features());
        Self {
            evaluator,
            model,
            data,
            gradient,
            curvature: None,
            last: None,
            evaluations: 0,
            samples: 0,
            diverged: false,
        }
    }

    fn evaluate(&mut self, parameters: &[f64]) -> Result<Point, Error> {
        set(&mut self.model, parameters);
        self.evaluations += 1;
        let Self { evaluator, model, gradient, samples, .. } = self;
        let objective = match &mut self.data {
            Data::Batch(batch) => {
                *samples += batch.n_samples() as u64;
                evaluator.loss_and_gradient(model, batch, gradient)?
            }
            Data::Chunks(for_each_batch) => {
                let mut partial = Partial::new(model.n_classes(), model.n_features());
                for_each_batch(&mut |batch| {
                    *samples += batch.n_samples() as u64;
                    evaluator.accumulate(model, batch, &mut partial)
                })?;
                evaluator.finish(model, &partial, gradient)?
            }
        };
        let (parameters, gradient) = (parameters.to_vec(), values(&self.gradient));
        Ok(Point { parameters, objective, gradient })
    }

    /// As [`evaluate`](Self::evaluate), by coordinates; twice in a row the same costs nothing.
    fn evaluate_at(&mut self, coordinates: &[f64]) -> Result<Point, Error> {
        if let Some((_, point)) = self.last.as_ref().filter(|(last, _)| last == coordinates) {
            return Ok(point.clone());
        }
        let point = match &self.curvature {
            Some(curvature) => self.evaluate(&curvature.parameters(coordinates))?,
            None => self.evaluate(coordinates)?,
        };
        self.last = Some((coordinates.to_vec(), point.clone()));
        Ok(point)
    }

    /// The coordinates of the best point, which is where the curvature was estimated, if it was.
    fn start(&self, best: &Point) -> Vec<f64> {
        match &self.curvature {
            Some(curvature) => curvature.start(),
            None => best.parameters.clone(),
        }
    }

    fn gradient_by_coordinates(&self, gradient: &[f64]) -> Vec<f64> {
        match &self.curvature {
            Some(curvature) => curvature.gradient(gradient),
            None => gradient.to_vec(),
        }
    }
}

fn set<T: Scalar>(model: &mut LinearModel<T>, values: &[f64]) {
    let pairs = model.parameters_mut().iter_mut().zip(values);
    pairs.for_each(|(parameter, value)| *parameter = T::from_f64(*value));
}

/// What `argmin` minimises: a function of coordinates. It asks through a shared reference, hence the cell.
struct Objective<'c, 'a, 'b, T>(&'c RefCell<&'c mut Cost<'a, 'b, T>>);

impl<T: Scalar> Objective<'_, '_, '_, T> {
    fn evaluate(&self, coordinates: &[f64]) -> Result<Point, argmin::core::Error> {
        // When the last bits of two gradients agree, the step between them is a division by zero.
        if !coordinates.iter().all(|value| value.is_finite()) {
            return Err(
                argmin::core::ArgminError::ConditionViolated { text: "no step".into() }.into()
            );
        }
        let mut cost = self.0.borrow_mut();
        let point = cost.evaluate_at(coordinates);
        cost.diverged = point.is_err();
        Ok(point?)
    }
}

impl<T: Scalar> CostFunction for Objective<'_, '_, '_, T> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, coordinates: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        Ok(self.evaluate(coordinates)?.objective)
    }
}

impl<T: Scalar> Gradient for Objective<'_, '_, '_, T> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, coordinates: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        let gradient = self.evaluate(coordinates)?.gradient;
        Ok(self.0.borrow().gradient_by_coordinates(&gradient))
    }
}
