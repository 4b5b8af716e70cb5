//! Where the generic code ends. Each job is compiled here, once for each element type and instruction set,
//! and not again in every crate that calls an [`Evaluator`](crate::Evaluator).

#[cfg(feature = "train")]
use crate::train::{AddDual, Ascend, RowSquares};
use crate::{
    Isa,
    driver::RunTask,
    element::Element,
    kernel::{FoldColumns, Pack, PackFeatures},
    predict::RunJob,
    reduce::{Fold, Mean, Squares},
    simd::{Backends, math::Apply},
};

/// An element type that evaluations run in: `f32` or `f64`. Sealed: its supertrait, which lists what is
/// compiled for each type, is private.
///
/// ```
/// use softmargin::{LinearModel, Scalar};
///
/// fn largest_weight<T: Scalar>(model: &LinearModel<T>) -> f64 {
///     model.weights().iter().fold(0.0, |max, weight| weight.to_f64().abs().max(max))
/// }
/// assert_eq!(largest_weight(&LinearModel::<f32>::zeros(3, 2)), 0.0);
/// ```
pub trait Scalar: Element + Jobs {}

impl Scalar for f32 {}
impl Scalar for f64 {}

macro_rules! jobs {
    ($($(#[$only:meta])? $name:ident: $job:ty => $output:ty;)*) => {
        /// The jobs of an element type.
        pub trait Jobs: Backends {
            $($(#[$only])? fn $name(isa: Isa, job: $job) -> $output;)*
        }

        impl Jobs for f32 {
            $($(#[$only])? fn $name(isa: Isa, job: $job) -> $output {
                isa.run(job)
            })*
        }

        impl Jobs for f64 {
            $($(#[$only])? fn $name(isa: Isa, job: $job) -> $output {
                isa.run(job)
            })*
        }
    };
}

jobs! {
    pack: Pack<'_, Self> => ();
    pack_features: PackFeatures<'_, Self> => bool;
    run_task: RunTask<'_, Self> => ();
    fold: Fold<'_, Self> => bool;
    fold_columns: FoldColumns<'_, Self> => bool;
    squares: Squares<'_, Self> => f64;
    mean: Mean<'_, Self> => bool;
    predict: RunJob<'_, '_, Self> => ();
    apply: Apply<'_, Self> => ();
    #[cfg(feature = "train")]
    row_squares: RowSquares<'_, '_, Self> => ();
    #[cfg(feature = "train")]
    ascend: Ascend<'_, '_, Self> => f64;
    #[cfg(feature = "train")]
    add_dual: AddDual<'_, '_, Self> => ();
}
