//! Vectors for typed names: from the bundle's vocabulary where it has them, else by the text graph.

use crate::bundle::{Bundle, Source};
use crate::classify::ClassVectors;
use crate::engine::{Engine, EngineError, Graph, Tensor, run_named};
use crate::pipeline::{Error, load_graph};

use super::prompts::{Class, fill};
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
    /// Unit vectors of `classes` for both branches, in their order.
    pub async fn embed(
        &mut self,
        classes: &[Class],
        bundle: &Bundle,
        source: &dyn Source,
        engine: &Engine,
    ) -> Result<ClassVectors, Error> {
        if self.vectors.is_none() {
            self.vectors = Some(read_vocabulary(bundle, source).await?);
        }
        let shared = bundle.templates.query == bundle.templates.image;
        for (branch, templates) in [(Branch::Query, &bundle.templates.query), (Branch::Image, &bundle.templates.image)]
        {
            if shared && branch == Branch::Image {
                continue;
            }
            let missing = self.vectors.as_ref().map(|vectors| vectors.missing(branch, classes)).unwrap_or_default();
            if missing.is_empty() {
                continue;
            }
            let prompts: Vec<String> =
                missing.iter().flat_map(|name| templates.iter().map(|template| fill(template, name))).collect();
            let rows = self.encode(&prompts, bundle, source, engine).await?;
            let per_name = templates.len() * bundle.embedding;
            for (name, rows) in missing.iter().zip(rows.chunks_exact(per_name)) {
                if let Some(vectors) = &mut self.vectors {
                    vectors.insert(branch, name, rows)?;
                }
            }
        }
        let rows = |branch| -> Result<Vec<Vec<f32>>, Error> {
            let Some(vectors) = &self.vectors else { return Ok(Vec::new()) };
            let matrix = vectors.matrix(branch, classes)?;
            Ok(matrix.chunks_exact(bundle.embedding).map(<[f32]>::to_vec).collect())
        };
        Ok(ClassVectors { query: rows(Branch::Query)?, image: rows(Branch::Image)? })
    }

    /// The names with ready vectors, if the vocabulary was read.
    pub fn vocabulary(&self) -> &[String] {
        self.vectors.as_ref().and_then(WordVectors::vocabulary).map_or(&[], Vocabulary::names)
    }

    /// The vocabulary's name of the same meaning (see [`Vocabulary::known`]).
    pub fn known(&self, name: &str) -> Option<&str> {
        self.vectors.as_ref()?.vocabulary()?.known(name)
    }

    /// The known name that a phrase leans on (see [`Vocabulary::about`]).
    pub fn about(&self, name: &str) -> Option<&str> {
        self.vectors.as_ref()?.vocabulary()?.about(name)
    }

    /// Gives the graph's memory back; it is loaded again when it is needed.
    pub fn free_graph(&mut self) {
        self.graph = None;
    }

    /// One row of D values per prompt.
    async fn encode(
        &mut self,
        prompts: &[String],
        bundle: &Bundle,
        source: &dyn Source,
        engine: &Engine,
    ) -> Result<Vec<f32>, Error> {
        if self.words.is_none() {
            self.words = Some(read_words(bundle, source).await?);
        }
        if self.graph.is_none() {
            self.graph = Some(load_graph(engine, bundle, source, &bundle.text.graph).await?);
        }
        let (Some((tokenizer, tables)), Some(graph)) = (&self.words, &mut self.graph) else { return Ok(Vec::new()) };
        let mut rows = Vec::with_capacity(prompts.len() * bundle.embedding);
        for batch in prompts.chunks(BATCH) {
            let mut tokens = tokenizer.encode_batch(batch)?;
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
            )
            .await
            .map_err(|error| Error::Graph { file: bundle.text.graph.clone(), error })?;
            if vectors.shape() != [b, bundle.embedding] {
                let error = EngineError::Shape(format!("text_embeddings came as {:?}", vectors.shape()));
                return Err(Error::Graph { file: bundle.text.graph.clone(), error });
            }
            rows.extend_from_slice(&vectors.data()[..batch.len() * bundle.embedding]);
        }
        Ok(rows)
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
