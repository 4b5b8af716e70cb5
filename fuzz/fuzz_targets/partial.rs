//! A batch in random parts, summed in one `Partial` or in several that are merged, also by way of their
//! plain numbers, against the whole.

#![no_main]

mod common;

use arbitrary::Arbitrary;
use common::{Case, ObjectiveSpec, Random, Spec, tolerance};
use libfuzzer_sys::fuzz_target;
use softmargin::{Error, Evaluator, LinearModel, Partial, Scalar};

#[derive(Arbitrary, Debug)]
struct Input {
    double: bool,
    objective: ObjectiveSpec,
    problem: Spec,
    cuts: Vec<u16>,
    seed: u64,
}

fn run<T: Scalar>(input: &Input) {
    let objective = input.objective.objective();
    let mut case: Case<T> = input.problem.case(objective);
    case.selection = None;
    if !case.must_succeed() {
        return;
    }
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let mut evaluator = Evaluator::<T>::new(objective);
    let mut whole = LinearModel::zeros(c, d);
    let loss = evaluator.loss_and_gradient(&case.model, &case.batch(), &mut whole).expect("a loss");

    let mut cuts: Vec<usize> =
        input.cuts.iter().take(20).map(|cut| usize::from(*cut) % case.rows).collect();
    cuts.extend([0, case.rows]);
    cuts.sort_unstable();
    cuts.dedup();
    let mut random = Random::new(input.seed);
    let mut partials = vec![Partial::new(c, d)];
    for cut in cuts.windows(2) {
        let batch = match case.chunk(cut[0]..cut[1]) {
            Ok(batch) => batch,
            // A part of no weight adds nothing.
            Err(Error::ZeroSampleWeights { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        if random.below(2) == 0 {
            partials.push(Partial::new(c, d));
        }
        let last = partials.last_mut().expect("at least one");
        evaluator.accumulate(&case.model, &batch, last).expect("sums");
    }
    while partials.len() > 1 {
        let other = partials.swap_remove(random.below(partials.len()));
        let i = random.below(partials.len());
        if random.below(2) == 0 {
            let sums = other.sums().to_vec();
            let copy = Partial::from_sums(c, d, sums).expect("the same sums");
            partials[i].merge(&copy).expect("the same shape");
        } else {
            partials[i].merge(&other).expect("the same shape");
        }
    }

    let mut gradient = LinearModel::zeros(c, d);
    let got = evaluator.finish(&case.model, &partials[0], &mut gradient).expect("a mean");
    let near = |what: &str, a: f64, b: f64, scale: f64| {
        let bound = tolerance::<T>() * scale + 2.0 * T::MIN_POSITIVE.to_f64();
        assert!((a - b).abs() <= bound, "{what}: {a:e} by parts, {b:e} at once");
    };
    let (of_loss, of_slope) = case.scales();
    near("loss", got, loss, loss.abs() + of_loss);
    for (a, b) in gradient.weights().iter().zip(whole.weights()) {
        near("dW", a.to_f64(), b.to_f64(), case.gradient_scale());
    }
    for (a, b) in gradient.bias().iter().zip(whole.bias()) {
        near("db", a.to_f64(), b.to_f64(), of_slope);
    }
}

fuzz_target!(|input: Input| if input.double { run::<f64>(&input) } else { run::<f32>(&input) });
