//! The largest inputs that a bundle's graphs are ever run with.

use crate::bundle::Bundle;
use crate::text::encoder::BATCH;

/// Names and shapes of a graph's inputs.
pub type Inputs = Vec<(String, Vec<usize>)>;

/// Each graph's file with the largest inputs that the pipeline gives it: the finest resolution at its longest side, a full
/// batch of crops, a full batch of prompts of full length.
pub fn largest_inputs(bundle: &Bundle) -> Vec<(&str, Inputs)> {
    let input = |name: &str, shape: &[usize]| (name.to_string(), shape.to_vec());
    let padded = |side: usize| side.next_multiple_of(bundle.pixels.stride);
    let area = bundle.pixels.resolutions.values().map(|r| (padded(r.short), padded(r.long)));
    let (short, long) = area.max_by_key(|&(short, long)| short * long).unwrap_or_default();
    let mut segmenter = vec![input("pixels", &[1, 3, short, long])];
    if let Some(position) = &bundle.segmenter.position {
        let shape = [1, position.channels, short / position.stride, long / position.stride];
        segmenter.push(input("position", &shape));
    }
    let (side, text) = (bundle.image.crop, &bundle.text);
    let mut graphs = vec![
        (bundle.segmenter.graph.as_str(), segmenter),
        (bundle.image.graph.as_str(), vec![input("crops", &[bundle.image.batch, 3, side, side])]),
    ];
    if let Some(one_pass) = &bundle.image.one_pass {
        let bias = [1, bundle.segmenter.queries, one_pass.grid * one_pass.grid];
        graphs.push((&one_pass.graph, vec![input("photo", &[1, 3, side, side]), input("mask_bias", &bias)]));
    }
    let words = vec![
        input("tokens", &[BATCH, text.context, text.width]),
        input("attention_bias", &[BATCH, 1, text.context, text.context]),
        input("pooling", &[BATCH, text.context]),
    ];
    graphs.push((&text.graph, words));
    graphs
}
