//! S = X Wᵀ + b for a block of packed rows. A tile has MR rows × vectors of classes; the steps are the features,
//! whose elements are broadcast from the panels of X. The last few classes, of which a vector would be mostly empty, are
//! dot products instead.

use super::{
    PackedBlock, panel_width,
    tile::{Tile, add_outer_products, store},
    vectors_in_panel,
};
use crate::{
    element::Element,
    kernel::{
        PackedWeights,
        tiles::{TileKernel, largest_many, many},
    },
    scores::SampleMajor,
    simd::{LINE, Lanes, Run},
};
use core::ops::Range;

/// What of a panel of W is walked over at a time, for all rows of a block: it stays in L1, or next to it, while the
/// rows pass through. With half as much, an evaluation of 20000 × 1024 × 1000 takes a twentieth more (AVX-512); with twice as
/// much where L1 has 32 KiB, and L2 no room for all features of a block, one of 2000 × 1024 × 1000 takes 3 % more (AVX2); with
/// more, the sums of so many terms would lose digits.
const fn weight_bytes<L: Lanes>() -> usize {
    match L::REGISTERS {
        32.. => 32 << 10,
        _ => 16 << 10,
    }
}

/// Writes the scores of a block. Classes that fill up the last panel get the score 0; rows up to the next multiple
/// of MR are written too, with whatever the panels of X hold.
#[inline(always)]
pub(super) fn compute<L: Lanes>(
    proof: L::Proof,
    block: &mut PackedBlock<'_, L::Elem>,
    weights: &PackedWeights<L::Elem>,
    scores: &mut SampleMajor<'_, L::Elem>,
) {
    let (c, d, width) = (weights.n_classes, weights.n_features, panel_width::<L>());
    assert_eq!((d, scores.panel_rows()), (block.n_features, block.panel_rows));
    let in_vectors = in_vectors::<L>(c);
    let part = weight_bytes::<L>() / size_of::<L::Elem>() / width / width * width;
    for first in (0..d).step_by(part.max(width)) {
        let features = first..d.min(first + part.max(width));
        let panels = scores.as_mut_slice().chunks_exact_mut(block.panel_rows * width);
        for (panel, scores) in panels.enumerate().take(in_vectors.div_ceil(width)) {
            let features = features.clone();
            let rows = Rows { block: &mut *block, weights, features, panel, scores };
            many::<L>(proof, score_tile::<L>(vectors_in_panel::<L>(in_vectors, panel)), rows);
        }
    }
    if in_vectors < c {
        let panel = in_vectors / width * block.panel_rows * width;
        let scores = &mut scores.as_mut_slice()[panel..][..block.panel_rows * width];
        L::call(proof, Dots { block, weights, first: in_vectors, scores });
    }
}

/// The classes whose scores are computed in vectors: all but the last ones, if they would leave most of a vector empty. With
/// the last four by dot products, an evaluation of 100000 × 384 × 100 takes 7 % less.
pub(super) const fn in_vectors<L: Lanes>(n_classes: usize) -> usize {
    match (L::REGISTERS, n_classes % L::LANES) {
        (32.., rest @ ..=DOTS) => n_classes - rest,
        _ => n_classes,
    }
}

/// The rows and the classes of a tile of dot products.
pub(super) const DOTS: usize = 4;

/// Panels of X whose products a lane adds up: about as many terms as the other sums have.
const DOT_PANELS: usize = 32;

/// The rows of a block, and the classes that are no vector.
struct Dots<'a, 'x, T> {
    block: &'a PackedBlock<'x, T>,
    weights: &'a PackedWeights<T>,
    /// The first of the classes: at a vector.
    first: usize,
    /// The panel of S that they are in.
    scores: &'a mut [T],
}

/// Their scores, in tiles of rows × classes with a vector of sums for each pair.
impl<T: Element> Run<T> for Dots<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, proof: L::Proof) {
        let Dots { block, weights, first, scores } = self;
        let PackedBlock { x, n_rows, panel_rows, .. } = *block;
        let (d, width) = (weights.n_features, panel_width::<L>());
        let bias = &weights.bias.as_slice()[first..][..L::LANES];
        let weights = &weights.weights.as_slice()[first.div_ceil(width) * d * width..];
        let panels = x.chunks_exact(panel_rows * width).zip(weights.chunks_exact(DOTS * width));
        for start in (0..d.div_ceil(width)).step_by(DOT_PANELS) {
            for row in (0..n_rows).step_by(DOTS) {
                let mut sums = [[L::splat(proof, T::default()); DOTS]; DOTS];
                for (panel, (x, w)) in panels.clone().enumerate().skip(start).take(DOT_PANELS) {
                    let x = &x[row * width..][..DOTS * width];
                    match vectors_in_panel::<L>(d, panel) {
                        // A constant number, which the compiler unrolls.
                        n if n * L::LANES == width => {
                            for v in 0..width / L::LANES {
                                add_dots(proof, &mut sums, x, w, v);
                            }
                        }
                        n => {
                            for v in 0..n {
                                add_dots(proof, &mut sums, x, w, v);
                            }
                        }
                    }
                }
                let scores = scores[row * width..].chunks_exact_mut(width);
                for (scores, sums) in scores.zip(sums) {
                    let scores = &mut scores[first % width..];
                    let sums = L::sum4(sums);
                    for k in 0..DOTS {
                        let before = if start == 0 { bias[k] } else { scores[k] };
                        scores[k] = sums[k] + before;
                    }
                    scores[DOTS..].fill(T::default());
                }
            }
        }
    }
}

/// Adds the products of vector `v` of each row and of each class. No closure, which need not be inlined, and would then
/// have the instructions of the build.
#[inline(always)]
fn add_dots<L: Lanes>(
    proof: L::Proof,
    sums: &mut [[L; DOTS]; DOTS],
    x: &[L::Elem],
    w: &[L::Elem],
    v: usize,
) {
    let place = v * L::LANES;
    for k in 0..DOTS {
        let w = L::from_slice(proof, &w[k * panel_width::<L>() + place..]);
        for r in 0..DOTS {
            let x = L::from_slice(proof, &x[r * panel_width::<L>() + place..]);
            sums[r][k] = x.mul_add(w, sums[r][k]);
        }
    }
}

/// The tile for `vectors` of classes: as high as the gradient's, or higher where it is narrower, since it takes
/// eight sums and more to keep both FMA units busy.
const fn score_tile<L: Lanes>(vectors: usize) -> (usize, usize) {
    match (largest_many::<L>().0, vectors) {
        (6, 1) => (8, 1),
        (mr, _) => (mr, vectors),
    }
}

/// The rows of a block and some weights of a panel of classes.
struct Rows<'a, 'x, T> {
    block: &'a mut PackedBlock<'x, T>,
    weights: &'a PackedWeights<T>,
    /// From a multiple of the width of a panel on.
    features: Range<usize>,
    /// The number of the panel of classes.
    panel: usize,
    /// That panel of S.
    scores: &'a mut [T],
}

/// Their scores, or what these features add to them, in tiles of `M` rows × `V` vectors of classes.
impl<T: Element> TileKernel<T> for Rows<'_, '_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const M: usize, const V: usize>(self, proof: L::Proof) {
        let Rows { block, weights, features, panel, scores } = self;
        let PackedBlock { x, n_rows, panel_rows, ref mut ahead, .. } = *block;
        let (d, width) = (weights.n_features, panel_width::<L>());
        let n_panels = in_vectors::<L>(weights.n_classes).div_ceil(width);
        let bias = &weights.bias.as_slice()[panel * width..][..width];
        let weights = &weights.weights.as_slice()[panel * d * width..][..d * width];
        assert!(features.start.is_multiple_of(width) && features.end <= d);
        assert!(n_rows.next_multiple_of(M) <= panel_rows);
        assert!(x.len() >= super::n_panels::<L>(d) * panel_rows * width);

        for row in (0..n_rows).step_by(M) {
            let mut tile: Tile<L, M, V> = [[L::splat(proof, T::default()); V]; M];
            for feature in features.clone().step_by(width) {
                let a = x.as_ptr().wrapping_add(feature * panel_rows + row * width);
                let b = weights.as_ptr().wrapping_add(feature * width);
                let steps = width.min(features.end - feature);
                // Little by little, as many as the tile has lines of X, divided among the panels of classes.
                let lines = (M * steps * size_of::<T>()).div_ceil(LINE * n_panels);
                (0..lines).for_each(|_| ahead.request());
                let at = |k| (k, k * width);
                // SAFETY: X has the panel that starts with `feature`, as asserted, and it the rows of
                // the tile, as their number divides that of the panel; the weights have the features.
                unsafe {
                    add_outer_products(proof, &mut tile, a, width, b, steps, at);
                }
            }
            let scores = &mut scores[row * width..][..M * width];
            for (sums, scores) in store(tile).iter().zip(scores.chunks_exact_mut(width)) {
                for v in 0..V {
                    let scores = &mut scores[v * L::LANES..];
                    let before = match features.start {
                        0 => L::from_slice(proof, &bias[v * L::LANES..]),
                        _ => L::from_slice(proof, scores),
                    };
                    (L::from_slice(proof, &sums[v].0) + before).write_to(scores);
                }
                scores[V * L::LANES..].fill(T::default());
            }
        }
    }
}
