//! e^x and ln(1 + x) as the losses compute them, for the tests and fuzz targets that hold them to their
//! bounds. Not part of the public interface.

use crate::{
    Isa, Scalar,
    kernel::MAX_LANES,
    simd::{Lanes, Run, math},
};

/// e^x for every x, in place.
pub fn exp<T: Scalar>(isa: Isa, values: &mut [T]) {
    T::apply(isa, Apply { function: Function::Exp, values });
}

/// ln(1 + x) for every x ≥ 0, in place.
pub fn ln_1p<T: Scalar>(isa: Isa, values: &mut [T]) {
    T::apply(isa, Apply { function: Function::Ln1p, values });
}

enum Function {
    Exp,
    Ln1p,
}

/// A function applied to numbers.
pub struct Apply<'a, T> {
    function: Function,
    values: &'a mut [T],
}

impl<T: Scalar> Run<T> for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { function, values } = self;
        let (vectors, rest) = values.split_at_mut(values.len() / L::LANES * L::LANES);
        for vector in vectors.chunks_exact_mut(L::LANES) {
            function.of(proof, L::from_slice(proof, vector)).write_to(vector);
        }
        let mut last = [T::default(); MAX_LANES];
        last[..rest.len()].copy_from_slice(rest);
        function.of(proof, L::from_slice(proof, &last)).write_to(&mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

impl Function {
    #[inline(always)]
    fn of<L: Lanes>(&self, proof: L::Proof, x: L) -> L {
        match self {
            Self::Exp => math::exp(proof, x),
            Self::Ln1p => math::ln_1p(proof, x),
        }
    }
}
