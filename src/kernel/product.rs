//! Matrix products for the solvers, which need few of them and on `f32` alone: those of `matrixmultiply`,
//! behind a function that checks the sizes.

/// A matrix in a slice: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a> Strided<'a> {
    /// Rows of `width`.
    pub(crate) fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, row_stride: width, col_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    fn has(&self, rows: usize, cols: usize) -> bool {
        reaches(rows, cols, self.row_stride, self.col_stride) <= self.data.len()
    }
}

/// The length of a slice that ends with the last element of a matrix.
fn reaches(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    match (rows, cols) {
        (0, _) | (_, 0) => 0,
        _ => (rows - 1) * row_stride + (cols - 1) * col_stride + 1,
    }
}

/// C ← β C + α A B, for A of m × k, B of k × n and C of m × n in rows of `width`.
///
/// # Panics
/// If a matrix is not within its slice.
pub(crate) fn multiply(
    [m, k, n]: [usize; 3],
    alpha: f32,
    a: Strided<'_>,
    b: Strided<'_>,
    beta: f32,
    c: &mut [f32],
    width: usize,
) {
    assert!(a.has(m, k) && b.has(k, n) && n <= width && reaches(m, n, width, 1) <= c.len());
    // SAFETY: each matrix is within its slice, as has just been checked, and no element of C has two
    // places, as its rows are not longer than the distance between them.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            alpha,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.col_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.col_stride as isize,
            beta,
            c.as_mut_ptr(),
            width as isize,
            1,
        );
    }
}
