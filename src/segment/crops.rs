//! Masked crops: what the image branch looks at.
//!
//! As in the paper's code (mask_former_model.py, `CLIP_CLS_STYLE = "cropmask"`): all outside the mask is the mean colour,
//! the box of the mask is squashed to a square by RoIAlign.

use super::proposals::Proposals;
use crate::engine::Tensor;

/// A box on the padded photo, in pixels: first and last covered column and row, used as coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Region {
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
}

/// `[K, 3, side, side]`: one masked crop for each of `queries`. `pixels` is the padded photo `[1, 3, H, W]`, normalised
/// for the image branch, so that 0 is the mean colour.
pub fn masked_crops(proposals: &Proposals, queries: &[usize], pixels: &Tensor, side: usize) -> Tensor {
    let (height, width) = (pixels.shape()[2], pixels.shape()[3]);
    let mut crops = Tensor::zeros([queries.len(), 3, side, side]);
    let mut masked = vec![0.0f32; 3 * height * width];
    for (at, &query) in queries.iter().enumerate() {
        let mask = proposals.covers_padded(query, width, height);
        for (plane, source) in masked.chunks_exact_mut(height * width).zip(pixels.data().chunks_exact(height * width)) {
            for ((target, &value), &covered) in plane.iter_mut().zip(source).zip(&mask) {
                *target = if covered { value } else { 0.0 };
            }
        }
        let region = bounds(&mask, width, height);
        let target = &mut crops.data_mut()[at * 3 * side * side..(at + 1) * 3 * side * side];
        for (plane, out) in masked.chunks_exact(height * width).zip(target.chunks_exact_mut(side * side)) {
            roi_align(plane, width, height, region, side, out);
        }
    }
    crops
}

/// The box of a mask, inclusive indices; the whole padded photo where the mask is empty or has no width or height.
fn bounds(mask: &[bool], width: usize, height: usize) -> Region {
    let (mut x0, mut x1, mut y0, mut y1) = (width, 0, height, 0);
    for (y, row) in mask.chunks_exact(width).enumerate() {
        for (x, _) in row.iter().enumerate().filter(|&(_, &covered)| covered) {
            x0 = x0.min(x);
            x1 = x1.max(x);
            y0 = y0.min(y);
            y1 = y1.max(y);
        }
    }
    if x0 >= x1 || y0 >= y1 {
        (x0, y0, x1, y1) = (0, 0, width, height);
    }
    Region { x0: x0 as f32, y0: y0 as f32, x1: x1 as f32, y1: y1 as f32 }
}

/// RoIAlign of one plane with `aligned = True` and adaptive sampling (ceil(box / side) samples a bin and axis, averaged),
/// as torchvision's `roi_align(..., sampling_ratio = -1)`. Bilinear weights are separable, so each axis is sampled once.
fn roi_align(plane: &[f32], width: usize, height: usize, region: Region, side: usize, out: &mut [f32]) {
    let columns = axis_samples(region.x0, region.x1, width, side);
    let rows = axis_samples(region.y0, region.y1, height, side);
    let mut line = vec![0.0f32; width];
    for (y, row) in rows.iter().enumerate() {
        line.fill(0.0);
        for &(source, weight) in row {
            let source = &plane[source * width..(source + 1) * width];
            for (value, &add) in line.iter_mut().zip(source) {
                *value += weight * add;
            }
        }
        for (x, column) in columns.iter().enumerate() {
            out[y * side + x] = column.iter().map(|&(at, weight)| weight * line[at]).sum();
        }
    }
}

/// For each bin of one axis the inputs it reads, with weights that sum to 1 inside the photo.
fn axis_samples(start: f32, end: f32, limit: usize, side: usize) -> Vec<Vec<(usize, f32)>> {
    let length = end - start;
    let bin = length / side as f32;
    let samples = bin.ceil().max(1.0) as usize;
    let share = 1.0 / samples as f32;
    let last = limit - 1;
    (0..side)
        .map(|index| {
            let mut taps: Vec<(usize, f32)> = Vec::with_capacity(2 * samples);
            for sample in 0..samples {
                let at = start - 0.5 + index as f32 * bin + (sample as f32 + 0.5) * bin / samples as f32;
                // torchvision: samples farther than one pixel outside count as 0.
                if at < -1.0 || at > limit as f32 {
                    continue;
                }
                let at = at.max(0.0);
                let low = (at as usize).min(last);
                let weight = if low == last { 0.0 } else { at - low as f32 };
                taps.push((low, share * (1.0 - weight)));
                if weight > 0.0 {
                    taps.push((low + 1, share * weight));
                }
            }
            taps
        })
        .collect()
}
