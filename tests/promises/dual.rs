//! Dual ascent goes to the optimum of the hinge losses, and its gap is a bound on what is left.

#![cfg(feature = "train")]

use crate::common::data::Data;
use core::ops::ControlFlow;
use softmargin::{
    Batch, CsrView, Error, Evaluator, LinearModel, MatrixView, Objective, Scalar, Scaling,
    train::{DualAscent, NewtonCg, Progress, StopReason, Summary},
};

fn go_on<T>(_: &Progress, _: &LinearModel<T>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn losses(margin: f64) -> [Objective; 3] {
    [Objective::hinge(margin), Objective::crammer_singer(margin), Objective::squared_hinge(margin)]
}

fn fit<T: Scalar>(
    solver: &DualAscent,
    objective: Objective,
    batch: &Batch<'_, T>,
    n_classes: usize,
) -> (LinearModel<T>, Summary) {
    let mut model = LinearModel::zeros(n_classes, batch.n_features());
    let mut evaluator = Evaluator::new(objective);
    let summary = solver.fit(&mut evaluator, &mut model, batch, go_on).unwrap();
    assert_eq!(evaluator.loss(&model, batch).unwrap(), summary.progress.objective);
    (model, summary)
}

#[test]
fn the_gap_is_a_bound_after_any_number_of_epochs_and_goes_to_nothing() {
    for (seed, shape) in [[200, 3, 2], [150, 6, 4], [60, 2, 9], [90, 20, 5]].into_iter().enumerate()
    {
        let data = Data::new(seed as u64, shape, 2.0..10.0);
        let scaling = Scaling::by(0.125);
        let batch = data.batch::<f64>().with_scaling(&scaling).unwrap();
        let weighted = batch.with_sample_weights(&data.weights).unwrap();
        for (objective, l2) in losses(1.0).into_iter().flat_map(|loss| [(loss, 0.02), (loss, 1.0)])
        {
            let batch = if l2 < 1.0 { &batch } else { &weighted };
            let objective = objective.with_l2(l2);
            let precise = DualAscent { tolerance: 1e-5, max_epochs: 5000, ..Default::default() };
            let (best, summary) = fit(&precise, objective, batch, shape[2]);
            let what = format!("{shape:?}, {objective:?}");
            assert_eq!(summary.stop_reason, StopReason::Gap, "{what}: {summary:?}");
            assert!(summary.stop_reason.converged());
            let least = summary.progress.objective;
            for max_epochs in [0, 1, 3, 10] {
                let few = DualAscent { max_epochs, ..precise };
                let (_, summary) = fit(&few, objective, batch, shape[2]);
                let (above, gap) = (summary.progress.objective - least, summary.gap.unwrap());
                assert!(gap >= above, "{what}, {max_epochs} epochs: {above:e} is above {gap:e}");
            }
            if objective.loss().name() == "squared_hinge" {
                let mut model = best;
                let newton = NewtonCg { gradient_tolerance: 1e-12, ..NewtonCg::default() };
                let mut evaluator = Evaluator::new(objective);
                let summary = newton.fit(&mut evaluator, &mut model, batch, go_on).unwrap();
                let apart = least - summary.progress.objective;
                assert!((-1e-14..=1e-5 * least).contains(&apart), "{what}: {apart:e}");
            }
        }
    }
}

/// Of x = ±1 with W₀ = −W₁ = w, F = max(0, 1 − 2w) + 2λw²: the least is λ / 2, with w = ½, or from λ = 1 on
/// 1 − 1 / 2λ, with w = 1 / 2λ. An offset of the feature makes no difference.
#[test]
fn the_optimum_where_it_is_known() {
    for offset in [0.0, 1e4] {
        let x = [offset + 1.0, offset - 1.0];
        let batch = Batch::<f64>::new(MatrixView::new(&x, 2, 1).unwrap(), &[0, 1]).unwrap();
        for objective in [Objective::hinge(1.0), Objective::crammer_singer(1.0)] {
            for l2 in [1e-6_f64, 1e-2, 0.5, 2.0, 1e3] {
                let solver = DualAscent { tolerance: 1e-9, ..Default::default() };
                let (model, summary) = fit(&solver, objective.with_l2(l2), &batch, 2);
                let (weight, least) =
                    if l2 <= 1.0 { (0.5, l2 / 2.0) } else { (0.5 / l2, 1.0 - 0.5 / l2) };
                assert_eq!(summary.stop_reason, StopReason::Gap, "{l2}: {summary:?}");
                let apart = summary.progress.objective / least - 1.0;
                assert!(apart.abs() < 1e-8, "{l2}, {offset}: {apart:e}");
                assert!((model.weights()[0] / weight - 1.0).abs() < 1e-4, "{l2}: {model:?}");
            }
        }
    }
}

/// However the same samples are stored.
#[test]
fn the_same_optimum_of_all_that_a_batch_may_be() {
    let data = Data::new(7, [120, 5, 3], 2.0..10.0);
    let [n, d, c] = data.shape;
    let x: Vec<f64> = data.x.iter().map(|x| f64::from(*x)).collect();
    let columns: Vec<f64> = (0..n * d).map(|at| x[at % n * d + at / n]).collect();
    // Unsorted, and with entries that add up.
    let indptr: Vec<usize> = (0..=n).map(|i| i * (d + 1)).collect();
    let row = |i: usize| (0..d).rev().chain([0]).map(move |l| (i, l));
    let indices: Vec<u32> = (0..n).flat_map(row).map(|(_, l)| l as u32).collect();
    let half = |l: usize| if l == 0 { 0.5 } else { 1.0 };
    let values: Vec<f64> = (0..n).flat_map(row).map(|(i, l)| half(l) * x[i * d + l]).collect();

    let labels = &data.labels;
    let rows = Batch::<f64>::new(MatrixView::new(&x, n, d).unwrap(), labels).unwrap();
    let column_major = MatrixView::column_major(&columns, n, d).unwrap();
    let sparse = CsrView::new(n, d, &indptr, &indices, &values).unwrap();
    let standardized = Scaling::standardize(&rows).unwrap();
    let by = Scaling::by(0.1);
    let batches = [
        rows,
        data.batch::<f64>(),
        Batch::new(column_major, labels).unwrap(),
        Batch::new(sparse, labels).unwrap(),
    ];
    let some: Vec<u32> = (0..n as u32).rev().filter(|i| i % 4 > 0).chain([3, 3, 5]).collect();
    let class_weights = [1.0, 0.25, 3.0];
    let solver = DualAscent { tolerance: 1e-6, max_epochs: 20_000, ..Default::default() };
    for objective in losses(2.0).map(|loss| loss.with_l2(0.05)) {
        for variant in 0..3 {
            let least = batches.map(|batch| {
                let batch = match variant {
                    0 => {
                        let batch = batch.with_scaling(&by).unwrap();
                        batch.with_sample_weights(&data.weights).unwrap()
                    }
                    1 => batch.with_scaling(&by).unwrap().select(&some).unwrap(),
                    _ => {
                        let batch = batch.with_scaling(&standardized).unwrap();
                        batch.with_class_weights(&class_weights).unwrap()
                    }
                };
                let (_, summary) = fit(&solver, objective, &batch, c);
                assert_eq!(summary.stop_reason, StopReason::Gap, "{objective:?}: {summary:?}");
                summary.progress.objective
            });
            let apart = least.map(|objective| (objective / least[0] - 1.0).abs());
            assert!(apart.iter().all(|apart| *apart <= 1e-6), "{objective:?}: {apart:?}");
        }
    }
}

/// In single precision, as near as its objective can be told.
#[test]
fn in_single_precision() {
    let data = Data::new(8, [300, 6, 4], 2.0..10.0);
    let scaling = Scaling::by(0.1);
    let narrow = data.batch::<f32>().with_scaling(&scaling).unwrap();
    let wide = data.batch::<f64>().with_scaling(&scaling).unwrap();
    for objective in losses(1.0).map(|loss| loss.with_l2(1e-2)) {
        let solver = DualAscent { tolerance: 1e-6, ..Default::default() };
        let (model, summary) = fit(&solver, objective, &narrow, 4);
        assert_eq!(summary.stop_reason, StopReason::Gap, "{objective:?}: {summary:?}");
        let parameters = model.parameters().iter().map(|p| f64::from(*p)).collect();
        let model = LinearModel::from_parameters(4, 6, parameters).unwrap();
        let reached = Evaluator::new(objective).loss(&model, &wide).unwrap();
        let precise = DualAscent { tolerance: 1e-9, max_epochs: 5000, ..Default::default() };
        let least = fit(&precise, objective, &wide, 4).1.progress.objective;
        let (above, gap) = (reached - least, summary.gap.unwrap());
        assert!(gap >= above - 1e-7 * least && above <= 2e-6 * least, "{above:e}, {gap:e}");
    }
}

#[test]
fn the_same_model_on_any_number_of_threads() {
    let data = Data::new(3, [3000, 7, 5], 2.0..10.0);
    let run = || {
        let solver = DualAscent { max_epochs: 5, tolerance: 0.0, ..Default::default() };
        fit(&solver, Objective::hinge(1.0).with_l2(1e-2), &data.batch::<f32>(), 5)
    };
    let expected = run();
    #[cfg(feature = "rayon")]
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(run) == expected, "{threads} threads");
    }
    assert!(run() == expected);
}

/// What has no samples, or no differences, or nothing to gain.
#[test]
fn at_the_limits() {
    let solver = DualAscent { tolerance: 1e-8, ..Default::default() };
    for objective in losses(1.0).map(|loss| loss.with_l2(0.1)) {
        let reaches = |x: &[f64], [n, d]: [usize; 2], labels: &[u32], c: usize, least: f64| {
            let batch = Batch::new(MatrixView::new(x, n, d).unwrap(), labels).unwrap();
            let (model, summary) = fit(&solver, objective, &batch, c);
            assert_eq!(summary.stop_reason, StopReason::Gap, "{objective:?}: {summary:?}");
            let apart = summary.progress.objective - least;
            assert!(apart.abs() < 1e-7, "{objective:?} {x:?} {labels:?}: {apart:e}, {model:?}");
        };
        // One class, in a model of one or three; then features without differences.
        reaches(&[1.0, 2.0], [2, 1], &[0, 0], 1, 0.0);
        reaches(&[1.0, 2.0], [2, 1], &[1, 1], 3, 0.0);
        reaches(&[3.0], [1, 1], &[0], 2, 0.0);
        reaches(&[5.0, 5.0], [2, 1], &[0, 1], 2, 1.0);
        reaches(&[0.0, 0.0, 0.0, 0.0], [2, 2], &[0, 1], 2, 1.0);
    }
    // Without a margin, a model of zeros has no loss.
    for objective in losses(0.0).map(|loss| loss.with_l2(0.1)) {
        let data = Data::new(5, [30, 3, 3], 2.0..10.0);
        let (_, summary) = fit(&solver, objective, &data.batch::<f64>(), 3);
        assert_eq!(summary.progress.objective, 0.0, "{summary:?}");
        assert_eq!((summary.gap, summary.stop_reason), (Some(0.0), StopReason::Gap));
    }
}

#[test]
fn it_stops_when_told_and_says_what_is_wrong() {
    let data = Data::new(2, [50, 3, 3], 2.0..10.0);
    let batch = data.batch::<f64>();
    let mut model = LinearModel::zeros(3, 3);
    let mut evaluator = Evaluator::new(Objective::hinge(1.0).with_l2(1e-3));
    let mut told = Vec::new();
    let until_third = |progress: &Progress, model: &LinearModel<f64>| {
        told.push((progress.iteration, progress.objective, model.clone()));
        if told.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let precise = DualAscent { tolerance: 0.0, ..Default::default() };
    let summary = precise.fit(&mut evaluator, &mut model, &batch, until_third).unwrap();
    assert_eq!(summary.stop_reason, StopReason::Interrupted);
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(told[0].1 >= told[1].1 && told[1].1 >= told[2].1 && told[2].2 == model);
    // From the optimum on nothing gets worse.
    let (mut model, first) = fit(&DualAscent::default(), evaluator.objective(), &batch, 3);
    let few = DualAscent { max_epochs: 1, tolerance: 0.0, seed: 3 };
    let summary = few.fit(&mut evaluator, &mut model, &batch, go_on).unwrap();
    assert!(summary.progress.objective <= first.progress.objective);
    assert_eq!(summary.stop_reason, StopReason::MaxIterations);

    let before = model.clone();
    let mut error_of = |solver: &DualAscent, objective: Objective, batch: &Batch<'_, f64>| {
        let mut evaluator = Evaluator::new(objective);
        let error = solver.fit(&mut evaluator, &mut model, batch, go_on).unwrap_err();
        assert_eq!(model, before);
        error
    };
    let solver = DualAscent::default();
    for tolerance in [-1.0, f64::NAN] {
        let solver = DualAscent { tolerance, ..solver };
        let error = error_of(&solver, Objective::hinge(1.0).with_l2(0.1), &batch);
        assert!(matches!(error, Error::Setting { what: "tolerance", .. }), "{error}");
    }
    for l2 in [0.0, 1e-310] {
        let error = error_of(&solver, Objective::hinge(1.0).with_l2(l2), &batch);
        assert!(matches!(error, Error::Setting { what: "L2 coefficient λ", .. }), "{error}");
    }
    let error = error_of(&solver, Objective::cross_entropy().with_l2(0.1), &batch);
    assert_eq!(error, Error::NoDual { loss: "cross_entropy" });
    let text = error.to_string();
    assert!(["cross_entropy", "hinge", "crammer_singer"].iter().all(|name| text.contains(name)));
    let mut labels = data.labels.clone();
    labels[7] = 3;
    let wrong = Batch::new(batch.features(), &labels).unwrap();
    let error = error_of(&solver, Objective::hinge(1.0).with_l2(0.1), &wrong);
    assert!(matches!(error, Error::Label { row: 7, .. }), "{error}");
}
