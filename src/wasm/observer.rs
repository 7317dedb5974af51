//! The page hears of a run, and may end it.

use async_trait::async_trait;
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::views::{EventView, result_to_js, to_js};
use crate::pipeline::{Event, Observer, Segmentation};

/// The result that the page has, with the number that it gave it.
pub type Shown = Option<(u32, Segmentation)>;

/// One run, as the page sees it.
pub struct Run<'a> {
    pub on_event: &'a Function,
    pub on_preview: Option<Function>,
    /// Whether a graph that is not in memory is far away.
    pub fetches: bool,
    pub serial: u32,
    pub shown: &'a mut Shown,
}

#[async_trait(?Send)]
impl Observer for Run<'_> {
    async fn on(&mut self, event: Event) -> bool {
        let Ok(view) = to_js(&EventView::of(event)) else { return true };
        // A callback that throws has no say in the run; its error is the page's to report.
        let Ok(answer) = self.on_event.call1(&JsValue::NULL, &view) else { return true };
        let answer = match answer.dyn_into::<Promise>() {
            Ok(promise) => JsFuture::from(promise).await.unwrap_or(JsValue::UNDEFINED),
            Err(answer) => answer,
        };
        answer.as_bool() != Some(false)
    }

    fn wants_preview(&self, is_loaded: bool, batches: usize) -> bool {
        self.on_preview.is_some() && (batches > 1 || self.fetches && !is_loaded)
    }

    async fn preview(&mut self, result: Segmentation) -> bool {
        if let (Some(on_preview), Ok(view)) = (&self.on_preview, result_to_js(&result, self.serial)) {
            *self.shown = Some((self.serial, result));
            let _ = on_preview.call1(&JsValue::NULL, &view);
        }
        true
    }
}
