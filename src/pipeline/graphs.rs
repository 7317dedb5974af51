//! Loading graphs, and what goes wrong on the way.

use std::collections::HashMap;

use crate::bundle::{Bundle, BundleError, Source};
use crate::engine::{Engine, EngineError, Graph, ModelProto, weights};
use crate::photo::PhotoError;
use crate::text::TextError;

/// What can go wrong on the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Photo(#[from] PhotoError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{file}: {error}")]
    Graph { file: String, error: EngineError },
    #[error("{0}")]
    Option(String),
    #[error("choose a photo first")]
    NoPhoto,
    #[error("type at least one class name first, for example: cat, sofa, wall")]
    NoClasses,
    #[error("stopped")]
    Cancelled,
}

/// Reads a graph and its side files, checks them, widens the weights and hands them to the engine.
pub(crate) async fn load_graph(
    engine: &Engine,
    bundle: &Bundle,
    source: &dyn Source,
    file: &str,
) -> Result<Box<dyn Graph>, Error> {
    let model = read_graph(bundle, source, file).await?;
    engine.load(model).map_err(|error| in_graph(file, error))
}

/// The same without an engine.
pub async fn read_graph(bundle: &Bundle, source: &dyn Source, file: &str) -> Result<ModelProto, Error> {
    let bytes = bundle.read(source, file).await?;
    let (model, sides) = weights::parse(&bytes).map_err(|error| in_graph(file, error))?;
    drop(bytes);
    let mut files = HashMap::new();
    for side in sides {
        let bytes = bundle.read(source, &side).await?;
        files.insert(side, bytes);
    }
    weights::widen(model, &files).map_err(|error| in_graph(file, error))
}

pub(crate) fn in_graph(file: &str, error: EngineError) -> Error {
    match error {
        EngineError::Cancelled => Error::Cancelled,
        lost @ EngineError::DeviceLost(_) => Error::Engine(lost),
        error => Error::Graph { file: file.to_string(), error },
    }
}
