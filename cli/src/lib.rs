//! The program `softmargin`: trains multiclass linear classifiers, evaluates and applies them, and checks
//! gradients, on files of many formats. The readers and writers live in a library so that they can be tested
//! by themselves.

pub mod commands;
pub mod data;
pub mod interrupt;
mod machine;
pub mod model_file;
mod output;
mod plot;
mod progress;
mod report;
mod units;
