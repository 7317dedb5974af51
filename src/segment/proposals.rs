//! What the segmenter says about a photo, before any name is known.

use crate::engine::{EngineError, Tensor};

/// Q proposals on one padded grid.
#[derive(Clone, Debug)]
pub struct Proposals {
    /// `[1, Q, h, w]` logits; a proposal covers a cell where its logit is above 0.
    pub mask_logits: Tensor,
    /// `[1, Q, D]`, unit rows in the space of the names.
    pub embeddings: Tensor,
    /// `[1, Q]` logits of "none of the names", already times the temperature.
    pub background_logits: Tensor,
    /// Pixels of the padded photo per cell.
    pub mask_stride: usize,
    /// Width and height of the photo inside the padded one, in pixels at the segmenter's resolution.
    pub content: (usize, usize),
}

impl Proposals {
    /// Checks that the three outputs fit each other and the grid.
    pub fn new(
        [mask_logits, embeddings, background_logits]: [Tensor; 3],
        mask_stride: usize,
        content: (usize, usize),
        queries: usize,
        width: usize,
    ) -> Result<Proposals, EngineError> {
        let [_, q, h, w] = *mask_logits.shape() else {
            return Err(EngineError::Shape("mask_logits must have four axes".into()));
        };
        let fits = q == queries
            && embeddings.shape() == [1, q, width]
            && background_logits.shape() == [1, q]
            && w * mask_stride >= content.0
            && h * mask_stride >= content.1;
        if !fits {
            return Err(EngineError::Shape(format!(
                "the segmenter's outputs {:?}, {:?}, {:?} are not [1, {queries}, h, w], [1, {queries}, {width}], [1, {queries}]",
                mask_logits.shape(),
                embeddings.shape(),
                background_logits.shape()
            )));
        }
        Ok(Proposals { mask_logits, embeddings, background_logits, mask_stride, content })
    }

    /// Q.
    pub fn count(&self) -> usize {
        self.mask_logits.shape()[1]
    }

    /// Width and height of the mask grid in cells, padding included.
    pub fn grid(&self) -> (usize, usize) {
        (self.mask_logits.shape()[3], self.mask_logits.shape()[2])
    }

    /// The `h * w` mask logits of one proposal.
    pub fn mask(&self, query: usize) -> &[f32] {
        let (w, h) = self.grid();
        &self.mask_logits.data()[query * w * h..(query + 1) * w * h]
    }

    /// The D values of one proposal's embedding.
    pub fn embedding(&self, query: usize) -> &[f32] {
        let width = self.embeddings.shape()[2];
        &self.embeddings.data()[query * width..(query + 1) * width]
    }

    /// The proposals worth naming: those that own cells of the photo, i.e. have the largest mask logit there and cover
    /// them; at most `most`, the largest owners, in the order of their numbers. No name has a say, so that the choice,
    /// and with it the crops, stay when names change.
    pub fn owners(&self, most: usize) -> Vec<usize> {
        let (w, h) = self.grid();
        let columns = self.content.0.div_ceil(self.mask_stride).min(w);
        let rows = self.content.1.div_ceil(self.mask_stride).min(h);
        let mut owned = vec![0usize; self.count()];
        for y in 0..rows {
            for x in 0..columns {
                let cell = y * w + x;
                let (mut best, mut logit) = (None, 0.0);
                for query in 0..self.count() {
                    let value = self.mask(query)[cell];
                    if value > logit {
                        (best, logit) = (Some(query), value);
                    }
                }
                if let Some(query) = best {
                    owned[query] += 1;
                }
            }
        }
        // A speck of less than a thousandth of the photo is not worth a crop.
        let least = (rows * columns / 1000).max(1);
        let mut owners: Vec<usize> = (0..self.count()).filter(|&q| owned[q] >= least).collect();
        owners.sort_by_key(|&query| std::cmp::Reverse(owned[query]));
        owners.truncate(most);
        owners.sort_unstable();
        owners
    }

    /// Whether a proposal covers each pixel of a `width` x `height` photo (row-major): the logits are interpolated
    /// bilinearly (align_corners = False) and compared with 0, i.e. sigmoid > 0.5.
    pub fn covers(&self, query: usize, width: usize, height: usize) -> Vec<bool> {
        let (grid_width, grid_height) = self.grid();
        let extent = |content: usize| content as f32 / self.mask_stride as f32;
        let columns = Taps::new(width, extent(self.content.0), grid_width);
        let rows = Taps::new(height, extent(self.content.1), grid_height);
        self.covers_at(query, &columns, &rows)
    }

    /// The same for each pixel of the padded photo.
    pub fn covers_padded(&self, query: usize, width: usize, height: usize) -> Vec<bool> {
        let (grid_width, grid_height) = self.grid();
        let columns = Taps::new(width, grid_width as f32, grid_width);
        let rows = Taps::new(height, grid_height as f32, grid_height);
        self.covers_at(query, &columns, &rows)
    }

    fn covers_at(&self, query: usize, columns: &Taps, rows: &Taps) -> Vec<bool> {
        let (grid_width, _) = self.grid();
        let mask = self.mask(query);
        let mut covers = Vec::with_capacity(columns.0.len() * rows.0.len());
        let mut line = vec![0.0f32; grid_width];
        for row in &rows.0 {
            let (low, high) = (row.low * grid_width, row.high * grid_width);
            for (x, value) in line.iter_mut().enumerate() {
                *value = row.blend(mask[low + x], mask[high + x]);
            }
            covers.extend(columns.0.iter().map(|column| column.blend(line[column.low], line[column.high]) > 0.0));
        }
        covers
    }
}

/// Where one output position falls between two input positions.
#[derive(Clone, Copy, Debug)]
pub struct Tap {
    pub low: usize,
    pub high: usize,
    /// Weight of `high`, 0..1.
    pub weight: f32,
}

impl Tap {
    pub fn blend(&self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.weight
    }
}

/// Bilinear taps of one axis: `size` outputs spread over `extent` (possibly fractional) of `limit` inputs, with
/// `source = (i + 0.5) * extent / size - 0.5` clamped to the inputs (align_corners = False).
#[derive(Clone, Debug)]
pub struct Taps(pub Vec<Tap>);

impl Taps {
    pub fn new(size: usize, extent: f32, limit: usize) -> Taps {
        let last = (limit - 1) as f32;
        Taps(
            (0..size)
                .map(|i| {
                    let source = ((i as f32 + 0.5) * extent / size as f32 - 0.5).clamp(0.0, last);
                    let low = source as usize;
                    Tap { low, high: (low + 1).min(limit - 1), weight: source - low as f32 }
                })
                .collect(),
        )
    }
}
