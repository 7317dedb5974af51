//! What a run leaves behind: pictures, masks and documents, all made of a label map (row-major bytes, class index in typed
//! order, 255 = other) and of plain numbers. Only [`export`] knows the pipeline's results.

pub mod coco;
mod error;
pub mod export;
pub mod geojson;
pub mod json;
pub mod palette;
pub mod png;
pub mod rle;
pub mod scale;
pub mod trace;

pub use error::ReportError;
pub use export::{Kind, cutout, write};
