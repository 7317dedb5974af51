//! What a model folder declares: `bundle.json`, format 1.
//!
//! The rest of the crate is driven by this file alone: a full ZegFormer and the small default model differ only in their
//! folders. Every other file is named here with its size and SHA-256, and is checked before it is used.

mod check;

pub(crate) use check::Range;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The only `format` this version reads.
pub const FORMAT: u32 = 1;
/// No single file of a bundle may be larger: static hosts refuse files over 100 MB.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// The most proposals (queries) of one segmenter.
const MAX_QUERIES: usize = 1024;

/// A parsed and validated `bundle.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub format: u32,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub licence: String,
    pub source: String,
    pub mode: Mode,
    /// Width D of the space that segments, crops and names share.
    pub embedding: usize,
    pub files: BTreeMap<String, FileEntry>,
    pub pixels: Pixels,
    pub segmenter: Segmenter,
    pub image: ImageBranch,
    pub text: TextBranch,
    pub templates: Templates,
    pub classify: Classify,
    #[serde(default)]
    pub other: Option<Other>,
    #[serde(default)]
    pub vocabulary: Option<VocabularyFiles>,
}

/// How a label map is made from proposals and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The paper's algorithm as its authors run it: every proposal is cropped and votes, every pixel gets a typed class, but
    /// for those that a threshold or distractors leave to "other" (the authors have neither).
    Official,
    /// The same with crops only of the proposals that matter: [`crate::segment::worth`].
    Fast,
    /// The same with one pass of the image branch over the whole photo in place of crops: [`crate::segment::onepass`].
    OnePass,
    /// Only the proposals that own the most pixels vote, and of these only the doubtful ones are cropped: at most 3 (the
    /// largest) as long as the query branch has a say (lambda < 1), else all.
    Lite,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    pub bytes: u64,
    /// Lower-case hexadecimal SHA-256.
    pub sha256: String,
}

/// Resizing and normalising for the segmenter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pixels {
    /// Mean and deviation of R, G, B in 0..255.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Sides are padded (right and bottom, zeros after normalising) to multiples of this.
    pub stride: usize,
    pub default: String,
    pub resolutions: BTreeMap<String, Resolution>,
}

/// Resize rule: the short side becomes `short`, unless the long side would pass `long`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    pub short: usize,
    pub long: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segmenter {
    pub graph: String,
    #[serde(default)]
    pub encoding: String,
    pub queries: usize,
    /// Pixels of the padded photo per cell of the mask grid.
    pub mask_stride: usize,
    #[serde(default)]
    pub position: Option<Position>,
}

/// The position encoding that the segmenter takes as its input `position`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    pub kind: PositionKind,
    pub channels: usize,
    pub temperature: f32,
    pub stride: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionKind {
    Sine,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageBranch {
    pub graph: String,
    #[serde(default)]
    pub encoding: String,
    /// Side of a square crop in pixels.
    pub crop: usize,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Crops encoded in one run.
    pub batch: usize,
    #[serde(default)]
    pub sampling: Sampling,
    #[serde(default)]
    pub one_pass: Option<OnePass>,
}

/// The graph of [`Mode::OnePass`]. It sees the whole photo, squashed to a square of `crop` pixels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnePass {
    pub graph: String,
    /// Patches along one side of the square.
    pub grid: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    #[default]
    RoiAlign,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextBranch {
    pub graph: String,
    #[serde(default)]
    pub encoding: String,
    pub tokenizer: String,
    /// The most tokens of a prompt, with its start and end tokens.
    pub context: usize,
    /// Width of a token vector.
    pub width: usize,
    pub table: TableFile,
    pub position: TableFile,
    pub attention: Attention,
    pub pooling: Pooling,
}

/// A matrix of `rows` x width vectors in a file of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFile {
    pub file: String,
    pub encoding: TableEncoding,
    pub rows: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableEncoding {
    /// `rows * width` i8, then `rows` little-endian f32 scales.
    Int8,
    /// `rows * width` little-endian f16.
    F16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    Bidirectional,
    Causal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over the prompt's tokens.
    Mean,
    /// The end token's vector.
    Eot,
}

/// Sentences with `{}` where the name goes, per branch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Templates {
    pub query: Vec<String>,
    pub image: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classify {
    /// Factor from cosine to logit.
    pub temperature: f32,
    /// Weight of the image branch, 0..1 (the paper's lambda, 2/3).
    pub lambda: f32,
    /// Subtracted from the scores of seen classes (the paper's gamma); 0 = off.
    pub gamma: f32,
    /// Subtracted from the cosines of seen classes, before the softmax; 0 = off.
    #[serde(default)]
    pub margin: f32,
    pub ensembling: Ensembling,
    /// Names that the segmenter was trained on.
    #[serde(default)]
    pub seen: Vec<String>,
    /// Names of which a masked crop shows little (sky, wall), for [`Ensembling::Grouped`].
    #[serde(default)]
    pub grouped: Vec<String>,
}

/// How the two branches are fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ensembling {
    /// Seen and unseen classes weigh the branches in opposite ways.
    Split,
    /// All classes as if unseen.
    All,
    /// All classes as if unseen, but for the image branch the grouped ones, the distractors and the background are one
    /// class, so that it never re-ranks them.
    Grouped,
    /// The image branch alone.
    Image,
    /// The query branch alone.
    Query,
}

/// When a pixel is none of the typed classes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// Least confidence (0..1) of a labelled pixel.
    pub threshold: f32,
    /// Names that compete silently; a pixel they win is "other".
    pub distractors: Vec<String>,
    /// A distractor whose cosine with a typed class is above this is left out.
    pub near: f32,
}

/// Ready vectors of common names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocabularyFiles {
    /// A JSON list of N names.
    pub names: String,
    /// N x D little-endian f16, unit rows, for the query branch.
    pub query: String,
    /// The same for the image branch; `null` where both share one set.
    #[serde(default)]
    pub image: Option<String>,
    /// How much of the vector of its head a phrase gets added to its own ("dog", for "a brown dog"); other forms of a name
    /// then count as that name. `null`: names are taken as they are typed.
    #[serde(default)]
    pub head: Option<f32>,
    /// Names and what lies directly below them ("animal": mammal, bird). A typed name is also looked for as those below it
    /// that the model knows (they are `classify.seen` or `other.distractors`), and distractors above or below it give way.
    #[serde(default)]
    pub kinds: BTreeMap<String, Vec<String>>,
    /// What the score of a kind counts for that is not one of `classify.seen`, 0..1.
    #[serde(default = "whole")]
    pub unseen_kinds: f32,
}

fn whole() -> f32 {
    1.0
}

/// Where the files of a bundle come from: a folder, or the page's origin.
#[async_trait(?Send)]
pub trait Source {
    /// The whole content of the file `name`. The caller checks size and hash.
    async fn read(&self, name: &str) -> Result<Vec<u8>, BundleError>;
}

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    #[error("bundle.json does not describe a model: {0}")]
    Parse(String),
    #[error("bundle.json, field {field}: {reason}")]
    Field { field: &'static str, reason: String },
    #[error("bundle.json names {0}, but does not list it under \"files\"")]
    Unlisted(String),
    #[error("{file} could not be read: {reason}")]
    Read { file: String, reason: String },
    #[error("{file} has {found} bytes, but bundle.json says {wanted}; download the model again")]
    Size { file: String, found: u64, wanted: u64 },
    #[error("{file} is damaged (its SHA-256 differs from bundle.json); download the model again")]
    Hash { file: String },
    #[error("{file}: {reason}")]
    Content { file: String, reason: String },
}

impl Bundle {
    /// Parses and validates the text of a `bundle.json`.
    ///
    /// # Errors
    /// An unknown or missing field, a value out of range, a file that is used but not listed: each names the field.
    pub fn parse(json: &str) -> Result<Bundle, BundleError> {
        let bundle: Bundle = serde_json::from_str(json).map_err(|error| BundleError::Parse(error.to_string()))?;
        bundle.validate()?;
        Ok(bundle)
    }

    /// The modes that this bundle has the graphs for.
    pub fn modes(&self) -> Vec<Mode> {
        let one_pass = self.image.one_pass.is_some().then_some(Mode::OnePass);
        [Mode::Official, Mode::Fast].into_iter().chain(one_pass).chain([Mode::Lite]).collect()
    }

    /// Reads the file `name` and checks it against the declared size and hash.
    pub async fn read(&self, source: &dyn Source, name: &str) -> Result<Vec<u8>, BundleError> {
        let entry = self.files.get(name).ok_or_else(|| BundleError::Unlisted(name.to_string()))?;
        let bytes = source.read(name).await?;
        if bytes.len() as u64 != entry.bytes {
            return Err(BundleError::Size { file: name.to_string(), found: bytes.len() as u64, wanted: entry.bytes });
        }
        let digest = Sha256::digest(&bytes);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if hex != entry.sha256 {
            return Err(BundleError::Hash { file: name.to_string() });
        }
        Ok(bytes)
    }
}
