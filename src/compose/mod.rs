//! From scored segments to a label for each pixel.

mod guided;

use crate::bundle::Mode;
use crate::classify::{SegmentScores, first_best};
use crate::photo::Photo;
use crate::segment::proposals::{Proposals, Tap, Taps};

/// The label of a pixel that is none of the typed classes.
pub const OTHER: u8 = 255;
/// Below this sum of mask probabilities no segment claims a pixel, and small scores must not look sure.
const LEAST_COVERAGE: f32 = 0.25;

/// What composing is asked to do.
#[derive(Clone, Debug)]
pub struct ComposeOptions {
    pub mode: Mode,
    /// Subtracted from the summed scores of seen classes after resizing (gamma); 0 = off.
    pub gamma: f32,
    pub seen: Vec<bool>,
    /// Least confidence (0..1) of a labelled pixel.
    pub threshold: f32,
}

impl ComposeOptions {
    /// The class with the most votes, and these; gamma is off the votes of seen classes while they are compared.
    fn best(&self, typed: impl Iterator<Item = (usize, f32)>) -> Option<(usize, f32)> {
        first_best(typed, |&(class, vote)| vote - if self.is_seen(class) { self.gamma } else { 0.0 })
    }

    fn is_seen(&self, class: usize) -> bool {
        self.seen.get(class) == Some(&true)
    }
}

/// A label and a confidence for each pixel of the photo, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    pub width: usize,
    pub height: usize,
    /// Index of the class in typed order, or [`OTHER`].
    pub labels: Vec<u8>,
    /// 0..255: the winning class's part of all votes for the pixel.
    pub confidence: Vec<u8>,
}

/// `S[c, y, x] = sum over segments of score[c] * sigmoid(mask[y, x])` (mask_former_model.py, semantic inference), at the size
/// of the photo; argmax. `classes` is the number of typed classes, at most 254.
///
/// All modes but one sum on the padded photo's pixels: mask logits are interpolated first, then squashed, and the sums are
/// interpolated to the photo's size, both bilinearly. Rows are made when they are needed, so memory does not grow with the
/// photo. [`Mode::Lite`] sums on the mask grid, which is 16 times less work, and lets boundaries follow the photo ([`guided`]).
pub fn compose(
    proposals: &Proposals,
    scores: &[SegmentScores],
    classes: usize,
    photo: &Photo,
    options: &ComposeOptions,
) -> LabelMap {
    let scale = match options.mode {
        Mode::Official | Mode::Fast | Mode::OnePass => proposals.mask_stride,
        Mode::Lite => 1,
    };
    let (width, height) = (photo.width(), photo.height());
    let votes = Votes::new(proposals, scores, classes, scale);
    let cell = proposals.mask_stride / scale;
    let extent = (proposals.content.0 as f32 / cell as f32, proposals.content.1 as f32 / cell as f32);
    let limit = |content: usize, grid: usize| content.div_ceil(cell).clamp(1, grid);
    let grid = (limit(proposals.content.0, votes.columns.0.len()), limit(proposals.content.1, votes.rows.0.len()));
    if options.mode == Mode::Lite {
        return guided::compose(&votes, photo, grid, extent, options);
    }
    let columns = Taps::new(width, extent.0, grid.0);
    let rows = Taps::new(height, extent.1, grid.1);

    let mut map = LabelMap {
        width,
        height,
        labels: Vec::with_capacity(width * height),
        confidence: Vec::with_capacity(width * height),
    };
    let channels = votes.channels;
    let mut kept = KeptRows::default();
    let mut blended = vec![0.0; votes.columns.0.len() * channels];
    let mut pixel = vec![0.0; channels];
    for row in &rows.0 {
        kept.load(&votes, row);
        for ((out, &low), &high) in blended.iter_mut().zip(&kept.low.1).zip(&kept.high.1) {
            *out = row.blend(low, high);
        }
        for column in &columns.0 {
            let low = &blended[column.low * channels..(column.low + 1) * channels];
            let high = &blended[column.high * channels..(column.high + 1) * channels];
            for ((out, &low), &high) in pixel.iter_mut().zip(low).zip(high) {
                *out = column.blend(low, high);
            }
            let typed = pixel[..classes].iter().copied().enumerate();
            let (label, confidence) = decide(typed, pixel[classes], pixel[classes + 1], options);
            map.labels.push(label);
            map.confidence.push(confidence);
        }
    }
    map
}

/// Label and confidence of one pixel from its votes: those of typed classes, of the best distractor, of all.
fn decide(typed: impl Iterator<Item = (usize, f32)>, distractor: f32, all: f32, options: &ComposeOptions) -> (u8, u8) {
    let Some((class, vote)) = options.best(typed) else { return (OTHER, 0) };
    let share = vote / all.max(LEAST_COVERAGE);
    let confidence = (share.clamp(0.0, 1.0) * 255.0).round() as u8;
    if distractor > vote || share < options.threshold {
        return (OTHER, confidence);
    }
    (class as u8, confidence)
}

/// Votes per cell of a grid `scale` times finer than the mask grid. A row holds for each cell the typed classes, the best
/// distractor, and the sum of all votes.
struct Votes<'a> {
    proposals: &'a Proposals,
    /// Per segment: proposal, scores of the typed classes and of the distractors, background.
    segments: &'a [SegmentScores],
    classes: usize,
    distractors: usize,
    channels: usize,
    columns: Taps,
    rows: Taps,
}

impl<'a> Votes<'a> {
    fn new(proposals: &'a Proposals, segments: &'a [SegmentScores], classes: usize, scale: usize) -> Votes<'a> {
        let (w, h) = proposals.grid();
        Votes {
            proposals,
            segments,
            classes,
            distractors: segments.first().map_or(0, |s| s.distractors.len()),
            channels: classes + 2,
            columns: Taps::new(w * scale, w as f32, w),
            rows: Taps::new(h * scale, h as f32, h),
        }
    }

    fn row(&self, y: usize) -> Vec<f32> {
        let (grid_width, _) = self.proposals.grid();
        let width = self.columns.0.len();
        let row = self.rows.0[y];
        let mut votes = vec![0.0; width * self.channels];
        let mut distractors = vec![0.0; width * self.distractors];
        let mut line = vec![0.0; grid_width];
        for segment in self.segments {
            let mask = self.proposals.mask(segment.query);
            for (x, value) in line.iter_mut().enumerate() {
                *value = row.blend(mask[row.low * grid_width + x], mask[row.high * grid_width + x]);
            }
            let all = segment.fused.iter().sum::<f32>() + segment.distractors.iter().sum::<f32>() + segment.background;
            for (x, column) in self.columns.0.iter().enumerate() {
                let logit = column.blend(line[column.low], line[column.high]);
                // exp(-12) is below what a confidence of 8 bits can show.
                if logit < -12.0 {
                    continue;
                }
                let mask = 1.0 / (1.0 + (-logit).exp());
                let cell = &mut votes[x * self.channels..(x + 1) * self.channels];
                for (vote, &score) in cell.iter_mut().zip(&segment.fused) {
                    *vote += mask * score;
                }
                cell[self.classes + 1] += mask * all;
                let others = &mut distractors[x * self.distractors..(x + 1) * self.distractors];
                for (vote, &score) in others.iter_mut().zip(&segment.distractors) {
                    *vote += mask * score;
                }
            }
        }
        if self.distractors > 0 {
            for (cell, others) in votes.chunks_exact_mut(self.channels).zip(distractors.chunks_exact(self.distractors))
            {
                cell[self.classes] = others.iter().copied().fold(0.0, f32::max);
            }
        }
        votes
    }
}

/// The two rows that the current output row lies between.
#[derive(Default)]
struct KeptRows {
    low: (Option<usize>, Vec<f32>),
    high: (Option<usize>, Vec<f32>),
}

impl KeptRows {
    fn load(&mut self, votes: &Votes, row: &Tap) {
        if self.low.0 != Some(row.low) {
            if self.high.0 == Some(row.low) {
                std::mem::swap(&mut self.low, &mut self.high);
            } else {
                self.low = (Some(row.low), votes.row(row.low));
            }
        }
        if self.high.0 != Some(row.high) {
            let values = if row.high == row.low { self.low.1.clone() } else { votes.row(row.high) };
            self.high = (Some(row.high), values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_votes_the_first_class_has_the_pixel() {
        let options = |gamma| ComposeOptions { mode: Mode::Lite, gamma, seen: vec![true, true, false], threshold: 0.0 };
        let votes = || [0.1, 0.4, 0.4].into_iter().enumerate();
        assert_eq!(decide(votes(), 0.4, 1.0, &options(0.0)), (1, 102));
        assert_eq!(decide(votes(), 0.4, 1.0, &options(0.1)), (2, 102), "gamma is off the votes of what was seen");
        assert_eq!(decide(votes(), 0.5, 1.0, &options(0.0)).0, OTHER);
    }
}
