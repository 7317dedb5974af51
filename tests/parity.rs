//! `mode: official` against the PyTorch reference, stage by stage: tests/golden/official-tiny/README.md.

mod common;

use std::path::PathBuf;
use std::rc::Rc;

use common::{Folder, Golden, open_bundle};
use serde::Deserialize;
use zegformer::bundle::{Ensembling, Resolution};
use zegformer::engine::{EngineChoice, Tensor};
use zegformer::photo::Photo;
use zegformer::pipeline::{Pipeline, Unobserved};
use zegformer::segment::Proposals;
use zegformer::segment::crops::masked_crops;
use zegformer::text::Tokenizer;

#[derive(Deserialize)]
struct Facts {
    typed: String,
    short: usize,
    long: usize,
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    text: String,
    ids: Vec<u32>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/official-tiny")
}

fn facts() -> Facts {
    serde_json::from_slice(&std::fs::read(folder().join("facts.json")).expect("facts.json")).expect("facts")
}

/// The largest difference, with its name on the test's output, checked against a tolerance.
fn close(stage: &str, found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len(), "{stage}: number of values");
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{stage}: largest error {worst:.2e}");
    assert!(worst <= tolerance, "{stage}: largest error {worst:.3e} is above {tolerance:.1e}");
}

#[test]
fn resizing_and_normalising() {
    let facts = facts();
    let bundle = open_bundle(&folder().join("bundle"));
    for name in ["landscape", "portrait"] {
        let golden = Golden::open(&folder().join(name));
        let photo = Photo::decode(&std::fs::read(folder().join(format!("{name}.png"))).expect("a photo")).expect("PNG");
        let resized = photo.resize(Resolution { short: facts.short, long: facts.long });
        assert_eq!([resized.height, resized.width, 3], golden.shape("resized"));
        assert!(resized.rgb == golden.u8("resized"), "{name}: Pillow's bilinear filter gives other bytes");
        let pixels = resized.normalise(bundle.pixels.mean, bundle.pixels.std, bundle.pixels.stride);
        close("pixels", pixels.data(), &golden.f32("pixels"), 1e-5);
        let pixels = resized.normalise(bundle.image.mean, bundle.image.std, bundle.pixels.stride);
        close("clip_pixels", pixels.data(), &golden.f32("clip_pixels"), 1e-5);
    }
}

/// Masks that a random network does not find: a speck, a strip, a corner, nothing.
#[test]
fn crops_of_odd_masks() {
    let golden = Golden::open(&folder().join("handmade"));
    let tensor = |name: &str, shape: &[usize]| Tensor::new(shape, golden.f32(name)).expect("a tensor");
    let pixels = golden.shape("clip_pixels");
    let (height, width) = (pixels[1], pixels[2]);
    let queries = golden.shape("mask_logits")[1];
    let proposals = Proposals::new(
        [
            tensor("mask_logits", golden.shape("mask_logits")),
            Tensor::zeros([1, queries, 1]),
            Tensor::zeros([1, queries]),
        ],
        4,
        (width, height),
        queries,
        1,
    )
    .expect("proposals");
    let pixels = tensor("clip_pixels", &[1, 3, height, width]);
    let side = golden.shape("crops")[2];
    let all: Vec<usize> = (0..queries).collect();
    let crops = masked_crops(&proposals, &all, &pixels, side);
    close("crops of handmade masks", crops.data(), &golden.f32("crops"), 2e-4);
}

#[test]
fn tokens_of_prompts() {
    let bundle = open_bundle(&folder().join("bundle"));
    let json = std::fs::read(folder().join("bundle").join(&bundle.text.tokenizer)).expect("tokenizer.json");
    let tokenizer = Tokenizer::from_bytes(&json, bundle.text.context).expect("a tokenizer");
    let facts = facts();
    assert!(!facts.prompts.is_empty());
    for prompt in facts.prompts {
        assert_eq!(tokenizer.encode(&prompt.text).expect("tokens"), prompt.ids, "{:?}", prompt.text);
    }
}

fn whole_way(engine: EngineChoice, label_agreement: f64, tolerance: f32) {
    let facts = facts();
    let bundle = open_bundle(&folder().join("bundle"));
    let source = Rc::new(Folder(folder().join("bundle")));
    let mut pipeline = pollster::block_on(Pipeline::new(bundle, source, engine)).expect("an engine");
    pipeline.set_classes(&facts.typed).expect("names");
    let (mut same, mut all) = (0usize, 0usize);
    for name in ["landscape", "portrait"] {
        let golden = Golden::open(&folder().join(name));
        let bytes = std::fs::read(folder().join(format!("{name}.png"))).expect("a photo");
        pipeline.set_photo(&bytes).expect("a PNG");
        for (ensembling, suffix) in [
            (Ensembling::Split, "split"),
            (Ensembling::All, "all"),
            (Ensembling::Image, "image"),
            (Ensembling::Query, "query"),
        ] {
            let mut options = pipeline.options().clone();
            options.ensembling = ensembling;
            pipeline.set_options(options).expect("options");
            let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
            if suffix == "split" {
                let proposals = pipeline.proposals().expect("proposals");
                close("mask_logits", proposals.mask_logits.data(), &golden.f32("mask_logits"), 50.0 * tolerance);
                let wanted = golden.f32("segment_embeddings");
                close("segment_embeddings", proposals.embeddings.data(), &wanted, tolerance);
                let wanted = golden.f32("background_logits");
                close("background_logits", proposals.background_logits.data(), &wanted, 100.0 * tolerance);
            }
            let scores: Vec<f32> = result.segments.iter().flat_map(|segment| segment.scores.fused.clone()).collect();
            close(&format!("scores_{suffix}"), &scores, &golden.f32(&format!("scores_{suffix}")), 10.0 * tolerance);
            let wanted = golden.u8(&format!("labels_{suffix}"));
            assert_eq!(result.map.labels.len(), wanted.len());
            let equal = result.map.labels.iter().zip(wanted).filter(|(a, b)| a == b).count();
            println!("{name} labels_{suffix}: {equal} of {} equal", wanted.len());
            same += equal;
            all += wanted.len();
        }
    }
    let agreement = same as f64 / all as f64;
    println!("label maps agree on {:.3} % of the pixels", 100.0 * agreement);
    assert!(agreement >= label_agreement, "label maps agree on {:.3} % only", 100.0 * agreement);
}

#[test]
fn whole_way_on_the_cpu() {
    whole_way(EngineChoice::Cpu, 0.999, 1e-4);
}

/// Needs a Vulkan adapter; a software one will do (Debian: mesa-vulkan-drivers).
#[test]
fn whole_way_on_webgpu() {
    whole_way(EngineChoice::WebGpu, 0.99, 1e-3);
}
