//! Cross-validation: folds that are fair, each λ judged by samples that its models have not seen, and the same again.

#![cfg(feature = "train")]

use crate::common::{Random, for_each_threads};
use core::ops::ControlFlow;
use softmargin::{
    Batch, Error, Evaluator, Isa, LinearModel, MatrixView, Objective, Predictor, Scalar,
    train::{
        CrossValidated, CrossValidation, DualAscent, Estimate, Fold, Lbfgs, Progress, Summary,
        cross_validate, stratified_folds,
    },
};

const N: usize = 203;
const D: usize = 5;
const C: usize = 3;

/// Samples around one centre a class, near enough to overlap; a seventh of class 2.
fn samples() -> (Vec<f32>, Vec<u32>) {
    let mut random = Random::new(17);
    let labels: Vec<u32> = (0..N as u32).map(|i| if i % 7 == 0 { 2 } else { i % 2 }).collect();
    let centre = |label: u32, l: usize| if l % C == label as usize { 0.7 } else { 0.0 };
    let x = labels.iter().flat_map(|&label| (0..D).map(move |l| centre(label, l)));
    let x = x.map(|centre| (centre + 2.0 * (random.unit() - 0.5)) as f32).collect();
    (x, labels)
}

fn go_on<T>(_: &Progress, _: &LinearModel<T>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn lbfgs<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    model: &mut LinearModel<T>,
    batch: &Batch<'_, T>,
) -> Result<Summary, Error> {
    Lbfgs::default().fit(evaluator, model, batch, go_on)
}

/// How many of some rows each class has.
fn counts(rows: &[u32], labels: &[u32]) -> Vec<usize> {
    let of = |class| rows.iter().filter(|row| labels[**row as usize] == class).count();
    (0..C as u32).map(of).collect()
}

#[test]
fn every_fold_has_its_share_of_each_class() {
    let (x, labels) = samples();
    let batch = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let all: Vec<u32> = (0..N as u32).collect();
    let of_all = counts(&all, &labels);
    for k in [2, 3, 5, 10, 100, N] {
        let folds = stratified_folds(&batch, k, 4).unwrap();
        assert_eq!(folds.len(), k);
        let mut held_out: Vec<u32> = Vec::new();
        for Fold { training, validation } in &folds {
            assert!(training.is_sorted() && validation.is_sorted());
            let mut both = [&training[..], validation].concat();
            both.sort_unstable();
            assert_eq!(both, all);
            assert!(validation.len() == N / k || validation.len() == N.div_ceil(k));
            for (count, of_all) in counts(validation, &labels).into_iter().zip(&of_all) {
                assert!(count == of_all / k || count == of_all.div_ceil(k), "{count} of {of_all}");
            }
            held_out.extend(validation);
        }
        held_out.sort_unstable();
        assert_eq!(held_out, all);
        assert_eq!(stratified_folds(&batch, k, 4).unwrap(), folds);
        assert!(k == N || stratified_folds(&batch, k, 5).unwrap() != folds);
    }
}

/// They are in no fold, and the others in those that they would be in without them.
#[test]
fn samples_of_weight_zero_are_left_out() {
    let (x, labels) = samples();
    let whole = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let weights: Vec<f32> = (0..N).map(|i| (i % 4) as f32).collect();
    let kept: Vec<u32> = (0..N as u32).filter(|row| row % 4 != 0).collect();
    let weighted = whole.with_sample_weights(&weights).unwrap();
    let folds = stratified_folds(&weighted, 6, 1).unwrap();
    assert_eq!(folds, stratified_folds(&whole.select(&kept).unwrap(), 6, 1).unwrap());
    assert_eq!(folds.iter().map(|fold| fold.validation.len()).sum::<usize>(), kept.len());
    // A class that counts nothing.
    let folds = stratified_folds(&whole.with_class_weights(&[1.0, 1.0, 0.0]).unwrap(), 6, 1);
    assert!(folds.unwrap().iter().all(|fold| counts(&fold.training, &labels)[2] == 0));
}

/// Features that tell nothing: the model knows how frequent the classes are where it was trained, whatever λ is.
#[test]
fn a_known_answer() {
    let x = [0.0_f64; 12];
    let labels = [0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0];
    let weights = labels.map(|label| if label == 1 { 2.0 } else { 1.0 });
    let plain = Batch::<f64>::new(MatrixView::new(&x, 12, 1).unwrap(), &labels).unwrap();
    // Each fold holds two samples of class 0 out, and one of class 1, of six and three.
    let of_thirds = -(2.0 * (2.0_f64 / 3.0).ln() + (1.0_f64 / 3.0).ln()) / 3.0;
    for (batch, loss, accuracy) in [
        (plain, of_thirds, Some(2.0 / 3.0)),
        (plain.with_sample_weights(&weights).unwrap(), 2.0_f64.ln(), None),
    ] {
        let folds = stratified_folds(&batch, 4, 0).unwrap();
        let evaluator = Evaluator::new(Objective::cross_entropy());
        let start = LinearModel::zeros(2, 1);
        let precise = Lbfgs { gradient_tolerance: 1e-9, ..Lbfgs::default() };
        let cv = cross_validate(&evaluator, &[0.1, 10.0], &start, &batch, &folds, |e, m, b| {
            precise.fit(e, m, b, go_on)
        })
        .unwrap();
        for point in &cv.path {
            assert!((point.loss.mean - loss).abs() < 1e-9, "{point:?}");
            assert!(point.loss.standard_error < 1e-9);
            assert!(accuracy.is_none_or(|share| (point.accuracy.mean - share).abs() < 1e-12));
            assert!(point.folds.iter().all(|fold| fold.total_weight == batch.total_weight() / 4.0));
        }
        assert_eq!(cv.one_standard_error().l2, 10.0);
    }
}

/// Folds of one's own, of unequal weights: each fit again by itself, and the means and errors from their definitions.
#[test]
fn what_is_told_is_what_the_fits_are() {
    let (x, labels) = samples();
    let weights: Vec<f32> = (0..N).map(|i| 0.25 + (i % 5) as f32).collect();
    let batch = Batch::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let batch = batch.with_sample_weights(&weights).unwrap();
    let range = |range: core::ops::Range<u32>| -> Vec<u32> { range.collect() };
    let folds = [
        Fold { training: range(0..150), validation: range(150..203) },
        Fold { training: range(50..203), validation: range(0..50) },
        Fold { training: [range(0..20), range(100..203)].concat(), validation: range(20..100) },
    ];
    let isa = Isa::available()[0];
    let (l2, start) = ([1e-3, 1.0, 0.03], LinearModel::zeros(C, D));
    // The λ of the evaluator does not count.
    let evaluator = Evaluator::new(Objective::cross_entropy().with_l2(7.0)).with_isa(isa);
    let mut asked = Vec::new();
    let cv = cross_validate(&evaluator, &l2, &start, &batch, &folds, |evaluator, model, batch| {
        assert_eq!(evaluator.isa(), isa);
        asked.push((evaluator.objective().l2(), batch.n_samples()));
        lbfgs(evaluator, model, batch)
    })
    .unwrap();
    let of_folds = |l2| [(l2, 150), (l2, 153), (l2, 123)];
    assert_eq!(asked, [of_folds(1.0), of_folds(0.03), of_folds(1e-3)].concat());
    assert_eq!(cv.path.iter().map(|point| point.l2).collect::<Vec<_>>(), [1.0, 0.03, 1e-3]);
    // Whoever has the scores of the folds can say the same of them.
    for point in &cv.path {
        assert_eq!(CrossValidated::of_folds(point.l2, point.folds.clone()), *point);
    }

    let mut plain = Evaluator::new(Objective::cross_entropy()).with_isa(isa);
    for (i, fold) in folds.iter().enumerate() {
        let training = batch.select(&fold.training).unwrap();
        let validation = batch.select(&fold.validation).unwrap();
        let mut model = start.clone();
        for point in &cv.path {
            let objective = Objective::cross_entropy().with_l2(point.l2);
            let mut evaluator = Evaluator::new(objective).with_isa(isa);
            let score = point.folds[i];
            assert_eq!(lbfgs(&mut evaluator, &mut model, &training).unwrap(), score.summary);
            assert!(score.summary.stop_reason.converged());
            assert_eq!(plain.loss(&model, &validation).unwrap(), score.loss);
            let predictor = Predictor::new(&model).with_isa(isa);
            assert_eq!(predictor.accuracy(&validation).unwrap(), score.accuracy);
            assert_eq!(score.total_weight, validation.total_weight());
        }
    }
    for point in &cv.path {
        let z: Vec<f64> = point.folds.iter().map(|fold| fold.total_weight).collect();
        let losses: Vec<f64> = point.folds.iter().map(|fold| fold.loss).collect();
        let total: f64 = z.iter().sum();
        let mean = (z[0] * losses[0] + z[1] * losses[1] + z[2] * losses[2]) / total;
        let squares: f64 = z.iter().zip(&losses).map(|(z, loss)| z * (loss - mean).powi(2)).sum();
        let error = (squares / total / 2.0).sqrt();
        assert!((point.loss.mean - mean).abs() < 1e-12, "{point:?}");
        assert!((point.loss.standard_error - error).abs() < 1e-12, "{error}: {point:?}");
        let accuracies: Vec<f64> = point.folds.iter().map(|fold| fold.accuracy).collect();
        let mean = z.iter().zip(&accuracies).map(|(z, share)| z * share).sum::<f64>() / total;
        assert!((point.accuracy.mean - mean).abs() < 1e-12);
    }
    let least = cv.path.iter().map(|point| point.loss.mean).fold(f64::INFINITY, f64::min);
    assert_eq!(cv.best().loss.mean, least);
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    let (x, labels) = samples();
    let batch = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let folds = stratified_folds(&batch, 3, 0).unwrap();
    let mut first: Option<CrossValidation> = None;
    for_each_threads(&[1, 2, 3, 5], |_| {
        let evaluator = Evaluator::new(Objective::cross_entropy());
        let start = LinearModel::zeros(C, D);
        let cv = cross_validate(&evaluator, &[0.1, 1e-3], &start, &batch, &folds, lbfgs).unwrap();
        assert_eq!(*first.get_or_insert(cv.clone()), cv);
    });
}

#[test]
fn losses_with_kinks_by_dual_ascent() {
    let (x, labels) = samples();
    let batch = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let folds = stratified_folds(&batch, 4, 0).unwrap();
    let l2 = [100.0, 1e-2];
    for objective in [Objective::hinge(1.0), Objective::crammer_singer(1.0)] {
        let (evaluator, start) = (Evaluator::new(objective), LinearModel::zeros(C, D));
        let cv =
            cross_validate(&evaluator, &l2, &start, &batch, &folds, |evaluator, model, batch| {
                DualAscent::default().fit(evaluator, model, batch, go_on)
            })
            .unwrap();
        assert_eq!(cv.best().l2, 1e-2);
        let folds = cv.path.iter().flat_map(|point| &point.folds);
        assert!(folds.into_iter().all(|fold| fold.summary.stop_reason.converged()));
    }
}

/// A class of which some folds train on nothing, or validate nothing.
#[test]
fn classes_of_fewer_samples_than_folds() {
    let (x, mut labels) = samples();
    labels.iter_mut().for_each(|label| *label %= 2);
    labels[30] = 2;
    let batch = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let folds = stratified_folds(&batch, 4, 0).unwrap();
    let without = folds.iter().filter(|fold| counts(&fold.training, &labels)[2] == 0).count();
    assert_eq!(without, 1);
    let (evaluator, start) = (Evaluator::new(Objective::cross_entropy()), LinearModel::zeros(C, D));
    let cv = cross_validate(&evaluator, &[0.1], &start, &batch, &folds, lbfgs).unwrap();
    assert!(cv.best().loss.mean.is_finite());
}

#[test]
fn the_choice() {
    let point = |l2, mean, standard_error| {
        let estimate = Estimate { mean, standard_error };
        CrossValidated { l2, loss: estimate, accuracy: estimate, folds: Vec::new() }
    };
    let of = |path: &[CrossValidated]| {
        let cv = CrossValidation { path: path.to_vec() };
        (cv.best().l2, cv.one_standard_error().l2)
    };
    let path =
        [point(8.0, 0.9, 0.5), point(4.0, 0.6, 0.1), point(2.0, 0.5, 0.1), point(1.0, 0.55, 0.9)];
    assert_eq!(of(&path), (2.0, 4.0));
    assert_eq!(of(&path[..2]), (4.0, 4.0));
    assert_eq!(of(&[point(3.0, 0.5, 0.0), point(1.0, 0.5, 0.0)]), (3.0, 3.0));
}

#[test]
fn errors_before_anything_is_fitted() {
    let (x, labels) = samples();
    let batch = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    for k in [0, 1, N + 1] {
        assert_eq!(stratified_folds(&batch, k, 0), Err(Error::Folds { folds: k, samples: N }));
    }
    let mut weights = vec![0.0; N];
    weights[3] = 1.0;
    weights[9] = 1.0;
    let two = batch.with_sample_weights(&weights).unwrap();
    let error = stratified_folds(&two, 3, 0).unwrap_err();
    assert!(error.to_string().starts_with("3 folds of 2 samples that count"), "{error}");

    let folds = stratified_folds(&batch, 3, 0).unwrap();
    let run = |l2: &[f64], folds: &[Fold], batch: &Batch<'_, f32>| {
        let (evaluator, start) =
            (Evaluator::new(Objective::cross_entropy()), LinearModel::zeros(C, D));
        let never = |_: &mut _, _: &mut _, _: &Batch<'_, f32>| -> Result<Summary, Error> {
            panic!("fitted")
        };
        cross_validate(&evaluator, l2, &start, batch, folds, never).unwrap_err()
    };
    assert_eq!(run(&[], &folds, &batch), Error::NoL2);
    assert_eq!(run(&[1.0, -0.5], &folds, &batch), Error::L2 { value: -0.5 });
    assert!(matches!(run(&[f64::NAN], &folds, &batch), Error::L2 { value } if value.is_nan()));
    assert!(matches!(run(&[f64::INFINITY], &folds, &batch), Error::L2 { .. }));
    assert_eq!(run(&[1.0], &folds[..1], &batch), Error::Folds { folds: 1, samples: N });
    let mut bad = folds.clone();
    bad[2].validation.clear();
    assert_eq!(run(&[1.0], &bad, &batch), Error::NoSamples);
    bad[2].validation = vec![5, N as u32];
    let missing = Error::SelectedRow { position: 1, row: N as u32, rows: N };
    assert_eq!(run(&[1.0], &bad, &batch), missing);
    assert!(matches!(run(&[1.0], &folds, &two), Error::ZeroSampleWeights { .. }));
}

#[test]
fn an_error_of_the_solver_ends_it() {
    let (x, labels) = samples();
    let batch = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let folds = stratified_folds(&batch, 3, 0).unwrap();
    let (evaluator, start) = (Evaluator::new(Objective::cross_entropy()), LinearModel::zeros(C, D));
    let mut fits = 0;
    let result: Result<_, Box<dyn std::error::Error>> = cross_validate(
        &evaluator,
        &[1.0, 0.1],
        &start,
        &batch,
        &folds,
        |evaluator, model, batch| {
            fits += 1;
            if fits == 3 { Err("enough".into()) } else { Ok(lbfgs(evaluator, model, batch)?) }
        },
    );
    assert_eq!((result.unwrap_err().to_string(), fits), ("enough".to_owned(), 3));
    // A sample that is not finite is named by its own row.
    let mut x = x;
    x[100 * D + 3] = f32::NAN;
    let batch = Batch::<f32>::new(MatrixView::new(&x, N, D).unwrap(), &labels).unwrap();
    let error = cross_validate(&evaluator, &[1.0], &start, &batch, &folds, lbfgs).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 100, .. }), "{error}");
}
