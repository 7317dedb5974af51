//! What lets CLIP see all proposals in one pass over the whole photo ([`crate::bundle::Mode::OnePass`]).
//!
//! Each proposal has a copy of CLIP's class token that looks at itself and at the patches under its mask (MaskCLIP, Ding,
//! Wang and Tu, ICML 2023; SAN, Xu et al., CVPR 2023). A patch weighs as much as is covered of it: the attention's bias is
//! the logarithm of that part. Nothing is trained for it.

use super::Proposals;
use crate::engine::Tensor;

/// The bias of a patch that a mask does not touch.
const FLOOR: f32 = -100.0;

/// `[1, Q, grid * grid]`, row-major: the bias for the patches of the photo, squashed to a square of `grid` x `grid`
/// patches. A cell is covered from a logit of 1/2 on and not at all up to -1/2, in between by degrees, so that rounding
/// turns no cell over. A mask that covers nothing sees the whole photo, as a crop of nothing is a crop of the whole.
pub fn mask_bias(proposals: &Proposals, grid: usize) -> Tensor {
    let (w, h) = proposals.grid();
    let extent = |pixels: usize| pixels as f32 / proposals.mask_stride as f32;
    let columns = shares(extent(proposals.content.0), grid, w);
    let rows = shares(extent(proposals.content.1), grid, h);
    let mut bias = Tensor::zeros([1, proposals.count(), grid * grid]);
    for (query, patches) in bias.data_mut().chunks_exact_mut(grid * grid).enumerate() {
        let mask = proposals.mask(query);
        for (row, line) in rows.iter().zip(patches.chunks_exact_mut(grid)) {
            for (column, covered) in columns.iter().zip(line) {
                for &(y, share) in row {
                    let cell = |x: usize| (mask[y * w + x] + 0.5).clamp(0.0, 1.0);
                    *covered += share * column.iter().map(|&(x, part)| part * cell(x)).sum::<f32>();
                }
            }
        }
        let nothing = patches.iter().all(|&covered| covered <= 0.0);
        for covered in patches {
            *covered = if nothing { 0.0 } else { covered.ln().max(FLOOR) };
        }
    }
    bias
}

/// For each of `bins` equal parts of `extent` cells the cells in it, with their shares of it.
fn shares(extent: f32, bins: usize, cells: usize) -> Vec<Vec<(usize, f32)>> {
    let edge = |bin: usize| bin as f32 * extent / bins as f32;
    (0..bins)
        .map(|bin| {
            let (low, high) = (edge(bin), edge(bin + 1));
            (low as usize..cells)
                .map(|cell| (cell, high.min(cell as f32 + 1.0) - low.max(cell as f32)))
                .take_while(|&(_, length)| length > 0.0)
                .map(|(cell, length)| (cell, length * bins as f32 / extent))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal() {
        for (extent, bins, cells) in [(5.25, 4, 6), (3.0, 14, 3), (160.0, 14, 160)] {
            for part in shares(extent, bins, cells) {
                let sum: f32 = part.iter().map(|&(_, share)| share).sum();
                assert!((sum - 1.0).abs() < 1e-4, "{extent} in {bins}: {sum}");
            }
        }
    }
}
