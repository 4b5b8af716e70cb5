//! What the crate promises, a module a promise. Promises about memory are tested in processes of their own: the files
//! beside this folder.

#[path = "../common/mod.rs"]
mod common;

mod accuracy;
mod api;
mod binary;
mod bits;
mod checkpoint;
mod class_weights;
mod conversions;
mod cross_validation;
mod dual;
mod elementary;
mod errors;
mod extremes;
mod file;
mod gap;
mod golden;
mod gradient_check;
mod hessian;
mod huge;
mod interop;
mod known_answers;
mod non_finite;
mod predict;
mod reproducible;
mod scaling;
mod shapes;
mod storage;
mod streaming;
mod threads;
mod train;
mod tree;
