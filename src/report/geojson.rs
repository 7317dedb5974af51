//! The regions of a label map as polygons, in GeoJSON (RFC 7946).
//!
//! Coordinates are pixels, not degrees: x to the right and y **down** from the top left corner of the photo, so that a
//! pixel `(x, y)` is the square from `(x, y)` to `(x + 1, y + 1)` and all coordinates are whole numbers. Rings are closed;
//! as numbers, outer rings run counter-clockwise and holes clockwise, as the RFC asks; on a screen, where y points down,
//! that looks the other way round. Pixels that touch at a corner alone belong to different polygons. Every ring is simple:
//! one that would touch itself at a corner is split there into an outer ring and holes.

use serde::Serialize;

use super::error::{ReportError, check_size};
use super::palette;
use super::scale::Scale;
use super::trace::{Polygon, polygons};

/// A whole document: one feature per class that has pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureCollection {
    #[serde(rename = "type")]
    kind: &'static str,
    /// Where the coordinates live; a foreign member, which the RFC (section 6.1) allows.
    pub pixels: PixelSpace,
    /// In the order of the classes.
    pub features: Vec<Feature>,
}

/// The space of the coordinates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PixelSpace {
    /// Width of the photo.
    pub width: usize,
    /// Height of the photo.
    pub height: usize,
    /// Where y points: always `"down"`.
    pub y: &'static str,
}

/// All regions of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Feature {
    #[serde(rename = "type")]
    kind: &'static str,
    /// Name, number and size of the class.
    pub properties: Properties,
    /// Its polygons.
    pub geometry: MultiPolygon,
}

/// What is known of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Properties {
    /// Its name.
    pub name: String,
    /// Its index in typed order, from 0.
    pub index: usize,
    /// Its colour, `#rrggbb`.
    pub colour: String,
    /// Its pixels.
    pub pixels: u64,
    /// Its part of the photo, 0 to 1.
    pub share: f64,
}

/// Polygons of one class: outer ring first, then holes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MultiPolygon {
    #[serde(rename = "type")]
    kind: &'static str,
    /// Polygons, their rings, the rings' points `[x, y]`.
    pub coordinates: Vec<Polygon>,
}

/// Traces a label map, in the picture's coordinates; `names` are the classes in typed order, and other labels are left out.
///
/// # Errors
/// [`ReportError::Size`] if `labels` has not a byte for each pixel of the map.
pub fn features(labels: &[u8], scale: &Scale, names: &[&str]) -> Result<FeatureCollection, ReportError> {
    check_size("the label map", labels.len(), 1, scale.map.0, scale.map.1)?;
    let (width, height) = scale.picture;
    let mut counts = [0u64; 256];
    for (y, row) in labels.chunks_exact(scale.map.0).enumerate() {
        let tall = scale.row(y + 1) - scale.row(y);
        for (x, &label) in row.iter().enumerate() {
            counts[usize::from(label)] += ((scale.column(x + 1) - scale.column(x)) * tall) as u64;
        }
    }
    let mut regions = polygons(labels, scale.map.0);
    for [x, y] in regions.iter_mut().flatten().flatten().flatten() {
        (*x, *y) = (scale.column(*x as usize) as u32, scale.row(*y as usize) as u32);
    }
    let features = names.iter().enumerate().take(usize::from(u8::MAX)).filter(|&(index, _)| counts[index] > 0);
    let features = features
        .map(|(index, &name)| Feature {
            kind: "Feature",
            properties: Properties {
                name: name.to_owned(),
                index,
                colour: palette::hex(index as u8),
                pixels: counts[index],
                share: counts[index] as f64 / scale.pixels() as f64,
            },
            geometry: MultiPolygon { kind: "MultiPolygon", coordinates: std::mem::take(&mut regions[index]) },
        })
        .collect();
    Ok(FeatureCollection { kind: "FeatureCollection", pixels: PixelSpace { width, height, y: "down" }, features })
}
