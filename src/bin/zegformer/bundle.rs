//! `zegformer bundle check`: whether a model folder is whole and does its work.

use std::path::PathBuf;
use std::rc::Rc;

use clap::{Args, Subcommand};
use zegformer::bundle::{Bundle, Ensembling, Mode};
use zegformer::engine::EngineChoice;
use zegformer::engine::webgpu::{BINDING_BYTES, largest_binding};
use zegformer::pipeline::{Pipeline, Unobserved, largest_inputs, read_graph};
use zegformer::report::png;

use super::Failure;
use super::folder::Folder;

/// A name that no vocabulary has, so that tokenizer, tables and text graph have to work.
const UNKNOWN_NAME: &str = "qzxv flurb";
/// Side of the gray test photo, in pixels.
const SIDE: usize = 64;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check sizes and hashes of all files, load the graphs and run them once
    Check {
        /// Model folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Check { folder } = &arguments.command;
    pollster::block_on(check(Folder::find(Some(folder))?))
}

async fn check(folder: Folder) -> Result<(), Failure> {
    let bundle = folder.bundle()?;
    println!("{} ({}), {:?} mode, {} queries", bundle.name, bundle.licence, bundle.mode, bundle.segmenter.queries);
    let files_fine = check_files(&bundle, &folder).await;
    if !files_fine {
        return Err(Failure::Failed(format!("{} is not whole", folder.path().display())));
    }
    let place = folder.path().display().to_string();
    let fits = check_bindings(&bundle, &folder).await.map_err(|error| Failure::Failed(format!("{place}: {error}")))?;
    println!("{fits}");
    let steps = run_once(bundle, folder).await.map_err(|error| Failure::Failed(format!("{place}: {error}")))?;
    println!("the graphs load and run: {steps}");
    Ok(())
}

/// Prints one line per file; says whether all are as declared.
async fn check_files(bundle: &Bundle, folder: &Folder) -> bool {
    let width = bundle.files.keys().map(String::len).max().unwrap_or(0).max("total".len());
    let mut fine = true;
    for (name, entry) in &bundle.files {
        let state = match bundle.read(folder, name).await {
            Ok(_) => "ok".to_owned(),
            Err(error) => {
                fine = false;
                format!("WRONG: {error}")
            }
        };
        let hash: String = entry.sha256.chars().take(12).collect();
        println!("{name:width$}  {:>11}  {hash:12}  {state}", entry.bytes);
    }
    let total: u64 = bundle.files.values().map(|entry| entry.bytes).sum();
    println!("{:width$}  {total:>11}  bytes in {} files", "total", bundle.files.len());
    fine
}

/// The most that one binding of each graph holds on a GPU, at the largest sizes; an error beyond what every GPU can do.
async fn check_bindings(bundle: &Bundle, folder: &Folder) -> Result<String, Box<dyn std::error::Error>> {
    let mut parts = Vec::new();
    for (file, inputs) in largest_inputs(bundle) {
        let model = read_graph(bundle, folder, file).await?;
        let (value, bytes) = largest_binding(&model, &inputs).map_err(|error| format!("{file}: {error}"))?;
        let mib = bytes as f64 / f64::from(1 << 20);
        if bytes > BINDING_BYTES {
            return Err(format!("{file}: value \"{value}\" needs {mib:.0} MiB, some GPUs bind 128 MiB only").into());
        }
        parts.push(format!("{file} {mib:.0} MiB"));
    }
    Ok(format!("largest bindings on a GPU, of 128 MiB: {}", parts.join(", ")))
}

/// Segments a gray photo, so that all graphs load and their inputs and outputs are seen to fit.
async fn run_once(bundle: Bundle, folder: Folder) -> Result<String, Box<dyn std::error::Error>> {
    let one_pass = bundle.image.one_pass.is_some();
    let mut pipeline = Pipeline::new(bundle, Rc::new(folder), EngineChoice::Cpu).await?;
    let gray = png::overlay(&[128; SIDE * SIDE * 4], &[u8::MAX; SIDE * SIDE], SIDE, SIDE, &png::View::default())?;
    pipeline.set_photo(&gray)?;
    pipeline.set_classes(UNKNOWN_NAME)?;
    let mut options = pipeline.options().clone();
    options.mode = Mode::Lite;
    options.ensembling = Ensembling::Image;
    options.lambda = 1.0;
    pipeline.set_options(options.clone())?;
    let mut result = pipeline.segment(&mut Unobserved).await?;
    if result.segments.is_empty() {
        // Nothing was cropped, so the image graph did not run; in the official mode every proposal is.
        options.mode = Mode::Official;
        pipeline.set_options(options.clone())?;
        result = pipeline.segment(&mut Unobserved).await?;
    }
    if one_pass {
        options.mode = Mode::OnePass;
        pipeline.set_options(options)?;
        pipeline.segment(&mut Unobserved).await?;
    }
    let stage = |(stage, ms): &(zegformer::pipeline::Stage, f64)| format!("{} {ms:.0} ms", stage.name());
    Ok(result.stages.iter().map(stage).collect::<Vec<_>>().join(", "))
}
