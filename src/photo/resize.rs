//! Pillow's bilinear resize, to the byte.
//!
//! ZegFormer sees photos that Pillow resized. Its filter is a triangle that widens when the photo shrinks, applied first
//! along rows, then along columns, with 22-bit fixed-point weights and bytes between the passes (Pillow, Resample.c).

/// Fraction bits of a weight.
const BITS: u32 = 32 - 8 - 2;

/// Resizes `pixels`, row-major with `CHANNELS` bytes a pixel, from width x height `from` to `to`. No side may be 0.
pub fn bilinear<const CHANNELS: usize>(pixels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let rows;
    let mut pixels = pixels;
    if from.0 != to.0 {
        rows = horizontal::<CHANNELS>(pixels, from.0, &weights(from.0, to.0));
        pixels = &rows;
    }
    if from.1 == to.1 {
        return pixels.to_vec();
    }
    vertical(pixels, to.0 * CHANNELS, &weights(from.1, to.1))
}

/// What one output position takes: inputs from `first` on, with these weights.
struct Weights {
    first: usize,
    weights: Vec<i32>,
}

fn weights(from: usize, to: usize) -> Vec<Weights> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    (0..to)
        .map(|index| {
            let centre = (index as f64 + 0.5) * scale;
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(from);
            let triangle: Vec<f64> =
                (first..end).map(|at| (1.0 - ((at as f64 - centre + 0.5) / reach).abs()).max(0.0)).collect();
            let sum: f64 = triangle.iter().sum();
            let fixed = |weight: &f64| (weight / sum * f64::from(1 << BITS) + 0.5) as i32;
            Weights { first, weights: triangle.iter().map(fixed).collect() }
        })
        .collect()
}

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

fn horizontal<const CHANNELS: usize>(pixels: &[u8], width: usize, columns: &[Weights]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / width * columns.len());
    for row in pixels.chunks_exact(width * CHANNELS) {
        for column in columns {
            let mut sums = [1i32 << (BITS - 1); CHANNELS];
            let (taps, _) = row[column.first * CHANNELS..].as_chunks::<CHANNELS>();
            for (pixel, &weight) in taps.iter().zip(&column.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            out.extend(sums.map(byte));
        }
    }
    out
}

fn vertical(pixels: &[u8], stride: usize, rows: &[Weights]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stride * rows.len());
    let mut sums = vec![0i32; stride];
    for row in rows {
        sums.fill(1 << (BITS - 1));
        let lines = pixels[row.first * stride..].chunks_exact(stride);
        for (line, &weight) in lines.zip(&row.weights) {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum += i32::from(value) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| byte(sum)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_photo_stays_flat() {
        let flat = vec![137u8; 3 * 40 * 30];
        for to in [(7, 5), (40, 11), (90, 30), (133, 77)] {
            assert!(bilinear::<3>(&flat, (40, 30), to).iter().all(|&value| value == 137), "{to:?}");
        }
    }

    #[test]
    fn halving_a_ramp_by_hand() {
        // Reach 2: the first output weighs inputs 0..3 by 3/4, 3/4, 1/4 of the triangle cut at the border.
        let found = bilinear::<1>(&[0, 40, 80, 120], (4, 1), (2, 1));
        let wanted =
            [(0.75 * 0.0 + 0.75 * 40.0 + 0.25 * 80.0) / 1.75, (0.25 * 40.0 + 0.75 * 80.0 + 0.75 * 120.0) / 1.75];
        assert_eq!(found, wanted.map(|value: f64| (value + 0.5) as u8));
    }
}
