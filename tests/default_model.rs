//! What has to hold for the model that the page starts with.

mod common;

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Cursor;
use std::path::PathBuf;
use std::rc::Rc;

use async_trait::async_trait;
use common::{Folder, open_bundle};
use image::{ImageFormat, Rgb, RgbImage};
use zegformer::bundle::{BundleError, Ensembling, Mode, Source};
use zegformer::engine::EngineChoice;
use zegformer::pipeline::{Event, Observer, Options, Pipeline, Stage, Unobserved};
use zegformer::report::png::View;
use zegformer::report::{self, Kind};
use zegformer::text::prompts::key;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/zegformer-lite")
}

fn pipeline_with(photo: &str) -> Pipeline {
    let (bundle, source) = (open_bundle(&folder()), Rc::new(Folder(folder())));
    let mut pipeline = pollster::block_on(Pipeline::new(bundle, source, EngineChoice::Cpu)).expect("an engine");
    pipeline.set_photo(&std::fs::read(photo).expect("the photo")).expect("a photo");
    pipeline
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
    let mut pipeline = pipeline_with("tests/photos/chelsea.png");
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

/// The vocabulary has one vector for "cat", "Katze" and "gato", and any other form of them: it counts once.
#[test]
fn names_of_one_vector_are_one_meaning() {
    let mut pipeline = pipeline_with("tests/photos/chelsea.png");
    let mut result = |names: &str| {
        pipeline.set_classes(names).expect("names");
        let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
        for class in result.classes.iter().filter(|class| class.share == 0.0) {
            assert!(class.found_as.is_empty(), "{names}: no pixel of {class:?}");
        }
        result
    };
    let cat = result("cat, wall").classes[0].share;
    assert!(cat > 0.3, "{cat}");
    for names in ["cat, Katze", "Katze, the cats", "gato, wall, chats, cat"] {
        let found = result(names);
        let first = found.classes[0].clone();
        assert!(first.share > 0.9 * cat, "{names}: {}", first.share);
        let later = found.classes.iter().enumerate().filter(|(_, class)| class.same_as.is_some());
        for (at, class) in later.clone() {
            assert_eq!(class.same_as.as_ref(), Some(&first.name), "{names}");
            assert_eq!((class.share, class.seen), (0.0, Some(true)), "{names}");
            assert!(class.kinds.is_empty());
            assert!(found.segments.iter().all(|segment| segment.scores.fused[at] == 0.0), "{names}");
        }
        let meant = found.classes.iter().filter(|class| class.name != "wall");
        assert_eq!(later.count(), meant.count() - 1, "{names}");
    }
    // A general name has neither the kind that another name means nor a kind that is the first one's already.
    for (names, at) in [("animal, Katze", 1), ("Katze, animal", 0), ("pet, mammal", 0)] {
        let classes = result(names).classes;
        assert!(classes[at].share > 0.9 * cat && classes[1 - at].share < 0.05, "{names}: {classes:?}");
        assert!(!classes[1 - at].kinds.contains(&"cat".to_string()), "{names}");
    }
    let classes = result("animal, Hund").classes;
    assert!(!classes[0].kinds.contains(&"dog".to_string()) && classes[0].share > 0.9 * cat, "{classes:?}");
    // A class's own names are no reason to look for less.
    let classes = result("animal | bird | Katze").classes;
    for kind in ["bird", "pigeon", "cat"] {
        assert!(classes[0].kinds.contains(&kind.to_string()), "{kind}");
    }
    assert_eq!((&classes[0].found_as[0][..], classes[0].share > 0.9 * cat), ("cat", true));
    assert_eq!(result("pet | dog").classes[0].kinds.len(), result("pet").classes[0].kinds.len());
}

#[test]
fn a_report_says_what_is_named_twice() {
    let mut pipeline = pipeline_with("tests/photos/chelsea.png");
    pipeline.set_classes("cat, Katze").expect("names");
    let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
    let json = report::write(Kind::Json, &result, "chelsea.png", &View::default()).expect("a document");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["classes"][0]["same_as"], serde_json::Value::Null);
    assert_eq!(json["classes"][1]["same_as"], "cat");
    assert_eq!(json["segments"][0]["scores"][1]["fused"], 0.0);
}

/// Hears of the text stage, and ends it when so many of its prompts are done.
struct Reader {
    enough: usize,
    heard: Vec<(usize, usize)>,
}

#[async_trait(?Send)]
impl Observer for Reader {
    async fn on(&mut self, event: Event) -> bool {
        let Event::Progress { stage: Stage::Text, done, total } = event else { return true };
        self.heard.push((done, total));
        done < self.enough
    }
}

/// Names beyond the vocabulary are read in batches of 16: a run can be called off between them, and the next one goes on.
#[test]
fn reading_names_can_be_called_off() {
    let mut pipeline = pipeline_with("tests/photos/chelsea.png");
    let names: Vec<String> = (0..40).map(|at| format!("zorblax {at}")).collect();
    pipeline.set_classes(&names.join(",")).expect("names");
    let mut run = |enough| {
        let mut reader = Reader { enough, heard: Vec::new() };
        let outcome = pollster::block_on(pipeline.segment(&mut reader));
        (outcome.map(|result| result.classes.len()).map_err(|error| error.to_string()), reader.heard)
    };
    let stopped = || Err("stopped".to_string());
    assert_eq!(run(0), (stopped(), vec![(0, 40)]));
    assert_eq!(run(16), (stopped(), vec![(0, 40), (16, 40)]));
    assert_eq!(run(1), (stopped(), vec![(0, 24), (16, 24)]), "16 of them were kept");
    assert_eq!(run(usize::MAX), (Ok(40), vec![(0, 8)]));
    assert_eq!(run(0), (Ok(40), vec![]), "all are known");
}

/// Ends a run when the segments are about to be measured.
struct NoMeasure;

#[async_trait(?Send)]
impl Observer for NoMeasure {
    async fn on(&mut self, event: Event) -> bool {
        !matches!(event, Event::Progress { stage: Stage::Segmenter, .. })
    }
}

/// Measuring the segments belongs to the segmenter's stage, but its graph does not run again for it.
#[test]
fn measuring_can_be_called_off_and_goes_on() {
    let mut pipeline = pipeline_with("tests/photos/chelsea.png");
    pipeline.set_classes("cat, wall").expect("names");
    let stopped = pollster::block_on(pipeline.segment(&mut NoMeasure));
    assert_eq!(stopped.map(|_| ()).map_err(|error| error.to_string()), Err("stopped".to_string()));
    assert!(pipeline.proposals().is_some());
    let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
    assert!(result.classes[0].share > 0.3);
}

/// Ends a run the second time that it hears of the segmenter's start: then its graph is at work.
#[derive(Default)]
struct InTheGraph {
    heard: usize,
}

#[async_trait(?Send)]
impl Observer for InTheGraph {
    async fn on(&mut self, event: Event) -> bool {
        self.heard += usize::from(event == Event::Start(Stage::Segmenter));
        self.heard < 2
    }
}

/// On a GPU a graph need not run to its end.
#[test]
fn a_graph_can_be_called_off_and_run_again() {
    let mut pipeline =
        pollster::block_on(Pipeline::new(open_bundle(&folder()), Rc::new(Folder(folder())), EngineChoice::WebGpu))
            .expect("an adapter, be it software");
    pipeline.set_photo(&std::fs::read("tests/photos/chelsea.png").expect("the photo")).expect("a photo");
    pipeline.set_classes("cat, wall").expect("names");
    let mut observer = InTheGraph::default();
    let stopped = pollster::block_on(pipeline.segment(&mut observer));
    assert_eq!(stopped.map(|_| ()).map_err(|error| error.to_string()), Err("stopped".to_string()));
    assert!(observer.heard == 2 && pipeline.proposals().is_none());
    let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
    assert!(result.classes[0].share > 0.3);
}

/// Of any shape and in any mode a photo is labelled.
#[test]
fn the_thinnest_photos_are_labelled() {
    let tiny = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/official-tiny/bundle");
    for folder in [folder(), tiny] {
        let bundle = open_bundle(&folder);
        let modes = bundle.modes();
        let mut pipeline =
            pollster::block_on(Pipeline::new(bundle, Rc::new(Folder(folder)), EngineChoice::Cpu)).expect("an engine");
        pipeline.set_classes("animal, zebra, wall").expect("names");
        for (width, height) in [(1, 1), (1, 4096), (4096, 1)] {
            let mut png = Cursor::new(Vec::new());
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 90]));
            image.write_to(&mut png, ImageFormat::Png).expect("a PNG");
            pipeline.set_photo(&png.into_inner()).expect("a photo");
            for &mode in &modes {
                pipeline.set_options(Options { mode, ..pipeline.options().clone() }).expect("options");
                let result = pollster::block_on(pipeline.segment(&mut Unobserved)).expect("a result");
                let pixels = (width * height) as usize;
                assert_eq!((result.map.labels.len(), result.map.confidence.len()), (pixels, pixels), "{mode:?}");
                let shares = result.classes.iter().map(|class| class.share).sum::<f32>() + result.other;
                assert!((shares - 1.0).abs() < 1e-4, "{width} x {height}, {mode:?}: {shares}");
                for kind in ["labels.png", "overlay.png", "json", "coco", "geojson"] {
                    let written = report::write(kind.parse().expect(kind), &result, "photo", &View::default());
                    assert!(!written.expect(kind).is_empty());
                }
            }
        }
    }
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
