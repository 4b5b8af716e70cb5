//! A NaN, an infinity or an overflow is an error, never a silent number, and never hidden by a
//! max(0, ·) or an e^−∞. It names the first row at fault and the cause: a feature, else a weight,
//! else a bias, else the score, the loss or the sum of the gradient that overflows.

use crate::common::failure::{error_of, says};
use crate::common::{Case, Shape, evaluate, for_each_isa, losses, try_evaluate};
use softmargin::{Error, Evaluator, LinearModel, NonFinite, Objective, Partial, Scalar};

const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

fn objectives() -> [Objective; 2] {
    [Objective::hinge(1.0), Objective::cross_entropy().with_l2(0.1)]
}

/// Large enough to be divided among threads.
const LARGE: Shape = Shape { n: 6000, d: 20, c: 5 };

/// The largest power of ten of the type, to overflow with.
fn huge<T: Scalar>() -> f64 {
    if size_of::<T>() == 4 { 1e38 } else { 1e308 }
}

/// Checks row and cause; causes are compared by message, since NaN is not equal to itself.
#[track_caller]
fn names(error: &Error, row: usize, cause: NonFinite) {
    let Error::NonFinite { row: named, cause: given } = error else { panic!("{error}") };
    assert_eq!((*named, given.to_string()), (row, cause.to_string()));
    says(error, &[&format!("row {row}")]);
}

fn features<T: Scalar>() {
    for objective in objectives() {
        for value in BAD {
            for (n, d, c) in [(1, 1, 1), (1, 1, 2), (9, 37, 1), (70, 37, 10), (33, 300, 130)] {
                for (row, feature) in [(0, 0), (n / 2, d / 2), (n - 1, d - 1)] {
                    let mut case = Case::<T>::random(objective, Shape { n, d, c }, 71);
                    *case.feature_mut(row, feature) = T::from_f64(value);
                    let error = error_of(&case);
                    names(&error, row, NonFinite::Feature { feature, value });
                    says(&error, &[&format!("feature {feature} is {value}")]);
                    let error = error_of(&case.sparse(77));
                    names(&error, row, NonFinite::Feature { feature, value });
                }
            }
            // Weights of 0 do not excuse it, and padding does not shift it.
            let mut case =
                Case::<T>::random(objective, Shape { n: 70, d: 37, c: 10 }, 72).padded(3);
            case.model.parameters_mut().fill(T::default());
            *case.feature_mut(41, 29) = T::from_f64(value);
            names(&error_of(&case), 41, NonFinite::Feature { feature: 29, value });
        }
    }
}

#[test]
fn a_bad_feature_is_named_f32() {
    features::<f32>();
}

#[test]
fn a_bad_feature_is_named_f64() {
    features::<f64>();
}

/// Of several bad rows, in whichever part of the batch, the lowest.
fn lowest_row<T: Scalar>() {
    for objective in objectives() {
        for rows in [&[3000, 5999, 4097, 3001][..], &[5998, 5999], &[0, 5999], &[1500, 4500]] {
            let mut case = Case::<T>::random(objective, LARGE, 73);
            for &row in rows {
                *case.feature_mut(row, 13) = T::from_f64(f64::NAN);
            }
            let value = f64::NAN;
            names(&error_of(&case), rows[0], NonFinite::Feature { feature: 13, value });
        }
    }
}

#[test]
fn the_lowest_bad_row_is_named() {
    lowest_row::<f32>();
    lowest_row::<f64>();
}

/// With a selection, the first in its order, by its row in the caller's data.
fn first_selected<T: Scalar>() {
    for objective in objectives() {
        let mut case = Case::<T>::random(objective, LARGE, 74).selected(75);
        let selection = case.selection.clone().unwrap();
        // From behind position 2500 on, the first row that has a lower one somewhere behind it.
        let (first, later) = (2500..5000)
            .flat_map(|i| (i + 500..6000).map(move |j| (i, j)))
            .find(|&(i, j)| selection[j] < selection[i])
            .map(|(i, j)| (selection[i] as usize, selection[j] as usize))
            .unwrap();
        for row in [later, first] {
            *case.feature_mut(row, 3) = T::from_f64(f64::INFINITY);
        }
        let cause = NonFinite::Feature { feature: 3, value: f64::INFINITY };
        names(&error_of(&case), first, cause);
        names(&error_of(&case.padded(2)), first, cause);
    }
}

#[test]
fn the_first_selected_bad_row_is_named() {
    first_selected::<f32>();
    first_selected::<f64>();
}

/// What is not a sample is nobody's business.
#[test]
fn unselected_rows_and_padding_may_be_anything() {
    for objective in objectives() {
        for value in BAD {
            let mut case = Case::<f32>::random(objective, Shape { n: 70, d: 37, c: 10 }, 76);
            let expected = evaluate("portable".parse().unwrap(), &case);
            case = case.padded(4);
            // The last row ends the matrix.
            for row in 0..69 {
                case.feature_mut(row, 37 + row % 4).clone_from(&(value as f32));
            }
            let mut selected = case.clone();
            *selected.feature_mut(69, 0) = value as f32;
            selected.selection = Some((0..69).collect());
            for_each_isa(|isa| {
                let got = evaluate(isa, &case);
                assert!((got.loss - expected.loss).abs() <= 1e-6 * expected.loss, "{isa}");
                assert!(evaluate(isa, &selected).loss.is_finite(), "{isa}");
            });
        }
    }
}

/// A bad parameter spoils every row, so the first row is named: row 0, or the first selected.
fn parameters<T: Scalar>() {
    for objective in objectives() {
        for value in BAD {
            for (n, d, c) in [(1, 1, 1), (1, 1, 2), (70, 37, 10), (5, 300, 130)] {
                let case = Case::<T>::random(objective, Shape { n, d, c }, 77);
                for (class, feature) in [(0, 0), (c / 2, d / 2), (c - 1, d - 1)] {
                    let mut case = case.clone();
                    case.model.weights_mut()[class * d + feature] = T::from_f64(value);
                    let error = error_of(&case);
                    names(&error, 0, NonFinite::Weight { class, feature, value });
                    let place = format!("class {class}, feature {feature} is {value}");
                    says(&error, &["weight", &place]);
                    let selected = case.selected(78);
                    let first = selected.sample_rows().next().unwrap();
                    let error = error_of(&selected);
                    names(&error, first, NonFinite::Weight { class, feature, value });
                    // Also where no sample has an entry for it.
                    let error = error_of(&selected.thinned(0.0, 79).sparse(80));
                    names(&error, first, NonFinite::Weight { class, feature, value });
                }
                for class in [0, c - 1] {
                    let mut case = case.clone();
                    case.model.bias_mut()[class] = T::from_f64(value);
                    let error = error_of(&case);
                    names(&error, 0, NonFinite::Bias { class, value });
                    names(&error_of(&case.clone().sparse(78)), 0, NonFinite::Bias { class, value });
                    says(&error, &["bias", &format!("class {class} is {value}")]);
                }
            }
        }
    }
}

#[test]
fn a_bad_parameter_is_named_f32() {
    parameters::<f32>();
}

#[test]
fn a_bad_parameter_is_named_f64() {
    parameters::<f64>();
}

/// Features before weights before biases.
#[test]
fn of_several_causes_the_first_is_named() {
    let value = f64::NAN;
    for objective in losses() {
        let mut case = Case::<f64>::random(objective, Shape { n: 70, d: 37, c: 10 }, 79);
        case.model.bias_mut()[4] = value;
        names(&error_of(&case), 0, NonFinite::Bias { class: 4, value });
        case.model.weights_mut()[3 * 37 + 11] = value;
        names(&error_of(&case), 0, NonFinite::Weight { class: 3, feature: 11, value });
        *case.feature_mut(0, 36) = value;
        names(&error_of(&case), 0, NonFinite::Feature { feature: 36, value });
    }
}

/// In one row, the score of class 1 is beyond the range; no other class has a score but 0.
/// Minus infinity would cost the loss nothing, and must not pass for it.
fn score<T: Scalar>() {
    let huge = huge::<T>();
    for objective in losses() {
        for (class, label, sign) in [(1, 0, -1.0), (1, 0, 1.0), (1, 1, -1.0), (1, 1, 1.0)] {
            for (n, d, row) in [(1, 1, 0), (70, 37, 52), (6000, 5, 4444)] {
                let mut case = Case::<T>::random(objective.with_l2(0.0), Shape { n, d, c: 3 }, 80);
                case.model = LinearModel::zeros(3, d);
                case.model.weights_mut()[class * d + d - 1] = T::from_f64(1e10);
                case.labels.fill(label);
                *case.feature_mut(row, d - 1) = T::from_f64(sign * huge);
                names(&error_of(&case), row, NonFinite::Score);
            }
        }
    }
}

#[test]
fn a_score_that_overflows() {
    score::<f32>();
    score::<f64>();
}

/// Two scores within the range, whose difference is beyond it: the loss of the wrong label.
fn loss<T: Scalar>() {
    let score = if size_of::<T>() == 4 { 3e38 } else { 1.7e308 };
    for objective in losses() {
        for (n, row) in [(1, 0), (70, 52), (6000, 4444)] {
            let mut case = Case::<T>::random(objective.with_l2(0.0), Shape { n, d: 1, c: 2 }, 81);
            case.model = LinearModel::zeros(2, 1);
            case.model.weights_mut().copy_from_slice(&[score, -score].map(T::from_f64));
            case.x.fill(T::default());
            *case.feature_mut(row, 0) = T::from_f64(1.0);
            case.labels[row] = 1;
            names(&error_of(&case), row, NonFinite::Loss);
        }
    }
}

#[test]
fn a_loss_that_overflows() {
    loss::<f32>();
    loss::<f64>();
}

/// All scores are 0 and every class violates the margin, so that the label's part of the gradient is
/// −129 times the row: beyond the range, even as a mean.
fn gradient<T: Scalar>() {
    for (n, row) in [(1, 0), (20, 13)] {
        let shape = Shape { n, d: 9, c: 130 };
        let mut case = Case::<T>::random(Objective::hinge(1.0), shape, 82);
        case.model = LinearModel::zeros(130, 9);
        *case.feature_mut(row, 7) = T::from_f64(1.5 * huge::<T>());
        names(&error_of(&case), row, NonFinite::Gradient);
    }
}

#[test]
fn a_gradient_that_overflows() {
    gradient::<f32>();
    gradient::<f64>();
}

/// λ ΣW² or 2λW alone, of which no row is guilty; with the loss comes its gradient, or neither.
fn regulariser<T: Scalar>(l2: f64, weight: f64) {
    for objective in [Objective::hinge(1.0), Objective::cross_entropy()] {
        let shape = Shape { n: 5, d: 4, c: 3 };
        let mut case = Case::<T>::random(objective.with_l2(l2), shape, 83);
        case.x.fill(T::default());
        case.model.weights_mut()[7] = T::from_f64(weight);
        for_each_isa(|isa| {
            let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
            let mut gradient = LinearModel::<T>::zeros(3, 4);
            gradient.parameters_mut().fill(T::from_f64(9.5));
            let before = gradient.clone();
            let evaluated =
                evaluator.loss_and_gradient(&case.model, &case.batch(), &mut gradient).unwrap_err();
            // The chunk has nothing wrong with it; it is the end that fails.
            let mut partial = Partial::new(3, 4);
            evaluator.accumulate(&case.model, &case.batch(), &mut partial).unwrap();
            let finished = evaluator.finish(&case.model, &partial, &mut gradient).unwrap_err();
            for error in [&evaluated, &finished] {
                let other = matches!(error, Error::NonFinite { .. } | Error::L2 { .. });
                assert!(!other, "{isa}: {error}");
                let known = ["loss", "gradient", "overflows", "not finite"];
                assert!(known.iter().any(|word| error.to_string().contains(word)), "{error}");
            }
            assert_eq!(gradient, before, "{isa}: the gradient was written");

            let harmless = Case::<T>::random(case.objective, shape, 86);
            let harmless = Case { model: LinearModel::zeros(3, 4), ..harmless };
            let after = try_evaluate(&mut evaluator, &harmless).unwrap();
            assert!(after.bits() == evaluate(isa, &harmless).bits(), "{isa}: after an error");
        });
    }
}

#[test]
fn a_regulariser_that_overflows() {
    // 2λW is beyond f32, while λ ΣW² is within the f64 of the loss.
    regulariser::<f32>(1e20, -1e30);
    // λ ΣW² is beyond f64, while 2λW is within.
    regulariser::<f64>(1.0, 1e200);
    regulariser::<f64>(1e300, -1e100);
}

fn predictions<T: Scalar>() {
    let mut case = Case::<T>::random(Objective::hinge(1.0), Shape { n: 70, d: 37, c: 10 }, 85);
    *case.feature_mut(52, 36) = T::from_f64(f64::NEG_INFINITY);
    let rows = case.batch().features();
    let cause = NonFinite::Feature { feature: 36, value: f64::NEG_INFINITY };
    names(&case.model.scores(rows).unwrap_err(), 52, cause);
    names(&case.model.predict(rows).unwrap_err(), 52, cause);
    names(&case.model.predict_proba(rows).unwrap_err(), 52, cause);

    *case.feature_mut(52, 36) = T::from_f64(0.0);
    case.model.bias_mut()[9] = T::from_f64(f64::NAN);
    let error = case.model.predict(case.batch().features()).unwrap_err();
    names(&error, 0, NonFinite::Bias { class: 9, value: f64::NAN });
}

#[test]
fn predictions_name_the_row_too() {
    predictions::<f32>();
    predictions::<f64>();
}
