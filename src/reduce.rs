//! From the sums of the tasks to the total, in the order of the tasks, and from the total to the mean with its L2
//! term. Plain loops, which the compiler turns into vectors of the instruction set.

use crate::{
    Error, Isa, LinearModel, Partial, Scalar,
    driver::Workspace,
    element::Element,
    kernel::add_held,
    parallel::for_each_chunk,
    simd::{Lanes, Run},
};
use core::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// The gradient of some classes: the sum of the tasks' own gradients or, if they share one, what it is before with
/// the blocks added that the tasks hold. Returns whether it is finite, if this is the last round: sums that are not
/// finite stay so.
pub struct Fold<'a, T> {
    pub(crate) workspaces: &'a [Workspace<T>],
    pub(crate) shared: bool,
    pub(crate) classes: Range<usize>,
    pub(crate) n_features: usize,
    /// The gradient from the first of the classes on.
    pub(crate) dw: &'a mut [f64],
    pub(crate) last: bool,
}

impl<T: Element> Run<T> for Fold<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> bool {
        let Self { workspaces, shared, classes, n_features: d, dw, last } = self;
        if shared {
            let held = workspaces.iter().map(|task| (&task.copies, &task.scores, &task.gradient));
            add_held::<L>(proof, held, classes, d, dw);
        } else {
            for (class, dw) in classes.zip(dw.chunks_exact_mut(d)) {
                dw.fill(0.0);
                for task in workspaces {
                    task.gradient.add_class::<L>(proof, class, dw);
                }
            }
        }
        !last || dw.iter().fold(true, |all, sum| all & sum.is_finite())
    }
}

/// The loss divided by Z, with its L2 term.
pub(crate) fn mean_loss<T: Scalar>(
    isa: Isa,
    l2: f64,
    model: &LinearModel<T>,
    sums: &Partial<T>,
) -> Result<f64, Error> {
    let z = sums.divisor()?;
    let squares = if l2 > 0.0 { sum_of_squares(isa, model.weights()) } else { 0.0 };
    let loss = sums.loss()? / z + l2 * squares;
    if !loss.is_finite() {
        return Err(Error::Overflow { what: "loss" });
    }
    Ok(loss)
}

/// Divides the gradient, or a Hessian product, by Z, adds the derivative of the L2 term along the `model` (or the
/// direction), and writes the mean once all of it is known to be finite. `what` is what an error calls it.
pub(crate) fn write_mean<T: Scalar>(
    isa: Isa,
    l2: f64,
    model: &LinearModel<T>,
    sums: &Partial<T>,
    what: &'static str,
    mean: &mut LinearModel<T>,
) -> Result<(), Error> {
    let (of_one, of_weight) = (1.0 / sums.divisor()?, 2.0 * l2);
    let (dw, db) = sums.gradient().split_at(model.weights().len());
    let (weights, bias) = (model.weights(), model.bias());
    for write in [false, true] {
        let finite = AtomicBool::new(true);
        let part = |of_weight, sums: &[f64], terms: &[T], target: &mut [T]| {
            if !T::mean(isa, Mean { of_one, of_weight, sums, terms, target, write }) {
                finite.store(false, Relaxed);
            }
        };
        for_each_chunk(mean.weights_mut(), MEAN_CHUNK, |i, target| {
            let range = i * MEAN_CHUNK..i * MEAN_CHUNK + target.len();
            part(of_weight, &dw[range.clone()], &weights[range], target);
        });
        part(0.0, db, bias, mean.bias_mut());
        if !finite.into_inner() {
            return Err(Error::Overflow { what });
        }
    }
    Ok(())
}

/// Entries that are worth a thread.
const MEAN_CHUNK: usize = 1 << 15;

/// Some entries of a mean: a sum and the slope of the L2 term each. Returns whether they are finite.
pub struct Mean<'a, T> {
    of_one: f64,
    of_weight: f64,
    sums: &'a [f64],
    terms: &'a [T],
    target: &'a mut [T],
    /// Whether they are written, too.
    write: bool,
}

impl<T: Element> Run<T> for Mean<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) -> bool {
        let Self { of_one, of_weight, sums, terms, target, write } = self;
        let mean = |sum: f64, term: T| T::from_f64(sum * of_one + of_weight * term.to_f64());
        let entries = sums.iter().zip(terms);
        if write {
            let entries = target.iter_mut().zip(entries);
            entries.for_each(|(target, (sum, term))| *target = mean(*sum, *term));
            return true;
        }
        entries.fold(true, |all, (sum, term)| all & mean(*sum, *term).is_finite())
    }
}

/// Σ W². Its parts depend on the number of weights alone, so that its bits do.
fn sum_of_squares<T: Scalar>(isa: Isa, weights: &[T]) -> f64 {
    let mut parts = [0.0; 64];
    let len = weights.len().div_ceil(parts.len()).max(MEAN_CHUNK);
    let n_parts = weights.len().div_ceil(len);
    for_each_chunk(&mut parts[..n_parts], 1, |i, part| {
        let end = weights.len().min((i + 1) * len);
        part[0] = T::squares(isa, Squares { weights: &weights[i * len..end] });
    });
    parts.iter().sum()
}

/// The sum of the squares of some weights, in so many sums that no addition waits for the one before.
pub struct Squares<'a, T> {
    weights: &'a [T],
}

impl<T: Element> Run<T> for Squares<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, _: L::Proof) -> f64 {
        let (chunks, rest) = self.weights.as_chunks();
        let mut sums = [0.0; 32];
        let mut add = |i: usize, w: T| sums[i] += w.to_f64() * w.to_f64();
        chunks.iter().for_each(|chunk: &[T; 32]| (0..32).for_each(|i| add(i, chunk[i])));
        rest.iter().enumerate().for_each(|(i, w)| add(i, *w));
        sums.iter().sum()
    }
}
