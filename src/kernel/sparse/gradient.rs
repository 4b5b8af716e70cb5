//! dW from the columns of X and dS, for some features at a time.

use super::{
    Transposed,
    lines::{MAX_WIDTH, Sink, class_panels, sum_lines},
    transpose::{Columns, Job},
};
use crate::{
    Isa, Scalar,
    element::Element,
    parallel::for_each_chunk,
    simd::{Lanes, Run},
};
use core::{
    marker::PhantomData,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Features whose gradients are computed before they are written, class by class: whole cache lines of `f64`.
const TILE: usize = 16;

/// Writes dW of the samples of a round (C × D, row-major) from their derivatives (C a sample): over what is there
/// in the `first` round, and added to it in later ones. Returns whether it is finite.
pub(crate) fn fold_columns<T: Scalar>(
    isa: Isa,
    transposed: &mut Transposed<T>,
    round: usize,
    derivatives: &[T],
    n_classes: usize,
    dw: &mut [f64],
) -> bool {
    let n_features = dw.len() / n_classes;
    let (start, dw) = (dw.as_mut_ptr(), PhantomData);
    let dw = Stripes { start, n_classes, n_features, dw };
    let finite = AtomicBool::new(true);
    let (columns, jobs) = transposed.round(round);
    // The features of each job are its own, so that no two threads write to the same places.
    for_each_chunk(jobs, 1, |_, job| {
        let job = &job[0];
        let fold = FoldColumns { columns, job, derivatives, first: round == 0, dw };
        if !T::fold_columns(isa, fold) {
            finite.store(false, Relaxed);
        }
    });
    finite.into_inner()
}

/// dW, of which each thread writes the columns of other features.
#[derive(Clone, Copy)]
struct Stripes<'a> {
    start: *mut f64,
    n_classes: usize,
    n_features: usize,
    dw: PhantomData<&'a mut [f64]>,
}

// SAFETY: the threads that share it write different elements.
unsafe impl Send for Stripes<'_> {}
// SAFETY: as above.
unsafe impl Sync for Stripes<'_> {}

/// The gradient of the features of a job. Returns whether what was written is finite.
pub struct FoldColumns<'a, T> {
    columns: Columns<'a, T>,
    job: &'a Job,
    derivatives: &'a [T],
    first: bool,
    dw: Stripes<'a>,
}

impl<T: Element> Run<T> for FoldColumns<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) -> bool {
        let Self { columns, job, derivatives, first, dw } = self;
        let Stripes { n_classes: c, n_features: d, .. } = dw;
        assert!(job.features.end <= d);
        let (mut tile, mut finite) = ([0.0; TILE * MAX_WIDTH], true);
        for (class, width) in class_panels::<L>(c) {
            let classes = width.min(c - class);
            let mut column = job.columns.start;
            for feature in job.features.clone().step_by(TILE) {
                let end = job.features.end.min(feature + TILE);
                let of_tile = columns.features[column..job.columns.end].iter();
                let n = of_tile.take_while(|l| (**l as usize) < end).count();
                if n == 0 && !first {
                    continue;
                }
                tile[..(end - feature) * width].fill(0.0);
                let mut sink = Tile { features: columns.features, feature, width, tile: &mut tile };
                let lines = column..column + n;
                sum_lines::<L, _, _>(proof, &columns, lines, derivatives, c, class, &mut sink);
                column += n;
                for k in 0..classes {
                    for (l, sums) in tile.chunks_exact(width).take(end - feature).enumerate() {
                        let place = dw.start.wrapping_add((class + k) * d + feature + l);
                        // SAFETY: dW has the class and the feature, of which no other thread writes.
                        let sum = unsafe { if first { sums[k] } else { *place + sums[k] } };
                        finite &= sum.is_finite();
                        // SAFETY: as above.
                        unsafe { *place = sum };
                    }
                }
            }
        }
        finite
    }
}

/// The gradient of the features from one on: `width` classes a feature.
struct Tile<'a> {
    features: &'a [u32],
    feature: usize,
    width: usize,
    tile: &'a mut [f64],
}

impl<T: Element> Sink<T> for Tile<'_> {
    #[inline(always)]
    fn take<L: Lanes<Elem = T>, const V: usize>(
        &mut self,
        _: L::Proof,
        line: usize,
        _: usize,
        sums: [L; V],
        wide: Option<&[f64]>,
    ) {
        let row = self.features[line] as usize - self.feature;
        let target = &mut self.tile[row * self.width..][..V * L::LANES];
        if let Some(wide) = wide {
            target.copy_from_slice(wide);
        }
        for (sums, target) in sums.into_iter().zip(target.chunks_exact_mut(L::LANES)) {
            sums.add_widened(target);
        }
    }
}
