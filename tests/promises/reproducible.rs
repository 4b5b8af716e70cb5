//! The same input gives the same bits: with 1, 2, 3 or 8 threads, the first time and every other
//! time, in a new evaluator and in one that has seen other shapes. How a batch is divided, and in
//! which order the parts are summed, follows from its shape alone.

use crate::common::{
    Case, Evaluated, Shape, evaluate, for_each_isa, for_each_threads, losses, try_evaluate,
};
use softmargin::{Evaluator, Isa, Objective, Partial, Scalar};

/// Small, large enough to be divided by rows (few classes, middling, and many with long rows), and with
/// so many weights that all threads share one gradient.
const SHAPES: [Shape; 6] = [
    Shape { n: 7, d: 5, c: 3 },
    Shape { n: 300, d: 65, c: 17 },
    Shape { n: 5000, d: 100, c: 10 },
    Shape { n: 3000, d: 33, c: 130 },
    Shape { n: 1100, d: 300, c: 200 },
    Shape { n: 450, d: 520, c: 510 },
];

/// The sums of the batch, added to a partial that already holds it once.
fn accumulated<T: Scalar>(isa: Isa, case: &Case<T>) -> Vec<u64> {
    let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
    let mut partial = Partial::new(case.model.n_classes(), case.model.n_features());
    for _ in 0..2 {
        evaluator.accumulate(&case.model, &case.batch(), &mut partial).unwrap();
    }
    partial.sums().iter().map(|sum| sum.to_bits()).collect()
}

fn same_bits<T: Scalar>(objective: Objective, shapes: &[Shape]) {
    for &shape in shapes {
        let whole = Case::<T>::random(objective.with_l2(1e-3), shape, 31);
        let mut cases = vec![whole.clone()];
        // The same walk through other memory layouts.
        if shape.n * shape.d * shape.c <= 5_000_000 {
            cases.push(whole.clone().column_major(1));
            cases.push(whole.clone().thinned(0.3, 35).sparse(36));
            cases.push(whole.clone().selected(37).repeated(9, 38).sparse(39));
            cases.push(whole.randomly_weighted(32).selected(33).repeated(9, 34).padded(3));
        }
        for case in &cases {
            for_each_isa(|isa| {
                let expected = evaluate(isa, case).bits();
                let expected_sums = accumulated(isa, case);
                for_each_threads(&[1, 2, 3, 8], |threads| {
                    let context = format!("{shape} on {isa}, {threads} threads");
                    let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
                    for time in 1..=2 {
                        let got = try_evaluate(&mut evaluator, case).unwrap().bits();
                        assert!(got == expected, "{context}, time {time}: other bits");
                    }
                    assert!(accumulated(isa, case) == expected_sums, "{context}: other sums");
                });
            });
        }
    }
}

#[test]
fn hinge_f32() {
    same_bits::<f32>(Objective::hinge(1.0), &SHAPES);
}

#[test]
fn hinge_f64() {
    same_bits::<f64>(Objective::hinge(1.0), &SHAPES);
}

#[test]
fn the_other_losses() {
    for objective in &losses()[2..] {
        same_bits::<f32>(*objective, &SHAPES[1..5]);
        same_bits::<f64>(*objective, &SHAPES[1..3]);
    }
}

#[test]
fn cross_entropy_f32() {
    same_bits::<f32>(Objective::cross_entropy(), &SHAPES);
}

#[test]
fn cross_entropy_f64() {
    same_bits::<f64>(Objective::cross_entropy(), &SHAPES);
}

/// However far apart the rows lie: rows at multiples of 4096 bytes, or nearly so, may be copied on the way.
fn distant_rows<T: Scalar>() {
    let page = 4096 / size_of::<T>();
    for (n, d, c) in [(70, 65, 10), (70, 65, 17), (131, 300, 37), (9, 40, 20), (1500, 100, 20)] {
        let shape = Shape { n, d, c };
        let case = Case::<T>::random(Objective::cross_entropy().with_l2(1e-3), shape, 41);
        let case = case.randomly_weighted(42).selected(43).repeated(9, 44);
        for_each_isa(|isa| {
            let expected = evaluate(isa, &case).bits();
            for distance in [page - 1, page, page + 1, 2 * page] {
                let distant = case.clone().padded(distance - d);
                for_each_threads(&[1, 3], |threads| {
                    let got = evaluate(isa, &distant).bits();
                    let context = format!("{shape} on {isa}, {threads} threads");
                    assert!(got == expected, "{context}: {distance} numbers apart");
                });
            }
        });
    }
}

#[test]
fn distant_rows_f32() {
    distant_rows::<f32>();
}

#[test]
fn distant_rows_f64() {
    distant_rows::<f64>();
}

/// One evaluator for all shapes, up, down and up again, gives the bits of a new one for each.
fn reused<T: Scalar>() {
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let cases: Vec<Case<T>> =
        SHAPES[..4].iter().map(|&shape| Case::random(objective, shape, 35)).collect();
    for_each_isa(|isa| {
        let expected: Vec<_> = cases.iter().map(|case| evaluate(isa, case).bits()).collect();
        for_each_threads(&[1, 3], |threads| {
            let mut evaluator = Evaluator::new(objective).with_isa(isa);
            for i in [0, 1, 2, 3, 2, 1, 0, 3, 0, 2] {
                let got = try_evaluate(&mut evaluator, &cases[i]).unwrap().bits();
                assert!(got == expected[i], "{} on {isa}, {threads} threads", SHAPES[i]);
            }
        });
    });
}

#[test]
fn reused_evaluator_f32() {
    reused::<f32>();
}

#[test]
fn reused_evaluator_f64() {
    reused::<f64>();
}

/// Where the samples stand in memory makes no difference; in which order they are named may, and whether few
/// classes are computed by rows or by columns.
fn same_bits_in_any_layout<T: Scalar>() {
    for shape in &SHAPES[..4] {
        let case = Case::<T>::random(Objective::cross_entropy(), *shape, 36);
        for_each_isa(|isa| {
            let expected = evaluate(isa, &case).bits();
            let padded = evaluate(isa, &case.clone().padded(5)).bits();
            assert!(padded == expected, "{shape} on {isa}: padded");
            let columns = evaluate(isa, &case.clone().column_major(0)).bits();
            let padded = evaluate(isa, &case.clone().column_major(3)).bits();
            assert!(padded == columns, "{shape} on {isa}: column-major, padded");
            if shape.c > 32 {
                assert!(columns == expected, "{shape} on {isa}: column-major");
            }
            let selected = case.clone().selected(37).repeated(5, 38);
            let expected_selected = evaluate(isa, &selected).bits();
            let columns = evaluate(isa, &selected.column_major(1)).bits();
            assert!(columns == expected_selected, "{shape} on {isa}: column-major, selected");
            let all = Case { selection: Some((0..shape.n as u32).collect()), ..case.clone() };
            assert!(evaluate(isa, &all).bits() == expected, "{shape} on {isa}: all selected");
        });
    }
}

#[test]
fn the_layout_in_memory_makes_no_difference() {
    same_bits_in_any_layout::<f32>();
    same_bits_in_any_layout::<f64>();
}

/// The bits compared above tell values apart.
#[test]
fn bits_see_everything() {
    let case = Case::<f32>::random(Objective::cross_entropy(), SHAPES[0], 37);
    let evaluated = evaluate(Isa::detect(), &case);
    let mut other = evaluated.clone();
    let last = other.gradient.parameters_mut().last_mut().unwrap();
    *last = last.next_up();
    assert_ne!(other.bits(), evaluated.bits());
    let other = Evaluated { loss: evaluated.loss.next_up(), ..evaluated.clone() };
    assert_ne!(other.bits(), evaluated.bits());
}
