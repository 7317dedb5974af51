//! Which proposals are worth a crop, as far as can be told before any crop is made.

use super::Proposals;
use crate::bundle::Ensembling;
use crate::classify::{ClassifyOptions, SegmentScores, dot, first_best, softmax};

/// The image branch prefers one of two outcomes by a factor of at most `e^IMAGE_SWAY`, nearly always: of 160 segments of the
/// default model whose name it changed, `is_doubtful` misses about seven.
const IMAGE_SWAY: f32 = 8.0;

/// For [`crate::bundle::Mode::Fast`]: the proposals that own a cell of the label map that the query branch alone would make,
/// and those in whose query branch a name beats the background; in the order of their numbers. `names` are the query branch's
/// unit vectors.
///
/// The owner of a cell is the proposal that votes the most for any name there: largest probability of a name times the
/// mask's. All others stay in the label map with the scores of their query branch, in which the background wins.
pub fn worth_a_crop(proposals: &Proposals, names: &[Vec<f32>], temperature: f32) -> Vec<usize> {
    let mut worth = vec![false; proposals.count()];
    let mut best = vec![0.0f32; proposals.count()];
    for (query, (worth, best)) in worth.iter_mut().zip(&mut best).enumerate() {
        let background = proposals.background_logits.data()[query];
        let mut logits: Vec<f32> =
            names.iter().map(|name| temperature * dot(proposals.embedding(query), name)).collect();
        *worth = logits.iter().any(|&logit| logit > background);
        logits.push(background);
        softmax(&mut logits);
        *best = logits[..names.len()].iter().copied().fold(0.0, f32::max);
    }
    let (w, h) = proposals.grid();
    let columns = proposals.content.0.div_ceil(proposals.mask_stride).min(w);
    let rows = proposals.content.1.div_ceil(proposals.mask_stride).min(h);
    let mut most = vec![f32::NEG_INFINITY; columns * rows];
    let mut owner = vec![0usize; columns * rows];
    for (query, best) in best.into_iter().enumerate() {
        let mask = proposals.mask(query);
        for (at, (most, owner)) in most.iter_mut().zip(&mut owner).enumerate() {
            let logit = mask[at / columns * w + at % columns];
            let vote = best / (1.0 + (-logit).exp());
            if vote > *most {
                (*most, *owner) = (vote, query);
            }
        }
    }
    for query in owner {
        worth[query] = true;
    }
    (0..proposals.count()).filter(|&query| worth[query]).collect()
}

/// For [`crate::bundle::Mode::Lite`]: whether the image branch, with its weight lambda, may overturn the best outcome of
/// these scores of the query branch alone; the outcomes are names, distractors and the background.
///
/// That takes `p2^(1 - lambda) c2^lambda > p1^(1 - lambda) c1^lambda`, so that
/// `ln(p1^(1 - lambda)) - ln(p2^(1 - lambda)) < lambda ln(c2 / c1)`. The members of a group, whose sums are `P` and `C`,
/// have `p P^(-lambda)` in the place of `p^(1 - lambda)`, `C` in that of `c`, and never overturn each other.
///
/// In [`Ensembling::Split`] a seen class has `p^lambda` times a power of the image branch's mean, so that not even equal
/// certainty of both branches keeps the order of a seen and an unseen one: there all is doubtful.
pub fn is_doubtful(by_query: &SegmentScores, options: &ClassifyOptions) -> bool {
    if options.ensembling == Ensembling::Split {
        return true;
    }
    let outcomes: Vec<f32> = outcomes(by_query).collect();
    let first = best_outcome(by_query);
    let grouped: Vec<bool> = (0..outcomes.len()).map(|at| is_grouped(at, by_query, options)).collect();
    let group: f32 = (0..outcomes.len()).filter(|&at| grouped[at]).map(|at| outcomes[at]).sum();
    let log = |score: f32| score.max(f32::MIN_POSITIVE).ln();
    let part = |at: usize| log(outcomes[at]) - options.lambda * log(if grouped[at] { group } else { outcomes[at] });
    (0..outcomes.len())
        .filter(|&at| at != first && !(grouped[at] && grouped[first]))
        .any(|at| part(first) - part(at) < options.lambda * IMAGE_SWAY)
}

/// Whether outcome `at` is one of those that the image branch takes for one.
pub fn is_grouped(at: usize, scores: &SegmentScores, options: &ClassifyOptions) -> bool {
    if at < scores.fused.len() { options.is_grouped(at) } else { options.ensembling == Ensembling::Grouped }
}

/// Names, distractors, background.
fn outcomes(scores: &SegmentScores) -> impl Iterator<Item = f32> {
    scores.fused.iter().chain(&scores.distractors).chain([&scores.background]).copied()
}

/// The place of the best score among names, distractors and background.
pub fn best_outcome(scores: &SegmentScores) -> usize {
    first_best(outcomes(scores).enumerate(), |&(_, score)| score).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Row;
    use crate::engine::Tensor;

    fn scores(fused: &[f32], distractors: &[f32], background: f32) -> SegmentScores {
        SegmentScores {
            query: 0,
            by_query: fused.to_vec(),
            by_image: None,
            fused: fused.to_vec(),
            rows: vec![],
            distractors: distractors.to_vec(),
            background,
        }
    }

    #[test]
    fn a_clear_lead_is_no_doubt() {
        let is_doubtful = |scores: &SegmentScores, lambda| {
            let ensembling = Ensembling::All;
            is_doubtful(
                scores,
                &ClassifyOptions { temperature: 1.0, lambda, ensembling, margin: 0.0, classes: 2, rows: vec![] },
            )
        };
        // With a weight of 0.2 the limit is e^2 = 7.39.
        assert!(is_doubtful(&scores(&[0.7, 0.1], &[0.1], 0.1), 0.2));
        assert!(!is_doubtful(&scores(&[0.75, 0.05], &[0.1], 0.1), 0.2));
        // Whoever comes second: a distractor, the background.
        assert!(is_doubtful(&scores(&[0.75], &[0.15], 0.1), 0.2));
        assert!(is_doubtful(&scores(&[0.15], &[], 0.85), 0.2));
        // The image branch alone decides, or it has no say.
        assert!(is_doubtful(&scores(&[0.99], &[], 0.01), 1.0));
        assert!(!is_doubtful(&scores(&[0.6], &[], 0.4), 0.0));
    }

    #[test]
    fn where_seen_and_unseen_weigh_differently_all_is_doubtful() {
        let row = |class, seen| Row { class, weight: 1.0, seen, grouped: false };
        let options = ClassifyOptions {
            temperature: 1.0,
            lambda: 0.2,
            ensembling: Ensembling::Split,
            margin: 0.0,
            classes: 2,
            rows: vec![row(0, false), row(1, true)],
        };
        // Fused they are 0.99^0.8 c^0.2 and 0.009^0.2 c^0.8: 0.34 against 0.39 for c = 0.005 and 0.995.
        assert!(is_doubtful(&scores(&[0.99, 0.009], &[], 0.001), &options));
    }

    #[test]
    fn a_group_is_in_no_doubt_about_itself() {
        let grouped = |grouped: &[bool]| ClassifyOptions {
            temperature: 1.0,
            lambda: 0.2,
            ensembling: Ensembling::Grouped,
            margin: 0.0,
            classes: grouped.len(),
            rows: (0..)
                .zip(grouped)
                .map(|(class, &grouped)| Row { class, weight: 1.0, seen: false, grouped })
                .collect(),
        };
        // Two names at odds: with one of them outside of the group there is a doubt, with both in it there is none.
        let at_odds = scores(&[0.4, 0.35], &[0.1], 0.15);
        assert!(is_doubtful(&at_odds, &grouped(&[true, false])));
        assert!(is_doubtful(&at_odds, &grouped(&[false, true])));
        assert!(!is_doubtful(&at_odds, &grouped(&[true, true])));
        // A name outside of the group, far behind: ln(0.96 / 0.96^0.2) - ln(0.0005^0.8) = 6.05 > 1.6.
        assert!(!is_doubtful(&scores(&[0.96, 0.0005], &[], 0.0395), &grouped(&[true, false])));
    }

    #[test]
    fn outcomes_are_names_distractors_and_the_background() {
        assert_eq!(best_outcome(&scores(&[0.2, 0.4], &[0.1], 0.3)), 1);
        assert_eq!(best_outcome(&scores(&[0.2, 0.1], &[0.4], 0.3)), 2);
        assert_eq!(best_outcome(&scores(&[0.2, 0.1], &[0.3], 0.4)), 3);
        assert_eq!(best_outcome(&scores(&[0.1, 0.3], &[0.3], 0.3)), 1, "the first of equal ones, as everywhere");
    }

    /// Four proposals on a grid of 2 x 3 cells, of which the photo covers 2 x 2.
    #[test]
    fn owners_and_those_that_are_named() {
        let mut masks = vec![-6.0f32; 4 * 6];
        masks[6] = 8.0; // the background wins in number 1, yet nobody else votes for the first cell
        (masks[6 * 2 + 2], masks[6 * 2 + 5]) = (8.0, 8.0); // number 2 lies outside of the photo
        for cell in [1, 3, 4] {
            masks[cell] = 2.0;
        }
        let embeddings = vec![3.0, 0.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0];
        let proposals = Proposals::new(
            [
                Tensor::new([1, 4, 2, 3], masks).unwrap(),
                Tensor::new([1, 4, 2], embeddings).unwrap(),
                Tensor::new([1, 4], vec![1.0, 2.0, 4.0, 5.0]).unwrap(),
            ],
            4,
            (8, 8),
            4,
            2,
        )
        .unwrap();
        assert_eq!(worth_a_crop(&proposals, &[vec![1.0, 0.0], vec![0.0, 1.0]], 1.0), [0, 1]);
    }
}
