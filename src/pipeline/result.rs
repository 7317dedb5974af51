//! The outcome of a run: labels, classes with their shares, named segments.

use std::rc::Rc;

use rayon::prelude::*;

use super::names::Names;
use super::{Error, Options, Pipeline, Stage};
use crate::classify::{SegmentScores, first_best};
use crate::compose::{LabelMap, OTHER};
use crate::engine::{EngineKind, cpu};
use crate::photo::Photo;
use crate::segment::Proposals;
use crate::segment::proposals::Cover;
use crate::text::Class;

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

/// The outcome of a run, with all that went into it: what is saved of it later does not depend on what the pipeline is told
/// meanwhile.
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// What was labelled, of the map's size.
    pub photo: Rc<Photo>,
    /// What was typed, in order; as many as `classes`.
    pub typed: Vec<Class>,
    pub options: Options,
    pub proposals: Rc<Proposals>,
    /// Name of the bundle.
    pub model: String,
    pub engine: EngineKind,
    pub map: LabelMap,
    /// In typed order.
    pub classes: Vec<ClassResult>,
    /// Part of the photo that is none of the classes, 0..1.
    pub other: f32,
    /// Silent names that won where pixels are none of the classes, those of most such pixels first.
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
    /// Which of these kinds its pixels were found as, those of most pixels first.
    pub found_as: Vec<String>,
    /// Whether the segmenter was trained on one of its names or kinds, or on what a phrase is about; `None` where the bundle
    /// does not say on which it was.
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
    /// The outcome without the times of its stages.
    pub(super) fn result(&self, map: LabelMap, scores: Vec<SegmentScores>) -> Result<Segmentation, Error> {
        let (Some(photo), Some(proposals)) = (&self.photo, &self.kept.proposals) else { return Err(Error::NoPhoto) };
        let mut counts = [0usize; 256];
        for &label in &map.labels {
            counts[label as usize] += 1;
        }
        let share = |label: usize| counts[label] as f32 / map.labels.len() as f32;
        let names = self.kept.names.as_ref();
        let shapes = self.kept.segments.iter().flatten();
        let segments: Vec<Segment> =
            shapes.zip(scores).map(|(&shape, scores)| Segment { shape, class: best_class(&scores), scores }).collect();
        let least = (map.labels.len() / LEAST_OTHER).max(1);
        let found = match (names, self.proposals()) {
            (Some(names), Some(proposals)) => cpu::on_threads(|| Found::of(&segments, names, proposals, &map, least)),
            _ => Found::default(),
        };
        let classes = self
            .classes
            .iter()
            .enumerate()
            .map(|(at, class)| ClassResult {
                name: class.name.clone(),
                same_as: names.and_then(|names| names.same_as(at)).map(|earlier| self.classes[earlier].name.clone()),
                about: self.text.about(&class.name).map(str::to_owned),
                kinds: names.map(|names| names.kinds(at)).unwrap_or_default(),
                found_as: found.kinds.get(at).cloned().unwrap_or_default(),
                seen: names.filter(|_| !self.bundle.classify.seen.is_empty()).map(|names| names.is_seen(at)),
                share: share(at),
            })
            .collect();
        Ok(Segmentation {
            photo: photo.clone(),
            typed: self.classes.clone(),
            options: self.options.clone(),
            proposals: proposals.clone(),
            model: self.bundle.name.clone(),
            engine: self.info.kind,
            classes,
            other: share(OTHER as usize),
            other_as: found.silent,
            image_has_a_say: self.image_has_a_say(),
            segments,
            map,
            stages: Vec::new(),
        })
    }
}

/// What the labelled pixels turned out to be.
#[derive(Debug, Default, PartialEq)]
struct Found {
    /// Of each class the kinds that its segments were named for, those of most pixels first, without the smallest.
    kinds: Vec<Vec<String>>,
    /// The silent names that surely won in segments without a class, those of most pixels first.
    silent: Vec<String>,
}

impl Found {
    /// Counts of a segment only the pixels that have its label in the end: what a threshold or another segment took away
    /// is no part of it. A silent name needs `least` pixels or more.
    fn of(segments: &[Segment], names: &Names, proposals: &Proposals, map: &LabelMap, least: usize) -> Found {
        let told: Vec<(&Segment, &str)> =
            segments.iter().filter_map(|segment| Some((segment, told_as(segment, names)?))).collect();
        let cover = proposals.over(map.width, map.height);
        let pixels: Vec<usize> = told.par_iter().map(|(segment, _)| labelled(segment, &cover, map)).collect();
        let areas = |class: Option<usize>| {
            let of_class = told.iter().zip(&pixels).filter(|((segment, _), _)| segment.class == class);
            largest_first(of_class.map(|((_, name), &area)| (*name, area)).filter(|&(_, area)| area > 0))
        };
        let named = |areas: Vec<(&str, usize)>, least: usize| {
            areas.into_iter().filter(|&(_, area)| area >= least).map(|(name, _)| name.to_owned()).collect()
        };
        let classes = segments.first().map_or(0, |segment| segment.scores.fused.len());
        let kinds = (0..classes).map(|class| {
            let areas = areas(Some(class));
            let largest = areas.first().map_or(0, |&(_, area)| area);
            named(areas, largest.div_ceil(LEAST_OF_LARGEST))
        });
        // Segments overlap, so that their sum may be more than there is.
        let other = map.labels.iter().filter(|&&label| label == OTHER).count();
        let silent = if other < least { Vec::new() } else { named(areas(None), least) };
        Found { kinds: kinds.collect(), silent }
    }
}

/// The kind that a segment was named for, or the silent name that surely won in one without a class.
fn told_as<'a>(segment: &Segment, names: &'a Names) -> Option<&'a str> {
    let scores = &segment.scores;
    if let Some(class) = segment.class {
        return names.kind((*scores.rows.get(class)?)?);
    }
    let (at, &best) = first_best(scores.distractors.iter().enumerate(), |&(_, &score)| score)?;
    names.silent.get(at).filter(|_| best > scores.background.max(LEAST_SURE)).map(String::as_str)
}

/// The pixels of a segment that are labelled as it is named.
fn labelled(segment: &Segment, cover: &Cover, map: &LabelMap) -> usize {
    let label = segment.class.unwrap_or(usize::from(OTHER));
    let mut count = 0;
    cover.each(segment.shape.query, |x, y| {
        count += usize::from(usize::from(map.labels[y * map.width + x]) == label);
    });
    count
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

/// Measures what a proposal covers of the photo.
pub(super) fn shape(query: usize, cover: &Cover) -> Shape {
    let mut shape = Shape { query, area: 0, bounds: [usize::MAX, usize::MAX, 0, 0] };
    cover.each(query, |x, y| {
        let [x0, y0, x1, y1] = shape.bounds;
        shape.bounds = [x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1)];
        shape.area += 1;
    });
    if shape.area == 0 {
        shape.bounds = [0; 4];
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Tensor;

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

    /// Two proposals, each over one half of a photo of 8 x 4 pixels.
    fn halves() -> Proposals {
        let logits = |query: usize| (0..8).map(move |cell| if (cell % 4 < 2) == (query == 0) { 5.0 } else { -5.0 });
        let tensor = |shape: &[usize], data: Vec<f32>| Tensor::new(shape, data).expect("as many as the shape has");
        Proposals {
            mask_logits: tensor(&[1, 2, 2, 4], (0..2).flat_map(logits).collect()),
            embeddings: tensor(&[1, 2, 1], vec![1.0; 2]),
            background_logits: tensor(&[1, 2], vec![0.0; 2]),
            mask_stride: 2,
            content: (8, 4),
        }
    }

    #[test]
    fn only_pixels_with_the_label_of_their_segment_are_told_of() {
        let proposals = halves();
        let cover = proposals.over(8, 4);
        let mut names = Names::default();
        names.kinds = vec![None, Some("cat".into()), None];
        names.silent = vec!["wall".into(), "sky".into()];
        // The left half is an "animal" by its kind "cat", the right one is the silent "sky".
        let segment = |query: usize, class: Option<usize>| {
            let scores = SegmentScores { rows: vec![Some(1), Some(2)], ..scores(&[0.4, 0.1], &[0.1, 0.6]) };
            Segment { shape: shape(query, &cover), class, scores }
        };
        let segments = [segment(0, Some(0)), segment(1, None)];
        assert_eq!(segments.each_ref().map(|segment| segment.shape.bounds), [[0, 0, 4, 4], [4, 0, 8, 4]]);
        let found = |labels: [u8; 8], least: usize| {
            let labels = labels.repeat(4);
            let map = LabelMap { width: 8, height: 4, confidence: labels.clone(), labels };
            let Found { kinds, silent } = Found::of(&segments, &names, &proposals, &map, least);
            (kinds.concat().join(" "), silent.join(" "))
        };
        let [cat, sky, nothing] = ["cat", "sky", ""].map(str::to_owned);
        assert_eq!(found([0, 0, 0, 0, OTHER, OTHER, OTHER, OTHER], 16), (cat.clone(), sky.clone()));
        assert_eq!(found([0, OTHER, OTHER, OTHER, 1, 1, 1, OTHER], 4), (cat.clone(), sky));
        assert_eq!(found([0, OTHER, OTHER, OTHER, 1, 1, 1, OTHER], 5), (cat, nothing.clone()), "too few pixels");
        assert_eq!(found([OTHER, OTHER, OTHER, OTHER, 1, 1, 1, 1], 1), (nothing.clone(), nothing.clone()));
        assert_eq!(found([1, 1, 1, 1, 0, 0, 0, 0], 1), (nothing.clone(), nothing), "named elsewhere");
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
