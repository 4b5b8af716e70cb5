//! The same evaluation (cross-entropy with L2: loss, dW and db, in f32, on all threads) by softmargin and
//! by what else there is in Rust, in one run: a plain loop; ndarray, matrixmultiply, gemm and faer with the
//! usual two products of whole matrices around a parallel softmax; and candle with its automatic gradient.
//!
//! `cargo bench -p softmargin-peers` runs all; a text behind `--` picks those whose name, `shape/peer`,
//! contains it. All results are compared before anything is timed.

use candle_core::{DType, Device, Tensor, Var};
use criterion::{Criterion, Throughput};
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use rayon::prelude::*;
use softmargin::{Batch, Evaluator, Isa, LinearModel, MatrixView, Objective};
use std::time::Duration;

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
];

const L2: f32 = 1e-4;

/// The plain loop is left out where it would take minutes.
const MOST_PLAIN_WORK: usize = 1 << 29;

/// The inputs of an evaluation.
struct Problem {
    n: usize,
    d: usize,
    c: usize,
    x: Vec<f32>,
    labels: Vec<u32>,
    w: Vec<f32>,
    b: Vec<f32>,
}

/// What an evaluation yields.
#[derive(Default)]
struct Outcome {
    loss: f64,
    dw: Vec<f32>,
    db: Vec<f32>,
}

/// Evaluates a problem once.
type Peer<'a> = Box<dyn FnMut() -> Outcome + 'a>;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(10)
        .configure_from_args();
    for &(name, n, d, c) in SHAPES {
        let problem = Problem::random(n, d, c);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(n as u64));
        let mut peers: Vec<(&str, Peer<'_>)> = vec![
            ("softmargin", Box::new(problem.softmargin(Isa::detect()))),
            ("softmargin-portable", Box::new(problem.softmargin(portable()))),
            ("gemm", Box::new(problem.by_products(gemm_product))),
            ("matrixmultiply", Box::new(problem.by_products(matrixmultiply_product))),
            ("faer", Box::new(problem.by_products(faer_product))),
            ("ndarray", Box::new(|| problem.ndarray())),
            ("candle", Box::new(problem.candle())),
        ];
        if n * d * c <= MOST_PLAIN_WORK {
            peers.push(("plain loop", Box::new(|| problem.plain_loop())));
        }
        let expected = peers[0].1();
        for (peer, evaluate) in &mut peers {
            evaluate().check(&expected, &format!("{name}/{peer}"));
            group.bench_function(*peer, |bencher| bencher.iter(&mut *evaluate));
        }
        group.finish();
    }
    criterion.final_summary();
}

impl Outcome {
    fn check(&self, expected: &Self, what: &str) {
        let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-3 * scale.abs();
        assert!(near(self.loss, expected.loss, expected.loss), "{what}: loss {}", self.loss);
        for (got, expected) in [(&self.dw, &expected.dw), (&self.db, &expected.db)] {
            let scale = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs())).into();
            assert_eq!(got.len(), expected.len(), "{what}");
            let all = got.iter().zip(expected).all(|(a, b)| near((*a).into(), (*b).into(), scale));
            assert!(all, "{what}: another gradient");
        }
    }
}

impl Problem {
    fn random(n: usize, d: usize, c: usize) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
        Self {
            n,
            d,
            c,
            x: (0..n * d).map(|_| 3.0 * uniform()).collect(),
            labels: (0..n).map(|_| ((uniform() + 0.5) * c as f32) as u32).collect(),
            w: (0..c * d).map(|_| 0.05 * uniform()).collect(),
            b: (0..c).map(|_| uniform()).collect(),
        }
    }

    fn softmargin(&self, isa: Isa) -> impl FnMut() -> Outcome + '_ {
        let parameters = [&self.w[..], &self.b].concat();
        let model = LinearModel::from_parameters(self.c, self.d, parameters).expect("a model");
        let features = MatrixView::new(&self.x, self.n, self.d).expect("a matrix");
        let batch = Batch::new(features, &self.labels).expect("a batch");
        let objective = Objective::cross_entropy().with_l2(L2.into());
        let mut evaluator = Evaluator::new(objective).with_isa(isa);
        let mut gradient = model.clone();
        move || {
            let loss = evaluator.loss_and_gradient(&model, &batch, &mut gradient).expect("a loss");
            Outcome { loss, dw: gradient.weights().to_vec(), db: gradient.bias().to_vec() }
        }
    }

    /// By two products of whole matrices, C = A B with rows and columns as they come.
    fn by_products(&self, product: fn(Product<'_>)) -> impl FnMut() -> Outcome + '_ {
        let &Self { n, d, c, .. } = self;
        let mut scores = vec![0.0; n * c];
        move || {
            let strides = [(d, 1), (1, d), (c, 1)];
            product(Product { sizes: (n, d, c), strides, a: &self.x, b: &self.w, c: &mut scores });
            let (loss, db) = self.softmax(&mut scores);
            let mut dw = vec![0.0; c * d];
            let strides = [(1, c), (d, 1), (d, 1)];
            product(Product { sizes: (c, n, d), strides, a: &scores, b: &self.x, c: &mut dw });
            dw.iter_mut().zip(&self.w).for_each(|(dw, w)| *dw += 2.0 * L2 * w);
            Outcome { loss, dw, db }
        }
    }

    /// From scores without bias to the loss, its derivatives in place of the scores, and db.
    fn softmax(&self, scores: &mut [f32]) -> (f64, Vec<f32>) {
        let rows = 256;
        let chunks = scores.par_chunks_mut(rows * self.c).zip(self.labels.par_chunks(rows));
        let sums = chunks.map(|(scores, labels)| {
            clear_upper_halves();
            let (mut loss, mut db) = (0.0, vec![0.0; self.c]);
            for (scores, label) in scores.chunks_exact_mut(self.c).zip(labels) {
                loss += self.softmax_of_row(scores, *label as usize);
                db.iter_mut().zip(&*scores).for_each(|(db, ds)| *db += ds);
            }
            (loss, db)
        });
        let (loss, db) = sums.reduce(
            || (0.0, vec![0.0; self.c]),
            |(loss, mut db), (loss_2, db_2)| {
                db.iter_mut().zip(db_2).for_each(|(db, term)| *db += term);
                (loss + loss_2, db)
            },
        );
        let squares: f64 = self.w.iter().map(|w| f64::from(w * w)).sum();
        (loss / self.n as f64 + f64::from(L2) * squares, db)
    }

    fn softmax_of_row(&self, scores: &mut [f32], label: usize) -> f64 {
        scores.iter_mut().zip(&self.b).for_each(|(score, b)| *score += b);
        let max = scores.iter().fold(f32::NEG_INFINITY, |max, score| max.max(*score));
        let of_label = scores[label] - max;
        scores.iter_mut().for_each(|score| *score = (*score - max).exp());
        let sum: f32 = scores.iter().sum();
        let scale = 1.0 / (sum * self.n as f32);
        scores.iter_mut().for_each(|e| *e *= scale);
        scores[label] -= 1.0 / self.n as f32;
        f64::from(sum.ln() - of_label)
    }

    fn plain_loop(&self) -> Outcome {
        let (mut loss, mut dw, mut db) = (0.0, vec![0.0; self.c * self.d], vec![0.0; self.c]);
        let mut scores = vec![0.0; self.c];
        for (x, label) in self.x.chunks_exact(self.d).zip(&self.labels) {
            for (score, w) in scores.iter_mut().zip(self.w.chunks_exact(self.d)) {
                *score = x.iter().zip(w).map(|(x, w)| x * w).sum();
            }
            loss += self.softmax_of_row(&mut scores, *label as usize);
            for (k, ds) in scores.iter().enumerate() {
                db[k] += ds;
                let dw = &mut dw[k * self.d..][..self.d];
                dw.iter_mut().zip(x).for_each(|(dw, x)| *dw += ds * x);
            }
        }
        dw.iter_mut().zip(&self.w).for_each(|(dw, w)| *dw += 2.0 * L2 * w);
        let squares: f64 = self.w.iter().map(|w| f64::from(w * w)).sum();
        Outcome { loss: loss / self.n as f64 + f64::from(L2) * squares, dw, db }
    }

    fn ndarray(&self) -> Outcome {
        let x = ArrayView2::from_shape((self.n, self.d), &self.x).expect("a matrix");
        let w = ArrayView2::from_shape((self.c, self.d), &self.w).expect("a matrix");
        let mut scores: Array2<f32> = x.dot(&w.t());
        let (loss, db) = self.softmax(scores.as_slice_mut().expect("rows in order"));
        let dw = scores.t().dot(&x) + 2.0 * L2 * &w;
        Outcome { loss, dw: dw.iter().copied().collect(), db }
    }

    fn candle(&self) -> impl FnMut() -> Outcome + '_ {
        let cpu = Device::Cpu;
        let tensor = |values: &[f32], shape: (usize, usize)| {
            Tensor::from_slice(values, shape, &cpu).expect("a tensor")
        };
        let x = tensor(&self.x, (self.n, self.d));
        let w = Var::from_tensor(&tensor(&self.w, (self.c, self.d))).expect("a variable");
        let b = Var::from_tensor(&tensor(&self.b, (1, self.c))).expect("a variable");
        let labels = Tensor::from_slice(&self.labels, self.n, &cpu).expect("a tensor");
        let labels = labels.to_dtype(DType::U32).expect("labels");
        let evaluate = move || -> candle_core::Result<Outcome> {
            let scores = x.matmul(&w.t()?)?.broadcast_add(&b)?;
            let loss = candle_nn::loss::cross_entropy(&scores, &labels)?;
            let loss = (loss + (w.sqr()?.sum_all()? * f64::from(L2))?)?;
            let gradients = loss.backward()?;
            let of = |v: &Var| gradients.get(v).expect("a gradient").flatten_all()?.to_vec1();
            Ok(Outcome { loss: f64::from(loss.to_scalar::<f32>()?), dw: of(&w)?, db: of(&b)? })
        };
        move || evaluate().expect("an evaluation")
    }
}

/// The instruction set that every machine has.
fn portable() -> Isa {
    let named = Isa::available().into_iter().find(|isa| isa.name() == "portable");
    named.expect("the portable lanes are always there")
}

/// Some kernels (matrixmultiply's and faer's) return with the upper halves of the vector registers dirty,
/// which makes the SSE code after them several times slower: a whole faer evaluation of probe-100 takes
/// 730 ms instead of 93. A program that knows this clears them, and so does this one, in their favour.
fn clear_upper_halves() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX, and the halves that the instruction clears belong to no value of
        // this function, which was compiled for SSE; the assembler is told of the registers.
        unsafe {
            std::arch::asm!(
                "vzeroupper",
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nomem, nostack, preserves_flags),
            );
        }
    }
}

/// C = A B, for sizes (m, k, n), each matrix with the strides of its rows and columns.
struct Product<'a> {
    sizes: (usize, usize, usize),
    strides: [(usize, usize); 3],
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
}

fn gemm_product(Product { sizes: (m, k, n), strides: [a_s, b_s, c_s], a, b, c }: Product<'_>) {
    let (row, column) = (|s: (usize, usize)| s.0 as isize, |s: (usize, usize)| s.1 as isize);
    // SAFETY: the slices hold the matrices of these sizes and strides, and C is apart from A and B.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            column(c_s),
            row(c_s),
            false,
            a.as_ptr(),
            column(a_s),
            row(a_s),
            b.as_ptr(),
            column(b_s),
            row(b_s),
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}

fn matrixmultiply_product(
    Product { sizes: (m, k, n), strides: [a_s, b_s, c_s], a, b, c }: Product<'_>,
) {
    let (row, column) = (|s: (usize, usize)| s.0 as isize, |s: (usize, usize)| s.1 as isize);
    // SAFETY: the slices hold the matrices of these sizes and strides, and C is apart from A and B.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            row(a_s),
            column(a_s),
            b.as_ptr(),
            row(b_s),
            column(b_s),
            0.0,
            c.as_mut_ptr(),
            row(c_s),
            column(c_s),
        );
    }
}

fn faer_product(Product { sizes: (m, k, n), strides: [a_s, b_s, _], a, b, c }: Product<'_>) {
    let view = |values, rows, columns, (of_rows, _): (usize, usize)| match of_rows {
        1 => MatRef::from_column_major_slice(values, rows, columns),
        _ => MatRef::from_row_major_slice(values, rows, columns),
    };
    let (a, b) = (view(a, m, k, a_s), view(b, k, n, b_s));
    let c = MatMut::from_row_major_slice_mut(c, m, n);
    faer::linalg::matmul::matmul(c, Accum::Replace, a, b, 1.0, Par::rayon(0));
}
