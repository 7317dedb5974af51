//! The result of a run as files.

use std::str::FromStr;

use super::coco::Annotations;
use super::error::ReportError;
use super::json::{self, Document, ModelEntry, OptionsEntry, PhotoEntry, ScoreEntry, SegmentEntry};
use super::rle::Rle;
use super::{geojson, png};
use crate::photo::Photo;
use crate::pipeline::{Pipeline, Segment, Segmentation};
use crate::segment::Proposals;
use crate::text::Class;

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

/// The last result of a pipeline, of a photo whose file name is not known, as the file that `kind` names.
///
/// # Errors
/// [`ReportError::UnknownKind`], and as [`write()`].
pub fn export(pipeline: &Pipeline, result: &Segmentation, kind: &str) -> Result<Vec<u8>, ReportError> {
    write(kind.parse()?, pipeline, result, "photo")
}

/// The last result of a pipeline as a file; `file` is the photo's name in documents.
///
/// # Errors
/// [`ReportError::NoResult`] or [`ReportError::Size`] if the result is not of the pipeline's present photo, else what
/// encoders say.
pub fn write(kind: Kind, pipeline: &Pipeline, result: &Segmentation, file: &str) -> Result<Vec<u8>, ReportError> {
    let map = &result.map;
    let (width, height) = (map.width, map.height);
    match kind {
        Kind::Labels => png::labels(&map.labels, width, height),
        Kind::Overlay => png::overlay(photo(pipeline)?.rgba(), &map.labels, width, height, png::OPACITY),
        Kind::Json => Ok(serde_json::to_vec(&document(pipeline, result, file)?)?),
        Kind::Coco => {
            let mut annotations = annotations(pipeline, result);
            annotate(&mut annotations, pipeline, result, file)?;
            annotations.to_json()
        }
        Kind::GeoJson => {
            let names: Vec<&str> = result.classes.iter().map(|class| class.name.as_str()).collect();
            Ok(serde_json::to_vec(&geojson::features(&map.labels, width, height, &names)?)?)
        }
    }
}

/// The photo with everything but one class transparent, PNG.
///
/// # Errors
/// [`ReportError::NoClass`], and as [`write()`].
pub fn cutout(pipeline: &Pipeline, result: &Segmentation, class: usize) -> Result<Vec<u8>, ReportError> {
    let label = u8::try_from(class).ok().filter(|_| class < result.classes.len());
    let label = label.ok_or(ReportError::NoClass(class))?;
    png::cutout(photo(pipeline)?.rgba(), &result.map.labels, result.map.width, result.map.height, label)
}

/// An annotation document without photos for the classes of a result.
pub fn annotations(pipeline: &Pipeline, result: &Segmentation) -> Annotations {
    Annotations::new(&pipeline.bundle().name, &classes(pipeline, result))
}

/// Adds a result to an annotation document of the same classes.
///
/// # Errors
/// [`ReportError::Size`].
pub fn annotate(
    document: &mut Annotations,
    pipeline: &Pipeline,
    result: &Segmentation,
    file: &str,
) -> Result<(), ReportError> {
    let map = &result.map;
    let classes = classes(pipeline, result);
    let (entries, _) = json::regions(&map.labels, &map.confidence, map.width, map.height, &classes)?;
    document.add(file, map.width, map.height, &entries);
    Ok(())
}

/// The whole outcome of a photo.
///
/// # Errors
/// As [`write()`].
pub fn document(pipeline: &Pipeline, result: &Segmentation, file: &str) -> Result<Document, ReportError> {
    let map = &result.map;
    let proposals = pipeline.proposals().ok_or(ReportError::NoResult)?;
    let typed = classes(pipeline, result);
    let (mut classes, mut other) = json::regions(&map.labels, &map.confidence, map.width, map.height, &typed)?;
    for (entry, class) in classes.iter_mut().zip(&result.classes) {
        entry.same_as.clone_from(&class.same_as);
        entry.looked_for_as.clone_from(&class.about);
        entry.kinds.clone_from(&class.kinds);
        entry.found_as.clone_from(&class.found_as);
        entry.seen = class.seen;
    }
    other.found_as.clone_from(&result.other_as);
    let segments = result.segments.iter().map(|segment| entry(segment, proposals, &typed, map.width, map.height));
    let options = pipeline.options();
    Ok(Document {
        format: json::FORMAT,
        photo: PhotoEntry { file: file.to_owned(), width: map.width, height: map.height },
        model: ModelEntry { name: pipeline.bundle().name.clone(), engine: pipeline.engine().kind.name().to_owned() },
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
        segments: segments.collect::<Result<_, _>>()?,
    })
}

fn entry(
    segment: &Segment,
    proposals: &Proposals,
    classes: &[Class],
    width: usize,
    height: usize,
) -> Result<SegmentEntry, ReportError> {
    let scores = &segment.scores;
    let score = |(index, class): (usize, &Class)| {
        Some(ScoreEntry {
            name: class.name.clone(),
            query: *scores.by_query.get(index)?,
            image: scores.by_image.as_ref().and_then(|image| image.get(index).copied()),
            fused: *scores.fused.get(index)?,
        })
    };
    Ok(SegmentEntry {
        query: segment.shape.query,
        class: segment.class,
        area: segment.shape.area,
        bounds: segment.shape.bounds,
        scores: classes.iter().enumerate().filter_map(score).collect(),
        mask: Rle::encode(&proposals.covers(segment.shape.query, width, height), width, height)?.to_coco(),
    })
}

/// The classes of a result. The pipeline may hold others by now; then synonyms are not known any more.
fn classes(pipeline: &Pipeline, result: &Segmentation) -> Vec<Class> {
    let known = |name: &str| pipeline.classes().iter().find(|class| class.name == name).cloned();
    result.classes.iter().map(|class| known(&class.name).unwrap_or_else(|| Class::plain(&class.name))).collect()
}

fn photo(pipeline: &Pipeline) -> Result<&Photo, ReportError> {
    pipeline.photo().ok_or(ReportError::NoResult)
}
