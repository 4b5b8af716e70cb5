//! The solvers: they reach the optimum, say truly why they stopped, leave the best model behind, and do
//! the same again.

#![cfg(feature = "train")]

use crate::common::{Random, with_threads};
use core::ops::ControlFlow;
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use softmargin::{
    Batch, CsrView, Error, Evaluator, Isa, LinearModel, MatrixView, NonFinite, Objective, Partial,
    Predictor, Scalar, Scaling,
    train::{
        self, EarlyStopping, Lbfgs, LearnedCurvature, NewtonCg, Progress, Schedule, Sgd,
        StopReason, Summary, Sums,
    },
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

fn go_on(_: &Progress, _: &LinearModel<f32>) -> ControlFlow<()> {
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
    let never = Lbfgs { gradient_tolerance: 0.0, relative_decrease: 0.0, ..Lbfgs::default() };

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

/// The objective is the same to its last bit long before: it knows half of the digits of the model.
#[test]
fn lbfgs_goes_on_where_the_objective_shows_nothing() {
    let (x, labels) = samples();
    let x: Vec<f64> = x.into_iter().map(f64::from).collect();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let solver = Lbfgs { gradient_tolerance: 1e-12, relative_decrease: 0.0, ..Lbfgs::default() };
    for objective in [Objective::cross_entropy(), Objective::squared_hinge(1.0)] {
        for l2 in [1e-2, 1e-4, 1e-6] {
            let mut evaluator = Evaluator::new(objective.with_l2(l2));
            let mut model = LinearModel::zeros(C, D);
            let go_on = |_: &Progress, _: &LinearModel<f64>| ControlFlow::Continue(());
            let summary = solver.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
            let context = format!("{objective:?}, λ {l2}: {summary:?}");
            assert_eq!(summary.stop_reason, StopReason::GradientTolerance, "{context}");
            assert!(summary.progress.gradient_norm <= 1e-12, "{context}");
            assert!(summary.progress.evaluations <= 100, "{context}");
            // No loss depends on what is added to the scores of all classes alike.
            let common = model.bias().iter().sum::<f64>();
            assert!(common.abs() <= 1e-12, "{common:e}, {context}");
        }
    }
}

#[test]
fn lbfgs_starts_warm_and_evaluates_little() {
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let plain = Lbfgs { curvature: false, ..Lbfgs::default() };
    let (mut model, cold) = fit(&plain, objective);
    assert!(cold.progress.evaluations <= cold.progress.iteration * 23 / 20 + 3, "{cold:?}");
    assert_eq!(cold.progress.samples, (cold.progress.evaluations * N) as u64);

    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut evaluator = Evaluator::new(objective);
    let warm = plain.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert!(warm.progress.iteration < cold.progress.iteration / 2, "{warm:?} after {cold:?}");
    assert!(warm.progress.objective <= cold.progress.objective);
}

/// Features of very different sizes, which the plain method hardly moves along.
fn stretched() -> (Vec<f32>, Vec<u32>) {
    let (mut x, labels) = samples();
    for row in x.chunks_exact_mut(D) {
        row.iter_mut().enumerate().for_each(|(l, x)| *x *= 10_f32.powi(l as i32 - 3));
    }
    (x, labels)
}

#[test]
fn curvature_saves_iterations() {
    let (x, labels) = stretched();
    let weights: Vec<f32> = (0..N).map(|i| (i % 3) as f32).collect();
    let whole = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let rows: Vec<u32> = (0..N as u32).filter(|row| row % 5 != 0).collect();
    let selected = whole.with_sample_weights(&weights).unwrap().select(&rows).unwrap();
    for (objective, batch) in [
        (Objective::cross_entropy(), whole),
        (Objective::cross_entropy(), selected),
        (Objective::cross_entropy().with_label_smoothing(0.1), whole),
        (Objective::squared_hinge(1.0), whole),
        (Objective::squared_hinge(1.0), selected),
    ] {
        let run = |curvature| {
            let solver = Lbfgs {
                curvature,
                gradient_tolerance: 0.0,
                max_iterations: 3000,
                ..Lbfgs::default()
            };
            let mut model = LinearModel::zeros(C, D);
            let mut evaluator = Evaluator::new(objective.with_l2(1e-6));
            solver.fit(&mut evaluator, &mut model, &batch, go_on).unwrap()
        };
        let (with, without) = (run(true), run(false));
        let (few, many) = (with.progress.iteration, without.progress.iteration);
        assert!(with.stop_reason.converged() && few <= 80, "{objective:?}: {with:?}");
        assert!(many > 3 * few, "{objective:?}: {few} iterations with, {many} without");
        assert!(with.progress.objective <= without.progress.objective + 1e-6);
    }
}

/// Too few samples for a factor of each class; features that are correlated, and vary the less the later they come.
#[test]
fn one_factor_serves_many_classes() {
    const N: usize = 600;
    const D: usize = 30;
    const C: usize = 40;
    let mut random = Random::new(3);
    let (mut x, mut labels) = (Vec::new(), Vec::new());
    for i in 0..N {
        let label = i % C;
        let mut sum = 0.0;
        for l in 0..D {
            sum = 0.7 * sum + random.normal() as f32;
            let of_class = if l % 10 == label % 10 { 1.0 } else { 0.0 };
            x.push((sum + of_class) * 0.8_f32.powi(l as i32));
        }
        labels.push(label as u32);
    }
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    for objective in [Objective::cross_entropy(), Objective::squared_hinge(1.0)] {
        let (few, many) = iterations_with_and_without(objective.with_l2(1e-5), &batch, C);
        assert!(many > 3 * few, "{objective:?}: {few} iterations with, {many} without");
    }
}

/// Sparse rows with features that are common and others that are rare, as words are.
#[test]
fn a_diagonal_serves_many_sparse_features() {
    const N: usize = 9000;
    const D: usize = 3000;
    const C: usize = 3;
    let mut random = Random::new(4);
    let (mut indptr, mut indices, mut labels) = (vec![0], vec![], vec![]);
    for _ in 0..N {
        let words: Vec<u32> = (0..8)
            // The word of rank r is about 1 / r as frequent as the first one.
            .map(|_| (D as f64).powf(random.unit()) as u32 - 1)
            .collect();
        // The rarest word tells the class, more often than not.
        let rarest = words.iter().max().unwrap();
        let told = random.unit() < 0.7;
        labels.push(if told { rarest % C as u32 } else { random.below(C) as u32 });
        indices.extend(words);
        indptr.push(indices.len());
    }
    let values = vec![1.0_f32; indices.len()];
    let x = CsrView::new(N, D, &indptr, &indices, &values).unwrap();
    let batch = Batch::new(x, &labels).unwrap();
    for objective in [Objective::cross_entropy(), Objective::squared_hinge(1.0)] {
        let (few, many) = iterations_with_and_without(objective.with_l2(1e-5), &batch, C);
        assert!(many > 3 * few, "{objective:?}: {few} iterations with, {many} without");
    }
}

/// Iterations to the same objective.
fn iterations_with_and_without(
    objective: Objective,
    batch: &Batch<'_, f32>,
    n_classes: usize,
) -> (usize, usize) {
    let run = |curvature, least: f64| {
        let solver = Lbfgs {
            curvature,
            gradient_tolerance: 0.0,
            relative_decrease: 0.0,
            max_iterations: 1000,
            ..Lbfgs::default()
        };
        let mut model = LinearModel::zeros(n_classes, batch.n_features());
        let enough = |progress: &Progress, _: &LinearModel<f32>| match progress.objective <= least {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let mut evaluator = Evaluator::new(objective);
        solver.fit(&mut evaluator, &mut model, batch, enough).unwrap().progress
    };
    let best = run(true, 0.0).objective;
    let [few, many] = [true, false].map(|curvature| run(curvature, 1.001 * best).iteration);
    (few, many)
}

/// Features so small that a step as long as the gradient leads nowhere, and so large that it leads away.
#[test]
fn lbfgs_gets_going_in_any_unit() {
    let (x, labels) = samples();
    for curvature in [false, true] {
        let run = |unit: f32| {
            let x: Vec<f32> = x.iter().map(|x| unit * x).collect();
            let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
            let mut model = LinearModel::zeros(C, D);
            let solver = Lbfgs {
                curvature,
                gradient_tolerance: 1e-4 * f64::from(unit.min(1.0)),
                ..Lbfgs::default()
            };
            let mut evaluator = Evaluator::new(Objective::cross_entropy());
            solver.fit(&mut evaluator, &mut model, &batch, go_on).unwrap().progress
        };
        let expected = run(1.0);
        for unit in [1e-4, 1e4, 1e10] {
            let got = run(unit);
            let gap = got.objective - expected.objective;
            // The bias has another unit then, which leaves it behind.
            assert!(gap < 0.05, "{unit:e}: {got:?}, {expected:?}");
        }
    }
}

/// The hinge loss has kinks, and a search may end at one where the gradient promises more than there is. That is
/// not to be told as if a tolerance were met.
#[test]
fn a_kink_is_no_convergence() {
    let batch =
        Batch::new(MatrixView::new(&[1.0_f32, 1.0, 1.0], 3, 1).unwrap(), &[0, 0, 1]).unwrap();
    let mut model = LinearModel::zeros(2, 1);
    let mut evaluator = Evaluator::new(Objective::hinge(1.0));
    let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert_eq!(summary.stop_reason, StopReason::Kink, "{summary:?}");
    assert!(!summary.stop_reason.converged() && !summary.stop_reason.failed());
    // Two samples without a loss, and one with twice the margin.
    assert!(summary.progress.objective < 2.0 / 3.0 + 1e-5, "{summary:?}");
}

/// What was learnt from some samples serves others, where they are alike; where not, it is learnt anew.
#[test]
fn curvature_of_other_samples() {
    let (x, labels) = stretched();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let half = |k| (0..N as u32).filter(|i| i / 4 % 2 == k).collect::<Vec<_>>();
    let [even, odd] = [half(0), half(1)];
    let [even, odd] = [&even, &odd].map(|rows| batch.select(rows).unwrap());
    let reversed: Vec<f32> = x.chunks_exact(D).flat_map(|row| row.iter().rev().copied()).collect();
    let reversed = Batch::new(MatrixView::new(&reversed, N, D).unwrap(), &labels).unwrap();
    let solver = Lbfgs { max_iterations: 1000, ..Lbfgs::default() };
    let objective = Objective::cross_entropy().with_l2(1e-6);
    let fit = |curvature: &mut LearnedCurvature, objective, batch| {
        // Not from zero, where nothing is learnt of so few samples.
        let mut model = LinearModel::zeros(C, D);
        model.weights_mut().fill(1e-3);
        let mut evaluator = Evaluator::new(objective);
        let summary =
            solver.fit_with_curvature(curvature, &mut evaluator, &mut model, batch, go_on).unwrap();
        assert!(summary.stop_reason.converged(), "{summary:?}");
        (model, summary.progress)
    };
    let alone = fit(&mut LearnedCurvature::default(), objective, &odd);
    let without = Lbfgs { curvature: false, ..solver };
    let mut plain = LinearModel::zeros(C, D);
    let plain = without.fit(&mut Evaluator::new(objective), &mut plain, &odd, go_on).unwrap();

    let mut curvature = LearnedCurvature::default();
    fit(&mut curvature, objective, &even);
    let (model, progress) = fit(&mut curvature.clone(), objective, &odd);
    assert!(model != alone.0);
    assert!((progress.objective - alone.1.objective).abs() < 1e-6);
    let (few, many) = (progress.iteration, plain.progress.iteration);
    assert!(many > 2 * few, "{few} iterations with the curvature of others, {many} without");

    // Of no use, but no harm.
    let mut of_reversed = LearnedCurvature::default();
    fit(&mut of_reversed, objective, &reversed);
    let (_, progress) = fit(&mut of_reversed, objective, &odd);
    assert!((progress.objective - alone.1.objective).abs() < 1e-6, "{progress:?}, {alone:?}");

    // And of sums, which other processes may have, the same.
    let of_sums = |learned: &mut LearnedCurvature| {
        let mut model = LinearModel::zeros(C, D);
        model.weights_mut().fill(1e-3);
        let [mut evaluator, mut of_sums] = [(); 2].map(|()| Evaluator::new(objective));
        let sum = |sums: &Sums<'_, f32>, partial: &mut Partial<f32>| {
            sums.add(&mut of_sums, &odd, partial)?;
            Ok(odd.n_samples() as u64)
        };
        let evaluator = &mut evaluator;
        let sample = Some(&odd);
        let summary = solver
            .fit_partials_with_curvature(learned, evaluator, &mut model, sample, sum, go_on)
            .unwrap();
        assert!(summary.stop_reason.converged(), "{summary:?}");
        (model, summary.progress)
    };
    let (model, progress) = of_sums(&mut curvature.clone());
    assert!(model != of_sums(&mut LearnedCurvature::default()).0, "it does not count");
    assert!((progress.objective - alone.1.objective).abs() < 1e-6);
    assert!(many > 2 * progress.iteration, "{progress:?}, {many} without");

    // That of another objective is left alone.
    let other = objective.with_l2(1e-5);
    let expected = fit(&mut LearnedCurvature::default(), other, &odd);
    assert_eq!(fit(&mut curvature, other, &odd), expected);
}

/// No curvature, curvature at its limits, and none that can be learnt.
#[test]
fn curvature_does_no_harm() {
    let constant = vec![0.5_f32; N * D];
    let mut degenerate = samples().0;
    for row in degenerate.chunks_exact_mut(D) {
        (row[1], row[2], row[3]) = (row[0], 0.0, 1e30 * row[3]);
    }
    let (x, labels) = samples();
    for x in [constant, degenerate, x.clone()] {
        let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
        for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
            for l2 in [0.0, 1e-3, 1e6] {
                let mut model = LinearModel::zeros(C, D);
                let mut evaluator = Evaluator::new(objective.with_l2(l2));
                let before = evaluator.loss(&model, &batch).unwrap();
                let summary =
                    Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
                let after = evaluator.loss(&model, &batch).unwrap();
                assert!(after <= before && after == summary.progress.objective, "{summary:?}");
            }
        }
    }
    // Fewer samples than features.
    let batch = Batch::new(MatrixView::new(&x[..4 * D], 4, D).unwrap(), &labels[..4]).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
    let mut model = LinearModel::zeros(C, D);
    let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert!(summary.stop_reason.converged(), "{summary:?}");
}

#[test]
fn the_same_model_on_any_number_of_threads() {
    let (x, labels) = samples();
    let columns: Vec<f32> =
        (0..D).flat_map(|l| (0..N).map(move |i| i * D + l)).map(|i| x[i]).collect();
    let by_rows = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let by_columns = MatrixView::column_major(&columns, N, D).unwrap();
    let by_columns = Batch::new(by_columns, &labels).unwrap();
    let run = |batch: &Batch<'_, f32>| {
        let mut model = LinearModel::zeros(C, D);
        let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
        Lbfgs::default().fit(&mut evaluator, &mut model, batch, go_on).unwrap();
        model
    };
    let expected = (run(&by_rows), run(&by_columns));
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let got = pool.install(|| (run(&by_rows), run(&by_columns)));
        assert!(got == expected, "{threads} threads");
    }
}

#[test]
fn chunks_are_as_good_as_the_whole() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
    let mut whole = LinearModel::zeros(C, D);
    let of_whole = Lbfgs::default().fit(&mut evaluator, &mut whole, &batch, go_on).unwrap();
    let chunk = N / 4;
    for sample in [None, Some(&batch)] {
        let mut model = LinearModel::zeros(C, D);
        let summary = Lbfgs::default()
            .fit_chunks(
                &mut evaluator,
                &mut model,
                sample,
                |evaluate| {
                    for (x, labels) in x.chunks(chunk * D).zip(labels.chunks(chunk)) {
                        evaluate(&Batch::new(MatrixView::new(x, chunk, D)?, labels)?)?;
                    }
                    Ok(())
                },
                go_on,
            )
            .unwrap();
        assert!(summary.stop_reason.converged());
        let gap = (summary.progress.objective - of_whole.progress.objective).abs();
        assert!(gap < 1e-7, "{gap}");
    }
}

#[test]
fn stops_early_with_the_best_model_by_its_validation() {
    let (x, mut labels) = samples();
    // Labels that nothing explains: to learn them is to overfit.
    labels.iter_mut().enumerate().for_each(|(i, label)| *label = (i * 7 % 11 % C) as u32);
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let (training, validation) = train::split(N as u32, 0.5, 3);
    assert_eq!(training.len() + validation.len(), N);
    assert!(training.iter().all(|row| !validation.contains(row)));
    let (training, validation) =
        (batch.select(&training).unwrap(), batch.select(&validation).unwrap());
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let solver = Lbfgs { curvature: false, relative_decrease: 0.0, ..Lbfgs::default() };
    let mut model = LinearModel::zeros(C, D);
    let mut told = Vec::new();
    let validated = EarlyStopping::new(&evaluator, validation, 3)
        .fit(
            &mut model,
            |model, check| solver.fit(&mut evaluator, model, &training, check),
            |progress, _| {
                told.push(*progress);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    let (summary, best) = (validated.summary, validated.best);
    assert_eq!(summary.stop_reason, StopReason::EarlyStopping);
    assert!(!summary.stop_reason.converged() && !summary.stop_reason.failed());
    assert_eq!(summary.progress.iteration, best.iteration + 3);
    assert_eq!(told[best.iteration], best);
    assert_eq!(evaluator.loss(&model, &validation).unwrap(), validated.validation_loss);
    assert_eq!(evaluator.loss(&model, &training).unwrap(), best.objective);

    // By a loss that is computed elsewhere, the same.
    let mut plain = Evaluator::new(Objective::cross_entropy());
    let mut elsewhere = LinearModel::zeros(C, D);
    let of_loss = EarlyStopping::of_loss(|model| plain.loss(model, &validation), 3)
        .fit(
            &mut elsewhere,
            |model, check| solver.fit(&mut evaluator, model, &training, check),
            go_on,
        )
        .unwrap();
    assert_eq!((of_loss, &elsewhere), (validated, &model));

    // Whoever stops it, the best model is left, and the reason is told.
    let mut again = LinearModel::zeros(C, D);
    let validated = EarlyStopping::new(&evaluator, validation, 100)
        .fit(
            &mut again,
            |model, check| solver.fit(&mut evaluator, model, &training, check),
            |progress, _| match progress.iteration {
                i if i == best.iteration + 2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            },
        )
        .unwrap();
    assert_eq!(validated.summary.stop_reason, StopReason::Interrupted);
    assert!(again == model && validated.best == best);
    // Of a solver of one's own, which goes astray and fails.
    let mut last = model.clone();
    let result: Result<_, Box<dyn std::error::Error>> =
        EarlyStopping::new(&evaluator, validation, 5).fit(
            &mut last,
            |model, check| {
                let _ = check(&best, model);
                model.parameters_mut().fill(1e3);
                let _ = check(&Progress { iteration: best.iteration + 1, ..best }, model);
                Err("astray".into())
            },
            go_on,
        );
    assert_eq!(result.unwrap_err().to_string(), "astray");
    assert_eq!(last, model);

    let other = Batch::new(MatrixView::new(&x[..4 * D], 4, D).unwrap(), &[9, 9, 9, 9]).unwrap();
    let result = EarlyStopping::new(&evaluator, other, 3).fit(
        &mut model,
        |model, check| solver.fit(&mut evaluator, model, &training, check),
        go_on,
    );
    assert!(matches!(result, Err(Error::Label { row: 0, label: 9, .. })));
}

#[test]
fn a_path_warms_up_and_chooses() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let (training, validation) = train::split(N as u32, 0.25, 1);
    let (training, validation) =
        (batch.select(&training).unwrap(), batch.select(&validation).unwrap());
    let (start, l2) = (LinearModel::zeros(C, D), [1e-4, 10.0, 1e-2, 1e-1]);
    let isa = Isa::available()[0];
    let mut evaluator = Evaluator::new(Objective::cross_entropy()).with_isa(isa);
    let mut told = Vec::new();
    let path = Lbfgs::default()
        .path(&evaluator, &l2, &start, &training, &validation, |l2, progress, _| {
            told.push((l2, progress.iteration));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(path.iter().map(|point| point.l2).collect::<Vec<_>>(), [10.0, 1e-1, 1e-2, 1e-4]);
    assert!(path.iter().all(|point| told.contains(&(point.l2, 0))));
    for point in &path {
        assert!(point.summary.stop_reason.converged(), "{point:?}");
        let predictor = Predictor::new(&point.model).with_isa(isa);
        assert_eq!(predictor.accuracy(&validation).unwrap(), point.validation_accuracy);
        assert_eq!(evaluator.loss(&point.model, &validation).unwrap(), point.validation_loss);
    }
    // On the instruction set that was asked for, the same bits again.
    let mut by_hand = start.clone();
    let mut alone = Evaluator::new(Objective::cross_entropy().with_l2(10.0)).with_isa(isa);
    Lbfgs::default().fit(&mut alone, &mut by_hand, &training, go_on).unwrap();
    assert_eq!(by_hand, path[0].model);
    let best = train::best_of(&path).unwrap();
    assert!(path.iter().all(|point| point.validation_accuracy <= best.validation_accuracy));
    let same = path.iter().filter(|point| point.validation_accuracy == best.validation_accuracy);
    assert!(same.into_iter().all(|point| point.l2 <= best.l2));
}

/// Every kind of step comes within a hundredth of the optimum in twenty epochs, for both losses.
#[test]
fn sgd_of_every_kind() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let base = Sgd { batch_size: 10, learning_rate: 0.03, ..Sgd::default() };
    for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
        let objective = objective.with_l2(1e-2);
        let optimum = fit(&Lbfgs { max_iterations: 500, ..Lbfgs::default() }, objective).1;
        for sgd in [
            base,
            Sgd { nesterov: true, ..base },
            Sgd { momentum: 0.0, learning_rate: 0.2, ..base },
            Sgd { schedule: Schedule::Constant, average: true, momentum: 0.5, ..base },
        ] {
            let mut model = LinearModel::zeros(C, D);
            let mut evaluator = Evaluator::new(objective);
            let summary = sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
            let (reached, best) = (summary.progress.objective, optimum.progress.objective);
            assert!(reached < 1.01 * best, "{sgd:?}: {reached}, {best} at best");
        }
    }
}

/// A fit over a chunk goes on with steps of the length that the fits before it have come to.
#[test]
fn steps_of_sgd_become_shorter_from_one_fit_to_the_next() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let (start, mut gradient) = (LinearModel::zeros(C, D), LinearModel::zeros(C, D));
    evaluator.loss_and_gradient(&start, &batch, &mut gradient).unwrap();
    for (before, share) in [(0, 1.0_f32), (3, 0.5), (99, 0.1)] {
        let sgd = Sgd {
            epochs: 1,
            batch_size: N,
            schedule: Schedule::InverseSquareRoot { before },
            momentum: 0.0,
            principal: 0,
            ..Sgd::default()
        };
        let mut model = start.clone();
        sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
        for (parameter, slope) in model.parameters().iter().zip(gradient.parameters()) {
            let expected = -share * 0.25 * slope;
            assert!((parameter - expected).abs() < 1e-7, "{before}: {parameter}, not {expected}");
        }
    }
}

/// Over sparse rows, features take the steps that they have missed when they are seen next; with a scaling, which
/// changes nothing here, they take all of them.
#[test]
fn lazy_steps_of_sgd_are_the_same_steps() {
    const WIDTH: usize = 700;
    let (x, labels) = samples();
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for (i, row) in x.chunks_exact(D).enumerate() {
        // Rows without entries, too, and features that are rare.
        for (j, value) in row.iter().enumerate().take(i % D) {
            indices.push(((i * i * (j + 1) + j) % WIDTH) as u32);
            values.push(f64::from(*value));
        }
        indptr.push(indices.len());
    }
    let x = CsrView::new(N, WIDTH, &indptr, &indices, &values).unwrap();
    let weights: Vec<f64> = (0..N).map(|i| (i % 4) as f64).collect();
    let batch = Batch::new(x, &labels).unwrap();
    let weighted = batch.with_sample_weights(&weights).unwrap();
    let weighted = weighted.with_class_weights(&[1.0, 2.0, 0.5, 1.5]).unwrap();
    let unscaled = Scaling::by(1.0);
    let base = Sgd { batch_size: 7, epochs: 3, learning_rate: 0.1, ..Sgd::default() };
    for objective in [Objective::cross_entropy(), Objective::squared_hinge(1.0)] {
        for sgd in [
            base,
            Sgd { nesterov: true, ..base },
            Sgd { momentum: 0.0, ..base },
            Sgd { schedule: Schedule::Constant, average: true, momentum: 0.5, ..base },
            Sgd { batch_size: 1, epochs: 2, ..base },
        ] {
            for batch in [batch, weighted] {
                let run = |batch: &Batch<'_, f64>| {
                    let mut model = LinearModel::zeros(C, WIDTH);
                    let mut evaluator = Evaluator::new(objective.with_l2(1e-2));
                    let go_on = |_: &_, _: &_| ControlFlow::Continue(());
                    sgd.fit(&mut evaluator, &mut model, batch, go_on).unwrap();
                    model
                };
                let (lazy, eager) = (run(&batch), run(&batch.with_scaling(&unscaled).unwrap()));
                let largest = eager.weights().iter().fold(0.0, |max: f64, w| max.max(w.abs()));
                assert!(largest > 1e-3);
                for (a, b) in lazy.parameters().iter().zip(eager.parameters()) {
                    assert!((a - b).abs() < 1e-12, "{sgd:?}: {a}, but {b} at once");
                }
            }
        }
    }
}

/// Features far from zero: their mean is a direction along which they vary a hundred times as much as along any
/// other, and steps that suit the others are too long there.
#[test]
fn shorter_steps_along_principal_directions() {
    let (mut x, labels) = samples();
    x.iter_mut().for_each(|x| *x += 10.0);
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
        let objective = objective.with_l2(1e-2);
        let run = |principal: usize, batch: &Batch<'_, f32>| {
            let sgd = Sgd { batch_size: 10, learning_rate: 0.03, principal, ..Sgd::default() };
            let mut model = LinearModel::zeros(C, D);
            sgd.fit(&mut Evaluator::new(objective), &mut model, batch, go_on).unwrap().progress
        };
        let solver = Lbfgs { max_iterations: 2000, relative_decrease: 0.0, ..Lbfgs::default() };
        let mut model = LinearModel::zeros(C, D);
        let optimum =
            solver.fit(&mut Evaluator::new(objective), &mut model, &batch, go_on).unwrap();
        let best = optimum.progress.objective;
        let (plain, damped) = (run(0, &batch).objective, run(2, &batch).objective);
        assert!(damped < 1.02 * best, "{damped}, {best} at best");
        assert!(plain > 1.1 * best, "{plain} without, {best} at best: not what is to be shown");
        // As many directions as there are, and more.
        for many in [D + 1, 100] {
            let many = run(many, &batch).objective;
            assert!(many < 1.02 * best, "{many}, {best} at best");
        }
    }
}

/// Whatever the unit of the features, with steps to match; where they do not vary, the bias is still learnt.
#[test]
fn principal_directions_at_the_limits() {
    let (samples, labels) = samples();
    let labels: Vec<u32> = labels.iter().map(|label| u32::from(*label == 0)).collect();
    let run = |factor: f32, learning_rate: f64, principal: usize| {
        let features: Vec<f32> = samples.iter().map(|x| factor * x).collect();
        let batch = Batch::new(MatrixView::new(&features, N, D).unwrap(), &labels).unwrap();
        let sgd = Sgd { batch_size: 10, learning_rate, principal, ..Sgd::default() };
        let mut model = LinearModel::zeros(2, D);
        let mut evaluator = Evaluator::new(Objective::cross_entropy());
        sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap().progress.objective
    };
    let expected = run(1.0, 0.03, 3);
    assert!(expected < 0.45, "{expected}");
    // That of guessing by the shares, a quarter and three quarters.
    let guessing = 0.5623;
    for principal in [0, 3] {
        let constant = run(0.0, 0.03, principal);
        assert!((constant - guessing).abs() < 1e-3, "{constant}");
        // Steps that suit the weights leave the bias where it is.
        let large = run(1e15, 0.03e-30, principal);
        assert!(large < 0.95 * guessing, "{large}");
    }
}

/// An epoch can be long: the callback ends it after a step.
#[test]
fn sgd_stops_within_an_epoch() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let mut model = LinearModel::zeros(C, D);
    let sgd = Sgd { batch_size: 10, ..Sgd::default() };
    let stop = |progress: &Progress, _: &LinearModel<f32>| match progress.evaluations {
        50 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let summary = sgd.fit(&mut evaluator, &mut model, &batch, stop).unwrap();
    assert_eq!(summary.stop_reason, StopReason::Interrupted);
    assert_eq!((summary.progress.iteration, summary.progress.evaluations), (1, 50));
    assert_eq!(evaluator.loss(&model, &batch).unwrap(), summary.progress.objective);
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

/// Steps that are far too long for the features, λ, or both, are shortened: SGD comes nearer to the optimum, by any
/// momentum.
#[test]
fn steps_that_are_too_long_are_shortened() {
    let (samples, labels) = samples();
    for (unit, l2) in [(1.0, 1.0), (1.0, 1e3), (1e3, 0.0), (1e6, 1e-2), (1e3, 1e3), (1.0, 1e9)] {
        // A table of columns of different units.
        let units: Vec<f32> = (0..D).map(|l| if l % 2 == 0 { unit } else { 1.0 }).collect();
        let mut x = samples.clone();
        for row in x.chunks_exact_mut(D) {
            row.iter_mut().zip(&units).for_each(|(x, unit)| *x *= unit);
        }
        let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
        for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
            let mut evaluator = Evaluator::new(objective.with_l2(l2));
            let base = Sgd { batch_size: 20, ..Sgd::default() };
            for sgd in [
                base,
                Sgd { learning_rate: 1e30, ..base },
                Sgd { momentum: 0.0, ..base },
                Sgd { nesterov: true, ..base },
                Sgd { principal: 0, ..base },
                Sgd { schedule: Schedule::Constant, average: true, ..base },
            ] {
                let mut model = LinearModel::zeros(C, D);
                let before = evaluator.loss(&model, &batch).unwrap();
                let summary = sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
                let context = format!("{unit}, {l2}, {objective:?}, {sgd:?}: {summary:?}");
                let after = evaluator.loss(&model, &batch).unwrap();
                assert_eq!(after, summary.progress.objective, "{context}");
                // Where λ holds all weights down, there is next to nothing to be won: classes are as frequent
                // as each other.
                let failed = summary.stop_reason.failed();
                assert!(after < before || (failed && l2 >= 1e3), "{context}");
                assert_eq!(after < before, !failed, "{context}");
            }
        }
    }
}

/// What is no better than the start has failed, unless the start was the optimum, or there was nothing to do.
#[test]
fn no_better_than_the_start() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let objective = Objective::cross_entropy().with_l2(1e-2);
    let mut evaluator = Evaluator::new(objective);
    let precise = Lbfgs { gradient_tolerance: 0.0, relative_decrease: 0.0, ..Lbfgs::default() };
    let mut optimum = LinearModel::zeros(C, D);
    precise.fit(&mut evaluator, &mut optimum, &batch, go_on).unwrap();
    let mut run = |solver: &Lbfgs| {
        solver.fit(&mut evaluator, &mut optimum.clone(), &batch, go_on).unwrap().stop_reason
    };
    assert_eq!(run(&precise), StopReason::NoProgress);
    assert_eq!(run(&Lbfgs::default()), StopReason::GradientTolerance);
    assert_eq!(run(&Lbfgs { max_iterations: 0, ..precise }), StopReason::MaxIterations);
    assert!(StopReason::NoProgress.failed() && !StopReason::NoProgress.converged());

    // All are of the only class there is.
    let only = Batch::new(batch.features(), &[0; N]).unwrap();
    let mut model = LinearModel::zeros(1, D);
    let summary = Sgd::default().fit(&mut evaluator, &mut model, &only, go_on).unwrap();
    assert_eq!(summary.stop_reason, StopReason::GradientTolerance);
    let mut model = optimum;
    // One epoch from near the optimum, with steps that lead away from it.
    for parameter in model.parameters_mut() {
        *parameter *= 1.001;
    }
    let start = model.clone();
    let sgd = Sgd { epochs: 1, batch_size: 1, schedule: Schedule::Constant, ..Sgd::default() };
    let summary = sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert_eq!((summary.stop_reason, model), (StopReason::NoProgress, start));
}

#[test]
fn numbers_out_of_range() {
    let (x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let mut model = LinearModel::zeros(C, D);
    let mut of_sgd = |sgd: Sgd| sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
    let setting = |error: Error, named: &str| {
        assert!(matches!(error, Error::Setting { what, .. } if what == named), "{error}");
    };
    let sgd = Sgd::default();
    for learning_rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        setting(of_sgd(Sgd { learning_rate, ..sgd }), "learning rate");
    }
    for momentum in [-0.1, 1.0, 1e9, f64::NAN] {
        setting(of_sgd(Sgd { momentum, ..sgd }), "momentum");
    }
    let error = of_sgd(Sgd { batch_size: 0, ..sgd });
    assert_eq!(error.to_string(), "the minibatch size is 0; it must be at least 1");
    let error = of_sgd(Sgd { momentum: 1.5, ..sgd });
    assert_eq!(error.to_string(), "the momentum is 1.5; it must be at least 0 and less than 1");
    for l2 in [1e39, 1e300] {
        let mut evaluator = Evaluator::new(Objective::hinge(1.0).with_l2(l2));
        let of_sgd = sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
        let of_lbfgs = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
        assert_eq!(of_sgd, of_lbfgs);
        assert!(of_sgd.to_string().starts_with(&format!("the L2 coefficient λ is {l2:e}; ")));
    }
    for value in [-1e-9, f64::NAN] {
        let mut of_lbfgs =
            |lbfgs: Lbfgs| lbfgs.fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
        let lbfgs = Lbfgs::default();
        setting(of_lbfgs(Lbfgs { gradient_tolerance: value, ..lbfgs }), "gradient tolerance");
        setting(of_lbfgs(Lbfgs { relative_decrease: value, ..lbfgs }), "relative decrease");
    }
    assert_eq!(model, LinearModel::zeros(C, D), "an output was touched");

    // However large a number is, nothing overflows.
    let lbfgs = Lbfgs { memory: usize::MAX, ..Lbfgs::default() };
    assert!(lbfgs.fit(&mut evaluator, &mut model, &batch, go_on).unwrap().stop_reason.converged());
    let stop = |progress: &Progress, _: &LinearModel<f32>| match progress.evaluations {
        4 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let sgd = Sgd { epochs: usize::MAX, batch_size: usize::MAX, ..sgd };
    let summary = sgd.fit(&mut evaluator, &mut model, &batch, stop).unwrap();
    assert_eq!(summary.stop_reason, StopReason::Interrupted);
    let sgd = Sgd { principal: usize::MAX, epochs: 1, ..Sgd::default() };
    sgd.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
}

/// A step to where the objective is not finite is no end, but too long.
#[test]
fn lbfgs_shortens_steps_that_overflow() {
    let (mut x, labels) = samples();
    x.iter_mut().for_each(|x| *x *= 1e18);
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
        for l2 in [0.0, 1e30, 1e38] {
            let mut evaluator = Evaluator::new(objective.with_l2(l2));
            let mut model = LinearModel::zeros(C, D);
            let before = evaluator.loss(&model, &batch).unwrap();
            let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
            let context = format!("{objective:?}, {l2}: {summary:?}");
            assert!(summary.progress.objective < before, "{context}");
            assert!(!summary.stop_reason.failed(), "{context}");
        }
    }
}

/// An error of whoever reads the chunks is told, not taken for a step that was too long.
#[test]
fn an_error_of_a_later_chunk() {
    let (x, labels) = samples();
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let mut model = LinearModel::zeros(C, D);
    let mut reads = 0;
    let result = Lbfgs::default().fit_chunks(
        &mut evaluator,
        &mut model,
        None,
        |evaluate| {
            reads += 1;
            // The file is cut off while it is read.
            let rows = if reads < 5 { N } else { N - 1 };
            evaluate(&Batch::new(MatrixView::new(&x, rows, D)?, &labels)?)
        },
        go_on,
    );
    assert!(matches!(result, Err(Error::DataLength { .. })), "{result:?}");
    assert_eq!(reads, 5);
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    assert!(evaluator.loss(&model, &batch).unwrap() < (C as f64).ln(), "the best one is lost");
}

/// What the curvature is to be learnt from is checked as the samples are that are fitted.
#[test]
fn a_sample_that_is_not_finite() {
    let (x, labels) = samples();
    let view = MatrixView::new(&x, N, D).unwrap();
    let batch = Batch::<f32>::new(view, &labels).unwrap();
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let mut of_samples = Evaluator::new(objective);
    let mut sum = |sums: &Sums<'_, f32>, partial: &mut Partial<f32>| {
        sums.add(&mut of_samples, &batch, partial).map(|()| N as u64)
    };
    let (mut evaluator, mut model) = (Evaluator::new(objective), LinearModel::zeros(C, D));
    for row in [7, 0] {
        let mut bad = x.clone();
        bad[row * D + 2..].fill(f32::NAN);
        let sample = Batch::new(MatrixView::new(&bad, N, D).unwrap(), &labels).unwrap();
        let (evaluator, model, sample) = (&mut evaluator, &mut model, Some(&sample));
        let of_lbfgs = Lbfgs::default().fit_partials(evaluator, model, sample, &mut sum, go_on);
        let of_newton = NewtonCg::default().fit_partials(evaluator, model, sample, &mut sum, go_on);
        for result in [of_lbfgs, of_newton] {
            let Err(Error::NonFinite { row: named, cause }) = result else {
                panic!("{result:?}");
            };
            assert!(named == row && matches!(cause, NonFinite::Feature { feature: 2, .. }));
        }
    }
}

#[test]
fn a_callback_can_stop_and_an_error_is_an_error() {
    let (mut x, labels) = samples();
    let view = MatrixView::new(&x, N, D).unwrap();
    let batch = Batch::new(view, &labels).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let stop_at = |iteration| {
        move |progress: &Progress, _: &LinearModel<f32>| match progress.iteration {
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

fn newton<T: Scalar>(
    solver: &NewtonCg,
    objective: Objective,
    x: &[T],
    labels: &[u32],
) -> (LinearModel<T>, Summary) {
    let batch = Batch::new(MatrixView::new(x, N, D).unwrap(), labels).unwrap();
    let mut model = LinearModel::zeros(C, D);
    let mut evaluator = Evaluator::new(objective);
    let summary = solver.fit(&mut evaluator, &mut model, &batch, |_, _| ControlFlow::Continue(()));
    (model, summary.unwrap())
}

const SMOOTH: [fn() -> Objective; 3] = [
    || Objective::cross_entropy().with_l2(1e-4),
    || Objective::cross_entropy().with_label_smoothing(0.1).with_l2(1e-6),
    || Objective::squared_hinge(1.0).with_l2(1e-4),
];

/// To the last digits, with and without a preconditioner, of features of any size.
#[test]
fn newton_goes_to_the_last_digits() {
    let (x, labels) = samples();
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let (long, _) = stretched();
    let long: Vec<f64> = long.iter().map(|x| f64::from(*x)).collect();
    for objective in SMOOTH {
        for (x, curvature, tolerance) in
            [(&wide, true, 1e-13), (&wide, false, 1e-13), (&long, true, 1e-10)]
        {
            let solver =
                NewtonCg { gradient_tolerance: tolerance, curvature, ..NewtonCg::default() };
            let (_, summary) = newton(&solver, objective(), x, &labels);
            let progress = summary.progress;
            let context = format!("{:?}, {curvature}: {summary:?}", objective());
            assert_eq!(summary.stop_reason, StopReason::GradientTolerance, "{context}");
            assert!(progress.iteration <= 25, "{context}");
        }
        let (_, narrow) = newton(&NewtonCg::default(), objective(), &x, &labels);
        assert_eq!(narrow.stop_reason, StopReason::GradientTolerance, "{narrow:?}");
        let (_, lbfgs) = fit(&Lbfgs { max_iterations: 2000, ..Lbfgs::default() }, objective());
        let above = narrow.progress.objective - lbfgs.progress.objective;
        assert!(above < 1e-6, "{above} above L-BFGS");

        // Where f32 has no more digits, that is said.
        let never = NewtonCg { gradient_tolerance: 0.0, ..NewtonCg::default() };
        let (_, last) = newton(&never, objective(), &x, &labels);
        assert_eq!(last.stop_reason, StopReason::LineSearch, "{last:?}");
        assert!(last.progress.gradient_norm < 1e-6, "{last:?}");
    }
}

#[test]
fn newton_gives_the_same_bits_on_any_number_of_threads() {
    let (x, labels) = samples();
    for objective in SMOOTH {
        let run = |threads| {
            with_threads(threads, || newton(&NewtonCg::default(), objective(), &x, &labels))
        };
        let (model, summary) = run(1);
        for threads in [2, 3] {
            assert!(run(threads) == (model.clone(), summary), "{threads} threads");
        }
    }
}

#[test]
fn newton_stops_when_told_and_says_what_is_wrong() {
    let (mut x, labels) = samples();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let mut model = LinearModel::zeros(C, D);
    let stop_at_2 = |progress: &Progress, _: &LinearModel<f32>| match progress.iteration {
        2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let solver = NewtonCg { curvature: false, ..NewtonCg::default() };
    let before = evaluator.loss(&model, &batch).unwrap();
    let summary = solver.fit(&mut evaluator, &mut model, &batch, stop_at_2).unwrap();
    assert_eq!((summary.stop_reason, summary.progress.iteration), (StopReason::Interrupted, 2));
    let after = evaluator.loss(&model, &batch).unwrap();
    assert!(after == summary.progress.objective && after < before);
    let few = NewtonCg { max_iterations: 1, gradient_tolerance: 0.0, ..solver };
    let summary = few.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert_eq!((summary.stop_reason, summary.progress.iteration), (StopReason::MaxIterations, 1));

    for tolerance in [-1e-9, f64::NAN] {
        let solver = NewtonCg { gradient_tolerance: tolerance, ..solver };
        let error = solver.fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
        assert!(matches!(error, Error::Setting { what: "gradient tolerance", .. }), "{error}");
    }
    for (kinked, loss) in
        [(Objective::hinge(1.0), "hinge"), (Objective::crammer_singer(1.0), "crammer_singer")]
    {
        let mut evaluator = Evaluator::new(kinked);
        let error = solver.fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
        assert_eq!(error, Error::NoHessian { loss });
    }
    x[7 * D] = f32::INFINITY;
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let error = solver.fit(&mut evaluator, &mut model, &batch, go_on).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 7, .. }), "{error}");
}

/// Separable classes without λ: there is no optimum, but steps go on to be finite.
#[test]
fn newton_without_an_optimum() {
    let (x, _) = samples();
    let labels: Vec<u32> = x.chunks_exact(D).map(|row| u32::from(row[0] > 0.0)).collect();
    for objective in [Objective::cross_entropy(), Objective::squared_hinge(1.0)] {
        let (model, summary) = newton(&NewtonCg::default(), objective, &x, &labels);
        assert!(!summary.stop_reason.failed(), "{summary:?}");
        assert!(summary.progress.objective < 0.1, "{objective:?}: {summary:?}");
        assert!(model.parameters().iter().all(|parameter| parameter.is_finite()));
    }
}

/// As f32 has seven digits, and features of which the first four or five are the same for all samples have two or three
/// left, their differences from the mean are what a fit must see.
#[test]
fn features_far_from_zero_are_fitted_as_those_near_it() {
    let [n, d, c] = [400, 6, 3];
    let mut random = Random::new(11);
    let labels: Vec<u32> = (0..n as u32).map(|i| i % c as u32).collect();
    // Multiples of 1/8, which are the same numbers with an offset.
    let near: Vec<f32> = (0..n * d)
        .map(|at| {
            let centre = if at % d % c == at / d % c { 1.0 } else { 0.0 };
            ((centre + 4.0 * random.unit()) * 8.0).round() as f32 / 8.0
        })
        .collect();
    let offset = |l: usize| (l as f32 - 2.0) * 2e4;
    let far: Vec<f32> = near.iter().enumerate().map(|(at, x)| x + offset(at % d)).collect();
    let batch = |x| Batch::<f32>::new(MatrixView::new(x, n, d).unwrap(), &labels).unwrap();
    let objectives = [Objective::cross_entropy(), Objective::squared_hinge(1.0)];
    for objective in objectives.map(|objective| objective.with_l2(1e-3)) {
        let mut evaluator = Evaluator::new(objective);
        let mut fit = |x| {
            let mut model = LinearModel::zeros(c, d);
            let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch(x), go_on);
            let summary = summary.unwrap();
            assert!(summary.stop_reason.converged(), "{objective:?}: {summary:?}");
            assert_eq!(evaluator.loss(&model, &batch(x)).unwrap(), summary.progress.objective);
            (model, summary)
        };
        let [(of_near, near), (of_far, far)] = [fit(&near), fit(&far)];
        let (least, apart) =
            (near.progress.objective, far.progress.objective - near.progress.objective);
        assert!((-1e-3..5e-3).contains(&(apart / least)), "{objective:?}: {least}, {apart:e}");
        let difference = of_near.weights().iter().zip(of_far.weights());
        assert!(
            difference.into_iter().all(|(a, b)| (a - b).abs() < 2e-3),
            "{of_near:?} {of_far:?}"
        );
        assert!(far.gap.unwrap() >= apart.max(0.0));
    }
}

/// The bias is free to make up for a constant, which is no reason to see the other features through rounding errors of its
/// size.
#[test]
fn a_constant_far_from_zero_is_as_none() {
    let data = crate::common::data::Data::new(3, [300, 4, 3], -6.0..6.0).unequally_scaled::<f32>();
    let [n, d, c] = data.shape;
    let with = |constant: f32| -> Vec<f32> {
        let rows = data.x.chunks_exact(d);
        rows.flat_map(|row| row.iter().copied().chain([constant])).collect()
    };
    for objective in [Objective::cross_entropy(), Objective::squared_hinge(1.0)] {
        let mut evaluator = Evaluator::new(objective.with_l2(1e-3));
        let mut least = f64::NAN;
        for constant in [0.0, 1.0, 1e6, 1e12, -3e30] {
            let x = with(constant);
            let x = MatrixView::new(&x, n, d + 1).unwrap();
            let batch = Batch::<f32>::new(x, &data.labels).unwrap();
            let mut model = LinearModel::zeros(c, d + 1);
            let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
            let (objective, gap) = (summary.progress.objective, summary.gap.unwrap());
            if constant == 0.0 {
                least = objective;
            }
            let what =
                format!("{model:?} {constant:e}: {objective} instead of {least}, {summary:?}");
            assert!((objective - least).abs() < 1e-3 * least && gap < 1e-2 * least, "{what}");
        }
    }
}
