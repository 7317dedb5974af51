//! The whole outcome of one photo as JSON: classes with their masks, segments with the scores of both branches.

use serde::Serialize;

use super::error::{ReportError, check_size};
use super::palette;
use super::rle::{CocoMask, of_labels};
use super::scale::Scale;
use crate::text::Class;

/// Version of the document; raised when a field changes its meaning or goes.
pub const FORMAT: u32 = 2;

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// [`FORMAT`].
    pub format: u32,
    /// Which photo.
    pub photo: PhotoEntry,
    /// What made the labels.
    pub model: ModelEntry,
    /// With which settings.
    pub options: OptionsEntry,
    /// In typed order: the index is the label in the label PNG.
    pub classes: Vec<ClassEntry>,
    /// The pixels that are none of the classes (label 255).
    pub other: OtherEntry,
    /// The named segments.
    pub segments: Vec<SegmentEntry>,
}

/// The photo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhotoEntry {
    /// File name without its folder.
    pub file: String,
    /// Width in pixels, upright; of the label map and of all masks too. Beyond 4096 pixels a side the labels were made of a
    /// smaller copy of the photo, and enlarged.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelEntry {
    /// Name of the bundle.
    pub name: String,
    /// `cpu` or `webgpu`.
    pub engine: String,
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptionsEntry {
    /// Name of the resolution.
    pub resolution: String,
    /// `official`, `fast`, `one-pass` or `lite`.
    pub mode: crate::bundle::Mode,
    /// How the branches were fused.
    pub ensembling: crate::bundle::Ensembling,
    /// Weight of the image branch, 0 to 1.
    pub lambda: f32,
    /// Subtracted from the scores of seen classes.
    pub gamma: f32,
    /// Subtracted from the cosines of seen classes.
    pub margin: f32,
    /// Factor from cosine to logit.
    pub temperature: f32,
    /// Least confidence of a labelled pixel, 0 to 1.
    pub threshold: f32,
    /// Whether distractor names competed.
    pub distractors: bool,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassEntry {
    /// Its label, from 0.
    pub index: usize,
    /// Its first name.
    pub name: String,
    /// Its other names.
    pub synonyms: Vec<String>,
    /// First name of an earlier class that means the same and has all that either could be labelled; none as a rule.
    pub same_as: Option<String>,
    /// What its first name was looked for as, if that is a phrase: "dog", for "a brown dog".
    pub looked_for_as: Option<String>,
    /// What else it was looked for as: "cat", "dog" and more, for "animal".
    pub kinds: Vec<String>,
    /// Which of these kinds it was found as, those of most pixels first.
    pub found_as: Vec<String>,
    /// Whether the segmenter was trained on one of its names or kinds, or on what a phrase is about; null where the model does not say on which it was.
    pub seen: Option<bool>,
    /// Its colour, `#rrggbb`.
    pub colour: String,
    /// Its pixels.
    pub area: u64,
    /// Its part of the photo, 0 to 1.
    pub share: f64,
    /// Mean confidence of its pixels, 0 to 1; 0 if it has none.
    pub score: f64,
    /// The smallest box around its pixels: left, top, right, bottom, the latter two exclusive; all 0 if it has none.
    #[serde(rename = "box")]
    pub bounds: [usize; 4],
    /// Its pixels as COCO RLE.
    pub mask: CocoMask,
}

/// The rest of the photo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherEntry {
    /// Its pixels.
    pub area: u64,
    /// Its part of the photo, 0 to 1.
    pub share: f64,
    /// Silent names that won there, those of most pixels first.
    pub found_as: Vec<String>,
    /// Its pixels as COCO RLE.
    pub mask: CocoMask,
}

/// One segment that the segmenter proposed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentEntry {
    /// The proposal's number.
    pub query: usize,
    /// Index of the class with the best fused score; none where a distractor is better.
    pub class: Option<usize>,
    /// Its pixels.
    pub area: u64,
    /// As [`ClassEntry::bounds`].
    #[serde(rename = "box")]
    pub bounds: [usize; 4],
    /// One entry per class, in typed order.
    pub scores: Vec<ScoreEntry>,
    /// Its pixels as COCO RLE.
    pub mask: CocoMask,
}

/// Probabilities of one class for one segment, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreEntry {
    /// First name of the class.
    pub name: String,
    /// By the segment embedding.
    pub query: f32,
    /// By the masked crop; none where no crop was made.
    pub image: Option<f32>,
    /// Both fused.
    pub fused: f32,
}

/// Entries of the classes and of the rest, from labels and confidences (0 to 255) of the map's size, row-major. Areas, boxes
/// and masks are those on the picture.
///
/// `classes` are at most 254. What names were looked for and found as is left out: labels do not tell it.
///
/// # Errors
/// [`ReportError::Size`] if one of the maps has another size.
pub fn regions(
    labels: &[u8],
    confidence: &[u8],
    scale: &Scale,
    classes: &[Class],
) -> Result<(Vec<ClassEntry>, OtherEntry), ReportError> {
    let (width, height) = scale.map;
    check_size("the confidence map", confidence.len(), 1, width, height)?;
    let masks = of_labels(labels, width, height)?;
    let mut sums = [0u64; 256];
    for (&label, &value) in labels.iter().zip(confidence) {
        sums[usize::from(label)] += u64::from(value);
    }
    let share = |area: u64| area as f64 / scale.pixels() as f64;
    let entries = classes.iter().zip(&masks).enumerate().map(|(index, (class, labelled))| {
        let mask = labelled.scaled(scale);
        let [left, top, across, down] = mask.bounds();
        ClassEntry {
            index,
            name: class.name.clone(),
            synonyms: class.synonyms.clone(),
            same_as: None,
            looked_for_as: None,
            kinds: Vec::new(),
            found_as: Vec::new(),
            seen: None,
            colour: palette::hex(index as u8),
            area: mask.area(),
            share: share(mask.area()),
            score: sums[index] as f64 / 255.0 / labelled.area().max(1) as f64,
            bounds: [left, top, left + across, top + down],
            mask: mask.to_coco(),
        }
    });
    let other = masks[255].scaled(scale);
    let (area, mask) = (other.area(), other.to_coco());
    Ok((entries.collect(), OtherEntry { area, share: share(area), found_as: Vec::new(), mask }))
}
