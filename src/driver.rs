//! The work of one task, block by block: load, scores, epilogue, accumulate; the fold into one gradient follows in
//! [`reduce`](crate::reduce). A Hessian product differs in its epilogue alone, which takes the scores along a direction,
//! too. Each step is one call of a [`Plan`], of its scores or of the loss, while the block
//! is in cache.

use crate::{
    Batch, Error, LinearModel, NonFinite, Objective,
    buffer::Buffer,
    diagnose,
    element::Element,
    kernel::{Copies, PackedWeights, Plan, PlanKind, TaskGradient, with_plan},
    loss::{Targets, epilogue, hessian_product},
    scores::ScoreBlock,
    simd::{Lanes, Run},
};
use core::ops::Range;

/// What all tasks of an evaluation share.
pub(crate) struct Pass<'a, T> {
    pub(crate) plan: PlanKind,
    /// The rows of a block.
    pub(crate) block_rows: usize,
    pub(crate) objective: Objective,
    pub(crate) model: &'a LinearModel<T>,
    pub(crate) weights: &'a PackedWeights<T>,
    pub(crate) batch: &'a Batch<'a, T>,
    /// Whether there is more to compute than the loss.
    pub(crate) gradient: bool,
    /// Instead of the gradient, the Hessian times this is computed, and no loss.
    pub(crate) direction: Option<Direction<'a, T>>,
    /// Whether the tasks share one gradient.
    pub(crate) shared: bool,
    /// Derivatives of a sample that are kept past its block: all, or none.
    pub(crate) kept: usize,
}

/// What a Hessian is multiplied with, scored as a model is.
pub(crate) struct Direction<'a, T> {
    pub(crate) model: &'a LinearModel<T>,
    pub(crate) weights: &'a PackedWeights<T>,
}

/// The scratch memory of a task and, after it ran, its sums.
#[derive(Debug, Default)]
pub(crate) struct Workspace<T> {
    pub(crate) copies: Copies<T>,
    /// The scores of the last block, or their derivatives.
    pub(crate) scores: Buffer<T>,
    pub(crate) gradient: TaskGradient<T>,
    /// The scores of the last block along a direction.
    direction: Buffer<T>,
    targets: Targets<T>,
    db: Vec<f64>,
    loss: f64,
    error: Option<Error>,
}

impl<T: Element> Workspace<T> {
    /// What stopped the task, if anything did.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Σ wᵢ Lᵢ.
    pub(crate) fn loss(&self) -> f64 {
        self.loss
    }

    /// Σ wᵢ dLᵢ/db; empty without the gradient.
    pub(crate) fn db(&self) -> &[f64] {
        &self.db
    }
}

/// A task at its samples.
pub struct RunTask<'a, T> {
    pub(crate) pass: &'a Pass<'a, T>,
    pub(crate) workspace: &'a mut Workspace<T>,
    pub(crate) samples: Range<usize>,
    /// For the derivatives that are kept.
    pub(crate) derivatives: &'a mut [T],
}

impl<T: Element> Run<T> for RunTask<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        with_plan!(self.pass.plan, plan => L::call(proof, Planned(plan, self)));
    }
}

/// A task with its plan.
struct Planned<'a, P, T>(P, RunTask<'a, T>);

impl<T: Element, P: Plan> Run<T> for Planned<'_, P, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self(plan, RunTask { pass, workspace, samples, derivatives }) = self;
        workspace.clear(pass);
        workspace.copies.reading.begin(&pass.batch.features());
        for start in samples.clone().step_by(pass.block_rows) {
            let mut block = start..samples.end.min(start + pass.block_rows);
            let ahead = samples.end.min(block.end + pass.block_rows);
            // Stops at the first invalid sample: one before it may be found invalid by a later step.
            let kept = &mut derivatives[(start - samples.start) * pass.kept..];
            while let Err(fault) =
                workspace.block::<L, P>(proof, plan, pass, block.clone(), ahead, kept)
            {
                block.end = fault.sample;
                workspace.error = Some(fault.error);
            }
            if workspace.error.is_some() {
                return;
            }
        }
    }
}

/// An invalid sample, and what is wrong with it.
struct Fault {
    sample: usize,
    error: Error,
}

impl<T: Element> Workspace<T> {
    /// Prepares for a task.
    fn clear(&mut self, pass: &Pass<'_, T>) {
        self.db.clear();
        if pass.gradient {
            let (c, d) = (pass.model.n_classes(), pass.model.n_features());
            self.db.resize(c, 0.0);
            self.gradient.clear([c, d], pass.objective.has_sparse_derivatives(), pass.shared);
        }
        (self.loss, self.error) = (0.0, None);
    }

    /// Adds the samples of one block to the sums; those up to `ahead` come next.
    #[inline(always)]
    fn block<L: Lanes<Elem = T>, P: Plan>(
        &mut self,
        proof: L::Proof,
        plan: P,
        pass: &Pass<'_, T>,
        block: Range<usize>,
        ahead: usize,
        kept: &mut [T],
    ) -> Result<(), Fault> {
        if block.is_empty() {
            return Ok(());
        }
        let Self { copies, scores, direction, targets, gradient, db, loss, .. } = self;
        let Pass { batch, model, weights, .. } = pass;
        let first = block.start;
        let row = |i: usize| batch.row_index(first + i);
        let fault = |i: usize, error: Error| Fault { sample: first + i, error };

        let classes = pass.objective.n_classes(model.n_classes());
        targets
            .load(batch, block.clone(), classes, pass.objective.loss().is_binary())
            .map_err(|(i, label)| fault(i, Error::Label { row: row(i), label, classes }))?;
        let samples = batch.samples(block.clone(), ahead);
        let mut x = plan.load::<L>(proof, &samples, copies, pass.gradient);
        let mut s = plan.scores::<L>(proof, &mut x, weights, scores);
        if let Some(i) = s.first_not_finite() {
            return Err(fault(i, diagnose::score(model, batch, row(i))));
        }
        let not_finite = |i: usize, cause| fault(i, Error::NonFinite { row: row(i), cause });
        match &pass.direction {
            None => {
                epilogue::<L, _>(proof, pass.objective, &mut s, targets, pass.gradient);
                let sum = targets.add_losses::<L>(proof, *loss);
                *loss = sum.map_err(|i| not_finite(i, NonFinite::Loss))?;
            }
            Some(Direction { model, weights }) => {
                let mut t = plan.scores::<L>(proof, &mut x, weights, direction);
                if let Some(i) = t.first_not_finite() {
                    return Err(fault(i, diagnose::score(model, batch, row(i))));
                }
                hessian_product::<L, _>(proof, pass.objective, &mut s, &mut t, targets)
                    .map_err(|i| not_finite(i, NonFinite::Gradient))?;
            }
        }

        if pass.gradient {
            s.add_class_sums::<L>(proof, db);
            let kept = &mut kept[..block.len() * pass.kept];
            plan.accumulate::<L>(proof, &mut x, &s, gradient, kept);
        }
        Ok(())
    }
}
