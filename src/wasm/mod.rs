//! The page's door to the crate: the only place that knows JavaScript types.

mod graph;
mod observer;
mod options;
mod panics;
mod threads;
mod views;

use std::rc::Rc;

use async_trait::async_trait;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::bundle::{Bundle, BundleError, Source};
use crate::engine::EngineChoice;
use crate::photo::Photo;
use crate::pipeline::{Error, Pipeline, Segmentation};
use crate::report::{self, png::View};
pub use graph::{OnnxGraph, widen_weights};
use observer::{Run, Shown};
use options::OptionsChange;
pub use threads::{run_thread, start_threads};
use views::{BundleView, ClassView, EngineView, Size, result_to_js, to_js};

/// A model, a photo, names, and the last result.
#[wasm_bindgen]
pub struct Zegformer {
    pipeline: Pipeline,
    on_event: Function,
    result: Shown,
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
        Ok(Zegformer { pipeline, on_event, result: None })
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
    ///
    /// `on_preview(result)`, if given, is called where the image branch has much to do yet: before several batches of crops,
    /// and, with `fetches`, before its graph is read. That result is the query branch's alone, as its options say, and is known
    /// by `serial` until this one is there.
    pub async fn segment(
        &mut self,
        serial: u32,
        on_preview: Option<Function>,
        fetches: bool,
    ) -> Result<JsValue, JsError> {
        let mut run = Run { on_event: &self.on_event, on_preview, fetches, serial, shown: &mut self.result };
        let result = self.pipeline.segment(&mut run).await?;
        let view = result_to_js(&result, serial)?;
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
