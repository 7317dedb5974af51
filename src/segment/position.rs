//! The sine position encoding that the segmenter takes as an input, so that its graph holds no size.

use std::f32::consts::TAU;

use crate::bundle::Position;
use crate::engine::Tensor;

/// `[1, C, h, w]` for a grid of `h` x `w` cells: the first C/2 channels encode the row, the others the column, each as
/// alternating sine and cosine of `TAU * (i + 1) / (n + 1e-6) / temperature^(2k / (C/2))`
/// (DETR's PositionEmbeddingSine with `normalize = True`; ZegFormer's transformer/position_encoding.py).
pub fn sine(position: &Position, h: usize, w: usize) -> Tensor {
    let mut tensor = Tensor::zeros([1, position.channels, h, w]);
    let half = position.channels / 2;
    let data = tensor.data_mut();
    let normal = |i: usize, n: usize| (i + 1) as f32 / (n as f32 + 1e-6) * TAU;
    for channel in 0..position.channels {
        let (within, of_row) = (channel % half, channel < half);
        let exponent = (within / 2 * 2) as f32 / half as f32;
        let divisor = position.temperature.powf(exponent);
        for y in 0..h {
            for x in 0..w {
                let place = if of_row { normal(y, h) } else { normal(x, w) };
                let angle = place / divisor;
                let value = if within % 2 == 0 { angle.sin() } else { angle.cos() };
                data[(channel * h + y) * w + x] = value;
            }
        }
    }
    tensor
}
