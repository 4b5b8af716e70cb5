//! L-BFGS over the whole batch. It lends the evaluator to the line search, `secants` tells where to search, and
//! `curvature` what to begin with; this file decides when to stop.

use super::{
    Progress, StopReason, Summary,
    curvature::{Curvature, Sample},
    line_search::{self, Along},
    max_norm,
    secants::Secants,
};
use crate::{Batch, Error, Evaluator, LinearModel, Partial, Scalar};
use core::ops::ControlFlow;

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
    /// C (D + 1)² / 2 bytes of memory, and is left out where those are more than 64 MiB, where there are fewer
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

/// Iterations of a first fit, without the curvature. Over a few samples, they cost as much as a few over all.
const ROUGH_ITERATIONS: usize = 50;

/// Steps that are tried along one direction, at most.
const TRIES: usize = 20;

/// And where the slope promises no more than the last bits of the objective.
const FLAT_TRIES: usize = 3;

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
        let cost = Cost::new(evaluator, Data::Batch(batch));
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
        let cost = Cost::new(evaluator, Data::Chunks(&mut for_each_batch));
        self.minimize(cost, model, sample, on_iteration)
    }

    fn minimize<T: Scalar>(
        &self,
        mut cost: Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        mut on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let mut best = Point::at(model);
        cost.evaluate(&mut best)?;
        let mut fit = Fit { solver: self, cost, best, iteration: 0, decrease: f64::INFINITY };
        let stop_reason = fit.run(sample, &mut on_iteration)?;
        let progress = fit.progress();
        model.parameters_mut().copy_from_slice(fit.best.model.parameters());
        Ok(Summary { progress, stop_reason })
    }
}

/// What is told of every iteration.
type OnIteration<'a, T> = &'a mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>;

/// A fit under way.
struct Fit<'a, 'b, 'c, T> {
    solver: &'a Lbfgs,
    cost: Cost<'b, 'c, T>,
    best: Point<T>,
    iteration: usize,
    /// By how much the objective fell last, relative to itself.
    decrease: f64,
}

impl<T: Scalar> Fit<'_, '_, '_, T> {
    fn run(
        &mut self,
        sample: Option<&Batch<'_, T>>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<StopReason, Error> {
        let mut stop_reason = self.report(on_iteration);
        let mut curvature = None;
        let smooth = self.cost.evaluator.objective().loss().is_smooth();
        if let (None, true, true, Some(sample)) =
            (stop_reason, self.solver.curvature, smooth, sample)
            && let Some((to_fit, to_measure)) = Sample::pair(self.best.model.n_classes(), sample)
        {
            if self.best.model.parameters().iter().all(|parameter| *parameter == T::default()) {
                stop_reason = self.fit_roughly(sample.n_samples(), to_fit, on_iteration)?;
            }
            if stop_reason.is_none() && to_measure.batch().is_ok() {
                let (isa, l2) = (self.cost.evaluator.isa(), self.cost.evaluator.objective().l2());
                curvature = Curvature::estimate(isa, &self.best.model, &to_measure, l2).ok();
            }
        }
        Ok(stop_reason
            .or_else(|| self.iterate(curvature, usize::MAX, on_iteration))
            .unwrap_or(StopReason::MaxIterations))
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
        } else if self.decrease <= self.solver.relative_decrease {
            Some(StopReason::RelativeDecrease)
        } else {
            (self.iteration >= self.solver.max_iterations).then_some(StopReason::MaxIterations)
        }
    }

    /// Makes `point` the best one, and leaves the one that was so far in its place.
    fn accept(&mut self, point: &mut Point<T>) {
        let (before, now) = (self.best.objective, point.objective);
        self.decrease = (before - now) / before.abs().max(now.abs()).max(1.0);
        self.iteration += 1;
        core::mem::swap(&mut self.best, point);
    }

    /// A model of zeros says nothing of where the curvature is going to matter, and is first fitted to some
    /// samples: that is the first iteration, if it makes things better. As fewer samples are easier to overfit, λ
    /// is larger there. Where there are no samples for it, some iterations are done without the curvature.
    fn fit_roughly(
        &mut self,
        n_samples: usize,
        sample: Option<Sample<T>>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<Option<StopReason>, Error> {
        let Some(sample) = sample else {
            let stop_reason = self.iterate(None, ROUGH_ITERATIONS, on_iteration);
            // What does not fall any further may, with the curvature.
            let final_one = |reason: &_| {
                !matches!(reason, StopReason::RelativeDecrease | StopReason::LineSearch)
            };
            return Ok(stop_reason.filter(final_one));
        };
        // Samples of weight zero tell nothing.
        let Ok(few) = sample.batch() else { return Ok(None) };
        let objective = self.cost.evaluator.objective();
        let share = few.n_samples() as f64 / n_samples as f64;
        let objective = objective.with_l2(objective.l2() / share.sqrt());
        let mut evaluator = Evaluator::new(objective).with_isa(self.cost.evaluator.isa());
        let rough = Lbfgs { max_iterations: ROUGH_ITERATIONS, curvature: false, ..*self.solver };
        let mut point = Point::at(&self.best.model);
        let go_on = |_: &Progress, _: &LinearModel<T>| ControlFlow::Continue(());
        let summary = rough.fit(&mut evaluator, &mut point.model, &few, go_on)?;
        self.cost.evaluations += summary.progress.evaluations;
        self.cost.samples += summary.progress.samples;
        self.cost.evaluate(&mut point)?;
        if point.objective < self.best.objective {
            self.accept(&mut point);
            return Ok(self.report(on_iteration));
        }
        Ok(None)
    }

    /// Iterates until there is a reason to stop, or until so many iterations are done.
    fn iterate(
        &mut self,
        mut curvature: Option<Curvature>,
        until: usize,
        on_iteration: OnIteration<'_, T>,
    ) -> Option<StopReason> {
        let mut secants = Secants::new(self.cost.evaluator.isa(), self.solver.memory.max(1));
        let mut direction = vec![0.0; self.best.image.len()];
        let mut trial = Point::at(&self.best.model);
        self.best.set_image(curvature.as_mut());
        while self.iteration < until {
            secants.descend(&self.best, &mut direction);
            self.best.set_slope(&direction);
            // The first direction is only that, the later ones are steps. It is followed for a length of 1, or
            // until the slope promises an objective of zero, the least there can be.
            let (objective, slope) = (self.best.objective, self.best.slope.abs());
            let first = match (&curvature, secants.is_empty()) {
                (None, true) => (objective / slope).min(1.0 / slope.sqrt()),
                _ => 1.0,
            };
            let flat = self.is_flat();
            let tries = if flat { FLAT_TRIES } else { TRIES };
            let mut diverged = false;
            let step = line_search::search(self.best.along(), first, tries, |step| {
                trial.step(&self.best, step, &direction);
                diverged = self.cost.evaluate(&mut trial).is_err();
                trial.set_slope(&direction);
                (!diverged).then(|| trial.along())
            });
            match step.filter(|_| trial.objective < self.best.objective) {
                Some(step) => {
                    trial.set_image(curvature.as_mut());
                    secants.learn(step, &direction, &self.best, &trial);
                    self.accept(&mut trial);
                    let stop_reason = self.report(on_iteration);
                    if stop_reason.is_some() {
                        return stop_reason;
                    }
                }
                None if diverged => return Some(StopReason::Diverged),
                None if flat && self.solver.relative_decrease >= 0.0 => {
                    return Some(StopReason::RelativeDecrease);
                }
                None if secants.is_empty() => return Some(StopReason::LineSearch),
                None => secants.forget(),
            }
        }
        None
    }

    /// Whether the objective is to fall, by its slope, by less than is asked for or can be told from nothing.
    fn is_flat(&self) -> bool {
        let least = self.solver.relative_decrease.max(T::EPSILON.to_f64());
        self.best.slope.abs() <= least * self.best.objective.abs().max(1.0)
    }
}

/// A model, and what is known of it.
pub(super) struct Point<T> {
    pub(super) model: LinearModel<T>,
    pub(super) objective: f64,
    pub(super) gradient: LinearModel<T>,
    /// The gradient along the direction of a line search.
    pub(super) slope: f64,
    /// H₀ times the gradient: what the inverse of the curvature makes of it, or the gradient itself.
    pub(super) image: Vec<f64>,
}

impl<T: Scalar> Point<T> {
    /// Of which nothing is known yet.
    pub(super) fn at(model: &LinearModel<T>) -> Self {
        let image = vec![0.0; model.parameters().len()];
        let gradient = LinearModel::zeros(model.n_classes(), model.n_features());
        Self { model: model.clone(), objective: f64::NAN, gradient, slope: f64::NAN, image }
    }

    /// Goes to where a step in a direction leads.
    fn step(&mut self, from: &Self, step: f64, direction: &[f64]) {
        let from = from.model.parameters().iter().zip(direction);
        for (parameter, (from, direction)) in self.model.parameters_mut().iter_mut().zip(from) {
            *parameter = T::from_f64(from.to_f64() + step * direction);
        }
    }

    fn set_slope(&mut self, direction: &[f64]) {
        // Sums side by side, as a single one waits for itself.
        let mut sums = [0.0; 16];
        let gradient = self.gradient.parameters().chunks(sums.len());
        for (gradient, direction) in gradient.zip(direction.chunks(sums.len())) {
            for ((sum, gradient), direction) in sums.iter_mut().zip(gradient).zip(direction) {
                *sum += gradient.to_f64() * direction;
            }
        }
        self.slope = sums.iter().sum();
    }

    fn set_image(&mut self, curvature: Option<&mut Curvature>) {
        let gradient = self.gradient.parameters();
        match curvature {
            Some(curvature) => curvature.solve(gradient, &mut self.image),
            None => self.image.iter_mut().zip(gradient).for_each(|(x, g)| *x = g.to_f64()),
        }
    }

    fn along(&self) -> Along {
        Along { objective: self.objective, slope: self.slope }
    }
}

/// What [`Lbfgs::fit_chunks`] wants to be called with every chunk.
pub type Evaluate<'a, T> = &'a mut dyn FnMut(&Batch<'_, T>) -> Result<(), Error>;

/// What is evaluated.
enum Data<'a, 'b, T> {
    Batch(&'a Batch<'b, T>),
    Chunks(&'a mut dyn FnMut(Evaluate<'_, T>) -> Result<(), Error>),
}

/// The evaluator and its data, and how much it had to do.
struct Cost<'a, 'b, T> {
    evaluator: &'a mut Evaluator<T>,
    data: Data<'a, 'b, T>,
    evaluations: usize,
    samples: u64,
}

impl<'a, 'b, T: Scalar> Cost<'a, 'b, T> {
    fn new(evaluator: &'a mut Evaluator<T>, data: Data<'a, 'b, T>) -> Self {
        Self { evaluator, data, evaluations: 0, samples: 0 }
    }

    /// Sets the objective of a point, and its gradient.
    fn evaluate(&mut self, point: &mut Point<T>) -> Result<(), Error> {
        self.evaluations += 1;
        let Self { evaluator, samples, .. } = self;
        let Point { model, gradient, .. } = point;
        point.objective = match &mut self.data {
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
        Ok(())
    }
}
