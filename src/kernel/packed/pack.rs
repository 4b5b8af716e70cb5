//! W and X in panels: panel `p` of a matrix holds its columns from `p * LANES` on, all rows of them one
//! after the other, with zeros where columns are missing.

use crate::{
    LinearModel,
    kernel::{PackedWeights, RowBlock},
    simd::Lanes,
};

/// Rows that are packed together: enough that each panel gets a few cache lines at a time, and few
/// enough for the hardware to follow.
const TOGETHER: usize = 8;

/// Packs a model into panels of Wᵀ (features × classes), and the bias.
#[inline(always)]
pub(in crate::kernel) fn pack<L: Lanes>(
    model: &LinearModel<L::Elem>,
    packed: &mut PackedWeights<L::Elem>,
) {
    let (c, d) = (model.n_classes(), model.n_features());
    let padded = c.next_multiple_of(L::LANES);
    packed.bias.resize(padded);
    let bias = packed.bias.as_mut_slice();
    bias[..c].copy_from_slice(model.bias());
    bias[c..].fill(L::Elem::default());

    packed.weights.resize(padded * d);
    let panels = packed.weights.as_mut_slice().chunks_exact_mut(L::LANES * d);
    for (panel, classes) in panels.zip(model.weights().chunks(L::LANES * d)) {
        for (l, row) in panel.chunks_exact_mut(L::LANES).enumerate() {
            row.fill(L::Elem::default());
            for (weight, class) in row.iter_mut().zip(classes.chunks_exact(d)) {
                *weight = class[l];
            }
        }
    }
}

/// Packs the rows of a block into panels of X, each with room for `panel_rows`. What lies behind the
/// rows of the block in a panel is left as it is.
#[inline(always)]
pub(crate) fn pack_rows<L: Lanes>(
    proof: L::Proof,
    rows: &RowBlock<'_, L::Elem>,
    panels: &mut [L::Elem],
    panel_rows: usize,
) {
    assert!(rows.len() <= panel_rows);
    let d = rows.n_features();
    for first in (0..rows.len()).step_by(TOGETHER) {
        let panels = panels.chunks_exact_mut(panel_rows * L::LANES);
        for (feature, panel) in (0..d).step_by(L::LANES).zip(panels) {
            for r in first..rows.len().min(first + TOGETHER) {
                // SAFETY: a row is valid for reading its `d` features.
                let x = unsafe {
                    let source = rows.row(r).add(feature);
                    match d - feature {
                        rest if rest < L::LANES => L::load_first(proof, source, rest),
                        _ => L::load(proof, source),
                    }
                };
                x.write_to(&mut panel[r * L::LANES..]);
            }
        }
    }
}
