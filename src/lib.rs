//! softmargin

#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod error;
mod evaluator;
mod matrix;
mod model;
mod objective;
mod partial;
#[doc(hidden)]
pub mod reference;
mod scalar;
mod simd;

pub use batch::Batch;
pub use error::{Error, NonFinite};
pub use evaluator::Evaluator;
pub use matrix::MatrixView;
pub use model::LinearModel;
pub use objective::{Loss, Objective};
pub use partial::Partial;
pub use scalar::Scalar;
pub use simd::Isa;
