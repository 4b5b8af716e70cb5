//! Features in other types than the one that is computed in give the bits of their widened copy: on every
//! instruction set, by every plan, in every layout; and they are wrong where the copy is.

use crate::common::{Case, Evaluated, Shape, Stored, for_each_isa, with_threads};
use softmargin::{
    Batch, Error, Evaluator, Features, Isa, LinearModel, MatrixView, NonFinite, Objective,
    Predictor, Scalar,
};

/// Short rows as columns, rows, panels; whole vectors and tails of all lengths; several tasks.
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (3, 2, 2),
    (37, 5, 3),
    (300, 16, 26),
    (70, 31, 20),
    (257, 33, 5),
    (1100, 32, 2),
    (100, 784, 10),
    (60, 77, 13),
    (23, 3072, 3),
    (130, 70, 40),
    (260, 50, 100),
];

fn bits<T: Scalar>(isa: Isa, model: &LinearModel<T>, batch: &Batch<'_, T>) -> Vec<u64> {
    let mut gradient = LinearModel::zeros(model.n_classes(), model.n_features());
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3)).with_isa(isa);
    let loss = evaluator.loss_and_gradient(model, batch, &mut gradient).unwrap();
    let predictor = Predictor::new(model).with_isa(isa);
    let scores = predictor.scores(batch).unwrap().into_iter().map(|score| score.to_f64().to_bits());
    let accuracy = predictor.accuracy(batch).unwrap();
    let evaluated = Evaluated { loss, gradient };
    evaluated.bits().into_iter().chain(scores).chain([accuracy.to_bits()]).collect()
}

/// Evaluates every shape in every layout, the features, `unit` times as large, rounded to what `E` has, as they are and
/// widened.
fn same_bits<E: Stored, T: Scalar>(unit: f64)
where
    for<'a> MatrixView<'a, E>: Into<Features<'a, T>>,
{
    for (seed, &(n, d, c)) in SHAPES.iter().enumerate() {
        let (seed, shape) = (seed as u64, Shape { n, d, c });
        let case = Case::<T>::random(Objective::cross_entropy(), shape, 100 + seed);
        for (layout, case) in case.rounded::<E>(unit).dense_layouts(seed) {
            let stored = case.stored::<E>();
            let (batch, widened) = (case.batch_of(&stored), case.batch());
            for_each_isa(|isa| {
                let (got, expected) =
                    (bits(isa, &case.model, &batch), bits(isa, &case.model, &widened));
                assert!(got == expected, "{} {shape} {layout} {isa}", std::any::type_name::<E>());
            });
        }
    }
}

#[test]
fn bytes_as_f32() {
    with_threads(2, || {
        same_bits::<u8, f32>(40.0);
        same_bits::<i8, f32>(40.0);
    });
}

#[test]
fn bytes_as_f64() {
    with_threads(2, || {
        same_bits::<u8, f64>(40.0);
        same_bits::<i8, f64>(40.0);
    });
}

#[test]
fn singles_as_f64() {
    with_threads(2, || same_bits::<f32, f64>(1.0));
}

#[cfg(feature = "half")]
mod halves {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn as_f32() {
        with_threads(2, || {
            same_bits::<f16, f32>(1.0);
            same_bits::<bf16, f32>(1.0);
        });
    }

    #[test]
    fn as_f64() {
        with_threads(2, || {
            same_bits::<f16, f64>(1.0);
            same_bits::<bf16, f64>(1.0);
        });
    }

    /// The subnormal numbers of f16 are none of f32.
    #[test]
    fn subnormal() {
        let case = Case::<f32>::random(Objective::hinge(1.0), Shape { n: 40, d: 7, c: 4 }, 3);
        let x: Vec<f16> = (0..280).map(|i| f16::from_bits(i * 3 + 1)).collect();
        let wide: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
        assert!(x[0].to_f64() == 2f64.powi(-24) && wide.iter().all(|x| *x > 0.0));
        for_each_isa(|isa| {
            let [got, expected] = [case.batch_of(&x), case.batch_of(&wide)]
                .map(|batch| bits(isa, &case.model, &batch));
            assert_eq!(got, expected, "{isa}");
        });
    }

    /// The first value that is not finite is named, as in the copy, and the gradient is not touched.
    #[test]
    fn not_finite() {
        for (value, name) in
            [(f16::NAN, "NaN"), (f16::INFINITY, "inf"), (f16::NEG_INFINITY, "-inf")]
        {
            for c in [3, 40] {
                let shape = Shape { n: 90, d: 35, c };
                let case = Case::<f32>::random(Objective::cross_entropy(), shape, 5);
                for case in [case.clone(), case.column_major(0)] {
                    let mut stored = case.stored::<f16>();
                    let at = if case.columns.is_some() { 11 * 90 + 71 } else { 71 * 35 + 11 };
                    stored[at] = value;
                    let batch = case.batch_of(&stored);
                    for_each_isa(|isa| {
                        let mut gradient = LinearModel::zeros(c, 35);
                        let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
                        let error = evaluator
                            .loss_and_gradient(&case.model, &batch, &mut gradient)
                            .unwrap_err();
                        let text = format!("row 71: feature 11 is {name}");
                        assert_eq!(error.to_string(), text, "{isa}");
                        assert_eq!(gradient, LinearModel::zeros(c, 35));
                        let scores = Predictor::new(&case.model).with_isa(isa).scores(&batch);
                        assert_eq!(scores.unwrap_err().to_string(), text);
                    });
                }
            }
        }
    }
}

/// A matrix is named by its type, and read by it.
#[test]
fn what_is_stored() {
    let x = [1_u8, 2, 250, 4];
    let features: Features<'_, f32> = MatrixView::new(&x, 2, 2).unwrap().into();
    assert_eq!((features.rows(), features.cols()), (2, 2));
    assert_eq!(features.row(1), Some(vec![250.0, 4.0]));
    assert_eq!((features.row(2), features.matrix().is_none()), (None, true));
    let last = features.slice_rows(1..2).unwrap();
    assert_eq!((last.rows(), last.row(0)), (1, Some(vec![250.0, 4.0])));
    assert!(features.slice_rows(1..3).is_none());
    let wide = [1.0_f32, 2.0];
    let features: Features<'_, f64> = MatrixView::new(&wide, 1, 2).unwrap().into();
    assert_eq!(features.row(0), Some(vec![1.0, 2.0]));
    let features: Features<'_, f32> = MatrixView::new(&wide, 1, 2).unwrap().into();
    assert_eq!(features.matrix().unwrap().row(0), Some(&wide[..]));
}

/// A byte times the largest weight is no number: the row is named.
#[test]
fn overflow() {
    let model = LinearModel::from_parameters(1, 1, vec![f32::MAX, 0.0]).unwrap();
    let x = [0_u8, 1, 2];
    let batch = Batch::new(MatrixView::new(&x, 3, 1).unwrap(), &[0; 3]).unwrap();
    let error = Evaluator::new(Objective::hinge(1.0)).loss(&model, &batch).unwrap_err();
    assert_eq!(error, Error::NonFinite { row: 2, cause: NonFinite::Score });
}
