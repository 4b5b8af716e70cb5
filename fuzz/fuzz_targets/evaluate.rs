//! Any shape, layout, label, selection, magnitude and special value, on every instruction set, against the
//! oracle; errors exactly where the contract has them, and then with the gradient untouched. The same
//! evaluators see problem after problem.

#![no_main]

mod common;

use arbitrary::Arbitrary;
use common::{ObjectiveSpec, Problem, Spec, check, evaluators};
use libfuzzer_sys::fuzz_target;
use softmargin::Scalar;

#[derive(Arbitrary, Debug)]
struct Input {
    double: bool,
    objective: ObjectiveSpec,
    problems: Vec<Spec>,
}

fn run<T: Scalar>(input: &Input) {
    let mut evaluators = evaluators::<T>(input.objective.objective());
    for spec in input.problems.iter().take(3) {
        let problem = Problem::new(spec);
        evaluators.iter_mut().for_each(|evaluator| check(evaluator, &problem));
    }
}

fuzz_target!(|input: Input| if input.double { run::<f64>(&input) } else { run::<f32>(&input) });
