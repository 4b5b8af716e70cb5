//! Where the generic code ends. Each job is compiled here, once for each element type and instruction set,
//! and not again in every crate that calls an [`Evaluator`](crate::Evaluator).

use crate::{
    Error, Isa,
    driver::RunTask,
    element::Element,
    kernel::Pack,
    predict::ScoreBlock,
    reduce::{Fold, Mean},
    simd::{Backends, math::Apply},
};

/// An element type that evaluations run in: `f32` or `f64`. Sealed: its supertrait, which lists what is
/// compiled for each type, is private.
pub trait Scalar: Element + Jobs {}

impl Scalar for f32 {}
impl Scalar for f64 {}

macro_rules! jobs {
    ($($name:ident: $job:ident -> $output:ty;)*) => {
        /// The jobs of an element type.
        pub trait Jobs: Backends {
            $(fn $name(isa: Isa, job: $job<'_, Self>) -> $output;)*
        }

        impl Jobs for f32 {
            $(fn $name(isa: Isa, job: $job<'_, Self>) -> $output {
                isa.run(job)
            })*
        }

        impl Jobs for f64 {
            $(fn $name(isa: Isa, job: $job<'_, Self>) -> $output {
                isa.run(job)
            })*
        }
    };
}

jobs! {
    pack: Pack -> ();
    run_task: RunTask -> ();
    fold: Fold -> ();
    mean: Mean -> Result<f64, Error>;
    score_block: ScoreBlock -> ();
    apply: Apply -> ();
}
