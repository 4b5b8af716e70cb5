//! The speed of one evaluation of the loss and its gradient, in the steady state: every shape × loss ×
//! instruction set, on one thread and on all; and, with the best one on all, of column-major features, whose
//! names end with `columns`.
//!
//! `cargo bench --bench evaluation` runs them all; `cargo bench --bench evaluation -- images/hinge` those
//! whose name contains the text. Names are `shape/loss/instructions/threads`. Throughput is in samples a
//! second and in floating-point operations a second, of which an evaluation has 4 N D C.

use criterion::{
    BenchmarkId, Criterion, Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use softmargin::{Batch, Evaluator, Isa, LinearModel, MatrixView, Objective};
use std::time::{Duration, Instant};

/// Name, samples, features, classes.
const SHAPES: &[(&str, usize, usize, usize)] = &[
    ("images", 60_000, 784, 10),
    ("cifar", 50_000, 3072, 10),
    ("minibatch", 256, 784, 10),
    ("probe-100", 100_000, 384, 100),
    ("probe-1000", 20_000, 1024, 1000),
    ("binary", 1_000_000, 32, 2),
    ("letters", 20_000, 16, 26),
    ("odd", 4097, 1023, 37),
    ("wide", 10_000, 20_000, 10),
];

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(Time)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
        .configure_from_args();
    let all_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pools = [1, all_threads].map(pool);
    for shape in SHAPES {
        evaluations(&mut criterion, shape, &pools[..all_threads.min(2)]);
    }
    trained(&mut criterion, &pools[1]);
    criterion.final_summary();
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads")
}

fn evaluations(
    criterion: &mut Criterion<Time>,
    &(name, n, d, c): &(&str, usize, usize, usize),
    pools: &[ThreadPool],
) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
    let features: Vec<f32> = (0..n * d).map(|_| 3.0 * uniform()).collect();
    let labels: Vec<u32> = (0..n).map(|_| ((uniform() + 0.5) * c as f32) as u32).collect();
    let mut model = LinearModel::<f32>::zeros(c, d);
    model.weights_mut().iter_mut().for_each(|w| *w = 0.05 * uniform());
    let mut columns = vec![0.0; n * d];
    for (i, row) in features.chunks_exact(d).enumerate() {
        columns[i..].iter_mut().step_by(n).zip(row).for_each(|(to, x)| *to = *x);
    }
    let features = MatrixView::new(&features, n, d).expect("a matrix");
    let batch = Batch::new(features, &labels).expect("a batch");
    let columns = MatrixView::column_major(&columns, n, d).expect("a matrix");
    let columns = Batch::new(columns, &labels).expect("a batch");
    let mut gradient = LinearModel::zeros(c, d);

    for (loss, objective) in
        [("cross-entropy", Objective::cross_entropy()), ("hinge", Objective::hinge(1.0))]
    {
        let mut group = criterion.benchmark_group(format!("{name}/{loss}"));
        let flop = 4 * n as u64 * d as u64 * c as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: n as u64, bytes: flop });
        let mut bench = |isa: Isa, pool: &ThreadPool, batch: &Batch<'_, f32>, id: BenchmarkId| {
            let mut evaluator = Evaluator::new(objective.with_l2(1e-4)).with_isa(isa);
            group.bench_function(id, |bencher| {
                pool.install(|| {
                    bencher.iter(|| {
                        evaluator
                            .loss_and_gradient(&model, batch, &mut gradient)
                            .expect("an evaluation")
                    });
                });
            });
        };
        for isa in Isa::available() {
            for pool in pools {
                bench(isa, pool, &batch, BenchmarkId::new(isa.name(), pool.current_num_threads()));
            }
        }
        let (isa, pool) = (Isa::detect(), &pools[pools.len() - 1]);
        let id = format!("{}/{}", isa.name(), pool.current_num_threads());
        bench(isa, pool, &columns, BenchmarkId::new(id, "columns"));
        group.finish();
    }
}

/// The hinge at models that are better and better trained: the fewer margins are violated, the more of the
/// gradient is left out. Each class has a prototype, which its samples resemble and its weights are a
/// multiple of. Names are `trained/violated`, the share of the margins.
fn trained(criterion: &mut Criterion<Time>, pool: &ThreadPool) {
    let (n, d, c) = (20_000, 1024, 1000);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(2);
    let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let prototypes: Vec<f32> = (0..c * d).map(|_| uniform()).collect();
    let labels: Vec<u32> = (0..n).map(|i| (i * 7919 % c) as u32).collect();
    let of_label = labels.iter().flat_map(|label| &prototypes[*label as usize * d..][..d]);
    let features: Vec<f32> = of_label.map(|p| 0.5 * p + uniform()).collect();
    let features = MatrixView::new(&features, n, d).expect("a matrix");
    let batch = Batch::new(features, &labels).expect("a batch");
    let mut gradient = LinearModel::zeros(c, d);

    let mut group = criterion.benchmark_group("trained");
    for multiple in [0.0, 0.006, 0.0065, 0.007, 0.02] {
        let mut model = LinearModel::<f32>::zeros(c, d);
        let weights = model.weights_mut().iter_mut().zip(&prototypes);
        weights.for_each(|(weight, prototype)| *weight = multiple * prototype);
        let violated = violated(&model, features, &labels);
        let mut evaluator = Evaluator::new(Objective::hinge(1.0));
        group.bench_function(format!("{:.2}%", 100.0 * violated), |bencher| {
            pool.install(|| {
                bencher.iter(|| {
                    evaluator.loss_and_gradient(&model, &batch, &mut gradient).expect("a loss")
                });
            });
        });
    }
    group.finish();
}

/// The share of the margins, of the other classes, that are violated.
fn violated(model: &LinearModel<f32>, features: MatrixView<'_, f32>, labels: &[u32]) -> f64 {
    let c = model.n_classes();
    let scores = model.scores(features).expect("scores");
    let rows = scores.chunks_exact(c).zip(labels);
    let violated = rows.map(|(scores, label)| {
        // The label's own margin always is.
        scores.iter().filter(|s| **s + 1.0 > scores[*label as usize]).count() - 1
    });
    violated.sum::<usize>() as f64 / (labels.len() * (c - 1)) as f64
}

/// Wall time, with the rates that matter here; what criterion calls bytes are operations.
struct Time;

impl Measurement for Time {
    type Intermediate = Instant;
    type Value = Duration;

    fn start(&self) -> Instant {
        WallTime.start()
    }

    fn end(&self, start: Instant) -> Duration {
        WallTime.end(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        WallTime.add(a, b)
    }

    fn zero(&self) -> Duration {
        WallTime.zero()
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        WallTime.to_f64(time)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Time {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(
        &self,
        typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        // Times are in nanoseconds.
        match throughput {
            Throughput::Bytes(flop) => {
                values.iter_mut().for_each(|time| *time = *flop as f64 / *time);
                "GFLOP/s"
            }
            Throughput::Elements(samples) => {
                values.iter_mut().for_each(|time| *time = 1e3 * *samples as f64 / *time);
                "million samples/s"
            }
            _ => WallTime.formatter().scale_throughputs(typical, throughput, values),
        }
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}
