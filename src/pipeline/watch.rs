//! What a run tells while it works, and how it is called off.

use async_trait::async_trait;
use web_time::Instant;

use super::{Error, Segmentation};
use crate::engine::Listener;

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

    /// Whether to hear what the query branch says alone, before the image branch looks. That has `batches` (1 or more) to run,
    /// and `is_loaded` tells whether its graph is in memory.
    fn wants_preview(&self, _is_loaded: bool, _batches: usize) -> bool {
        false
    }

    /// A result of the present run by the query branch alone, as its options say. Returns false to cancel.
    async fn preview(&mut self, _result: Segmentation) -> bool {
        true
    }
}

/// An observer that hears nothing and cancels nothing.
pub struct Unobserved;

#[async_trait(?Send)]
impl Observer for Unobserved {
    async fn on(&mut self, _event: Event) -> bool {
        true
    }
}

/// Tells the observer of a stage and measures it.
pub(crate) struct Watch<'a> {
    observer: &'a mut dyn Observer,
    stages: &'a mut Vec<(Stage, f64)>,
    current: Option<(Stage, Instant, bool)>,
    /// What was told last.
    told: Option<Event>,
}

impl<'a> Watch<'a> {
    pub fn new(observer: &'a mut dyn Observer, stages: &'a mut Vec<(Stage, f64)>) -> Watch<'a> {
        Watch { observer, stages, current: None, told: None }
    }

    async fn tell(&mut self, event: Event) -> Result<(), Error> {
        self.told = Some(event);
        if self.observer.on(event).await {
            return Ok(());
        }
        Err(Error::Cancelled)
    }

    pub async fn stage(&mut self, stage: Stage, cached: bool) -> Result<(), Error> {
        if !cached {
            self.tell(Event::Start(stage)).await?;
        }
        self.current = Some((stage, Instant::now(), cached));
        Ok(())
    }

    pub async fn progress(&mut self, done: usize, total: usize) -> Result<(), Error> {
        match self.current {
            Some((stage, ..)) => self.tell(Event::Progress { stage, done, total }).await,
            None => Ok(()),
        }
    }

    pub fn wants_preview(&self, is_loaded: bool, batches: usize) -> bool {
        self.observer.wants_preview(is_loaded, batches)
    }

    pub async fn preview(&mut self, result: Segmentation) -> Result<(), Error> {
        let stages = self.stages.clone();
        if self.observer.preview(Segmentation { stages, ..result }).await {
            return Ok(());
        }
        Err(Error::Cancelled)
    }

    pub async fn done(&mut self) -> Result<(), Error> {
        let Some((stage, start, cached)) = self.current.take() else {
            return Ok(());
        };
        let ms = if cached { 0.0 } else { start.elapsed().as_secs_f64() * 1e3 };
        self.stages.push((stage, ms));
        self.tell(Event::Done { stage, ms, cached }).await
    }
}

/// Between two parts of a graph the observer is told once more what it was told last, and may end the run there too.
#[async_trait(?Send)]
impl Listener for Watch<'_> {
    async fn on(&mut self, _done: f32) -> bool {
        match self.told {
            Some(event) => self.observer.on(event).await,
            None => true,
        }
    }
}
