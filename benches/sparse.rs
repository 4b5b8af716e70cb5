//! The speed of one evaluation of the loss and its gradient of sparse rows, whose features are as frequent as words are:
//! cross-entropy in f32, on one thread and on all. `benches/peers/sparse.py` runs it, beside scikit-learn.
//!
//! `cargo bench --bench sparse` prints for each shape and number of threads the least milliseconds of an evaluation.

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use softmargin::{Batch, CsrView, Evaluator, LinearModel, Objective};
use std::time::{Duration, Instant};

/// Samples, features, words a sample, classes.
const SHAPES: &[(usize, usize, usize, usize)] =
    &[(20_000, 50_000, 80, 20), (100_000, 100_000, 60, 2), (50_000, 30_000, 100, 100)];

const SECONDS: Duration = Duration::from_secs(3);

fn main() {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    println!("samples features words entries classes threads milliseconds");
    for &(n, d, words, c) in SHAPES {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
        // The l-th most frequent word, from 1, is l^0.9 times as rare as the first.
        let mut up_to = 0.0;
        let frequencies = (1..=d).map(|l| (l as f32).powf(-0.9));
        let cumulative: Vec<f32> = frequencies
            .map(|share| {
                up_to += share;
                up_to
            })
            .collect();
        let (mut indptr, mut indices) = (vec![0], Vec::new());
        for _ in 0..n {
            let word = |_| cumulative.partition_point(|sum| *sum < up_to * uniform()) as u32;
            let mut row: Vec<u32> = (0..words).map(word).map(|l| l.min(d as u32 - 1)).collect();
            row.sort_unstable();
            row.dedup();
            indices.extend(row);
            indptr.push(indices.len());
        }
        let values: Vec<f32> = indices.iter().map(|_| uniform()).collect();
        let labels: Vec<u32> = (0..n).map(|_| (uniform() * c as f32) as u32).collect();
        let mut model = LinearModel::<f32>::zeros(c, d);
        model.weights_mut().iter_mut().for_each(|w| *w = 0.02 * (uniform() - 0.5));
        let features = CsrView::new(n, d, &indptr, &indices, &values).expect("sparse rows");
        let batch = Batch::new(features, &labels).expect("a batch");
        let mut gradient = LinearModel::zeros(c, d);
        for threads in [1, all] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("a pool of threads");
            let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
            let mut evaluate = || {
                let start = Instant::now();
                pool.install(|| evaluator.loss_and_gradient(&model, &batch, &mut gradient))
                    .expect("an evaluation");
                start.elapsed()
            };
            // The first one transposes the rows.
            evaluate();
            let (start, mut least) = (Instant::now(), Duration::MAX);
            while start.elapsed() < SECONDS {
                least = least.min(evaluate());
            }
            let milliseconds = 1e3 * least.as_secs_f64();
            println!("{n} {d} {words} {} {c} {threads} {milliseconds:.3}", values.len());
        }
    }
}
