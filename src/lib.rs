//! softmargin

#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod buffer;
mod diagnose;
mod error;
mod evaluator;
mod kernel;
mod loss;
mod matrix;
mod model;
mod objective;
mod parallel;
mod partial;
mod partition;
mod predict;
#[doc(hidden)]
pub mod reference;
mod scalar;
mod simd;
mod task;

pub use batch::Batch;
pub use error::{Error, NonFinite};
pub use evaluator::Evaluator;
pub use matrix::MatrixView;
pub use model::LinearModel;
pub use objective::{Loss, Objective};
pub use partial::Partial;
pub use scalar::Scalar;
pub use simd::Isa;
