//! `zegformer segment`: labels photos.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{Args, ValueEnum};
use zegformer::bundle::{Ensembling, Mode};
use zegformer::engine::EngineChoice;
use zegformer::pipeline::{ClassResult, Options, Pipeline, Segmentation, Unobserved};
use zegformer::report::coco::Annotations;
use zegformer::report::export::{Kind, annotate, annotations, write};
use zegformer::report::png::View;

use super::Failure;
use super::folder::Folder;
use super::names::{Job, file_name, jobs};

#[derive(Args)]
pub struct Arguments {
    /// Photos: JPEG, PNG, WebP, GIF (first frame) or BMP, up to 20,000 pixels a side and 100 megapixels. Those of more than
    /// 4096 pixels a side are worked on at that size; labels, masks and polygons are enlarged to the photo's own
    #[arg(required = true, value_name = "PHOTO")]
    photos: Vec<PathBuf>,

    /// Class names, separated by comma, semicolon or line; `|` between names of the same class: "cat, sofa | couch"
    #[arg(long, short, value_name = "NAMES")]
    classes: String,

    /// Folder for the results; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,

    /// Model folder [default: models/zegformer-lite here or beside the program]
    #[arg(long, short, value_name = "DIR")]
    model: Option<PathBuf>,

    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    settings: Settings,

    /// Say nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

/// What is written; without a choice labels, overlay and JSON.
#[derive(Args)]
#[command(next_help_heading = "What to write (without a choice: --labels --overlay --json)")]
struct Files {
    /// STEM.labels.png: 8-bit palette, the index is the place of the class in the list, from 0; 255 = other
    #[arg(long)]
    labels: bool,

    /// STEM.overlay.png: the photo under the classes' colours, at most 4096 pixels a side
    #[arg(long)]
    overlay: bool,

    /// STEM.json: per segment and class the scores of both branches, areas, COCO RLE masks
    #[arg(long)]
    json: bool,

    /// STEM.geojson: polygons in pixels, y down
    #[arg(long)]
    geojson: bool,

    /// annotations.coco.json: COCO annotations of all photos; `file_name` is a photo's path as it is given here
    #[arg(long)]
    coco: bool,
}

/// What may differ from the model's own settings.
#[derive(Args)]
#[command(next_help_heading = "Settings (without them: the model's own)")]
struct Settings {
    /// Resolution of the segmenter, by its name in the model: usually fast or fine
    #[arg(long, value_name = "NAME")]
    resolution: Option<String>,

    /// Weight of the image branch, 0 to 1
    #[arg(long, value_name = "NUMBER")]
    lambda: Option<f32>,

    /// Subtracted from the scores of classes that the segmenter was trained on
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    gamma: Option<f32>,

    /// Subtracted from the cosines of classes that the segmenter was trained on
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    margin: Option<f32>,

    /// Least confidence of a labelled pixel, 0 to 1; below it is other
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<f32>,

    /// Factor from cosine similarity to logit
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f32>,

    /// Which of the two branches classify
    #[arg(long, value_name = "NAME")]
    branch: Option<Branch>,

    /// How both branches are fused: all: the image branch has a say in every class; split: as in the paper, seen and unseen
    /// classes in opposite ways; grouped: it has none in what a crop shows little of, such as sky or walls
    #[arg(long, value_name = "NAME", conflicts_with = "branch")]
    ensembling: Option<Fusion>,

    /// official: every proposal is cropped and summed on the photo's pixels; fast: those that matter are cropped; one-pass:
    /// none, the image branch sees the photo once (models with such a graph); lite: the largest are cropped and summed on
    /// the mask grid
    #[arg(long, value_name = "NAME")]
    mode: Option<ModeName>,

    /// Keep the model's distractor names from competing for "other"
    #[arg(long)]
    no_distractors: bool,

    /// What computes
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    engine: EngineName,
}

#[derive(Clone, Copy, ValueEnum)]
enum Branch {
    Fused,
    Query,
    Image,
}

#[derive(Clone, Copy, ValueEnum)]
enum Fusion {
    All,
    Split,
    Grouped,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Official,
    Fast,
    OnePass,
    Lite,
}

#[derive(Clone, Copy, ValueEnum)]
enum EngineName {
    Cpu,
    Webgpu,
    Auto,
}

impl Files {
    /// The files of each photo, with what follows the stem.
    fn kinds(&self) -> Vec<(Kind, &'static str)> {
        let none = !(self.labels || self.overlay || self.json || self.geojson || self.coco);
        let all = [
            (self.labels || none, Kind::Labels, "labels.png"),
            (self.overlay || none, Kind::Overlay, "overlay.png"),
            (self.json || none, Kind::Json, "json"),
            (self.geojson, Kind::GeoJson, "geojson"),
        ];
        all.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, kind, ending)| (kind, ending)).collect()
    }
}

impl Settings {
    fn apply(&self, pipeline: &Pipeline) -> Options {
        let mut options = pipeline.options().clone();
        if let Some(resolution) = &self.resolution {
            options.resolution = resolution.clone();
        }
        options.lambda = self.lambda.unwrap_or(options.lambda);
        options.gamma = self.gamma.unwrap_or(options.gamma);
        options.margin = self.margin.unwrap_or(options.margin);
        options.threshold = self.threshold.unwrap_or(options.threshold);
        options.temperature = self.temperature.unwrap_or(options.temperature);
        options.ensembling = match (self.branch, self.ensembling) {
            (None, None) => options.ensembling,
            (Some(Branch::Fused), _) => pipeline.bundle().classify.ensembling,
            (Some(Branch::Query), _) => Ensembling::Query,
            (Some(Branch::Image), _) => Ensembling::Image,
            (None, Some(Fusion::All)) => Ensembling::All,
            (None, Some(Fusion::Split)) => Ensembling::Split,
            (None, Some(Fusion::Grouped)) => Ensembling::Grouped,
        };
        options.mode = match self.mode {
            None => options.mode,
            Some(ModeName::Official) => Mode::Official,
            Some(ModeName::Fast) => Mode::Fast,
            Some(ModeName::OnePass) => Mode::OnePass,
            Some(ModeName::Lite) => Mode::Lite,
        };
        options.distractors &= !self.no_distractors;
        options
    }

    fn engine(&self) -> EngineChoice {
        match self.engine {
            EngineName::Cpu => EngineChoice::Cpu,
            EngineName::Webgpu => EngineChoice::WebGpu,
            EngineName::Auto => EngineChoice::Auto,
        }
    }
}

/// Labels the photos one after another with one loaded model.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    pollster::block_on(label_all(arguments))
}

async fn label_all(arguments: &Arguments) -> Result<(), Failure> {
    // What is wrong with the command line is said before a model is read.
    zegformer::text::parse_classes(&arguments.classes).map_err(|error| Failure::Usage(error.to_string()))?;
    let folder = Folder::find(arguments.model.as_deref())?;
    let bundle = folder.bundle()?;
    let failed = |error: zegformer::pipeline::Error| Failure::Failed(error.to_string());
    let usage = |error: zegformer::pipeline::Error| Failure::Usage(error.to_string());
    let mut pipeline = Pipeline::new(bundle, Rc::new(folder), arguments.settings.engine()).await.map_err(failed)?;
    pipeline.set_classes(&arguments.classes).map_err(usage)?;
    pipeline.set_options(arguments.settings.apply(&pipeline)).map_err(usage)?;
    std::fs::create_dir_all(&arguments.out)
        .map_err(|error| Failure::Failed(format!("{} could not be made: {error}", arguments.out.display())))?;

    let mut annotated = None;
    let mut any_failed = false;
    for job in jobs(&arguments.photos) {
        match label(&mut pipeline, &job, arguments, &mut annotated).await {
            Ok(line) if arguments.quiet => drop(line),
            Ok(line) => println!("{}: {line}", job.photo.display()),
            Err(sentence) => {
                any_failed = true;
                // Decoders' own words may have line ends; a script reads one line a photo.
                let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
                eprintln!("zegformer: {}: {sentence}", job.photo.display());
            }
        }
    }
    if let Some(annotations) = annotated {
        let bytes = annotations.to_json().map_err(|error| Failure::Failed(error.to_string()))?;
        save(&arguments.out.join("annotations.coco.json"), &bytes).map_err(Failure::Failed)?;
    }
    if any_failed { Err(Failure::Told) } else { Ok(()) }
}

/// Labels one photo and writes its files; gives a line about it.
async fn label(
    pipeline: &mut Pipeline,
    job: &Job,
    arguments: &Arguments,
    annotated: &mut Option<Annotations>,
) -> Result<String, String> {
    let say = |error: &dyn std::error::Error| error.to_string();
    let bytes = std::fs::read(&job.photo).map_err(|error| format!("the file could not be read: {error}"))?;
    pipeline.set_photo(&bytes).map_err(|error| say(&error))?;
    let result = pipeline.segment(&mut Unobserved).await.map_err(|error| say(&error))?;
    let name = file_name(&job.photo);
    for (kind, ending) in arguments.files.kinds() {
        let bytes = write(kind, &result, &name, &View::default()).map_err(|error| say(&error))?;
        save(&arguments.out.join(format!("{}.{ending}", job.stem)), &bytes)?;
    }
    if arguments.files.coco {
        let document = annotated.get_or_insert_with(|| annotations(&result));
        // One document for photos of several folders, in which names may repeat.
        annotate(document, &result, &job.photo.to_string_lossy()).map_err(|error| say(&error))?;
    }
    Ok(summary(&result, job))
}

/// Writes a file beside its place and moves it there, so that an interrupted run leaves no half of one.
fn save(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    std::fs::write(&beside, bytes)
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|error| format!("{} could not be written: {error}", path.display()))
}

fn summary(result: &Segmentation, job: &Job) -> String {
    let shares = result.classes.iter().filter(|class| class.share > 0.0);
    let said = |class: &ClassResult| match &class.about {
        Some(about) => format!("{}, looked for as \u{201c}{about}\u{201d}, {:.1} %", class.name, class.share * 100.0),
        None => format!("{} {:.1} %", class.name, class.share * 100.0),
    };
    let mut parts: Vec<String> = shares.map(said).collect();
    parts.push(format!("other {:.1} %", result.other * 100.0));
    if result.photo.original() != (result.map.width, result.map.height) {
        parts.push(format!("worked on at {} x {} pixels", result.map.width, result.map.height));
    }
    let ms: f64 = result.stages.iter().map(|(_, ms)| ms).sum();
    format!("{} ({ms:.0} ms, as {})", parts.join(", "), job.stem)
}
