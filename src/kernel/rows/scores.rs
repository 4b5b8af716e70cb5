//! S = X Wᵀ + b for a block of rows.
//!
//! A tile of a few rows × a few classes keeps one vector of sums for every pair in registers while
//! it walks over the features, and then in memory, a vector for two rows ([`Lanes::sum_pairs`]), until there are as many
//! rows as lanes: their sums across the lanes become one vector of the scores of a class ([`Lanes::sum_each`]). The scores are stored class by
//! class, with the rows of a class side by side, because the losses take one sample a lane.

#![allow(clippy::needless_range_loop, reason = "register tiles stay in registers when indexed")]

use super::{
    RowCopy, RowsInPlace,
    pack::{ClassTile, tiles},
};
use crate::{
    element::Element,
    kernel::{
        PackedWeights, RowBlock,
        block::{GROUP, LinesAhead},
        tile_start,
        tiles::{TileKernel, add_products, covers, few, few_tiles},
    },
    scores::ClassMajor,
    simd::{LINE, Lanes, MAX_LANES},
};
use core::ops::Range;

/// What of the packed weights is walked over at a time, for all rows of a block: it stays in L1 while the rows pass
/// through. With 32 KiB instead, an evaluation of 60000 × 784 × 10 takes a twentieth more, in `f64` an eighth.
const WEIGHT_BYTES: usize = 16 << 10;

/// Writes the scores of the rows. When they are no multiple of the lanes, the places past them are written too, with
/// anything. Rows that compete may be copied on the way; what comes after reads the copy.
#[inline(always)]
pub(super) fn compute<L: Lanes>(
    proof: L::Proof,
    x: &mut RowsInPlace<'_, L::Elem>,
    weights: &PackedWeights<L::Elem>,
    scores: &mut ClassMajor<'_, L::Elem>,
) {
    let (stride, scores) = (scores.stride(), scores.as_mut_slice());
    let RowsInPlace { rows, long, ahead, copy, sums } = x;
    assert_eq!(rows.n_features(), weights.n_features);
    let vectors = rows.n_features().div_ceil(L::LANES);
    if matches!(vectors, 1 | 2) && fits::<L>(weights.n_classes, vectors) {
        let tile = &tiles::<L>(weights).next().expect("a tile of all classes");
        let shape = (tile.bias.len(), vectors);
        return few::<L>(proof, shape, ShortRows { rows, ahead, tile, scores, stride });
    }
    let (n_tiles, most) = few_tiles::<L>(weights.n_classes);
    let of_vector = weights.n_classes.div_ceil(n_tiles) * L::LANES * size_of::<L::Elem>();
    let n_parts = (vectors * of_vector).div_ceil(WEIGHT_BYTES);
    let part_of = |i| tile_start(vectors, n_parts, i)..tile_start(vectors, n_parts, i + 1);
    // The sums of so many rows are kept: all, if there is more than one part.
    let kept_rows = if n_parts > 1 { rows.len().next_multiple_of(L::LANES) } else { L::LANES };
    let of_class = kept_rows / 2 * L::LANES;
    sums.resize(weights.n_classes * of_class);
    let mut copy = copy.take().filter(|_| weights.n_classes > MOST_UNCOPIED);
    let mut places = copy.as_mut().map(RowCopy::places);
    for part in (0..n_parts).map(part_of) {
        // For two steps: half the lines of the next block, or all of this part of the next rows.
        let lines = lines_of_step::<L>(most);
        let mut requests = lines;
        if *long {
            *ahead = rows.lines_from(ROWS_AHEAD, part.start * L::LANES..part.end * L::LANES);
            requests = 2 * lines;
        }
        for tile in tiles::<L>(weights) {
            let shape = (tile.bias.len(), most);
            let kept = &mut sums.as_mut_slice()[tile.start * of_class..][..shape.0 * of_class];
            let scores = &mut scores[tile.start * stride..];
            let (part, tile) = (part.clone(), &tile);
            // The first tile copies the rows for all.
            let copied = places.as_mut().filter(|_| requests > 0);
            let copy = copied.map(|(places, stride)| (&mut **places, *stride));
            let block = Block { rows, ahead, tile, part, kept, copy, scores, stride };
            macro_rules! asking {
                ($($n:literal)*) => {
                    match (requests, block.copy.is_some()) {
                        (0, _) => few::<L>(proof, shape, Asking::<_, 0, false>(block)),
                        $(
                            ($n, false) if const { $n <= 2 * lines_of_step::<L>(4) } => {
                                few::<L>(proof, shape, Asking::<_, $n, false>(block));
                            }
                            ($n, true) if const { $n <= 2 * lines_of_step::<L>(4) } => {
                                few::<L>(proof, shape, Asking::<_, $n, true>(block));
                            }
                        )*
                        _ => unreachable!("{requests} requests"),
                    }
                };
            }
            asking!(1 2 4 8);
            requests = 0;
        }
    }
    if let Some(copy) = copy {
        *rows = copy.into_rows();
    }
}

/// The whole lines that a step of so many rows reads.
const fn lines_of_step<L: Lanes>(rows: usize) -> usize {
    rows * L::LANES * size_of::<L::Elem>() / LINE
}

/// Up to so many classes, a copy of rows that compete takes as long as it saves. With 37 classes and 1023 features an
/// evaluation takes 0.82 of the time with it, with 20 and 1024 0.92, with 10 and 1024 0.98.
const MOST_UNCOPIED: usize = 12;

/// Where rows are long, the rows are asked for that come after so many others.
const ROWS_AHEAD: usize = GROUP;

/// Whether rows of so many vectors and the sums of as many rows as there are lanes fit the registers, for so many classes.
const fn fits<L: Lanes>(n_classes: usize, vectors: usize) -> bool {
    n_classes * (L::LANES / 2 + vectors) + 2 * vectors < L::REGISTERS
}

/// The short rows of a block, and the weights of all classes. The sums stay in registers until they are added up across the
/// lanes: if they are kept in memory, as those of longer rows are, an evaluation of 2048 × 32 × 2 takes a tenth more.
struct ShortRows<'a, 'x, T> {
    rows: &'a RowBlock<'x, T>,
    ahead: &'a mut LinesAhead<'x>,
    tile: &'a ClassTile<'a, T>,
    scores: &'a mut [T],
    stride: usize,
}

/// `K` classes × rows of `V` vectors.
impl<T: Element> TileKernel<T> for ShortRows<'_, '_, T> {
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const V: usize>(self, proof: L::Proof) {
        if const { !fits::<L>(K, V) } {
            unreachable!("{K} classes of {V} vectors");
        }
        let Self { rows, ahead: lines_ahead, tile, scores, stride } = self;
        let mut ahead = *lines_ahead;
        assert_eq!(rows.n_features().div_ceil(L::LANES), V);
        let zero = L::splat(proof, T::default());
        let mut weights = [[zero; V]; K];
        for k in 0..K {
            for v in 0..V {
                weights[k][v] = L::from_slice(proof, &tile.weights[(v * K + k) * L::LANES..]);
            }
        }
        for first in (0..rows.len()).step_by(L::LANES) {
            // Written out, as the compiler keeps the pairs in memory if this is a loop.
            let mut pairs = [[zero; MAX_LANES / 2]; K];
            macro_rules! pairs {
                ($($i:literal)*) => {
                    $(if const { $i < L::LANES / 2 } {
                        let pair =
                            pair::<L, K, V>(proof, rows, first + 2 * $i, &weights, &mut ahead);
                        for k in 0..K {
                            pairs[k][$i] = pair[k];
                        }
                    })*
                };
            }
            pairs!(0 1 2 3 4 5 6 7);
            for k in 0..K {
                let totals = L::splat(proof, tile.bias[k]) + L::sum_each(proof, &pairs[k]);
                totals.write_to(&mut scores[k * stride + first..]);
            }
        }
        *lines_ahead = ahead;
    }
}

/// For each class, the first round of the sums across the lanes of two rows: those from `first` on, or the last two. Asks
/// for half the lines of two rows of the next block; the gradient asks for the others.
#[inline(always)]
fn pair<L: Lanes, const K: usize, const V: usize>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    first: usize,
    weights: &[[L; V]; K],
    ahead: &mut LinesAhead<'_>,
) -> [L; K] {
    let zero = L::splat(proof, L::Elem::default());
    let rest = rows.n_features() - (V - 1) * L::LANES;
    let first = first.min(rows.padded_len() - 2);
    (0..(V * L::LANES * size_of::<L::Elem>()).div_ceil(LINE)).for_each(|_| ahead.request());
    let mut sums = [[zero; 2]; K];
    for r in 0..2 {
        // SAFETY: there are two rows from `first` on.
        let row = unsafe { rows.row(first + r) };
        for v in 0..V {
            let place = row.wrapping_add(v * L::LANES);
            // SAFETY: a row has `V` vectors, of which the last one may have only `rest` elements.
            let x = unsafe {
                match v == V - 1 && rest < L::LANES {
                    true => L::load_first(proof, place, rest),
                    false => L::load(proof, place),
                }
            };
            for k in 0..K {
                sums[k][r] = x.mul_add(weights[k][v], sums[k][r]);
            }
        }
    }
    let mut pairs = [zero; K];
    for k in 0..K {
        pairs[k] = sums[k][0].sum_pairs(sums[k][1]);
    }
    pairs
}

/// The rows of a block, and part of the weights of a few classes.
struct Block<'a, 'x, T> {
    rows: &'a RowBlock<'x, T>,
    ahead: &'a mut LinesAhead<'x>,
    tile: &'a ClassTile<'a, T>,
    /// The vectors of features to walk over.
    part: Range<usize>,
    /// For each class of the tile, the sums of the rows.
    kept: &'a mut [T],
    /// Where the rows are to be copied, and the distance from one to the next.
    copy: Option<(&'a mut [T], usize)>,
    /// From the first class of the tile on.
    scores: &'a mut [T],
    stride: usize,
}

/// The classes, with so many requests for lines that come next at each step of a tile: a constant, as a loop over a number
/// that is not takes 3 % of the time. If `COPY`, the rows are copied on the way.
struct Asking<B, const REQUESTS: usize, const COPY: bool>(B);

/// In register tiles of `K` classes × `R` rows.
impl<T: Element, const REQUESTS: usize, const COPY: bool> TileKernel<T>
    for Asking<Block<'_, '_, T>, REQUESTS, COPY>
{
    #[inline(always)]
    fn run<L: Lanes<Elem = T>, const K: usize, const R: usize>(self, proof: L::Proof) {
        // What is never asked for is not compiled: so many requests; fewer rows than a tile has; and a copy by a tile that is
        // not the first, or of fewer classes than are copied.
        if const {
            let lines = lines_of_step::<L>(R);
            REQUESTS != 0 && REQUESTS != lines && REQUESTS != 2 * lines
                || !covers::<L>(K, R)
                || COPY && (REQUESTS == 0 || R != few_tiles::<L>(MOST_UNCOPIED + 1).1)
        } {
            unreachable!("{REQUESTS} requests for {R} vectors");
        }
        let Block { rows, ahead: lines_ahead, tile, part, kept, copy, scores, stride } = self.0;
        let mut ahead = *lines_ahead;
        let d = rows.n_features();
        let (vectors, whole, rest) = (d.div_ceil(L::LANES), d / L::LANES, d % L::LANES);
        assert!(part.end <= vectors && tile.weights.len() >= part.end * K * L::LANES);
        let weights = |v: usize| tile.weights.as_ptr().wrapping_add(v * K * L::LANES);
        let (copy, copy_stride) = copy.unwrap_or_default();
        if COPY {
            assert!(copy_stride >= vectors * L::LANES);
            assert!(copy.len() >= rows.padded_len() * copy_stride);
        }
        // Sums of the rows of a vector of scores: for each class, a vector of two rows each.
        let of_rows = K * L::LANES / 2 * L::LANES;

        let (groups, start) = rows.groups(0..rows.padded_len(), 0);
        for (group, offsets) in (0..).step_by(GROUP).zip(groups) {
            for offset in (0..GROUP).step_by(R) {
                let starts: [_; R] =
                    core::array::from_fn(|r| start.wrapping_add(offsets[offset + r]));
                let to: [_; R] = core::array::from_fn(|r| {
                    copy.as_mut_ptr().wrapping_add((group + offset + r) * copy_stride)
                });
                // One vector of scores after the other, or all in the same place.
                let kept = match kept.len() > of_rows {
                    true => &mut kept[group / L::LANES * of_rows..][..of_rows],
                    false => &mut kept[..of_rows],
                };
                let row = (group + offset) % L::LANES;
                let mut sums = [[L::splat(proof, T::default()); R]; K];
                for v in part.start..part.end.min(whole) {
                    let mut vectors = [sums[0][0]; R];
                    (0..(REQUESTS + v % 2) / 2).for_each(|_| ahead.request());
                    for r in 0..R {
                        // SAFETY: a row is valid for reading its `whole` vectors.
                        vectors[r] = unsafe { L::load(proof, starts[r].add(v * L::LANES)) };
                        if COPY {
                            // SAFETY: there are places for whole vectors of each row, as asserted.
                            unsafe { vectors[r].store(to[r].add(v * L::LANES)) };
                        }
                    }
                    // SAFETY: there are `K` vectors of weights for each of features, as asserted.
                    unsafe {
                        add_products::<L, K, R, false>(
                            proof,
                            &mut sums,
                            vectors,
                            weights(v),
                            L::LANES,
                        );
                    }
                }
                if part.end > whole {
                    let mut vectors = [sums[0][0]; R];
                    for r in 0..R {
                        let last = starts[r].wrapping_add(whole * L::LANES);
                        // SAFETY: a row is valid for reading `rest` elements more.
                        vectors[r] = unsafe { L::load_first(proof, last, rest) };
                        if COPY {
                            // SAFETY: as above.
                            unsafe { vectors[r].store(to[r].add(whole * L::LANES)) };
                        }
                    }
                    // SAFETY: as above.
                    unsafe {
                        add_products::<L, K, R, false>(
                            proof,
                            &mut sums,
                            vectors,
                            weights(whole),
                            L::LANES,
                        );
                    }
                }

                for k in 0..K {
                    for r in (0..R).step_by(2) {
                        let mut pair = sums[k][r].sum_pairs(sums[k][r + 1]);
                        let kept = &mut kept[(k * L::LANES + row + r) / 2 * L::LANES..];
                        if part.start > 0 {
                            pair = L::from_slice(proof, kept) + pair;
                        }
                        pair.write_to(kept);
                    }
                }
                let last = row + R == L::LANES || group + offset + R == rows.padded_len();
                if last && part.end == vectors {
                    let first = group + offset - row;
                    for (k, kept) in kept.chunks_exact(L::LANES / 2 * L::LANES).enumerate() {
                        let mut pairs = [L::splat(proof, T::default()); MAX_LANES / 2];
                        for i in 0..L::LANES / 2 {
                            pairs[i] = L::from_slice(proof, &kept[i * L::LANES..]);
                        }
                        let totals = L::splat(proof, tile.bias[k]) + L::sum_each(proof, &pairs);
                        totals.write_to(&mut scores[k * stride + first..]);
                    }
                }
            }
        }
        *lines_ahead = ahead;
    }
}
