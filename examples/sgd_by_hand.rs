//! The loop that every course on neural networks begins with, for both losses: check the gradient against
//! differences, then step against it, minibatch by minibatch, and watch the loss fall.
//!
//! cargo run --release --example sgd_by_hand

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use softmargin::{Batch, Error, Evaluator, LinearModel, MatrixView, Objective};

const N: usize = 3000;
const D: usize = 20;
const C: usize = 5;

fn main() -> Result<(), Error> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
    let mut uniform = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
    // Samples scattered around one centre a class.
    let centres: Vec<f64> = (0..C * D).map(|_| uniform()).collect();
    let labels: Vec<u32> = (0..N).map(|i| (i % C) as u32).collect();
    let features: Vec<f64> =
        (0..N * D).map(|i| centres[i / D % C * D + i % D] + 2.0 * uniform()).collect();
    let batch = Batch::new(MatrixView::new(&features, N, D)?, &labels)?;
    let order: Vec<u32> = (0..N as u32).map(|i| i * 7 % N as u32).collect();

    for (name, objective) in
        [("hinge (SVM)", Objective::hinge(1.0)), ("softmax", Objective::cross_entropy())]
    {
        let mut evaluator = Evaluator::new(objective.with_l2(1e-3));
        let mut model = LinearModel::zeros(C, D);
        model.parameters_mut().iter_mut().for_each(|p| *p = 0.02 * uniform());
        println!(
            "{name}: largest error of the gradient {:.1e}",
            check(&mut evaluator, &model, &batch)?
        );

        let mut gradient = LinearModel::zeros(C, D);
        for epoch in 0..8 {
            let loss = evaluator.loss(&model, &batch)?;
            println!("  epoch {epoch}  loss {loss:.4}  {}", "#".repeat((loss * 20.0) as usize));
            for rows in order.chunks(100) {
                let minibatch = batch.select(rows)?;
                evaluator.loss_and_gradient(&model, &minibatch, &mut gradient)?;
                for (p, slope) in model.parameters_mut().iter_mut().zip(gradient.parameters()) {
                    *p -= 0.05 * slope;
                }
            }
        }
        let right =
            model.predict(batch.features())?.iter().zip(&labels).filter(|(p, y)| p == y).count();
        println!("  accuracy {:.1} %", 100.0 * right as f64 / N as f64);
    }
    Ok(())
}

/// The largest difference between the gradient and central differences of the loss.
fn check(
    evaluator: &mut Evaluator<f64>,
    model: &LinearModel<f64>,
    batch: &Batch<'_, f64>,
) -> Result<f64, Error> {
    let mut gradient = LinearModel::zeros(C, D);
    evaluator.loss_and_gradient(model, batch, &mut gradient)?;
    let mut largest = 0.0_f64;
    for i in 0..model.parameters().len() {
        let mut loss_at = |step: f64| {
            let mut moved = model.clone();
            moved.parameters_mut()[i] += step;
            evaluator.loss(&moved, batch)
        };
        let slope = (loss_at(1e-6)? - loss_at(-1e-6)?) / 2e-6;
        largest = largest.max((slope - gradient.parameters()[i]).abs());
    }
    Ok(largest)
}
