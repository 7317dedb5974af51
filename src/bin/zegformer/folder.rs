//! Model folders on disk.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use zegformer::bundle::{Bundle, BundleError, Source};

use super::Failure;

/// The model that is taken where none is named.
const DEFAULT: &str = "models/zegformer-lite";

/// A folder with a `bundle.json` and the files it names.
pub struct Folder(PathBuf);

impl Folder {
    /// The folder that was named, or the default one: in the current folder, else beside the program or in a folder above
    /// it (so that a program run from `target/release` finds its repository's models).
    pub fn find(named: Option<&Path>) -> Result<Self, Failure> {
        if let Some(folder) = named {
            return Ok(Self(folder.to_owned()));
        }
        let program = std::env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
        let here = std::iter::once(PathBuf::from(DEFAULT));
        let above = program.ancestors().skip(1).map(|folder| folder.join(DEFAULT));
        let found = here.chain(above).find(|folder| folder.join("bundle.json").is_file());
        found.map(Self).ok_or_else(|| {
            Failure::Failed(format!("there is no {DEFAULT} here or beside the program: name a model with --model DIR"))
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads and checks `bundle.json`.
    pub fn bundle(&self) -> Result<Bundle, Failure> {
        let path = self.0.join("bundle.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::Failed(format!("{} could not be read: {error}", path.display())))?;
        Bundle::parse(&text).map_err(|error| Failure::Failed(format!("{}: {error}", self.0.display())))
    }
}

#[async_trait(?Send)]
impl Source for Folder {
    async fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        std::fs::read(self.0.join(name))
            .map_err(|error| BundleError::Read { file: name.to_owned(), reason: error.to_string() })
    }
}
