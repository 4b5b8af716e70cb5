//! A linear probe on embeddings that come as an array of `ndarray`: choose λ on held-out samples, then say how
//! good the representation is.
//!
//! cargo run --release --example ndarray_probe --features train,ndarray

use core::ops::ControlFlow;
use ndarray::{Array2, s};
use softmargin::train::{self, Lbfgs};
use softmargin::{Batch, Error, Evaluator, LinearModel, MatrixView, Objective};

fn main() -> Result<(), Error> {
    // Stands for what a network makes of images: 64 numbers each, and the class as one more column.
    let (n, d, c) = (4000, 64, 10);
    let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1013) as f32 / 506.0 - 1.0;
    let table = Array2::from_shape_fn((n, d + 1), |(i, j)| match j {
        j if j == d => (i % c) as f32,
        j => 2.5 * noise(i, j) + f32::from(j % c == i % c),
    });

    let embeddings = table.slice(s![.., ..d]);
    let labels: Vec<u32> = table.column(d).iter().map(|&label| label as u32).collect();
    let batch = Batch::<f32>::new(MatrixView::try_from(embeddings)?, &labels)?;
    let (training, validation) = train::split(n as u32, 0.2, 0);
    let (training, validation) = (batch.select(&training)?, batch.select(&validation)?);

    let l2 = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5];
    let start = LinearModel::zeros(c, d);
    let go_on = |_, _: &_, _: &_| ControlFlow::Continue(());
    let path = Lbfgs::default().path(
        &Evaluator::new(Objective::cross_entropy()),
        &l2,
        &start,
        &training,
        &validation,
        go_on,
    )?;
    for point in &path {
        let (accuracy, progress) = (100.0 * point.validation_accuracy, point.summary.progress);
        println!(
            "λ = {:7.0e}  accuracy {accuracy:.1} %  {} iterations",
            point.l2, progress.iteration
        );
    }
    let best = train::best_of(&path).expect("a path of five");
    println!("chosen: λ = {:.0e}, weights of {:?}", best.l2, best.model.weights_array().dim());
    Ok(())
}
