//! The result of a run as files, made of the result alone: its pipeline may be at other names and options by now.
//!
//! Labels, masks and polygons have the size of the photo as it was uploaded. A photo that was too large to be worked on at
//! that size ([`crate::photo::MAX_SIDE`]) is smaller in overlays and cut-outs.

use std::str::FromStr;

use super::coco::Annotations;
use super::error::ReportError;
use super::json::{self, Document, ModelEntry, OptionsEntry, PhotoEntry, ScoreEntry, SegmentEntry};
use super::png::View;
use super::rle::Rle;
use super::scale::Scale;
use super::{geojson, png};
use crate::pipeline::{Segment, Segmentation};

/// The files that a result can be saved as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Palette PNG of the labels.
    Labels,
    /// The photo under the classes' colours, PNG.
    Overlay,
    /// Everything: classes, segments, scores, masks.
    Json,
    /// COCO annotations.
    Coco,
    /// Polygons in pixel coordinates.
    GeoJson,
}

impl FromStr for Kind {
    type Err = ReportError;

    /// Reads `labels.png`, `overlay.png`, `json`, `coco` or `geojson`.
    fn from_str(name: &str) -> Result<Self, ReportError> {
        Ok(match name {
            "labels.png" => Self::Labels,
            "overlay.png" => Self::Overlay,
            "json" => Self::Json,
            "coco" => Self::Coco,
            "geojson" => Self::GeoJson,
            _ => return Err(ReportError::UnknownKind(name.to_owned())),
        })
    }
}

/// A result as a file; `file` is the photo's name in documents, `view` is for overlays.
///
/// # Errors
/// What encoders say.
pub fn write(kind: Kind, result: &Segmentation, file: &str, view: &View) -> Result<Vec<u8>, ReportError> {
    let map = &result.map;
    match kind {
        Kind::Labels => png::labels(&map.labels, &scale(result)),
        Kind::Overlay => png::overlay(result.photo.rgba(), &map.labels, map.width, map.height, view),
        Kind::Json => Ok(serde_json::to_vec(&document(result, file)?)?),
        Kind::Coco => {
            let mut annotations = annotations(result);
            annotate(&mut annotations, result, file)?;
            annotations.to_json()
        }
        Kind::GeoJson => {
            let names: Vec<&str> = result.typed.iter().map(|class| class.name.as_str()).collect();
            Ok(serde_json::to_vec(&geojson::features(&map.labels, &scale(result), &names)?)?)
        }
    }
}

/// The photo with everything but one class transparent, PNG.
///
/// # Errors
/// [`ReportError::NoClass`], and what the encoder says.
pub fn cutout(result: &Segmentation, class: usize) -> Result<Vec<u8>, ReportError> {
    let label = u8::try_from(class).ok().filter(|_| class < result.typed.len());
    let label = label.ok_or(ReportError::NoClass(class))?;
    png::cutout(result.photo.rgba(), &result.map.labels, result.map.width, result.map.height, label)
}

/// An annotation document without photos for the classes of a result.
pub fn annotations(result: &Segmentation) -> Annotations {
    Annotations::new(&result.model, &result.typed)
}

/// Adds a result to an annotation document of the same classes.
///
/// # Errors
/// [`ReportError::Size`].
pub fn annotate(document: &mut Annotations, result: &Segmentation, file: &str) -> Result<(), ReportError> {
    let (map, scale) = (&result.map, scale(result));
    let (entries, _) = json::regions(&map.labels, &map.confidence, &scale, &result.typed)?;
    document.add(file, scale.picture.0, scale.picture.1, &entries);
    Ok(())
}

/// The whole outcome of a photo.
fn document(result: &Segmentation, file: &str) -> Result<Document, ReportError> {
    let (map, scale) = (&result.map, scale(result));
    let (mut classes, mut other) = json::regions(&map.labels, &map.confidence, &scale, &result.typed)?;
    for (entry, class) in classes.iter_mut().zip(&result.classes) {
        entry.same_as.clone_from(&class.same_as);
        entry.looked_for_as.clone_from(&class.about);
        entry.kinds.clone_from(&class.kinds);
        entry.found_as.clone_from(&class.found_as);
        entry.seen = class.seen;
    }
    other.found_as.clone_from(&result.other_as);
    let options = &result.options;
    Ok(Document {
        format: json::FORMAT,
        photo: PhotoEntry { file: file.to_owned(), width: scale.picture.0, height: scale.picture.1 },
        model: ModelEntry { name: result.model.clone(), engine: result.engine.name().to_owned() },
        options: OptionsEntry {
            resolution: options.resolution.clone(),
            mode: options.mode,
            ensembling: options.ensembling,
            lambda: options.lambda,
            gamma: options.gamma,
            margin: options.margin,
            temperature: options.temperature,
            threshold: options.threshold,
            distractors: options.distractors,
        },
        classes,
        other,
        segments: result.segments.iter().map(|segment| entry(segment, result, &scale)).collect::<Result<_, _>>()?,
    })
}

fn entry(segment: &Segment, result: &Segmentation, scale: &Scale) -> Result<SegmentEntry, ReportError> {
    let scores = &segment.scores;
    let score = |(index, name): (usize, &String)| {
        Some(ScoreEntry {
            name: name.clone(),
            query: *scores.by_query.get(index)?,
            image: scores.by_image.as_ref().and_then(|image| image.get(index).copied()),
            fused: *scores.fused.get(index)?,
        })
    };
    let (width, height) = scale.map;
    let mask = Rle::encode(&result.proposals.covers(segment.shape.query, width, height), width, height)?.scaled(scale);
    let [left, top, across, down] = mask.bounds();
    Ok(SegmentEntry {
        query: segment.shape.query,
        class: segment.class,
        area: mask.area(),
        bounds: [left, top, left + across, top + down],
        scores: result.typed.iter().map(|class| &class.name).enumerate().filter_map(score).collect(),
        mask: mask.to_coco(),
    })
}

/// From the label map to the photo as it was uploaded.
fn scale(result: &Segmentation) -> Scale {
    Scale::new((result.map.width, result.map.height), result.photo.original())
}
