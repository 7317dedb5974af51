//! The stages in order, each result kept: a change redoes only what lies below it.
//!
//! New photo or resolution: all. New names: text, classify, compose. A moved slider: classify and compose.

use std::collections::HashMap;
use std::rc::Rc;

use async_trait::async_trait;
use web_time::Instant;

use crate::bundle::{Bundle, BundleError, Ensembling, Mode, Source};
use crate::classify::{ClassVectors, ClassifyOptions, SegmentScores, SegmentView, classify, dot};
use crate::compose::{ComposeOptions, LabelMap, OTHER, compose};
use crate::engine::{Engine, EngineChoice, EngineError, EngineInfo, EngineKind, Graph, Tensor, run_named, weights};
use crate::photo::{Photo, PhotoError, Resized};
use crate::segment::{Proposals, crops::masked_crops, position::sine};
use crate::text::TextError;
use crate::text::encoder::TextEncoder;
use crate::text::prompts::{Class, parse_classes};

/// The most segments that are cropped and named in [`Mode::Lite`].
const MOST_SEGMENTS: usize = 24;
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
    image: Option<Box<dyn Graph>>,
    text: TextEncoder,
    photo: Option<Photo>,
    classes: Vec<Class>,
    kept: Kept,
}

/// Results of the stages, from the top of the pipeline to its bottom.
#[derive(Default)]
struct Kept {
    resized: Option<Resized>,
    proposals: Option<Proposals>,
    segments: Option<Vec<Shape>>,
    /// `[K, D]`, one row for each of `segments`.
    crops: Option<Tensor>,
    vectors: Option<ClassVectors>,
    distractors: Option<ClassVectors>,
}

/// One proposal at the photo's size, before any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The proposal's number.
    pub query: usize,
    /// Covered pixels of the photo.
    pub area: usize,
    /// First column, first row, one past the last column, one past the last row. All 0 where nothing is covered.
    pub bounds: [usize; 4],
}

/// What a user may change between runs. Starts from the bundle's own values.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A name under the bundle's `pixels.resolutions`.
    pub resolution: String,
    pub mode: Mode,
    pub ensembling: Ensembling,
    /// Weight of the image branch, 0..1.
    pub lambda: f32,
    /// Subtracted from the scores of seen classes.
    pub gamma: f32,
    pub temperature: f32,
    /// Least confidence (0..1) of a labelled pixel.
    pub threshold: f32,
    /// Whether distractor names compete silently.
    pub distractors: bool,
}

impl Options {
    fn of(bundle: &Bundle) -> Options {
        Options {
            resolution: bundle.pixels.default.clone(),
            mode: bundle.mode,
            ensembling: bundle.classify.ensembling,
            lambda: bundle.classify.lambda,
            gamma: bundle.classify.gamma,
            temperature: bundle.classify.temperature,
            threshold: bundle.other.as_ref().map_or(0.0, |other| other.threshold),
            distractors: bundle.other.is_some(),
        }
    }

    fn check(&self, bundle: &Bundle) -> Result<(), Error> {
        if !bundle.pixels.resolutions.contains_key(&self.resolution) {
            let known: Vec<&str> = bundle.pixels.resolutions.keys().map(String::as_str).collect();
            return Err(Error::Option(format!(
                "this model has no resolution \"{}\"; it has {}",
                self.resolution,
                known.join(", ")
            )));
        }
        let unit = |name: &str, value: f32| {
            if (0.0..=1.0).contains(&value) {
                return Ok(());
            }
            Err(Error::Option(format!("{name} must be between 0 and 1, not {value}")))
        };
        unit("lambda", self.lambda)?;
        unit("threshold", self.threshold)?;
        if !(self.gamma.is_finite() && self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(Error::Option("gamma must be a number and temperature a positive one".to_string()));
        }
        Ok(())
    }
}

/// The parts of a run that are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Segmenter,
    Text,
    Crops,
    Classify,
    Compose,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Segmenter => "segmenter",
            Stage::Text => "text",
            Stage::Crops => "crops",
            Stage::Classify => "classify",
            Stage::Compose => "compose",
        }
    }
}

/// What happens in a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    Start(Stage),
    Progress {
        stage: Stage,
        done: usize,
        total: usize,
    },
    /// `cached`: the kept result was taken and nothing ran.
    Done {
        stage: Stage,
        ms: f64,
        cached: bool,
    },
}

/// Hears of each step and may end the run.
#[async_trait(?Send)]
pub trait Observer {
    /// Returns false to cancel.
    async fn on(&mut self, event: Event) -> bool;
}

/// An observer that hears nothing and cancels nothing.
pub struct Unobserved;

#[async_trait(?Send)]
impl Observer for Unobserved {
    async fn on(&mut self, _event: Event) -> bool {
        true
    }
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Segmentation {
    pub map: LabelMap,
    /// In typed order.
    pub classes: Vec<ClassResult>,
    /// Part of the photo that is none of the classes, 0..1.
    pub other: f32,
    pub segments: Vec<Segment>,
    /// Milliseconds of each stage that ran; a kept result counts 0.
    pub stages: Vec<(Stage, f64)>,
}

/// One typed class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassResult {
    pub name: String,
    /// Part of the photo's pixels, 0..1.
    pub share: f32,
}

/// One named segment.
#[derive(Clone, Debug)]
pub struct Segment {
    pub shape: Shape,
    /// The class with the best fused score; `None` where a distractor has a better one.
    pub class: Option<usize>,
    pub scores: SegmentScores,
}

/// What can go wrong on the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Photo(#[from] PhotoError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{file}: {error}")]
    Graph { file: String, error: EngineError },
    #[error("{0}")]
    Option(String),
    #[error("choose a photo first")]
    NoPhoto,
    #[error("type at least one class name first, for example: cat, sofa, wall")]
    NoClasses,
    #[error("stopped")]
    Cancelled,
}

impl Pipeline {
    /// Chooses an engine; graphs are read when they are first needed.
    pub async fn new(bundle: Bundle, source: Rc<dyn Source>, engine: EngineChoice) -> Result<Pipeline, Error> {
        let (engine, info) = Engine::choose(engine).await?;
        Ok(Pipeline {
            options: Options::of(&bundle),
            text: TextEncoder::default(),
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
        self.photo.as_ref()
    }

    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The proposals of the last run.
    pub fn proposals(&self) -> Option<&Proposals> {
        self.kept.proposals.as_ref()
    }

    /// Takes a new photo. On an error the old one stays.
    pub fn set_photo(&mut self, bytes: &[u8]) -> Result<&Photo, Error> {
        let photo = Photo::decode(bytes)?;
        self.forget_photo_results();
        Ok(self.photo.insert(photo))
    }

    /// Takes new names. On an error the old ones stay.
    pub fn set_classes(&mut self, text: &str) -> Result<&[Class], Error> {
        let classes = parse_classes(text)?;
        if classes != self.classes {
            self.classes = classes;
            self.kept.vectors = None;
            self.kept.distractors = None;
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
            self.kept.crops = None;
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
        watch.stage(Stage::Segmenter, self.kept.proposals.is_some()).await?;
        if self.kept.proposals.is_none() {
            self.run_segmenter().await?;
        }
        watch.done().await?;
        watch.stage(Stage::Text, self.kept.vectors.is_some()).await?;
        if self.kept.vectors.is_none() {
            self.run_text().await?;
        }
        watch.done().await?;
        let crops_wanted = self.options.ensembling != Ensembling::Query && self.options.lambda > 0.0;
        watch.stage(Stage::Crops, self.kept.crops.is_some() || !crops_wanted).await?;
        self.find_segments()?;
        if crops_wanted && self.kept.crops.is_none() {
            self.run_crops(&mut watch).await?;
        }
        watch.done().await?;
        watch.stage(Stage::Classify, false).await?;
        let scores = self.classify(crops_wanted)?;
        watch.done().await?;
        watch.stage(Stage::Compose, false).await?;
        let map = self.compose(&scores)?;
        watch.done().await?;
        Ok(self.result(map, scores, stages))
    }

    fn forget_photo_results(&mut self) {
        self.kept.resized = None;
        self.kept.proposals = None;
        self.kept.segments = None;
        self.kept.crops = None;
    }

    /// Whether graphs have to make room for each other.
    fn lean(&self) -> bool {
        let bytes: u64 = self.bundle.files.values().map(|file| file.bytes).sum();
        bytes > LEAN_ABOVE_BYTES
    }

    async fn run_segmenter(&mut self) -> Result<(), Error> {
        let pixels = &self.bundle.pixels;
        let photo = self.photo.as_ref().ok_or(Error::NoPhoto)?;
        let resized = photo.resize(pixels.resolutions[&self.options.resolution]);
        let input = resized.normalise(pixels.mean, pixels.std, pixels.stride);
        if self.segmenter.is_none() {
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
        let outputs = run_named(graph, &inputs, ["mask_logits", "segment_embeddings", "background_logits"])
            .await
            .map_err(|error| in_graph(&self.bundle.segmenter.graph, error))?;
        self.kept.proposals = Some(Proposals::new(
            outputs,
            self.bundle.segmenter.mask_stride,
            (resized.width, resized.height),
            self.bundle.segmenter.queries,
            self.bundle.embedding,
        )?);
        self.kept.resized = Some(resized);
        if self.lean() {
            self.segmenter = None;
        }
        Ok(())
    }

    async fn run_text(&mut self) -> Result<(), Error> {
        let vectors = self.text.embed(&self.classes, &self.bundle, &*self.source, &self.engine).await?;
        let mut distractors = ClassVectors::default();
        if let Some(other) = &self.bundle.other {
            let names: Vec<Class> = other
                .distractors
                .iter()
                .filter(|name| !self.classes.iter().any(|class| class.has_name(name)))
                .map(|name| Class::plain(name))
                .collect();
            let all = self.text.embed(&names, &self.bundle, &*self.source, &self.engine).await?;
            // A distractor that means the same as a typed class would take its pixels away.
            let near = |row: &[f32]| vectors.query.iter().any(|typed| dot(typed, row) > other.near);
            for (query, image) in all.query.into_iter().zip(all.image) {
                if !near(&query) {
                    distractors.query.push(query);
                    distractors.image.push(image);
                }
            }
        }
        if self.lean() {
            self.text.free_graph();
        }
        self.kept.vectors = Some(vectors);
        self.kept.distractors = Some(distractors);
        Ok(())
    }

    /// Chooses the segments to name and measures them at the photo's size.
    fn find_segments(&mut self) -> Result<(), Error> {
        if self.kept.segments.is_some() {
            return Ok(());
        }
        let photo = self.photo.as_ref().ok_or(Error::NoPhoto)?;
        let proposals = self.kept.proposals.as_ref().ok_or(Error::NoPhoto)?;
        let queries = match self.options.mode {
            Mode::Official => (0..proposals.count()).collect(),
            Mode::Lite => proposals.owners(MOST_SEGMENTS),
        };
        let segments = queries
            .into_iter()
            .map(|query| shape(query, &proposals.covers(query, photo.width(), photo.height()), photo.width()))
            .collect();
        self.kept.segments = Some(segments);
        Ok(())
    }

    async fn run_crops(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        let (Some(resized), Some(proposals), Some(segments)) =
            (&self.kept.resized, &self.kept.proposals, &self.kept.segments)
        else {
            return Err(Error::NoPhoto);
        };
        let branch = &self.bundle.image;
        let pixels = resized.normalise(branch.mean, branch.std, self.bundle.pixels.stride);
        if self.image.is_none() {
            self.image = Some(load_graph(&self.engine, &self.bundle, &*self.source, &branch.graph).await?);
        }
        let graph = self.image.as_deref_mut().ok_or(Error::NoPhoto)?;
        let queries: Vec<usize> = segments.iter().map(|segment| segment.query).collect();
        let mut rows = Vec::with_capacity(queries.len() * self.bundle.embedding);
        for (at, batch) in queries.chunks(branch.batch).enumerate() {
            watch.progress(at * branch.batch, queries.len()).await?;
            let mut crops = masked_crops(proposals, batch, &pixels, branch.crop);
            if self.info.kind == EngineKind::WebGpu {
                // One batch size, so that shaders are compiled once.
                crops = padded_batch(crops, branch.batch)?;
            }
            let [embeddings] = run_named(graph, &[("crops", &crops)], ["crop_embeddings"])
                .await
                .map_err(|error| in_graph(&branch.graph, error))?;
            if embeddings.shape() != [crops.shape()[0], self.bundle.embedding] {
                return Err(in_graph(
                    &branch.graph,
                    EngineError::Shape(format!("crop_embeddings came as {:?}", embeddings.shape())),
                ));
            }
            rows.extend_from_slice(&embeddings.data()[..batch.len() * self.bundle.embedding]);
        }
        self.kept.crops = Some(Tensor::new([queries.len(), self.bundle.embedding], rows)?);
        if self.lean() {
            self.image = None;
        }
        Ok(())
    }

    fn seen(&self) -> Vec<bool> {
        self.classes.iter().map(|class| self.bundle.classify.seen.iter().any(|name| class.has_name(name))).collect()
    }

    fn classify(&self, crops_wanted: bool) -> Result<Vec<SegmentScores>, Error> {
        let (Some(proposals), Some(segments), Some(vectors), Some(distractors)) =
            (&self.kept.proposals, &self.kept.segments, &self.kept.vectors, &self.kept.distractors)
        else {
            return Err(Error::NoPhoto);
        };
        let crops = self.kept.crops.as_ref().filter(|_| crops_wanted);
        let width = self.bundle.embedding;
        let views: Vec<SegmentView> = segments
            .iter()
            .enumerate()
            .map(|(at, segment)| SegmentView {
                query: segment.query,
                embedding: proposals.embedding(segment.query),
                background_logit: proposals.background_logits.data()[segment.query],
                crop: crops.map(|crops| &crops.data()[at * width..(at + 1) * width]),
            })
            .collect();
        let none = ClassVectors::default();
        let distractors = if self.options.distractors { distractors } else { &none };
        let options = ClassifyOptions {
            temperature: self.options.temperature,
            lambda: self.options.lambda,
            ensembling: self.options.ensembling,
            seen: self.seen(),
        };
        Ok(classify(&views, vectors, distractors, &options))
    }

    fn compose(&self, scores: &[SegmentScores]) -> Result<LabelMap, Error> {
        let photo = self.photo.as_ref().ok_or(Error::NoPhoto)?;
        let proposals = self.kept.proposals.as_ref().ok_or(Error::NoPhoto)?;
        let options = ComposeOptions {
            mode: self.options.mode,
            gamma: self.options.gamma,
            seen: self.seen(),
            threshold: self.options.threshold,
        };
        let size = (photo.width(), photo.height());
        Ok(compose(proposals, scores, self.classes.len(), size, &options))
    }

    fn result(&self, map: LabelMap, scores: Vec<SegmentScores>, stages: Vec<(Stage, f64)>) -> Segmentation {
        let mut counts = [0usize; 256];
        for &label in &map.labels {
            counts[label as usize] += 1;
        }
        let share = |label: usize| counts[label] as f32 / map.labels.len() as f32;
        let classes = self
            .classes
            .iter()
            .enumerate()
            .map(|(at, class)| ClassResult { name: class.name.clone(), share: share(at) })
            .collect();
        let segments = self.kept.segments.iter().flatten().zip(scores);
        Segmentation {
            classes,
            other: share(OTHER as usize),
            segments: segments.map(|(&shape, scores)| Segment { shape, class: best_class(&scores), scores }).collect(),
            map,
            stages,
        }
    }
}

/// The typed class with the best fused score, unless a distractor beats it.
fn best_class(scores: &SegmentScores) -> Option<usize> {
    let (best, score) = scores.fused.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let beaten = scores.distractors.iter().any(|other| other > score);
    (!beaten).then_some(best)
}

fn shape(query: usize, covers: &[bool], width: usize) -> Shape {
    let mut shape = Shape { query, area: 0, bounds: [usize::MAX, usize::MAX, 0, 0] };
    for (y, row) in covers.chunks_exact(width).enumerate() {
        for (x, _) in row.iter().enumerate().filter(|&(_, &covered)| covered) {
            let [x0, y0, x1, y1] = shape.bounds;
            shape.bounds = [x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1)];
            shape.area += 1;
        }
    }
    if shape.area == 0 {
        shape.bounds = [0; 4];
    }
    shape
}

fn padded_batch(crops: Tensor, batch: usize) -> Result<Tensor, EngineError> {
    let mut shape = crops.shape().to_vec();
    let mut data = crops.into_data();
    shape[0] = batch;
    data.resize(shape.iter().product(), 0.0);
    Tensor::new(shape, data)
}

/// Reads a graph and its side files, checks them, widens the weights and hands them to the engine.
pub(crate) async fn load_graph(
    engine: &Engine,
    bundle: &Bundle,
    source: &dyn Source,
    file: &str,
) -> Result<Box<dyn Graph>, Error> {
    let bytes = bundle.read(source, file).await?;
    let (model, sides) = weights::parse(&bytes).map_err(|error| in_graph(file, error))?;
    drop(bytes);
    let mut files = HashMap::new();
    for side in sides {
        let bytes = bundle.read(source, &side).await?;
        files.insert(side, bytes);
    }
    let model = weights::widen(model, &files).map_err(|error| in_graph(file, error))?;
    drop(files);
    engine.load(model).map_err(|error| in_graph(file, error))
}

fn in_graph(file: &str, error: EngineError) -> Error {
    match error {
        EngineError::Cancelled => Error::Cancelled,
        lost @ EngineError::DeviceLost(_) => Error::Engine(lost),
        error => Error::Graph { file: file.to_string(), error },
    }
}

/// Tells the observer of a stage and measures it.
struct Watch<'a> {
    observer: &'a mut dyn Observer,
    stages: &'a mut Vec<(Stage, f64)>,
    current: Option<(Stage, Instant, bool)>,
}

impl<'a> Watch<'a> {
    fn new(observer: &'a mut dyn Observer, stages: &'a mut Vec<(Stage, f64)>) -> Watch<'a> {
        Watch { observer, stages, current: None }
    }

    async fn tell(&mut self, event: Event) -> Result<(), Error> {
        if self.observer.on(event).await {
            return Ok(());
        }
        Err(Error::Cancelled)
    }

    async fn stage(&mut self, stage: Stage, cached: bool) -> Result<(), Error> {
        if !cached {
            self.tell(Event::Start(stage)).await?;
        }
        self.current = Some((stage, Instant::now(), cached));
        Ok(())
    }

    async fn progress(&mut self, done: usize, total: usize) -> Result<(), Error> {
        match self.current {
            Some((stage, ..)) => self.tell(Event::Progress { stage, done, total }).await,
            None => Ok(()),
        }
    }

    async fn done(&mut self) -> Result<(), Error> {
        let Some((stage, start, cached)) = self.current.take() else {
            return Ok(());
        };
        let ms = if cached { 0.0 } else { start.elapsed().as_secs_f64() * 1e3 };
        self.stages.push((stage, ms));
        self.tell(Event::Done { stage, ms, cached }).await
    }
}
