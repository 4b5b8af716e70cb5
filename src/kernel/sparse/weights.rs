//! W feature by feature, as the scores of sparse rows read it.

use super::PackedWeights;
use crate::{
    Isa, LinearModel, Scalar, Scaling,
    element::Element,
    parallel::for_each_chunk,
    simd::{Lanes, MAX_LANES, Run},
};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Features that a thread transposes at a time.
const CHUNK: usize = 1024;

/// Copies b and makes room for W.
pub(super) fn pack_bias<T: Element>(model: &LinearModel<T>, packed: &mut PackedWeights<T>) {
    let (c, d) = (model.n_classes(), model.n_features());
    packed.bias.resize(c.next_multiple_of(MAX_LANES));
    let (bias, padding) = packed.bias.as_mut_slice().split_at_mut(c);
    bias.copy_from_slice(model.bias());
    padding.fill(T::default());
    packed.weights.resize(c * d);
}

/// Transposes W, on all threads. A scaling of the features is taken out of them and into W and b:
/// W (x − shift) scale + b is (W scale) x + (b − W scale shift). Takes O(C D).
pub(crate) fn pack_weights<T: Scalar>(
    isa: Isa,
    model: &LinearModel<T>,
    scaling: Option<&Scaling>,
    packed: &mut PackedWeights<T>,
) {
    let (c, finite) = (model.n_classes(), AtomicBool::new(true));
    for_each_chunk(packed.weights.as_mut_slice(), CHUNK * c, |i, target| {
        if !T::pack_features(isa, PackFeatures { model, scaling, first: i * CHUNK, target }) {
            finite.store(false, Relaxed);
        }
    });
    if let Some(scaling) = scaling {
        for (bias, weights) in packed
            .bias
            .as_mut_slice()
            .iter_mut()
            .zip(model.weights().chunks_exact(model.n_features()))
        {
            let of_shift = |(l, w): (usize, &T)| w.to_f64() * scaling.scale(l) * scaling.shift(l);
            let shift: f64 = weights.iter().enumerate().map(of_shift).sum();
            *bias = T::from_f64(bias.to_f64() - shift);
        }
    }
    if finite.into_inner() {
        return;
    }
    // 0 · ∞ and 0 · NaN are NaN: so is every score of a class that has such a weight, whatever features a row has.
    let d = model.n_features();
    for (bias, weights) in
        packed.bias.as_mut_slice().iter_mut().zip(model.weights().chunks_exact(d))
    {
        if !weights.iter().all(|w| w.is_finite()) {
            *bias = T::from_f64(f64::NAN);
        }
    }
}

/// The weights of some features, one row a feature. Returns whether all of them are finite.
pub struct PackFeatures<'a, T> {
    model: &'a LinearModel<T>,
    scaling: Option<&'a Scaling>,
    first: usize,
    target: &'a mut [T],
}

impl<T: Element> Run<T> for PackFeatures<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> bool {
        let Self { model, scaling, first, target } = self;
        let (c, d, w) = (model.n_classes(), model.n_features(), model.weights());
        let n = target.len() / c;
        let mut finite = true;
        for class in (0..c).step_by(L::LANES) {
            let classes = L::LANES.min(c - class);
            for feature in (0..n).step_by(L::LANES) {
                let features = L::LANES.min(n - feature);
                let mut square = [L::splat(proof, T::default()); MAX_LANES];
                for (k, line) in square[..classes].iter_mut().enumerate() {
                    let source = &w[(class + k) * d + first + feature..][..features];
                    finite &= source.iter().fold(true, |all, w| all & w.is_finite());
                    // SAFETY: the slice has as many elements.
                    *line = unsafe { L::load_first(proof, source.as_ptr(), features) };
                }
                crate::kernel::transpose(&mut square);
                for (l, line) in square[..features].iter().enumerate() {
                    let row = &mut target[(feature + l) * c + class..];
                    if row.len() >= L::LANES && classes == L::LANES {
                        line.write_to(row);
                    } else {
                        let mut lanes = [T::default(); MAX_LANES];
                        line.write_to(&mut lanes);
                        row[..classes].copy_from_slice(&lanes[..classes]);
                    }
                }
            }
        }
        if let Some(scaling) = scaling {
            for (l, row) in target.chunks_exact_mut(c).enumerate() {
                let scale = scaling.scale(first + l);
                row.iter_mut().for_each(|w| *w = T::from_f64(w.to_f64() * scale));
            }
        }
        finite
    }
}
