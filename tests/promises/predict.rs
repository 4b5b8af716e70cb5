//! Predictions: those that the oracle's scores ask for, for matrices and selections, rows and columns, few
//! classes and many, on every instruction set and any number of threads; and nothing else is looked at.

use crate::common::{Case, Random, Shape, for_each_isa, for_each_threads, tolerance};
use softmargin::{
    Batch, Error, LinearModel, MatrixView, Objective, Predictor, Scalar,
    reference::{self, sample_loss},
};

/// Every path: few classes and many, short rows and long ones, one block and several jobs.
const SHAPES: [Shape; 8] = [
    Shape { n: 1, d: 1, c: 1 },
    Shape { n: 7, d: 3, c: 2 },
    Shape { n: 300, d: 40, c: 3 },
    Shape { n: 1000, d: 5, c: 17 },
    Shape { n: 530, d: 9, c: 32 },
    Shape { n: 530, d: 70, c: 33 },
    Shape { n: 100, d: 33, c: 130 },
    Shape { n: 20_000, d: 2, c: 3 },
];

fn first_of_the_largest(scores: &[f64]) -> u32 {
    (0..scores.len()).fold(0, |best, k| if scores[k] > scores[best] { k } else { best }) as u32
}

fn as_the_oracle<T: Scalar>() {
    for shape in SHAPES {
        let case = Case::<T>::random(Objective::cross_entropy(), shape, 7);
        for (layout, case) in case.layouts(7) {
            let batch = case.batch();
            let scores = |row| reference::scores(&case.model, case.row(row));
            let oracle: Vec<Vec<f64>> = case.sample_rows().map(scores).collect();
            for_each_isa(|isa| {
                let context = format!("{shape}, {layout} on {isa}");
                let predictor = Predictor::new(&case.model).with_isa(isa);
                let scores = predictor.scores(&batch).unwrap();
                let labels = predictor.predict(&batch).unwrap();
                let proba = predictor.predict_proba(&batch).unwrap();
                assert_eq!(scores.len(), oracle.len() * shape.c, "{context}");
                assert_eq!((labels.len(), proba.len()), (oracle.len(), scores.len()), "{context}");
                let ours = scores.chunks_exact(shape.c).zip(proba.chunks_exact(shape.c));
                for ((expected, (scores, proba)), label) in oracle.iter().zip(ours).zip(labels) {
                    let scores: Vec<f64> = scores.iter().map(|s| s.to_f64()).collect();
                    for (score, expected) in scores.iter().zip(expected) {
                        let bound = 20.0 * tolerance::<T>();
                        assert!(
                            (score - expected).abs() <= bound,
                            "{context}: {score}, {expected}"
                        );
                    }
                    assert_eq!(label, first_of_the_largest(&scores), "{context}");
                    for (k, p) in proba.iter().enumerate() {
                        let loss = sample_loss(&Objective::cross_entropy(), &scores, k).0;
                        let error = (p.to_f64().ln() + loss).abs();
                        assert!(error <= 20.0 * tolerance::<T>(), "{context}: off by {error:e}");
                    }
                }
            });
        }
    }
}

#[test]
fn scores_labels_and_probabilities_are_the_oracles() {
    as_the_oracle::<f32>();
    as_the_oracle::<f64>();
}

#[test]
fn the_first_of_equal_scores() {
    for c in [2, 5, 40, 200] {
        // All scores are equal, but for those of the last class in odd rows.
        let mut model = LinearModel::<f32>::zeros(c, 3);
        model.weights_mut()[3 * (c - 1)] = 1.0;
        let x: Vec<f32> = (0..900).map(|i| if i % 6 == 3 { 1.0 } else { 0.0 }).collect();
        let x = MatrixView::new(&x, 300, 3).unwrap();
        for_each_isa(|isa| {
            let labels = Predictor::new(&model).with_isa(isa).predict(x).unwrap();
            let expected = |(i, label): (usize, &u32)| *label as usize == (i % 2) * (c - 1);
            assert!(labels.iter().enumerate().all(expected), "{c} classes on {isa}: {labels:?}");
        });
    }
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    for shape in [Shape { n: 5000, d: 20, c: 5 }, Shape { n: 2000, d: 64, c: 40 }] {
        let case = Case::<f32>::random(Objective::cross_entropy(), shape, 3).randomly_weighted(4);
        let predict = || {
            let predictor = Predictor::new(&case.model);
            let proba = predictor.predict_proba(&case.batch()).unwrap();
            (proba, predictor.accuracy(&case.batch()).unwrap())
        };
        let expected = predict();
        for_each_threads(&[1, 2, 7], |threads| {
            assert!(predict() == expected, "{shape}, {threads} threads");
        });
    }
}

/// Σ w of the samples predicted right, over Z. The rows that are not selected are NaN, have labels that are no
/// classes and weigh more than all others.
#[test]
fn accuracy_of_the_selection_by_weight() {
    for shape in SHAPES {
        let case = Case::<f32>::random(Objective::cross_entropy(), shape, 5).randomly_weighted(6);
        for (variant, mut case) in [
            ("all", case.clone()),
            ("selected", case.clone().selected(8)),
            ("columns", case.clone().selected(9).column_major(0)),
            ("unweighted", Case { sample_weights: None, ..case.selected(10) }),
        ] {
            let labels = case.model.predict(&case.batch()).unwrap();
            let rows: Vec<usize> = case.sample_rows().collect();
            let mut random = Random::new(11);
            for (row, label) in rows.iter().zip(&labels) {
                // The right one, another one, or none of the model.
                case.labels[*row] = label + [0, 0, 1, 100][random.below(4)];
            }
            let weight =
                |row: usize| case.sample_weights.as_ref().map_or(1.0, |w| f64::from(w[row]));
            let all: f64 = rows.iter().map(|row| weight(*row)).sum();
            let right =
                rows.iter().zip(&labels).filter(|(row, label)| case.labels[**row] == **label);
            let right: f64 = right.map(|(row, _)| weight(*row)).sum();
            for_each_isa(|isa| {
                let predictor = Predictor::new(&case.model).with_isa(isa);
                let accuracy = predictor.accuracy(&case.batch()).unwrap();
                let error = (accuracy - right / all).abs();
                assert!(error < 1e-14, "{shape}, {variant} on {isa}: {accuracy}, {right} / {all}");
            });
        }
    }
}

#[test]
fn no_rows_and_rows_of_another_model() {
    let model = LinearModel::<f32>::zeros(3, 2);
    let none = MatrixView::<f32>::new(&[], 0, 2).unwrap();
    assert_eq!(model.scores(none), Ok(vec![]));
    assert_eq!(model.predict(none), Ok(vec![]));
    assert_eq!(model.predict_proba(none), Ok(vec![]));
    let batch = Batch::new(MatrixView::new(&[0.0_f32; 3], 1, 3).unwrap(), &[0]).unwrap();
    let expected = Error::Features { model: 2, data: 3 };
    assert_eq!(model.predict(&batch), Err(expected.clone()));
    assert_eq!(Predictor::new(&model).accuracy(&batch), Err(expected));
    let none = LinearModel::<f32>::zeros(0, 3);
    assert_eq!(Predictor::new(&none).accuracy(&batch), Err(Error::NoClasses));
}
