//! Any shape, layout, storage, label, selection, magnitude and special value, on every instruction set, against the
//! oracle; errors exactly where the contract has them, and then with the gradient untouched. The same
//! evaluators see problem after problem.

#![no_main]

mod common;

use arbitrary::Arbitrary;
use common::{ObjectiveSpec, Problem, Spec, check, evaluators};
use half::{bf16, f16};
use libfuzzer_sys::fuzz_target;
use softmargin::{Evaluator, Features, LinearModel, MatrixView, Scalar, Scaling};

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

/// The features of a problem in another type give the bits, or the error, of their widened copy.
fn check_stored<T: Scalar, E: Copy>(
    evaluator: &mut Evaluator<T>,
    problem: &Problem<T>,
    input: &Input,
    narrow: impl Fn(f64) -> E,
    widen: impl Fn(E) -> f64,
) where
    for<'a> MatrixView<'a, E>: Into<Features<'a, T>>,
{
    let memory = if input.by_columns { &problem.columns } else { &problem.x };
    let stored: Vec<E> = memory.iter().map(|x| narrow(x.to_f64())).collect();
    let widened: Vec<T> = stored.iter().map(|x| T::from_f64(widen(*x))).collect();
    let scaling = Scaling::new(vec![3.5; problem.d], vec![0.25; problem.d]).unwrap();
    let mut batches = [
        problem.batch_as(&stored, input.by_columns),
        problem.batch_as::<T>(&widened, input.by_columns),
    ];
    if input.scaled {
        batches = batches.map(|batch| batch.with_scaling(&scaling).unwrap());
    }
    let [got, expected] = batches.map(|batch| {
        let mut gradient = LinearModel::zeros(problem.c, problem.d);
        let loss = evaluator.loss_and_gradient(&problem.model, &batch, &mut gradient);
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
        let problem = Problem::new(spec, &objective);
        for evaluator in &mut evaluators {
            check(evaluator, &problem);
            match input.storage {
                Storage::Same => {}
                Storage::U8 => check_stored(evaluator, &problem, input, |x| x as u8, f64::from),
                Storage::I8 => check_stored(evaluator, &problem, input, |x| x as i8, f64::from),
                Storage::F16 => {
                    check_stored(evaluator, &problem, input, f16::from_f64, f16::to_f64);
                }
                Storage::Bf16 => {
                    check_stored(evaluator, &problem, input, bf16::from_f64, bf16::to_f64);
                }
            }
        }
    }
}

fuzz_target!(|input: Input| if input.double { run::<f64>(&input) } else { run::<f32>(&input) });
