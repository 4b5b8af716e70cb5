//! A linear probe on embeddings that are kept in half precision: read as they are, standardised on the way. Nothing is
//! copied, so that a data set may take up half of the memory, or lie in a mapped file.
//!
//! cargo run --release --example half_embeddings --features train,half

use core::ops::ControlFlow;
use half::f16;
use softmargin::{
    Batch, Error, Evaluator, LinearModel, MatrixView, Objective, Scaling, train::Lbfgs,
};

fn main() -> Result<(), Error> {
    // Stands for what a network makes of images: features far from 0, and of unequal size.
    let (n, d, c) = (4000, 64, 10);
    let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1013) as f32 / 506.0 - 1.0;
    let embedding = |i: usize, j: usize| {
        let own = if j % c == i % c { 0.5 } else { 0.0 };
        f16::from_f32(20.0 + (1 + j) as f32 * (own + noise(i, j)))
    };
    let embeddings: Vec<f16> = (0..n * d).map(|k| embedding(k / d, k % d)).collect();
    let labels: Vec<u32> = (0..n).map(|i| (i % c) as u32).collect();

    let batch = Batch::<f32>::new(MatrixView::new(&embeddings, n, d)?, &labels)?;
    let scaling = Scaling::standardize(&batch)?;
    let batch = batch.with_scaling(&scaling)?;

    let mut model = LinearModel::zeros(c, d);
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
    let go_on = |_: &_, _: &_| ControlFlow::Continue(());
    let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on)?;

    // The same scaling goes with the model.
    let predicted = model.predict(&batch)?;
    let right = predicted.iter().zip(&labels).filter(|(p, y)| p == y).count();
    println!("{} of features", human(size_of_val(&embeddings[..])));
    println!(
        "stopped by {}, accuracy {:.1} %",
        summary.stop_reason,
        100.0 * right as f64 / n as f64
    );
    Ok(())
}

fn human(bytes: usize) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}
