//! Vectors for typed names: from the bundle's vocabulary where it has them, else by the text graph.

use std::collections::VecDeque;

use crate::bundle::{Bundle, Source};
use crate::classify::ClassVectors;
use crate::engine::{Engine, EngineError, Graph, Tensor, run_named};
use crate::pipeline::{Error, Watch, in_graph, load_graph};

use super::error::TextError;
use super::prompts::{Class, fill, key};
use super::table::{Table, TextTables};
use super::tokenizer::Tokenizer;
use super::vocabulary::{Branch, Vocabulary, WordVectors};

/// Prompts encoded in one run of the text graph.
pub(crate) const BATCH: usize = 16;
/// On a GPU the number of tokens is rounded up to this, so that few shapes have to be compiled.
const GPU_STEP: usize = 8;

/// The text branch. Files are read when they are first needed: the vocabulary with the first names, tokenizer, tables and
/// graph with the first name that the vocabulary lacks.
#[derive(Default)]
pub struct TextEncoder {
    vectors: Option<WordVectors>,
    words: Option<(Tokenizer, TextTables)>,
    graph: Option<Box<dyn Graph>>,
}

impl TextEncoder {
    /// Sees to it that all names of `classes` have vectors. Those that the vocabulary lacks are encoded batch by batch;
    /// before each the observer hears how many of the missing prompts are done, and may end the run. What is done by then
    /// is kept.
    ///
    /// # Errors
    /// [`Error::Cancelled`], files that cannot be read, a graph that fails, a name without a direction.
    pub(crate) async fn learn(
        &mut self,
        classes: &[Class],
        bundle: &Bundle,
        source: &dyn Source,
        engine: &Engine,
        watch: &mut Watch<'_>,
    ) -> Result<(), Error> {
        if self.vectors.is_none() {
            self.vectors = Some(read_vocabulary(bundle, source).await?);
        }
        let mut missing = VecDeque::new();
        for (branch, templates) in [(Branch::Query, &bundle.templates.query), (Branch::Image, &bundle.templates.image)]
        {
            // With the same templates a name's one vector serves both branches.
            if branch == Branch::Query || *templates != bundle.templates.query {
                let names = self.vectors.iter().flat_map(|vectors| vectors.missing(branch, classes));
                missing.extend(names.map(|name| (branch, templates, name)));
            }
        }
        let fill_all = |(_, templates, name): &(_, &Vec<String>, String)| {
            templates.iter().map(|template| fill(template, name)).collect::<Vec<_>>()
        };
        let prompts: Vec<String> = missing.iter().flat_map(fill_all).collect();
        let mut rows: Vec<f32> = Vec::new();
        for (at, batch) in prompts.chunks(BATCH).enumerate() {
            watch.progress(at * BATCH, prompts.len()).await?;
            rows.extend(self.encode(batch, bundle, source, engine, watch).await?);
            while let Some((branch, templates, name)) = missing.front() {
                let whole = templates.len() * bundle.embedding;
                if rows.len() < whole {
                    break;
                }
                if let Some(vectors) = &mut self.vectors {
                    vectors.insert(*branch, name, &rows[..whole])?;
                }
                rows.drain(..whole);
                missing.pop_front();
            }
        }
        Ok(())
    }

    /// Unit vectors of `classes`, rows of `width` values, for both branches and in their order.
    ///
    /// # Errors
    /// [`TextError::Missing`] for a name that was not [learnt](Self::learn), [`TextError::NoDirection`].
    pub(crate) fn vectors(&self, classes: &[Class], width: usize) -> Result<ClassVectors, TextError> {
        let rows = |branch| -> Result<Vec<Vec<f32>>, TextError> {
            let Some(vectors) = &self.vectors else { return Ok(Vec::new()) };
            Ok(vectors.matrix(branch, classes)?.chunks_exact(width).map(<[f32]>::to_vec).collect())
        };
        Ok(ClassVectors { query: rows(Branch::Query)?, image: rows(Branch::Image)? })
    }

    /// What stands for a name and for all others of the same vector (see [`Vocabulary::known`]), as [`key`] writes it.
    pub fn meaning(&self, name: &str) -> String {
        let vocabulary = self.vectors.as_ref().and_then(WordVectors::vocabulary);
        key(vocabulary.and_then(|vocabulary| vocabulary.known(name)).unwrap_or(name))
    }

    /// The known name that a phrase leans on (see [`Vocabulary::about`]).
    pub fn about(&self, name: &str) -> Option<&str> {
        self.vectors.as_ref()?.vocabulary()?.about(name)
    }

    /// Gives the graph's memory back; it is loaded again when it is needed.
    pub fn free_graph(&mut self) {
        self.graph = None;
    }

    /// One row of D values for each of at most [`BATCH`] prompts.
    async fn encode(
        &mut self,
        prompts: &[String],
        bundle: &Bundle,
        source: &dyn Source,
        engine: &Engine,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<f32>, Error> {
        if self.words.is_none() {
            self.words = Some(read_words(bundle, source).await?);
        }
        let file = &bundle.text.graph;
        if self.graph.is_none() {
            self.graph = Some(load_graph(engine, bundle, source, file).await?);
        }
        let (Some((tokenizer, tables)), Some(graph)) = (&self.words, &mut self.graph) else { return Ok(Vec::new()) };
        let mut tokens = tokenizer.encode_batch(prompts)?;
        if matches!(engine, Engine::WebGpu(_)) {
            tokens.pad(BATCH, tokens.steps.next_multiple_of(GPU_STEP).min(bundle.text.context));
        }
        let inputs = tables.inputs(&tokens)?;
        let (b, t) = (inputs.batch, inputs.steps);
        let [vectors] = run_named(
            graph.as_mut(),
            &[
                ("tokens", &Tensor::new([b, t, inputs.width], inputs.tokens)?),
                ("attention_bias", &Tensor::new([b, 1, t, t], inputs.attention_bias)?),
                ("pooling", &Tensor::new([b, t], inputs.pooling)?),
            ],
            ["text_embeddings"],
            watch,
        )
        .await
        .map_err(|error| in_graph(file, error))?;
        if vectors.shape() != [b, bundle.embedding] {
            return Err(in_graph(file, EngineError::Shape(format!("text_embeddings came as {:?}", vectors.shape()))));
        }
        Ok(vectors.data()[..prompts.len() * bundle.embedding].to_vec())
    }
}

async fn read_vocabulary(bundle: &Bundle, source: &dyn Source) -> Result<WordVectors, Error> {
    let shared = bundle.templates.query == bundle.templates.image;
    let Some(files) = &bundle.vocabulary else { return Ok(WordVectors::new(None, shared, bundle.embedding)) };
    let names = bundle.read(source, &files.names).await?;
    let query = bundle.read(source, &files.query).await?;
    let image = match &files.image {
        Some(file) => Some((file.as_str(), bundle.read(source, file).await?)),
        None => None,
    };
    let vocabulary = Vocabulary::new((&files.names, &names), (&files.query, query), image, bundle.embedding)?;
    Ok(WordVectors::new(Some(vocabulary.with_heads(files.head)), shared, bundle.embedding))
}

async fn read_words(bundle: &Bundle, source: &dyn Source) -> Result<(Tokenizer, TextTables), Error> {
    let text = &bundle.text;
    let tokenizer = Tokenizer::from_bytes(&bundle.read(source, &text.tokenizer).await?, text.context)?;
    let mut tables = Vec::with_capacity(2);
    for table in [&text.table, &text.position] {
        let bytes = bundle.read(source, &table.file).await?;
        tables.push(Table::new(&table.file, bytes, table.encoding, table.rows, text.width)?);
    }
    let (Some(positions), Some(tokens)) = (tables.pop(), tables.pop()) else { return Err(Error::NoClasses) };
    Ok((tokenizer, TextTables::new(tokens, positions, text.attention, text.pooling)?))
}
