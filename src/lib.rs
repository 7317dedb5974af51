//! Zero-shot semantic segmentation: class-agnostic segments first, then names for the segments (ZegFormer, CVPR 2022).
//!
//! The way of the data, one module a stage:
//!
//! 1. [`photo`] decodes an upload and makes pixels of it;
//! 2. the segmenter graph, run by an [`engine`], groups them into [`segment::Proposals`];
//! 3. [`text`] turns typed names into vectors;
//! 4. [`segment::crops`] cuts the proposals out for the image branch;
//! 5. [`classify`] scores segments against names, [`compose`] makes a label map of the scores;
//! 6. [`report`] writes it as PNG, COCO RLE, GeoJSON.
//!
//! [`pipeline`] runs the stages in order and keeps each result, [`bundle`] is what a model folder declares.

pub mod bundle;
pub mod classify;
pub mod compose;
pub mod engine;
pub mod photo;
pub mod pipeline;
pub mod report;
pub mod segment;
pub mod text;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
