//! The evaluator as the cost and gradient of a solver of `argmin`, with a line search of one's own choice.
//! (The solvers of this crate's feature `train` need far fewer iterations.)
//!
//! cargo run --release --example argmin_lbfgs --features train

use argmin::core::{CostFunction, Error, Executor, Gradient, State};
use argmin::solver::{linesearch::HagerZhangLineSearch, quasinewton::LBFGS};
use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
use std::cell::RefCell;

/// `argmin` asks through a shared reference, and an evaluator owns scratch memory: hence the cell.
struct Problem<'a> {
    evaluator: RefCell<Evaluator<f64>>,
    batch: Batch<'a, f64>,
    shape: (usize, usize),
}

impl Problem<'_> {
    fn model(&self, parameters: &[f64]) -> Result<LinearModel<f64>, Error> {
        Ok(LinearModel::from_parameters(self.shape.0, self.shape.1, parameters.to_vec())?)
    }
}

impl CostFunction for Problem<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.evaluator.borrow_mut().loss(&self.model(parameters)?, &self.batch)?)
    }
}

impl Gradient for Problem<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, Error> {
        let mut gradient = LinearModel::zeros(self.shape.0, self.shape.1);
        let model = self.model(parameters)?;
        self.evaluator.borrow_mut().loss_and_gradient(&model, &self.batch, &mut gradient)?;
        Ok(gradient.into_parameters())
    }
}

fn main() -> Result<(), Error> {
    let (n, d, c) = (500, 4, 3);
    let labels: Vec<u32> = (0..n).map(|i| (i % c) as u32).collect();
    let features: Vec<f64> = (0..n * d)
        .map(|i| ((i * 37 % 101) as f64 / 50.0 - 1.0) + ((i / d % c) * (i % d)) as f64)
        .collect();
    let batch = Batch::new(MatrixView::new(&features, n, d)?, &labels)?;
    let evaluator = RefCell::new(Evaluator::new(Objective::cross_entropy().with_l2(1e-3)));

    let solver = LBFGS::new(HagerZhangLineSearch::new(), 10).with_tolerance_grad(1e-8)?;
    let result = Executor::new(Problem { evaluator, batch, shape: (c, d) }, solver)
        .configure(|state| state.param(vec![0.0; c * (d + 1)]).max_iters(200))
        .run()?;
    let state = result.state();
    println!("{} iterations, loss {:.9}", state.get_iter(), state.get_best_cost());
    Ok(())
}
