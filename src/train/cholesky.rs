//! The Cholesky factorisation A = L Lᵀ of a symmetric positive definite matrix, and solutions with L. Blocked, so
//! that nearly all of its work is matrix products (Golub and Van Loan, "Matrix Computations", section 4.2.6), and
//! with the inverses of the blocks on the diagonal, so that nearly all that is done with it is, too.

use crate::{
    Isa,
    kernel::{Strided, multiply},
    simd::{Lanes, Run, prefetch},
};

/// What is left of an entry of the diagonal, at least, relative to it.
const SMALLEST_PIVOT: f32 = 1e-7;

/// L in tiles, column by column, each from the diagonal down; those on the diagonal are inverted. Entries are integers
/// of eight bits, as all of them are read in every iteration: by them, L Lᵀ is another matrix, but near A.
#[derive(Clone, Debug)]
pub(super) struct Cholesky {
    tiles: Vec<Tile>,
    /// For each column of tiles, what the integers of a column stand for: on the diagonal and below.
    units: Vec<[[f32; TILE]; 2]>,
}

/// Columns of rows.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Tile([[i8; TILE]; TILE]);

/// Rows and columns of a tile.
const TILE: usize = 32;

const WIDTH: usize = Cholesky::WIDTH;

impl Cholesky {
    /// Columns of a panel.
    pub(super) const WIDTH: usize = 64;

    /// The length of the vectors that a matrix of `n` rows is solved with.
    pub(super) fn padded(n: usize) -> usize {
        n.next_multiple_of(TILE)
    }

    /// The number of panels of a matrix of `n` rows.
    pub(super) fn n_panels(n: usize) -> usize {
        n.div_ceil(WIDTH)
    }

    /// The columns of a panel.
    pub(super) fn columns(n: usize, panel: usize) -> core::ops::Range<usize> {
        panel * WIDTH..n.min((panel + 1) * WIDTH)
    }

    /// Factors a matrix of `n` rows, given in panels of columns: panel p has those from `p * WIDTH` on, and the rows
    /// from there on, each [`WIDTH`] long. Entries above the diagonal are not looked at.
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
        let mut tiles = Vec::new();
        let mut units = Vec::new();
        for start in (0..n).step_by(TILE) {
            let (panel, first) = (start / WIDTH, start % WIDTH);
            let rows = panels[panel].chunks_exact(WIDTH).skip(start - panel * WIDTH);
            let mut rows: Vec<[f32; TILE]> =
                rows.map(|row| core::array::from_fn(|j| row[first + j])).collect();
            let (diagonal, below) = rows.split_at_mut(TILE.min(n - start));
            invert(diagonal);
            let unit = [unit(diagonal), unit(below)];
            tiles.push(Tile::new(diagonal, &unit[0]));
            tiles.extend(below.chunks(TILE).map(|rows| Tile::new(rows, &unit[1])));
            units.push(unit);
        }
        Self { tiles, units }
    }

    /// x ← A⁻¹ x. Behind its `n` entries, `x` is padded with zeros.
    ///
    /// # Panics
    /// If the length of `x` is not [`padded`](Self::padded).
    pub(super) fn solve(&self, isa: Isa, x: &mut [f32]) {
        let (x, rest) = x.as_chunks_mut();
        assert!(rest.is_empty() && x.len() == self.units.len());
        isa.run(Solve { factor: self, x });
    }
}

struct Solve<'a> {
    factor: &'a Cholesky,
    x: &'a mut [[f32; TILE]],
}

impl Run<f32> for Solve<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = f32>>(self, proof: L::Proof) {
        let Self { factor: Cholesky { tiles, units }, x } = self;
        // x ← L⁻¹ x.
        let mut rest = &tiles[..];
        for (i, [on_diagonal, below]) in units.iter().enumerate() {
            let column;
            (column, rest) = rest.split_at(x.len() - i);
            column[0].prefetch_ahead();
            x[i] = column[0].times::<L>(proof, &product(&x[i], on_diagonal));
            let solved = product(&x[i], below);
            for (tile, x) in column.iter().zip(&mut x[i..]).skip(1) {
                tile.prefetch_ahead();
                subtract(x, &tile.times::<L>(proof, &solved));
            }
        }
        // x ← L⁻ᵀ x. What was read last is still near.
        let mut rest = &tiles[..];
        for (i, [on_diagonal, below]) in units.iter().enumerate().rev() {
            let column;
            (rest, column) = rest.split_at(rest.len() - (x.len() - i));
            let (head, solved) = x[i..].split_at_mut(1);
            let sum = Tile::sum_of_transposes::<L>(proof, &column[1..], solved);
            subtract(&mut head[0], &product(&sum, below));
            let sum = Tile::sum_of_transposes::<L>(proof, &column[..1], head);
            head[0] = product(&sum, on_diagonal);
        }
    }
}

#[inline(always)]
fn subtract(x: &mut [f32; TILE], y: &[f32; TILE]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x -= y);
}

#[inline(always)]
fn product(x: &[f32; TILE], y: &[f32; TILE]) -> [f32; TILE] {
    core::array::from_fn(|j| x[j] * y[j])
}

/// For each column, the largest magnitude in units of the largest integer.
fn unit(rows: &[[f32; TILE]]) -> [f32; TILE] {
    let largest = |j: usize| rows.iter().fold(0.0, |max: f32, row| max.max(row[j].abs()));
    core::array::from_fn(|j| largest(j) / f32::from(i8::MAX))
}

impl Tile {
    /// At most [`TILE`] rows; the others are zero.
    fn new(rows: &[[f32; TILE]], units: &[f32; TILE]) -> Self {
        let mut tile = Self([[0; TILE]; TILE]);
        for (i, row) in rows.iter().enumerate() {
            for (column, (x, unit)) in tile.0.iter_mut().zip(row.iter().zip(units)) {
                // Zero, where the unit is.
                column[i] = (x / unit).round() as i8;
            }
        }
        tile
    }

    /// The product of the tile and a vector.
    #[inline(always)]
    fn times<L: Lanes<Elem = f32>>(&self, proof: L::Proof, x: &[f32; TILE]) -> [f32; TILE] {
        // Of even columns and of odd ones.
        let mut sums = [[L::splat(proof, 0.0); MAX_VECTORS]; 2];
        for (columns, x) in self.0.as_chunks::<2>().0.iter().zip(x.as_chunks::<2>().0) {
            for ((column, x), sums) in columns.iter().zip(x).zip(&mut sums) {
                let x = L::splat(proof, *x);
                for vector in 0..TILE / L::LANES {
                    let rows = L::from_integers(proof, &column[vector * L::LANES..]);
                    sums[vector] = rows.mul_add(x, sums[vector]);
                }
            }
        }
        let mut product = [0.0; TILE];
        let [even, odd] = sums;
        for (rows, (even, odd)) in product.chunks_exact_mut(L::LANES).zip(even.iter().zip(odd)) {
            (*even + odd).write_to(rows);
        }
        product
    }

    /// The sum of the products of transposed tiles and vectors.
    #[inline(always)]
    fn sum_of_transposes<L: Lanes<Elem = f32>>(
        proof: L::Proof,
        tiles: &[Self],
        x: &[[f32; TILE]],
    ) -> [f32; TILE] {
        const COLUMNS: usize = 8;
        let mut total = [0.0; TILE];
        for (group, total) in total.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
            let mut sums = [L::splat(proof, 0.0); COLUMNS];
            for (tile, x) in tiles.iter().zip(x) {
                let columns = &tile.0.as_chunks::<COLUMNS>().0[group];
                for vector in 0..TILE / L::LANES {
                    let x = L::from_slice(proof, &x[vector * L::LANES..]);
                    for (column, sum) in columns.iter().zip(&mut sums) {
                        let rows = L::from_integers(proof, &column[vector * L::LANES..]);
                        *sum = rows.mul_add(x, *sum);
                    }
                }
            }
            for (sums, total) in sums.as_chunks().0.iter().zip(total.as_chunks_mut().0) {
                *total = L::sum4(*sums);
            }
        }
        total
    }

    /// Asks for a tile that comes later. All factors are read once for every iteration, which leaves nothing of
    /// them in near caches.
    #[inline(always)]
    fn prefetch_ahead(&self) {
        let tile = core::ptr::from_ref(self).wrapping_add(AHEAD).cast::<u8>();
        (0..size_of::<Self>()).step_by(64).for_each(|line| prefetch(tile.wrapping_add(line)));
    }
}

/// Vectors of a column.
const MAX_VECTORS: usize = TILE / 8;

/// Tiles ahead that are asked for.
const AHEAD: usize = 4;

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

/// Inverts a lower triangular matrix, row by row: Σⱼ Lᵢⱼ Zⱼ is row i of the unit matrix.
fn invert(rows: &mut [[f32; TILE]]) {
    for i in 0..rows.len() {
        let (inverted, rest) = rows.split_at_mut(i);
        let row = &mut rest[0];
        let mut sums = [0.0; TILE];
        for (factor, inverted) in row.iter().zip(inverted) {
            sums.iter_mut().zip(inverted).for_each(|(sum, z)| *sum -= factor * *z);
        }
        sums[i] = 1.0;
        let pivot = row[i];
        row.iter_mut().zip(sums).for_each(|(x, sum)| *x = sum / pivot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random;

    /// Solves with A = B Bᵀ + n I for a random B, whose condition is moderate.
    #[test]
    fn solves() {
        for n in [1, 2, 31, 32, 33, 64, 65, 100, 160] {
            let mut random = random(n as u64);
            let b: Vec<f32> = (0..n * n).map(|_| random()).collect();
            let product = |i: usize, j: usize| (0..n).map(|l| b[i * n + l] * b[j * n + l]).sum();
            let entry = |i: usize, j: usize| -> f32 {
                let product: f32 = product(i, j);
                if i == j { product + n as f32 } else { product }
            };
            let panels = (0..Cholesky::n_panels(n)).map(|p| {
                let columns = Cholesky::columns(n, p);
                let mut panel = vec![0.0; (n - columns.start) * WIDTH];
                for (row, i) in panel.chunks_exact_mut(WIDTH).zip(columns.start..) {
                    row.iter_mut().zip(columns.clone()).for_each(|(x, j)| *x = entry(i, j));
                }
                panel
            });
            let factor = Cholesky::factor(n, panels.collect());
            let expected: Vec<f32> = (0..n).map(|_| random()).collect();
            for isa in Isa::available() {
                let mut x = vec![0.0; Cholesky::padded(n)];
                for (i, x) in x[..n].iter_mut().enumerate() {
                    *x = expected.iter().enumerate().map(|(j, x)| entry(i, j) * x).sum();
                }
                factor.solve(isa, &mut x);
                let off = x.iter().zip(&expected).map(|(x, e)| (x - e).abs()).fold(0.0, f32::max);
                // Entries have seven bits and a sign.
                assert!(off < 0.05, "{n} rows, {}: {off}", isa.name());
                assert!(x[n..].iter().all(|x| *x == 0.0));
            }
        }
    }

    #[test]
    fn a_matrix_of_rank_one_has_a_factor() {
        let n = 70;
        let panels = (0..Cholesky::n_panels(n))
            .map(|p| vec![1.0; (n - Cholesky::columns(n, p).start) * WIDTH])
            .collect();
        let mut x = vec![1.0; Cholesky::padded(n)];
        x[n..].fill(0.0);
        Cholesky::factor(n, panels).solve(Isa::detect(), &mut x);
        assert!(x.iter().all(|x| x.is_finite()), "{x:?}");
    }
}
