//! L-BFGS over the whole batch. It lends the evaluator to the line search, `secants` tells where to search, and
//! `curvature` what to begin with; this file decides when to stop. What `checkpoint` saves of a fit is all that one
//! iteration leaves to the next.

use super::{
    GRADIENT_TOLERANCE, Progress, StopReason, Summary, center_classes, check, check_l2,
    checkpoint::{Checkpoint, Resumable},
    cost::{Cost, Data, Evaluate, Point, Sums},
    curvature::{Curvature, LearnedCurvature, Sample, Source},
    gap, line_search, max_norm,
    secants::Secants,
};
use crate::{Batch, Error, Evaluator, LinearModel, Partial, Scalar};
use core::ops::ControlFlow;

/// The limited-memory BFGS method (Nocedal and Wright, "Numerical Optimization", algorithm 7.5). See the
/// [module](super) for an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    /// Stop after so many iterations.
    pub max_iterations: usize,
    /// Differences of gradients remembered, at least one.
    pub memory: usize,
    /// Stop when no entry of the gradient exceeds this: scikit-learn's `tol`, SciPy's `gtol`. Of objectives below 0.1 the
    /// gradient is small long before the optimum; there it is to be as much smaller, but no more than a hundred times.
    /// It may also be small there where λ is small. So the next step along the curvature must promise to lower a smooth
    /// objective by no more than a tenth of this, relative to it.
    pub gradient_tolerance: f64,
    /// Stop when (F − F′) / max(|F|, |F′|, 1) falls to this, SciPy's `ftol`, twice in a row. With 0, only the precision of the
    /// element type ends the fit: where that of the objective is used up, a smooth loss is followed by its gradient, which
    /// has twice as many digits of the model. Where the bound on the distance to the optimum is above the objective itself,
    /// and so shows nothing, it goes on with the curvature there first. Of a loss with kinks a small decrease shows nothing,
    /// and the fit ends as [`StopReason::Kink`].
    pub relative_decrease: f64,
    /// Learn the curvature of a smooth loss from a sample first, which saves most of the iterations: that of each
    /// class, which takes C (D + 1)² / 2 bytes of memory; or, where those are more than 64 MiB, or where the samples are
    /// few for so many classes, one for all classes, of (D + 1)² / 2 bytes. Left out where those are more than 64 MiB,
    /// too, and where there are fewer samples than features; of sparse features there is a diagonal then. Losses with
    /// kinks have none.
    pub curvature: bool,
}

impl Default for Lbfgs {
    /// 100 iterations at most, memory 10, tolerances 1e-5 and 1e-9.
    fn default() -> Self {
        Self {
            max_iterations: 100,
            memory: 10,
            gradient_tolerance: GRADIENT_TOLERANCE,
            relative_decrease: 1e-9,
            curvature: true,
        }
    }
}

/// Iterations of a first fit, without the curvature. Over a few samples, they cost as much as a few over all.
const ROUGH_ITERATIONS: usize = 50;

/// Iterations from zero with one factor for all classes, before the curvature is learnt anew.
const COMMON_ITERATIONS: usize = 50;

/// Iterations with the curvature of an earlier fit, before it is learnt anew, which takes about as long.
const KNOWN_ITERATIONS: usize = 15;

/// A step to where the objective is not finite is made a thousandth as long, so many times at most.
const SHORTENINGS: usize = 12;

/// Steps that are tried along one direction, at most.
const TRIES: usize = 20;

/// And where the slope promises no more than the last bits of the objective.
const FLAT_TRIES: usize = 3;

/// And where the slopes alone tell how long a step is to be.
const SLOPE_TRIES: usize = 5;

/// Rounding changes an objective by so many units in the last place, about.
const ROUNDING: f64 = 32.0;

/// The share of the last step in the trend of the gradient, which does not fall in each.
const NEW_TREND: f64 = 0.03;

/// What a step leaves of the slope, at most, where the objective does not show that it leads on.
const FLATTER: f64 = 0.9;

impl Lbfgs {
    /// Minimises the evaluator's objective over `batch`, from `model` on; every iteration leaves in it a lower objective, but
    /// for its last bits if [`relative_decrease`](Self::relative_decrease) is 0.
    ///
    /// `on_iteration` is told of every iteration, the starting point being number 0.
    ///
    /// # Errors
    /// Those of [`Evaluator::loss_and_gradient`] at the starting point, and [`Error::Setting`] for a tolerance
    /// that is NaN or negative, or a λ beyond the range of `T`. A fit that finds no lower objective ends as
    /// [`StopReason::NoProgress`], or as [`StopReason::Diverged`] if it is not finite however short the steps.
    pub fn fit<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        Resumable::new(*self).fit(evaluator, model, batch, on_iteration)
    }

    /// As [`fit`](Self::fit), with the curvature that an earlier fit has learnt, of the same objective and other samples of
    /// the same kind: those of another fold, say. Learning it takes as long as tens of evaluations, which is most of the
    /// time of many small fits. It is learnt here, and left for the fits to come, where nothing is known yet of this objective
    /// and this size of the model, or where what is known does not help.
    ///
    /// The optimum does not depend on it, but the way there does: a fit that stops at a tolerance has the same bits only
    /// after the same fits.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use softmargin::train::{Lbfgs, LearnedCurvature};
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let features: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32 / 8.0).collect();
    /// let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
    /// let batch = Batch::<f32>::new(MatrixView::new(&features, 20, 3)?, &labels)?;
    ///
    /// let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(0.1));
    /// let mut curvature = LearnedCurvature::default();
    /// for rows in [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]] {
    ///     let (mut model, some) = (LinearModel::zeros(2, 3), batch.select(&rows)?);
    ///     let go_on = |_: &_, _: &_| ControlFlow::Continue(());
    ///     let summary = Lbfgs::default()
    ///         .fit_with_curvature(&mut curvature, &mut evaluator, &mut model, &some, go_on)?;
    ///     assert!(summary.stop_reason.converged());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_with_curvature<T: Scalar>(
        &self,
        curvature: &mut LearnedCurvature,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let (solver, learned) = (Resumable::new(*self), Some(curvature));
        solver.fit_learning(learned, evaluator, model, batch, on_iteration)
    }

    /// As [`fit`](Self::fit), over data that comes in chunks: more of it than there is memory, say.
    ///
    /// For every evaluation, `for_each_batch` is to call the function it is given with one chunk after the
    /// other, the same ones each time, and to pass on its errors. `sample` is what the curvature is
    /// learnt from: some thousands of the samples; without any, it is not.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and those of `for_each_batch`, whenever they occur, but in the passes for [`Summary::gap`],
    /// which is `None` then; the model is the best one so far.
    pub fn fit_chunks<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        for_each_batch: impl FnMut(Evaluate<'_, T>) -> Result<(), Error>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        Resumable::new(*self).fit_chunks(evaluator, model, sample, for_each_batch, on_iteration)
    }

    /// As [`fit_chunks`](Self::fit_chunks), over data of which other processes have parts. This one alone decides where
    /// to go; all it needs of the others are their sums.
    ///
    /// For every evaluation, `accumulate` is to add to an empty partial the [`Sums`] over all samples, and to return their
    /// number. What it is to do is its own: to send the others what is asked for, say, to [add](Sums::add) up what is
    /// here, and to join what they send, in the order of a [`PartialTree`](crate::PartialTree) if the model is to have the
    /// same bits on any number of processes.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use softmargin::{
    ///     Batch, Evaluator, LinearModel, MatrixView, Objective, Partial,
    ///     train::{Lbfgs, Sums},
    /// };
    /// use std::sync::mpsc::channel;
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let features: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32 / 8.0).collect();
    /// let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
    /// let (mine, others) = features.split_at(30);
    /// let (my_labels, other_labels) = labels.split_at(10);
    /// let objective = Objective::cross_entropy().with_l2(1e-3);
    ///
    /// let (questions, asked) = channel::<(Objective, LinearModel<f32>, Option<LinearModel<f32>>)>();
    /// let (answers, of_other) = channel();
    /// std::thread::scope(|scope| {
    ///     // The other process. It ends when nothing more is going to be asked.
    ///     scope.spawn(move || -> Result<(), softmargin::Error> {
    ///         let batch = Batch::new(MatrixView::new(others, 10, 3)?, other_labels)?;
    ///         let mut evaluator = Evaluator::new(objective);
    ///         for (objective, model, direction) in asked {
    ///             let sums = Sums { objective, model: &model, direction: direction.as_ref() };
    ///             let mut partial = Partial::new(model.n_classes(), model.n_features());
    ///             let sent = sums.add(&mut evaluator, &batch, &mut partial).map(|()| partial);
    ///             answers.send(sent).expect("a receiver");
    ///         }
    ///         Ok(())
    ///     });
    ///     let batch = Batch::new(MatrixView::new(mine, 10, 3)?, my_labels)?;
    ///     let (mut model, mut evaluator) = (LinearModel::zeros(2, 3), Evaluator::new(objective));
    ///     let summary = Lbfgs::default().fit_partials(
    ///         &mut Evaluator::new(objective),
    ///         &mut model,
    ///         Some(&batch),
    ///         |sums, partial| {
    ///             let question = (sums.objective, sums.model.clone(), sums.direction.cloned());
    ///             questions.send(question).expect("the other process");
    ///             let here = sums.add(&mut evaluator, &batch, partial);
    ///             // What was asked for is received, whatever became of it here.
    ///             let there = of_other.recv().expect("the other process");
    ///             here?;
    ///             partial.merge(&there?)?;
    ///             Ok(20)
    ///         },
    ///         |_, _| ControlFlow::Continue(()),
    ///     );
    ///     drop(questions);
    ///     let summary = summary?;
    ///     assert!(summary.stop_reason.converged());
    ///     assert!(summary.gap.expect("a bound") < 1e-4);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`fit_chunks`](Self::fit_chunks), with those of `accumulate`. An [`Error::NonFinite`] of it, after the first
    /// evaluation, tells that a step was too long, and a shorter one is tried; any other error ends the fit. Who cannot
    /// compute the sums for [`Summary::gap`], which come last, returns an error for them, and the gap is `None`.
    pub fn fit_partials<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        accumulate: impl FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        Resumable::new(*self).fit_partials(evaluator, model, sample, accumulate, on_iteration)
    }

    /// As [`fit_partials`](Self::fit_partials), with the curvature that an earlier fit has learnt, as
    /// [`fit_with_curvature`](Self::fit_with_curvature).
    ///
    /// # Errors
    /// As [`fit_partials`](Self::fit_partials).
    pub fn fit_partials_with_curvature<T: Scalar>(
        &self,
        curvature: &mut LearnedCurvature,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        accumulate: impl FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let (solver, learned) = (Resumable::new(*self), Some(curvature));
        solver.fit_sums(learned, evaluator, model, sample, accumulate, on_iteration)
    }

    pub(super) fn minimize<T: Scalar>(
        &self,
        cost: &mut Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        Resumable::new(*self).minimize(cost, model, sample, None, on_iteration)
    }
}

impl<T: Scalar> Resumable<'_, T> {
    pub(super) fn minimize(
        &mut self,
        cost: &mut Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        sample: Option<&Batch<'_, T>>,
        learned: Option<&mut LearnedCurvature>,
        mut on_iteration: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let solver = self.solver;
        for (what, value) in [
            ("gradient tolerance", solver.gradient_tolerance),
            ("relative decrease", solver.relative_decrease),
        ] {
            check(what, value, value >= 0.0, "at least 0")?;
        }
        check_l2::<T>(cost.evaluator.objective().l2())?;
        if let Some(sample) = sample {
            model.check_features(sample.n_features())?;
        }
        let sample = sample.filter(|_| solver.curvature && cost.evaluator.objective().is_smooth());
        let properties = self.properties(cost.evaluator, model, sample);
        let from = self.from.take();
        if let Some(checkpoint) = &from {
            checkpoint.check_properties(&properties)?;
        }
        let mut best = Point::at(from.as_ref().map_or(model, |checkpoint| &checkpoint.model));
        cost.evaluate(&mut best)?;
        if let Some(sample) = sample {
            cost.check_sample(&best.model, sample)?;
        }
        let n_samples = cost.samples;
        let mut fit = Fit {
            resumable: self,
            properties,
            cost,
            n_samples,
            best,
            iteration: 0,
            decreases: [f64::INFINITY; 2],
            learned,
            gap: None,
        };
        let known = from.map(|checkpoint| fit.resume(checkpoint)).transpose()?;
        let stop_reason = fit.run(sample, known, &mut on_iteration);
        let (progress, fit_gap) = (fit.progress(), fit.gap);
        model.parameters_mut().copy_from_slice(fit.best.model.parameters());
        match fit.cost.error.take() {
            Some(error) => Err(error),
            None => Ok(Summary { progress, stop_reason: stop_reason?, gap: fit_gap }),
        }
    }
}

/// What is told of every iteration.
type OnIteration<'a, T> = &'a mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>;

/// A fit under way.
struct Fit<'a, 'b, 'c, 'd, T> {
    resumable: &'a mut Resumable<'d, T>,
    /// What a fit that goes on from a checkpoint of this one has to have in common with it.
    properties: Vec<(String, String)>,
    cost: &'a mut Cost<'b, 'c, T>,
    /// Of an evaluation.
    n_samples: u64,
    best: Point<T>,
    iteration: usize,
    /// By how much the objective fell in the last two iterations, relative to itself. One alone may be small because the
    /// curvature is new and a bad guess. Without a tolerance for it, 1; or, where it shows nothing, the trend of the gradient:
    /// the mean of the logarithm of what it was divided by, which forgets.
    decreases: [f64; 2],
    learned: Option<&'a mut LearnedCurvature>,
    /// The bound on the distance to the optimum, if it was asked for at the best point.
    gap: Option<f64>,
}

/// What is found along a direction.
enum Found {
    /// A step to where the objective is lower.
    Lower(f64),
    /// One to where it is the same, but for rounding, and the slope is less steep.
    Flatter(f64),
    /// The objective is not finite, however short the step.
    NotFinite,
    Nothing,
}

impl<T: Scalar> Fit<'_, '_, '_, '_, T> {
    /// Goes to where a checkpoint was, whose model is evaluated. Returns what it knows of the inverse of the Hessian.
    fn resume(&mut self, checkpoint: Checkpoint<T>) -> Result<(Source<T>, Secants<T>), Error> {
        checkpoint.check_evaluation(self.n_samples, &self.best)?;
        let Checkpoint { progress, decreases, slope, source, secants, .. } = checkpoint;
        (self.iteration, self.decreases, self.best.slope) = (progress.iteration, decreases, slope);
        (self.cost.evaluations, self.cost.samples) = (progress.evaluations, progress.samples);
        let isa = self.cost.evaluator.isa();
        Ok((source, Secants::knowing(isa, self.memory(), secants)))
    }

    /// Saves all that the iterations to come depend on, if that is asked for.
    fn save(&mut self, source: &Source<T>, secants: &Secants<T>) {
        let progress = self.progress();
        if let Some(save) = &mut self.resumable.save {
            save(&Checkpoint {
                properties: self.properties.clone(),
                progress,
                n_samples: self.n_samples,
                decreases: self.decreases,
                slope: self.best.slope,
                model: self.best.model.clone(),
                gradient: self.best.gradient.clone(),
                source: source.clone(),
                secants: secants.known().clone(),
                // Whoever stops it early adds that.
                stopping: None,
            });
        }
    }

    fn memory(&self) -> usize {
        self.resumable.solver.memory.max(1)
    }

    fn run(
        &mut self,
        sample: Option<&Batch<'_, T>>,
        mut known: Option<(Source<T>, Secants<T>)>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<StopReason, Error> {
        let mut stop_reason = self.report(on_iteration);
        // A fit that was saved where it stopped goes on as it would have there.
        if let (Some((source, secants)), Some(_)) = (&mut known, sample)
            && self.is_far(stop_reason, secants)
        {
            (*source, stop_reason) = (self.anew(), None);
            secants.forget();
        }
        if stop_reason.is_none() {
            stop_reason = self.learn_and_iterate(sample, known, on_iteration)?;
        }
        Ok(match stop_reason.unwrap_or(StopReason::MaxIterations) {
            StopReason::LineSearch | StopReason::Kink if self.iteration == 0 => {
                StopReason::NoProgress
            }
            stop_reason => stop_reason,
        })
    }

    /// Iterates with the curvature that there is at first. If that is one factor for all classes, it is learnt anew after
    /// some iterations; often no others are needed. It is also learnt anew where steps became short far from the optimum, as
    /// it was another one where it was learnt: that of a sample far from all others, say, which is soon on its side of the
    /// decision and has none.
    fn learn_and_iterate(
        &mut self,
        sample: Option<&Batch<'_, T>>,
        known: Option<(Source<T>, Secants<T>)>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<Option<StopReason>, Error> {
        let (isa, objective) = (self.cost.evaluator.isa(), self.cost.evaluator.objective());
        let (c, memory) = (self.best.model.n_classes(), self.memory());
        let learned = self.learned.as_ref().filter(|_| sample.is_some());
        if let Some(of_others) = learned.and_then(|l| l.of(&objective, &self.best.model)) {
            let (source, mut secants) = (Source::Nothing, Secants::new(isa, memory));
            let until = self.iteration + KNOWN_ITERATIONS;
            match self.iterate(&source, Some(of_others), &mut secants, until, on_iteration) {
                // Perhaps it is true of other samples only.
                None | Some(StopReason::LineSearch) => {}
                stop_reason if self.is_far(stop_reason, &secants) => {
                    self.decreases = [f64::INFINITY; 2];
                }
                stop_reason => return Ok(stop_reason),
            }
        }
        let (mut source, mut secants) = match known {
            Some(known) => known,
            None => match self.first_source(sample, on_iteration)? {
                ControlFlow::Continue(source) => (source, Secants::new(isa, memory)),
                ControlFlow::Break(stop_reason) => return Ok(Some(stop_reason)),
            },
        };
        loop {
            let learn = |batch| source.learn(isa, &objective, c, batch, self.n_samples);
            let curvature = sample.and_then(learn);
            if let (Some(learned), Some(curvature), Source::Model { .. }) =
                (&mut self.learned, &curvature, &source)
            {
                learned.learn(&objective, curvature);
            }
            let factored = curvature.as_ref().is_some_and(Curvature::has_factors);
            let anew = matches!(source, Source::Zeros) && factored;
            let until = if anew { COMMON_ITERATIONS } else { usize::MAX };
            match self.iterate(&source, curvature, &mut secants, until, on_iteration) {
                // What does not fall any further may, with the curvature at this point.
                None | Some(StopReason::LineSearch) if anew => {
                    source = Source::Model { model: self.best.model.clone(), apart: false };
                }
                stop_reason if sample.is_some() && self.is_far(stop_reason, &secants) => {
                    source = self.anew();
                }
                stop_reason => return Ok(stop_reason),
            }
            secants = Secants::new(isa, memory);
        }
    }

    /// Whether small steps ended the fit where the bound on the distance to the optimum shows nothing: unless there were few
    /// since the curvature was learnt, so that it would not be another one now.
    fn is_far(&mut self, stop_reason: Option<StopReason>, since: &Secants<T>) -> bool {
        let few = 2.min(self.memory() - 1);
        let may_go_on = stop_reason == Some(StopReason::RelativeDecrease)
            && self.iteration < self.resumable.solver.max_iterations;
        if !may_go_on || since.known().len() <= few {
            return false;
        }
        // As after a fit, where it is not counted.
        let counted = (self.cost.evaluations, self.cost.samples);
        self.gap = gap::of_cost(self.cost, &self.best.model).unwrap_or(None);
        (self.cost.evaluations, self.cost.samples) = counted;
        self.gap.is_some_and(|gap| gap::shows_nothing(gap, self.best.objective))
    }

    /// The curvature at the best point, for the fit to go on with.
    fn anew(&mut self) -> Source<T> {
        self.decreases = [f64::INFINITY; 2];
        Source::Model { model: self.best.model.clone(), apart: false }
    }

    /// A model of zeros says nothing of where the curvature is going to matter. It is first fitted to some samples: that
    /// is the first iteration, if it makes things better; unless these would be too large a share of all. Breaks if that
    /// was the last iteration.
    fn first_source(
        &mut self,
        sample: Option<&Batch<'_, T>>,
        on_iteration: OnIteration<'_, T>,
    ) -> Result<ControlFlow<StopReason, Source<T>>, Error> {
        let Some(batch) = sample else { return Ok(ControlFlow::Continue(Source::Nothing)) };
        let mut apart = false;
        if max_norm(self.best.model.parameters()) == 0.0 {
            let c = self.best.model.n_classes();
            let Some(to_fit) = Sample::to_fit(c, batch, self.n_samples) else {
                return Ok(ControlFlow::Continue(Source::Zeros));
            };
            let (solver, n) = (self.resumable.solver, batch.n_samples());
            let fitted = fit_roughly(&solver, self.cost, &self.best, &to_fit, n)?;
            if let Some(mut point) = fitted {
                // The curvature, which is learnt next, tells how far it is from the optimum.
                point.slope = f64::NEG_INFINITY;
                self.accept(&mut point);
                if let Some(stop_reason) = self.report(on_iteration) {
                    return Ok(ControlFlow::Break(stop_reason));
                }
            }
            apart = true;
        }
        let model = self.best.model.clone();
        Ok(ControlFlow::Continue(Source::Model { model, apart }))
    }

    /// What there is to say of an objective that falls no further, or hardly.
    fn unless_kinked(&self, smooth: StopReason) -> StopReason {
        if self.cost.evaluator.objective().is_smooth() { smooth } else { StopReason::Kink }
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
        let least = self.resumable.solver.relative_decrease;
        if on_iteration(&progress, &self.best.model).is_break() {
            Some(StopReason::Interrupted)
        } else if self.is_converged() {
            Some(StopReason::GradientTolerance)
        } else if self.decreases.iter().all(|decrease| *decrease <= least) {
            // Without a tolerance, it is the gradient that falls no further.
            let used_up =
                if least > 0.0 { StopReason::RelativeDecrease } else { StopReason::LineSearch };
            Some(self.unless_kinked(used_up))
        } else {
            let last = self.iteration >= self.resumable.solver.max_iterations;
            last.then_some(StopReason::MaxIterations)
        }
    }

    /// Whether the gradient is small and, where it is known, what a step of Newton's would gain.
    fn is_converged(&self) -> bool {
        let (tolerance, objective) =
            (self.resumable.solver.gradient_tolerance, self.best.objective);
        let gain = 0.5 * self.best.slope.abs();
        let more =
            self.cost.evaluator.objective().is_smooth() && gain > 0.1 * tolerance * objective;
        let of_entries = tolerance * (10.0 * objective).clamp(1e-2, 1.0);
        max_norm(self.best.gradient.parameters()) <= of_entries && !more
    }

    /// Sets the direction to that of the next step, and the slope along it.
    fn aim(&mut self, secants: &mut Secants<T>, direction: &mut [f64]) {
        secants.descend(&self.best, direction);
        let (n_classes, minimised) = (self.best.model.n_classes(), self.cost.evaluator.objective());
        center_classes(direction, n_classes, minimised);
        self.best.set_slope(direction);
    }

    /// Makes `point` the best one, and leaves the one that was so far in its place.
    fn accept(&mut self, point: &mut Point<T>) {
        let (before, now) = (self.best.objective, point.objective);
        let decrease = (before - now) / before.abs().max(now.abs()).max(1.0);
        self.decreases = [self.decreases[1], decrease];
        self.iteration += 1;
        self.gap = None;
        core::mem::swap(&mut self.best, point);
    }

    /// Iterates with the curvature that was learnt from its source until there is a reason to stop, or until so many
    /// iterations are done.
    fn iterate(
        &mut self,
        source: &Source<T>,
        mut curvature: Option<Curvature>,
        secants: &mut Secants<T>,
        until: usize,
        on_iteration: OnIteration<'_, T>,
    ) -> Option<StopReason> {
        let mut direction = vec![0.0; self.best.image.len()];
        let mut trial = Point::at(&self.best.model);
        self.best.set_image(curvature.as_mut());
        self.aim(secants, &mut direction);
        if self.is_converged() {
            return Some(StopReason::GradientTolerance);
        }
        while self.iteration < until {
            // The first direction is only that, the later ones are steps. It is followed for a length of 1, or
            // until the slope promises an objective of zero, the least there can be. With curvature it is Newton's, and
            // damped as his steps are where curvature changes (Nesterov, "Lectures on convex optimization", section
            // 5.2.1): the shorter, the more the objective is to fall.
            let (objective, slope) = (self.best.objective, self.best.slope.abs());
            let first = match (&curvature, secants.is_empty()) {
                (None, true) => (objective / slope).min(1.0 / slope.sqrt()),
                (Some(_), true) => 1.0 / (1.0 + slope.sqrt()),
                (_, false) => 1.0,
            };
            let flat = self.is_flat();
            let found = self.search(first, &direction, &mut trial);
            match found {
                Found::Lower(step) | Found::Flatter(step) => {
                    trial.set_image(curvature.as_mut());
                    secants.learn(step, &direction, &self.best, &trial);
                    self.accept(&mut trial);
                    self.aim(secants, &mut direction);
                    if self.resumable.solver.relative_decrease == 0.0 {
                        self.decreases[1] = match found {
                            // The one that was the best is in the place of the trial now.
                            Found::Flatter(_) => self.trend(&trial),
                            _ => 1.0,
                        };
                    }
                    let stop_reason = self.report(on_iteration);
                    let due = self.iteration.checked_rem(self.resumable.every) == Some(0);
                    if due || stop_reason.is_some() {
                        self.save(source, secants);
                    }
                    if stop_reason.is_some() {
                        return stop_reason;
                    }
                }
                Found::NotFinite => return Some(StopReason::Diverged),
                Found::Nothing if flat && self.resumable.solver.relative_decrease > 0.0 => {
                    return Some(self.unless_kinked(StopReason::RelativeDecrease));
                }
                Found::Nothing if secants.is_empty() => {
                    return Some(self.unless_kinked(StopReason::LineSearch));
                }
                Found::Nothing => {
                    secants.forget();
                    self.aim(secants, &mut direction);
                }
            }
        }
        None
    }

    /// Looks for a step that leads on from the best point, beginning with one of so many times the direction. The trial ends
    /// where it leads.
    fn search(&mut self, mut first: f64, direction: &[f64], trial: &mut Point<T>) -> Found {
        if self.is_rounded() {
            let mut step = first;
            for _ in 0..SLOPE_TRIES {
                trial.step(&self.best, step, direction);
                if self.cost.evaluate(trial).is_err() {
                    break;
                }
                trial.set_slope(direction);
                if self.is_flatter(trial) {
                    return Found::Flatter(step);
                }
                // To where the line through both slopes is zero.
                step /= 1.0 - (trial.slope / self.best.slope).min(FLATTER);
            }
        }
        let tries = if self.is_flat() { FLAT_TRIES } else { TRIES };
        let mut diverged = false;
        // Where the objective is not finite, the step was far too long.
        for _ in 0..SHORTENINGS {
            let step = line_search::search(self.best.along(), first, tries, |step| {
                trial.step(&self.best, step, direction);
                diverged = self.cost.evaluate(trial).is_err();
                trial.set_slope(direction);
                (!diverged).then(|| trial.along())
            });
            match step {
                Some(step) if trial.objective < self.best.objective => return Found::Lower(step),
                None if diverged && self.cost.error.is_none() => first *= 1e-3,
                _ => break,
            }
        }
        if diverged { Found::NotFinite } else { Found::Nothing }
    }

    /// The trend of the gradient, with the step from a point to the best one.
    fn trend(&self, before: &Point<T>) -> f64 {
        let [before, now] = [before, &self.best].map(|point| max_norm(point.gradient.parameters()));
        let trend = self.decreases[0].min(1.0);
        trend + NEW_TREND * ((before / now).ln() - trend)
    }

    /// Whether the objective is to fall, by its slope, by less than is asked for or can be told from nothing.
    fn is_flat(&self) -> bool {
        let least = self.resumable.solver.relative_decrease.max(T::EPSILON.to_f64());
        self.best.slope.abs() <= least * self.best.objective.abs().max(1.0)
    }

    /// What rounding makes of the objective, but for a factor.
    fn rounding(&self) -> f64 {
        T::EPSILON.to_f64() * self.best.objective.abs().max(1.0)
    }

    /// Whether the fit is to go on where rounding hides whether the objective falls, but not yet the gradient.
    fn is_rounded(&self) -> bool {
        self.resumable.solver.relative_decrease == 0.0
            && self.cost.evaluator.objective().is_smooth()
            && self.best.slope.abs() <= ROUNDING * self.rounding()
            && max_norm(self.best.gradient.parameters()) > self.rounding()
    }

    /// Whether the slope shows that a step leads on, of which the objective shows no more than that it does not lead back
    /// (the approximate conditions of Wolfe; Hager and Zhang, 2005).
    fn is_flatter(&self, trial: &Point<T>) -> bool {
        trial.slope.abs() <= FLATTER * self.best.slope.abs()
            && trial.objective <= self.best.objective + ROUNDING * self.rounding()
    }
}

/// Fits a model to some of so many samples, without the curvature; none if that does not make it better for all. As
/// fewer samples are easier to overfit, λ is larger there.
pub(super) fn fit_roughly<T: Scalar>(
    solver: &Lbfgs,
    cost: &mut Cost<'_, '_, T>,
    from: &Point<T>,
    sample: &Sample<T>,
    n_samples: usize,
) -> Result<Option<Point<T>>, Error> {
    // Samples of weight zero tell nothing.
    let Ok(few) = sample.batch() else { return Ok(None) };
    let objective = cost.evaluator.objective();
    let share = few.n_samples() as f64 / n_samples as f64;
    let objective = objective.with_l2(objective.l2() / share.sqrt());
    let mut evaluator = Evaluator::new(objective).with_isa(cost.evaluator.isa());
    let rough = Lbfgs { max_iterations: ROUGH_ITERATIONS, curvature: false, ..*solver };
    let mut point = Point::at(&from.model);
    let go_on = |_: &Progress, _: &LinearModel<T>| ControlFlow::Continue(());
    let mut of_few = Cost::new(&mut evaluator, Data::Batch(&few));
    let summary = rough.minimize(&mut of_few, &mut point.model, Some(&few), go_on)?;
    cost.evaluations += summary.progress.evaluations;
    cost.samples += summary.progress.samples;
    cost.evaluate(&mut point)?;
    Ok((point.objective < from.objective).then_some(point))
}
