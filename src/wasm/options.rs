//! The page's names for the options, both ways.

use serde::{Deserialize, Serialize};

use crate::bundle::{Ensembling, Mode};
use crate::pipeline::Options;

/// Any part of the options.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionsChange {
    resolution: Option<String>,
    mode: Option<Mode>,
    lambda: Option<f32>,
    gamma: Option<f32>,
    margin: Option<f32>,
    threshold: Option<f32>,
    temperature: Option<f32>,
    branch: Option<Branch>,
    distractors: Option<bool>,
}

/// All options; given back as an [`OptionsChange`], they are those of the result again.
#[derive(Serialize)]
pub struct OptionsView<'a> {
    resolution: &'a str,
    mode: Mode,
    lambda: f32,
    gamma: f32,
    margin: f32,
    threshold: f32,
    temperature: f32,
    branch: Branch,
    distractors: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Branch {
    Fused,
    Query,
    Image,
}

impl OptionsChange {
    /// Writes what is to change over `options`; `fused` is how the bundle fuses both branches.
    pub fn apply(self, options: &mut Options, fused: Ensembling) {
        if let Some(resolution) = self.resolution {
            options.resolution = resolution;
        }
        options.mode = self.mode.unwrap_or(options.mode);
        for (target, value) in [
            (&mut options.lambda, self.lambda),
            (&mut options.gamma, self.gamma),
            (&mut options.margin, self.margin),
            (&mut options.threshold, self.threshold),
            (&mut options.temperature, self.temperature),
        ] {
            *target = value.unwrap_or(*target);
        }
        options.distractors = self.distractors.unwrap_or(options.distractors);
        options.ensembling = match self.branch {
            None => options.ensembling,
            Some(Branch::Fused) => fused,
            Some(Branch::Query) => Ensembling::Query,
            Some(Branch::Image) => Ensembling::Image,
        };
    }
}

impl<'a> OptionsView<'a> {
    pub fn of(options: &'a Options) -> OptionsView<'a> {
        OptionsView {
            resolution: &options.resolution,
            mode: options.mode,
            lambda: options.lambda,
            gamma: options.gamma,
            margin: options.margin,
            threshold: options.threshold,
            temperature: options.temperature,
            branch: match options.ensembling {
                Ensembling::Query => Branch::Query,
                Ensembling::Image => Branch::Image,
                Ensembling::All | Ensembling::Split | Ensembling::Grouped => Branch::Fused,
            },
            distractors: options.distractors,
        }
    }
}
