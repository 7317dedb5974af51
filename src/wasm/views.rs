//! What the page is told, as plain objects (`www/protocol.js` has the same types).

use js_sys::{Reflect, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::options::OptionsView;
use crate::bundle::Mode;
use crate::pipeline::{Event, Segment, Segmentation, Stage};

pub fn to_js(value: &impl Serialize) -> Result<JsValue, JsError> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(|error| JsError::new(&error.to_string()))
}

/// A result with its labels and their certainty, a byte a pixel each.
pub fn result_to_js(result: &Segmentation, serial: u32) -> Result<JsValue, JsError> {
    let view = to_js(&ResultView::of(result, serial))?;
    for (name, bytes) in [("labels", &result.map.labels), ("confidence", &result.map.confidence)] {
        Reflect::set(&view, &name.into(), &Uint8Array::from(bytes.as_slice()))
            .map_err(|_| JsError::new("the result could not be handed over"))?;
    }
    Ok(view)
}

#[derive(Serialize)]
pub struct EngineView<'a> {
    pub kind: &'a str,
    pub adapter: &'a str,
    pub reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleView<'a> {
    pub name: &'a str,
    pub description: &'a str,
    pub licence: &'a str,
    pub source: &'a str,
    pub mode: Mode,
    pub modes: Vec<Mode>,
    pub queries: usize,
    pub resolutions: Vec<&'a String>,
    pub default_resolution: &'a str,
    pub lambda: f32,
    pub threshold: f32,
}

#[derive(Serialize)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

#[derive(Serialize)]
pub struct ClassView<'a> {
    pub name: &'a str,
    pub synonyms: &'a [String],
}

#[derive(Serialize)]
pub struct EventView {
    pub stage: &'static str,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    pub cached: bool,
}

impl EventView {
    pub fn of(event: Event) -> EventView {
        let view = |stage: Stage, state| EventView {
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
pub struct ResultView<'a> {
    pub serial: u32,
    pub width: usize,
    pub height: usize,
    pub photo_width: usize,
    pub photo_height: usize,
    pub options: OptionsView<'a>,
    pub classes: Vec<ShareView<'a>>,
    pub other: f32,
    pub other_as: &'a [String],
    pub segments: Vec<SegmentView<'a>>,
    pub image_has_a_say: bool,
    pub ms: f64,
    pub stages: std::collections::BTreeMap<&'static str, f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareView<'a> {
    pub name: &'a str,
    pub same_as: Option<&'a str>,
    pub about: Option<&'a str>,
    pub kinds: &'a [String],
    pub found_as: &'a [String],
    pub seen: Option<bool>,
    pub share: f32,
}

#[derive(Serialize)]
pub struct SegmentView<'a> {
    pub query: usize,
    pub area: usize,
    #[serde(rename = "box")]
    pub bounds: [usize; 4],
    pub class: Option<usize>,
    pub scores: Vec<ScoreView<'a>>,
}

#[derive(Serialize)]
pub struct ScoreView<'a> {
    pub name: &'a str,
    pub query: f32,
    pub image: Option<f32>,
    pub fused: f32,
}

impl<'a> ResultView<'a> {
    pub fn of(result: &'a Segmentation, serial: u32) -> ResultView<'a> {
        let (photo_width, photo_height) = result.photo.original();
        let segment = |segment: &'a Segment| {
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
