//! The official algorithm and its shortcuts against the PyTorch reference: tests/golden/official-tiny/README.md.

mod common;

use std::path::PathBuf;
use std::rc::Rc;

use common::{Folder, Golden, open_bundle};
use serde::Deserialize;
use zegformer::bundle::{Ensembling, Mode, Resolution};
use zegformer::engine::{Engine, EngineChoice, Tensor, Unheard, run_named, weights};
use zegformer::photo::Photo;
use zegformer::pipeline::{Pipeline, Unobserved};
use zegformer::segment::Proposals;
use zegformer::segment::crops::masked_crops;
use zegformer::segment::onepass::mask_bias;
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

/// The largest difference, with its name on the test's output; each one is checked against a tolerance.
fn close(stage: &str, found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len(), "{stage}: number of values");
    let errors = || found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    let worst = errors().fold(0.0, f32::max);
    println!("{stage}: largest error {worst:.2e}");
    // One by one, since the maximum passes over what is no number.
    let all_close = errors().all(|error| error <= tolerance);
    assert!(all_close, "{stage}: largest error {worst:.3e} is above {tolerance:.1e}, or a value is no number");
}

#[test]
#[should_panic(expected = "is no number")]
fn what_is_no_number_is_not_close() {
    close("nothing", &[0.0, f32::NAN], &[0.0, 1.0], 1.0);
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

/// `mode: fast` and `mode: one-pass`, in this order, so that crops of one mode are seen not to count in the other.
fn shortcuts(engine: EngineChoice, label_agreement: f64, tolerance: f32) {
    let facts = facts();
    let bundle = open_bundle(&folder().join("bundle"));
    let one_pass = bundle.image.one_pass.clone().expect("a one-pass graph");
    let (side, mean, std) = (bundle.image.crop, bundle.image.mean, bundle.image.std);
    let source = Rc::new(Folder(folder().join("bundle")));
    let mut pipeline = pollster::block_on(Pipeline::new(bundle, source, engine)).expect("an engine");
    pipeline.set_classes(&facts.typed).expect("names");
    for name in ["landscape", "portrait"] {
        let golden = Golden::open(&folder().join(name));
        pipeline.set_photo(&std::fs::read(folder().join(format!("{name}.png"))).expect("a photo")).expect("a PNG");
        for (mode, suffix) in [(Mode::Fast, "fast"), (Mode::OnePass, "onepass")] {
            let mut options = pipeline.options().clone();
            options.mode = mode;
            pipeline.set_options(options).expect("options");
            let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
            if mode == Mode::Fast {
                let cropped: Vec<u8> =
                    result.segments.iter().map(|segment| u8::from(segment.scores.by_image.is_some())).collect();
                assert_eq!(cropped, golden.u8("cropped_fast"), "{name}: other proposals are cropped");
            } else {
                let photo = pipeline.photo().expect("a photo");
                let pixels = photo.squash(side).normalise(mean, std, 1);
                close("squashed", pixels.data(), &golden.f32("squashed"), 1e-5);
                let bias = mask_bias(pipeline.proposals().expect("proposals"), one_pass.grid);
                close("mask_bias", bias.data(), &golden.f32("mask_bias"), 1e3 * tolerance);
            }
            let scores: Vec<f32> = result.segments.iter().flat_map(|segment| segment.scores.fused.clone()).collect();
            close(&format!("scores_{suffix}"), &scores, &golden.f32(&format!("scores_{suffix}")), 10.0 * tolerance);
            let wanted = golden.u8(&format!("labels_{suffix}"));
            let equal = result.map.labels.iter().zip(wanted).filter(|(a, b)| a == b).count();
            println!("{name} labels_{suffix}: {equal} of {} equal", wanted.len());
            assert!(
                equal as f64 >= label_agreement * wanted.len() as f64,
                "{name} {suffix}: {equal} labels agree only"
            );
        }
    }
}

#[test]
fn shortcuts_on_the_cpu() {
    shortcuts(EngineChoice::Cpu, 0.999, 1e-4);
}

/// Needs a Vulkan adapter, as above.
#[test]
fn shortcuts_on_webgpu() {
    shortcuts(EngineChoice::WebGpu, 0.99, 1e-3);
}

/// The graph itself, on the reference's own inputs: rounding alone remains.
#[test]
fn one_pass_embeddings() {
    let bundle = open_bundle(&folder().join("bundle"));
    let one_pass = bundle.image.one_pass.clone().expect("a one-pass graph");
    let read = |name: &str| std::fs::read(folder().join("bundle").join(name)).expect("a file of the bundle");
    for choice in [EngineChoice::Cpu, EngineChoice::WebGpu] {
        let (engine, info) = pollster::block_on(Engine::choose(choice)).expect("an engine");
        let (model, sides) = weights::parse(&read(&one_pass.graph)).expect("a graph");
        let files = sides.into_iter().map(|side| (side.clone(), read(&side))).collect();
        let mut graph = engine.load(weights::widen(model, &files).expect("weights")).expect("a graph");
        for name in ["landscape", "portrait"] {
            let golden = Golden::open(&folder().join(name));
            let [queries, patches] = *golden.shape("mask_bias") else { panic!("two axes") };
            let photo = Tensor::new(golden.shape("squashed"), golden.f32("squashed")).expect("a photo");
            let bias = Tensor::new([1, queries, patches], golden.f32("mask_bias")).expect("a bias");
            let inputs = [("photo", &photo), ("mask_bias", &bias)];
            let [rows] = pollster::block_on(run_named(graph.as_mut(), &inputs, ["segment_embeddings"], &mut Unheard))
                .expect("rows");
            close(info.kind.name(), rows.data(), &golden.f32("embeddings_onepass"), 1e-5);
        }
    }
}

#[test]
fn a_model_without_the_graph_has_no_one_pass() {
    let mut bundle = open_bundle(&folder().join("bundle"));
    bundle.image.one_pass = None;
    let source = Rc::new(Folder(folder().join("bundle")));
    let mut pipeline = pollster::block_on(Pipeline::new(bundle, source, EngineChoice::Cpu)).expect("an engine");
    let mut options = pipeline.options().clone();
    options.mode = Mode::OnePass;
    let error = pipeline.set_options(options).expect_err("there is no such graph").to_string();
    assert!(error.contains("one-pass"), "{error}");
}
