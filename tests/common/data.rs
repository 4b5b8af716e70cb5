//! Samples to fit.

use super::Random;
use core::ops::Range;
use softmargin::{Batch, Features, MatrixView, Scalar};

/// Classes of unequal sizes, centres of which are 4 apart: integers, so that they are the same in any type.
pub struct Data<E = i8> {
    pub x: Vec<E>,
    pub labels: Vec<u32>,
    pub weights: Vec<f64>,
    pub shape: [usize; 3],
}

impl Data {
    pub fn new(seed: u64, shape: [usize; 3], noise: Range<f64>) -> Self {
        let [n, d, c] = shape;
        let mut random = Random::new(seed);
        let mut uniform = || random.unit();
        let labels: Vec<u32> = (0..n)
            .map(|i| if i < c { i as u32 } else { (c as f64 * uniform().powi(2)) as u32 })
            .collect();
        let mut x = Vec::new();
        for label in &labels {
            for l in 0..d {
                let centre = if l % c == *label as usize { 4.0 } else { 0.0 };
                x.push((centre + noise.start + (noise.end - noise.start) * uniform()).floor() as i8);
            }
        }
        let weights = (0..n).map(|i| if i % 5 == 0 { 0.0 } else { uniform() }).collect();
        Self { x, labels, weights, shape }
    }

    /// With features of unequal scales.
    pub fn unequally_scaled<T: Scalar>(self) -> Data<T> {
        let Self { x, labels, weights, shape } = self;
        let scales = (1..=shape[1]).map(|l| l as f64 / 4.0).cycle();
        let x = x.iter().zip(scales).map(|(x, scale)| T::from_f64(f64::from(*x) * scale)).collect();
        Data { x, labels, weights, shape }
    }
}

impl<E> Data<E> {
    pub fn batch<T: Scalar>(&self) -> Batch<'_, T>
    where
        for<'a> MatrixView<'a, E>: Into<Features<'a, T>>,
    {
        let [n, d, _] = self.shape;
        Batch::new(MatrixView::new(&self.x, n, d).unwrap(), &self.labels).unwrap()
    }
}
