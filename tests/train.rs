//! The solvers: they reach the optimum, say truly why they stopped, leave the best model behind, and do
//! the same again.

#![cfg(feature = "train")]

use core::ops::ControlFlow;
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use softmargin::{
    Batch, Error, Evaluator, LinearModel, MatrixView, Objective,
    train::{Lbfgs, Progress, Sgd, StopReason, Summary},
};

const N: usize = 400;
const D: usize = 6;
const C: usize = 4;

/// Samples around one centre a class, near enough to overlap.
fn samples() -> (Vec<f32>, Vec<u32>) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
    let labels: Vec<u32> = (0..N).map(|i| (i % C) as u32).collect();
    let centre = |label: u32, l: usize| if l % C == label as usize { 1.0 } else { 0.0 };
    let x = labels
        .iter()
        .flat_map(|&label| (0..D).map(move |l| centre(label, l)))
        .map(|centre| centre + 3.0 * uniform())
        .collect();
    (x, labels)
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn fit(solver: &Lbfgs, objective: Objective) -> (LinearModel<f32>, Summary) {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut model = LinearModel::zeros(C, D);
    let summary = solver.fit(&mut Evaluator::new(objective), &mut model, &batch, go_on).unwrap();
    let loss = Evaluator::new(objective).loss(&model, &batch).unwrap();
    assert_eq!(loss, summary.progress.objective, "the model left behind has another objective");
    (model, summary)
}

#[test]
fn lbfgs_reaches_the_optimum_and_says_which_tolerance_stopped_it() {
    let objective = Objective::cross_entropy().with_l2(1e-2);
    let never = Lbfgs { gradient_tolerance: 0.0, relative_decrease: -1.0, ..Lbfgs::default() };

    let (_, by_gradient) = fit(&Lbfgs { gradient_tolerance: 1e-4, ..never }, objective);
    assert_eq!(by_gradient.stop_reason, StopReason::GradientTolerance);
    assert!(by_gradient.progress.gradient_norm <= 1e-4);

    let (_, by_decrease) = fit(&Lbfgs { relative_decrease: 1e-6, ..never }, objective);
    assert_eq!(by_decrease.stop_reason, StopReason::RelativeDecrease);

    let (_, by_count) = fit(&Lbfgs { max_iterations: 3, ..never }, objective);
    assert_eq!(by_count.stop_reason, StopReason::MaxIterations);
    assert_eq!(by_count.progress.iteration, 3);
    assert!(!by_count.stop_reason.converged());

    let (_, to_the_last_bit) = fit(&Lbfgs { max_iterations: 10_000, ..never }, objective);
    assert_eq!(to_the_last_bit.stop_reason, StopReason::LineSearch);
    for summary in [by_gradient, by_decrease] {
        assert!(summary.stop_reason.converged());
        let above = summary.progress.objective - to_the_last_bit.progress.objective;
        assert!((0.0..1e-5).contains(&above), "{above} above the optimum");
    }
}

#[test]
fn lbfgs_starts_warm_and_evaluates_little() {
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let (mut model, cold) = fit(&Lbfgs::default(), objective);
    assert!(cold.progress.evaluations <= cold.progress.iteration * 5 / 4 + 3, "{cold:?}");
    assert_eq!(cold.progress.samples, (cold.progress.evaluations * N) as u64);

    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut evaluator = Evaluator::new(objective);
    let warm = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert!(warm.progress.iteration < cold.progress.iteration / 2, "{warm:?} after {cold:?}");
    assert!(warm.progress.objective <= cold.progress.objective);
}

#[test]
fn sgd_comes_near_the_optimum() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
        let objective = objective.with_l2(1e-2);
        let optimum = fit(&Lbfgs { max_iterations: 500, ..Lbfgs::default() }, objective).1;
        let sgd = Sgd { epochs: 40, batch_size: 20, ..Sgd::default() };
        let run = |seed| {
            let mut model = LinearModel::zeros(C, D);
            let mut evaluator = Evaluator::new(objective);
            let summary =
                Sgd { seed, ..sgd }.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
            assert_eq!(evaluator.loss(&model, &batch).unwrap(), summary.progress.objective);
            (model, summary)
        };
        let (model, summary) = run(1);
        assert_eq!(summary.stop_reason, StopReason::MaxIterations);
        assert!(summary.progress.objective < 1.01 * optimum.progress.objective);
        assert_eq!(summary.progress.evaluations, 1 + 40 * (20 + 1));
        assert!(model == run(1).0, "another model from the same seed");
        assert!(model != run(2).0, "the same model from another seed");
    }
}

#[test]
fn sgd_keeps_to_the_selection() {
    let (mut x, mut labels) = samples();
    let rows: Vec<u32> = (0..N as u32).filter(|row| row % 3 != 0).collect();
    for row in (0..N).step_by(3) {
        x[row * D] = f32::NAN;
        labels[row] = 99;
    }
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let batch = batch.select(&rows).unwrap();
    let mut model = LinearModel::zeros(C, D);
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let summary = Sgd::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert!(summary.progress.objective < (C as f64).ln());
}

#[test]
fn steps_that_are_too_long_are_reported() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut model = LinearModel::<f32>::zeros(C, D);
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1.0));
    let sgd = Sgd { learning_rate: 1e30, ..Sgd::default() };
    let summary = sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert_eq!(summary.stop_reason, StopReason::Diverged);
    assert_eq!(model, LinearModel::zeros(C, D), "not the best model there was");
}

#[test]
fn a_callback_can_stop_and_an_error_is_an_error() {
    let (mut x, labels) = samples();
    let view = MatrixView::new(&x, N, D).unwrap();
    let batch = Batch::new(view, &labels).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let stop_at = |iteration| {
        move |progress: &Progress| match progress.iteration {
            i if i == iteration => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    let mut model = LinearModel::zeros(C, D);
    let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, stop_at(2)).unwrap();
    assert_eq!((summary.stop_reason, summary.progress.iteration), (StopReason::Interrupted, 2));
    let summary = Sgd::default().fit(&mut evaluator, &mut model, &batch, stop_at(2)).unwrap();
    assert_eq!((summary.stop_reason, summary.progress.iteration), (StopReason::Interrupted, 2));

    x[7 * D] = f32::INFINITY;
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let error = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 7, .. }), "{error}");
    let error = Sgd::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 7, .. }), "{error}");
}
