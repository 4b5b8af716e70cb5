//! What a change does to the bits of results: a tool for refactorings, which are to change none. The first
//! run records a hash of the results of many cases on every instruction set, every later one compares:
//!
//! ```text
//! cargo test --test promises bits:: -- --ignored
//! ```
//!
//! The record is `target/tmp/bits.txt`; delete it to record anew. It is no golden file, as a better order
//! of summation is a good reason for other bits.

use crate::common::{Case, Random, Shape, evaluate, for_each_isa, with_threads};
use softmargin::{Evaluator, Isa, LinearModel, MatrixView, Objective, Partial, Scalar};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Every number of classes that a register tile may take, numbers below and above the limits between the
/// ways to compute, rows of all lengths, several tasks, and gradients that tasks share.
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (3, 2, 2),
    (17, 5, 3),
    (50, 16, 4),
    (257, 31, 5),
    (33, 33, 6),
    (64, 64, 7),
    (65, 65, 8),
    (300, 100, 9),
    (1100, 784, 10),
    (2100, 300, 11),
    (77, 128, 12),
    (130, 95, 13),
    (40, 3072, 10),
    (1030, 1500, 3),
    (20, 20_000, 2),
    (4000, 32, 2),
    (5000, 16, 26),
    (700, 30, 20),
    (1200, 100, 17),
    (500, 257, 32),
    (500, 257, 33),
    (1100, 1023, 37),
    (90, 768, 64),
    (3000, 33, 100),
    (1025, 17, 130),
    (1100, 300, 200),
    (450, 520, 510),
    (700, 300, 1000),
    (1537, 263, 997),
];

fn case<T: Scalar>(objective: Objective, (n, d, c): (usize, usize, usize)) -> Case<T> {
    let mut random = Random::new((n * 31 + d * 7 + c) as u64);
    let mut values = |n: usize, scale: f64| -> Vec<T> {
        (0..n).map(|_| T::from_f64(scale * (2.0 * random.unit() - 1.0))).collect()
    };
    let (x, w) = (values(n * d, 2.0), values(c * d + c, 1.5 / (d as f64).sqrt()));
    let labels: Vec<u32> = (0..n).map(|_| random.below(c) as u32).collect();
    Case::new(objective, LinearModel::from_parameters(c, d, w).unwrap(), &x, &labels)
}

/// FNV-1a.
fn hash(bits: impl IntoIterator<Item = u64>) -> u64 {
    let bytes = bits.into_iter().flat_map(u64::to_le_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The loss and the gradient, and their sums, which no rounding to the element type hides.
fn evaluation<T: Scalar>(isa: Isa, case: &Case<T>) -> u64 {
    let mut partial = Partial::new(case.model.n_classes(), case.model.n_features());
    let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
    evaluator.accumulate(&case.model, &case.batch(), &mut partial).unwrap();
    let sums = partial.sums().iter().map(|sum| sum.to_bits());
    hash(evaluate(isa, case).bits().into_iter().chain(sums))
}

fn record<T: Scalar>(records: &mut BTreeMap<String, u64>) {
    let element = std::any::type_name::<T>();
    for &(n, d, c) in SHAPES {
        let shape = Shape { n, d, c };
        for (loss, objective) in
            [("ce", Objective::cross_entropy()), ("hinge", Objective::hinge(0.75))]
        {
            let case = case::<T>(objective.with_l2(1e-3), (n, d, c));
            for (layout, case) in &case.dense_layouts(1) {
                for_each_isa(|isa| {
                    let name = format!("{element} {loss} {shape} {layout} {isa}");
                    records.insert(name, evaluation(isa, case));
                });
            }
        }
        let case = case::<T>(Objective::hinge(1.0), (n, d, c));
        let x = MatrixView::new(&case.x, n, d).unwrap();
        let scores = case.model.scores(x).unwrap();
        let bits = scores.iter().map(|score| score.to_f64().to_bits());
        records.insert(format!("{element} scores {shape}"), hash(bits));
    }
}

#[test]
#[ignore = "compares with an earlier run"]
fn the_same_bits_as_before() {
    let mut records = BTreeMap::new();
    with_threads(2, || {
        record::<f32>(&mut records);
        record::<f64>(&mut records);
    });
    let mut text = String::new();
    records.iter().for_each(|(name, hash)| writeln!(text, "{hash:016x} {name}").unwrap());

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bits.txt");
    let Ok(before) = std::fs::read_to_string(&path) else {
        std::fs::write(&path, text).unwrap();
        return eprintln!("recorded {} results in {}", records.len(), path.display());
    };
    let changed: Vec<_> = text.lines().zip(before.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(text.lines().count(), before.lines().count(), "other cases than recorded");
    let first = changed.iter().take(20).map(|(now, _)| *now).collect::<Vec<_>>().join("\n");
    assert!(changed.is_empty(), "{} of {} changed:\n{first}", changed.len(), records.len());
}
