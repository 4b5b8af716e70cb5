//! The inverse of the Hessian, as the last steps and what they did to the gradient tell it: the matrix H of L-BFGS
//! (Nocedal and Wright, "Numerical Optimization", algorithm 7.4), which begins with a guess H₀.
//!
//! Of every step s and the difference y that it made to the gradient, s and H₀y are kept. The two loops of the
//! algorithm then need nothing but products of vectors, and these follow from those with the last gradients (Chen,
//! Wang and Zhou, "Large-scale L-BFGS using MapReduce", 2014): what is kept is read once for the products with a
//! new gradient, and once for the direction.

use super::cost::Point;
use crate::{
    Isa, Scalar,
    simd::{Lanes, Run},
};
use std::collections::VecDeque;

/// What is known of H.
pub(super) struct Secants<T> {
    isa: Isa,
    memory: usize,
    /// The oldest one first.
    known: VecDeque<Secant<T>>,
}

/// A step s and z = H₀y, with the difference y that it made to the gradient.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Secant<T> {
    pub(super) s: Vec<T>,
    pub(super) z: Vec<T>,
    /// s·g and z·g, with the last gradient.
    pub(super) with_gradient: [f64; 2],
    /// s·y and z·y, with the y of this step and of those after it.
    pub(super) with_differences: VecDeque<[f64; 2]>,
}

impl<T: Scalar> Secants<T> {
    /// Nothing is known yet; in the end, so many steps are.
    pub(super) fn new(isa: Isa, memory: usize) -> Self {
        Self { isa, memory, known: VecDeque::new() }
    }

    /// Knows what others [knew](Self::known).
    pub(super) fn knowing(isa: Isa, memory: usize, known: VecDeque<Secant<T>>) -> Self {
        Self { isa, memory, known }
    }

    /// All that is known.
    pub(super) fn known(&self) -> &VecDeque<Secant<T>> {
        &self.known
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Learns from a step, so many times `direction`, from one point to another.
    pub(super) fn learn(
        &mut self,
        step: f64,
        direction: &[f64],
        before: &Point<T>,
        after: &Point<T>,
    ) {
        // What is forgotten leaves its memory behind.
        let forgotten = (self.known.len() == self.memory).then(|| self.known.pop_front()).flatten();
        let mut new = forgotten.unwrap_or_else(|| Secant {
            s: vec![T::default(); direction.len()],
            z: vec![T::default(); direction.len()],
            with_gradient: [0.0; 2],
            with_differences: VecDeque::new(),
        });
        new.s.iter_mut().zip(direction).for_each(|(s, d)| *s = T::from_f64(step * d));
        let images = after.image.iter().zip(&before.image);
        new.z
            .iter_mut()
            .zip(images)
            .for_each(|(z, (after, before))| *z = T::from_f64(after - before));
        let [s_before, s_after] = [before, after].map(|point| step * point.slope);
        let [[_, z_before], [_, z_after]] = [before, after].map(|point| self.products(&new, point));
        new.with_gradient = [s_after, z_after];
        let with_difference = [s_after - s_before, z_after - z_before];
        // H has to stay positive definite; rounding may have it otherwise.
        let positive = with_difference.iter().all(|product| *product > 0.0);

        for i in 0..self.known.len() {
            let with_gradient = self.products(&self.known[i], after);
            let secant = &mut self.known[i];
            let [s, z] = core::mem::replace(&mut secant.with_gradient, with_gradient);
            if positive {
                secant.with_differences.push_back([with_gradient[0] - s, with_gradient[1] - z]);
            }
        }
        if positive {
            new.with_differences.clear();
            new.with_differences.push_back(with_difference);
            self.known.push_back(new);
        }
    }

    fn products(&self, secant: &Secant<T>, point: &Point<T>) -> [f64; 2] {
        self.isa.run(Products(secant, point.gradient.parameters()))
    }

    /// Writes −Hg into `direction`, of the gradient g at a point: the last one that a step led to.
    pub(super) fn descend(&self, point: &Point<T>, direction: &mut [f64]) {
        let known = &self.known;
        let s_y = |i: usize, j: usize| known[i].with_differences[j - i][0];
        // H₀ is symmetric.
        let z_y = |i: usize, j: usize| known[i.min(j)].with_differences[i.abs_diff(j)][1];
        let n = known.len();
        let mut first = vec![0.0; n];
        for i in (0..n).rev() {
            let newer: f64 = (i + 1..n).map(|j| first[j] * s_y(i, j)).sum();
            first[i] = (known[i].with_gradient[0] - newer) / s_y(i, i);
        }
        // H₀ is as large as the last step says.
        let scale = n.checked_sub(1).map_or(1.0, |last| s_y(last, last) / z_y(last, last));
        let mut factors = vec![[0.0; 2]; n];
        for i in 0..n {
            let through_h0: f64 = (0..n).map(|j| first[j] * z_y(i, j)).sum();
            let older: f64 = (0..i).map(|j| factors[j][0] * s_y(j, i)).sum();
            let second = scale * (known[i].with_gradient[1] - through_h0) - older;
            factors[i] = [second / s_y(i, i) - first[i], scale * first[i]];
        }
        self.isa.run(Combine { known, factors: &factors, scale, image: &point.image, direction });
    }
}

/// The products of both vectors of a secant with a third one.
struct Products<'a, T>(&'a Secant<T>, &'a [T]);

impl<T: Scalar> Run<T> for Products<'_, T> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) -> [f64; 2] {
        let Self(Secant { s, z, .. }, g) = self;
        let mut sums = [[0.0; CHUNK]; 2];
        let (s, z, g) = (s.as_chunks(), z.as_chunks(), g.as_chunks());
        for ((s, z), g) in s.0.iter().zip(z.0).zip(g.0) {
            add_products(&mut sums, s, z, g);
        }
        let [s, z, g] = [s.1, z.1, g.1].map(|rest| {
            let mut chunk = [T::default(); CHUNK];
            chunk[..rest.len()].copy_from_slice(rest);
            chunk
        });
        add_products(&mut sums, &s, &z, &g);
        sums.map(|lanes| lanes.iter().sum())
    }
}

/// Elements that are multiplied at the same time.
const CHUNK: usize = 32;

#[inline(always)]
fn add_products<T: Scalar>(
    sums: &mut [[f64; CHUNK]; 2],
    s: &[T; CHUNK],
    z: &[T; CHUNK],
    g: &[T; CHUNK],
) {
    for i in 0..CHUNK {
        sums[0][i] += s[i].to_f64() * g[i].to_f64();
        sums[1][i] += z[i].to_f64() * g[i].to_f64();
    }
}

/// −(γH₀g + Σ factors of s and z), which is −Hg.
struct Combine<'a, T> {
    known: &'a VecDeque<Secant<T>>,
    factors: &'a [[f64; 2]],
    scale: f64,
    image: &'a [f64],
    direction: &'a mut [f64],
}

impl<T: Scalar> Run<T> for Combine<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) {
        let Self { known, factors, scale, image, direction } = self;
        const BLOCK: usize = 256;
        for (block, (direction, image)) in
            direction.chunks_mut(BLOCK).zip(image.chunks(BLOCK)).enumerate()
        {
            direction.iter_mut().zip(image).for_each(|(d, image)| *d = -scale * image);
            for (secant, [of_s, of_z]) in known.iter().zip(factors) {
                let (s, z) = (&secant.s[block * BLOCK..], &secant.z[block * BLOCK..]);
                for ((d, s), z) in direction.iter_mut().zip(s).zip(z) {
                    *d += of_s * s.to_f64() + of_z * z.to_f64();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LinearModel, train::random};

    const D: usize = 40;

    fn point(gradient: &[f64], h0: f64, slope: f64) -> Point<f64> {
        let mut point = Point::at(&LinearModel::zeros(1, D - 1));
        point.gradient.parameters_mut().copy_from_slice(gradient);
        point.image = gradient.iter().map(|g| h0 * g).collect();
        point.slope = slope;
        point
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// The algorithm as the book has it, on vectors.
    fn two_loops(secants: &[(Vec<f64>, Vec<f64>)], gradient: &[f64], h0: f64) -> Vec<f64> {
        let mut q = gradient.to_vec();
        let mut first = vec![0.0; secants.len()];
        for ((s, y), alpha) in secants.iter().zip(&mut first).rev() {
            *alpha = dot(s, &q) / dot(s, y);
            q.iter_mut().zip(y).for_each(|(q, y)| *q -= *alpha * y);
        }
        let scale = secants.last().map_or(1.0, |(s, y)| dot(s, y) / (h0 * dot(y, y)));
        q.iter_mut().for_each(|q| *q *= scale * h0);
        for ((s, y), alpha) in secants.iter().zip(&first) {
            let beta = dot(y, &q) / dot(s, y);
            q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s);
        }
        q
    }

    #[test]
    fn agrees_with_the_two_loops_on_vectors() {
        let (memory, h0) = (3, 0.3);
        let mut random = random(1);
        let mut vector = || (0..D).map(|_| f64::from(random())).collect::<Vec<_>>();
        // The gradient of a quadratic function, as differences have to be positive along steps.
        let scales: Vec<f64> = vector().iter().map(|x| 1.5 + x).collect();
        for isa in Isa::available() {
            let mut secants = Secants::new(isa, memory);
            let mut kept = Vec::new();
            let mut gradient = vector();
            for _ in 0..2 * memory + 1 {
                let mut direction = vec![0.0; D];
                let before = point(&gradient, h0, 0.0);
                secants.descend(&before, &mut direction);
                let from = kept.len().saturating_sub(memory);
                let expected = two_loops(&kept[from..], &gradient, h0);
                for (d, e) in direction.iter().zip(&expected) {
                    assert!((d + e).abs() < 1e-10, "{}: {direction:?}, {expected:?}", isa.name());
                }
                let (step, direction) = (0.7, vector());
                let s: Vec<f64> = direction.iter().map(|d| step * d).collect();
                let y: Vec<f64> = s.iter().zip(&scales).map(|(s, scale)| s * scale).collect();
                let next: Vec<f64> = gradient.iter().zip(&y).map(|(g, y)| g + y).collect();
                let before = point(&gradient, h0, dot(&gradient, &direction));
                let after = point(&next, h0, dot(&next, &direction));
                secants.learn(step, &direction, &before, &after);
                kept.push((s, y));
                gradient = next;
            }
            secants.forget();
            assert!(secants.is_empty());
        }
    }

    /// A step along which the slope falls tells nothing that H can use.
    #[test]
    fn learns_nothing_from_negative_curvature() {
        let (before, after) = (point(&[-1.0; D], 1.0, -40.0), point(&[-2.0; D], 1.0, -80.0));
        let mut secants = Secants::new(Isa::detect(), 2);
        secants.learn(1.0, &[1.0; D], &before, &after);
        assert!(secants.is_empty());
    }
}
