//! What must hold whenever an evaluation fails: every way to evaluate gives the same error on every
//! instruction set and number of threads, no output is written, and the evaluator works on.

use super::{Case, Shape, evaluate, for_each_isa, for_each_threads, try_evaluate};
use softmargin::{Error, Evaluator, LinearModel, NonFinite, Partial, Scalar};

/// The error of a bad case, after all of the above has been checked.
#[track_caller]
pub fn error_of<T: Scalar>(case: &Case<T>) -> Error {
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let good = Case::<T>::random(case.objective, Shape { n: 50, d: d.max(1), c: c.max(1) }, 61);
    let mut first: Option<Error> = None;
    for_each_isa(|isa| {
        for_each_threads(&[1, 2], |_| {
            let mut evaluator = Evaluator::new(case.objective).with_isa(isa);

            // Values that an evaluation would not leave, each another.
            let canaries = (0..c * (d + 1)).map(|i| T::from_f64(-1000.5 - i as f64)).collect();
            let mut gradient = LinearModel::from_parameters(c, d, canaries).unwrap();
            let before = gradient.clone();
            let error = evaluator
                .loss_and_gradient(&case.model, &case.batch(), &mut gradient)
                .expect_err("a bad case was evaluated");
            assert_eq!(gradient, before, "{isa}: the gradient was written before {error}");

            // The loss alone cannot know of a sum that only the gradient needs.
            let alone = evaluator.loss(&case.model, &case.batch());
            match &error {
                Error::NonFinite { cause: NonFinite::Gradient, .. } => assert!(alone.is_ok()),
                _ => assert_eq!(alone.expect_err("loss").to_string(), error.to_string(), "{isa}"),
            }

            let sums = (0..c * (d + 1) + 2).map(|i| 1000.5 + i as f64).collect();
            let mut partial = Partial::from_sums(c, d, sums).unwrap();
            let before = partial.clone();
            let accumulated = evaluator
                .accumulate(&case.model, &case.batch(), &mut partial)
                .expect_err("only accumulated");
            assert_eq!(accumulated.to_string(), error.to_string(), "{isa}: accumulate");
            assert_eq!(partial, before, "{isa}: the partial was written before {error}");

            // With an objective that is itself at fault there is no good input.
            let of_objective = matches!(
                error,
                Error::L2 { .. }
                    | Error::Margin { .. }
                    | Error::LabelSmoothing { .. }
                    | Error::LabelSmoothingOf { .. }
            );
            if !of_objective {
                let after = try_evaluate(&mut evaluator, &good).unwrap();
                let expected = evaluate(isa, &good);
                assert!(after.bits() == expected.bits(), "{isa}: other bits after {error}");
            }

            // By message, since NaN is not equal to itself.
            let first = first.get_or_insert_with(|| error.clone());
            assert_eq!(first.to_string(), error.to_string(), "{isa} differs");
        });
    });
    first.expect("portable is always there")
}

/// Checks that the message of the error has all of these in it.
#[track_caller]
pub fn says(error: &Error, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part}");
    }
}
