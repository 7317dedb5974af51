//! Pictures of a label map: the labels themselves, the photo under their colours, one class cut out.

use std::io::Write;

use png::{BitDepth, ColorType, Compression, Encoder};

use super::error::{ReportError, check_size};
use super::palette;
use super::scale::Scale;
use crate::text::prompts::MAX_CLASSES;

/// The label of a pixel that is none of the classes.
const OTHER: u8 = 255;

/// How much of a class's colour covers the photo in an overlay, 0 to 1.
pub const OPACITY: f32 = 0.55;
/// An outline is one pixel wide, and one more for each of these many pixels of the photo's long side.
const PIXELS_PER_OUTLINE: usize = 800;

/// What of an overlay is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View<'a> {
    /// How much of a class's colour covers the photo, 0 to 1; what is beyond is clamped.
    pub opacity: f32,
    /// Labels that are not painted.
    pub hidden: &'a [u8],
}

impl Default for View<'_> {
    /// All labels at [`OPACITY`].
    fn default() -> Self {
        Self { opacity: OPACITY, hidden: &[] }
    }
}

/// An 8-bit palette PNG of the picture's size whose palette indices are the labels: class index in typed order, 255 = other (transparent).
///
/// Pillow gives the label map back as it is (mode `P`); OpenCV applies palettes, and would give colours.
///
/// # Errors
/// [`ReportError::Size`] if `labels` has not a byte for each pixel of the map; [`ReportError::Png`] if encoding fails.
pub fn labels(labels: &[u8], scale: &Scale) -> Result<Vec<u8>, ReportError> {
    check_size("the label map", labels.len(), 1, scale.map.0, scale.map.1)?;
    let mut colours = palette::palette(MAX_CLASSES);
    colours.resize(256 * 3, 0);
    colours[usize::from(OTHER) * 3..].copy_from_slice(&palette::OTHER);
    let mut alphas = [255; 256];
    alphas[usize::from(OTHER)] = 0;
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, scale.picture.0 as u32, scale.picture.1 as u32);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(colours);
    encoder.set_trns(alphas.to_vec());
    let mut writer = encoder.write_header()?;
    let mut rows = writer.stream_writer()?;
    let mut line = vec![0; scale.picture.0];
    for (y, row) in labels.chunks_exact(scale.map.0).enumerate() {
        for (x, &label) in row.iter().enumerate() {
            line[scale.column(x)..scale.column(x + 1)].fill(label);
        }
        for _ in scale.row(y)..scale.row(y + 1) {
            rows.write_all(&line).map_err(png::EncodingError::from)?;
        }
    }
    rows.finish()?;
    writer.finish()?;
    Ok(file)
}

/// The photo with the classes' colours over it, RGB. Each class is outlined within its region, so that it stays visible on
/// things of its colour. Pixels that are "other" or hidden stay as they are; transparent parts of the photo lie on white.
///
/// `rgba` holds four bytes per pixel, not premultiplied. The picture has the size of `rgba`: a photo that was made smaller
/// stays so.
///
/// # Errors
/// [`ReportError::Size`] if the photo or the label map is not `width` x `height`; [`ReportError::Png`].
pub fn overlay(rgba: &[u8], labels: &[u8], width: usize, height: usize, view: &View) -> Result<Vec<u8>, ReportError> {
    check_size("the label map", labels.len(), 1, width, height)?;
    check_size("the photo", rgba.len(), 4, width, height)?;
    let weight = (view.opacity.clamp(0.0, 1.0) * 256.0) as u32;
    let blend = |under: u8, over: u8, weight: u32, full: u32| {
        ((u32::from(under) * (full - weight) + u32::from(over) * weight + full / 2) / full) as u8
    };
    let outlined = outlines(labels, width, 1 + width.max(height) / PIXELS_PER_OUTLINE);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for ((pixel, &label), outlined) in rgba.as_chunks::<4>().0.iter().zip(labels).zip(outlined) {
        let colour = palette::colour(label);
        let weight = match label {
            OTHER => 0,
            _ if view.hidden.contains(&label) => 0,
            _ if outlined => 256,
            _ => weight,
        };
        for channel in 0..3 {
            let photo = blend(255, pixel[channel], pixel[3].into(), 255);
            pixels.push(blend(photo, colour[channel], weight, 256));
        }
    }
    encode(&pixels, width, height, ColorType::Rgb)
}

/// The photo with everything but one class transparent, RGBA, of the size of `rgba`.
///
/// # Errors
/// As [`overlay`].
pub fn cutout(rgba: &[u8], labels: &[u8], width: usize, height: usize, class: u8) -> Result<Vec<u8>, ReportError> {
    check_size("the label map", labels.len(), 1, width, height)?;
    check_size("the photo", rgba.len(), 4, width, height)?;
    let mut pixels = vec![0; rgba.len()];
    let targets = pixels.as_chunks_mut::<4>().0.iter_mut();
    for ((target, &pixel), &label) in targets.zip(rgba.as_chunks::<4>().0).zip(labels) {
        if label == class {
            *target = pixel;
        }
    }
    encode(&pixels, width, height, ColorType::Rgba)
}

/// Whether each pixel lies within `reach` pixels, along its row or its column, of one with another label.
fn outlines(labels: &[u8], width: usize, reach: usize) -> Vec<bool> {
    let height = labels.len() / width;
    let mut outlined = vec![false; labels.len()];
    // Where two neighbours differ, no pixel within reach of that edge has the label of both.
    for (y, row) in labels.chunks_exact(width).enumerate() {
        for x in (1..width).filter(|&x| row[x - 1] != row[x]) {
            outlined[y * width..][x.saturating_sub(reach)..(x + reach).min(width)].fill(true);
        }
    }
    for (at, _) in labels.iter().zip(&labels[width..]).enumerate().filter(|(_, (above, below))| above != below) {
        let (x, y) = (at % width, at / width + 1);
        for y in y.saturating_sub(reach)..(y + reach).min(height) {
            outlined[y * width + x] = true;
        }
    }
    outlined
}

fn encode(pixels: &[u8], width: usize, height: usize, colour: ColorType) -> Result<Vec<u8>, ReportError> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    // A photo hardly gets smaller by trying harder, and the page waits for it.
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_reach_over_thin_regions() {
        let by_hand = |labels: &[u8], width: usize, reach: usize| -> Vec<bool> {
            let height = labels.len() / width;
            let near = |at: usize, other: usize| {
                let (dx, dy) = ((at % width).abs_diff(other % width), (at / width).abs_diff(other / width));
                dx.min(dy) == 0 && dx + dy <= reach && labels[at] != labels[other]
            };
            (0..width * height).map(|at| (0..width * height).any(|other| near(at, other))).collect()
        };
        // A line of one pixel, a speck, stripes: the pixel at exactly `reach` often has the label again.
        let mut maps = [vec![0; 108], vec![0; 108], (0..108).map(|at| (at % 12 / 2 % 2) as u8).collect()];
        maps[0][48..60].fill(1);
        maps[1][54] = 1;
        for (number, labels) in maps.iter().enumerate() {
            for reach in 1..=4 {
                assert_eq!(outlines(labels, 12, reach), by_hand(labels, 12, reach), "map {number}, reach {reach}");
            }
        }
    }
}
