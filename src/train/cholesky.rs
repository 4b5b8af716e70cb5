//! The Cholesky factorisation A = L Lᵀ of a symmetric positive definite matrix, and products and
//! solutions with L. Blocked, so that nearly all of its work is matrix products (Golub and Van Loan, "Matrix
//! Computations", section 4.2.6).

use crate::{
    Isa,
    kernel::{Strided, multiply},
    simd::{Lanes, Run, prefetch},
};

/// What is left of an entry of the diagonal, at least, relative to it.
const SMALLEST_PIVOT: f32 = 1e-7;

/// L, in panels of columns: panel p has the columns from `p * WIDTH` on, and the rows from there on.
///
/// Rounded to the upper halves of `f32`, as reading them is what takes time. What is done with L is done with what
/// it was rounded to, always.
pub(super) struct Cholesky {
    n: usize,
    panels: Vec<Vec<u16>>,
}

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
        let round = |x: f32| (x.to_bits().wrapping_add(0x8000) >> 16) as u16;
        let panels = panels.into_iter().map(|panel| panel.into_iter().map(round).collect());
        Self { n, panels: panels.collect() }
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
    /// x ← Lᵀ x.
    MultiplyTransposed,
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
            Operation::MultiplyTransposed => self.multiply_transposed(),
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
            let (diagonal, below) = panel.split_at(columns.len() * WIDTH);
            for (j, row) in diagonal.chunks_exact(WIDTH).enumerate() {
                head[j] = (head[j] - dot(&row[..j], &head[..j])) / widen(row[j]);
            }
            for (x, row) in tail.iter_mut().zip(below.chunks_exact(WIDTH)) {
                prefetch_ahead(row);
                *x -= dot(row, head);
            }
        }
    }

    #[inline(always)]
    fn solve_transposed(self) {
        let Self { factor, x, .. } = self;
        for (p, panel) in factor.panels.iter().enumerate().rev() {
            let columns = Cholesky::columns(factor.n, p);
            let (head, tail) = x[columns.start..].split_at_mut(columns.len());
            let (diagonal, below) = panel.split_at(columns.len() * WIDTH);
            for (x, row) in tail.iter().zip(below.chunks_exact(WIDTH)) {
                prefetch_ahead(row);
                add_scaled(head, -x, row);
            }
            for (j, row) in diagonal.chunks_exact(WIDTH).enumerate().rev() {
                head[j] /= widen(row[j]);
                let x = head[j];
                add_scaled(&mut head[..j], -x, row);
            }
        }
    }

    #[inline(always)]
    fn multiply_transposed(self) {
        let Self { factor, x, .. } = self;
        for (p, panel) in factor.panels.iter().enumerate() {
            let columns = Cholesky::columns(factor.n, p);
            let mut sums = [0.0; WIDTH];
            for (i, row) in panel.chunks_exact(WIDTH).enumerate() {
                add_scaled(&mut sums[..columns.len().min(i + 1)], x[columns.start + i], row);
            }
            x[columns.clone()].copy_from_slice(&sums[..columns.len()]);
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

#[inline(always)]
fn widen(half: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(half) << 16))
}

/// Asks for what comes some rows later. The factors of all classes are read once for every evaluation, which
/// leaves nothing of them in near caches.
#[inline(always)]
fn prefetch_ahead(row: &[u16]) {
    for line in (0..WIDTH).step_by(32) {
        prefetch(row.as_ptr().wrapping_add(AHEAD * WIDTH + line));
    }
}

/// Rows ahead that are asked for.
const AHEAD: usize = 16;

/// Σ aᵢ xᵢ over as many as there are of both, in as many sums as keep the processor busy.
#[inline(always)]
fn dot(a: &[u16], x: &[f64]) -> f64 {
    const SUMS: usize = 8;
    let n = a.len().min(x.len());
    let ((a, a_rest), (x, x_rest)) = (a[..n].as_chunks::<SUMS>(), x[..n].as_chunks::<SUMS>());
    let mut sums = [0.0; SUMS];
    for (a, x) in a.iter().zip(x) {
        for i in 0..SUMS {
            sums[i] += widen(a[i]) * x[i];
        }
    }
    let rest: f64 = a_rest.iter().zip(x_rest).map(|(a, x)| widen(*a) * x).sum();
    sums.iter().sum::<f64>() + rest
}

/// xᵢ ← xᵢ + f aᵢ.
#[inline(always)]
fn add_scaled(x: &mut [f64], factor: f64, a: &[u16]) {
    for (x, a) in x.iter_mut().zip(a) {
        *x += factor * widen(*a);
    }
}
