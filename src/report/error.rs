//! What can go wrong when results are written.

/// An error of a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The label map, the photo or a mask has not one value per pixel: a mistake of the calling code.
    #[error("{what} has {found} bytes, but {width} x {height} pixels need {wanted}")]
    Size {
        /// What has the wrong size.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The size it should have.
        wanted: usize,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },

    /// The PNG encoder gave up.
    #[error("the PNG could not be written: {0}")]
    Png(#[from] ::png::EncodingError),

    /// A document could not be written as JSON.
    #[error("the JSON could not be written: {0}")]
    Json(#[from] serde_json::Error),

    /// No such document exists.
    #[error("\"{0}\" cannot be saved; possible are labels.png, overlay.png, json, coco and geojson")]
    UnknownKind(String),

    /// The result has fewer classes.
    #[error("the result has no class number {0}")]
    NoClass(usize),
}

/// Checks that `what` holds `per_pixel` bytes for every pixel of a picture that has any.
pub(super) fn check_size(
    what: &'static str,
    found: usize,
    per_pixel: usize,
    width: usize,
    height: usize,
) -> Result<(), ReportError> {
    let wanted = width.saturating_mul(height).saturating_mul(per_pixel);
    if found == wanted && wanted > 0 && width.max(height) <= u32::MAX as usize {
        return Ok(());
    }
    Err(ReportError::Size { what, found, wanted, width, height })
}
