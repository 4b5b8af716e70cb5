//! Hessian products: against the oracle and against differences of gradients, on every instruction set, in every
//! layout, with the same bits on any number of threads; and their errors.

use crate::common::case::has_kinks;
use crate::common::failure::says;
use crate::common::{
    Case, Shape, for_each_isa, for_each_threads, losses, max_abs, max_difference, tolerance,
};
use softmargin::{
    Error, Evaluator, Isa, LinearModel, Loss, NonFinite, Objective, Scalar, reference,
};

fn smooth() -> [Objective; 3] {
    [
        Objective::cross_entropy().with_l2(0.1),
        Objective::cross_entropy().with_label_smoothing(0.2),
        Objective::squared_hinge(1.0).with_l2(0.01),
    ]
}

/// Those for models of so many rows.
fn smooth_of(n_rows: usize) -> Vec<Objective> {
    let binary =
        [Objective::logistic().with_l2(0.1), Objective::binary_squared_hinge(1.0).with_l2(0.01)];
    smooth().into_iter().chain(binary.into_iter().filter(|_| n_rows == 1)).collect()
}

/// A case and a direction. In f32 the scores by the squared hinge are exact, so that no rounding decides about a
/// margin.
fn problem<T: Scalar>(objective: Objective, shape: Shape, seed: u64) -> (Case<T>, LinearModel<T>) {
    let of_scores = match objective.loss() {
        Loss::SquaredHinge { margin } => Objective::hinge(margin),
        Loss::BinarySquaredHinge { margin } => Objective::binary_hinge(margin),
        _ => objective,
    };
    let case = Case { objective, ..Case::random(of_scores, shape, seed) };
    (case, Case::random(objective, shape, seed ^ 77).model)
}

/// The product, into a model full of NaN.
fn try_product<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    case: &Case<T>,
    direction: &LinearModel<T>,
) -> Result<LinearModel<T>, Error> {
    let mut product = direction.clone();
    product.parameters_mut().fill(T::from_f64(f64::NAN));
    evaluator.hessian_product(&case.model, &case.batch(), direction, &mut product)?;
    Ok(product)
}

fn product<T: Scalar>(isa: Isa, case: &Case<T>, direction: &LinearModel<T>) -> LinearModel<T> {
    let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
    try_product(&mut evaluator, case, direction).unwrap()
}

#[track_caller]
fn check<T: Scalar>(case: &Case<T>, direction: &LinearModel<T>, context: &str) {
    let (objective, model) = (case.objective, &case.model);
    let expected = reference::hessian_product(&objective, model, &case.batch(), direction);
    let scale = case.product_scale(direction);
    for_each_isa(|isa| {
        let got = product(isa, case, direction);
        let error = max_difference(got.parameters(), &expected) / scale;
        assert!(error <= tolerance::<T>(), "{context}, {objective:?} on {isa}: off by {error:e}");
    });
}

fn shapes<T: Scalar>() {
    let mut shapes = Vec::new();
    for n in [1, 17, 300] {
        for d in [1, 5, 33, 70] {
            shapes.extend([1, 2, 5, 10, 17, 37, 130].map(|c| Shape { n, d, c }));
        }
    }
    shapes.extend([(2049, 5, 3), (65, 1025, 17), (450, 520, 510)].map(|(n, d, c)| Shape {
        n,
        d,
        c,
    }));
    for (i, shape) in shapes.into_iter().enumerate() {
        let objectives = smooth_of(shape.c);
        for objective in objectives[3..].iter().chain([&objectives[i % 3]]) {
            let (case, direction) = problem::<T>(*objective, shape, i as u64);
            check(&case, &direction, &format!("{shape}"));
            check(&case.clone().column_major(1), &direction, &format!("{shape}, columns"));
            let case = case.randomly_weighted(1).padded(3).selected(2).repeated(3, 4);
            check(&case, &direction, &format!("{shape}, selected"));
            let sparse = case.thinned(0.5, 5).sparse(6);
            check(&sparse, &direction, &format!("{shape}, sparse"));
        }
    }
}

#[test]
fn shapes_f32() {
    shapes::<f32>();
}

#[test]
fn shapes_f64() {
    shapes::<f64>();
}

/// (∇L(W + hV) − ∇L(W − hV)) / 2h, away from where second derivatives jump.
#[test]
fn differences_of_gradients() {
    const STEP: f64 = 1e-6;
    for objective in smooth_of(1) {
        for (seed, (n, d, c)) in [(13, 5, 3), (40, 9, 10), (60, 40, 40)].into_iter().enumerate() {
            let c = if objective.loss().is_binary() { 1 } else { c };
            let (case, direction) =
                problem::<f64>(objective, Shape { n, d, c }, 3 * seed as u64 + 1);
            let case = case.randomly_weighted(5);
            for_each_isa(|isa| {
                let mut evaluator = Evaluator::new(objective).with_isa(isa);
                let mut gradient_at = |step: f64| {
                    let mut model = case.model.clone();
                    for (p, v) in model.parameters_mut().iter_mut().zip(direction.parameters()) {
                        *p += step * v;
                    }
                    let mut gradient = model.clone();
                    evaluator.loss_and_gradient(&model, &case.batch(), &mut gradient).unwrap();
                    gradient
                };
                let (above, below) = (gradient_at(STEP), gradient_at(-STEP));
                let differences: Vec<f64> = above
                    .parameters()
                    .iter()
                    .zip(below.parameters())
                    .map(|(above, below)| (above - below) / (2.0 * STEP))
                    .collect();
                let got = product(isa, &case, &direction);
                let error = max_difference(got.parameters(), &differences);
                let bound = 1e-7 * max_abs(differences.iter().copied()).max(1.0);
                assert!(error <= bound, "{n}x{d}x{c}, {objective:?} on {isa}: off by {error:e}");
            });
        }
    }
}

fn same_bits<T: Scalar>() {
    for (n, d, c) in [(300, 65, 17), (5000, 100, 10), (3000, 33, 130), (450, 520, 510)] {
        for objective in [smooth()[0], smooth()[2]] {
            let (case, direction) = problem::<T>(objective, Shape { n, d, c }, 3);
            for_each_isa(|isa| {
                let expected = product(isa, &case, &direction);
                for_each_threads(&[1, 2, 3, 8], |threads| {
                    let mut evaluator = Evaluator::new(objective).with_isa(isa);
                    // Whatever was evaluated before.
                    evaluator.loss(&direction, &case.batch()).unwrap();
                    let got = try_product(&mut evaluator, &case, &direction).unwrap();
                    let same = got.parameters().iter().zip(expected.parameters());
                    let same = same.map(|(a, b)| a.to_f64().to_bits() == b.to_f64().to_bits());
                    assert!(same.fold(true, |all, same| all & same), "{threads} threads on {isa}");
                });
            });
        }
    }
}

#[test]
fn same_bits_on_any_number_of_threads() {
    same_bits::<f32>();
    same_bits::<f64>();
}

/// Rows that are copied on the way of the scores are scored twice.
#[test]
fn same_bits_however_far_rows_are_apart() {
    let (case, direction) = problem::<f32>(smooth()[0], Shape { n: 70, d: 40, c: 20 }, 4);
    for_each_isa(|isa| {
        let expected = product(isa, &case, &direction);
        let got = product(isa, &case.clone().padded(1024 - 40), &direction);
        assert_eq!(got.parameters(), expected.parameters(), "{isa}");
    });
}

/// The sample is surely of its class: the product is small, and right to its last digits.
#[test]
fn sure_samples() {
    let model = LinearModel::from_parameters(3, 1, vec![0.0, 0.0, 0.0, 60.0, 0.0, 1.0]).unwrap();
    let case = Case::new(Objective::cross_entropy(), model, &[1.0], &[0]);
    let direction =
        LinearModel::from_parameters(3, 1, vec![0.0, 0.0, 0.0, 3.0, 1.0, -1.0]).unwrap();
    let (p1, p2) = ((-60.0_f64).exp(), (-59.0_f64).exp());
    let expected = [2.0 * p1 + 4.0 * p2, -2.0 * p1, -4.0 * p2];
    for_each_isa(|isa| {
        let got = product::<f64>(isa, &case, &direction);
        for (got, expected) in got.bias().iter().zip(expected) {
            assert!((got / expected - 1.0).abs() < 1e-14, "{isa}: {got:e}, not {expected:e}");
        }
    });
}

/// The error, which is the same on every instruction set; the product is untouched, and the evaluator works on.
#[track_caller]
fn error_of<T: Scalar>(case: &Case<T>, direction: &LinearModel<T>) -> Error {
    let mut first: Option<Error> = None;
    for_each_isa(|isa| {
        let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
        let mut product = case.model.clone();
        product.parameters_mut().fill(T::from_f64(-77.5));
        let before = product.clone();
        let error = evaluator
            .hessian_product(&case.model, &case.batch(), direction, &mut product)
            .expect_err("a bad case was evaluated");
        assert_eq!(product, before, "{isa}: written in spite of {error}");
        let first = first.get_or_insert_with(|| error.clone());
        assert_eq!(first.to_string(), error.to_string(), "{isa}");
    });
    first.unwrap()
}

#[test]
fn errors() {
    let shape = Shape { n: 70, d: 9, c: 5 };
    for objective in losses() {
        let (case, direction) = problem::<f32>(objective, shape, 6);
        if has_kinks(objective) {
            let loss = objective.loss().name();
            assert_eq!(error_of(&case, &direction), Error::NoHessian { loss });
            says(&Error::NoHessian { loss }, &[loss, "kinks", "squared_hinge", "cross_entropy"]);
            continue;
        }
        for (index, value) in [(0, f32::NAN), (44, f32::INFINITY), (49, f32::NEG_INFINITY)] {
            let mut direction = direction.clone();
            direction.parameters_mut()[index] = value;
            let error = error_of(&case, &direction);
            assert!(matches!(error, Error::Direction { index: named, .. } if named == index));
            says(&error, &["direction", &index.to_string(), &f64::from(value).to_string()]);
        }
        let other = LinearModel::zeros(5, 8);
        let error = error_of(&case, &other);
        assert!(matches!(error, Error::Shape { what: "direction", features: 8, .. }), "{error}");
        let mut evaluator = Evaluator::new(objective);
        let mut product = LinearModel::zeros(4, 9);
        let error = evaluator
            .hessian_product(&case.model, &case.batch(), &direction, &mut product)
            .unwrap_err();
        assert!(matches!(error, Error::Shape { what: "product", classes: 4, .. }), "{error}");

        let mut bad = case.clone();
        *bad.feature_mut(52, 3) = f32::NAN;
        let error = error_of(&bad, &direction);
        assert!(matches!(error, Error::NonFinite { row: 52, cause: NonFinite::Feature { .. } }));
        let mut bad = case.clone();
        bad.labels[41] = 5;
        assert_eq!(error_of(&bad, &direction), Error::Label { row: 41, label: 5, classes: 5 });

        // The scores along the direction overflow; and, of those that do not, the differences.
        let mut far = direction.clone();
        far.weights_mut().fill(3e38);
        let error = error_of(&case, &far);
        assert!(matches!(error, Error::NonFinite { cause: NonFinite::Score, .. }), "{error}");
        let mut flat = case.clone();
        flat.model = LinearModel::zeros(5, 9);
        flat.x.fill(0.0);
        let mut far = LinearModel::zeros(5, 9);
        far.bias_mut().copy_from_slice(&[3e38, -3e38, 3e38, -3e38, 3e38]);
        let error = error_of(&flat, &far);
        assert!(
            matches!(error, Error::NonFinite { row: 0, cause: NonFinite::Gradient }),
            "{objective:?}: {error}"
        );
    }
    // No sample is guilty of 2λV.
    let (case, mut direction) =
        problem::<f32>(Objective::cross_entropy().with_l2(1e20), Shape { n: 5, d: 3, c: 2 }, 1);
    direction.weights_mut()[1] = 1e20;
    let mut still = case.clone();
    still.x.fill(0.0);
    assert_eq!(error_of(&still, &direction), Error::Overflow { what: "Hessian product" });
}

/// Sums of products are marked: alone, and among others, they make no loss and no gradient.
#[cfg(feature = "train")]
#[test]
fn sums_of_products_have_no_loss() {
    use softmargin::{Partial, train::Sums};
    for objective in smooth() {
        let (case, direction) = problem::<f64>(objective, Shape { n: 40, d: 5, c: 3 }, 3);
        let (model, batch) = (&case.model, case.batch());
        let (mut evaluator, mut gradient) = (Evaluator::new(objective), model.clone());
        let mut products = Partial::new(3, 5);
        let sums = Sums { objective, model, direction: Some(&direction) };
        sums.add(&mut evaluator, &batch, &mut products).unwrap();
        let mut both = Partial::new(3, 5);
        evaluator.accumulate(model, &batch, &mut both).unwrap();
        assert!(evaluator.finish(model, &both, &mut gradient).is_ok());
        let before = gradient.clone();
        both.merge(&products).unwrap();
        for partial in [products, both] {
            let error = evaluator.finish(model, &partial, &mut gradient).unwrap_err();
            assert_eq!(error, Error::NoLoss);
            says(&error, &["Hessian products"]);
            assert_eq!(gradient, before);
        }
    }
}

/// Squares of a direction are no part of the product, and may overflow.
#[test]
fn long_directions() {
    let objective = Objective::cross_entropy().with_l2(0.5);
    let (case, mut direction) = problem::<f64>(objective, Shape { n: 9, d: 3, c: 4 }, 2);
    let unit = product(Isa::detect(), &case, &direction);
    direction.parameters_mut().iter_mut().for_each(|v| *v *= 1e200);
    let long = product(Isa::detect(), &case, &direction);
    for (long, unit) in long.parameters().iter().zip(unit.parameters()) {
        assert!((long / 1e200 - unit).abs() <= 1e-13, "{long:e}, {unit:e}");
    }
}
