//! What an observer is shown before the image branch looks.

mod common;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use async_trait::async_trait;
use common::{Folder, open_bundle};
use zegformer::bundle::{Ensembling, Mode};
use zegformer::engine::EngineChoice;
use zegformer::pipeline::{Event, Observer, Options, Pipeline, Segmentation, Stage, Unobserved};

const PHOTO: &str = "tests/photos/chelsea.png";

/// Wants every preview.
#[derive(Default)]
struct Eager {
    /// Behind a cell, as a question changes nothing.
    offered: RefCell<Vec<(bool, usize)>>,
    shown: Option<Segmentation>,
    enough: bool,
}

#[async_trait(?Send)]
impl Observer for Eager {
    async fn on(&mut self, _event: Event) -> bool {
        true
    }

    fn wants_preview(&self, is_loaded: bool, batches: usize) -> bool {
        self.offered.borrow_mut().push((is_loaded, batches));
        true
    }

    async fn preview(&mut self, result: Segmentation) -> bool {
        self.shown = Some(result);
        !self.enough
    }
}

fn pipeline_of(folder: &str) -> Pipeline {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut pipeline =
        pollster::block_on(Pipeline::new(open_bundle(&folder), Rc::new(Folder(folder)), EngineChoice::Cpu))
            .expect("an engine");
    pipeline.set_photo(&std::fs::read(PHOTO).expect("the photo")).expect("a photo");
    pipeline.set_classes("cat, wall").expect("names");
    pipeline
}

/// A result, the preview before it, and what was told of the work to come.
fn run(pipeline: &mut Pipeline) -> (Segmentation, Option<Segmentation>, Vec<(bool, usize)>) {
    let mut observer = Eager::default();
    let result = pollster::block_on(pipeline.segment(&mut observer)).expect("a result");
    (result, observer.shown, observer.offered.into_inner())
}

fn with(pipeline: &mut Pipeline, change: impl FnOnce(&mut Options)) {
    let mut options = pipeline.options().clone();
    change(&mut options);
    pipeline.set_options(options).expect("options");
}

/// It is the result of the query branch, the run's own result is as it would be without it, and there is none where the image
/// branch has nothing to do.
#[test]
fn the_query_branch_is_shown_first() {
    let mut pipeline = pipeline_of("models/zegformer-lite");
    let options = pipeline.options().clone();
    let (result, preview, offered) = run(&mut pipeline);
    let preview = preview.expect("a preview");
    assert_eq!(offered, [(false, 1)]);
    assert_eq!(*pipeline.options(), options);
    assert_eq!(preview.options, Options { ensembling: Ensembling::Query, ..options });
    assert!(preview.segments.iter().all(|segment| segment.scores.by_image.is_none()));
    let stages: Vec<Stage> = preview.stages.iter().map(|&(stage, _)| stage).collect();
    assert_eq!(stages, [Stage::Segmenter, Stage::Text], "those that it took");

    let mut plain = pipeline_of("models/zegformer-lite");
    let without = pollster::block_on(plain.segment(&mut Unobserved)).expect("a result");
    assert_eq!((&result.map.labels, &result.map.confidence), (&without.map.labels, &without.map.confidence));
    assert!(result.segments.iter().any(|segment| segment.scores.by_image.is_some()));
    with(&mut plain, |options| options.ensembling = Ensembling::Query);
    let (alone, none, _) = run(&mut plain);
    assert_eq!(preview.map.labels, alone.map.labels);
    assert!(none.is_none());

    assert_eq!(run(&mut pipeline).2, [], "the crops are kept");
    pipeline.set_classes("wall, sky").expect("names");
    assert_eq!(run(&mut pipeline).2, [], "the image branch is for things");
    with(&mut pipeline, |options| options.ensembling = Ensembling::Image);
    assert_eq!(run(&mut pipeline).2, [], "the query branch is not asked");
}

/// With every segment cropped there is much to wait for, graph or no graph.
#[test]
fn it_is_told_how_much_is_to_do() {
    let mut pipeline = pipeline_of("tests/golden/official-tiny/bundle");
    let batches = pipeline.bundle().segmenter.queries.div_ceil(pipeline.bundle().image.batch);
    assert!(pipeline.options().mode == Mode::Official && batches > 1);
    let (result, preview, offered) = run(&mut pipeline);
    assert_eq!(offered, [(false, batches)]);
    assert_eq!(result.segments.len(), preview.expect("a preview").segments.len());
    pipeline.set_photo(&std::fs::read(PHOTO).expect("the photo")).expect("a photo");
    assert_eq!(run(&mut pipeline).2, [(true, batches)]);
    with(&mut pipeline, |options| options.mode = Mode::OnePass);
    assert_eq!(run(&mut pipeline).2, [(false, 1)]);
}

/// The run can be called off by it, and the next one goes on as it was told.
#[test]
fn it_may_be_enough() {
    let mut pipeline = pipeline_of("models/zegformer-lite");
    let stopped = pollster::block_on(pipeline.segment(&mut Eager { enough: true, ..Eager::default() }));
    assert_eq!(stopped.map(|_| ()).map_err(|error| error.to_string()), Err("stopped".to_string()));
    let (result, preview, offered) = run(&mut pipeline);
    assert!(preview.is_some() && offered == [(false, 1)]);
    assert!(result.segments.iter().any(|segment| segment.scores.by_image.is_some()));
}
