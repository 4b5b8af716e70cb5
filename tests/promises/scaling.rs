//! Scaled on the way: the features are x′ = (x − shift) scale, as exact as those of a scaled copy, in every layout and
//! of every type that they are stored in, however far from 0 they lie.

use crate::common::{
    Case, Evaluated, Random, Scales, Shape, Stored, check_against_oracle, for_each_isa,
    for_each_threads, max_difference, tolerance, with_threads,
};
use softmargin::{
    Batch, Error, Evaluator, Features, Isa, LinearModel, MatrixView, NonFinite, Objective,
    Predictor, Scalar, Scaling, reference,
};

fn evaluate<T: Scalar>(
    isa: Isa,
    objective: Objective,
    model: &LinearModel<T>,
    batch: &Batch<'_, T>,
) -> Evaluated<T> {
    let mut gradient = LinearModel::zeros(model.n_classes(), model.n_features());
    let mut evaluator = Evaluator::new(objective).with_isa(isa);
    let loss = evaluator.loss_and_gradient(model, batch, &mut gradient).unwrap();
    assert_eq!(evaluator.loss(model, batch).unwrap().to_bits(), loss.to_bits());
    Evaluated { loss, gradient }
}

/// Short rows as columns, rows, and panels.
const SHAPES: [Shape; 6] = [
    Shape { n: 1, d: 1, c: 2 },
    Shape { n: 300, d: 5, c: 3 },
    Shape { n: 130, d: 31, c: 20 },
    Shape { n: 700, d: 33, c: 5 },
    Shape { n: 90, d: 784, c: 10 },
    Shape { n: 130, d: 70, c: 40 },
];

/// Features far from 0, as measured by how they vary, against the definition in `f64`.
fn far_from_zero<T: Scalar>(away: f64) {
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        let seed = seed as u64;
        let objective = Objective::cross_entropy().with_l2(1e-3);
        let mut case = Case::<T>::random(objective, shape, seed);
        let mut random = Random::new(seed);
        let deviations: Vec<f64> = (0..shape.d).map(|_| (3.0 * random.normal()).exp()).collect();
        let shift: Vec<f64> = deviations.iter().map(|d| d * away * random.normal()).collect();
        for (row, i) in case.x.chunks_exact_mut(shape.d).zip(0_u64..) {
            let mut random = Random::new(i);
            for ((x, deviation), shift) in row.iter_mut().zip(&deviations).zip(&shift) {
                *x = T::from_f64(shift + deviation * random.normal());
            }
        }
        let scale: Vec<f64> = deviations.iter().map(|deviation| deviation.recip()).collect();
        let scaling = Scaling::new(&shift, &scale).unwrap();
        for (_, case) in case.dense_layouts(seed) {
            let batch = case.batch().with_scaling(&scaling).unwrap();
            let expected = reference::loss_and_gradient(&case.objective, &case.model, &batch);
            // The scales of the promise, for the features that are computed with.
            let mut scaled = case.clone();
            scaled.columns = None;
            for row in case.sample_rows() {
                let x = batch.features().row(row).unwrap();
                scaled.x[row * case.stride..][..shape.d].copy_from_slice(&x);
            }
            let scales = Scales::new(&scaled, &expected);
            for_each_isa(|isa| {
                let got = evaluate(isa, case.objective, &case.model, &batch);
                let context = format!("{shape}, {away} deviations away, on {isa}");
                scales.check(&got, &expected, tolerance::<T>(), &context);
                // A copy that is scaled is no better.
                check_against_oracle(&scaled, &crate::common::evaluate(isa, &scaled), &context);
            });
        }
    }
}

#[test]
fn as_exact_as_a_copy_f32() {
    for away in [0.0, 1.0, 1e4] {
        far_from_zero::<f32>(away);
    }
}

#[test]
fn as_exact_as_a_copy_f64() {
    for away in [0.0, 1e4] {
        far_from_zero::<f64>(away);
    }
}

/// What is stored in another type has the bits of its widened copy, scaled, too.
fn stored<E: Stored, T: Scalar>()
where
    for<'a> MatrixView<'a, E>: Into<Features<'a, T>>,
{
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        let mut case = Case::<T>::random(Objective::cross_entropy(), shape, seed as u64);
        case.x.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() + 2.5));
        let case = case.rounded::<E>(40.0);
        let scaling = Scaling::standardize(&case.batch()).unwrap();
        for (_, case) in case.dense_layouts(seed as u64) {
            let x = case.stored::<E>();
            let narrow = case.batch_of(&x).with_scaling(&scaling).unwrap();
            let wide = case.batch().with_scaling(&scaling).unwrap();
            for_each_isa(|isa| {
                let [got, expected] =
                    [narrow, wide].map(|b| evaluate(isa, case.objective, &case.model, &b).bits());
                assert!(got == expected, "{} {shape} {isa}", std::any::type_name::<E>());
            });
        }
    }
}

#[test]
fn of_what_is_stored() {
    with_threads(2, || {
        stored::<u8, f32>();
        stored::<i8, f64>();
        stored::<f32, f64>();
        #[cfg(feature = "half")]
        stored::<half::f16, f32>();
        #[cfg(feature = "half")]
        stored::<half::bf16, f32>();
    });
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    let objective = Objective::cross_entropy();
    let case = Case::<f32>::random(objective, Shape { n: 5000, d: 100, c: 10 }, 4);
    let scaling = Scaling::standardize(&case.batch()).unwrap();
    let batch = case.batch().with_scaling(&scaling).unwrap();
    for_each_isa(|isa| {
        let expected = evaluate(isa, objective, &case.model, &batch).bits();
        for_each_threads(&[1, 2, 3, 8], |_| {
            assert!(evaluate(isa, objective, &case.model, &batch).bits() == expected);
        });
    });
}

/// By a power of two, all bits are those of the scaled copy, and of the model that is scaled instead.
#[test]
fn by_a_power_of_two() {
    let case = Case::<f32>::random(Objective::cross_entropy(), Shape { n: 40, d: 33, c: 5 }, 4);
    let mut scaled = case.clone();
    scaled.x.iter_mut().for_each(|x| *x *= 0.25);
    let scaling = Scaling::by(0.25);
    let batch = case.batch().with_scaling(&scaling).unwrap();
    for_each_isa(|isa| {
        let got = evaluate(isa, case.objective, &case.model, &batch).bits();
        assert_eq!(got, crate::common::evaluate(isa, &scaled).bits(), "{isa}");
        let predict = |batch: &Batch<'_, f32>| {
            Predictor::new(&case.model).with_isa(isa).predict_proba(batch).unwrap()
        };
        assert_eq!(predict(&batch), predict(&scaled.batch()));
    });
    assert_eq!(
        case.model.predict(batch.features()).unwrap(),
        case.model.predict(&scaled.batch()).unwrap()
    );
}

#[test]
fn standardized() {
    let case = Case::<f64>::random(Objective::cross_entropy(), Shape { n: 500, d: 7, c: 3 }, 9)
        .selected(1);
    let scaling = Scaling::standardize(&case.batch()).unwrap();
    let batch = case.batch().with_scaling(&scaling).unwrap();
    for feature in 0..7 {
        let column = || case.sample_rows().map(|row| batch.features().row(row).unwrap()[feature]);
        let (sum, squares) = (column().sum::<f64>(), column().map(|x| x * x).sum::<f64>());
        assert!(sum.abs() < 1e-10 && (squares / 500.0 - 1.0).abs() < 1e-12, "{sum} {squares}");
    }
    // What a sample counts does not matter, and neither does another scaling.
    let by = Scaling::by(3.0);
    let other = case.clone().randomly_weighted(2);
    let other = other.batch().with_scaling(&by).unwrap();
    assert_eq!(Scaling::standardize(&other).unwrap(), scaling);
}

/// A feature that does not vary, but for the round-off of the type, adds nothing.
#[test]
fn constants() {
    for value in [14.62_f32, 0.1, -1e30, 1e-30, 0.0, f32::MAX] {
        let x: Vec<f32> = (0..100)
            .flat_map(|i| [value, if i % 2 == 0 { value } else { value.next_down() }, i as f32])
            .collect();
        let batch = Batch::<f32>::new(MatrixView::new(&x, 100, 3).unwrap(), &[0; 100]).unwrap();
        let scaling = Scaling::standardize(&batch).unwrap();
        assert_eq!((scaling.scale(0), scaling.n_features()), (0.0, Some(3)), "{value}");
        assert_eq!(scaling.scale(1), 0.0, "{value}");
        assert!((scaling.shift(2) - 49.5).abs() < 1e-12 && scaling.scale(2) > 0.03);
        let row = batch.with_scaling(&scaling).unwrap().features().row(99).unwrap();
        assert_eq!(row[0], 0.0);
    }
    let pixels = [7_u8, 1, 7, 3];
    let batch = Batch::<f64>::new(MatrixView::new(&pixels, 2, 2).unwrap(), &[0, 1]).unwrap();
    let scaling = Scaling::standardize(&batch).unwrap();
    assert_eq!([0, 1].map(|l| (scaling.shift(l), scaling.scale(l))), [(7.0, 0.0), (2.0, 1.0)]);
}

#[test]
fn a_value_that_is_not_finite_is_named() {
    let x = [1.0_f32, 2.0, 1.0, f32::NAN, 2.0, f32::INFINITY];
    let batch = Batch::<f32>::new(MatrixView::new(&x, 3, 2).unwrap(), &[0; 3]).unwrap();
    let text = |error: Error| error.to_string();
    assert_eq!(text(Scaling::standardize(&batch).unwrap_err()), "row 1: feature 1 is NaN");
    let scaling = Scaling::new([1.0, 1.0], [1.0, 0.0]).unwrap();
    let batch = batch.with_scaling(&scaling).unwrap().select(&[0, 2, 1]).unwrap();
    let mut gradient = LinearModel::zeros(2, 2);
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let error = evaluator.loss_and_gradient(&LinearModel::zeros(2, 2), &batch, &mut gradient);
    assert_eq!(text(error.unwrap_err()), "row 2: feature 1 is inf");
}

/// What is finite as it is stored, and too large once it is scaled.
#[test]
fn an_overflow_of_the_scaling_is_named() {
    let x = [1.0_f32, 2.0, 1.0, 3e38, -2e38, 1.0];
    let batch = Batch::<f32>::new(MatrixView::new(&x, 3, 2).unwrap(), &[0; 3]).unwrap();
    let by = Scaling::by(2.0);
    let batch = batch.with_scaling(&by).unwrap();
    let model = LinearModel::zeros(2, 2);
    for_each_isa(|isa| {
        let mut evaluator = Evaluator::new(Objective::cross_entropy()).with_isa(isa);
        let mut error_of = |batch| evaluator.loss(&model, &batch).unwrap_err();
        let cause = NonFinite::Scaled { feature: 1, value: f64::from(3e38_f32) };
        assert_eq!(error_of(batch), Error::NonFinite { row: 1, cause });
        let cause = NonFinite::Scaled { feature: 0, value: f64::from(-2e38_f32) };
        let error = error_of(batch.select(&[0, 2, 1]).unwrap());
        assert_eq!(error, Error::NonFinite { row: 2, cause });
        assert!(error.to_string().ends_with(", and overflows as it is scaled"), "{error}");
    });
}

/// The sums of a million rows far from 0 stay as exact.
#[test]
fn at_scale() {
    let (n, d, c) = (200_000, 4, 3);
    let mut random = Random::new(3);
    let x: Vec<f32> =
        (0..n * d).map(|i| (1e4 * (1 + i % d) as f64 + random.normal()) as f32).collect();
    let labels: Vec<u32> = (0..n).map(|_| random.below(c) as u32).collect();
    let batch = Batch::<f32>::new(MatrixView::new(&x, n, d).unwrap(), &labels).unwrap();
    let scaling = Scaling::standardize(&batch).unwrap();
    let parameters: Vec<f32> = (0..c * (d + 1)).map(|_| random.normal() as f32).collect();
    let model = LinearModel::from_parameters(c, d, parameters).unwrap();
    let batch = batch.with_scaling(&scaling).unwrap();
    let expected = reference::loss_and_gradient(&Objective::cross_entropy(), &model, &batch);
    let largest = expected.weights.iter().fold(0.0_f64, |max, w| max.max(w.abs()));
    for_each_isa(|isa| {
        let got = evaluate(isa, Objective::cross_entropy(), &model, &batch);
        let error = max_difference(got.gradient.weights(), &expected.weights) / largest;
        assert!(error < 1e-7, "{isa}: {error:e}");
        assert!((got.loss / expected.loss - 1.0).abs() < 1e-7);
    });
}
