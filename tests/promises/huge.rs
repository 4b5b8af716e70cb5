//! More elements than 32 bits can count, in mappings of which only the touched pages exist; and sizes whose
//! products no machine word holds.

use crate::common::{self, for_each_isa};
use softmargin::{Batch, Error, Evaluator, LinearModel, MatrixView, Objective};

/// So many zeros that take up no memory until they are written.
#[cfg(target_os = "linux")]
struct Zeros<T> {
    start: *mut T,
    len: usize,
}

#[cfg(target_os = "linux")]
impl<T: Copy> Zeros<T> {
    /// None where the system does not grant so much of its address space.
    fn new(len: usize) -> Option<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, which overlaps nothing.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len * size_of::<T>(), access, flags, -1, 0) };
        (start != libc::MAP_FAILED).then_some(Self { start: start.cast(), len })
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the mapping has so many elements, all bits zero, which are numbers here.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

#[cfg(target_os = "linux")]
impl<T> Drop for Zeros<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, of which no slice is left.
        unsafe { libc::munmap(self.start.cast(), self.len * size_of::<T>()) };
    }
}

#[cfg(target_os = "linux")]
fn skipped() {
    common::skipped("the system does not grant 17 GB of address space");
}

/// Two rows 2^32 elements apart.
#[test]
#[cfg(target_os = "linux")]
fn rows_far_apart() {
    let (stride, d) = ((1_usize << 32) + 5, 3);
    let Some(mut x) = Zeros::<f32>::new(stride + d) else { return skipped() };
    let x = x.as_mut_slice();
    x[..d].copy_from_slice(&[1.0, 0.0, 0.0]);
    x[stride..].copy_from_slice(&[0.0, 2.0, 4.0]);
    let batch = MatrixView::with_row_stride(x, 2, d, stride).unwrap();
    let batch = Batch::new(batch, &[0, 1]).unwrap();
    check(&batch);
    check(&batch.select(&[1, 0]).unwrap());
}

/// The distance from one row to the next is any, where there is one row.
#[test]
fn one_row_at_any_distance() {
    let x: Vec<f32> = (0..40).map(|l| (l % 7) as f32 - 3.0).collect();
    let (model, mut gradient) = (LinearModel::<f32>::zeros(20, 40), LinearModel::zeros(20, 40));
    for_each_isa(|isa| {
        for stride in [40, 1024, 1 << 62, usize::MAX] {
            let x = MatrixView::with_row_stride(&x, 1, 40, stride).unwrap();
            let batch = Batch::new(x, &[7]).unwrap();
            let mut evaluator = Evaluator::new(Objective::cross_entropy()).with_isa(isa);
            evaluator.loss_and_gradient(&model, &batch, &mut gradient).unwrap();
            assert!((gradient.weights()[0] - x.row(0).unwrap()[0] / 20.0).abs() < 1e-6);
        }
    });
}

/// The last two of 2^32 − 1 rows.
#[test]
#[cfg(target_os = "linux")]
fn more_rows_than_31_bits_count() {
    let (n, d) = ((1_usize << 32) - 1, 3);
    let (Some(mut x), Some(mut labels)) = (Zeros::<f32>::new(n * d), Zeros::<u32>::new(n)) else {
        return skipped();
    };
    let (x, labels) = (x.as_mut_slice(), labels.as_mut_slice());
    x[(n - 2) * d..].copy_from_slice(&[1.0, 0.0, 0.0, 0.0, 2.0, 4.0]);
    labels[n - 1] = 1;
    let batch = Batch::new(MatrixView::new(x, n, d).unwrap(), labels).unwrap();
    check(&batch.select(&[u32::MAX - 2, u32::MAX - 1]).unwrap());
    let beyond = batch.select(&[u32::MAX]);
    assert!(matches!(beyond, Err(Error::SelectedRow { row: u32::MAX, .. })), "{beyond:?}");
}

/// At zero weights, for x of (1, 0, 0) of class 0 and (0, 2, 4) of class 1.
#[cfg(target_os = "linux")]
fn check(batch: &Batch<'_, f32>) {
    let model = LinearModel::zeros(2, 3);
    let mut gradient = LinearModel::zeros(2, 3);
    for_each_isa(|isa| {
        let mut evaluator = Evaluator::new(Objective::cross_entropy()).with_isa(isa);
        let loss = evaluator.loss_and_gradient(&model, batch, &mut gradient).unwrap();
        assert!((loss - std::f64::consts::LN_2).abs() < 1e-7);
        assert_eq!(gradient.weights(), [-0.25, 0.5, 1.0, 0.25, -0.5, -1.0], "{isa}");
        assert_eq!(gradient.bias(), [0.0, 0.0], "{isa}");
    });
}

#[test]
fn sizes_that_overflow() {
    let data = [0.0_f32; 4];
    for (rows, cols) in [(usize::MAX, 2), (1 << 63, 2), (usize::MAX, usize::MAX)] {
        let error = MatrixView::new(&data, rows, cols).unwrap_err();
        assert_eq!(error, Error::SizeOverflow { rows, row_stride: cols });
    }
    for (rows, cols, row_stride) in [(3, 2, usize::MAX), (usize::MAX, 1, 3), (2, 2, usize::MAX)] {
        let error = MatrixView::with_row_stride(&data, rows, cols, row_stride).unwrap_err();
        assert_eq!(error, Error::SizeOverflow { rows, row_stride });
    }
    // As long as no row is there, neither is an overflow.
    assert_eq!(MatrixView::new(&data[..0], 0, usize::MAX).unwrap().rows(), 0);
    let model = LinearModel::<f32>::from_parameters(usize::MAX, usize::MAX, vec![0.0; 4]);
    assert!(model.is_err(), "{model:?}");
}
