//! Pictures of a label map: the labels themselves, the photo under their colours, one class cut out.

use png::{BitDepth, ColorType, Compression, Encoder};

use super::error::{ReportError, check_size};
use super::palette;
use crate::text::prompts::MAX_CLASSES;

/// The label of a pixel that is none of the classes.
const OTHER: u8 = 255;

/// How much of a class's colour covers the photo in an overlay, 0 to 1.
pub const OPACITY: f32 = 0.55;

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

/// The photo with the classes' colours over it, RGB. Pixels that are "other" stay as they are; transparent parts of the
/// photo lie on white.
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
    let mut pixels = Vec::with_capacity(width * height * 3);
    for (pixel, &label) in rgba.chunks_exact(4).zip(labels) {
        let colour = palette::colour(label);
        for channel in 0..3 {
            let photo = blend(255, pixel[channel], pixel[3].into(), 255);
            pixels.push(if label == OTHER { photo } else { blend(photo, colour[channel], weight, 256) });
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
