//! Cross-validation: each sample is held out once, and what models that have not seen it make of it chooses λ.

use super::{
    DualAscent, Lbfgs, NewtonCg, Summary, shuffle,
    validation::{accuracy_of, descending, with_l2},
};
use crate::{Batch, Error, Evaluator, LinearModel, Scalar};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

/// Rows of a batch to train on, and those to validate on, to be [selected](Batch::select).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The rows to train on.
    pub training: Vec<u32>,
    /// The rows that are held out.
    pub validation: Vec<u32>,
}

/// Divides the samples of a batch at random into `k` parts, each of which is held out by one fold. Of each class, every
/// part has as many samples as the others, or one more or less, and so it has of all.
///
/// Samples of weight zero are in no fold: they count nothing in training or validation, and the folds are those without
/// them. A class of fewer samples than folds is missing from some held-out parts. One of a single sample is missing where
/// the others train: the model that this sample is held out from has never seen its class. Rows are in ascending order;
/// a row that is selected more than once is so many samples.
///
/// Takes O(N log N), and memory for k N rows.
///
/// # Errors
/// [`Error::Folds`] for fewer than 2 folds, or more than samples that count; [`Error::SizeOverflow`] for more rows than
/// a `u32` can count.
pub fn stratified_folds<T: Scalar>(
    batch: &Batch<'_, T>,
    k: usize,
    seed: u64,
) -> Result<Vec<Fold>, Error> {
    let (rows, cols) = (batch.features().rows(), batch.n_features());
    if u32::try_from(rows).is_err() {
        return Err(Error::SizeOverflow { rows, row_stride: cols });
    }
    let all = (0..batch.n_samples()).map(|i| batch.row_index(i) as u32);
    let mut order: Vec<u32> =
        all.filter(|row| batch.weight(*row as usize) > T::default()).collect();
    if k < 2 || k > order.len() {
        return Err(Error::Folds { folds: k, samples: order.len() });
    }
    shuffle(&mut order, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
    // Class by class, the samples are dealt out to one fold after the other.
    order.sort_by_key(|row| batch.labels()[*row as usize]);
    let part = |fold: usize, held_out: bool| {
        let dealt = order.iter().enumerate().filter(|(i, _)| (i % k == fold) == held_out);
        let mut rows: Vec<u32> = dealt.map(|(_, row)| *row).collect();
        rows.sort_unstable();
        rows
    };
    let fold = |i| Fold { training: part(i, false), validation: part(i, true) };
    Ok((0..k).map(fold).collect())
}

/// The mean of a quantity over the folds, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Σ Zᵢ vᵢ / Z over the folds' values vᵢ, where Zᵢ is the weight of the samples that fold i holds out, and Z = Σ Zᵢ.
    pub mean: f64,
    /// The standard error of the mean, √(Σ Zᵢ (vᵢ − mean)² / (Z (k − 1))) of k folds, as glmnet has it.
    pub standard_error: f64,
}

/// How the model that was trained on one fold, for one λ, does on the samples that the fold holds out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldScore {
    /// The mean loss of the held-out samples, by their weights, without the L2 term.
    pub loss: f64,
    /// The share of the held-out samples that is predicted, by their weights.
    pub accuracy: f64,
    /// The weight of the held-out samples.
    pub total_weight: f64,
    /// How the fit ended.
    pub summary: Summary,
}

/// How the models for one λ do on samples that they have not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidated {
    /// λ.
    pub l2: f64,
    /// The mean loss of the held-out samples, without the L2 term.
    pub loss: Estimate,
    /// The share of the held-out samples that is predicted.
    pub accuracy: Estimate,
    /// Each fold by itself, in their order.
    pub folds: Vec<FoldScore>,
}

impl CrossValidated {
    /// What the scores of all folds say of λ, wherever they come from: as those of [`cross_validate`], of samples that
    /// other processes have, say, by [`Lbfgs::fit_partials`](super::Lbfgs::fit_partials). Of a single fold, the standard
    /// errors are NaN.
    pub fn of_folds(l2: f64, folds: Vec<FoldScore>) -> Self {
        let loss = Estimate::of(&folds, |fold| fold.loss);
        let accuracy = Estimate::of(&folds, |fold| fold.accuracy);
        Self { l2, loss, accuracy, folds }
    }
}

/// What [`cross_validate`] tells of all λ.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidation {
    /// Of each λ, from the largest to the smallest.
    pub path: Vec<CrossValidated>,
}

impl CrossValidation {
    /// The λ with the least mean loss; of equals, the largest. (glmnet's `lambda.min`.)
    ///
    /// # Panics
    /// If `path` is empty, as that of [`cross_validate`] never is.
    pub fn best(&self) -> &CrossValidated {
        self.path.iter().fold(&self.path[0], |best, point| {
            if point.loss.mean < best.loss.mean { point } else { best }
        })
    }

    /// The largest λ with a mean loss that is at most one standard error above the least: the simplest model that is
    /// not surely worse than the best. (glmnet's `lambda.1se`.)
    ///
    /// # Panics
    /// As [`best`](Self::best).
    pub fn one_standard_error(&self) -> &CrossValidated {
        let best = self.best();
        let most = best.loss.mean + best.loss.standard_error;
        self.path.iter().find(|point| point.loss.mean <= most).unwrap_or(best)
    }
}

/// Fits a model for each λ in `l2` to each fold, and validates it on the samples that the fold holds out: k-fold
/// cross-validation. The loss and the instruction set are those of `evaluator`; its λ does not count.
///
/// For one λ after the other, from the largest to the smallest, `solver` is called for each fold in their order, with an
/// evaluator that has λ, the fold's model for the λ before (at first `start`), and the samples to train on, which are
/// selected, not copied.
/// What it leaves in the model is validated, whatever the [`Summary`] says, which is kept. Any solver will do that fits
/// the loss: [`Lbfgs`](super::Lbfgs) and [`NewtonCg`](super::NewtonCg) for losses without kinks, and
/// [`DualAscent`](super::DualAscent), with λ > 0, for the others. To end it all, return an error from it.
///
/// Folds are those of [`stratified_folds`], or any others: samples may be held out more than once, or never. Fit a
/// model to all samples afterwards, for the λ that was [chosen](CrossValidation::best).
///
/// Tolerances far finer than the standard errors are of no use here, and take several times as many iterations:
/// [`Lbfgs::for_folds`] has others.
///
/// Takes as long as k fits to (k − 1) / k of the samples for each λ, the first of them from `start`, the others from a
/// model that is near; and memory for k models. The fits are so much alike that they can share
/// [what they learn of the curvature](Lbfgs::fit_with_curvature). The same bits on any number of threads, if the solver
/// gives them.
///
/// ```
/// use core::ops::ControlFlow;
/// use softmargin::train::{Lbfgs, LearnedCurvature, cross_validate, stratified_folds};
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features: Vec<f32> = (0..60).map(|i| (i * i % 17) as f32 / 8.0).collect();
/// let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
/// let batch = Batch::<f32>::new(MatrixView::new(&features, 20, 3)?, &labels)?;
/// let evaluator = Evaluator::new(Objective::cross_entropy());
/// let (l2, start) = ([1.0, 0.1, 0.01, 0.001], LinearModel::zeros(2, 3));
///
/// let folds = stratified_folds(&batch, 5, 0)?;
/// let go_on = |_: &_, _: &_| ControlFlow::Continue(());
/// let (solver, mut curvature) = (Lbfgs::default().for_folds(), LearnedCurvature::default());
/// let validated = cross_validate(&evaluator, &l2, &start, &batch, &folds, |evaluator, model, batch| {
///     solver.fit_with_curvature(&mut curvature, evaluator, model, batch, go_on)
/// })?;
/// for point in &validated.path {
///     println!("λ = {}: {:.3} ± {:.3}", point.l2, point.loss.mean, point.loss.standard_error);
/// }
///
/// // All samples, and the λ that was best.
/// let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(validated.best().l2));
/// let mut model = start;
/// Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on)?;
/// # assert!(validated.path.iter().all(|point| point.loss.mean >= validated.best().loss.mean));
/// # assert!(validated.one_standard_error().l2 >= validated.best().l2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Before anything is fitted: [`Error::NoL2`] for no λ at all, [`Error::L2`] for one that is negative or not finite,
/// [`Error::Folds`] for fewer than 2 folds, those of [`Batch::select`] for a fold without samples, or of rows that do not
/// exist or together weigh nothing. Later those of `solver`, and those of [`Evaluator::loss`] of the held-out samples.
pub fn cross_validate<T: Scalar, E: From<Error>>(
    evaluator: &Evaluator<T>,
    l2: &[f64],
    start: &LinearModel<T>,
    batch: &Batch<'_, T>,
    folds: &[Fold],
    mut solver: impl FnMut(&mut Evaluator<T>, &mut LinearModel<T>, &Batch<'_, T>) -> Result<Summary, E>,
) -> Result<CrossValidation, E> {
    if l2.is_empty() {
        return Err(Error::NoL2.into());
    }
    if let Some(&value) = l2.iter().find(|l2| !(**l2 >= 0.0 && l2.is_finite())) {
        return Err(Error::L2 { value }.into());
    }
    if folds.len() < 2 {
        return Err(Error::Folds { folds: folds.len(), samples: batch.n_samples() }.into());
    }
    let mut selected = Vec::with_capacity(folds.len());
    for Fold { training, validation } in folds {
        selected.push((batch.select(training)?, batch.select(validation)?));
    }

    let mut models = vec![start.clone(); folds.len()];
    let mut plain = with_l2(evaluator, 0.0);
    let mut path = Vec::with_capacity(l2.len());
    for l2 in descending(l2) {
        let mut folds = Vec::with_capacity(models.len());
        for ((training, validation), model) in selected.iter().zip(&mut models) {
            let summary = solver(&mut with_l2(evaluator, l2), model, training)?;
            let loss = plain.loss(model, validation)?;
            let accuracy = accuracy_of(evaluator, model, validation)?;
            let total_weight = validation.total_weight();
            folds.push(FoldScore { loss, accuracy, total_weight, summary });
        }
        path.push(CrossValidated::of_folds(l2, folds));
    }
    Ok(CrossValidation { path })
}

impl Estimate {
    fn of(folds: &[FoldScore], value: impl Fn(&FoldScore) -> f64) -> Self {
        let total: f64 = folds.iter().map(|fold| fold.total_weight).sum();
        let mean_of = |f: &dyn Fn(f64) -> f64| -> f64 {
            folds.iter().map(|fold| fold.total_weight / total * f(value(fold))).sum()
        };
        let mean = mean_of(&|value| value);
        let variance = mean_of(&|value| (value - mean) * (value - mean));
        Self { mean, standard_error: (variance / (folds.len() as f64 - 1.0)).sqrt() }
    }
}

/// The largest entry of the gradient that counts as none in the fits of [`cross_validate`]: scikit-learn's `tol`. The loss
/// of held-out samples is then off by a small part of its standard error.
const GRADIENT_TOLERANCE: f64 = 1e-4;
const RELATIVE_DECREASE: f64 = 1e-7;
const GAP: f64 = 1e-3;

impl Lbfgs {
    /// With tolerances that are fine enough for the fits of [`cross_validate`]: no smaller than 1e-4 and 1e-7.
    pub fn for_folds(self) -> Self {
        Self {
            gradient_tolerance: self.gradient_tolerance.max(GRADIENT_TOLERANCE),
            relative_decrease: self.relative_decrease.max(RELATIVE_DECREASE),
            ..self
        }
    }
}

impl NewtonCg {
    /// With a tolerance that is fine enough for the fits of [`cross_validate`]: no smaller than 1e-4.
    pub fn for_folds(self) -> Self {
        let gradient_tolerance = self.gradient_tolerance.max(GRADIENT_TOLERANCE);
        Self { gradient_tolerance, ..self }
    }
}

impl DualAscent {
    /// With a tolerance that is fine enough for the fits of [`cross_validate`]: no smaller than 1e-3.
    pub fn for_folds(self) -> Self {
        Self { tolerance: self.tolerance.max(GAP), ..self }
    }
}
