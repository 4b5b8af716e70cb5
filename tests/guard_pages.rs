//! No kernel reads or writes a byte outside what it was given. Every allocation of this process, so also X,
//! labels, sample weights, W, b, the gradient and the scratch memory, lies between two pages that no one may
//! touch, and ends right before the second or starts right behind the first. One byte too far, and the
//! process dies. Only one test may live here, since the allocator serves the whole process.

#![cfg(unix)]

mod common;

use common::case::has_kinks;
use common::{Case, Shape, for_each_isa, for_each_threads, losses};
use softmargin::{Batch, Evaluator, LinearModel, Scalar, Scaling};
use std::alloc::{GlobalAlloc, Layout};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Gives every allocation pages of its own, with a forbidden page on each side.
struct Fenced;

/// Whether allocations start at the start of a page rather than end at the end of one.
static AT_START: AtomicBool = AtomicBool::new(false);

fn page() -> usize {
    // SAFETY: asks for a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

// SAFETY: an allocation is a mapping of its own, readable, writable and zero over the whole pages that its
// size takes up, and unmapped with the size that follows from its layout. Nothing is aligned to more than
// a page here.
unsafe impl GlobalAlloc for Fenced {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let page = page();
        let len = layout.size().next_multiple_of(page);
        let (flags, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_NONE);
        // SAFETY: a new mapping, which overlaps nothing.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len + 2 * page, none, flags, -1, 0) };
        if base == libc::MAP_FAILED || layout.align() > page {
            return std::ptr::null_mut();
        }
        let start = base.cast::<u8>().wrapping_add(page);
        // SAFETY: these are pages of the mapping.
        if unsafe { libc::mprotect(start.cast(), len, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return std::ptr::null_mut();
        }
        if AT_START.load(SeqCst) {
            return start;
        }
        start.wrapping_add((len - layout.size()) / layout.align() * layout.align())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let page = page();
        let len = layout.size().next_multiple_of(page);
        let base = pointer.wrapping_sub(pointer as usize % page).wrapping_sub(page);
        // SAFETY: the mapping that `alloc` made for this layout, which its caller gives up.
        unsafe { libc::munmap(base.cast(), len + 2 * page) };
    }
}

#[global_allocator]
static ALLOCATOR: Fenced = Fenced;

/// Evaluates the case without decoys around its slices: what is outside them is forbidden.
fn evaluate<T: Scalar>(case: &Case<T>) {
    let case = case.bare();
    evaluate_batch(&case, &case.batch());
    if case.sparse.is_none() {
        let bytes = case.stored::<u8>().bare();
        let batch = case.batch_of(&bytes);
        evaluate_batch(&case, &batch);
        evaluate_batch(&case, &batch.with_scaling(&Scaling::by(0.01)).unwrap());
    }
}

fn evaluate_batch<T: Scalar>(case: &Case<T>, batch: &Batch<'_, T>) {
    let mut gradient = LinearModel::zeros(case.model.n_classes(), case.model.n_features());
    for_each_isa(|isa| {
        let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
        evaluator.loss_and_gradient(&case.model, batch, &mut gradient).unwrap();
        if !has_kinks(case.objective) {
            evaluator.hessian_product(&case.model, batch, &case.model, &mut gradient).unwrap();
        }
    });
    if case.selection.is_none() {
        case.model.predict(batch.features()).unwrap();
    }
}

fn shapes() -> Vec<Shape> {
    let shape = |n, d, c| Shape { n, d, c };
    let mut shapes = Vec::new();
    for tail in 1..=67 {
        // Every tail of a row, of the classes and of a block of rows, for few classes and for many.
        shapes.extend([shape(5, tail, 3), shape(5, tail, 37)]);
        shapes.extend([shape(5, 9, tail), shape(5, 70, tail)]);
        shapes.extend([shape(tail, 9, 3), shape(tail, 9, 37)]);
    }
    // More than one block, more than one task, and one gradient for all tasks.
    shapes.extend([shape(1000, 33, 5), shape(600, 130, 70), shape(9000, 50, 4)]);
    shapes.extend([shape(430, 521, 511)]);
    // Rows that are copied on the way, as their distance is a multiple of 4096 bytes, or nearly so.
    shapes.extend([shape(5, 1023, 13), shape(34, 1024, 20), shape(67, 1025, 37)]);
    shapes
}

fn all<T: Scalar>() -> usize {
    let shapes = shapes();
    for (i, &shape) in shapes.iter().enumerate() {
        let objective = losses()[i % 5];
        let case = Case::<T>::random(objective.with_l2(0.1), shape, i as u64);
        evaluate(&case);
        evaluate(&case.clone().column_major(i % 2));
        evaluate(&case.clone().thinned(0.5, i as u64).sparse(3));
        evaluate(&case.randomly_weighted(1).padded(1 + i % 3).selected(2));
    }
    shapes.len()
}

/// What the child process is to do, in which the fence is tested itself.
const TRESPASS: &str = "SOFTMARGIN_TRESPASS";

fn trespass(side: &str) -> ! {
    AT_START.store(side == "before", SeqCst);
    let values = vec![1.0_f32; 1000];
    let offset = if side == "before" { -1 } else { values.len() as isize };
    let outside = std::hint::black_box(values.as_ptr().wrapping_offset(offset));
    // SAFETY: none; this is to end the process.
    let value = unsafe { outside.read_volatile() };
    panic!("read {value} from the page {side} the slice");
}

#[test]
fn nothing_outside_is_touched() {
    if let Ok(side) = std::env::var(TRESPASS) {
        trespass(&side);
    }
    for side in ["before", "behind"] {
        use std::os::unix::process::ExitStatusExt;
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.env(TRESPASS, side).arg("--nocapture").output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{side}: the fence has a hole");
    }

    for at_start in [false, true] {
        AT_START.store(at_start, SeqCst);
        for_each_threads(&[1, 2], |threads| {
            let shapes = all::<f32>() + all::<f64>();
            println!(
                "{shapes} shapes four times, {threads} threads, at the start of pages: {at_start}"
            );
        });
    }
}
