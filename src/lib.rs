//! The loss and the gradient of linear classifiers, at the speed of the machine.
//!
//! For scores s_i = W x_i + b of samples x_i with labels y_i, weights w_i (1 unless given) and
//! Z = Σ w_i, an [`Evaluator`] computes
//!
//! ```text
//! L = (1/Z) Σ_i w_i L_i(s_i, y_i) + λ Σ_kl W_kl²
//! dL/dW = (1/Z) Σ_i w_i (dL_i/ds) x_iᵀ + 2λW          dL/db = (1/Z) Σ_i w_i dL_i/ds
//! ```
//!
//! for one of the losses
//!
//! | | L_i |
//! |---|---|
//! | [`Objective::cross_entropy`] | −s_y + ln Σ_j e^{s_j}, perhaps [smoothed](Objective::with_label_smoothing) |
//! | [`Objective::hinge`] (Weston and Watkins) | Σ_{j≠y} max(0, s_j − s_y + Δ) |
//! | [`Objective::squared_hinge`] | Σ_{j≠y} max(0, s_j − s_y + Δ)² |
//! | [`Objective::crammer_singer`] | max(0, max_{j≠y} s_j − s_y + Δ) |
//!
//! or, for two classes and a model of one row, whose score is s, with t = 2y − 1,
//!
//! | | L_i |
//! |---|---|
//! | [`Objective::logistic`] | ln(1 + e^{−ts}) |
//! | [`Objective::binary_hinge`] | max(0, Δ − ts) |
//! | [`Objective::binary_squared_hinge`] | max(0, Δ − ts)² |
//!
//! and, of those without kinks, the Hessian times a direction ([`Evaluator::hessian_product`]).
//! The bias is not regularised. On a kink of a hinge, where s_j − s_y + Δ is exactly 0, the subgradient is 0.
//! A model of one row is turned [into two](LinearModel::to_two_rows) to predict.
//!
//! ```
//! use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective};
//!
//! # fn main() -> Result<(), softmargin::Error> {
//! let features = [0.0, 1.0, 1.0, 0.0]; // two samples of two features, row-major
//! let labels = [0, 2];
//! let batch = Batch::new(MatrixView::new(&features, 2, 2)?, &labels)?;
//!
//! let model = LinearModel::<f64>::zeros(3, 2); // three classes
//! let mut gradient = LinearModel::zeros(3, 2);
//! let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
//!
//! let loss = evaluator.loss_and_gradient(&model, &batch, &mut gradient)?;
//! assert!((loss - 3f64.ln()).abs() < 1e-15);
//! # Ok(())
//! # }
//! ```
//!
//! # What is what
//!
//! | | |
//! |---|---|
//! | [`MatrixView`] | features, row-major or column-major, contiguous or with padding; never copied |
//! | [`Features`] | what a batch or a prediction takes: a matrix, as it is stored |
//! | [`CsrView`] | sparse rows, in SciPy's layout; never copied into dense ones |
//! | [`Batch`] | features with labels, perhaps weights of samples and classes, perhaps a selection of rows |
//! | [`LinearModel`] | W and b in one buffer; a gradient has the same type; predicts |
//! | [`Predictor`] | predictions on an instruction set of one's choice, and their accuracy |
//! | [`Objective`] | one of the losses, and λ |
//! | [`Evaluator`] | computes; owns the scratch memory, so that it allocates once |
//! | [`Partial`] | sums over chunks of the data, from one process or many |
//! | [`PartialTree`] | such sums joined in a fixed order, for the same bits on any number of processes |
//! | [`Isa`] | the instruction set: AVX-512, AVX2, NEON or portable, the best by default |
//! | [`Error`] | what was wrong, with the sizes, the row and the value |
//!
//! # Features
//!
//! - `rayon` (default): evaluations are split over the current rayon pool. The bits of the result do
//!   not depend on its number of threads. Without the feature, all runs on the caller's thread.
//! - `train`: solvers, L-BFGS, Newton's method and minibatch SGD; early stopping, a path of λ, cross-validation.
//! - `safetensors`: models as files, which PyTorch's `nn.Linear` loads as they are: [`LinearModel::save`] and
//!   [`LinearModel::load`].
//! - `ndarray`, `faer`: [`MatrixView`]s of their matrices, and models as such.
//!
//! # Accuracy
//!
//! Results in `f32` are within 1e-6, in `f64` within 1e-14 of the exact ones, relative to the largest
//! magnitude that enters them. Sums over samples run in `f32` only over a block of rows, some hundreds at
//! most and in short sums of sums, and in `f64` from there on, so that the error does not grow with the
//! number of samples; the loss is summed in
//! `f64` throughout. What remains is the rounding of each sample's derivatives to the element type: it
//! shows where they cancel almost entirely, as at W = 0 with labels that nothing explains.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod buffer;
#[doc = include_str!("conversions.md")]
pub mod conversions {}
mod csr;
mod diagnose;
mod driver;
mod element;
#[doc(hidden)]
pub mod elementary;
mod entry;
mod error;
mod evaluator;
mod features;
#[cfg(feature = "safetensors")]
mod file;
#[cfg(any(feature = "ndarray", feature = "faer"))]
mod interop;
mod isa;
mod kernel;
mod loss;
mod matrix;
mod model;
mod objective;
mod parallel;
mod partial;
mod predict;
mod reduce;
#[doc(hidden)]
pub mod reference;
mod scaling;
mod schedule;
mod scores;
mod simd;
mod summation;
#[cfg(feature = "train")]
pub mod train;
mod tree;
mod view;

pub use batch::Batch;
pub use csr::CsrView;
pub use element::Element;
pub use entry::Scalar;
pub use error::{Error, NonFinite};
pub use evaluator::Evaluator;
pub use features::Features;
pub use matrix::MatrixView;
pub use model::LinearModel;
pub use objective::{Loss, Objective};
pub use partial::Partial;
pub use predict::{Predictor, Samples};
pub use scaling::Scaling;
pub use simd::Isa;
pub use tree::PartialTree;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
