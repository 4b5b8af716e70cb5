//! Every shape is right: N, D and C around every lane width and block size, against the naive f64
//! oracle, with sample weights, selections with repeats, padded rows and columns, and regularisation. The inputs
//! stand among NaN decoys that must not be read, the gradient is full of NaN that must be
//! overwritten, and behind it are canaries that must not be.

use crate::common::{
    Case, Random, Scales, Shape, check_against_oracle, evaluate, for_each_isa, losses_of,
    try_evaluate, with_threads,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use softmargin::{Evaluator, Objective, Scalar};

/// Around the lanes of every backend (4, 8, 16, and 32 for pairs of registers), and a few primes.
const LANES: [usize; 19] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 37, 63, 64, 65];
/// Around the sizes that blocks of rows and tiles of features may have.
const BLOCKS: [usize; 10] = [63, 64, 65, 127, 128, 129, 255, 256, 257, 300];
/// The most multiplications that one random case may take: the oracle is slow.
const MOST_WORK: usize = 1_500_000;

/// All that a random case is made of; proptest shrinks it.
#[derive(Clone, Debug)]
struct Plan {
    shape: Shape,
    margin: f64,
    l2: f64,
    weighted: bool,
    selected: bool,
    repeats: usize,
    padding: usize,
    column_major: bool,
    seed: u64,
}

impl Plan {
    /// The share of the features that is left, if the rows are sparse: those of every third case.
    fn share(&self) -> Option<f64> {
        self.seed.is_multiple_of(3).then(|| [0.03, 0.2, 1.0][(self.seed / 3 % 3) as usize])
    }

    fn case<T: Scalar>(&self, objective: Objective) -> Case<T> {
        let mut shape = self.shape;
        if objective.loss().is_binary() {
            shape.c = 1;
        }
        let mut case = Case::random(objective.with_l2(self.l2), shape, self.seed);
        let share = self.share();
        if let Some(share) = share {
            case = case.thinned(share, self.seed ^ 5);
        }
        if self.weighted {
            case = case.randomly_weighted(self.seed ^ 2);
        }
        if self.selected {
            case = case.selected(self.seed ^ 3);
        }
        if self.repeats > 0 {
            case = case.repeated(self.repeats, self.seed ^ 4);
        }
        if share.is_some() {
            return case.sparse(self.seed ^ 6);
        }
        if self.column_major { case.column_major(self.padding) } else { case.padded(self.padding) }
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let sizes = || prop_oneof![3 => select(&LANES[..]), 2 => select(&BLOCKS[..])];
    let classes = prop_oneof![4 => select(&LANES[..]), 1 => select(&[127, 128, 129, 130][..])];
    let shape = (sizes(), sizes(), classes)
        .prop_map(|(n, d, c)| Shape { n, d, c })
        .prop_filter("too much for the oracle", |s| s.n * s.d * s.c <= MOST_WORK);
    (
        shape,
        select(&[0.0, 0.25, 1.0, 10.0][..]),
        select(&[0.0, 1e-4, 0.5][..]),
        any::<bool>(),
        any::<bool>(),
        select(&[0, 0, 1, 40][..]),
        (select(&[0, 0, 1, 3, 16][..]), any::<bool>()),
        any::<u64>(),
    )
        .prop_map(|(shape, margin, l2, weighted, selected, repeats, layout, seed)| Plan {
            shape,
            margin,
            l2,
            weighted,
            selected,
            repeats,
            padding: layout.0,
            column_major: layout.1,
            seed,
        })
}

fn random_shapes<T: Scalar>(objective: fn(f64) -> Objective, seed: u8) {
    let config = Config { cases: 120, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = with_threads(2, || {
        runner.run(&plans(), |plan| {
            let case = plan.case::<T>(objective(plan.margin));
            for_each_isa(|isa| {
                let got = evaluate(isa, &case);
                check_against_oracle(&case, &got, &format!("{plan:?} on {isa}"));
            });
            Ok(())
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn random_shapes_hinge_f32() {
    random_shapes::<f32>(Objective::hinge, 1);
}

#[test]
fn random_shapes_hinge_f64() {
    random_shapes::<f64>(Objective::hinge, 2);
}

#[test]
fn random_shapes_squared_hinge_f32() {
    random_shapes::<f32>(Objective::squared_hinge, 5);
}

#[test]
fn random_shapes_squared_hinge_f64() {
    random_shapes::<f64>(Objective::squared_hinge, 6);
}

#[test]
fn random_shapes_crammer_singer_f32() {
    random_shapes::<f32>(Objective::crammer_singer, 7);
}

#[test]
fn random_shapes_crammer_singer_f64() {
    random_shapes::<f64>(Objective::crammer_singer, 8);
}

/// The smoothing in place of the margin.
fn smoothed(margin: f64) -> Objective {
    Objective::cross_entropy().with_label_smoothing(margin / 10.0)
}

#[test]
fn random_shapes_smoothed_f32() {
    random_shapes::<f32>(smoothed, 9);
}

#[test]
fn random_shapes_smoothed_f64() {
    random_shapes::<f64>(smoothed, 10);
}

#[test]
fn random_shapes_cross_entropy_f32() {
    random_shapes::<f32>(|_| Objective::cross_entropy(), 3);
}

#[test]
fn random_shapes_cross_entropy_f64() {
    random_shapes::<f64>(|_| Objective::cross_entropy(), 4);
}

#[test]
fn random_shapes_logistic_f32() {
    random_shapes::<f32>(|_| Objective::logistic(), 11);
}

#[test]
fn random_shapes_logistic_f64() {
    random_shapes::<f64>(|_| Objective::logistic(), 12);
}

#[test]
fn random_shapes_binary_hinge_f32() {
    random_shapes::<f32>(Objective::binary_hinge, 13);
}

#[test]
fn random_shapes_binary_hinge_f64() {
    random_shapes::<f64>(Objective::binary_hinge, 14);
}

#[test]
fn random_shapes_binary_squared_hinge_f32() {
    random_shapes::<f32>(Objective::binary_squared_hinge, 15);
}

#[test]
fn random_shapes_binary_squared_hinge_f64() {
    random_shapes::<f64>(Objective::binary_squared_hinge, 16);
}

/// Long rows, many classes, many rows: more than one block in every direction.
fn large_shapes<T: Scalar>() {
    let shapes = [
        (3, 1100, 130),
        (70, 1023, 5),
        (65, 1025, 17),
        (257, 1024, 2),
        (300, 37, 130),
        (270, 520, 510),
    ]
    .into_iter()
    .chain([(2049, 5, 3), (1, 1100, 130), (33, 513, 129), (1500, 1, 1), (1, 1, 1100)])
    .chain([(3000, 33, 1), (130, 1025, 1)]);
    for (index, (n, d, c)) in shapes.enumerate() {
        let shape = Shape { n, d, c };
        for objective in losses_of(c) {
            let seed = index as u64;
            let whole = Case::<T>::random(objective.with_l2(1e-3), shape, seed);
            let scattered = whole.clone().randomly_weighted(seed).selected(seed).padded(5);
            let columns = whole.clone().column_major(3);
            let sparse = scattered.clone().sparse(6);
            for case in [&whole, &columns, &scattered, &sparse] {
                for_each_isa(|isa| {
                    let got = with_threads(2, || evaluate(isa, case));
                    check_against_oracle(case, &got, &format!("{shape}, {objective:?} on {isa}"));
                });
            }
        }
    }
}

#[test]
fn large_shapes_f32() {
    large_shapes::<f32>();
}

#[test]
fn large_shapes_f64() {
    large_shapes::<f64>();
}

/// So many columns that no cache holds a block of them: there, blocks are longer. Two tasks, of one block each.
#[test]
fn wide_columns() {
    let shape = Shape { n: 1030, d: 16_400, c: 2 };
    let case =
        Case::<f32>::random(Objective::cross_entropy().with_l2(1e-3), shape, 61).column_major(3);
    for_each_isa(|isa| {
        let got = with_threads(2, || evaluate(isa, &case));
        check_against_oracle(&case, &got, &format!("{shape} on {isa}"));
    });
}

/// So many derivatives that samples take turns: two rounds, of several tasks.
#[test]
fn rounds_of_sparse_rows() {
    let shape = Shape { n: 9000, d: 21, c: 1000 };
    let case = Case::<f64>::random(Objective::cross_entropy().with_l2(1e-3), shape, 62);
    let case = case.thinned(0.2, 63).sparse(64);
    let expected = case.reference();
    let scales = Scales::new(&case, &expected);
    for_each_isa(|isa| {
        let got = with_threads(2, || evaluate(isa, &case));
        scales.check(&got, &expected, 1e-14, &format!("{shape} on {isa}"));
    });
}

/// A few features have an entry in most rows, most have none at all; some rows have very many entries. There is
/// more of everything than one block, tile, chain or job takes.
#[test]
fn frequent_features_and_long_rows() {
    for c in [1, 2, 8, 9, 20, 133] {
        let shape = Shape { n: 3000, d: 700, c };
        let mut case = Case::<f32>::random(Objective::cross_entropy(), shape, 65);
        let mut random = Random::new(66);
        for row in 0..shape.n {
            let long = row % 500 == 0;
            for l in 0..shape.d {
                let share = if l % 100 < 2 { 0.8 } else { 0.002 };
                if !(long || l < 600 && random.unit() < share) {
                    *case.feature_mut(row, l) = 0.0;
                }
            }
        }
        let case = case.sparse(67);
        let expected = case.reference();
        let scales = Scales::new(&case, &expected);
        for_each_isa(|isa| {
            let got = with_threads(2, || evaluate(isa, &case));
            scales.check(&got, &expected, 1e-6, &format!("{shape} on {isa}"));
        });
    }
}

/// The hinge losses of a model that is nearly always right: most derivatives are zero, and left out.
fn few_violations<T: Scalar>() {
    let hinges = [Objective::hinge, Objective::squared_hinge, Objective::crammer_singer];
    let shapes = [(500, 40, 7), (300, 37, 130), (400, 520, 510)];
    for (hinge, (n, d, c)) in hinges.iter().flat_map(|hinge| shapes.map(|shape| (hinge, shape))) {
        let shape = Shape { n, d, c };
        let mut case = Case::<T>::random(hinge(0.01), shape, 51);
        let labels = case.model.predict(case.batch().features()).unwrap();
        case.labels.copy_from_slice(&labels);
        (0..n).step_by(50).for_each(|i| case.labels[i] = (case.labels[i] + 1) % c as u32);
        let columns = case.clone().column_major(0);
        let scattered = case.clone().randomly_weighted(52).selected(53).padded(5);
        for case in [&case, &columns, &scattered, &scattered.clone().thinned(0.3, 54).sparse(55)] {
            for_each_isa(|isa| {
                let got = with_threads(2, || evaluate(isa, case));
                check_against_oracle(
                    case,
                    &got,
                    &format!("{shape}, {:?} on {isa}", case.objective),
                );
            });
        }
    }
}

#[test]
fn few_violations_f32() {
    few_violations::<f32>();
}

#[test]
fn few_violations_f64() {
    few_violations::<f64>();
}

/// All small shapes around the lanes, one after the other in the same evaluator, so that a rest of
/// the last shape in its scratch memory would show in the next.
fn small_shapes<T: Scalar>() {
    const SIZES: [usize; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18];
    for objective in losses_of(1).into_iter().map(|objective| objective.with_l2(0.1)) {
        let classes = if objective.loss().is_binary() { &SIZES[..1] } else { &SIZES };
        for_each_isa(|isa| {
            let mut evaluator = Evaluator::new(objective).with_isa(isa);
            for (n, d, c) in SIZES
                .iter()
                .flat_map(|&n| SIZES.iter().map(move |&d| (n, d)))
                .flat_map(|(n, d)| classes.iter().map(move |&c| (n, d, c)))
            {
                let shape = Shape { n, d, c };
                let case = Case::<T>::random(objective, shape, (n * 1000 + d * 30 + c) as u64);
                for case in [&case, &case.clone().column_major(1), &case.clone().sparse(1)] {
                    let got = try_evaluate(&mut evaluator, case).unwrap();
                    check_against_oracle(case, &got, &format!("{shape}, {objective:?} on {isa}"));
                }
            }
        });
    }
}

#[test]
fn small_shapes_f32() {
    small_shapes::<f32>();
}

#[test]
fn small_shapes_f64() {
    small_shapes::<f64>();
}

/// The decoys around the data do stand for something: put into a sample, one is an error.
#[test]
fn decoys_would_be_noticed() {
    let shape = Shape { n: 9, d: 5, c: 3 };
    let mut case = Case::<f64>::random(Objective::cross_entropy(), shape, 1).padded(2).selected(1);
    let outside = (0..case.rows).find(|&row| case.sample_rows().all(|r| r != row)).unwrap();
    assert!(case.batch().features().row(outside).unwrap()[0].is_nan());
    assert!(case.x[case.stride - 1].is_nan());
    let mut evaluator = Evaluator::new(case.objective);
    assert!(try_evaluate(&mut evaluator, &case).is_ok());
    case.selection.as_mut().unwrap().push(outside as u32);
    case.labels[outside] = 0;
    assert!(try_evaluate(&mut evaluator, &case).is_err());
}
