//! What has to hold for the model that the page starts with.

mod common;

use std::collections::HashSet;
use std::path::PathBuf;

use common::open_bundle;
use zegformer::text::prompts::key;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/zegformer-lite")
}

/// A distractor without a ready vector would make every first run load the text graph.
#[test]
fn distractors_have_ready_vectors() {
    let bundle = open_bundle(&folder());
    let vocabulary = bundle.vocabulary.expect("a vocabulary");
    let names = std::fs::read(folder().join(vocabulary.names)).expect("the names");
    let names: Vec<String> = serde_json::from_slice(&names).expect("a list of names");
    let ready: HashSet<String> = names.iter().map(|name| key(name)).collect();
    let missing: Vec<String> =
        bundle.other.expect("distractors").distractors.into_iter().filter(|name| !ready.contains(&key(name))).collect();
    assert!(missing.is_empty(), "no ready vectors for {missing:?}");
}

/// Known names need the segmenter, the image branch and the vocabulary; that much may be sent before the first overlay.
#[test]
fn the_first_overlay_needs_few_bytes() {
    let bundle = open_bundle(&folder());
    let vocabulary = bundle.vocabulary.as_ref().expect("a vocabulary");
    let first = [&bundle.segmenter.graph, &bundle.image.graph, &vocabulary.names, &vocabulary.query];
    let bytes: u64 = first.iter().map(|name| bundle.files[*name].bytes).sum();
    let all: u64 = bundle.files.values().map(|file| file.bytes).sum();
    assert!(bytes <= 20_000_000, "{bytes} bytes before the first overlay");
    assert!(all <= 45_000_000, "{all} bytes in all");
}
