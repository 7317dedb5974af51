//! The image branch of a run: crops of the proposals that the mode asks for, or one pass over the whole photo.

use std::collections::BTreeMap;
use std::mem;

use super::graphs::{in_graph, load_graph};
use super::watch::Watch;
use super::{Error, MOST_CROPS, Pipeline};
use crate::bundle::{Ensembling, Mode};
use crate::engine::{EngineError, EngineKind, Graph, Tensor, run_named};
use crate::segment::crops::masked_crops;
use crate::segment::{onepass, worth};

/// What the image branch said of a photo. No name has a say in it, so that it stays when names change.
#[derive(Default)]
pub(super) struct Looks {
    /// Embeddings of the crops made so far, by proposal.
    crops: BTreeMap<usize, Vec<f32>>,
    /// `[1, Q, D]`, of one pass over the photo.
    pass: Option<Tensor>,
}

/// What the image branch has to do in a run.
pub(super) enum Task {
    /// It has no say.
    Nothing,
    /// These proposals' crops count, in the order of their numbers.
    Crops(Vec<usize>),
    OnePass,
}

impl Looks {
    /// The D values of one proposal, if it counts in `task`.
    pub fn of(&self, query: usize, task: &Task) -> Option<&[f32]> {
        match task {
            Task::Nothing => None,
            Task::Crops(queries) => {
                queries.binary_search(&query).ok().and_then(|_| self.crops.get(&query)).map(Vec::as_slice)
            }
            Task::OnePass => {
                let pass = self.pass.as_ref()?;
                let width = pass.shape()[2];
                pass.data().get(query * width..(query + 1) * width)
            }
        }
    }

    /// The proposals of `task` that have no crop yet.
    fn missing(&self, task: &Task) -> Vec<usize> {
        match task {
            Task::Crops(queries) => queries.iter().copied().filter(|query| !self.crops.contains_key(query)).collect(),
            Task::Nothing | Task::OnePass => Vec::new(),
        }
    }

    /// Whether `task` needs no more work.
    pub fn suffice(&self, task: &Task) -> bool {
        match task {
            Task::Nothing => true,
            Task::Crops(_) => self.missing(task).is_empty(),
            Task::OnePass => self.pass.is_some(),
        }
    }
}

impl Pipeline {
    /// What the options ask of the image branch, for the present photo and names.
    pub(super) fn image_task(&self, has_a_say: bool) -> Result<Task, Error> {
        let (Some(proposals), Some(names)) = (&self.kept.proposals, &self.kept.names) else {
            return Err(Error::NoPhoto);
        };
        Ok(match self.options.mode {
            _ if !has_a_say => Task::Nothing,
            Mode::Official => Task::Crops((0..proposals.count()).collect()),
            Mode::Fast => Task::Crops(worth::worth_a_crop(proposals, &names.vectors.query, self.options.temperature)),
            Mode::Lite => Task::Crops(self.doubtful_segments()?),
            Mode::OnePass => Task::OnePass,
        })
    }

    /// The segments whose name the image branch may change, in the order of their numbers; of many the largest, those
    /// first that would get a name which it is there to check.
    fn doubtful_segments(&self) -> Result<Vec<usize>, Error> {
        let mut options = self.classify_options();
        if options.ensembling == Ensembling::Image {
            options.lambda = 1.0;
        }
        let scores = self.classify(&Task::Nothing)?;
        let segments = self.kept.segments.iter().flatten();
        let mut doubtful: Vec<_> = segments
            .zip(&scores)
            .filter(|(_, scores)| worth::is_doubtful(scores, &options))
            .map(|(segment, scores)| {
                let checked = !worth::is_grouped(worth::best_outcome(scores), scores, &options);
                (checked, segment.area, segment.query)
            })
            .collect();
        doubtful.sort_unstable_by(|a, b| b.cmp(a));
        if options.lambda < 1.0 {
            doubtful.truncate(MOST_CROPS);
        }
        let mut queries: Vec<usize> = doubtful.into_iter().map(|(.., query)| query).collect();
        queries.sort_unstable();
        Ok(queries)
    }

    /// Shows an observer that wants it what the query branch says alone. The image branch's graph may be larger than all that
    /// was read before it, and a hundred crops may take minutes.
    pub(super) async fn preview(&mut self, task: &Task, watch: &mut Watch<'_>) -> Result<(), Error> {
        if self.kept.looks.suffice(task) || self.options.ensembling == Ensembling::Image {
            return Ok(());
        }
        let branch = &self.bundle.image;
        let (file, batches) = match task {
            Task::Nothing => return Ok(()),
            Task::Crops(_) => (Some(&branch.graph), self.kept.looks.missing(task).len().div_ceil(branch.batch)),
            Task::OnePass => (branch.one_pass.as_ref().map(|one_pass| &one_pass.graph), 1),
        };
        let is_loaded = self.image.as_ref().is_some_and(|(loaded, _)| Some(loaded) == file);
        if !watch.wants_preview(is_loaded, batches) {
            return Ok(());
        }
        let fused = mem::replace(&mut self.options.ensembling, Ensembling::Query);
        let result = self.classify(&Task::Nothing).and_then(|scores| self.result(self.compose(&scores)?, scores));
        self.options.ensembling = fused;
        watch.preview(result?).await
    }

    /// Does what is missing for `task`.
    pub(super) async fn look(&mut self, task: &Task, watch: &mut Watch<'_>) -> Result<(), Error> {
        match task {
            Task::Nothing => Ok(()),
            Task::Crops(_) => {
                let missing = self.kept.looks.missing(task);
                if missing.is_empty() { Ok(()) } else { self.run_crops(&missing, watch).await }
            }
            Task::OnePass if self.kept.looks.pass.is_some() => Ok(()),
            Task::OnePass => self.run_one_pass(watch).await,
        }
    }

    async fn run_crops(&mut self, queries: &[usize], watch: &mut Watch<'_>) -> Result<(), Error> {
        let file = self.bundle.image.graph.clone();
        self.load_image_graph(&file).await?;
        let (Some(resized), Some(proposals), Some((_, graph))) =
            (&self.kept.resized, &self.kept.proposals, &mut self.image)
        else {
            return Err(Error::NoPhoto);
        };
        let branch = &self.bundle.image;
        let pixels = resized.normalise(branch.mean, branch.std, self.bundle.pixels.stride);
        for (at, batch) in queries.chunks(branch.batch).enumerate() {
            watch.progress(at * branch.batch, queries.len()).await?;
            let mut crops = masked_crops(proposals, batch, &pixels, branch.crop);
            if self.info.kind == EngineKind::WebGpu {
                // One batch size, so that shaders are compiled once.
                crops = padded_batch(crops, branch.batch)?;
            }
            let [embeddings] = run_named(graph.as_mut(), &[("crops", &crops)], ["crop_embeddings"], watch)
                .await
                .map_err(|error| in_graph(&file, error))?;
            if embeddings.shape() != [crops.shape()[0], self.bundle.embedding] {
                return Err(wrong_shape(&file, "crop_embeddings", &embeddings));
            }
            let rows = embeddings.data().chunks_exact(self.bundle.embedding);
            for (&query, row) in batch.iter().zip(rows) {
                self.kept.looks.crops.insert(query, row.to_vec());
            }
        }
        if self.lean() {
            self.image = None;
        }
        Ok(())
    }

    async fn run_one_pass(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        let Some(one_pass) = self.bundle.image.one_pass.clone() else { return Err(no_one_pass()) };
        self.load_image_graph(&one_pass.graph).await?;
        let (Some(photo), Some(proposals), Some((_, graph))) = (&self.photo, &self.kept.proposals, &mut self.image)
        else {
            return Err(Error::NoPhoto);
        };
        let branch = &self.bundle.image;
        let pixels = photo.squash(branch.crop).normalise(branch.mean, branch.std, 1);
        let bias = onepass::mask_bias(proposals, one_pass.grid);
        let inputs = [("photo", &pixels), ("mask_bias", &bias)];
        let [rows] = run_named(graph.as_mut(), &inputs, ["segment_embeddings"], watch)
            .await
            .map_err(|error| in_graph(&one_pass.graph, error))?;
        if rows.shape() != [1, proposals.count(), self.bundle.embedding] {
            return Err(wrong_shape(&one_pass.graph, "segment_embeddings", &rows));
        }
        self.kept.looks.pass = Some(rows);
        if self.lean() {
            self.image = None;
        }
        Ok(())
    }

    /// Has the graph `file` in the image branch's place, loaded.
    async fn load_image_graph(&mut self, file: &str) -> Result<(), Error> {
        if self.image.as_ref().is_some_and(|(loaded, _)| loaded == file) {
            return Ok(());
        }
        self.image = None;
        self.make_room();
        let graph: Box<dyn Graph> = load_graph(&self.engine, &self.bundle, &*self.source, file).await?;
        self.image = Some((file.to_string(), graph));
        Ok(())
    }
}

/// Why [`Mode::OnePass`] cannot run.
pub(super) fn no_one_pass() -> Error {
    Error::Option("this model has no graph for the mode one-pass; export it again, or choose another mode".to_string())
}

fn wrong_shape(file: &str, output: &str, found: &Tensor) -> Error {
    in_graph(file, EngineError::Shape(format!("{output} came as {:?}", found.shape())))
}

fn padded_batch(crops: Tensor, batch: usize) -> Result<Tensor, EngineError> {
    let mut shape = crops.shape().to_vec();
    let mut data = crops.into_data();
    shape[0] = batch;
    data.resize(shape.iter().product(), 0.0);
    Tensor::new(shape, data)
}
