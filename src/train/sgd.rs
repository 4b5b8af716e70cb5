//! Stochastic gradient descent over minibatches. Every epoch visits every sample once, in an order drawn
//! anew.

use super::{
    GRADIENT_TOLERANCE, Progress, StopReason, Summary, check, check_l2,
    cost::{Cost, Data, Sums, is_of_a_step},
    gap,
    lazy::Lazy,
    max_norm,
    principal::Principal,
    shuffle,
};
use crate::{Batch, Error, Evaluator, LinearModel, Objective, Partial, Scalar};
use core::ops::{ControlFlow, Range};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

/// Minibatch SGD with momentum.
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::train::{Schedule, Sgd};
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features: Vec<f32> = (0..200).map(|i| (i * i % 17) as f32 / 17.0).collect();
/// let labels: Vec<u32> = (0..100).map(|i| u32::from(features[2 * i] > 0.5)).collect();
/// let batch = Batch::new(MatrixView::new(&features, 100, 2)?, &labels)?;
/// let mut model = LinearModel::<f32>::zeros(2, 2);
/// let mut evaluator = Evaluator::new(Objective::hinge(1.0).with_l2(1e-4));
/// let sgd = Sgd { epochs: 10, batch_size: 10, schedule: Schedule::Cosine, ..Sgd::default() };
/// let go_on = |_: &_, _: &_| ControlFlow::Continue(());
/// let summary = sgd.fit(&mut evaluator, &mut model, &batch, go_on)?;
/// assert!(!summary.stop_reason.failed() && summary.progress.objective < 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Visits to every sample.
    pub epochs: usize,
    /// Samples a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// The length of the first steps, at most: they are no longer than the curvature of the objective
    /// allows, as some of the samples tell it, and become a tenth as long whenever an epoch leads to where the
    /// objective is higher than at the start, from where the fit goes back to the best model so far.
    pub learning_rate: f64,
    /// How the learning rate goes on from there.
    pub schedule: Schedule,
    /// What is kept of the last step: 0 for none, less than 1.
    pub momentum: f64,
    /// Nesterov's momentum, which steps along the slope where the momentum leads to, instead of the heavy
    /// ball's.
    pub nesterov: bool,
    /// Take the features from their mean, and shorten steps along so many directions, those in which the features
    /// vary most, as if they varied there no more than in the last of them: then the others can be longer. 0 for
    /// plain SGD. A direction costs as much as a sample a step.
    pub principal: usize,
    /// Answer with an average of the iterates, later ones weighing more: the t-th one by t (Lacoste-Julien,
    /// Schmidt and Bach, 2012). For steps that do not become short by themselves.
    pub average: bool,
    /// Where the order of the samples is drawn from.
    pub seed: u64,
}

/// How the learning rate falls, from the first step to the last.
///
/// ```
/// use softmargin::train::{Schedule, Sgd};
///
/// // Steps of one length do not come to rest: their average does.
/// let sgd = Sgd { schedule: Schedule::Constant, average: true, ..Sgd::default() };
/// # let _ = sgd;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Along half a cosine, to zero.
    Cosine,
    /// By 1 / √t for the t-th step, counted on from the steps of earlier fits: for data that comes in chunks, a fit
    /// each, of which nobody knows how many will come.
    InverseSquareRoot {
        /// Steps of earlier fits.
        before: u64,
    },
}

impl Schedule {
    /// The share of the first learning rate that is left after some of all steps of a fit.
    fn factor(self, done: usize, n_steps: f64) -> f64 {
        let done = done as f64;
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (done / n_steps * core::f64::consts::PI).cos()),
            Self::InverseSquareRoot { before } => 1.0 / (before as f64 + done + 1.0).sqrt(),
        }
    }
}

impl Default for Sgd {
    /// 20 epochs of minibatches of 256, learning rate 0.25 along a cosine, the heavy ball's momentum 0.9, 8
    /// principal directions, no average, seed 0.
    fn default() -> Self {
        Self {
            epochs: 20,
            batch_size: 256,
            learning_rate: 0.25,
            schedule: Schedule::Cosine,
            momentum: 0.9,
            nesterov: false,
            principal: 8,
            average: false,
            seed: 0,
        }
    }
}

/// A step that fails is made a tenth as long, so many times at most.
const SHORTENINGS: usize = 100;

impl Sgd {
    /// Minimises the evaluator's objective over `batch`, from `model` on, and leaves in `model` the best
    /// one found at the end of an epoch, or the first one.
    ///
    /// After every epoch the whole batch is evaluated; the starting point is epoch 0. `on_step` is told after
    /// every step and every epoch, so that it can end a long one; between epochs, the objective it is told
    /// is that of the last one. The model it is shown is that at the end of that epoch.
    ///
    /// λ is taken into account by implicit steps, which converge whatever its size. Over sparse rows without a
    /// scaling a step takes what the entries of its minibatch take, whatever C × D.
    ///
    /// # Errors
    /// Those of [`Evaluator::loss_and_gradient`] at the starting point; [`Error::Setting`] for a learning rate
    /// that is not positive and finite, a momentum outside 0 ≤ m < 1, an empty minibatch, or a λ beyond the range of `T`; and
    /// [`Error::SizeOverflow`] for more rows than a selection can name (2³² − 1). A fit that finds nothing better
    /// than `model` ends as [`StopReason::NoProgress`], or [`StopReason::Diverged`].
    pub fn fit<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        on_step: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        self.minimize(Cost::new(evaluator, Data::Batch(batch)), model, batch, on_step)
    }

    /// As [`fit`](Self::fit), with the evaluations of all samples left to others: `accumulate` is asked for their sums, as
    /// [`Lbfgs::fit_partials`](super::Lbfgs::fit_partials) asks for them, once before the first epoch and once after each.
    /// The steps are taken here, over `batch`, which has all samples.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::Sgd};
    ///
    /// # fn main() -> Result<(), softmargin::Error> {
    /// let features = [0.0_f64, 1.0, 1.0, 0.0, -1.0, 0.5, 2.0, 2.0];
    /// let batch = Batch::new(MatrixView::new(&features, 4, 2)?, &[0, 1, 2, 1])?;
    /// let objective = Objective::hinge(1.0).with_l2(1e-2);
    /// let (mut model, mut evaluator) = (LinearModel::zeros(3, 2), Evaluator::new(objective));
    /// let summary = Sgd::default().fit_partials(
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
    /// assert!(!summary.stop_reason.failed());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Self::fit). An [`Error::NonFinite`] of `accumulate`, after the first evaluation, tells that steps were too
    /// long; any other error of it ends the fit.
    pub fn fit_partials<T: Scalar>(
        &self,
        evaluator: &mut Evaluator<T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        mut accumulate: impl FnMut(&Sums<'_, T>, &mut Partial<T>) -> Result<u64, Error>,
        on_step: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let cost = Cost::new(evaluator, Data::Partials(&mut accumulate));
        self.minimize(cost, model, batch, on_step)
    }

    fn minimize<T: Scalar>(
        &self,
        mut cost: Cost<'_, '_, T>,
        model: &mut LinearModel<T>,
        batch: &Batch<'_, T>,
        mut on_step: impl FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        self.validate()?;
        let (whole, isa) = (cost.evaluator.objective(), cost.evaluator.isa());
        check_l2::<T>(whole.l2())?;
        let n = batch.n_samples();
        let batch_size = self.batch_size.min(n);
        if batch.features().rows() > u32::MAX as usize {
            let (rows, row_stride) = (batch.features().rows(), batch.features().cols());
            return Err(Error::SizeOverflow { rows, row_stride });
        }
        let mut order: Vec<u32> = match batch.selection() {
            Some(rows) => rows.to_vec(),
            None => (0..n).map(|row| row as u32).collect(),
        };
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let mut gradient = LinearModel::zeros(model.n_classes(), model.n_features());

        cost.check_sample(model, batch)?;
        let objective = cost.loss_and_gradient(model, &mut gradient)?;
        let gradient_norm = max_norm(gradient.parameters());
        let first =
            Progress { iteration: 0, objective, gradient_norm, evaluations: 1, samples: n as u64 };
        let (mut now, mut best, mut best_model) = (first, first, model.clone());
        if on_step(&now, model).is_break() {
            return Ok(Summary { progress: now, stop_reason: StopReason::Interrupted, gap: None });
        }

        let mut answer = model.clone();
        let mut stop_reason = StopReason::MaxIterations;
        let n_steps = self.epochs as f64 * n.div_ceil(batch_size) as f64;
        let mut lazy = Lazy::of(batch, model.n_classes());
        let mut steps = Steps::new(self, whole, model, batch, lazy.is_some());
        // The L2 term is added by the steps.
        let mut of_minibatch = Evaluator::new(whole.with_l2(0.0)).with_isa(isa);
        'epochs: for epoch in 1..=self.epochs {
            shuffle(&mut order, &mut random);
            for rows in order.chunks(batch_size) {
                // Weights of zero only: such a minibatch says nothing.
                let minibatch = match batch.select(rows) {
                    Err(Error::ZeroSampleWeights { .. }) => continue,
                    selected => selected?,
                };
                now.evaluations += 1;
                now.samples += rows.len() as u64;
                let step = match &mut lazy {
                    Some(lazy) => lazy.step(&mut of_minibatch, &mut steps, &minibatch, n_steps),
                    None => of_minibatch
                        .loss_and_gradient(model, &minibatch, &mut gradient)
                        .map(|_| steps.step(model, &gradient, n_steps)),
                };
                if step.is_err() {
                    lazy.iter_mut().for_each(Lazy::forget);
                    if !steps.start_again(&best_model, model) {
                        stop_reason = StopReason::Diverged;
                        break 'epochs;
                    }
                }
                if on_step(&now, &answer).is_break() {
                    stop_reason = StopReason::Interrupted;
                    break 'epochs;
                }
            }

            if let Some(lazy) = &mut lazy {
                lazy.take_all_missed(&mut steps);
                steps.write(&steps.parameters, model);
            }
            steps.write_answer(model, &mut answer);
            now = Progress { iteration: epoch, evaluations: now.evaluations + 1, ..now };
            now.samples += n as u64;
            match cost.loss_and_gradient(&answer, &mut gradient) {
                Ok(objective) if objective <= first.objective => {
                    now.objective = objective;
                    now.gradient_norm = max_norm(gradient.parameters());
                }
                Err(error) if !is_of_a_step(&error) => return Err(error),
                _ if steps.start_again(&best_model, model) => {
                    answer.parameters_mut().copy_from_slice(best_model.parameters());
                    (now.objective, now.gradient_norm) = (best.objective, best.gradient_norm);
                }
                _ => {
                    stop_reason = StopReason::Diverged;
                    break;
                }
            }
            if now.objective < best.objective {
                (best, best_model) = (now, answer.clone());
            }
            if on_step(&now, &answer).is_break() {
                stop_reason = StopReason::Interrupted;
                break;
            }
        }

        *model = best_model;
        if best.iteration == 0 && self.epochs > 0 && stop_reason == StopReason::MaxIterations {
            let optimal = first.gradient_norm <= GRADIENT_TOLERANCE;
            stop_reason =
                if optimal { StopReason::GradientTolerance } else { StopReason::NoProgress };
        }
        let progress =
            Progress { objective: best.objective, gradient_norm: best.gradient_norm, ..now };
        let summary = Summary { progress, stop_reason, gap: None };
        Ok(gap::after_fit(summary, &mut cost, model))
    }

    fn validate(&self) -> Result<(), Error> {
        let rate = self.learning_rate;
        check("learning rate", rate, rate > 0.0 && rate.is_finite(), "positive and finite")?;
        let in_range = (0.0..1.0).contains(&self.momentum);
        check("momentum", self.momentum, in_range, "at least 0 and less than 1")?;
        check("minibatch size", self.batch_size as f64, self.batch_size > 0, "at least 1")
    }
}

/// The value of a parameter, its velocity, and the average of its values.
pub(super) type State = [f64; 3];

/// What a step makes of a parameter.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    rate: f64,
    momentum: f64,
    nesterov: bool,
    /// What is left of a value.
    shrink: f64,
    /// The share of the last value in the average.
    of_average: f64,
}

impl Rule {
    /// A step against a slope.
    #[inline(always)]
    pub(super) fn step(&self, [value, velocity, average]: State, slope: f64) -> State {
        let ahead = self.momentum * velocity;
        // Nesterov's, by where the slope is to be taken next (Sutskever and others, 2013).
        let (before, from) =
            if self.nesterov { (value - ahead, value) } else { (value, value + ahead) };
        let after = self.shrink * (from - self.rate * slope);
        let velocity = after - before;
        let value = if self.nesterov { after + self.momentum * velocity } else { after };
        [value, velocity, average + self.of_average * (value - average)]
    }
}

/// The steps of a fit. In `f64`, as the last ones are much shorter than what they are added to; of features that
/// are taken from their mean, if `principal` does so.
pub(super) struct Steps<'a> {
    solver: &'a Sgd,
    l2: f64,
    n_features: usize,
    /// Whether the weights of a feature lie side by side, rather than those of a class.
    by_feature: bool,
    done: usize,
    pub(super) parameters: Vec<f64>,
    velocity: Vec<f64>,
    average: Vec<f64>,
    principal: Option<Principal>,
    /// How often the steps were made a tenth as long.
    shortenings: usize,
}

impl<'a> Steps<'a> {
    fn new<T: Scalar>(
        solver: &'a Sgd,
        objective: Objective,
        model: &LinearModel<T>,
        batch: &Batch<'_, T>,
        by_feature: bool,
    ) -> Self {
        let &Sgd { learning_rate, momentum, batch_size, .. } = solver;
        let mut principal = Principal::of(batch, solver.principal);
        if let Some(principal) = &mut principal {
            let batch_size = batch_size.min(batch.n_samples());
            let curvature = objective.curvature(model.n_classes());
            principal.shorten(learning_rate, momentum, batch_size, curvature);
        }
        let mut steps = Self {
            solver,
            l2: objective.l2(),
            n_features: model.n_features(),
            by_feature,
            done: 0,
            parameters: Vec::new(),
            velocity: Vec::new(),
            average: Vec::new(),
            principal,
            shortenings: 0,
        };
        steps.start(model);
        steps
    }

    /// From a model on, at rest.
    fn start<T: Scalar>(&mut self, model: &LinearModel<T>) {
        let parameters = model.parameters();
        let value = |i: usize| parameters[i].to_f64();
        self.parameters = self.order(parameters.len()).map(value).collect();
        if let Some(principal) = self.principal.as_ref().filter(|principal| principal.directs()) {
            principal.center(&mut self.parameters, 1.0, self.n_features);
        }
        self.velocity = vec![0.0; self.parameters.len()];
        if self.solver.average {
            self.average.clone_from(&self.parameters);
        }
    }

    /// From the best model on, with shorter steps; false if they have been shortened often enough.
    fn start_again<T: Scalar>(
        &mut self,
        best: &LinearModel<T>,
        model: &mut LinearModel<T>,
    ) -> bool {
        self.shortenings += 1;
        model.parameters_mut().copy_from_slice(best.parameters());
        self.start(best);
        self.shortenings <= SHORTENINGS
    }

    /// One step against the gradient of the mean loss; of `n_steps` in all.
    fn step<T: Scalar>(
        &mut self,
        model: &mut LinearModel<T>,
        gradient: &LinearModel<T>,
        n_steps: f64,
    ) {
        let n_weights = gradient.weights().len();
        let mut slopes: Vec<f64> =
            gradient.parameters().iter().map(|slope| slope.to_f64()).collect();
        if let Some(principal) = self.principal.as_ref().filter(|principal| principal.directs()) {
            let l2_slope =
                |i: usize, value: f64| if i < n_weights { 2.0 * self.l2 * value } else { 0.0 };
            // That of the loss is to stand for the features as they are taken.
            principal.center_slopes(&mut slopes, self.n_features);
            for (i, (slope, value)) in slopes.iter_mut().zip(&self.parameters).enumerate() {
                *slope += l2_slope(i, *value);
            }
            principal.damp(&mut slopes, self.n_features);
            for (i, (slope, value)) in slopes.iter_mut().zip(&self.parameters).enumerate() {
                *slope -= l2_slope(i, *value);
            }
        }
        let [of_weights, of_bias] = self.next_rules(n_steps);
        self.step_some(0, &of_weights, &slopes[..n_weights]);
        self.step_some(n_weights, &of_bias, &slopes[n_weights..]);
        self.write(&self.parameters, model);
    }

    /// The next step of the weights and of the bias.
    ///
    /// What the slope leaves of the L2 term is its slope at the end of the step (implicit Euler), whose steps lead
    /// nowhere beyond zero, however large λ is; in all, the slope is that of the damped objective.
    pub(super) fn next_rules(&mut self, n_steps: f64) -> [Rule; 2] {
        let &Sgd { learning_rate, schedule, momentum, nesterov, .. } = self.solver;
        let rate = learning_rate * schedule.factor(self.done, n_steps);
        let rate = rate * 0.1_f64.powi(self.shortenings as i32);
        let [of_weights, of_bias] = self.principal.as_ref().map_or([1.0; 2], Principal::scales);
        self.done += 1;
        let of_average = 2.0 / (self.done as f64 + 1.0);
        let rule = |rate: f64, l2: f64| {
            let shrink = 1.0 / (1.0 + 2.0 * l2 * rate);
            Rule { rate, momentum, nesterov, shrink, of_average }
        };
        [rule(rate * of_weights, self.l2), rule(rate * of_bias, 0.0)]
    }

    /// Steps of the parameters from one on, against their slopes.
    pub(super) fn step_some(&mut self, first: usize, rule: &Rule, slopes: &[f64]) {
        self.update(first..first + slopes.len(), |i, state| rule.step(state, slopes[i]));
    }

    /// Replaces the states of some parameters, of which `f` is given the numbers from 0 on. The average is 0 where none
    /// is asked for.
    #[inline(always)]
    pub(super) fn update(&mut self, places: Range<usize>, f: impl Fn(usize, State) -> State) {
        let (values, velocities) =
            (&mut self.parameters[places.clone()], &mut self.velocity[places.clone()]);
        let states = values.iter_mut().zip(velocities).enumerate();
        match self.average.get_mut(places) {
            None => states.for_each(|(i, (value, velocity))| {
                [*value, *velocity, _] = f(i, [*value, *velocity, 0.0]);
            }),
            Some(averages) => states.zip(averages).for_each(|((i, (value, velocity)), average)| {
                [*value, *velocity, *average] = f(i, [*value, *velocity, *average]);
            }),
        }
    }

    /// What the fit would answer if it ended here.
    fn write_answer<T: Scalar>(&self, model: &LinearModel<T>, answer: &mut LinearModel<T>) {
        match &*self.average {
            [] => answer.parameters_mut().copy_from_slice(model.parameters()),
            average => self.write(average, answer),
        }
    }

    fn write<T: Scalar>(&self, parameters: &[f64], model: &mut LinearModel<T>) {
        let mut parameters = parameters.to_vec();
        if let Some(principal) = self.principal.as_ref().filter(|principal| principal.directs()) {
            principal.center(&mut parameters, -1.0, self.n_features);
        }
        let order = self.order(parameters.len());
        let targets = model.parameters_mut();
        order.zip(parameters).for_each(|(i, value)| targets[i] = T::from_f64(value));
    }

    /// The places in a model of the parameters, one after the other as they lie here.
    fn order(&self, n_parameters: usize) -> impl Iterator<Item = usize> + use<> {
        let (d, by_feature) = (self.n_features, self.by_feature);
        let c = n_parameters / (d + 1);
        (0..n_parameters).map(move |i| match by_feature && i < c * d {
            true => i % c * d + i / c,
            false => i,
        })
    }
}
