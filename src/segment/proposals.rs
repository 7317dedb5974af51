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
        self.over(width, height).mask(query)
    }

    /// The same for each pixel of the padded photo.
    pub fn covers_padded(&self, query: usize, width: usize, height: usize) -> Vec<bool> {
        let (grid_width, grid_height) = self.grid();
        let columns = Taps::new(width, grid_width as f32, grid_width);
        let rows = Taps::new(height, grid_height as f32, grid_height);
        Cover { proposals: self, columns, rows }.mask(query)
    }

    /// The proposals over the pixels of a `width` x `height` photo, as in [`Self::covers`].
    pub fn over(&self, width: usize, height: usize) -> Cover<'_> {
        let (grid_width, grid_height) = self.grid();
        let extent = |content: usize| content as f32 / self.mask_stride as f32;
        let columns = Taps::new(width, extent(self.content.0), grid_width);
        let rows = Taps::new(height, extent(self.content.1), grid_height);
        Cover { proposals: self, columns, rows }
    }
}

/// Which pixels proposals cover, found without a mask of the photo's size.
pub struct Cover<'a> {
    proposals: &'a Proposals,
    columns: Taps,
    rows: Taps,
}

impl Cover<'_> {
    /// Calls `pixel(x, y)` for each pixel that a proposal covers, row by row from the left. Takes time only where the
    /// proposal has cells above 0.
    pub fn each(&self, query: usize, mut pixel: impl FnMut(usize, usize)) {
        let (grid_width, _) = self.proposals.grid();
        let mask = self.proposals.mask(query);
        let columns = &self.columns.0;
        let mut line = vec![0.0f32; grid_width];
        for (y, row) in self.rows.0.iter().enumerate() {
            let (low, high) = (row.low * grid_width, row.high * grid_width);
            for (x, value) in line.iter_mut().enumerate() {
                *value = row.blend(mask[low + x], mask[high + x]);
            }
            // A blend of values that are not above 0 is not, either.
            let is_above = |value: &f32| *value > 0.0;
            let (Some(first), Some(last)) = (line.iter().position(is_above), line.iter().rposition(is_above)) else {
                continue;
            };
            let start = columns.partition_point(|column| column.high < first);
            let end = columns.partition_point(|column| column.low <= last);
            for (x, column) in columns.iter().enumerate().take(end).skip(start) {
                if column.blend(line[column.low], line[column.high]) > 0.0 {
                    pixel(x, y);
                }
            }
        }
    }

    /// Whether a proposal covers each pixel, row-major.
    fn mask(&self, query: usize) -> Vec<bool> {
        let width = self.columns.0.len();
        let mut covers = vec![false; width * self.rows.0.len()];
        self.each(query, |x, y| covers[y * width + x] = true);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two proposals on a grid of 4 x 3 cells: one with a gap between its cells, one without a cell above 0.
    fn proposals() -> Proposals {
        let first = [-1.0, 2.0, -0.5, 3.0, -4.0, -0.25, -1.0, 0.5, -2.0, -2.0, 6.0, -9.0];
        let tensor = |shape: &[usize], data: Vec<f32>| Tensor::new(shape, data).expect("as many as the shape has");
        Proposals {
            mask_logits: tensor(&[1, 2, 3, 4], first.into_iter().chain([-1.0; 12]).collect()),
            embeddings: tensor(&[1, 2, 1], vec![1.0; 2]),
            background_logits: tensor(&[1, 2], vec![0.0; 2]),
            mask_stride: 4,
            content: (15, 10),
        }
    }

    /// Every pixel by itself, as the rule says it.
    fn covers_by_the_rule(proposals: &Proposals, query: usize, width: usize, height: usize) -> Vec<bool> {
        let taps = |size, content: usize, limit| Taps::new(size, content as f32 / 4.0, limit).0;
        let (columns, rows) = (taps(width, 15, 4), taps(height, 10, 3));
        let cell = |x: usize, y: usize| proposals.mask(query)[y * 4 + x];
        let blended = |row: &Tap, x: usize| row.blend(cell(x, row.low), cell(x, row.high));
        let pixel = |row: &Tap, column: &Tap| column.blend(blended(row, column.low), blended(row, column.high)) > 0.0;
        rows.iter().flat_map(|row| columns.iter().map(|column| pixel(row, column)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn covered_pixels_are_those_with_a_blend_above_0() {
        let proposals = proposals();
        for (width, height) in [(1, 1), (2, 3), (4, 3), (15, 10), (64, 40), (1, 50), (70, 1)] {
            for query in 0..2 {
                let wanted = covers_by_the_rule(&proposals, query, width, height);
                assert_eq!(proposals.covers(query, width, height), wanted, "{query} on {width} x {height}");
            }
        }
        assert!(proposals.covers(0, 64, 40).contains(&true) && !proposals.covers(1, 64, 40).contains(&true));
    }
}
