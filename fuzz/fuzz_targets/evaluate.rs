//! Any shape, layout, storage, label, selection, magnitude and special value, on every instruction set, against the
//! oracle; errors exactly where the contract has them, and then with the gradient untouched. The same
//! evaluators see problem after problem.

#![no_main]

mod common;

use arbitrary::Arbitrary;
use common::{Case, ObjectiveSpec, Spec, Stored, check, evaluators};
use half::{bf16, f16};
use libfuzzer_sys::fuzz_target;
use softmargin::{Batch, Evaluator, Features, LinearModel, MatrixView, Scalar, Scaling};

#[derive(Arbitrary, Debug)]
struct Input {
    double: bool,
    objective: ObjectiveSpec,
    problems: Vec<Spec>,
    storage: Storage,
    by_columns: bool,
    scaled: bool,
}

/// What the features are rounded to, and stored as.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Storage {
    Same,
    U8,
    I8,
    F16,
    Bf16,
}

/// The features of a case in another type give the bits, or the error, of their widened copy.
fn check_stored<T: Scalar, E: Stored>(
    evaluators: &mut [Evaluator<T>],
    case: &Case<T>,
    scaling: Option<&Scaling>,
) where
    for<'a> MatrixView<'a, E>: Into<Features<'a, T>>,
{
    let stored = case.stored::<E>().bare();
    let widened: Vec<T> = stored.iter().map(|x| T::from_f64(x.widen())).collect();
    let mut batches = [case.batch_of(&stored), case.batch_of::<T>(&widened)];
    if let Some(scaling) = scaling {
        batches = batches.map(|batch| batch.with_scaling(scaling).unwrap());
    }
    for evaluator in evaluators {
        same_bits(evaluator, &case.model, batches);
    }
}

fn same_bits<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    model: &LinearModel<T>,
    batches: [Batch<'_, T>; 2],
) {
    let [got, expected] = batches.map(|batch| {
        let mut gradient = LinearModel::zeros(model.n_classes(), model.n_features());
        let loss = evaluator.loss_and_gradient(model, &batch, &mut gradient);
        let bits = |x: &T| x.to_f64().to_bits();
        let gradient: Vec<u64> = gradient.parameters().iter().map(bits).collect();
        (loss.map(f64::to_bits).map_err(|error| error.to_string()), gradient)
    });
    assert_eq!(got, expected);
}

fn run<T: Scalar>(input: &Input) {
    let objective = input.objective.objective();
    let mut evaluators = evaluators::<T>(objective);
    for spec in input.problems.iter().take(3) {
        let mut case = spec.case::<T>(objective);
        check(&mut evaluators, &case);
        if input.by_columns {
            let padding = case.stride - case.model.n_features();
            case = case.column_major(padding);
        }
        let d = case.model.n_features();
        let scaling = Scaling::new(vec![3.5; d], vec![0.25; d]).unwrap();
        let scaling = input.scaled.then_some(&scaling);
        match input.storage {
            Storage::Same => {}
            Storage::U8 => check_stored::<T, u8>(&mut evaluators, &case, scaling),
            Storage::I8 => check_stored::<T, i8>(&mut evaluators, &case, scaling),
            Storage::F16 => check_stored::<T, f16>(&mut evaluators, &case, scaling),
            Storage::Bf16 => check_stored::<T, bf16>(&mut evaluators, &case, scaling),
        }
    }
}

fuzz_target!(|input: Input| if input.double { run::<f64>(&input) } else { run::<f32>(&input) });
