//! Seconds to a trained model, multinomial cross-entropy with L2, in f32, from zero, by softmargin and by what else fits
//! one in Rust: linfa-logistic and smartcore. Each ends as its own defaults have it, but for as many iterations as it
//! wants; how good its model is says F, the objective, computed in f64 alike for all.
//!
//! cargo bench -p softmargin-peers --bench fits

use core::ops::ControlFlow;
use linfa::{DatasetBase, traits::Fit};
use linfa_logistic::MultiLogisticRegression;
use ndarray_of_linfa::{Array1, Array2};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use smartcore::{
    linalg::basic::{arrays::Array, matrix::DenseMatrix},
    linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters},
};
use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::Lbfgs};
use std::time::Instant;

/// Samples, features, classes.
const SHAPES: [(usize, usize, usize); 3] = [(20_000, 16, 26), (10_000, 784, 10), (5_000, 384, 100)];

const L2: f64 = 1e-4;

/// W, class by class, and b.
type Model = (Vec<f32>, Vec<f32>);

fn main() {
    println!("| samples × features × classes | by | F | seconds | times as long |");
    println!("|---|---|--:|--:|--:|");
    for (n, d, c) in SHAPES {
        let problem = Problem::random(n, d, c);
        let mut ours = None;
        for (name, fit) in [
            ("softmargin", Problem::softmargin as fn(&Problem) -> Model),
            ("linfa-logistic", Problem::linfa),
            ("smartcore", Problem::smartcore),
        ] {
            let start = Instant::now();
            let model = fit(&problem);
            let seconds = start.elapsed().as_secs_f64();
            let (f, times) = (problem.objective(&model), seconds / *ours.get_or_insert(seconds));
            println!("| {n} × {d} × {c} | {name} | {f:.6} | {seconds:.3} | {times:.1} |");
        }
    }
}

struct Problem {
    n: usize,
    d: usize,
    c: usize,
    x: Vec<f32>,
    labels: Vec<u32>,
}

impl Problem {
    /// Overlapping classes, of features whose variance decays; a tenth of the labels are wrong.
    fn random(n: usize, d: usize, c: usize) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let centres: Vec<f32> = (0..c * d).map(|_| uniform()).collect();
        let mut x = Vec::with_capacity(n * d);
        let mut labels = Vec::with_capacity(n);
        for _ in 0..n {
            let label = ((uniform() + 0.5) * c as f32) as usize;
            let centre = &centres[label * d..][..d];
            let scale = |l: usize| (1.0 + l as f32).powf(-0.6);
            x.extend(centre.iter().enumerate().map(|(l, m)| (m + 4.0 * uniform()) * scale(l)));
            let wrong = uniform() > 0.4;
            labels.push(if wrong { (uniform() + 0.5) * c as f32 } else { label as f32 } as u32);
        }
        Self { n, d, c, x, labels }
    }

    fn features(&self) -> MatrixView<'_, f32> {
        MatrixView::new(&self.x, self.n, self.d).expect("a matrix")
    }

    fn objective(&self, (w, b): &Model) -> f64 {
        let parameters = w.iter().chain(b).map(|x| f64::from(*x)).collect();
        let model = LinearModel::from_parameters(self.c, self.d, parameters).expect("a model");
        let batch = Batch::<f64>::new(self.features(), &self.labels).expect("a batch");
        let objective = Objective::cross_entropy().with_l2(L2);
        Evaluator::new(objective).loss(&model, &batch).expect("a loss")
    }

    /// What multiplies ½ ΣW² where losses are added up, not averaged.
    fn alpha(&self) -> f32 {
        (2.0 * L2 * self.n as f64) as f32
    }

    fn softmargin(&self) -> Model {
        let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(L2));
        let mut model = LinearModel::zeros(self.c, self.d);
        let batch = Batch::new(self.features(), &self.labels).expect("a batch");
        let go_on = |_: &_, _: &_| ControlFlow::Continue(());
        Lbfgs { max_iterations: 10_000, ..Lbfgs::default() }
            .fit(&mut evaluator, &mut model, &batch, go_on)
            .expect("a fit");
        (model.weights().to_vec(), model.bias().to_vec())
    }

    fn linfa(&self) -> Model {
        let x = Array2::from_shape_vec((self.n, self.d), self.x.clone()).expect("a matrix");
        let y = Array1::from_iter(self.labels.iter().map(|label| *label as usize));
        let solver = MultiLogisticRegression::default().alpha(self.alpha()).max_iterations(10_000);
        let model = solver.fit(&DatasetBase::new(x, y)).expect("a fit");
        let weights = model.params().t().iter().copied().collect();
        self.in_order(model.classes(), (weights, model.intercept().to_vec()))
    }

    fn smartcore(&self) -> Model {
        let x = DenseMatrix::new(self.n, self.d, self.x.clone(), false).expect("a matrix");
        let parameters = LogisticRegressionParameters::default().with_alpha(self.alpha());
        let model = LogisticRegression::fit(&x, &self.labels, parameters).expect("a fit");
        let values = |m: &DenseMatrix<f32>| m.iterator(0).copied().collect();
        let classes: Vec<usize> = model.classes().iter().map(|class| *class as usize).collect();
        self.in_order(&classes, (values(model.coefficients()), values(model.intercept())))
    }

    /// A model whose rows are those of classes in another order.
    fn in_order(&self, classes: &[usize], (w, b): Model) -> Model {
        let (mut ordered, mut bias) = (vec![0.0; w.len()], vec![0.0; b.len()]);
        for (i, class) in classes.iter().enumerate() {
            ordered[class * self.d..][..self.d].copy_from_slice(&w[i * self.d..][..self.d]);
            bias[*class] = b[i];
        }
        (ordered, bias)
    }
}
