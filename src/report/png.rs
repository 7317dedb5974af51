//! Pictures of a label map: the labels themselves, the photo under their colours, one class cut out.

use png::{BitDepth, ColorType, Compression, Encoder};

use super::error::{ReportError, check_size};
use super::palette;
use crate::text::prompts::MAX_CLASSES;

/// The label of a pixel that is none of the classes.
const OTHER: u8 = 255;

/// How much of a class's colour covers the photo in an overlay, 0 to 1.
pub const OPACITY: f32 = 0.55;
/// An outline is one pixel wide, and one more for each of these many pixels of the photo's long side.
const PIXELS_PER_OUTLINE: usize = 800;

/// An 8-bit palette PNG whose palette indices are the labels: class index in typed order, 255 = other (transparent).
///
/// Pillow gives the label map back as it is (mode `P`); OpenCV applies palettes, and would give colours.
///
/// # Errors
/// [`ReportError::Size`] if `labels` is not `width * height` bytes; [`ReportError::Png`] if encoding fails.
pub fn labels(labels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, ReportError> {
    check_size("the label map", labels.len(), 1, width, height)?;
    let mut colours = palette::palette(MAX_CLASSES);
    colours.resize(256 * 3, 0);
    colours[usize::from(OTHER) * 3..].copy_from_slice(&palette::OTHER);
    let mut alphas = [255; 256];
    alphas[usize::from(OTHER)] = 0;
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(colours);
    encoder.set_trns(alphas.to_vec());
    let mut writer = encoder.write_header()?;
    writer.write_image_data(labels)?;
    writer.finish()?;
    Ok(file)
}

/// The photo with the classes' colours over it, RGB. Each class is outlined within its region, so that it stays visible on
/// things of its colour. Pixels that are "other" stay as they are; transparent parts of the photo lie on white.
///
/// `rgba` holds four bytes per pixel, not premultiplied; `opacity` (0 to 1) is clamped.
///
/// # Errors
/// [`ReportError::Size`] if the photo or the label map is not `width` x `height`; [`ReportError::Png`].
pub fn overlay(rgba: &[u8], labels: &[u8], width: usize, height: usize, opacity: f32) -> Result<Vec<u8>, ReportError> {
    check_size("the label map", labels.len(), 1, width, height)?;
    check_size("the photo", rgba.len(), 4, width, height)?;
    let weight = (opacity.clamp(0.0, 1.0) * 256.0) as u32;
    let blend = |under: u8, over: u8, weight: u32, full: u32| {
        ((u32::from(under) * (full - weight) + u32::from(over) * weight + full / 2) / full) as u8
    };
    let reach = 1 + width.max(height) / PIXELS_PER_OUTLINE;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for (at, (pixel, &label)) in rgba.chunks_exact(4).zip(labels).enumerate() {
        let colour = palette::colour(label);
        let weight = match label {
            OTHER => 0,
            _ if outlined(labels, width, at, reach) => 256,
            _ => weight,
        };
        for channel in 0..3 {
            let photo = blend(255, pixel[channel], pixel[3].into(), 255);
            pixels.push(blend(photo, colour[channel], weight, 256));
        }
    }
    encode(&pixels, width, height, ColorType::Rgb)
}

/// The photo with everything but one class transparent, RGBA, at the photo's full size.
///
/// # Errors
/// As [`overlay`].
pub fn cutout(rgba: &[u8], labels: &[u8], width: usize, height: usize, class: u8) -> Result<Vec<u8>, ReportError> {
    check_size("the label map", labels.len(), 1, width, height)?;
    check_size("the photo", rgba.len(), 4, width, height)?;
    let mut pixels = vec![0; rgba.len()];
    for ((target, pixel), &label) in pixels.chunks_exact_mut(4).zip(rgba.chunks_exact(4)).zip(labels) {
        if label == class {
            target.copy_from_slice(pixel);
        }
    }
    encode(&pixels, width, height, ColorType::Rgba)
}

/// Whether a pixel lies within `reach` pixels, along a row or a column, of one with another label.
fn outlined(labels: &[u8], width: usize, at: usize, reach: usize) -> bool {
    let (x, label) = (at % width, labels[at]);
    let differs = |at: usize| labels.get(at).is_some_and(|&other| other != label);
    (x >= reach && differs(at - reach))
        || (x + reach < width && differs(at + reach))
        || (at >= reach * width && differs(at - reach * width))
        || differs(at + reach * width)
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
