//! Memory of which only some may be read: the elements of a matrix, at constant distances. Kernels read
//! through pointers, row by row, and what lies between the rows may be somebody else's; so there is no
//! slice over all of it.

use core::marker::PhantomData;

/// Every element (i, j) of the matrix lies `i * row_stride + j * col_stride` elements after `start` and may be
/// read as long as `'a` lasts. One of the strides is 1.
#[derive(Debug)]
pub(crate) struct View<'a, T> {
    start: *const T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    elements: PhantomData<&'a T>,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

// SAFETY: a view is used as a number of `&T` would be.
unsafe impl<T: Sync> Send for View<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for View<'_, T> {}

impl<'a, T> View<'a, T> {
    /// A matrix within a slice, or `None` if it is not: if it ends past the slice, if its size overflows, or
    /// if neither stride is 1.
    pub(crate) fn new(
        data: &'a [T],
        [rows, cols]: [usize; 2],
        [row_stride, col_stride]: [usize; 2],
    ) -> Option<Self> {
        let end = |n: usize, stride: usize| n.saturating_sub(1).checked_mul(stride);
        let last = end(rows, row_stride)?.checked_add(end(cols, col_stride)?)?;
        let fits = rows == 0 || cols == 0 || last < data.len();
        let start = data.as_ptr();
        let view = Self { start, rows, cols, row_stride, col_stride, elements: PhantomData };
        (fits && (row_stride == 1 || col_stride == 1)).then_some(view)
    }

    /// A view of a matrix that another crate has a view of, or `None` if neither stride is 1.
    ///
    /// # Safety
    /// Every element (i, j), `i * row_stride + j * col_stride` after `start`, must be readable for `'a`.
    #[cfg(any(feature = "ndarray", feature = "faer"))]
    unsafe fn of_parts(
        start: *const T,
        [rows, cols]: [usize; 2],
        [row_stride, col_stride]: [isize; 2],
    ) -> Option<Self> {
        // The stride along an axis of length one is any number.
        let along = |n: usize, stride: isize| if n <= 1 { Some(1) } else { stride.try_into().ok() };
        let (mut row_stride, col_stride): (usize, usize) =
            (along(rows, row_stride)?, along(cols, col_stride)?);
        if rows <= 1 && col_stride == 1 {
            row_stride = cols;
        }
        let view = Self { start, rows, cols, row_stride, col_stride, elements: PhantomData };
        (row_stride == 1 || col_stride == 1).then_some(view)
    }

    /// A view of what `array` views.
    #[cfg(feature = "ndarray")]
    pub(crate) fn of_ndarray(array: &ndarray::ArrayView2<'a, T>) -> Option<Self> {
        let (rows, cols) = array.dim();
        let strides = [array.strides()[0], array.strides()[1]];
        // SAFETY: the view of the array grants that its elements may be read for 'a.
        unsafe { Self::of_parts(array.as_ptr(), [rows, cols], strides) }
    }

    /// A view of what `matrix` views.
    #[cfg(feature = "faer")]
    pub(crate) fn of_faer(matrix: faer::MatRef<'a, T>) -> Option<Self> {
        let strides = [matrix.row_stride(), matrix.col_stride()];
        // SAFETY: the view of the matrix grants that its elements may be read for 'a.
        unsafe { Self::of_parts(matrix.as_ptr(), [matrix.nrows(), matrix.ncols()], strides) }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn row_stride(&self) -> usize {
        self.row_stride
    }

    pub(crate) fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// The rows of a range, or `None` unless all of them are there.
    pub(crate) fn slice_rows(&self, range: core::ops::Range<usize>) -> Option<Self> {
        let fits = range.start <= range.end && range.end <= self.rows;
        // Where nothing may be read, as in an empty range, it does not matter where that begins.
        let start = self.start.wrapping_add(range.start.wrapping_mul(self.row_stride));
        fits.then(|| Self { start, rows: range.end - range.start, ..*self })
    }

    /// Row `i`, or `None` past the last one, or where its elements do not lie side by side.
    pub(crate) fn row(&self, i: usize) -> Option<&'a [T]> {
        let start = self.start.wrapping_add(i * self.row_stride);
        // SAFETY: the elements of row i lie side by side, and they may be read for 'a.
        (i < self.rows && self.col_stride == 1)
            .then(|| unsafe { core::slice::from_raw_parts(start, self.cols) })
    }

    /// Element (i, j).
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn get(&self, i: usize, j: usize) -> T
    where
        T: Copy,
    {
        assert!(i < self.rows && j < self.cols, "element ({i}, {j})");
        // SAFETY: the matrix has the element.
        unsafe { *self.at(i, j) }
    }

    /// Where element (i, j) is, if the matrix has it.
    #[inline(always)]
    pub(crate) fn at(&self, i: usize, j: usize) -> *const T {
        let offset = i.wrapping_mul(self.row_stride).wrapping_add(j.wrapping_mul(self.col_stride));
        self.start.wrapping_add(offset)
    }
}
