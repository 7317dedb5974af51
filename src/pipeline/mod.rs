//! The stages in order, each result kept: a change redoes only what lies below it.
//!
//! New photo or resolution: all. New names: text, crops that were not made yet, classify, compose. A moved slider: the same
//! without text.

mod graphs;
mod image;
mod names;
mod options;
mod result;
mod shapes;
mod watch;

use std::rc::Rc;

use rayon::prelude::*;

use crate::bundle::{Bundle, Ensembling, Mode, Source};
use crate::classify::{ClassVectors, ClassifyOptions, Row, SegmentScores, SegmentView, classify};
use crate::compose::{ComposeOptions, LabelMap, compose};
use crate::engine::{Engine, EngineChoice, EngineInfo, Graph, cpu, run_named};
use crate::photo::{Photo, Resized};
use crate::segment::{Proposals, position::sine};
use crate::text::encoder::TextEncoder;
use crate::text::{Class, parse_classes};

pub use graphs::{Error, read_graph};
pub(crate) use graphs::{in_graph, load_graph};
use image::{Looks, Task};
use names::{Lists, Names};
pub use options::Options;
use result::shape;
pub use result::{ClassResult, Segment, Segmentation, Shape};
pub use shapes::largest_inputs;
pub(crate) use watch::Watch;
pub use watch::{Event, Observer, Stage, Unobserved};

/// The most segments that are named in [`Mode::Lite`]: those that own the most pixels.
const MOST_SEGMENTS: usize = 24;
/// Of these the most that are cropped for the image branch: one batch of the default model. A second one gains little
/// on its tuning photos, and takes as long.
const MOST_CROPS: usize = 3;
/// Bundles larger than this keep one graph in memory at a time.
const LEAN_ABOVE_BYTES: u64 = 128 << 20;

/// Photo and names in, labels out. See the module's text for what is kept between runs.
pub struct Pipeline {
    bundle: Bundle,
    source: Rc<dyn Source>,
    engine: Engine,
    info: EngineInfo,
    options: Options,
    segmenter: Option<Box<dyn Graph>>,
    /// The image branch's graph with its file: the one for crops, or the one-pass graph.
    image: Option<(String, Box<dyn Graph>)>,
    text: TextEncoder,
    /// Made with the first names: which mean the same, the vocabulary tells.
    lists: Option<Rc<Lists>>,
    photo: Option<Rc<Photo>>,
    classes: Vec<Class>,
    kept: Kept,
}

/// Results of the stages, from the top of the pipeline to its bottom.
#[derive(Default)]
struct Kept {
    resized: Option<Resized>,
    proposals: Option<Rc<Proposals>>,
    segments: Option<Vec<Shape>>,
    looks: Looks,
    names: Option<Names>,
}

impl Pipeline {
    /// Chooses an engine; graphs are read when they are first needed.
    pub async fn new(bundle: Bundle, source: Rc<dyn Source>, engine: EngineChoice) -> Result<Pipeline, Error> {
        let (engine, info) = Engine::choose(engine).await?;
        Ok(Pipeline {
            options: Options::of(&bundle),
            text: TextEncoder::default(),
            lists: None,
            bundle,
            source,
            engine,
            info,
            segmenter: None,
            image: None,
            photo: None,
            classes: Vec::new(),
            kept: Kept::default(),
        })
    }

    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    pub fn engine(&self) -> &EngineInfo {
        &self.info
    }

    pub fn photo(&self) -> Option<&Photo> {
        self.photo.as_deref()
    }

    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The proposals of the last run.
    pub fn proposals(&self) -> Option<&Proposals> {
        self.kept.proposals.as_deref()
    }

    /// Takes a new photo. On an error the old one stays.
    pub fn set_photo(&mut self, bytes: &[u8]) -> Result<&Photo, Error> {
        Ok(self.take_photo(Photo::decode(bytes)?))
    }

    /// Takes a new photo that is decoded already.
    pub fn take_photo(&mut self, photo: Photo) -> &Photo {
        self.forget_photo_results();
        self.photo.insert(Rc::new(photo))
    }

    /// Takes new names. On an error the old ones stay.
    pub fn set_classes(&mut self, text: &str) -> Result<&[Class], Error> {
        let classes = parse_classes(text)?;
        if classes != self.classes {
            self.classes = classes;
            self.kept.names = None;
        }
        Ok(&self.classes)
    }

    /// Takes new options. On an error the old ones stay.
    pub fn set_options(&mut self, options: Options) -> Result<(), Error> {
        options.check(&self.bundle)?;
        if options.resolution != self.options.resolution {
            self.forget_photo_results();
        }
        if options.mode != self.options.mode {
            self.kept.segments = None;
        }
        self.options = options;
        Ok(())
    }

    /// Runs what has to run and returns the labels.
    pub async fn segment(&mut self, observer: &mut dyn Observer) -> Result<Segmentation, Error> {
        if self.photo.is_none() {
            return Err(Error::NoPhoto);
        }
        if self.classes.is_empty() {
            return Err(Error::NoClasses);
        }
        let mut stages = Vec::new();
        let mut watch = Watch::new(observer, &mut stages);
        watch.stage(Stage::Segmenter, self.kept.proposals.is_some() && self.kept.segments.is_some()).await?;
        if self.kept.proposals.is_none() {
            self.run_segmenter(&mut watch).await?;
        }
        if self.kept.segments.is_none() {
            self.find_segments(&mut watch).await?;
        }
        watch.done().await?;
        watch.stage(Stage::Text, self.kept.names.is_some()).await?;
        if self.kept.names.is_none() {
            self.run_text(&mut watch).await?;
        }
        watch.done().await?;
        let task = self.image_task(self.image_has_a_say())?;
        watch.stage(Stage::Crops, self.kept.looks.suffice(&task)).await?;
        self.preview(&task, &mut watch).await?;
        self.look(&task, &mut watch).await?;
        watch.done().await?;
        watch.stage(Stage::Classify, false).await?;
        let scores = self.classify(&task)?;
        watch.done().await?;
        watch.stage(Stage::Compose, false).await?;
        let result = self.result(self.compose(&scores)?, scores)?;
        watch.done().await?;
        Ok(Segmentation { stages, ..result })
    }

    fn forget_photo_results(&mut self) {
        self.kept.resized = None;
        self.kept.proposals = None;
        self.kept.segments = None;
        self.kept.looks = Looks::default();
    }

    /// Whether graphs have to make room for each other.
    fn lean(&self) -> bool {
        let bytes: u64 = self.bundle.files.values().map(|file| file.bytes).sum();
        bytes > LEAN_ABOVE_BYTES
    }

    /// Frees the graphs that a large bundle has in memory, before another one is loaded.
    fn make_room(&mut self) {
        if self.lean() {
            self.segmenter = None;
            self.image = None;
            self.text.free_graph();
        }
    }

    async fn run_segmenter(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        let pixels = &self.bundle.pixels;
        let photo = self.photo.as_ref().ok_or(Error::NoPhoto)?;
        let resized = photo.resize(pixels.resolutions[&self.options.resolution]);
        let input = resized.normalise(pixels.mean, pixels.std, pixels.stride);
        if self.segmenter.is_none() {
            self.make_room();
            let file = &self.bundle.segmenter.graph;
            self.segmenter = Some(load_graph(&self.engine, &self.bundle, &*self.source, file).await?);
        }
        let position = self.bundle.segmenter.position.as_ref().map(|position| {
            let cells = |axis: usize| input.shape()[axis] / position.stride;
            sine(position, cells(2), cells(3))
        });
        let mut inputs = vec![("pixels", &input)];
        inputs.extend(position.as_ref().map(|position| ("position", position)));
        let graph = self.segmenter.as_deref_mut().ok_or(Error::NoPhoto)?;
        let outputs = run_named(graph, &inputs, ["mask_logits", "segment_embeddings", "background_logits"], watch)
            .await
            .map_err(|error| in_graph(&self.bundle.segmenter.graph, error))?;
        self.kept.proposals = Some(Rc::new(Proposals::new(
            outputs,
            self.bundle.segmenter.mask_stride,
            (resized.width, resized.height),
            self.bundle.segmenter.queries,
            self.bundle.embedding,
        )?));
        self.kept.resized = Some(resized);
        if self.lean() {
            self.segmenter = None;
        }
        Ok(())
    }

    /// Chooses the segments to name and measures them at the photo's size, some at a time: a photo may have millions of
    /// pixels, and the run can be called off in between.
    async fn find_segments(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        let photo = self.photo.as_ref().ok_or(Error::NoPhoto)?;
        let proposals = self.kept.proposals.as_ref().ok_or(Error::NoPhoto)?;
        let queries: Vec<usize> = match self.options.mode {
            Mode::Official | Mode::Fast | Mode::OnePass => (0..proposals.count()).collect(),
            Mode::Lite => proposals.owners(MOST_SEGMENTS),
        };
        let cover = proposals.over(photo.width(), photo.height());
        let mut segments = Vec::with_capacity(queries.len());
        for batch in queries.chunks(MOST_SEGMENTS) {
            watch.progress(segments.len(), queries.len()).await?;
            let shapes = || batch.par_iter().map(|&query| shape(query, &cover)).collect::<Vec<_>>();
            segments.extend(cpu::on_threads(shapes));
        }
        self.kept.segments = Some(segments);
        Ok(())
    }

    fn image_has_a_say(&self) -> bool {
        match self.options.ensembling {
            Ensembling::Query => false,
            Ensembling::Image => true,
            Ensembling::Grouped => self.options.lambda > 0.0 && self.rows().iter().any(|row| !row.grouped),
            Ensembling::All | Ensembling::Split => self.options.lambda > 0.0,
        }
    }

    fn classify_options(&self) -> ClassifyOptions {
        ClassifyOptions {
            temperature: self.options.temperature,
            lambda: self.options.lambda,
            ensembling: self.options.ensembling,
            margin: self.options.margin,
            classes: self.classes.len(),
            rows: self.rows().to_vec(),
        }
    }

    fn rows(&self) -> &[Row] {
        self.kept.names.as_ref().map_or(&[], |names| &names.rows)
    }

    fn classify(&self, task: &Task) -> Result<Vec<SegmentScores>, Error> {
        let (Some(proposals), Some(segments), Some(names)) =
            (&self.kept.proposals, &self.kept.segments, &self.kept.names)
        else {
            return Err(Error::NoPhoto);
        };
        let views: Vec<SegmentView> = segments
            .iter()
            .map(|segment| SegmentView {
                query: segment.query,
                embedding: proposals.embedding(segment.query),
                background_logit: proposals.background_logits.data()[segment.query],
                crop: self.kept.looks.of(segment.query, task),
            })
            .collect();
        let none = ClassVectors::default();
        let distractors = if self.options.distractors { &names.distractors } else { &none };
        Ok(classify(&views, &names.vectors, distractors, &self.classify_options()))
    }

    fn compose(&self, scores: &[SegmentScores]) -> Result<LabelMap, Error> {
        // Plain references, which threads may share.
        let (Some(photo), Some(proposals), Some(names)) = (self.photo(), self.proposals(), &self.kept.names) else {
            return Err(Error::NoPhoto);
        };
        let options = ComposeOptions {
            mode: self.options.mode,
            gamma: self.options.gamma,
            seen: (0..self.classes.len()).map(|class| names.is_seen(class)).collect(),
            threshold: self.options.threshold,
        };
        let classes = self.classes.len();
        Ok(cpu::on_threads(|| compose(proposals, scores, classes, photo, &options)))
    }
}
