//! Cross-entropy where exponentials under- and overflow: score gaps of 1e-30 to 1e30, sure and right, sure
//! and wrong, among few classes and among many; and probabilities, which sum to 1.

use crate::common::{Case, Random, evaluate, for_each_isa};
use softmargin::{LinearModel, MatrixView, Objective, Scalar};

fn epsilon<T: Scalar>() -> f64 {
    if size_of::<T>() == 4 { f32::EPSILON.into() } else { f64::EPSILON }
}

/// One sample of feature 1 and weight 0, whose scores are the biases: `gap` for class 0, and 0 for the
/// others.
fn one_sample<T: Scalar>(gap: f64, classes: usize, label: u32) -> Case<T> {
    let mut parameters = vec![T::default(); 2 * classes];
    parameters[classes] = T::from_f64(gap);
    let model = LinearModel::from_parameters(classes, 1, parameters).unwrap();
    Case::new(Objective::cross_entropy(), model, &[T::from_f64(1.0)], &[label])
}

/// To a few ULP, and `tiny` besides.
fn check<T: Scalar>(what: &dyn std::fmt::Display, got: f64, expected: f64, tiny: f64) {
    let bound = 8.0 * epsilon::<T>() * expected.abs() + tiny;
    assert!((got - expected).abs() <= bound, "{what}: {got:e}, not {expected:e}");
}

/// Loss and derivatives for the class of the gap and for the others, each to a relative accuracy.
fn gaps<T: Scalar>() {
    // A loss is right down to the smallest subnormal number; a derivative may be zero below the normal ones.
    let normal = T::MIN_POSITIVE.to_f64();
    let subnormal = normal * epsilon::<T>();
    let powers = (-30..=30).map(|exponent| 10_f64.powi(exponent));
    let steps = (1..=120).map(f64::from);
    for gap in powers.chain(steps).flat_map(|gap| [gap, -gap]).chain([0.0]) {
        // As the element type has it.
        let gap = T::from_f64(gap).to_f64();
        for classes in [2_usize, 10, 40] {
            // Each of the exponentials is rounded.
            let (others, tiny) = ((classes - 1) as f64, subnormal * classes as f64);
            // e^−|gap| does not overflow; `ratio` is Σ_{j≠0} e^{s_j − s_0}, or its inverse.
            let small = (-gap.abs()).exp();
            let (p_first, p_other, loss_first) = if gap >= 0.0 {
                let z = 1.0 + others * small;
                (1.0 / z, small / z, (others * small).ln_1p())
            } else {
                let z = others + small;
                (small / z, 1.0 / z, -gap + z.ln())
            };
            let loss_other =
                if gap >= 0.0 { gap + loss_first } else { others.ln() + (small / others).ln_1p() };
            for_each_isa(|isa| {
                let name = |what: &str| format!("{what}, gap {gap:e}, {classes} classes on {isa}");
                let first = evaluate(isa, &one_sample::<T>(gap, classes, 0));
                check::<T>(&name("loss, label 0"), first.loss, loss_first, tiny);
                let db = first.gradient.bias();
                check::<T>(&name("db of another class"), db[1].to_f64(), p_other, normal);
                // 1 − p is the sum of the others: no less exact than they are, on the scale of 1.
                let bound = 8.0 * epsilon::<T>();
                let error = (db[0].to_f64() - (p_first - 1.0)).abs();
                assert!(error <= bound, "{}", name("db of the label"));

                let other = evaluate(isa, &one_sample::<T>(gap, classes, 1));
                check::<T>(&name("loss, label 1"), other.loss, loss_other, tiny);
                let db = other.gradient.bias();
                check::<T>(&name("db of class 0"), db[0].to_f64(), p_first, normal);
                assert!(other.gradient.parameters().iter().all(|g| g.is_finite()));
            });
        }
    }
}

#[test]
fn any_gap_f32() {
    gaps::<f32>();
}

#[test]
fn any_gap_f64() {
    gaps::<f64>();
}

/// Within 2 ULP of 1 for every class.
fn probabilities<T: Scalar>() {
    let mut random = Random::new(7);
    for classes in [1, 2, 3, 10, 100, 1000] {
        for scale in [0.0, 1.0, 30.0, 1e4, 1e30] {
            let mut parameters = vec![T::default(); 2 * classes];
            for bias in &mut parameters[classes..] {
                *bias = T::from_f64(scale * random.normal());
            }
            let model = LinearModel::from_parameters(classes, 1, parameters).unwrap();
            let one = [T::from_f64(1.0)];
            let p = model.predict_proba(MatrixView::new(&one, 1, 1).unwrap()).unwrap();
            let error = (p.iter().map(|p| p.to_f64()).sum::<f64>() - 1.0).abs();
            let bound = 2.0 * epsilon::<T>() * classes as f64;
            assert!(error <= bound, "{classes} classes, scale {scale}: off by {error:e}");
            assert!(p.iter().all(|p| (0.0..=1.0).contains(&p.to_f64())));
        }
    }
}

#[test]
fn probabilities_sum_to_one() {
    probabilities::<f32>();
    probabilities::<f64>();
}

/// The derivatives of a sample sum to zero, whatever the scores: p_y − 1 is made of the other p.
fn derivatives<T: Scalar>() {
    let mut random = Random::new(8);
    for classes in [2, 10, 40, 300] {
        for scale in [1.0, 30.0, 1e4, 1e30] {
            let mut parameters = vec![T::default(); 2 * classes];
            for bias in &mut parameters[classes..] {
                *bias = T::from_f64(scale * random.normal());
            }
            let model = LinearModel::from_parameters(classes, 1, parameters).unwrap();
            let label = random.below(classes) as u32;
            let one = T::from_f64(1.0);
            let case = Case::new(Objective::cross_entropy(), model, &[one], &[label]);
            for_each_isa(|isa| {
                let got = evaluate(isa, &case);
                let sum: f64 = got.gradient.bias().iter().map(|db| db.to_f64()).sum();
                let bound = 2.0 * epsilon::<T>() * classes as f64;
                assert!(sum.abs() <= bound, "{classes} classes, scale {scale} on {isa}: {sum:e}");
            });
        }
    }
}

#[test]
fn derivatives_sum_to_zero() {
    derivatives::<f32>();
    derivatives::<f64>();
}
