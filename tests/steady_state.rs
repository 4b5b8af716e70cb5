//! A steady-state evaluation allocates nothing: once an evaluator has seen its shapes, no thread of
//! the pool asks the allocator for anything, whatever is evaluated. The allocator counts for the whole
//! process, so there is no test harness, which allocates when a test takes long.

mod common;

use common::case::has_kinks;
use common::{Case, Shape, binary_losses, case::Guarded, for_each_isa, for_each_threads, losses};
use softmargin::{Evaluator, LinearModel, Objective, Partial, Scalar, Scaling};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The system's allocator, with a count of what it is asked for.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator; counting has no influence on it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often any thread allocated while `f` ran.
fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(SeqCst);
    f();
    ALLOCATIONS.load(SeqCst) - before
}

/// Everything that an evaluator does, for each of the cases.
fn evaluate_all<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    cases: &[(Case<T>, Guarded<u8>)],
    scaling: &Scaling,
    outputs: &mut [(LinearModel<T>, Partial<T>)],
) {
    for ((case, bytes), (gradient, partial)) in cases.iter().zip(outputs) {
        // What is widened, and scaled, is so in scratch memory.
        let stored = case.batch_of(bytes);
        evaluator.loss_and_gradient(&case.model, &stored, gradient).unwrap();
        let stored = stored.with_scaling(scaling).unwrap();
        evaluator.loss_and_gradient(&case.model, &stored, gradient).unwrap();
        let batch = case.batch();
        evaluator.loss_and_gradient(&case.model, &batch, gradient).unwrap();
        evaluator.loss(&case.model, &batch).unwrap();
        partial.clear();
        evaluator.accumulate(&case.model, &batch, partial).unwrap();
        evaluator.accumulate(&case.model, &batch, partial).unwrap();
        evaluator.finish(&case.model, partial, gradient).unwrap();
        if !has_kinks(evaluator.objective()) {
            evaluator.hessian_product(&case.model, &batch, &case.model, gradient).unwrap();
        }
    }
}

fn steady_state<T: Scalar>(objective: Objective, shapes: &[(usize, usize, usize)]) {
    let scaling = Scaling::by(0.01);
    let cases: Vec<(Case<T>, Guarded<u8>)> = shapes
        .iter()
        .flat_map(|&(n, d, c)| {
            let whole = Case::<T>::random(objective, Shape { n, d, c }, 41);
            let scattered = whole.clone().randomly_weighted(42).selected(43).padded(3);
            let columns = whole.clone().column_major(1);
            let sparse = scattered.clone().thinned(0.3, 44).sparse(45);
            let distant = whole.clone().padded(1024 - d % 1024);
            [whole, scattered, distant, columns, sparse].map(|case| {
                let bytes = case.stored::<u8>();
                (case, bytes)
            })
        })
        .collect();
    let mut outputs: Vec<_> = cases
        .iter()
        .map(|(case, _)| {
            let (c, d) = (case.model.n_classes(), case.model.n_features());
            (LinearModel::zeros(c, d), Partial::new(c, d))
        })
        .collect();
    for_each_isa(|isa| {
        for_each_threads(&[1, 2], |threads| {
            let mut evaluator = Evaluator::new(objective).with_isa(isa);
            // The second time for what a thread of the pool sets up when it first steals work.
            for _ in 0..2 {
                evaluate_all(&mut evaluator, &cases, &scaling, &mut outputs);
            }
            let count = allocations(|| {
                evaluate_all(&mut evaluator, &cases, &scaling, &mut outputs);
            });
            assert_eq!(count, 0, "allocations of {objective:?} on {isa} with {threads} threads");
        });
    });
}

fn main() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "it does count");
    let elsewhere = allocations(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(std::hint::black_box(vec![0_u8; 100])));
        });
    });
    assert!(elsewhere >= 1, "on other threads too");

    for objective in losses().map(|objective| objective.with_l2(0.1)) {
        let shapes = [(20, 17, 5), (3000, 100, 10), (70, 40, 20), (270, 40, 130), (70, 520, 510)];
        steady_state::<f32>(objective, &shapes);
        steady_state::<f64>(objective, &shapes);
    }
    for objective in binary_losses() {
        steady_state::<f32>(objective, &[(20, 17, 1), (3000, 100, 1)]);
    }
    println!("no allocation: ok");
}
