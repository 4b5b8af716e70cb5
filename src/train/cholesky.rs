//! The Cholesky factorisation A = L Lᵀ of a symmetric positive definite matrix, and solutions with L. Blocked, so
//! that nearly all of its work is matrix products (Golub and Van Loan, "Matrix Computations", section 4.2.6), and
//! with the inverses of the blocks on the diagonal, so that nearly all that is done with it is, too.

use crate::{
    Isa,
    kernel::{CHAIN, Strided, multiply},
    simd::{Lanes, Run, prefetch},
};

/// What is left of an entry of the diagonal, at least, relative to it.
const SMALLEST_PIVOT: f32 = 1e-7;

/// L, in panels of columns: panel p has the columns from `p * WIDTH` on, and the rows from there on; of its block
/// on the diagonal, it has the inverse.
///
/// Rounded to the upper halves of `f32`, as all of it is read twice in every evaluation. The two operations are
/// each other's transposes with what was rounded, to the accuracy of `f32`.
pub(super) struct Cholesky {
    n: usize,
    panels: Vec<Vec<Pair>>,
}

/// Entries 2i and 2i + 1 of a row in one word, which a shift and a mask widen to `f32`.
type Pair = u32;

/// The pairs of a row of a panel.
const PAIRS: usize = WIDTH / 2;

const WIDTH: usize = Cholesky::WIDTH;

impl Cholesky {
    /// Columns of a panel.
    pub(super) const WIDTH: usize = 64;

    /// The number of panels of a matrix of `n` rows.
    pub(super) fn n_panels(n: usize) -> usize {
        n.div_ceil(WIDTH)
    }

    /// The columns of a panel.
    pub(super) fn columns(n: usize, panel: usize) -> core::ops::Range<usize> {
        panel * WIDTH..n.min((panel + 1) * WIDTH)
    }

    /// Factors a matrix given in panels as those of L are: of each, the rows from its first column on, each
    /// [`WIDTH`] long. Entries above the diagonal are not looked at.
    ///
    /// Where the matrix is not positive definite in this precision, a column becomes one of the
    /// unit matrix, scaled as its diagonal is.
    pub(super) fn factor(n: usize, mut panels: Vec<Vec<f32>>) -> Self {
        let mut scales = [0.0; WIDTH];
        for p in 0..panels.len() {
            let columns = Self::columns(n, p);
            let (done, rest) = panels.split_at_mut(p);
            let panel = &mut rest[0];
            for (j, scale) in scales[..columns.len()].iter_mut().enumerate() {
                *scale = panel[j * WIDTH + j];
            }
            for (q, left) in done.iter().enumerate() {
                // The rows of the panel on the left that are rows of this one.
                let left = &left[(p - q) * WIDTH * WIDTH..];
                let size = [n - columns.start, WIDTH, columns.len()];
                let left = Strided::rows(left, WIDTH);
                multiply(size, -1.0, left, left.transposed(), 1.0, panel, WIDTH);
            }
            factor_panel(panel, &scales[..columns.len()]);
        }
        for (p, panel) in panels.iter_mut().enumerate() {
            invert(&mut panel.as_chunks_mut().0[..Self::columns(n, p).len()]);
        }
        let round = |x: f32| x.to_bits().wrapping_add(0x8000) >> 16;
        let pair = |pair: &[f32; 2]| round(pair[0]) | round(pair[1]) << 16;
        let pairs = |panel: Vec<f32>| panel.as_chunks().0.iter().map(pair).collect();
        Self { n, panels: panels.into_iter().map(pairs).collect() }
    }

    /// Does `operation` to `x`.
    pub(super) fn apply(&self, isa: Isa, operation: Operation, x: &mut [f64]) {
        isa.run(Apply { factor: self, operation, x });
    }
}

/// What is done with L.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    /// x ← L⁻¹ x.
    Solve,
    /// x ← L⁻ᵀ x.
    SolveTransposed,
}

/// Plain loops, compiled for the instruction set that they run with. Their order of summation is fixed, and so
/// their bits are the same with any.
struct Apply<'a> {
    factor: &'a Cholesky,
    operation: Operation,
    x: &'a mut [f64],
}

impl Run<f32> for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = f32>>(self, _: L::Proof) {
        match self.operation {
            Operation::Solve => self.solve(),
            Operation::SolveTransposed => self.solve_transposed(),
        }
    }
}

impl Apply<'_> {
    #[inline(always)]
    fn solve(self) {
        let Self { factor, x, .. } = self;
        for (p, panel) in factor.panels.iter().enumerate() {
            let columns = Cholesky::columns(factor.n, p);
            let (head, tail) = x[columns.start..].split_at_mut(columns.len());
            let (diagonal, below) = panel.as_chunks().0.split_at(columns.len());
            let residuals = Split::of(head);
            head.iter_mut().zip(diagonal).for_each(|(x, row)| *x = dot(row, &residuals));
            let solved = Split::of(head);
            for (x, row) in tail.iter_mut().zip(below) {
                prefetch_ahead(row);
                *x -= dot(row, &solved);
            }
        }
    }

    #[inline(always)]
    fn solve_transposed(self) {
        let Self { factor, x, .. } = self;
        for (p, panel) in factor.panels.iter().enumerate().rev() {
            let columns = Cholesky::columns(factor.n, p);
            let (head, tail) = x[columns.start..].split_at_mut(columns.len());
            let (diagonal, below) = panel.as_chunks().0.split_at(columns.len());
            subtract_scaled_rows(head, tail, below);
            let mut solved = [0.0; WIDTH];
            subtract_scaled_rows(&mut solved, head, diagonal);
            head.iter_mut().zip(solved).for_each(|(x, minus)| *x = -minus);
        }
    }
}

/// Factors the diagonal block of a panel from which all panels on its left have been subtracted, and
/// divides the rows below by its transpose. `diagonal` is what it was before.
fn factor_panel(panel: &mut [f32], diagonal: &[f32]) {
    // The transpose of the block: row j is what column j takes from the columns right of it.
    let mut upper = [[0.0_f32; WIDTH]; WIDTH];
    for (i, row) in panel.chunks_exact_mut(WIDTH).enumerate() {
        for j in 0..diagonal.len().min(i) {
            let value = row[j] / upper[j][j];
            row[j] = value;
            if i < diagonal.len() {
                upper[j][i] = value;
            }
            for (x, u) in row[j + 1..].iter_mut().zip(&upper[j][j + 1..]) {
                *x -= value * u;
            }
        }
        if let Some(scale) = diagonal.get(i) {
            // Neither is a NaN.
            let positive = row[i] > SMALLEST_PIVOT * scale;
            if !positive {
                row[..i].fill(0.0);
                upper.iter_mut().for_each(|upper| upper[i] = 0.0);
                row[i] = if *scale > 0.0 { *scale } else { 1.0 };
            }
            row[i] = row[i].sqrt();
            upper[i][i] = row[i];
            row[i + 1..].fill(0.0);
        }
    }
}

/// Asks for what comes some rows later. The factors of all classes are read once for every evaluation, which
/// leaves nothing of them in near caches.
#[inline(always)]
fn prefetch_ahead(row: &[Pair; PAIRS]) {
    for line in (0..PAIRS).step_by(16) {
        prefetch(row.as_ptr().wrapping_add(AHEAD * PAIRS + line));
    }
}

/// Rows ahead that are asked for.
const AHEAD: usize = 16;

/// Inverts a lower triangular matrix, row by row: Σⱼ Lᵢⱼ Zⱼ is row i of the unit matrix.
fn invert(rows: &mut [[f32; WIDTH]]) {
    for i in 0..rows.len() {
        let (inverted, rest) = rows.split_at_mut(i);
        let row = &mut rest[0];
        let mut sums = [0.0; WIDTH];
        for (factor, inverted) in row.iter().zip(inverted) {
            sums.iter_mut().zip(inverted).for_each(|(sum, z)| *sum -= factor * *z);
        }
        sums[i] = 1.0;
        let pivot = row[i];
        row.iter_mut().zip(sums).for_each(|(x, sum)| *x = sum / pivot);
    }
}

#[inline(always)]
fn even(pair: Pair) -> f32 {
    f32::from_bits(pair << 16)
}

#[inline(always)]
fn odd(pair: Pair) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}

/// A vector as wide as a panel, in the order of [`Pair`]s.
#[derive(Default)]
struct Split {
    even: [f32; PAIRS],
    odd: [f32; PAIRS],
}

impl Split {
    #[inline(always)]
    fn of(x: &[f64]) -> Self {
        let mut all = [0.0; WIDTH];
        all.iter_mut().zip(x).for_each(|(target, x)| *target = *x as f32);
        let at = |i: usize| all[i];
        Self {
            even: core::array::from_fn(|i| at(2 * i)),
            odd: core::array::from_fn(|i| at(2 * i + 1)),
        }
    }
}

/// Σ aⱼ xⱼ, in `f32`, in sums of sums.
#[inline(always)]
fn dot(row: &[Pair; PAIRS], x: &Split) -> f64 {
    let mut products = [0.0; PAIRS];
    for i in 0..PAIRS {
        products[i] = even(row[i]) * x.even[i] + odd(row[i]) * x.odd[i];
    }
    let mut width = PAIRS;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            products[i] += products[i + width];
        }
    }
    products[0].into()
}

/// xⱼ ← xⱼ − Σᵢ fᵢ aᵢⱼ, with sums of a few rows in `f32`.
#[inline(always)]
fn subtract_scaled_rows(x: &mut [f64], factors: &[f64], rows: &[[Pair; PAIRS]]) {
    for (factors, rows) in factors.chunks(CHAIN).zip(rows.chunks(CHAIN)) {
        let mut sums = Split::default();
        for (factor, row) in factors.iter().zip(rows) {
            prefetch_ahead(row);
            let factor = *factor as f32;
            for ((pair, even_sum), odd_sum) in row.iter().zip(&mut sums.even).zip(&mut sums.odd) {
                *even_sum += factor * even(*pair);
                *odd_sum += factor * odd(*pair);
            }
        }
        let sums = sums.even.iter().zip(&sums.odd).flat_map(|(even, odd)| [*even, *odd]);
        x.iter_mut().zip(sums).for_each(|(x, sum)| *x -= f64::from(sum));
    }
}
