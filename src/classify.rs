//! Zero-shot classification of segments: two branches and their fusion (paper, section 3.3; mask_former_model.py).

use crate::bundle::Ensembling;

/// Unit vectors of names, one row each, for both branches.
#[derive(Clone, Debug, Default)]
pub struct ClassVectors {
    /// Rows of D values.
    pub query: Vec<Vec<f32>>,
    pub image: Vec<Vec<f32>>,
}

/// What one row of the names' vectors stands for: a typed class, or one of its kinds ("dog", where "animal" was typed).
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The typed class whose score it is.
    pub class: usize,
    /// What its score counts for, 0..1.
    pub weight: f32,
    /// Whether the segmenter was trained on it.
    pub seen: bool,
    /// Whether it is one of the bundle's `grouped`.
    pub grouped: bool,
}

/// What classification is asked to do.
#[derive(Clone, Debug)]
pub struct ClassifyOptions {
    /// Factor from cosine to logit.
    pub temperature: f32,
    /// Weight of the image branch, 0..1.
    pub lambda: f32,
    pub ensembling: Ensembling,
    /// Subtracted from the cosines of seen classes, with all their rows, in both branches, before the softmax ("calibrated
    /// stacking", Chao et al., ECCV 2016, section 3.2); 0 = off. Unlike gamma it still works where the softmax is all but certain.
    pub margin: f32,
    /// The number of typed classes. One without a row scores 0: it is called what an earlier one is called.
    pub classes: usize,
    /// One for each row of the names' vectors.
    pub rows: Vec<Row>,
}

impl ClassifyOptions {
    /// Whether all rows of a class are of those that the image branch takes for one with distractors and background.
    pub fn is_grouped(&self, class: usize) -> bool {
        self.ensembling == Ensembling::Grouped
            && self.rows.iter().filter(|row| row.class == class).all(|row| row.grouped)
    }

    /// For each row what is taken off its cosine: a class is seen if one of its rows is, or the others would get round it.
    fn margins(&self) -> Vec<f32> {
        let mut seen = vec![false; self.classes];
        for row in self.rows.iter().filter(|row| row.seen) {
            seen[row.class] = true;
        }
        self.rows.iter().map(|row| if seen[row.class] { self.margin } else { 0.0 }).collect()
    }

    /// Of each class the best of its rows, by what they count for, and their scores.
    fn best(&self, by_row: &[f32]) -> (Vec<Option<usize>>, Vec<f32>) {
        let mut best = vec![(None, 0.0); self.classes];
        for (at, (row, score)) in self.rows.iter().zip(by_row).enumerate() {
            let score = row.weight * score;
            let (kept, most) = best[row.class];
            if kept.is_none() || score > most {
                best[row.class] = (Some(at), score);
            }
        }
        best.into_iter().unzip()
    }
}

/// One segment as the two branches see it.
#[derive(Clone, Debug)]
pub struct SegmentView<'a> {
    /// The proposal's number.
    pub query: usize,
    /// Its embedding, D values of unit length.
    pub embedding: &'a [f32],
    /// Its logit of "none of the names".
    pub background_logit: f32,
    /// Its crop's embedding, where one was made.
    pub crop: Option<&'a [f32]>,
}

/// What the branches think of one segment, 0..1. A class has the best score among its rows, so that its other rows' part
/// is missing from the sum over all outcomes; fused scores are products of powers and do not sum to 1 by themselves. Which
/// row is the best may differ between `by_query`, `by_image` and `fused`.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentScores {
    /// The proposal's number.
    pub query: usize,
    /// Probability by the query branch, one value a typed class.
    pub by_query: Vec<f32>,
    /// The same by the image branch; `None` where no crop was made.
    pub by_image: Option<Vec<f32>>,
    /// Both fused; the query branch's alone where no crop was made.
    pub fused: Vec<f32>,
    /// Of each class the row with the best fused score; `None` for a class without rows.
    pub rows: Vec<Option<usize>>,
    /// Fused score of each distractor.
    pub distractors: Vec<f32>,
    /// Fused score of the background, which stands for "no segment at all".
    pub background: f32,
}

/// Scores every segment against the rows `names` of the typed classes and the silently competing `distractors`. A class has
/// the score of the best of its rows: their sum would favour a class with many kinds wherever the branches know of none.
pub fn classify(
    segments: &[SegmentView],
    names: &ClassVectors,
    distractors: &ClassVectors,
    options: &ClassifyOptions,
) -> Vec<SegmentScores> {
    let count = names.query.len();
    let margins = options.margins();
    segments
        .iter()
        .map(|segment| {
            let probabilities = |embedding: &[f32], typed: &[Vec<f32>], others: &[Vec<f32>]| {
                let mut logits: Vec<f32> =
                    typed.iter().chain(others).map(|row| options.temperature * dot(embedding, row)).collect();
                for (logit, margin) in logits.iter_mut().zip(&margins) {
                    *logit -= options.temperature * margin;
                }
                logits.push(segment.background_logit);
                softmax(&mut logits);
                logits
            };
            let p = probabilities(segment.embedding, &names.query, &distractors.query);
            let c = segment.crop.map(|crop| probabilities(crop, &names.image, &distractors.image));
            let mut fused = match &c {
                Some(c) => fuse(&p, c, count, options),
                None => p.clone(),
            };
            let background = fused.pop().unwrap_or(0.0);
            let distractors = fused.split_off(count);
            let (rows, fused) = options.best(&fused);
            SegmentScores {
                query: segment.query,
                by_query: options.best(&p).1,
                by_image: c.map(|c| options.best(&c).1),
                fused,
                rows,
                distractors,
                background,
            }
        })
        .collect()
}

/// `p` and `c` are probabilities over `count` rows of typed classes, distractors and background, in that order.
///
/// With lambda = 2/3 (section 3.3): unseen classes `p^(1/3) c^(2/3)`; in [`Ensembling::Split`] seen classes
/// `p^(2/3) c^(1/3)`, after the image branch's scores of all seen classes were set to their mean, so that it
/// re-weighs seen against unseen but never one seen class against another.
///
/// [`Ensembling::Grouped`] has the same principle for what a masked crop shows little of: the image branch's scores of
/// the group (grouped classes, distractors, background) are their sum `C`, dealt out as the query branch would, `C p / P`
/// with `P` its own sum. Fused they are `p (C / P)^lambda`; where all are in the group `p`.
fn fuse(p: &[f32], c: &[f32], count: usize, options: &ClassifyOptions) -> Vec<f32> {
    let lambda = options.lambda;
    let unseen = |p: f32, c: f32| p.powf(1.0 - lambda) * c.powf(lambda);
    match options.ensembling {
        Ensembling::Query => p.to_vec(),
        Ensembling::Image => c.to_vec(),
        Ensembling::All => p.iter().zip(c).map(|(&p, &c)| unseen(p, c)).collect(),
        Ensembling::Split => {
            let is_seen = |at: usize| at < count && options.rows[at].seen;
            let seen: Vec<f32> = (0..count).filter(|&at| is_seen(at)).map(|at| c[at]).collect();
            let mean = seen.iter().sum::<f32>() / seen.len().max(1) as f32;
            p.iter()
                .zip(c)
                .enumerate()
                .map(|(at, (&p, &c))| if is_seen(at) { p.powf(lambda) * mean.powf(1.0 - lambda) } else { unseen(p, c) })
                .collect()
        }
        Ensembling::Grouped => {
            let grouped = |at: usize| at >= count || options.rows[at].grouped;
            let mass = |scores: &[f32]| (0..scores.len()).filter(|&at| grouped(at)).map(|at| scores[at]).sum::<f32>();
            let sway = (mass(c) / mass(p).max(f32::MIN_POSITIVE)).powf(lambda);
            p.iter()
                .zip(c)
                .enumerate()
                .map(|(at, (&p, &c))| if grouped(at) { p * sway } else { unseen(p, c) })
                .collect()
        }
    }
}

/// The item with the highest score, the first of equal ones: what was typed first has it, everywhere. `None` of nothing.
pub fn first_best<T>(items: impl IntoIterator<Item = T>, score: impl Fn(&T) -> f32) -> Option<T> {
    let scored = items.into_iter().map(|item| (score(&item), item));
    scored.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, item)| item)
}

pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn softmax(logits: &mut [f32]) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - most).exp();
        sum += *logit;
    }
    for logit in logits.iter_mut() {
        *logit /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row for each class.
    fn options(ensembling: Ensembling, seen: &[bool], grouped: &[bool]) -> ClassifyOptions {
        let rows = seen.iter().zip(grouped).enumerate();
        let rows = rows.map(|(class, (&seen, &grouped))| Row { class, weight: 1.0, seen, grouped }).collect();
        ClassifyOptions { temperature: 1.0, lambda: 2.0 / 3.0, ensembling, margin: 0.0, classes: seen.len(), rows }
    }

    #[test]
    fn split_ensembling_by_hand() {
        // Two seen classes and an unseen one; the last column is the background.
        let p = [0.4, 0.2, 0.3, 0.1];
        let c = [0.1, 0.3, 0.5, 0.1];
        let fused = fuse(&p, &c, 3, &options(Ensembling::Split, &[true, true, false], &[false; 3]));
        let mean: f32 = 0.2;
        let wanted = [
            0.4f32.powf(2.0 / 3.0) * mean.powf(1.0 / 3.0),
            0.2f32.powf(2.0 / 3.0) * mean.powf(1.0 / 3.0),
            0.3f32.powf(1.0 / 3.0) * 0.5f32.powf(2.0 / 3.0),
        ];
        for (found, wanted) in fused.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
        }
        // The image branch prefers the second seen class, but may not re-rank seen classes.
        assert!(fused[0] > fused[1]);
    }

    #[test]
    fn grouped_ensembling_by_hand() {
        let options = |grouped: &[bool]| options(Ensembling::Grouped, &vec![false; grouped.len()], grouped);
        // Two grouped classes, another one, a distractor, the background.
        let p = [0.4, 0.1, 0.2, 0.1, 0.2];
        let c = [0.1, 0.3, 0.5, 0.05, 0.05];
        let fused = fuse(&p, &c, 3, &options(&[true, true, false]));
        let sway = (0.5f32 / 0.8).powf(2.0 / 3.0);
        let other = 0.2f32.powf(1.0 / 3.0) * 0.5f32.powf(2.0 / 3.0);
        let wanted = [0.4 * sway, 0.1 * sway, other, 0.1 * sway, 0.2 * sway];
        for (found, wanted) in fused.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
        }
        // All in the group: the image branch has no say. None that the query branch believes in: no division by 0.
        let fused = fuse(&p, &c, 3, &options(&[true; 3]));
        assert!(fused.iter().zip(p).all(|(found, p)| (found - p).abs() < 1e-6), "{fused:?}");
        let fused = fuse(&[1.0, 0.0], &[0.5, 0.5], 1, &options(&[false]));
        assert_eq!(fused[1], 0.0);
    }

    #[test]
    fn the_first_of_equal_scores_is_the_best() {
        let best = |scores: &[f32]| first_best(scores.iter().enumerate(), |(_, score)| **score).map(|(at, _)| at);
        assert_eq!(best(&[0.2, 0.4, 0.4, 0.1]), Some(1));
        assert_eq!(best(&[0.0, 0.0]), Some(0));
        assert_eq!(best(&[0.3, 0.3, 0.5]), Some(2));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn a_margin_is_taken_off_the_cosines_of_seen_classes() {
        let rows = vec![vec![1.0, 0.0], vec![0.6, 0.8]];
        let names = ClassVectors { query: rows.clone(), image: rows.clone() };
        let view = SegmentView { query: 0, embedding: &rows[0], background_logit: 0.0, crop: None };
        let options =
            ClassifyOptions { temperature: 10.0, margin: 0.5, ..options(Ensembling::All, &[true, false], &[false; 2]) };
        let scores = classify(&[view], &names, &ClassVectors::default(), &options);
        let sum = 5.0f32.exp() + 6.0f32.exp() + 1.0;
        assert!((scores[0].fused[0] - 5.0f32.exp() / sum).abs() < 1e-6);
        assert!((scores[0].fused[1] - 6.0f32.exp() / sum).abs() < 1e-6);

        // A kind of a seen class that is not seen itself is calibrated with it.
        let row = |class, seen| Row { class, weight: 1.0, seen, grouped: false };
        let options = ClassifyOptions { classes: 1, rows: vec![row(0, true), row(0, false)], ..options };
        assert_eq!(options.margins(), [0.5, 0.5]);
        let rows = vec![row(0, false), row(1, false), row(1, true)];
        assert_eq!(ClassifyOptions { classes: 2, rows, ..options }.margins(), [0.0, 0.5, 0.5]);
    }

    #[test]
    fn background_takes_its_share() {
        let row = vec![1.0, 0.0];
        let names = ClassVectors { query: vec![row.clone()], image: vec![row.clone()] };
        let view = SegmentView { query: 0, embedding: &row, background_logit: 1.0, crop: None };
        let scores = classify(&[view], &names, &ClassVectors::default(), &options(Ensembling::All, &[false], &[false]));
        assert!((scores[0].fused[0] - 0.5).abs() < 1e-6);
        assert!((scores[0].background - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_class_has_the_score_of_its_best_row() {
        let turned = |angle: f32| vec![angle.cos(), angle.sin()];
        // The second class by itself and by two kinds, the nearer of which counts for half.
        let rows = vec![turned(0.5), turned(1.5), turned(0.0), turned(0.3)];
        let names = ClassVectors { query: rows.clone(), image: rows.clone() };
        let view = SegmentView { query: 0, embedding: &rows[2], background_logit: -9.0, crop: Some(&rows[3]) };
        let row = |class, weight| Row { class, weight, seen: false, grouped: false };
        let options = |weight| ClassifyOptions {
            // The third is called what another one is called.
            classes: 3,
            rows: vec![row(0, 1.0), row(1, 1.0), row(1, weight), row(1, 0.5)],
            ..options(Ensembling::All, &[], &[])
        };
        let views = [view];
        let scores = |weight| classify(&views, &names, &ClassVectors::default(), &options(weight)).remove(0);
        let (whole, half) = (scores(1.0), scores(0.5));
        for scores in [&whole, &half] {
            assert_eq!((scores.fused.len(), scores.by_query.len()), (3, 3));
            assert_eq!((scores.fused[2], scores.by_query[2]), (0.0, 0.0));
        }
        assert!(whole.by_query[1] > whole.by_query[0] && half.by_query[1] < half.by_query[0]);
        assert_eq!(whole.by_query[1], 2.0 * half.by_query[1]);
        assert_eq!(whole.rows, [Some(0), Some(2), None]);
        assert_eq!(half.rows, [Some(0), Some(3), None]);
        assert_eq!(whole.fused[0], half.fused[0]);
    }
}
