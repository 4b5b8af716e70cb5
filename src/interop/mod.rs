//! Matrices of other crates: views in, views out, nothing copied.

#[cfg(feature = "faer")]
mod faer;
#[cfg(feature = "ndarray")]
mod ndarray;
