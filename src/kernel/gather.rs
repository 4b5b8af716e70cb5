//! Selected rows of column-major features, copied side by side: what the kernels of rows work on. The copy stays
//! in cache.

use super::MAX_LANES;
use crate::{MatrixView, Scalar};

/// The distance of the rows of a copy: an odd number of the widest vectors, as rows of a multiple of 4096 bytes
/// would compete for the same places of a cache.
pub(crate) fn copy_stride(n_features: usize) -> usize {
    (n_features.div_ceil(MAX_LANES) | 1) * MAX_LANES
}

/// Copies the rows that `row_of` names, for each row of `target`.
#[inline(always)]
pub(crate) fn copy_selected_rows<T: Scalar>(
    x: MatrixView<'_, T>,
    row_of: impl Fn(usize) -> usize,
    n: usize,
    target: &mut [T],
    stride: usize,
) {
    let (x, d) = (x.view(), x.cols());
    // Some rows at a time, so that their places in `target` stay in the nearest cache.
    for first in (0..n).step_by(MAX_LANES) {
        for col in 0..d {
            for i in first..n.min(first + MAX_LANES) {
                target[i * stride + col] = x.get(row_of(i), col);
            }
        }
    }
}
