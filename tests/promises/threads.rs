//! Evaluators in the company of others: many at once, inside other parallel work, in pools of any size, and
//! beside work that panics. No deadlock, and no other bits than those of one evaluator by itself.

#![cfg(feature = "rayon")]

use crate::common::{Case, Shape, for_each_isa, for_each_threads, try_evaluate, with_threads};
use rayon::prelude::*;
use softmargin::{Evaluator, Isa, Objective};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Work for many tasks, by either path, and with a gradient that the threads share.
fn cases() -> Vec<Case<f32>> {
    let shapes = [
        Shape { n: 6000, d: 60, c: 20 },
        Shape { n: 1100, d: 70, c: 90 },
        Shape { n: 400, d: 520, c: 510 },
    ];
    let case = |shape| Case::random(Objective::cross_entropy().with_l2(1e-3), shape, 61);
    shapes.map(case).into()
}

fn bits(case: &Case<f32>, isa: Isa) -> Vec<u64> {
    let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
    try_evaluate(&mut evaluator, case).unwrap().bits()
}

#[test]
fn pools_of_any_size() {
    for case in cases() {
        for_each_isa(|isa| {
            let expected = bits(&case, isa);
            let counts: Vec<usize> = (1..=16).chain([64, 67]).collect();
            for_each_threads(&counts, |threads| {
                assert!(bits(&case, isa) == expected, "{threads} threads on {isa}");
            });
        });
    }
}

#[test]
fn many_at_once_inside_other_work() {
    let cases = cases();
    let isa = Isa::detect();
    let expected: Vec<_> = cases.iter().map(|case| bits(case, isa)).collect();
    for_each_threads(&[1, 2, 5], |threads| {
        (0..24).into_par_iter().for_each(|i: usize| {
            let i = i % cases.len();
            assert!(bits(&cases[i], isa) == expected[i], "{threads} threads");
        });
    });
}

/// From threads that are none of the pool's, all into the same one.
#[test]
fn callers_from_outside_share_the_pool() {
    let cases = cases();
    let isa = Isa::detect();
    let expected: Vec<_> = cases.iter().map(|case| bits(case, isa)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    std::thread::scope(|scope| {
        for i in 0..6 {
            let (case, expected) = (&cases[i % cases.len()], &expected[i % cases.len()]);
            let pool = &pool;
            scope.spawn(move || {
                for _ in 0..5 {
                    assert!(pool.install(|| bits(case, isa)) == *expected);
                }
            });
        }
    });
}

#[test]
fn a_panic_beside_it_harms_nothing() {
    for case in cases() {
        let expected = bits(&case, Isa::detect());
        with_threads(2, || {
            let mut evaluator = Evaluator::new(case.objective);
            for _ in 0..5 {
                let mut got = None;
                let evaluate = || got = Some(try_evaluate(&mut evaluator, &case).unwrap().bits());
                let panics = || std::panic::resume_unwind(Box::new("the caller's own"));
                let joined = AssertUnwindSafe(|| rayon::join(evaluate, panics));
                assert!(catch_unwind(joined).is_err());
                assert!(got.unwrap() == expected);
            }
        });
    }
}
