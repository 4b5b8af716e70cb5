//! e^x and ln(1 + x) as the losses compute them, for the tests and fuzz targets that hold them to their
//! bounds. Not part of the public interface.

use crate::{
    Isa, Scalar,
    simd::math::{Apply, Function},
};

/// e^x for every x ≤ 0, in place.
pub fn exp<T: Scalar>(isa: Isa, values: &mut [T]) {
    T::apply(isa, Apply { function: Function::Exp, values });
}

/// ln(1 + x) for every x ≥ 0, in place.
pub fn ln_1p<T: Scalar>(isa: Isa, values: &mut [T]) {
    T::apply(isa, Apply { function: Function::Ln1p, values });
}
