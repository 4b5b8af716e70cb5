//! The program `softmargin`: trains multiclass linear classifiers, evaluates and applies them, and checks
//! gradients, on files of many formats. The readers and writers live in a library so that they can be tested
//! by themselves.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic where the stream is closed or full, and the work is lost"
)]

mod apply;
pub mod commands;
pub mod data;
pub mod interrupt;
mod machine;
mod metrics;
pub mod model_file;
mod mpi;
mod output;
mod plot;
pub mod progress;
mod report;
pub mod standard_output;
mod units;
