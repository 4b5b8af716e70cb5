//! Blocked summation: how long a sum in the element type may grow. Each level adds up a few sums of the level
//! below it and the last one is in `f64`, so that the error of a million samples is hardly larger than that of
//! one block of rows.
//!
//! | level | what it adds up | where |
//! |---|---|---|
//! | first | terms | a register |
//! | second | sums of the first level | registers, the stack, or memory that stays in cache |
//! | third | blocks of rows, where X is packed | the same |
//! | last | all that a task, or a round of tasks, sees | `f64` in memory |

use crate::simd::Lanes;
use core::ops::AddAssign;

/// Sums of the first level that the second one adds up. Terms that are all equal, as those of repeated rows
/// are, err in one direction: by 2⁻²⁴ of the sum for half the length of each level.
pub(crate) const SECOND_LEVEL: usize = 4;

/// Terms that the first level adds up.
pub(crate) const FIRST_LEVEL: usize = 16;

/// Terms that the first level of a gradient adds up: rows or, where columns are read, vectors of rows. A chain starts and ends with the registers of a whole tile, which
/// takes 7 % of the time of a product with 32 rows, and 15 % with 16.
const ROWS: usize = 32;

/// Blocks that the third level adds up before the sum is added to dW in `f64`, which for a large model costs
/// as much as a dozen rows do.
pub(crate) const THIRD_LEVEL: usize = 2;

/// Up to this many features the products are the smaller part of the work, and shorter sums cost little.
const FEW_FEATURES: usize = 64;

/// How many rows the first two levels of a gradient take.
#[derive(Clone, Copy)]
pub(crate) struct Levels {
    /// Rows of a sum of the first level.
    pub(crate) first: usize,
    /// Rows of a sum of the second level, a multiple.
    pub(crate) second: usize,
}

impl Levels {
    /// For rows that are packed.
    pub(crate) const PACKED: Self = Self { first: ROWS, second: SECOND_LEVEL * ROWS };

    /// For terms of one row.
    pub(crate) const fn of_rows(n_features: usize) -> Self {
        match n_features {
            ..=FEW_FEATURES => Self { first: 8, second: 64 },
            _ => Self { first: ROWS, second: 8 * ROWS },
        }
    }

    /// For terms of as many rows as there are lanes; there is no second level. With a few features, shorter
    /// sums cost 20000 × 16 × 26 a tenth, and take the error of a million rows of Cauchy features from 1.1e-7
    /// to 7e-8.
    pub(crate) const fn of_vectors<L: Lanes>(n_features: usize) -> Self {
        let first = match n_features {
            ..=FEW_FEATURES => FIRST_LEVEL / 4 * L::LANES,
            _ => ROWS * L::LANES,
        };
        Self { first, second: first }
    }
}

/// The sum of some numbers, of which there are a power of two: by halves, so that few additions wait for others.
#[inline(always)]
pub(crate) fn sum_halves<T: Copy + AddAssign, const N: usize>(mut numbers: [T; N]) -> T {
    let mut n = N;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            let other = numbers[n + i];
            numbers[i] += other;
        }
    }
    numbers[0]
}
