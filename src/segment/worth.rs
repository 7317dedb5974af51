//! Which proposals are worth a crop, as far as can be told before any crop is made ([`crate::bundle::Mode::Fast`]).

use super::Proposals;
use crate::classify::{dot, softmax};

/// The proposals that own a cell of the label map that the query branch alone would make, and those in whose query branch
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Tensor;

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
