//! Scratch memory is bounded: 64 MiB and twice the model for two threads, whatever the shape. Only one test
//! may live here, since the allocator counts for the whole process.

mod common;

use common::{for_each_isa, with_threads};
use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, Predictor, Scalar};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The system's allocator, with a count of the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator; counting has no influence on it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), SeqCst) + layout.size();
        MOST.fetch_max(now, SeqCst);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), SeqCst) + layout.size();
        MOST.fetch_max(now, SeqCst);
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn scratch<T: Scalar>(n: usize, d: usize, c: usize) {
    let x = vec![T::from_f64(0.5); n * d];
    let labels: Vec<u32> = (0..n).map(|i| (i % c) as u32).collect();
    let batch = Batch::new(MatrixView::new(&x, n, d).unwrap(), &labels).unwrap();
    let model = LinearModel::<T>::zeros(c, d);
    let mut gradient = LinearModel::zeros(c, d);
    let model_bytes = size_of_val(model.parameters());
    for_each_isa(|isa| {
        for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
            with_threads(2, || {
                let before = IN_USE.load(SeqCst);
                MOST.store(before, SeqCst);
                let mut evaluator = Evaluator::new(objective).with_isa(isa);
                evaluator.loss_and_gradient(&model, &batch, &mut gradient).unwrap();
                let most = MOST.load(SeqCst) - before;
                let bytes = size_of::<T>();
                println!("{n}x{d}x{c} of {bytes} bytes on {isa}: {:.1} MB", most as f64 / 1e6);
                assert!(most <= (64 << 20) + 2 * model_bytes, "{most} bytes");
                drop(evaluator);

                // Predictions hold the answer beside that, accuracy nothing.
                let predictor = Predictor::new(&model).with_isa(isa);
                for (what, answer) in [("labels", n * 4), ("accuracy", 0)] {
                    let before = IN_USE.load(SeqCst);
                    MOST.store(before, SeqCst);
                    match answer {
                        0 => drop(predictor.accuracy(&batch).unwrap()),
                        _ => drop(predictor.predict(&batch).unwrap()),
                    }
                    let most = MOST.load(SeqCst) - before;
                    println!("  {what}: {:.1} MB", most as f64 / 1e6);
                    assert!(most <= (24 << 20) + 2 * model_bytes + answer, "{what}: {most} bytes");
                }
            });
        }
    });
}

#[test]
fn bounded() {
    for (n, d, c) in [
        (600, 1024, 1000),
        (2000, 784, 10),
        (3000, 384, 100),
        (400, 3072, 10),
        (40, 20_000, 200),
        (200_000, 2, 500),
    ] {
        scratch::<f32>(n, d, c);
        scratch::<f64>(n, d, c);
    }
}
