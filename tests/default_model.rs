//! What has to hold for the model that the page starts with.

mod common;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;

use async_trait::async_trait;
use common::{Folder, open_bundle};
use zegformer::bundle::{BundleError, Ensembling, Mode, Source};
use zegformer::engine::EngineChoice;
use zegformer::pipeline::{Pipeline, Unobserved};
use zegformer::text::prompts::key;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/zegformer-lite")
}

/// A distractor or a kind without a ready vector would make every first run load the text graph.
#[test]
fn silent_names_and_kinds_have_ready_vectors() {
    let bundle = open_bundle(&folder());
    let vocabulary = bundle.vocabulary.expect("a vocabulary");
    let names = std::fs::read(folder().join(vocabulary.names)).expect("the names");
    let names: Vec<String> = serde_json::from_slice(&names).expect("a list of names");
    let ready: HashSet<String> = names.iter().map(|name| key(name)).collect();
    let distractors = bundle.other.expect("distractors").distractors;
    let kinds = vocabulary.kinds.into_iter().flat_map(|(name, kinds)| [vec![name], kinds].concat());
    let missing: Vec<String> =
        distractors.into_iter().chain(kinds).filter(|name| !ready.contains(&key(name))).collect();
    assert!(missing.is_empty(), "no ready vectors for {missing:?}");
}

/// The model's folder, with a list of the files that were read from it.
struct Listed(Folder, RefCell<Vec<String>>);

#[async_trait(?Send)]
impl Source for Listed {
    async fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        self.1.borrow_mut().push(name.to_string());
        self.0.read(name).await
    }
}

/// The image branch never re-ranks what a crop shows little of, so that a list of such names, in any form, needs no crops
/// and no download of its graph; another name gets both.
#[test]
fn the_image_branch_is_for_things() {
    let source = Rc::new(Listed(Folder(folder()), RefCell::default()));
    let bundle = open_bundle(&folder());
    let (image, text) = (bundle.image.graph.clone(), bundle.text.graph.clone());
    let mut pipeline = pollster::block_on(Pipeline::new(bundle, source.clone(), EngineChoice::Cpu)).expect("an engine");
    pipeline.set_photo(&std::fs::read("tests/photos/chelsea.png").expect("the photo")).expect("a photo");

    pipeline.set_classes("the walls, Himmel, grass | lawn, mountains").expect("names");
    for mode in [Mode::Fast, Mode::Lite] {
        let mut options = pipeline.options().clone();
        options.mode = mode;
        pipeline.set_options(options).expect("options");
        let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
        assert!(result.classes.iter().all(|class| class.seen == Some(true)), "{:?}", result.classes);
        assert!(!result.image_has_a_say);
        assert!(!result.segments.is_empty() && result.segments.iter().all(|s| s.scores.by_image.is_none()));
    }
    assert!(!source.1.borrow().contains(&image) && !source.1.borrow().contains(&text), "{:?}", source.1.borrow());

    pipeline.set_classes("a ginger cat, pony, wall").expect("names");
    let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
    let seen: Vec<_> = result.classes.iter().map(|class| class.seen).collect();
    assert_eq!(seen, [Some(true); 3], "a phrase about a taught name, a taught synonym, a taught name");
    assert!(result.image_has_a_say);
    assert!(result.segments.iter().any(|segment| segment.scores.by_image.is_some()));
    assert!(source.1.borrow().contains(&image));

    // Asked for, it has a say in every name.
    pipeline.set_classes("wall").expect("names");
    let mut options = pipeline.options().clone();
    options.ensembling = Ensembling::All;
    pipeline.set_options(options).expect("options");
    assert!(pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result").image_has_a_say);
}

/// A general name is looked for as its kinds, without what is typed beside it, and a silent name above or below a typed
/// one does not compete with it.
#[test]
fn an_animal_is_looked_for_as_a_cat() {
    let bundle = open_bundle(&folder());
    let source = Rc::new(Folder(folder()));
    let mut pipeline = pollster::block_on(Pipeline::new(bundle, source, EngineChoice::Cpu)).expect("an engine");
    pipeline.set_photo(&std::fs::read("tests/photos/chelsea.png").expect("the photo")).expect("a photo");
    let mut result = |names: &str| {
        pipeline.set_classes(names).expect("names");
        pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result")
    };
    let other = result("wall").other_as;
    assert_eq!(other.first().map(String::as_str), Some("cat"), "{other:?}");
    assert!(result("cats, wall").other_as.iter().all(|name| name != "cat"), "what is typed is not silent");
    assert!(result("egyptian cat").other_as.iter().all(|name| name != "cat"), "neither is what lies above it");
    let mut classes = |names: &str| result(names).classes;
    let cat = classes("cat")[0].share;
    assert!(cat > 0.3, "{cat}");
    for (typed, is_kind) in [("animals", true), ("furry pets", true), ("vehicles", false), ("reptile", false)] {
        let found = classes(typed).remove(0);
        assert_eq!(found.kinds.contains(&"cat".to_string()), is_kind, "{typed}: {:?}", found.kinds);
        assert_eq!((found.share > 0.9 * cat, found.share > 0.0), (is_kind, is_kind), "{typed}: {}", found.share);
        // By either of its names, one of them a kind of the other.
        let as_cat = found.found_as.first().is_some_and(|kind| kind == "cat" || kind == "tabby");
        assert_eq!(as_cat, is_kind, "{typed}: {:?}", found.found_as);
        assert_eq!(found.seen, Some(typed != "reptile"), "{typed}: a kind of it was taught with masks, or not");
    }
    let [animal, own] = classes("animal, cat").try_into().expect("two classes");
    assert!(!animal.kinds.contains(&"cat".to_string()) && animal.kinds.contains(&"dog".to_string()));
    assert!(animal.share < 0.05 && own.share > 0.9 * cat, "{} and {}", animal.share, own.share);
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
