//! The binary losses, of models of one row: they are the losses of two classes, at two rows that are each other's
//! negatives; in every layout and type, with weights of samples and classes; and their errors.

use crate::common::failure::{error_of, says};
use crate::common::{
    Case, Evaluated, Shape, Stored, binary_losses, check_against_oracle, evaluate, for_each_isa,
    for_each_threads, max_difference, tolerance, try_evaluate,
};
use softmargin::{
    Batch, Error, Evaluator, Features, Isa, LinearModel, Loss, MatrixView, NonFinite, Objective,
    Partial, PartialTree, Scalar, Scaling,
};

/// Columns of short rows, rows, and several tasks.
const SHAPES: [Shape; 5] = [
    Shape { n: 3, d: 1, c: 1 },
    Shape { n: 300, d: 2, c: 1 },
    Shape { n: 257, d: 33, c: 1 },
    Shape { n: 5000, d: 32, c: 1 },
    Shape { n: 90, d: 784, c: 1 },
];

fn cases<T: Scalar>(objective: Objective) -> impl Iterator<Item = Case<T>> {
    let layouts = move |(shape, seed)| Case::<T>::random(objective, shape, seed).layouts(seed);
    SHAPES.into_iter().zip(20..).flat_map(layouts).map(|(_, case)| case)
}

/// One feature that is always 1 and has weight 0: the score of every row is the bias.
fn score<T: Scalar>(objective: Objective, score: f64, label: u32) -> Case<T> {
    let model = LinearModel::from_parameters(1, 1, vec![T::default(), T::from_f64(score)]).unwrap();
    Case::new(objective, model, &[T::from_f64(1.0)], &[label])
}

/// F(w, β) of one row with λ is F(∓½w, ∓½β) of two rows with 2λ; so is its gradient by class 1, and what is predicted.
fn two_rows_are_the_same<T: Scalar>() {
    for objective in binary_losses() {
        for case in cases::<T>(objective.with_l2(0.01)) {
            let (batch, model) = (case.batch(), case.model.to_two_rows().unwrap());
            assert_eq!(model.to_one_row().unwrap(), case.model, "there and back");
            let d = model.n_features();
            for_each_isa(|isa| {
                let one_row = evaluate(isa, &case);
                check_against_oracle(&case, &one_row, &format!("{:?} on {isa}", case.objective));
                let mut evaluator =
                    Evaluator::new(case.objective.to_two_rows().unwrap()).with_isa(isa);
                let mut gradient = model.clone();
                let loss = evaluator.loss_and_gradient(&model, &batch, &mut gradient).unwrap();
                let near = |a: f64, b: f64, what: &str| {
                    // Of squares, twice that.
                    let bound = 4.0 * tolerance::<T>() * a.abs().max(b.abs()).max(4.0);
                    assert!((a - b).abs() <= bound, "{objective:?} on {isa}, {what}: {a:e}, {b:e}");
                };
                near(one_row.loss, loss, "loss");
                for (of_one, of_two) in
                    one_row.gradient.weights().iter().zip(&gradient.weights()[d..])
                {
                    near(of_one.to_f64(), of_two.to_f64(), "dW");
                }
                near(one_row.gradient.bias()[0].to_f64(), gradient.bias()[1].to_f64(), "db");
            });

            let (s, two) = (case.model.scores(&batch).unwrap(), model.scores(&batch).unwrap());
            let (classes, p) =
                (model.predict(&batch).unwrap(), model.predict_proba(&batch).unwrap());
            for (i, s) in s.iter().map(|s| s.to_f64()).enumerate() {
                let apart = two[2 * i + 1].to_f64() - two[2 * i].to_f64();
                assert!((s - apart).abs() <= 20.0 * tolerance::<T>(), "{s}, not {apart}");
                assert!(s.abs() <= 1e-5 || classes[i] == u32::from(s > 0.0), "{s}");
                let error = p[2 * i + 1].to_f64() - 1.0 / (1.0 + (-s).exp());
                assert!(error.abs() <= 20.0 * tolerance::<T>(), "{s}: off by {error:e}");
            }
        }
    }
}

#[test]
fn two_rows_are_the_same_f32() {
    two_rows_are_the_same::<f32>();
}

#[test]
fn two_rows_are_the_same_f64() {
    two_rows_are_the_same::<f64>();
}

#[test]
fn the_objective_of_two_rows() {
    for (one_row, two_rows) in [
        (Objective::logistic(), Objective::cross_entropy()),
        (Objective::binary_hinge(0.5), Objective::hinge(0.5)),
        (Objective::binary_squared_hinge(0.5), Objective::squared_hinge(0.5)),
    ] {
        assert_eq!(one_row.with_l2(0.25).to_two_rows(), Some(two_rows.with_l2(0.5)));
        assert_eq!(two_rows.to_two_rows(), None);
        assert!(one_row.loss().is_binary() && !two_rows.loss().is_binary());
        assert_eq!(one_row.loss().margin(), two_rows.loss().margin());
        assert_eq!(one_row.is_smooth(), two_rows.is_smooth());
    }
    assert_eq!(Objective::crammer_singer(1.0).to_two_rows(), None);
    // Of other two rows, the sum of squares is no less.
    let model = LinearModel::from_parameters(2, 1, vec![3.0, 5.0, -1.0, 1.0]).unwrap();
    let one_row = model.to_one_row().unwrap();
    assert_eq!(one_row.parameters(), [2.0, 2.0]);
    assert_eq!(one_row.to_two_rows().unwrap().parameters(), [-1.0, 1.0, -1.0, 1.0]);
}

/// A margin that is met exactly is met; one eighth more or less is what it costs.
fn kinks<T: Scalar>() {
    let value = T::from_f64;
    for_each_isa(|isa| {
        for (label, t) in [(0, -1.0), (1, 1.0)] {
            for (apart, slope) in [(0.0, 0.0), (0.125, -t), (-0.125, 0.0)] {
                let at =
                    |objective| evaluate(isa, &score::<T>(objective, t * (1.0 - apart), label));
                let got = at(Objective::binary_hinge(1.0));
                assert_eq!(got.loss, apart.max(0.0), "{isa}");
                assert_eq!(got.gradient.parameters(), [value(slope); 2], "{isa}");
                let got = at(Objective::binary_squared_hinge(1.0));
                assert_eq!(got.loss, apart.max(0.0).powi(2), "{isa}");
                assert_eq!(got.gradient.parameters(), [value(0.25 * slope); 2], "{isa}");
            }
        }
        // Nobody knows anything.
        for label in [0, 1] {
            let got = evaluate(isa, &score::<T>(Objective::logistic(), 0.0, label));
            let error = (got.loss - std::f64::consts::LN_2).abs();
            assert!(error <= T::EPSILON.to_f64(), "{isa}: off by {error:e}");
            let slope = if label == 1 { -0.5 } else { 0.5 };
            assert_eq!(got.gradient.bias(), [value(slope)], "{isa}");
        }
    });
}

#[test]
fn known_answers() {
    kinks::<f32>();
    kinks::<f64>();
}

/// The loss and the slope of a sample that is surely right are e^−|s|, to relative precision; of one that is surely
/// wrong they are |s| and 1.
fn sure_samples<T: Scalar>() {
    let (largest, relative) = if size_of::<T>() == 4 { (87.0, 1e-6) } else { (700.0, 1e-14) };
    let objective = Objective::logistic();
    for_each_isa(|isa| {
        for (label, t) in [(0, -1.0), (1, 1.0)] {
            for s in [20.0, 40.0, 80.0, largest] {
                let got = evaluate(isa, &score::<T>(objective, t * s, label));
                let e = (-s).exp();
                let slope = got.gradient.bias()[0].to_f64();
                assert!((got.loss / e.ln_1p() - 1.0).abs() <= relative, "{s} on {isa}");
                assert!((slope / (-t * e / (1.0 + e)) - 1.0).abs() <= relative, "{s} on {isa}");
            }
            for s in [1e4, 1e30, T::MAX.to_f64()] {
                let got = evaluate(isa, &score::<T>(objective, -t * s, label));
                assert_eq!(got.loss, T::from_f64(s).to_f64(), "{isa}");
                assert_eq!(got.gradient.bias()[0].to_f64(), -t, "{isa}");
                let got = evaluate(isa, &score::<T>(objective, t * s, label));
                assert_eq!((got.loss, got.gradient.bias()[0].to_f64()), (0.0, 0.0), "{isa}");
            }
        }
    });
}

#[test]
fn sure_samples_to_the_last_digits() {
    sure_samples::<f32>();
    sure_samples::<f64>();
}

fn bits<T: Scalar>(isa: Isa, case: &Case<T>, batch: &Batch<'_, T>) -> Vec<u64> {
    let mut gradient = LinearModel::zeros(1, case.model.n_features());
    let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
    let loss = evaluator.loss_and_gradient(&case.model, batch, &mut gradient).unwrap();
    Evaluated { loss, gradient }.bits()
}

/// Features in other types give the bits of their widened copy, scaled and not.
fn stored<E: Stored, T: Scalar>()
where
    for<'a> MatrixView<'a, E>: Into<Features<'a, T>>,
{
    let scaling = Scaling::by(0.25);
    for objective in binary_losses() {
        for case in cases::<T>(objective.with_l2(0.1)).filter(|case| case.sparse.is_none()) {
            let case = case.rounded::<E>(40.0);
            let narrowed = case.stored::<E>();
            for_each_isa(|isa| {
                let (batch, widened) = (case.batch_of(&narrowed), case.batch());
                assert!(bits(isa, &case, &batch) == bits(isa, &case, &widened), "{isa}");
                let scaled = [batch, widened].map(|batch| batch.with_scaling(&scaling).unwrap());
                let [batch, widened] = scaled.map(|batch| bits(isa, &case, &batch));
                assert!(batch == widened, "{isa}, scaled");
            });
        }
    }
}

#[test]
fn of_any_storage_type() {
    stored::<u8, f32>();
    stored::<i8, f64>();
    stored::<f32, f64>();
}

#[cfg(feature = "half")]
#[test]
fn of_any_half_type() {
    stored::<half::f16, f32>();
    stored::<half::bf16, f32>();
}

/// A scaled batch has the loss of its scaled copy, sparse rows (which are not shifted) as well.
#[test]
fn scaled() {
    for objective in binary_losses() {
        for case in cases::<f64>(objective.with_l2(0.1)).filter(|case| case.columns.is_none()) {
            let scaling = Scaling::by(0.5);
            let batch = case.batch().with_scaling(&scaling).unwrap();
            let mut copy = case.clone();
            copy.x.iter_mut().for_each(|x| *x *= 0.5);
            copy.sparse = None;
            let expected = copy.reference();
            for_each_isa(|isa| {
                let mut gradient = case.model.clone();
                let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
                let loss = evaluator.loss_and_gradient(&case.model, &batch, &mut gradient).unwrap();
                assert!((loss - expected.loss).abs() <= 1e-13 * expected.loss, "{isa}");
                let error = max_difference(gradient.weights(), &expected.weights);
                assert!(error <= 1e-13, "{objective:?} on {isa}: {error:e}");
            });
        }
    }
}

/// There are two class weights; the sample weights that they stand for give the same bits.
#[test]
fn class_weights() {
    let of_classes = [0.3_f32, 2.0];
    for objective in binary_losses() {
        for case in cases::<f32>(objective) {
            let batch = case.batch().with_class_weights(&of_classes).unwrap();
            let product = |row: usize| {
                let of_class = of_classes.get(case.labels[row] as usize).copied().unwrap_or(0.0);
                case.sample_weights.as_ref().map_or(1.0, |weights| weights[row]) * of_class
            };
            let products: Vec<f32> = (0..case.rows).map(product).collect();
            let weighted = case.clone().weighted(&products);
            for_each_isa(|isa| {
                let got = bits(isa, &case, &batch);
                assert!(got == bits(isa, &case, &weighted.batch()), "{objective:?} on {isa}");
            });
        }
    }
}

/// The same bits on any number of threads; and chunks, in a `Partial` or a tree of them, are the whole.
#[test]
fn threads_and_chunks() {
    let shape = Shape { n: 20_000, d: 17, c: 1 };
    for objective in binary_losses().map(|objective| objective.with_l2(0.1)) {
        let whole = Case::<f32>::random(objective, shape, 3);
        for case in [whole.clone(), whole.clone().thinned(0.2, 4).sparse(5)] {
            for_each_isa(|isa| {
                let expected = evaluate(isa, &case).bits();
                for_each_threads(&[1, 2, 3, 8], |threads| {
                    let mut evaluator = Evaluator::new(objective).with_isa(isa);
                    let got = try_evaluate(&mut evaluator, &case).unwrap().bits();
                    assert!(got == expected, "{threads} threads on {isa}");
                });
            });
        }
        for_each_isa(|isa| {
            let mut evaluator = Evaluator::new(objective).with_isa(isa);
            let (mut sum, mut tree) = (Partial::new(1, shape.d), PartialTree::new());
            for i in 0..4 {
                let batch = whole.chunk(i * 5000..(i + 1) * 5000).unwrap();
                let mut partial = Partial::new(1, shape.d);
                evaluator.accumulate(&whole.model, &batch, &mut partial).unwrap();
                sum.merge(&partial).unwrap();
                tree.push(i as u64..i as u64 + 1, partial).unwrap();
            }
            let total = tree.total(4).unwrap();
            for partial in [&sum, &total] {
                let mut gradient = whole.model.clone();
                let loss = evaluator.finish(&whole.model, partial, &mut gradient).unwrap();
                check_against_oracle(&whole, &Evaluated { loss, gradient }, &format!("{isa}"));
            }
        });
    }
}

#[test]
fn other_rows_and_labels_are_errors() {
    for objective in binary_losses() {
        let loss = objective.loss().name();
        let good = Case::<f32>::random(objective, Shape { n: 70, d: 9, c: 1 }, 6);
        for (row, label) in [(0, 2), (52, u32::MAX)] {
            let mut bad = good.clone();
            bad.labels[row] = label;
            for bad in [bad.clone(), bad.sparse(7)] {
                let error = error_of(&bad);
                assert_eq!(error, Error::Label { row, label, classes: 2 });
                says(&error, &[&format!("row {row}"), &label.to_string(), "0 to 1"]);
            }
        }
        let mut bad = good.clone();
        *bad.feature_mut(3, 2) = f32::NAN;
        let error = error_of(&bad);
        assert!(matches!(error, Error::NonFinite { row: 3, cause: NonFinite::Feature { .. } }));

        let batch = good.batch();
        for actual in [2, 3] {
            let expected = Error::Rows { what: loss, expected: 1, actual };
            let model = LinearModel::zeros(actual, 9);
            let mut gradient = model.clone();
            gradient.parameters_mut().fill(-77.5);
            let before = gradient.clone();
            let mut evaluator = Evaluator::new(objective);
            let error = evaluator.loss_and_gradient(&model, &batch, &mut gradient).unwrap_err();
            assert_eq!((&error, &gradient), (&expected, &before));
            says(&error, &[loss, "1 row of weights", &format!("{actual} rows of weights")]);
            assert_eq!(evaluator.loss(&model, &batch), Err(expected.clone()));
            let mut partial = Partial::new(actual, 9);
            assert_eq!(evaluator.accumulate(&model, &batch, &mut partial), Err(expected.clone()));
            if objective.is_smooth() {
                let error = evaluator.hessian_product(&model, &batch, &model, &mut gradient);
                assert_eq!((error, &gradient), (Err(expected), &before));
            }
        }
        let error = error_of(&Case { objective: objective.with_label_smoothing(0.1), ..good });
        assert_eq!(error, Error::LabelSmoothingOf { loss, value: 0.1 });
    }
    let case = Case::<f32>::random(Objective::binary_hinge(1.0), Shape { n: 7, d: 2, c: 1 }, 8);
    let mut product = case.model.clone();
    let error = Evaluator::new(case.objective)
        .hessian_product(&case.model, &case.batch(), &case.model, &mut product)
        .unwrap_err();
    assert_eq!(error, Error::NoHessian { loss: "binary_hinge" });
    says(&error, &["binary_hinge", "kinks", "binary_squared_hinge", "logistic"]);
    for margin in [-1.0, f64::NAN] {
        let objective = Objective::binary_hinge(margin);
        assert!(matches!(error_of(&Case { objective, ..case.clone() }), Error::Margin { .. }));
    }

    let (one, two, three) = (&case.model, LinearModel::zeros(2, 2), LinearModel::zeros(3, 2));
    for (model, actual) in [(&two, 2), (&three, 3)] {
        let error = model.to_two_rows().unwrap_err();
        assert_eq!(error, Error::Rows { what: "to_two_rows", expected: 1, actual });
    }
    for (model, actual) in [(one, 1), (&three, 3)] {
        let error = model.to_one_row().unwrap_err();
        assert_eq!(error, Error::Rows { what: "to_one_row", expected: 2, actual });
        says(&error, &["to_one_row", "2 rows of weights", &actual.to_string()]);
    }
    assert!(matches!(Objective::logistic().loss(), Loss::Logistic));
}

#[cfg(feature = "train")]
mod solvers {
    use super::*;
    use core::ops::ControlFlow;
    use softmargin::train::{
        DualAscent, Lbfgs, NewtonCg, Progress, Sgd, StopReason, Summary, cross_validate,
        optimality_gap, stratified_folds,
    };

    fn go_on<T>(_: &Progress, _: &LinearModel<T>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Labels that the model mostly explains, of unequal number, and features off zero.
    fn data<T: Scalar>(objective: Objective, n: usize) -> Case<T> {
        let mut case = Case::<T>::random(objective, Shape { n, d: 5, c: 1 }, 41);
        let scores = case.model.scores(case.batch().features()).unwrap();
        for (i, (label, score)) in case.labels.iter_mut().zip(scores).enumerate() {
            *label = u32::from((score.to_f64() > 0.5) ^ (i % 9 == 0));
        }
        case.x.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() + 0.5));
        case.model = LinearModel::zeros(1, 5);
        case
    }

    /// The optimum of one row is that of two rows, by every solver, and the bound is one.
    fn optimum<T: Scalar>(near: f64) {
        for objective in binary_losses().map(|objective| objective.with_l2(0.01)) {
            let whole = data::<T>(objective, 800);
            for case in [whole.clone().sparse(9), whole.clone().randomly_weighted(7), whole] {
                let batch = case.batch();
                let of_two = objective.to_two_rows().unwrap();
                let (mut best, mut two_rows) =
                    (LinearModel::zeros(2, 5), Evaluator::<T>::new(of_two));
                let precise = NewtonCg { gradient_tolerance: near / 10.0, ..NewtonCg::default() };
                let dual = DualAscent { tolerance: near, ..DualAscent::default() };
                let summary = match objective.is_smooth() {
                    true => precise.fit(&mut two_rows, &mut best, &batch, go_on),
                    false => dual.fit(&mut two_rows, &mut best, &batch, go_on),
                };
                let least = summary.unwrap().progress.objective;

                let check = |name: &str, fit: &dyn Fn(&mut Evaluator<T>, &mut LinearModel<T>) -> Summary| {
                    let mut evaluator = Evaluator::new(objective);
                    let mut model = LinearModel::zeros(1, 5);
                    let summary = fit(&mut evaluator, &mut model);
                    let what = format!("{name}, {objective:?}: {summary:?}, {least}");
                    let found = evaluator.loss(&model, &batch).unwrap();
                    let of_summary = summary.progress.objective;
                    assert!((found - of_summary).abs() <= 10.0 * T::EPSILON.to_f64(), "{what}");
                    let gap = optimality_gap(&mut evaluator, &model, &batch).unwrap().unwrap();
                    assert!(gap + near * least >= found - least, "{what}: {gap:e}");
                    assert!(found - least >= -near * least, "{what}");
                    (found / least - 1.0, summary)
                };
                let (apart, summary) = check("L-BFGS", &|evaluator, model| {
                    Lbfgs::default().fit(evaluator, model, &batch, go_on).unwrap()
                });
                if objective.is_smooth() {
                    assert!(apart < 1e-4 && summary.stop_reason.converged(), "{apart:e}");
                    assert!(summary.gap.unwrap() < 1e-2 * least, "{summary:?}");
                    let (apart, _) = check("Newton", &|evaluator, model| {
                        precise.fit(evaluator, model, &batch, go_on).unwrap()
                    });
                    assert!(apart <= near, "{objective:?}: {apart:e}");
                }
                let sgd = Sgd { epochs: 40, batch_size: 16, ..Sgd::default() };
                let (apart, _) = check("SGD", &|evaluator, model| {
                    sgd.fit(evaluator, model, &batch, go_on).unwrap()
                });
                // At kinks it does not come to rest.
                let most = if objective.is_smooth() { 0.01 } else { 0.1 };
                assert!(apart < most, "SGD, {objective:?}: {apart:e}");
                if objective.loss().margin().is_some() {
                    let (apart, summary) = check("dual ascent", &|evaluator, model| {
                        dual.fit(evaluator, model, &batch, go_on).unwrap()
                    });
                    assert_eq!(summary.stop_reason, StopReason::Gap);
                    assert!(apart <= 2.0 * near, "{objective:?}: {apart:e}");
                }
            }
        }
    }

    #[test]
    fn the_optimum_is_that_of_two_rows_f32() {
        optimum::<f32>(1e-4);
    }

    #[test]
    fn the_optimum_is_that_of_two_rows_f64() {
        optimum::<f64>(1e-5);
    }

    #[test]
    fn dual_ascent_tells_of_every_epoch_and_has_errors() {
        let objective = Objective::binary_hinge(1.0).with_l2(1e-3);
        let case = data::<f64>(objective, 300);
        let (mut evaluator, mut model) = (Evaluator::new(objective), case.model.clone());
        let mut told = 0;
        let on_epoch = |progress: &Progress, model: &LinearModel<f64>| {
            assert_eq!(model.n_classes(), 1);
            told = progress.iteration;
            ControlFlow::Continue(())
        };
        let summary =
            DualAscent::default().fit(&mut evaluator, &mut model, &case.batch(), on_epoch).unwrap();
        assert!(told > 0 && told == summary.progress.iteration, "{told}: {summary:?}");

        let mut two_rows = LinearModel::zeros(2, 5);
        let error = DualAscent::default().fit(&mut evaluator, &mut two_rows, &case.batch(), go_on);
        let rows = Error::Rows { what: "binary_hinge", expected: 1, actual: 2 };
        assert_eq!(error, Err(rows.clone()));
        assert_eq!(optimality_gap(&mut evaluator, &two_rows, &case.batch()), Err(rows));
        let mut logistic = Evaluator::new(Objective::logistic().with_l2(1e-3));
        let error = DualAscent::default().fit(&mut logistic, &mut model, &case.batch(), go_on);
        assert_eq!(error, Err(Error::NoDual { loss: "logistic" }));
    }

    /// What is held out is predicted by two rows: by one, all would be of class 0.
    #[test]
    fn accuracy_of_held_out_samples() {
        let objective = Objective::logistic();
        let case = data::<f32>(objective, 600);
        let (batch, evaluator) = (case.batch(), Evaluator::new(objective));
        let of_ones = case.labels.iter().filter(|label| **label == 1).count() as f64 / 600.0;
        let folds = stratified_folds(&batch, 3, 0).unwrap();
        let path = cross_validate(&evaluator, &[1e-3], &case.model, &batch, &folds, |e, m, b| {
            Lbfgs::default().fit(e, m, b, go_on)
        });
        let accuracy = path.unwrap().path[0].accuracy.mean;
        assert!(accuracy > 0.8 && accuracy > 1.1 * (1.0 - of_ones), "{accuracy}, {of_ones}");
        let halves = [(0..300).collect::<Vec<u32>>(), (300..600).collect()];
        let [training, validation] = [0, 1].map(|i| batch.select(&halves[i]).unwrap());
        let path = Lbfgs::default()
            .path(&evaluator, &[1e-3], &case.model, &training, &validation, |_, _, _| {
                ControlFlow::Continue(())
            })
            .unwrap();
        let accuracy = path[0].validation_accuracy;
        assert!(accuracy > 0.8 && accuracy > 1.1 * (1.0 - of_ones), "{accuracy}");
    }
}
