//! Where the generic code ends. Each kernel is compiled here, once for each element type and instruction
//! set, and not again in every crate that calls an [`Evaluator`](crate::Evaluator).

use crate::{
    Error, Isa,
    elementary::Apply,
    kernel::Pack,
    predict::RunJob,
    reduce::{Mean, Reduce},
    task::{AddBlocks, RunTask},
};

/// The kernels of an element type.
pub trait Kernels: Sized {
    fn pack(isa: Isa, kernel: Pack<'_, Self>);
    fn run_task(isa: Isa, kernel: RunTask<'_, Self>);
    fn add_blocks(isa: Isa, kernel: AddBlocks<'_, Self>);
    fn reduce(isa: Isa, kernel: Reduce<'_, Self>);
    fn mean(isa: Isa, kernel: Mean<'_, Self>) -> Result<f64, Error>;
    fn predict(isa: Isa, kernel: RunJob<'_, '_, Self>);
    fn apply(isa: Isa, kernel: Apply<'_, Self>);
}

macro_rules! kernels {
    ($($scalar:ty)*) => {
        $(impl Kernels for $scalar {
            fn pack(isa: Isa, kernel: Pack<'_, Self>) {
                isa.run(kernel)
            }
            fn run_task(isa: Isa, kernel: RunTask<'_, Self>) {
                isa.run(kernel)
            }
            fn add_blocks(isa: Isa, kernel: AddBlocks<'_, Self>) {
                isa.run(kernel)
            }
            fn reduce(isa: Isa, kernel: Reduce<'_, Self>) {
                isa.run(kernel)
            }
            fn mean(isa: Isa, kernel: Mean<'_, Self>) -> Result<f64, Error> {
                isa.run(kernel)
            }
            fn predict(isa: Isa, kernel: RunJob<'_, '_, Self>) {
                isa.run(kernel)
            }
            fn apply(isa: Isa, kernel: Apply<'_, Self>) {
                isa.run(kernel)
            }
        })*
    };
}

kernels!(f32 f64);
