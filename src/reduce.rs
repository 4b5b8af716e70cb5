//! From the sums of the tasks to the total, in the order of the tasks, and from the total to the mean with its L2
//! term. Plain loops, which the compiler turns into vectors of the instruction set.

use crate::{
    Error, LinearModel, Partial,
    driver::Workspace,
    element::Element,
    kernel::add_held,
    simd::{Lanes, Run},
};
use core::ops::Range;

/// The gradient of some classes: the sum of the tasks' own gradients or, if they share one, what it is before with
/// the blocks added that the tasks hold. Returns whether it is finite.
pub struct Fold<'a, T> {
    pub(crate) workspaces: &'a [Workspace<T>],
    pub(crate) shared: bool,
    pub(crate) classes: Range<usize>,
    pub(crate) n_features: usize,
    /// The gradient from the first of the classes on.
    pub(crate) dw: &'a mut [f64],
}

impl<T: Element> Run<T> for Fold<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> bool {
        let Self { workspaces, shared, classes, n_features: d, dw } = self;
        if shared {
            let held = workspaces.iter().map(|task| (&task.copies, &task.scores, &task.gradient));
            add_held::<L>(proof, held, classes, d, dw);
        } else if let Some((first, others)) = workspaces.split_first() {
            for (class, dw) in classes.zip(dw.chunks_exact_mut(d)) {
                dw.copy_from_slice(first.gradient.class(class, d));
                for task in others {
                    dw.iter_mut()
                        .zip(task.gradient.class(class, d))
                        .for_each(|(sum, term)| *sum += term);
                }
            }
        }
        dw.iter().fold(true, |all, sum| all & sum.is_finite())
    }
}

/// Divides the loss by Z and adds the L2 term.
pub struct MeanLoss<'a, T> {
    pub(crate) l2: f64,
    pub(crate) model: &'a LinearModel<T>,
    pub(crate) sums: &'a Partial<T>,
}

impl<T: Element> Run<T> for MeanLoss<'_, T> {
    type Output = Result<f64, Error>;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) -> Result<f64, Error> {
        let Self { l2, model, sums } = self;
        let z = sums.total_weight();
        if z == 0.0 {
            return Err(Error::NoSamples);
        }
        let squares = if l2 > 0.0 { sum_of_squares(model.weights()) } else { 0.0 };
        let loss = sums.loss() / z + l2 * squares;
        if !loss.is_finite() {
            return Err(Error::Overflow { what: "loss" });
        }
        Ok(loss)
    }
}

/// Divides the gradient, or a Hessian product, by Z, adds the derivative of the L2 term, and writes the mean once all
/// of it is known to be finite.
pub struct MeanGradient<'a, T> {
    pub(crate) l2: f64,
    /// The model, or the direction.
    pub(crate) model: &'a LinearModel<T>,
    pub(crate) sums: &'a Partial<T>,
    /// What the mean is called.
    pub(crate) what: &'static str,
    pub(crate) mean: &'a mut LinearModel<T>,
}

impl<T: Element> Run<T> for MeanGradient<'_, T> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) -> Result<(), Error> {
        let Self { l2, model, sums, what, mean: target } = self;
        let (dw, db) = sums.gradient().split_at(model.weights().len());
        let (of_one, of_weight) = (1.0 / sums.total_weight(), 2.0 * l2);
        let mean = |sum: f64, weight: T| T::from_f64(sum * of_one + of_weight * weight.to_f64());
        let mut finite = true;
        for (sum, weight) in dw.iter().zip(model.weights()) {
            finite &= mean(*sum, *weight).is_finite();
        }
        for sum in db {
            finite &= mean(*sum, T::default()).is_finite();
        }
        if !finite {
            return Err(Error::Overflow { what });
        }
        let entries = target.weights_mut().iter_mut().zip(dw).zip(model.weights());
        entries.for_each(|((entry, sum), weight)| *entry = mean(*sum, *weight));
        let entries = target.bias_mut().iter_mut().zip(db);
        entries.for_each(|(entry, sum)| *entry = mean(*sum, T::default()));
        Ok(())
    }
}

/// Σ W², in as many sums as there are lanes.
#[inline(always)]
fn sum_of_squares<T: Element>(weights: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    for chunk in weights.chunks(sums.len()) {
        for (sum, w) in sums.iter_mut().zip(chunk) {
            *sum += w.to_f64() * w.to_f64();
        }
    }
    sums.iter().sum()
}
