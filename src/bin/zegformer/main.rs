//! The command-line program: labels photos on this machine, and checks model folders.
//!
//! Exit codes: 0 all done; 1 something failed (a photo, a model), and standard error says what; 2 the command line or an
//! option is wrong, and nothing was done.

mod bundle;
mod folder;
mod names;
mod segment;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Labels photos with the class names you type.
#[derive(Parser)]
#[command(name = "zegformer", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Label photos: a label map, an overlay and a JSON document for each
    Segment(segment::Arguments),
    /// Work with model folders
    Bundle(bundle::Arguments),
}

/// Why a command ends with an exit code other than 0.
enum Failure {
    /// An argument makes no sense; nothing was done.
    Usage(String),
    /// Something went wrong, in one sentence.
    Failed(String),
    /// Something went wrong, and was said when it happened.
    Told,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Segment(arguments) => segment::run(&arguments),
        Command::Bundle(arguments) => bundle::run(&arguments),
    };
    let (sentence, code) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(sentence)) => (sentence, 2),
        Err(Failure::Failed(sentence)) => (sentence, 1),
        Err(Failure::Told) => return ExitCode::from(1),
    };
    eprintln!("zegformer: {sentence}");
    ExitCode::from(code)
}
