//! The page's door to the crate: the only place that knows JavaScript types.

mod graph;
mod options;
mod panics;
mod threads;

use std::rc::Rc;

use async_trait::async_trait;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::bundle::{Bundle, BundleError, Mode, Source};
use crate::engine::EngineChoice;
use crate::photo::Photo;
use crate::pipeline::{Error, Event, Observer, Pipeline, Segmentation};
use crate::report::{self, png::View};
pub use graph::{OnnxGraph, widen_weights};
use options::{OptionsChange, OptionsView};
pub use threads::{run_thread, start_threads};

/// A model, a photo, names, and the last result.
#[wasm_bindgen]
pub struct Zegformer {
    pipeline: Pipeline,
    observer: JsObserver,
    /// With the number that the page gave it.
    result: Option<(u32, Segmentation)>,
}

#[wasm_bindgen]
impl Zegformer {
    /// Chooses the engine (`auto`, `webgpu` or `cpu`) and keeps the callbacks; no file is fetched yet.
    ///
    /// `fetch_file(name)` resolves to a file's bytes as a `Uint8Array`. `on_event(event)` hears of each step; if it gives
    /// `false`, or a promise of it, the run ends with an error.
    pub async fn load(
        bundle: String,
        engine: String,
        fetch_file: Function,
        on_event: Function,
    ) -> Result<Zegformer, JsError> {
        let choice: EngineChoice = engine.parse().map_err(Error::from)?;
        let bundle = Bundle::parse(&bundle)?;
        let source = Rc::new(JsSource(fetch_file));
        let pipeline = Pipeline::new(bundle, source, choice).await?;
        Ok(Zegformer { pipeline, observer: JsObserver(on_event), result: None })
    }

    /// `{kind, adapter, reason}`.
    #[wasm_bindgen(getter)]
    pub fn engine(&self) -> Result<JsValue, JsError> {
        let info = self.pipeline.engine();
        to_js(&EngineView { kind: info.kind.name(), adapter: &info.adapter, reason: &info.reason })
    }

    /// `{name, description, licence, source, mode, modes, queries, resolutions, defaultResolution, lambda, threshold}`.
    #[wasm_bindgen(getter)]
    pub fn bundle(&self) -> Result<JsValue, JsError> {
        let bundle = self.pipeline.bundle();
        to_js(&BundleView {
            name: &bundle.name,
            description: &bundle.description,
            licence: &bundle.licence,
            source: &bundle.source,
            mode: bundle.mode,
            modes: bundle.modes(),
            queries: bundle.segmenter.queries,
            resolutions: bundle.pixels.resolutions.keys().collect(),
            default_resolution: &bundle.pixels.default,
            lambda: bundle.classify.lambda,
            threshold: self.pipeline.options().threshold,
        })
    }

    /// Decodes a photo; `{width, height}`.
    #[wasm_bindgen(js_name = setPhoto)]
    pub fn set_photo(&mut self, bytes: &[u8]) -> Result<JsValue, JsError> {
        self.take_photo(Photo::decode(bytes)?)
    }

    /// Takes a photo that the browser decoded, `width * height * 4` RGBA bytes; `{width, height}`.
    #[wasm_bindgen(js_name = setPixels)]
    pub fn set_pixels(&mut self, width: usize, height: usize, rgba: Vec<u8>) -> Result<JsValue, JsError> {
        self.take_photo(Photo::from_rgba(width, height, rgba)?)
    }

    /// Parses names; a list of `{name, synonyms}`.
    #[wasm_bindgen(js_name = setClasses)]
    pub fn set_classes(&mut self, text: &str) -> Result<JsValue, JsError> {
        let classes = self.pipeline.set_classes(text)?;
        let views: Vec<ClassView> =
            classes.iter().map(|class| ClassView { name: &class.name, synonyms: &class.synonyms }).collect();
        to_js(&views)
    }

    /// Takes any part of `{resolution, mode, lambda, gamma, margin, threshold, temperature, branch, distractors}`; `branch` is
    /// `fused`, `query` or `image`.
    #[wasm_bindgen(js_name = setOptions)]
    pub fn set_options(&mut self, options: JsValue) -> Result<(), JsError> {
        let change: OptionsChange = serde_wasm_bindgen::from_value(options)
            .map_err(|error| JsError::new(&format!("these options are not understood: {error}")))?;
        let mut options = self.pipeline.options().clone();
        change.apply(&mut options, self.pipeline.bundle().classify.ensembling);
        Ok(self.pipeline.set_options(options)?)
    }

    /// Runs the stages whose inputs changed. The result is known by `serial` from then on.
    pub async fn segment(&mut self, serial: u32) -> Result<JsValue, JsError> {
        let result = self.pipeline.segment(&mut self.observer).await?;
        let view = to_js(&ResultView::of(&result, serial))?;
        for (name, bytes) in [("labels", &result.map.labels), ("confidence", &result.map.confidence)] {
            Reflect::set(&view, &name.into(), &Uint8Array::from(bytes.as_slice()))
                .map_err(|_| JsError::new("the result could not be handed over"))?;
        }
        self.result = Some((serial, result));
        Ok(view)
    }

    /// The photo, `width * height * 4` RGBA bytes; empty without a photo.
    pub fn pixels(&self) -> Vec<u8> {
        self.pipeline.photo().map(|photo| photo.rgba().to_vec()).unwrap_or_default()
    }

    /// The result `serial` as a file: `labels.png`, `overlay.png`, `json`, `coco` or `geojson`. Documents call the photo
    /// `file`; an overlay is painted with `opacity` (0 to 1) and without the labels in `hidden`.
    pub fn export(&self, serial: u32, kind: &str, file: &str, opacity: f32, hidden: &[u8]) -> Result<Vec<u8>, JsError> {
        Ok(report::write(kind.parse()?, self.result(serial)?, file, &View { opacity, hidden })?)
    }

    /// The photo of the result `serial` with everything but one class transparent, as PNG.
    pub fn cutout(&self, serial: u32, class: usize) -> Result<Vec<u8>, JsError> {
        Ok(report::cutout(self.result(serial)?, class)?)
    }
}

impl Zegformer {
    fn take_photo(&mut self, photo: Photo) -> Result<JsValue, JsError> {
        let photo = self.pipeline.take_photo(photo);
        let size = Size { width: photo.width(), height: photo.height() };
        self.result = None;
        to_js(&size)
    }

    /// What the page shows, which is not always the last result. `www/protocol.js` knows the error's sentence.
    fn result(&self, serial: u32) -> Result<&Segmentation, JsError> {
        let shown = self.result.as_ref().filter(|(last, _)| *last == serial);
        shown
            .map(|(_, result)| result)
            .ok_or_else(|| JsError::new("this result is not the last one any more; save again"))
    }
}

/// `n * 3` bytes: the colours of the first `n` classes.
#[wasm_bindgen]
pub fn palette(n: usize) -> Vec<u8> {
    (0..n.min(255)).flat_map(|class| report::palette::colour(class as u8)).collect()
}

struct JsSource(Function);

#[async_trait(?Send)]
impl Source for JsSource {
    async fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let failed = |error: JsValue| {
            let message = Reflect::get(&error, &"message".into()).ok().and_then(|message| message.as_string());
            let reason = message.or_else(|| error.as_string()).unwrap_or_else(|| "unknown error".to_string());
            BundleError::Read { file: name.to_string(), reason }
        };
        let answer = self.0.call1(&JsValue::NULL, &name.into()).map_err(failed)?;
        let bytes = JsFuture::from(Promise::resolve(&answer)).await.map_err(failed)?;
        let bytes: Uint8Array = bytes.dyn_into().map_err(|_| failed("no bytes came".into()))?;
        Ok(bytes.to_vec())
    }
}

struct JsObserver(Function);

#[async_trait(?Send)]
impl Observer for JsObserver {
    async fn on(&mut self, event: Event) -> bool {
        let Ok(view) = to_js(&EventView::of(event)) else { return true };
        // A callback that throws has no say in the run; its error is the page's to report.
        let Ok(answer) = self.0.call1(&JsValue::NULL, &view) else { return true };
        let answer = match answer.dyn_into::<Promise>() {
            Ok(promise) => JsFuture::from(promise).await.unwrap_or(JsValue::UNDEFINED),
            Err(answer) => answer,
        };
        answer.as_bool() != Some(false)
    }
}

fn to_js(value: &impl Serialize) -> Result<JsValue, JsError> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(|error| JsError::new(&error.to_string()))
}

#[derive(Serialize)]
struct EngineView<'a> {
    kind: &'a str,
    adapter: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundleView<'a> {
    name: &'a str,
    description: &'a str,
    licence: &'a str,
    source: &'a str,
    mode: Mode,
    modes: Vec<Mode>,
    queries: usize,
    resolutions: Vec<&'a String>,
    default_resolution: &'a str,
    lambda: f32,
    threshold: f32,
}

#[derive(Serialize)]
struct Size {
    width: usize,
    height: usize,
}

#[derive(Serialize)]
struct ClassView<'a> {
    name: &'a str,
    synonyms: &'a [String],
}

#[derive(Serialize)]
struct EventView {
    stage: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    cached: bool,
}

impl EventView {
    fn of(event: Event) -> EventView {
        let view = |stage: crate::pipeline::Stage, state| EventView {
            stage: stage.name(),
            state,
            done: None,
            total: None,
            ms: None,
            cached: false,
        };
        match event {
            Event::Start(stage) => view(stage, "start"),
            Event::Progress { stage, done, total } => {
                EventView { done: Some(done), total: Some(total), ..view(stage, "progress") }
            }
            Event::Done { stage, ms, cached } => EventView { ms: Some(ms), cached, ..view(stage, "done") },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultView<'a> {
    serial: u32,
    width: usize,
    height: usize,
    photo_width: usize,
    photo_height: usize,
    options: OptionsView<'a>,
    classes: Vec<ShareView<'a>>,
    other: f32,
    other_as: &'a [String],
    segments: Vec<SegmentView<'a>>,
    image_has_a_say: bool,
    ms: f64,
    stages: std::collections::BTreeMap<&'static str, f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShareView<'a> {
    name: &'a str,
    same_as: Option<&'a str>,
    about: Option<&'a str>,
    kinds: &'a [String],
    found_as: &'a [String],
    seen: Option<bool>,
    share: f32,
}

#[derive(Serialize)]
struct SegmentView<'a> {
    query: usize,
    area: usize,
    #[serde(rename = "box")]
    bounds: [usize; 4],
    class: Option<usize>,
    scores: Vec<ScoreView<'a>>,
}

#[derive(Serialize)]
struct ScoreView<'a> {
    name: &'a str,
    query: f32,
    image: Option<f32>,
    fused: f32,
}

impl<'a> ResultView<'a> {
    fn of(result: &'a Segmentation, serial: u32) -> ResultView<'a> {
        let (photo_width, photo_height) = result.photo.original();
        let segment = |segment: &'a crate::pipeline::Segment| {
            let scores = &segment.scores;
            SegmentView {
                query: segment.shape.query,
                area: segment.shape.area,
                bounds: segment.shape.bounds,
                class: segment.class,
                scores: (0..result.classes.len())
                    .map(|class| ScoreView {
                        name: &result.classes[class].name,
                        query: scores.by_query[class],
                        image: scores.by_image.as_ref().map(|image| image[class]),
                        fused: scores.fused[class],
                    })
                    .collect(),
            }
        };
        ResultView {
            serial,
            width: result.map.width,
            height: result.map.height,
            photo_width,
            photo_height,
            options: OptionsView::of(&result.options),
            classes: result
                .classes
                .iter()
                .map(|c| ShareView {
                    name: &c.name,
                    same_as: c.same_as.as_deref(),
                    about: c.about.as_deref(),
                    kinds: &c.kinds,
                    found_as: &c.found_as,
                    seen: c.seen,
                    share: c.share,
                })
                .collect(),
            other: result.other,
            other_as: &result.other_as,
            segments: result.segments.iter().map(segment).collect(),
            image_has_a_say: result.image_has_a_say,
            ms: result.stages.iter().map(|(_, ms)| ms).sum(),
            stages: result.stages.iter().map(|(stage, ms)| (stage.name(), *ms)).collect(),
        }
    }
}
