//! Which proposals are worth a crop, as far as can be told before any crop is made.

use super::Proposals;
use crate::classify::{SegmentScores, dot, softmax};

/// The image branch prefers one of two outcomes by a factor of at most `e^IMAGE_SWAY`, nearly always: of 160 segments of the
/// default model whose name it changed, `is_doubtful` misses about seven.
const IMAGE_SWAY: f32 = 8.0;

/// For [`crate::bundle::Mode::Fast`]: the proposals that own a cell of the label map that the query branch alone would make, and those in whose query branch
/// a name beats the background; in the order of their numbers. `names` are the query branch's unit vectors.
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

/// For [`crate::bundle::Mode::Lite`]: whether the image branch, with its weight `lambda`, may overturn the best outcome of
/// these scores of the query branch alone; the outcomes are names, distractors and the background.
///
/// That takes `p2^(1 - lambda) c2^lambda > p1^(1 - lambda) c1^lambda`, so that
/// `(1 - lambda) ln(p1 / p2) < lambda ln(c2 / c1)`.
pub fn is_doubtful(by_query: &SegmentScores, lambda: f32) -> bool {
    let (mut first, mut second) = (0.0f32, 0.0f32);
    for &score in by_query.fused.iter().chain(&by_query.distractors).chain([&by_query.background]) {
        if score > first {
            (first, second) = (score, first);
        } else {
            second = second.max(score);
        }
    }
    (1.0 - lambda) * (first / second).ln() < lambda * IMAGE_SWAY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Tensor;

    #[test]
    fn a_clear_lead_is_no_doubt() {
        let scores = |fused: &[f32], distractors: &[f32], background| SegmentScores {
            query: 0,
            by_query: fused.to_vec(),
            by_image: None,
            fused: fused.to_vec(),
            distractors: distractors.to_vec(),
            background,
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
