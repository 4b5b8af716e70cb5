//! A fit that goes on from any checkpoint of another ends with the bits of one that was never interrupted; and it is refused
//! if anything is different that would make them others.

#![cfg(feature = "train")]

use crate::common::{Random, failure::says, with_threads};
use core::ops::ControlFlow;
use softmargin::{
    Batch, CsrView, Error, Evaluator, Isa, LinearModel, MatrixView, Objective, Scalar,
    train::{
        Checkpoint, EarlyStopping, Evaluate, Lbfgs, Progress, Resumable, StopReason, Summary,
        Validated,
    },
};

const D: usize = 6;
const C: usize = 4;

/// Features of other sizes, and labels that they tell something of.
struct Samples<T> {
    x: Vec<T>,
    labels: Vec<u32>,
}

impl<T: Scalar> Samples<T> {
    /// With so much added to each feature.
    fn new(n: usize, offset: f64) -> Self {
        let mut random = Random::new(11);
        let rows = (0..n).map(|_| [(); D].map(|()| random.normal())).collect::<Vec<_>>();
        let label = |row: &[f64; D]| {
            let scores = (0..C).map(|k| row[k] + row[k + 1] * row[k + 2] + random.normal());
            let best = scores.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
            best.map_or(0, |(k, _)| k as u32)
        };
        let labels = rows.iter().map(label).collect();
        let sized = |row: &[f64; D]| {
            let sizes = [3.0, 1.0, 0.01, 1.0, 20.0, 0.3];
            core::array::from_fn::<_, D, _>(|l| T::from_f64(sizes[l] * (row[l] + offset)))
        };
        Self { x: rows.iter().flat_map(sized).collect(), labels }
    }

    fn batch(&self) -> Batch<'_, T> {
        let n = self.labels.len();
        Batch::new(MatrixView::new(&self.x, n, D).unwrap(), &self.labels).unwrap()
    }
}

/// The model and the summary that a fit ends with, and what it told of its iterations.
type Outcome<T> = (LinearModel<T>, Summary, Vec<Progress>);

/// A way to fit, from a model on.
type Fit<'a, T> =
    &'a dyn Fn(Resumable<'_, T>, &mut LinearModel<T>, Report<'_, T>) -> Result<Summary, Error>;

type Report<'a, T> = &'a mut dyn FnMut(&Progress, &LinearModel<T>) -> ControlFlow<()>;

fn run<T: Scalar>(
    fit: Fit<'_, T>,
    resumable: Resumable<'_, T>,
    start: &LinearModel<T>,
    until: usize,
) -> Result<Outcome<T>, Error> {
    let (mut model, mut told) = (start.clone(), Vec::new());
    let summary = fit(resumable, &mut model, &mut |progress, _| {
        told.push(*progress);
        match progress.iteration >= until {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    Ok((model, summary, told))
}

/// All checkpoints of a fit that does not end before so many iterations, unless it ends by itself.
fn checkpoints<T: Scalar>(
    fit: Fit<'_, T>,
    solver: Lbfgs,
    start: &LinearModel<T>,
    every: usize,
    until: usize,
) -> (Vec<Checkpoint<T>>, Outcome<T>) {
    let mut all = Vec::new();
    let mut save = |checkpoint: &Checkpoint<T>| all.push(checkpoint.clone());
    let resumable = Resumable { every, save: Some(&mut save), ..Resumable::new(solver) };
    let outcome = run(fit, resumable, start, until).unwrap();
    (all, outcome)
}

/// As it comes back from a file, where there are files.
fn through_a_file<T: Scalar>(checkpoint: &Checkpoint<T>) -> Checkpoint<T> {
    #[cfg(feature = "safetensors")]
    {
        let metadata = [("run".to_owned(), "7".to_owned())].into();
        let bytes = checkpoint.to_safetensors(&metadata).unwrap();
        assert_eq!(checkpoint.to_safetensors(&metadata).unwrap(), bytes, "another file");
        let (read, theirs) = Checkpoint::from_safetensors(&bytes).unwrap();
        assert_eq!((&read, theirs), (checkpoint, metadata));
        read
    }
    #[cfg(not(feature = "safetensors"))]
    checkpoint.clone()
}

/// Goes on from every checkpoint of a fit, by itself or from a start that does not count any more.
fn goes_on<T: Scalar>(what: &str, fit: Fit<'_, T>, solver: Lbfgs, start: &LinearModel<T>) {
    let expected = run(fit, Resumable::new(solver), start, usize::MAX).unwrap();
    let (all, outcome) = checkpoints(fit, solver, start, 1, usize::MAX);
    assert_eq!(outcome, expected, "{what}: saving it makes it another fit");
    let last = expected.1.progress.iteration;
    assert!(all.len() + 1 >= last && all.len() > 1, "{what}: {} of {last}", all.len());
    for checkpoint in all {
        let at = checkpoint.progress().iteration;
        let from = Some(through_a_file(&checkpoint));
        let resumable = Resumable { from, ..Resumable::new(solver) };
        let (model, summary, told) = run(fit, resumable, start, usize::MAX).unwrap();
        assert_eq!(summary, expected.1, "{what}: from iteration {at}");
        assert!(model == expected.0, "{what}: from iteration {at}: other bits");
        assert_eq!(told, expected.2[at..], "{what}: from iteration {at}");
    }
}

/// To the last bits, so that all ends of a line search are there.
const SOLVER: Lbfgs = Lbfgs {
    max_iterations: 90,
    memory: 4,
    gradient_tolerance: 0.0,
    relative_decrease: 0.0,
    curvature: true,
};

fn from_every_checkpoint<T: Scalar>() {
    let zeros = LinearModel::zeros(C, D);
    let smooth = Objective::cross_entropy().with_l2(1e-3);
    let (few, many, far) =
        (Samples::<T>::new(300, 0.0), Samples::new(20_000, 0.0), Samples::new(300, 300.0));
    let with = |objective: Objective, batch: Batch<'_, T>, start: &LinearModel<T>, what: &str| {
        let fit = |resumable: Resumable<'_, T>, model: &mut _, report: Report<'_, T>| {
            resumable.fit(&mut Evaluator::new(objective), model, &batch, report)
        };
        goes_on(what, &fit, SOLVER, start);
        goes_on(what, &fit, Lbfgs { relative_decrease: 1e-7, ..SOLVER }, start);
        // Where it converges by the gradient, and where that is also the last iteration there may be.
        let solver = Lbfgs { gradient_tolerance: 1e-3, ..SOLVER };
        goes_on(what, &fit, solver, start);
        let summary = run(&fit, Resumable::new(solver), start, usize::MAX).unwrap().1;
        let limited = Lbfgs { max_iterations: summary.progress.iteration, ..solver };
        goes_on(what, &fit, limited, start);
    };
    // The curvature is that of all classes at first, and then of each; or at once, of some samples or of all; or there
    // is none.
    with(smooth, few.batch(), &zeros, "few samples");
    with(Objective::squared_hinge(1.0), many.batch(), &zeros, "many samples");
    let mut start = zeros.clone();
    start.parameters_mut()[2] = T::from_f64(0.5);
    with(smooth, few.batch(), &start, "a model to start from");
    with(Objective::hinge(1.0).with_l2(1e-2), few.batch(), &start, "kinks");
    with(smooth, far.batch(), &zeros, "features far from zero");
    let weights: Vec<T> = (0..300).map(|i| T::from_f64(f64::from(i % 3))).collect();
    let weighted = few.batch().with_sample_weights(&weights).unwrap();
    with(smooth, weighted, &zeros, "sample weights");
}

#[test]
fn from_every_checkpoint_f32() {
    from_every_checkpoint::<f32>();
}

#[test]
fn from_every_checkpoint_f64() {
    from_every_checkpoint::<f64>();
}

#[test]
fn without_curvature() {
    let samples = Samples::<f32>::new(300, 0.0);
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let fit = |resumable: Resumable<'_, f32>, model: &mut _, report: Report<'_, f32>| {
        resumable.fit(&mut Evaluator::new(objective), model, &samples.batch(), report)
    };
    let solver = Lbfgs { curvature: false, ..SOLVER };
    goes_on("no curvature", &fit, solver, &LinearModel::zeros(C, D));
}

/// Fewer samples than features: of the curvature, there is the diagonal.
#[test]
fn of_sparse_features() {
    let (n, d) = (60, 90);
    let mut random = Random::new(5);
    let indptr: Vec<usize> = (0..=n).map(|i| 4 * i).collect();
    let indices: Vec<u32> =
        (0..4 * n).map(|i| ((7 * i + i / 4 * i) % (d / 4) + d / 4 * (i % 4)) as u32).collect();
    let values: Vec<f32> = (0..4 * n).map(|_| random.normal() as f32).collect();
    let labels: Vec<u32> = (0..n as u32).map(|i| i * i % 3).collect();
    let x = CsrView::new(n, d, &indptr, &indices, &values).unwrap();
    let batch = Batch::new(x, &labels).unwrap();
    let objective = Objective::cross_entropy().with_l2(1e-2);
    let fit = |resumable: Resumable<'_, f32>, model: &mut _, report: Report<'_, f32>| {
        resumable.fit(&mut Evaluator::new(objective), model, &batch, report)
    };
    goes_on("sparse", &fit, SOLVER, &LinearModel::zeros(3, d));
}

#[test]
fn over_chunks() {
    let samples = Samples::<f32>::new(500, 0.0);
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let whole = samples.batch();
    for sample in [None, Some(&whole)] {
        let fit = |resumable: Resumable<'_, f32>, model: &mut _, report: Report<'_, f32>| {
            let chunks = samples.x.chunks(100 * D).zip(samples.labels.chunks(100));
            let each = |evaluate: softmargin::train::Evaluate<'_, f32>| {
                chunks.clone().try_for_each(|(x, labels)| {
                    evaluate(&Batch::new(MatrixView::new(x, 100, D)?, labels)?)
                })
            };
            resumable.fit_chunks(&mut Evaluator::new(objective), model, sample, each, report)
        };
        goes_on("chunks", &fit, SOLVER, &LinearModel::zeros(C, D));
    }
}

#[test]
fn an_interrupted_fit_is_saved_where_it_ends() {
    let samples = Samples::<f32>::new(300, 0.0);
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let fit = |resumable: Resumable<'_, f32>, model: &mut _, report: Report<'_, f32>| {
        resumable.fit(&mut Evaluator::new(objective), model, &samples.batch(), report)
    };
    let zeros = LinearModel::zeros(C, D);
    let expected = run(&fit, Resumable::new(SOLVER), &zeros, usize::MAX).unwrap();
    let at = |all: &[Checkpoint<f32>]| -> Vec<usize> {
        all.iter().map(|checkpoint| checkpoint.progress().iteration).collect()
    };
    let (mut all, _) = checkpoints(&fit, SOLVER, &zeros, 4, 11);
    assert_eq!(at(&all), [4, 8, 11]);
    // By a callback, and by a limit, which may be another one in the next run; on other threads.
    let limited = Lbfgs { max_iterations: 7, ..SOLVER };
    let (by_limit, _) = checkpoints(&fit, limited, &zeros, 0, usize::MAX);
    assert_eq!(at(&by_limit), [7]);
    all.extend(by_limit);
    for (checkpoint, threads) in all.into_iter().zip([1, 2, 3, 4]) {
        let (model, summary, _) = with_threads(threads, || {
            let resumable = Resumable { from: Some(checkpoint), ..Resumable::new(SOLVER) };
            run(&fit, resumable, &zeros, usize::MAX).unwrap()
        });
        assert_eq!((model, summary), (expected.0.clone(), expected.1));
    }
}

/// Samples to train on, and others to stop by. There is so little to learn of the first that it soon does not hold for the
/// others.
struct Parts<T> {
    training: Samples<T>,
    held_out: Samples<T>,
}

impl<T: Scalar> Parts<T> {
    fn new(n: usize, offset: f64) -> Self {
        let all = Samples::<T>::new(2 * n, offset);
        let (x, others) = all.x.split_at(n * D);
        let (labels, other_labels) = all.labels.split_at(n);
        Self {
            training: Samples { x: x.to_vec(), labels: labels.to_vec() },
            held_out: Samples { x: others.to_vec(), labels: other_labels.to_vec() },
        }
    }

    /// In one piece, or in chunks of both parts.
    fn fit(
        &self,
        objective: Objective,
        patience: usize,
        in_chunks: bool,
        resumable: Resumable<'_, T>,
        until: usize,
    ) -> Result<(LinearModel<T>, Validated, Vec<Progress>), Error> {
        let mut evaluator = Evaluator::new(objective);
        let mut plain = Evaluator::new(objective.with_l2(0.0));
        let (mut model, mut told) = (LinearModel::zeros(C, D), Vec::new());
        let report = |progress: &Progress, _: &LinearModel<T>| {
            told.push(*progress);
            match progress.iteration >= until {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let batch = self.training.batch();
        let validated = if in_chunks {
            let loss = |model: &LinearModel<T>| plain.loss(model, &self.held_out.batch());
            EarlyStopping::of_loss(loss, patience).fit_resumable(
                resumable,
                &mut model,
                |resumable, model, check| {
                    let chunks = self.training.x.chunks(10 * D);
                    let chunks = chunks.zip(self.training.labels.chunks(10));
                    let each = |evaluate: Evaluate<'_, T>| {
                        chunks.clone().try_for_each(|(x, labels)| {
                            evaluate(&Batch::new(MatrixView::new(x, labels.len(), D)?, labels)?)
                        })
                    };
                    resumable.fit_chunks(&mut evaluator, model, Some(&batch), each, check)
                },
                report,
            )
        } else {
            EarlyStopping::new(&plain, self.held_out.batch(), patience).fit_resumable(
                resumable,
                &mut model,
                |resumable, model, check| resumable.fit(&mut evaluator, model, &batch, check),
                report,
            )
        };
        // A fit that is refused leaves the model as it was.
        assert!(validated.is_ok() || model == LinearModel::zeros(C, D));
        validated.map(|validated| (model, validated, told))
    }
}

/// From every iteration, before the model that is best and after it, and wherever a callback or a limit ended it.
fn stopped_early<T: Scalar>() {
    let (plain, steep) = (Objective::cross_entropy(), Lbfgs { curvature: false, ..SOLVER });
    let (near, far) = (Parts::<T>::new(40, 0.0), Parts::<T>::new(40, 300.0));
    let (mut before_best, mut after_best, mut early) = (0, 0, 0);
    for (what, parts, objective, solver, patience, in_chunks) in [
        ("curvature", &near, plain.with_l2(1e-4), SOLVER, 3, false),
        ("no curvature", &near, plain, steep, 7, false),
        ("patience without end", &near, plain.with_l2(1e-3), steep, usize::MAX, false),
        ("far from zero", &far, plain.with_l2(1e-4), steep, 4, false),
        ("kinks", &near, Objective::hinge(1.0), SOLVER, 5, false),
        ("chunks", &near, plain.with_l2(1e-4), steep, 5, true),
    ] {
        let fit = |resumable: Resumable<'_, T>, until| {
            parts.fit(objective, patience, in_chunks, resumable, until).unwrap()
        };
        let expected = fit(Resumable::new(solver), usize::MAX);
        let best = expected.1.best.iteration;
        early += usize::from(expected.1.summary.stop_reason == StopReason::EarlyStopping);
        let last = expected.1.summary.progress.iteration;
        assert!(last > best, "{what}: the last model is the best");

        let mut all = Vec::new();
        let mut save = |checkpoint: &Checkpoint<T>| all.push(checkpoint.clone());
        let saved = Resumable { every: 1, save: Some(&mut save), ..Resumable::new(solver) };
        assert_eq!(fit(saved, usize::MAX), expected, "{what}: saving makes it another fit");
        for until in [1, best, best + 1, last] {
            let mut save = |checkpoint: &Checkpoint<T>| all.push(checkpoint.clone());
            fit(Resumable { save: Some(&mut save), ..Resumable::new(solver) }, until);
            let mut save = |checkpoint: &Checkpoint<T>| all.push(checkpoint.clone());
            let solver = Lbfgs { max_iterations: until, ..solver };
            fit(Resumable { save: Some(&mut save), ..Resumable::new(solver) }, usize::MAX);
        }
        for checkpoint in all {
            let at = checkpoint.progress().iteration;
            (before_best, after_best) =
                (before_best + usize::from(at < best), after_best + usize::from(at > best));
            let from = Some(through_a_file(&checkpoint));
            let (model, validated, told) =
                fit(Resumable { from, ..Resumable::new(solver) }, usize::MAX);
            assert_eq!(validated, expected.1, "{what}: from iteration {at}");
            assert!(model == expected.0, "{what}: from iteration {at}: other bits");
            assert_eq!(told, expected.2[at..], "{what}: from iteration {at}");
        }
    }
    assert!(before_best > 5 && after_best > 5 && early > 2, "{before_best} {after_best} {early}");
}

#[test]
fn stopped_early_f32() {
    stopped_early::<f32>();
}

#[test]
fn stopped_early_f64() {
    stopped_early::<f64>();
}

#[test]
fn what_is_stopped_by_others() {
    let mut parts = Parts::<f32>::new(40, 0.0);
    let objective = Objective::cross_entropy().with_l2(1e-4);
    let saved = |patience| {
        let mut last = None;
        let mut save = |checkpoint: &Checkpoint<f32>| last = Some(checkpoint.clone());
        let resumable = Resumable { save: Some(&mut save), ..Resumable::new(SOLVER) };
        parts.fit(objective, patience, false, resumable, 5).unwrap();
        last.unwrap()
    };
    let (checkpoint, without_end) = (saved(20), saved(usize::MAX));
    let refused = |parts: &Parts<f32>, checkpoint: &Checkpoint<f32>, patience, words: &[&str]| {
        let mut saved = 0;
        let mut save = |_: &Checkpoint<f32>| saved += 1;
        let mut resumable = Resumable::new(SOLVER);
        resumable.from = Some(checkpoint.clone());
        resumable.save = Some(&mut save);
        let error = parts.fit(objective, patience, false, resumable, usize::MAX).unwrap_err();
        assert_eq!(saved, 0);
        assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
        says(&error, words);
    };
    refused(&parts, &checkpoint, 7, &["patience of early stopping was 20, and is 7 now"]);
    // Of a fit that is not stopped early, or by one.
    let batch = parts.training.batch();
    let fit = |resumable: Resumable<'_, f32>, model: &mut _, report: Report<'_, f32>| {
        resumable.fit(&mut Evaluator::new(objective), model, &batch, report)
    };
    let zeros = LinearModel::zeros(C, D);
    let (all, _) = checkpoints(&fit, SOLVER, &zeros, 5, 5);
    refused(&parts, &all[0], 20, &["patience of early stopping was none, and is 20 now"]);
    let from = Some(checkpoint.clone());
    let error = run(&fit, Resumable { from, ..Resumable::new(SOLVER) }, &zeros, 9).unwrap_err();
    says(&error, &["patience of early stopping was 20, and is none now"]);
    // By other samples, though a model of zeros, which may be the best, has the same loss of all.
    let labels = parts.held_out.labels.clone();
    parts.held_out.labels[7] = (labels[7] + 1) % C as u32;
    let words = ["loss of the held-out samples by its model was", "now"];
    refused(&parts, &checkpoint, 20, &words);
    parts.held_out.labels = labels;
    parts.held_out.x[3] += 0.5;
    refused(&parts, &without_end, usize::MAX, &words);
    parts.held_out.x[3] -= 0.5;
    // What is trained on is told of first.
    parts.training.x[9] += 1.0;
    refused(&parts, &checkpoint, 20, &["of its model was"]);
}

/// A loss that cannot be computed ends the fit, and what was saved before stays.
#[test]
fn what_is_not_validated_is_not_saved() {
    let parts = Parts::<f32>::new(40, 0.0);
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
    let mut plain = Evaluator::new(Objective::cross_entropy());
    let (mut calls, mut saved) = (0, Vec::new());
    let mut save = |checkpoint: &Checkpoint<f32>| saved.push(checkpoint.progress().iteration);
    let resumable = Resumable { every: 1, save: Some(&mut save), ..Resumable::new(SOLVER) };
    let loss = |model: &LinearModel<f32>| {
        calls += 1;
        if calls > 4 { Err(Error::NoSamples) } else { plain.loss(model, &parts.held_out.batch()) }
    };
    let result = EarlyStopping::of_loss(loss, 9).fit_resumable(
        resumable,
        &mut LinearModel::zeros(C, D),
        |resumable, model, check| {
            resumable.fit(&mut evaluator, model, &parts.training.batch(), check)
        },
        |_, _| ControlFlow::Continue(()),
    );
    assert_eq!(result.unwrap_err(), Error::NoSamples);
    assert_eq!(saved, [1, 2, 3]);
}

#[test]
fn what_is_another_fit() {
    let samples = Samples::<f32>::new(300, 0.0);
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let zeros = LinearModel::zeros(C, D);
    let fit = |resumable: Resumable<'_, f32>, model: &mut _, report: Report<'_, f32>| {
        resumable.fit(&mut Evaluator::new(objective), model, &samples.batch(), report)
    };
    let (all, _) = checkpoints(&fit, SOLVER, &zeros, 5, 5);
    let refused = |solver: Lbfgs,
                   evaluator: &mut Evaluator<f32>,
                   batch: &Batch<'_, f32>,
                   words: &[&str]| {
        for checkpoint in &all {
            let from = Some(checkpoint.clone());
            let mut model = LinearModel::zeros(C, batch.n_features());
            let resumable = Resumable { from, ..Resumable::new(solver) };
            let result = resumable.fit(evaluator, &mut model, batch, |_, _| {
                panic!("it goes on");
            });
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
            says(&error, words);
            assert_eq!(model, LinearModel::zeros(C, batch.n_features()), "the model is changed");
        }
    };
    let batch = samples.batch();
    let mut evaluator = Evaluator::new(objective);
    let other = |other: Lbfgs, words: &[&str]| {
        refused(other, &mut Evaluator::new(objective), &batch, words);
    };
    other(Lbfgs { memory: 5, ..SOLVER }, &["memory", "was 4, and is 5 now"]);
    other(Lbfgs { gradient_tolerance: 1e-3, ..SOLVER }, &["gradient tolerance", "0.001"]);
    other(Lbfgs { relative_decrease: 1e-3, ..SOLVER }, &["relative decrease", "0.001"]);
    other(Lbfgs { curvature: false, ..SOLVER }, &["curvature", "was true, and is false now"]);
    for (other, words) in [
        (objective.with_l2(2e-3), ["L2", "was 0.001, and is 0.002 now"]),
        (objective.with_label_smoothing(0.1), ["label smoothing", "was 0, and is 0.1 now"]),
        (Objective::hinge(1.0), ["loss", "was cross_entropy, and is hinge now"]),
    ] {
        refused(SOLVER, &mut Evaluator::new(other), &batch, &words);
    }
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::detect()) {
        let mut evaluator = Evaluator::new(objective).with_isa(isa);
        refused(SOLVER, &mut evaluator, &batch, &["instruction set", isa.name()]);
    }
    let rows: Vec<u32> = (0..299).collect();
    refused(SOLVER, &mut evaluator, &batch.select(&rows).unwrap(), &["samples", "300", "299"]);
    let narrow = MatrixView::with_row_stride(&samples.x, 300, D - 1, D).unwrap();
    let narrow = Batch::new(narrow, &samples.labels).unwrap();
    refused(SOLVER, &mut evaluator, &narrow, &["number of features", "was 6, and is 5 now"]);
    // A feature, a label or a weight of one sample.
    let mut x = samples.x.clone();
    x[299 * D] *= 1.0 + 1e-3;
    let x = MatrixView::new(&x, 300, D).unwrap();
    refused(SOLVER, &mut evaluator, &Batch::new(x, &samples.labels).unwrap(), &["its model was"]);
    let mut labels = samples.labels.clone();
    labels[7] = (labels[7] + 1) % C as u32;
    let x = MatrixView::new(&samples.x, 300, D).unwrap();
    refused(SOLVER, &mut evaluator, &Batch::new(x, &labels).unwrap(), &["loss of its model"]);
    let mut weights = vec![1.0; 300];
    weights[8] = 1.5;
    let weighted = batch.with_sample_weights(&weights).unwrap();
    refused(SOLVER, &mut evaluator, &weighted, &["loss of its model"]);
}

#[cfg(feature = "safetensors")]
#[test]
fn what_is_no_checkpoint() {
    let samples = Samples::<f32>::new(300, 0.0);
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let fit = |resumable: Resumable<'_, f32>, model: &mut _, report: Report<'_, f32>| {
        resumable.fit(&mut Evaluator::new(objective), model, &samples.batch(), report)
    };
    let zeros = LinearModel::zeros(C, D);
    let (all, _) = checkpoints(&fit, SOLVER, &zeros, 3, 3);
    let bytes = all[0].to_safetensors(&Default::default()).unwrap();
    let refused = |bytes: &[u8], words: &[&str]| {
        let error = Checkpoint::<f32>::from_safetensors(bytes).unwrap_err();
        assert!(matches!(error, Error::Safetensors { .. }), "{error:?}");
        says(&error, words);
    };
    for length in 0..bytes.len() {
        refused(&bytes[..length], &[]);
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(Checkpoint::<f32>::from_safetensors(&damaged).is_err(), "byte {at} is another one");
    }
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    refused(&damaged, &["checksum", "damaged"]);
    refused(&zeros.to_safetensors(&Default::default()).unwrap(), &["no checkpoint"]);
    let error = Checkpoint::<f64>::from_safetensors(&bytes).unwrap_err();
    says(&error, &["\"models\" is F32, not F64"]);
    // Of another version.
    let version = env!("CARGO_PKG_VERSION");
    let at = bytes.windows(version.len()).position(|word| word == version.as_bytes()).unwrap();
    let mut other = bytes.clone();
    other[at] = b'9';
    let error = Checkpoint::<f32>::from_safetensors(&other).unwrap_err();
    says(&error, &["version of softmargin was 9", &format!("and is {version} now")]);
    // And it is no model.
    let error = LinearModel::<f32>::from_safetensors(&bytes).unwrap_err();
    says(&error, &["no tensor is named"]);

    // Sizes that lie: the first counts are those of classes and features.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let counts = (header..bytes.len() - 7).find(|i| {
        bytes[*i..]
            .starts_with(&[&(C as u64).to_le_bytes()[..], &(D as u64).to_le_bytes()].concat())
    });
    for (offset, lie) in [(0, 0), (0, 5), (0, u64::MAX), (8, 7), (8, u64::MAX), (48, 2), (48, 9)] {
        let (mut bytes, at) = (bytes.clone(), counts.unwrap() + offset);
        bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
        refused(&bytes, &["lengths"]);
    }
}

/// What early stopping adds is whole, too, or there is nothing of it.
#[cfg(feature = "safetensors")]
#[test]
fn what_is_no_checkpoint_of_early_stopping() {
    use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
    let parts = Parts::<f32>::new(40, 0.0);
    let mut last = None;
    let mut save = |checkpoint: &Checkpoint<f32>| last = Some(checkpoint.clone());
    let resumable = Resumable { save: Some(&mut save), ..Resumable::new(SOLVER) };
    parts.fit(Objective::cross_entropy(), 9, false, resumable, 3).unwrap();
    let bytes = last.unwrap().to_safetensors(&Default::default()).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(Checkpoint::<f32>::from_safetensors(&damaged).is_err(), "byte {at} is another one");
    }
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    for (cut, length) in [
        ("counts of best", 0),
        ("counts of best", 3),
        ("numbers of best", 0),
        ("numbers of best", 3),
        ("best", 0),
        ("best", C * D),
    ] {
        let tensors = whole.tensors().into_iter().map(|(name, tensor)| {
            let size = if tensor.dtype() == Dtype::F32 { 4 } else { 8 };
            let length = if name == cut { length } else { tensor.data().len() / size };
            let data = &tensor.data()[..size * length];
            (name, TensorView::new(tensor.dtype(), vec![length], data).unwrap())
        });
        let bytes = serialize(tensors, header.metadata().clone()).unwrap();
        let error = Checkpoint::<f32>::from_safetensors(&bytes).unwrap_err();
        says(&error, &["lengths"]);
    }
}
