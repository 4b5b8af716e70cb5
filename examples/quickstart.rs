//! Loss and gradient of one batch, and a model fitted to it.
//!
//! cargo run --release --example quickstart --features train

use core::ops::ControlFlow;
use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::Lbfgs};

fn main() -> Result<(), softmargin::Error> {
    // Six samples of two features, row by row, and the class of each.
    let features = [0.0_f32, 0.1, 0.2, 0.0, 1.0, 0.9, 1.1, 1.0, 0.1, 1.0, 0.0, 1.2];
    let labels = [0, 0, 1, 1, 2, 2];
    let batch = Batch::new(MatrixView::new(&features, 6, 2)?, &labels)?;

    let mut model = LinearModel::<f32>::zeros(3, 2);
    let mut gradient = LinearModel::zeros(3, 2);
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
    let loss = evaluator.loss_and_gradient(&model, &batch, &mut gradient)?;
    println!("loss {loss:.4}, dL/dW {:.3?}, dL/db {:.3?}", gradient.weights(), gradient.bias());

    let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, |progress, _| {
        println!("iteration {:2}  loss {:.6}", progress.iteration, progress.objective);
        ControlFlow::Continue(())
    })?;
    println!(
        "stopped by {}; predictions {:?}",
        summary.stop_reason,
        model.predict(batch.features())?
    );
    Ok(())
}
