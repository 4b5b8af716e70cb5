//! Answers that are known without an oracle: from the definitions, with paper and pencil. They hold
//! on every instruction set, and where the arithmetic is exact they hold exactly.

use crate::common::{
    Case, Random, Shape, evaluate, for_each_isa, losses, max_difference, tolerance,
};
use softmargin::{LinearModel, MatrixView, Objective, Scalar};

fn convert<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// One feature that is always 1 and has weight 0: the scores of every row are the biases.
fn scores_of_one_row<T: Scalar>(objective: Objective, scores: &[f64], label: u32) -> Case<T> {
    let parameters = [&vec![0.0; scores.len()], scores].concat();
    let model = LinearModel::from_parameters(scores.len(), 1, convert(&parameters)).unwrap();
    Case::new(objective, model, &convert(&[1.0]), &[label])
}

/// ε of the element type.
fn epsilon<T: Scalar>() -> f64 {
    if size_of::<T>() == 4 { f32::EPSILON.into() } else { f64::EPSILON }
}

fn zero_model<T: Scalar>() {
    for_each_isa(|isa| {
        for (n, d, c) in [(1, 1, 1), (1, 3, 2), (17, 5, 10), (300, 9, 33), (1000, 20, 130)] {
            let shape = Shape { n, d, c };
            let case = |objective| {
                let mut case = Case::<T>::random(objective, shape, 5);
                case.model.parameters_mut().fill(T::default());
                case
            };
            for margin in [0.0, 0.25, 1.0, 10.0] {
                let got = evaluate(isa, &case(Objective::hinge(margin)));
                assert_eq!(got.loss, margin * (c - 1) as f64, "{shape}, {margin} on {isa}");
                let got = evaluate(isa, &case(Objective::squared_hinge(margin)));
                let squares = margin * margin * (c - 1) as f64;
                assert_eq!(got.loss, squares, "{shape}, {margin}, squared, on {isa}");
                let got = evaluate(isa, &case(Objective::crammer_singer(margin)));
                let largest = if c > 1 { margin } else { 0.0 };
                assert_eq!(got.loss, largest, "{shape}, {margin}, the largest, on {isa}");
            }
            for smoothing in [0.0, 0.1, 1.0] {
                let objective = Objective::cross_entropy().with_label_smoothing(smoothing);
                let got = evaluate(isa, &case(objective));
                let expected = (c as f64).ln();
                let error = (got.loss - expected).abs();
                // Summed over many rows it is rounded more than once.
                let bound = if n == 1 { 2.0 * epsilon::<T>() } else { tolerance::<T>() };
                assert!(error <= bound * expected, "{shape} on {isa}: off by {error:e}");
            }
        }
    });
}

#[test]
fn zero_model_costs_the_margin_or_ln_c() {
    zero_model::<f32>();
    zero_model::<f64>();
}

/// The log-sum-exps of the logits [[0, 0], [a, a]] are ln 2 and a + ln 2. Shifted by the largest
/// score of the batch, rather than of the row, the first would be lost.
fn shift_is_by_row<T: Scalar>() {
    for offset in [100.0, -100.0, 1000.0, -1000.0, 30000.0] {
        let model = LinearModel::from_parameters(2, 1, convert(&[1.0, 1.0, 0.0, 0.0])).unwrap();
        let x = convert::<T>(&[0.0, offset]);
        let whole = Case::new(Objective::cross_entropy(), model, &x, &[0, 1]);
        for_each_isa(|isa| {
            for selection in [None, Some(vec![0]), Some(vec![1])] {
                let case = Case { selection, ..whole.clone() };
                let got = evaluate(isa, &case);
                let error = (got.loss - std::f64::consts::LN_2).abs();
                assert!(error <= epsilon::<T>(), "{offset} on {isa}: off by {error:e}");
            }
        });
        let half = T::from_f64(0.5);
        let rows = MatrixView::new(&x, 2, 1).unwrap();
        assert_eq!(whole.model.predict_proba(rows).unwrap(), [half; 4]);
    }
}

#[test]
fn the_maximum_is_per_row() {
    shift_is_by_row::<f32>();
    shift_is_by_row::<f64>();
}

/// ln(1 + e^−gap), not ln of something rounded to 1.
#[test]
fn confident_and_right_still_costs() {
    for_each_isa(|isa| {
        for gap in 20..=100 {
            let gap = f64::from(gap);
            let expected = (-gap).exp().ln_1p();
            let objective = Objective::cross_entropy();
            for (scores, label) in [([gap, 0.0], 0), ([-0.5 * gap, 0.5 * gap], 1)] {
                let loss = evaluate(isa, &scores_of_one_row::<f64>(objective, &scores, label)).loss;
                let error = (loss - expected).abs() / expected;
                assert!(error <= 1e-14, "gap {gap} on {isa}: {loss:e}, off by {error:e}");
                // Where e^−gap is a normal number of f32.
                if gap <= 87.0 {
                    let case = scores_of_one_row::<f32>(objective, &scores, label);
                    let loss = evaluate(isa, &case).loss;
                    let error = (loss - expected).abs() / expected;
                    assert!(error <= 1e-6, "gap {gap} on {isa}, f32: {loss:e}, off by {error:e}");
                }
            }
        }
        // Confidently wrong costs the gap.
        let case = scores_of_one_row::<f32>(Objective::cross_entropy(), &[1e4, 0.0], 1);
        assert_eq!(evaluate(isa, &case).loss, 1e4);
    });
}

/// s_k − s_y + Δ is exactly 0 for class 1, one unit above for class 2 and below for class 3.
fn kink<T: Scalar>() {
    let unit = 0.125;
    let scores = [3.0, 2.0, 2.0 + unit, 2.0 - unit];
    for_each_isa(|isa| {
        let case = scores_of_one_row::<T>(Objective::hinge(1.0), &scores, 0);
        let got = evaluate(isa, &case);
        assert_eq!(got.loss, unit, "{isa}");
        let expected = convert::<T>(&[-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(got.gradient.bias(), expected, "{isa}");
        assert_eq!(got.gradient.weights(), expected, "{isa}: x = 1");

        // All scores equal, Δ = 0: every class is on the kink of every row.
        let mut case = Case::<T>::random(Objective::hinge(0.0), Shape { n: 70, d: 19, c: 21 }, 3);
        case.model.parameters_mut().fill(T::default());
        let got = evaluate(isa, &case);
        assert_eq!(got.loss, 0.0, "{isa}");
        assert!(got.gradient.parameters().iter().all(|g| g.to_f64() == 0.0), "{isa}");
    });
}

#[test]
fn on_the_kink_the_subgradient_is_zero() {
    kink::<f32>();
    kink::<f64>();
}

/// Twice each violation, and at the label minus their sum: violations of 3, 0 and 1.5.
fn squares<T: Scalar>() {
    for_each_isa(|isa| {
        let scores = [4.0, 2.0, 1.0, 2.5];
        let got = evaluate(isa, &scores_of_one_row::<T>(Objective::squared_hinge(1.0), &scores, 1));
        assert_eq!(got.loss, 9.0 + 2.25, "{isa}");
        let expected = convert::<T>(&[6.0, -9.0, 0.0, 3.0]);
        assert_eq!(got.gradient.bias(), expected, "{isa}");
        assert_eq!(got.gradient.weights(), expected, "{isa}: x = 1");
    });
}

#[test]
fn squared_violations() {
    squares::<f32>();
    squares::<f64>();
}

/// Of equal scores the first one has the subgradient, wherever it is stored, and never the label's.
fn ties<T: Scalar>() {
    for_each_isa(|isa| {
        for c in [2_usize, 3, 10, 33, 40, 130] {
            let places = [0, 1, c / 3, c / 2, c - 2, c - 1];
            for (label, first, second) in places.into_iter().flat_map(|label| {
                places
                    .into_iter()
                    .flat_map(move |first| places.map(|second| (label, first, second)))
            }) {
                if first == label || second < first || second == label {
                    continue;
                }
                let mut scores = vec![-3.0; c];
                (scores[first], scores[second], scores[label]) = (1.5, 1.5, 2.0);
                let objective = Objective::crammer_singer(1.0);
                let got = evaluate(isa, &scores_of_one_row::<T>(objective, &scores, label as u32));
                assert_eq!(got.loss, 0.5);
                let mut expected = vec![0.0; c];
                (expected[first], expected[label]) = (1.0, -1.0);
                let expected = convert::<T>(&expected);
                assert_eq!(got.gradient.bias(), expected, "{first}, {second}, {label} on {isa}");

                // On the kink, and beyond it.
                for of_label in [2.5, 3.0] {
                    scores[label] = of_label;
                    let got =
                        evaluate(isa, &scores_of_one_row::<T>(objective, &scores, label as u32));
                    assert_eq!(got.loss, 0.0);
                    assert!(got.gradient.parameters().iter().all(|g| g.to_f64() == 0.0), "{isa}");
                }
            }
        }
    });
}

#[test]
fn the_first_of_equal_violations() {
    ties::<f32>();
    ties::<f64>();
}

/// With ε = 1 the label makes no difference; the probabilities that are asked for have no loss but their entropy.
#[test]
fn smoothed_labels() {
    let scores = [0.5, -1.0, 0.0, 0.25];
    let asked = [0.925_f64, 0.025, 0.025, 0.025];
    for_each_isa(|isa| {
        let objective = Objective::cross_entropy().with_label_smoothing(1.0);
        let all =
            [0, 1, 2, 3].map(|y| evaluate(isa, &scores_of_one_row::<f64>(objective, &scores, y)));
        for other in &all {
            assert!((other.loss - all[0].loss).abs() < 1e-15, "{isa}");
            let first: Vec<f64> = all[0].gradient.parameters().to_vec();
            assert!(max_difference(other.gradient.parameters(), &first) < 1e-15, "{isa}");
        }
        let objective = Objective::cross_entropy().with_label_smoothing(0.1);
        let got = evaluate(isa, &scores_of_one_row::<f64>(objective, &asked.map(f64::ln), 0));
        let entropy: f64 = asked.iter().map(|q| -q * q.ln()).sum();
        assert!((got.loss - entropy).abs() < 1e-15, "{isa}");
        assert!(got.gradient.parameters().iter().all(|g| g.abs() < 1e-15), "{isa}");
    });
}

fn single_class<T: Scalar>() {
    for objective in losses() {
        let shape = Shape { n: 37, d: 19, c: 1 };
        let l2 = 0.25;
        let case = Case::<T>::random(objective.with_l2(l2), shape, 11);
        let plain = Case { objective, ..case.clone() };
        let expected: Vec<f64> =
            case.model.weights().iter().map(|w| 2.0 * l2 * w.to_f64()).collect();
        let squares: f64 = case.model.weights().iter().map(|w| w.to_f64() * w.to_f64()).sum();
        for_each_isa(|isa| {
            let got = evaluate(isa, &plain);
            assert_eq!(got.loss, 0.0, "{objective:?} on {isa}");
            assert!(got.gradient.parameters().iter().all(|g| g.to_f64() == 0.0), "{isa}");

            let got = evaluate(isa, &case);
            assert!((got.loss - l2 * squares).abs() <= tolerance::<T>() * l2 * squares, "{isa}");
            assert_eq!(max_difference(got.gradient.weights(), &expected), 0.0, "{isa}");
            assert_eq!(got.gradient.bias()[0].to_f64(), 0.0, "{isa}");
        });
    }
}

#[test]
fn one_class_costs_nothing_but_its_weights() {
    single_class::<f32>();
    single_class::<f64>();
}

#[test]
fn the_bias_is_not_regularised() {
    for_each_isa(|isa| {
        let case = scores_of_one_row::<f64>(Objective::hinge(1.0).with_l2(10.0), &[50.0, 0.0], 0);
        let got = evaluate(isa, &case);
        assert_eq!(got.loss, 0.0, "{isa}");
        assert_eq!(got.gradient.bias(), [0.0, 0.0], "{isa}");
    });
}

fn predictions<T: Scalar>() {
    let model = LinearModel::<T>::from_parameters(
        3,
        2,
        convert(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
    )
    .unwrap();
    let x = convert::<T>(&[2.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 3.0, -1.0, -1.0, -2.0, 1.0]);
    let rows = MatrixView::new(&x, 6, 2).unwrap();
    let scores = [
        [2.0, 2.0, 4.0],
        [0.0, 0.0, 0.0],
        [1.0, 0.0, 1.0],
        [0.0, 3.0, 3.0],
        [-1.0, -1.0, -2.0],
        [-2.0, 1.0, -1.0],
    ];
    assert_eq!(model.scores(rows).unwrap(), convert::<T>(&scores.concat()));
    assert_eq!(model.predict(rows).unwrap(), [2, 0, 0, 1, 0, 1]);
}

#[test]
fn ties_go_to_the_first() {
    predictions::<f32>();
    predictions::<f64>();
}

fn probabilities<T: Scalar>() {
    for (c, scale) in [(1, 1.0), (2, 1.0), (10, 30.0), (130, 300.0)] {
        let mut case =
            Case::<T>::random(Objective::cross_entropy(), Shape { n: 50, d: 7, c }, c as u64);
        for p in case.model.parameters_mut() {
            *p = T::from_f64(p.to_f64() * scale);
        }
        let rows = case.batch().features();
        let scores = case.model.scores(rows).unwrap();
        let p = case.model.predict_proba(rows).unwrap();
        for (p, scores) in p.chunks_exact(c).zip(scores.chunks_exact(c)) {
            let sum: f64 = p.iter().map(|p| p.to_f64()).sum();
            assert!((sum - 1.0).abs() <= 10.0 * epsilon::<T>(), "{c} classes: {sum}");
            for (p, s) in p.iter().zip(scores) {
                let total: f64 = scores.iter().map(|t| (t.to_f64() - s.to_f64()).exp()).sum();
                assert!((p.to_f64() * total - 1.0).abs() <= 1e-5 || 1.0 / total < 1e-35);
            }
        }
    }
}

#[test]
fn probabilities_are_the_softmax() {
    probabilities::<f32>();
    probabilities::<f64>();
}

/// Whole-number sample weights are repetitions, zero is absence, and only ratios count.
fn weights<T: Scalar>() {
    let shape = Shape { n: 90, d: 21, c: 7 };
    for objective in losses().map(|objective| objective.with_l2(0.1)) {
        let case = Case::<T>::random(objective, shape, 23);
        let mut random = Random::new(5);
        let counts: Vec<usize> = (0..shape.n).map(|_| random.below(4)).collect();
        let weights: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        let repeats = (0..shape.n).flat_map(|i| std::iter::repeat_n(i as u32, counts[i])).collect();
        let repeated = Case { selection: Some(repeats), ..case.clone() };
        for_each_isa(|isa| {
            let expected = evaluate(isa, &repeated);
            let expected_gradient: Vec<f64> =
                expected.gradient.parameters().iter().map(|g| g.to_f64()).collect();
            for scale in [1.0, 1024.0, 0.0009765625, 3.0] {
                let scaled: Vec<f64> = weights.iter().map(|weight| scale * weight).collect();
                let got = evaluate(isa, &case.clone().weighted(&convert(&scaled)));
                let tolerance = 4.0 * tolerance::<T>();
                let error = (got.loss - expected.loss).abs();
                assert!(
                    error <= tolerance * expected.loss,
                    "× {scale} on {isa}: loss off {error:e}"
                );
                let error = max_difference(got.gradient.parameters(), &expected_gradient);
                assert!(error <= tolerance, "× {scale} on {isa}: gradient off {error:e}");
            }
            let weighted_by_one = case.clone().weighted(&convert(&vec![1.0; shape.n]));
            let (one, none) = (evaluate(isa, &weighted_by_one), evaluate(isa, &case));
            let none_gradient: Vec<f64> =
                none.gradient.parameters().iter().map(|g| g.to_f64()).collect();
            assert!((one.loss - none.loss).abs() <= tolerance::<T>() * none.loss);
            assert!(max_difference(one.gradient.parameters(), &none_gradient) <= tolerance::<T>());
        });
    }
}

#[test]
fn sample_weights_are_repetitions() {
    weights::<f32>();
    weights::<f64>();
}
