//! W and X in panels: panel `p` of a matrix holds its columns from `p` times the width of a panel on, all
//! rows of them one after the other, with zeros where columns are missing.

use super::{
    panel_width,
    scores::{DOTS, in_vectors},
};
use crate::{
    LinearModel,
    element::Element,
    kernel::{
        ColumnBlock, PackedWeights, RowBlock,
        copies::load,
        read::{Read, Scale},
        transpose,
    },
    simd::{Lanes, MAX_LANES, Widen, prefetch},
};

/// Rows that are packed together: enough that each panel gets a few cache lines at a time, and few
/// enough for the hardware to follow.
const TOGETHER: usize = 8;

/// Packs a model into panels of Wᵀ (features × classes), and the bias.
#[inline(always)]
pub(super) fn pack<L: Lanes>(model: &LinearModel<L::Elem>, packed: &mut PackedWeights<L::Elem>) {
    let (c, d) = (model.n_classes(), model.n_features());
    let width = panel_width::<L>();
    let padded = c.next_multiple_of(width);
    packed.bias.resize(padded);
    let bias = packed.bias.as_mut_slice();
    bias[..c].copy_from_slice(model.bias());
    bias[c..].fill(L::Elem::default());

    let in_vectors = in_vectors::<L>(c);
    let of_vectors = in_vectors.next_multiple_of(width) * d;
    let of_rest = if in_vectors < c { DOTS * d.next_multiple_of(width) } else { 0 };
    let (in_vectors, rest) = model.weights().split_at(in_vectors * d);
    packed.weights.resize(of_vectors + of_rest);
    let (packed_vectors, packed_rest) = packed.weights.as_mut_slice().split_at_mut(of_vectors);
    let panels = packed_vectors.chunks_exact_mut(width * d);
    for (panel, classes) in panels.zip(in_vectors.chunks(width * d)) {
        for (l, row) in panel.chunks_exact_mut(width).enumerate() {
            row.fill(L::Elem::default());
            for (weight, class) in row.iter_mut().zip(classes.chunks_exact(d)) {
                *weight = class[l];
            }
        }
    }
    // The last classes are read as the rows of X are.
    packed_rest.fill(L::Elem::default());
    for (panel, start) in packed_rest.chunks_exact_mut(DOTS * width).zip((0..d).step_by(width)) {
        let features = start..d.min(start + width);
        for (target, class) in panel.chunks_exact_mut(width).zip(rest.chunks_exact(d)) {
            target[..features.len()].copy_from_slice(&class[features.clone()]);
        }
    }
}

/// Packs the rows of a block into panels of X, each with room for `panel_rows`. Past the rows of the block, panels
/// keep what they hold.
pub(super) struct PackBlock<'a, T> {
    pub(super) panels: &'a mut [T],
    pub(super) panel_rows: usize,
}

impl<T: Element> Read<T> for PackBlock<'_, T> {
    #[inline(always)]
    fn rows<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        proof: L::Proof,
        rows: &RowBlock<'_, E>,
        scale: S,
    ) {
        let Self { panels, panel_rows } = self;
        assert!(rows.len() <= panel_rows);
        let (d, width) = (rows.n_features(), panel_width::<L>());
        for first in (0..rows.len()).step_by(TOGETHER) {
            let panels = panels.chunks_exact_mut(panel_rows * width);
            for (start, panel) in (0..d).step_by(width).zip(panels) {
                for r in first..rows.len().min(first + TOGETHER) {
                    let target = &mut panel[r * width..][..width];
                    let next = (r + TOGETHER).min(rows.len() - 1);
                    // SAFETY: the block has the rows.
                    let (row, next) = unsafe { (rows.row(r), rows.row(next)) };
                    if d - start >= width {
                        // A constant number of vectors, which the compiler unrolls.
                        for v in 0..width / L::LANES {
                            let feature = start + v * L::LANES;
                            prefetch(next.wrapping_add(feature));
                            // SAFETY: a row is valid for reading its `d` features, which whole panels are part of.
                            let x: L = unsafe { E::load(proof, row.add(feature)) };
                            scale.features(proof, x, feature).write_to(&mut target[v * L::LANES..]);
                        }
                        continue;
                    }
                    let features = (start..d).step_by(L::LANES);
                    for (feature, target) in features.zip(target.chunks_exact_mut(L::LANES)) {
                        prefetch(next.wrapping_add(feature));
                        // SAFETY: a row is valid for reading its `d` features.
                        let x: L = unsafe { load(proof, row.add(feature), d - feature) };
                        scale.features(proof, x, feature).write_to(target);
                    }
                }
            }
        }
    }

    /// Squares of as many columns as rows are transposed in registers.
    #[inline(always)]
    fn columns<L: Lanes<Elem = T>, E: Widen<T>, S: Scale<T>>(
        self,
        proof: L::Proof,
        block: &ColumnBlock<'_, E>,
        scale: S,
    ) {
        let Self { panels, panel_rows } = self;
        let (n, d, width) = (block.len(), block.features().len(), panel_width::<L>());
        assert!(n <= panel_rows);
        for feature in (0..d).step_by(L::LANES) {
            let panel = &mut panels[feature / width * panel_rows * width..][..panel_rows * width];
            let columns = L::LANES.min(d - feature);
            // The columns that come next; past the last ones, the first ones of the rows that come next.
            let (ahead_rows, ahead) = match feature + L::LANES {
                next if next < d => (L::LANES - 1, next),
                _ => (n + L::LANES - 1, 0),
            };
            for row in (0..n).step_by(L::LANES) {
                let rows = L::LANES.min(n - row);
                let mut square = [L::splat(proof, T::default()); MAX_LANES];
                for (j, column) in square[..columns].iter_mut().enumerate() {
                    // SAFETY: the block has the feature and the rows, which lie side by side.
                    let x: L = unsafe { load(proof, block.at(row, feature + j), n - row) };
                    *column = scale.rows(proof, x, feature + j);
                    prefetch(block.at(row + ahead_rows, ahead + j));
                }
                transpose(&mut square);
                for (line, i) in square[..rows].iter().zip(row..) {
                    line.write_to(&mut panel[i * width + feature % width..]);
                }
            }
        }
    }
}
