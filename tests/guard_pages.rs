//! No kernel reads or writes a byte outside what it was given. Every allocation of this process, so also X,
//! labels, sample weights, W, b, the gradient and the scratch memory, lies between two pages that no one may
//! touch, and ends right before the second or starts right behind the first. One byte too far, and the
//! process dies. Only one test may live here, since the allocator serves the whole process.

#![cfg(unix)]

mod common;

use common::case::{Sparse, has_kinks};
use common::{Case, Shape, for_each_isa, for_each_threads, losses};
use softmargin::{Batch, CsrView, Evaluator, Features, LinearModel, MatrixView, Scalar, Scaling};
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
    // The slices of a `Case` have decoys on both sides, copies of them have not; and X ends with the last
    // element of its last row; of a column-major one, with the last element of its last column.
    let d = case.model.n_features();
    if let Some(Sparse { indptr, indices, values }) = &case.sparse {
        let (indices, values) = (indices.to_vec(), values.to_vec());
        let x = CsrView::new(case.rows, d, indptr, &indices, &values).unwrap();
        return evaluate_view(case, x.into());
    }
    let length = match &case.columns {
        Some((_, stride)) => (d - 1) * stride + case.rows,
        None => (case.rows - 1) * case.stride + d,
    };
    let features = case.memory()[..length].to_vec();
    evaluate_features(case, &features, false);
    let bytes: Vec<u8> = features.iter().map(|x| (40.0 * x.to_f64()).abs() as u8).collect();
    evaluate_features(case, &bytes, false);
    evaluate_features(case, &bytes, true);
}

fn evaluate_features<T: Scalar, E>(case: &Case<T>, features: &[E], scaled: bool)
where
    for<'a> MatrixView<'a, E>: Into<Features<'a, T>>,
{
    let d = case.model.n_features();
    let x = match &case.columns {
        Some((_, stride)) => MatrixView::with_col_stride(features, case.rows, d, *stride),
        None => MatrixView::with_row_stride(features, case.rows, d, case.stride),
    };
    let x: Features<'_, T> = x.unwrap().into();
    let scaling = Scaling::by(0.01);
    let x = if scaled { x.with_scaling(&scaling).unwrap() } else { x };
    evaluate_view(case, x);
}

fn evaluate_view<T: Scalar>(case: &Case<T>, x: Features<'_, T>) {
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let labels = case.labels.to_vec();
    let mut batch = Batch::new(x, &labels).unwrap();
    let weights = case.sample_weights.as_ref().map(|weights| weights.to_vec());
    if let Some(weights) = &weights {
        batch = batch.with_sample_weights(weights).unwrap();
    }
    if let Some(rows) = &case.selection {
        batch = batch.select(rows).unwrap();
    }
    let mut gradient = LinearModel::zeros(c, d);
    for_each_isa(|isa| {
        let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
        evaluator.loss_and_gradient(&case.model, &batch, &mut gradient).unwrap();
        if !has_kinks(case.objective) {
            evaluator.hessian_product(&case.model, &batch, &case.model, &mut gradient).unwrap();
        }
    });
    if case.selection.is_none() {
        case.model.predict(x).unwrap();
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
