//! The outcome of a run: labels, classes with their shares, named segments.

use super::names::Names;
use super::{Pipeline, Stage};
use crate::classify::{SegmentScores, first_best};
use crate::compose::{LabelMap, OTHER};

/// Kinds with less than one part in so many of the area of the largest go without saying.
const LEAST_OF_LARGEST: usize = 10;

/// Silent names are told of from this part of the photo and from this score on.
const LEAST_OTHER: usize = 50;
const LEAST_SURE: f32 = 0.3;

/// One proposal at the photo's size, before any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The proposal's number.
    pub query: usize,
    /// Covered pixels of the photo.
    pub area: usize,
    /// First column, first row, one past the last column, one past the last row. All 0 where nothing is covered.
    pub bounds: [usize; 4],
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Segmentation {
    pub map: LabelMap,
    /// In typed order.
    pub classes: Vec<ClassResult>,
    /// Part of the photo that is none of the classes, 0..1.
    pub other: f32,
    /// Silent names that won where no typed one did, those of the largest area first.
    pub other_as: Vec<String>,
    pub segments: Vec<Segment>,
    /// Whether the image branch could have changed a name, as the names and options are.
    pub image_has_a_say: bool,
    /// Milliseconds of each stage that ran; a kept result counts 0.
    pub stages: Vec<(Stage, f64)>,
}

/// One typed class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassResult {
    pub name: String,
    /// The earlier class, by its name, that has the same vector: "dog", for "Hund" or "the dogs" beside it. All that
    /// either could be labelled is labelled the earlier one, so that this one has no kinds, no scores and no pixels.
    pub same_as: Option<String>,
    /// What a phrase was looked for as: "dog", for "a brown dog".
    pub about: Option<String>,
    /// What else it was looked for as: "cat", "dog" and more, for "animal".
    pub kinds: Vec<String>,
    /// Which of these kinds it was found as, those of most pixels first.
    pub found_as: Vec<String>,
    /// Whether the segmenter was trained on one of its names or kinds, or on what a phrase is about; `None` where the bundle does not say on which it was.
    pub seen: Option<bool>,
    /// Part of the photo's pixels, 0..1.
    pub share: f32,
}

/// One named segment.
#[derive(Clone, Debug)]
pub struct Segment {
    pub shape: Shape,
    /// The class with the best fused score; `None` where a distractor has a better one.
    pub class: Option<usize>,
    pub scores: SegmentScores,
}

impl Pipeline {
    pub(super) fn result(&self, map: LabelMap, scores: Vec<SegmentScores>, stages: Vec<(Stage, f64)>) -> Segmentation {
        let mut counts = [0usize; 256];
        for &label in &map.labels {
            counts[label as usize] += 1;
        }
        let share = |label: usize| counts[label] as f32 / map.labels.len() as f32;
        let names = self.kept.names.as_ref();
        let shapes = self.kept.segments.iter().flatten();
        let segments: Vec<Segment> =
            shapes.zip(scores).map(|(&shape, scores)| Segment { shape, class: best_class(&scores), scores }).collect();
        let classes = self
            .classes
            .iter()
            .enumerate()
            .map(|(at, class)| ClassResult {
                name: class.name.clone(),
                same_as: names.and_then(|names| names.same_as(at)).map(|earlier| self.classes[earlier].name.clone()),
                about: self.text.about(&class.name).map(str::to_owned),
                kinds: names.map(|names| names.kinds(at)).unwrap_or_default(),
                found_as: names.map(|names| found_as(at, &segments, names)).unwrap_or_default(),
                seen: names.filter(|_| !self.bundle.classify.seen.is_empty()).map(|names| names.is_seen(at)),
                share: share(at),
            })
            .collect();
        let least = map.labels.len() / LEAST_OTHER;
        Segmentation {
            classes,
            other: share(OTHER as usize),
            other_as: names
                .filter(|_| counts[OTHER as usize] >= least)
                .map(|names| other_as(&segments, names, least))
                .unwrap_or_default(),
            image_has_a_say: self.image_has_a_say(),
            segments,
            map,
            stages,
        }
    }
}

/// The kinds of a class that its segments were named for, those of the largest area first, without the smallest.
fn found_as(class: usize, segments: &[Segment], names: &Names) -> Vec<String> {
    let named = segments.iter().filter(|segment| segment.class == Some(class));
    let kind = |segment: &Segment| names.kind((*segment.scores.rows.get(class)?)?);
    let mut areas = largest_first(named.filter_map(|segment| Some((kind(segment)?, segment.shape.area))));
    let largest = areas.first().map_or(0, |&(_, area)| area);
    areas.retain(|&(_, area)| area * LEAST_OF_LARGEST >= largest);
    areas.into_iter().map(|(kind, _)| kind.to_owned()).collect()
}

/// The silent names that surely won in segments without a class, `least` pixels or more each.
fn other_as(segments: &[Segment], names: &Names, least: usize) -> Vec<String> {
    let silent = |segment: &Segment| {
        let scores = segment.scores.distractors.iter().enumerate();
        let (at, &best) = first_best(scores, |&(_, &score)| score)?;
        names.silent.get(at).filter(|_| best > segment.scores.background.max(LEAST_SURE)).map(String::as_str)
    };
    let others = segments.iter().filter(|segment| segment.class.is_none());
    let mut areas = largest_first(others.filter_map(|segment| Some((silent(segment)?, segment.shape.area))));
    areas.retain(|&(_, area)| area >= least);
    areas.into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// Each name once, with the sum of its areas.
fn largest_first<'a>(areas: impl Iterator<Item = (&'a str, usize)>) -> Vec<(&'a str, usize)> {
    let mut sums: Vec<(&str, usize)> = Vec::new();
    for (name, area) in areas {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += area,
            None => sums.push((name, area)),
        }
    }
    sums.sort_by_key(|&(_, area)| std::cmp::Reverse(area));
    sums
}

/// The typed class with the best fused score, unless a distractor beats it.
fn best_class(scores: &SegmentScores) -> Option<usize> {
    let (best, score) = first_best(scores.fused.iter().enumerate(), |&(_, &score)| score)?;
    let beaten = scores.distractors.iter().any(|other| other > score);
    (!beaten).then_some(best)
}

/// Measures what a proposal covers of the photo, row by row.
pub(super) fn shape(query: usize, covers: &[bool], width: usize) -> Shape {
    let mut shape = Shape { query, area: 0, bounds: [usize::MAX, usize::MAX, 0, 0] };
    for (y, row) in covers.chunks_exact(width).enumerate() {
        for (x, _) in row.iter().enumerate().filter(|&(_, &covered)| covered) {
            let [x0, y0, x1, y1] = shape.bounds;
            shape.bounds = [x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1)];
            shape.area += 1;
        }
    }
    if shape.area == 0 {
        shape.bounds = [0; 4];
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(fused: &[f32], distractors: &[f32]) -> SegmentScores {
        SegmentScores {
            query: 0,
            by_query: fused.to_vec(),
            by_image: None,
            fused: fused.to_vec(),
            rows: (0..fused.len()).map(Some).collect(),
            distractors: distractors.to_vec(),
            background: 0.0,
        }
    }

    /// As in the label map: its own test of equal votes is in the module that composes.
    #[test]
    fn of_equal_classes_the_first_has_the_segment() {
        assert_eq!(best_class(&scores(&[0.1, 0.4, 0.4], &[0.1])), Some(1));
        assert_eq!(best_class(&scores(&[0.5, 0.5], &[0.5])), Some(0), "a distractor has to be better");
        assert_eq!(best_class(&scores(&[0.4, 0.4], &[0.5])), None);
        assert_eq!(best_class(&scores(&[], &[0.5])), None);
    }
}
