//! Plans: the ways to compute both products of a block of rows. The driver knows only the trait [`Plan`]; each
//! plan is a type in its folder and an entry of the list [`plans`].

use super::{
    Copies, PackedWeights, TaskGradient,
    sparse::{FEW_CLASSES, pack_weights},
};
use crate::{
    Batch, Isa, LinearModel, Scalar, Scaling,
    batch::SampleRange,
    buffer::Buffer,
    element::Element,
    features::Storage,
    scores::ScoreBlock,
    simd::{Lanes, Run},
};

/// A way to compute the scores S = X Wᵀ + b of a block of rows and the gradient dW += dSᵀ X.
pub(crate) trait Plan: Copy {
    /// The features of a block, as the kernels read them.
    type Block<'a, T: Element>;
    /// The order of the scores.
    type Scores<'a, T: Element>: ScoreBlock<Elem = T>;

    /// Whether tasks can share one gradient, to which all threads add the blocks that the tasks hold.
    const SHARES_GRADIENT: bool;

    /// Whether the gradient is computed from the columns of sparse rows and from the derivatives of all samples of
    /// a round, by [`fold_columns`](super::fold_columns), and W is packed by
    /// [`pack_weights`](super::pack_weights).
    const SPARSE: bool = false;

    /// The rows of a block: a multiple of [`MAX_LANES`](crate::simd::MAX_LANES), chosen so that the
    /// block stays in cache between the products.
    fn block_rows<T: Element>(self, shape: Shape) -> usize;

    /// Copies a model in the order in which the scores read it, once an evaluation.
    fn pack<L: Lanes>(
        self,
        proof: L::Proof,
        model: &LinearModel<L::Elem>,
        packed: &mut PackedWeights<L::Elem>,
    );

    /// Brings samples into the order in which the kernels read them: where they lie, or in copies. `again`
    /// says whether anything reads them once they are scored.
    fn load<'a, L: Lanes>(
        self,
        proof: L::Proof,
        samples: &SampleRange<'a, L::Elem>,
        copies: &'a mut Copies<L::Elem>,
        again: bool,
    ) -> Self::Block<'a, L::Elem>;

    /// Computes the scores of a block, in `memory`. On the way it may copy the block for the gradient.
    fn scores<'a, L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut Self::Block<'_, L::Elem>,
        weights: &PackedWeights<L::Elem>,
        memory: &'a mut Buffer<L::Elem>,
    ) -> Self::Scores<'a, L::Elem>;

    /// Adds the terms of a block to its task's gradient, or, if the gradient is shared, keeps what they are
    /// computed from: in `derivatives`, C a sample, if the plan is for sparse rows.
    fn accumulate<L: Lanes>(
        self,
        proof: L::Proof,
        x: &mut Self::Block<'_, L::Elem>,
        ds: &Self::Scores<'_, L::Elem>,
        gradient: &mut TaskGradient<L::Elem>,
        derivatives: &mut [L::Elem],
    );
}

/// N × D × C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) n_samples: usize,
    pub(crate) n_features: usize,
    pub(crate) n_classes: usize,
}

/// Defines an enumeration of all plans, and the macro `with_plan!(kind, plan => body)`, which evaluates `body`
/// with one of them.
macro_rules! plans {
    ($d:tt $($plan:ident)*) => {
        /// One of the plans.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) enum PlanKind {
            $($plan,)*
        }

        macro_rules! with_plan {
            ($d kind:expr, $d plan:ident => $d body:expr) => {
                match $d kind {
                    $($crate::kernel::PlanKind::$plan => {
                        let $d plan = $crate::kernel::$plan;
                        $d body
                    })*
                }
            };
        }
        pub(crate) use with_plan;
    };
}

plans!($ Rows Columns Panels SparseFew SparseMany);

/// From this many classes on, X is packed. Up to 44 classes of 784 features, rows that are read where they lie take 0.84 to
/// 0.93 of the time (AVX-512, and no more on AVX2 and SSE2), from 48 on as long or longer.
const PACKED_CLASSES: usize = 45;

/// The same where there are more features than [`LONG_ROW`]: 37 classes of 3072 features take 0.93 of the time if they are
/// packed.
const PACKED_CLASSES_OF_LONG_ROWS: usize = 33;
const LONG_ROW: usize = 2048;

/// Rows of up to this many features are short and fill no register tile: they are copied as columns, if there
/// are also enough classes to make up for the copy. With 26 classes and 16 features that takes two thirds of
/// the time (AVX-512) or three quarters (AVX2); with 10 and 16 three quarters, or as long.
pub(super) const SHORT_ROW: usize = 32;

impl PlanKind {
    /// The fastest plan for a shape.
    pub(crate) fn choose<T: Element>(batch: &Batch<'_, T>, n_classes: usize) -> Self {
        match batch.selection() {
            _ if batch.features().is_sparse() => match n_classes {
                ..=FEW_CLASSES => Self::SparseFew,
                _ => Self::SparseMany,
            },
            _ if batch.n_features() <= SHORT_ROW.min(2 * n_classes) => Self::Columns,
            _ if n_classes >= PACKED_CLASSES => Self::Panels,
            _ if n_classes >= PACKED_CLASSES_OF_LONG_ROWS && batch.n_features() > LONG_ROW => {
                Self::Panels
            }
            None => Self::unpacked(batch),
            Some(_) => Self::Rows,
        }
    }

    /// The plan that reads features where they lie.
    fn unpacked<T: Element>(batch: &Batch<'_, T>) -> Self {
        match batch.features().storage() {
            Storage::Dense(x) if !x.is_row_major() => Self::Columns,
            _ => Self::Rows,
        }
    }

    /// [`Plan::block_rows`].
    pub(crate) fn block_rows<T: Element>(self, shape: Shape) -> usize {
        with_plan!(self, plan => plan.block_rows::<T>(shape))
    }

    /// [`Plan::SPARSE`].
    pub(crate) fn is_sparse(self) -> bool {
        fn of<P: Plan>(_: P) -> bool {
            P::SPARSE
        }
        with_plan!(self, plan => of(plan))
    }

    /// [`Plan::SHARES_GRADIENT`].
    pub(crate) fn shares_gradient(self) -> bool {
        fn of<P: Plan>(_: P) -> bool {
            P::SHARES_GRADIENT
        }
        with_plan!(self, plan => of(plan))
    }
}

/// Packs a model with the lanes that will read it. Takes O(C D).
pub struct Pack<'a, T> {
    pub(crate) plan: PlanKind,
    pub(crate) model: &'a LinearModel<T>,
    pub(crate) weights: &'a mut PackedWeights<T>,
}

impl<T: Element> Run<T> for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Self { plan, model, weights } = self;
        (weights.n_classes, weights.n_features) = (model.n_classes(), model.n_features());
        with_plan!(plan, plan => plan.pack::<L>(proof, model, weights));
    }
}

/// Packs a model for a plan of features that are, perhaps, scaled. Takes O(C D).
pub(crate) fn pack<T: Scalar>(
    isa: Isa,
    plan: PlanKind,
    model: &LinearModel<T>,
    scaling: Option<&Scaling>,
    weights: &mut PackedWeights<T>,
) {
    T::pack(isa, Pack { plan, model, weights });
    if plan.is_sparse() {
        pack_weights(isa, model, scaling, weights);
    }
}
