//! What a user may change between runs.

use super::Error;
use super::image::no_one_pass;
use crate::bundle::{Bundle, Ensembling, Mode, Range};

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
    /// Subtracted from the cosines of seen classes.
    pub margin: f32,
    pub temperature: f32,
    /// Least confidence (0..1) of a labelled pixel.
    pub threshold: f32,
    /// Whether distractor names compete silently.
    pub distractors: bool,
}

impl Options {
    pub(super) fn of(bundle: &Bundle) -> Options {
        Options {
            resolution: bundle.pixels.default.clone(),
            mode: bundle.mode,
            ensembling: bundle.classify.ensembling,
            lambda: bundle.classify.lambda,
            gamma: bundle.classify.gamma,
            margin: bundle.classify.margin,
            temperature: bundle.classify.temperature,
            threshold: bundle.other.as_ref().map_or(0.0, |other| other.threshold),
            distractors: bundle.other.is_some(),
        }
    }

    pub(super) fn check(&self, bundle: &Bundle) -> Result<(), Error> {
        if !bundle.pixels.resolutions.contains_key(&self.resolution) {
            let known: Vec<&str> = bundle.pixels.resolutions.keys().map(String::as_str).collect();
            return Err(Error::Option(format!(
                "this model has no resolution \"{}\"; it has {}",
                self.resolution,
                known.join(", ")
            )));
        }
        if !bundle.modes().contains(&self.mode) {
            return Err(no_one_pass());
        }
        for (name, value, range) in [
            ("lambda", self.lambda, Range::Unit),
            ("threshold", self.threshold, Range::Unit),
            ("gamma", self.gamma, Range::Any),
            ("margin", self.margin, Range::Any),
            ("temperature", self.temperature, Range::Positive),
        ] {
            if !range.holds(value) {
                return Err(Error::Option(format!("{name} {}, not {value}", range.rule())));
            }
        }
        Ok(())
    }
}
