//! How much of a fit by L-BFGS is the solver's own work, and not evaluations of the loss and its gradient: as many
//! samples, features and classes as Fashion-MNIST has, from where the curvature is known.
//!
//! `cargo bench --bench solver --features train`

use core::{cell::Cell, ops::ControlFlow, time::Duration};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, train::Lbfgs};
use std::time::Instant;

const N: usize = 60_000;
const D: usize = 784;
const C: usize = 10;
const FITS: usize = 7;

fn main() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
    let labels: Vec<u32> = (0..N).map(|i| (i % C) as u32).collect();
    // Like pixels, features resemble their neighbours; every class has its own ups and downs.
    let ups: Vec<f32> = (0..C * D).map(|_| 0.1 * (uniform() - 0.5)).collect();
    let mut features = Vec::with_capacity(N * D);
    for label in &labels {
        let mut x = uniform();
        for up in &ups[*label as usize * D..][..D] {
            x = (x + up + 0.2 * (uniform() - 0.5)).clamp(0.0, 1.0);
            features.push(x);
        }
    }
    let batch = Batch::new(MatrixView::new(&features, N, D).unwrap(), &labels).unwrap();
    let solver = Lbfgs {
        max_iterations: 30,
        gradient_tolerance: 0.0,
        relative_decrease: 0.0,
        ..Lbfgs::default()
    };

    println!("share of the solver   own work and evaluation   evaluations per iteration");
    let mut shares = Vec::with_capacity(FITS);
    for _ in 0..FITS {
        let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
        let mut model = LinearModel::<f32>::zeros(C, D);
        let evaluating = Cell::new(Duration::ZERO);
        // Iterations and evaluations done, and the time when they were.
        let mut marks = Vec::new();
        let evaluate = |evaluate: softmargin::train::Evaluate<'_, f32>| {
            let start = Instant::now();
            let result = evaluate(&batch);
            evaluating.set(evaluating.get() + start.elapsed());
            result
        };
        let mark = |progress: &softmargin::train::Progress, _: &LinearModel<f32>| {
            marks.push((progress.evaluations, evaluating.get(), Instant::now()));
            ControlFlow::Continue(())
        };
        solver.fit_chunks(&mut evaluator, &mut model, Some(&batch), evaluate, mark).unwrap();
        // The first iteration learns the curvature, and secants are few before the tenth.
        let (from, to) = (marks[10], marks[marks.len() - 1]);
        let (evaluations, evaluating) = (to.0 - from.0, to.1 - from.1);
        let own = to.2 - from.2 - evaluating;
        let share = own.as_secs_f64() / (own + evaluating).as_secs_f64();
        let each = |total: Duration| 1e3 * total.as_secs_f64() / evaluations as f64;
        println!(
            "{:19.1} %   {:8.2} ms and {:5.2} ms   {:12.2}",
            100.0 * share,
            each(own),
            each(evaluating),
            evaluations as f64 / (marks.len() - 11) as f64,
        );
        shares.push(share);
    }
    shares.sort_by(f64::total_cmp);
    println!("median: {:.1} %", 100.0 * shares[FITS / 2]);
}
