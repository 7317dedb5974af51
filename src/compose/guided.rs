//! Votes on the mask grid, brought to the photo's size with the photo as a guide.
//!
//! A cell is some pixels wide, and so are the steps of a boundary that is interpolated without a look at the photo. Where
//! labels meet, a pixel takes its votes from the cells around it whose colour is like its own: joint bilateral upsampling
//! (Kopf et al., SIGGRAPH 2007). Elsewhere all cells around agree, and interpolation does.

use rayon::prelude::*;

use super::{ComposeOptions, LabelMap, Votes, decide};
use crate::photo::Photo;
use crate::segment::proposals::{Tap, Taps};

/// Standard deviation of a cell's weight over its distance from the pixel, in cells.
const SPREAD: f32 = 0.6;
/// The same over its colour's distance, in RGB of 0..255.
const TOLERANCE: f32 = 25.5;
/// Cells that a pixel looks at along each axis.
const REACH: usize = 4;
/// Squared colour distances beyond count as this one: its weight of e^-12 keeps the nearest of cells that are all unlike.
const FARTHEST: usize = (24.0 * TOLERANCE * TOLERANCE) as usize;

/// Labels of all pixels. `grid`: columns and rows that hold the photo; `extent`: the same with the fraction that the last
/// cells are filled to.
pub(super) fn compose(
    votes: &Votes,
    photo: &Photo,
    grid: (usize, usize),
    extent: (f32, f32),
    options: &ComposeOptions,
) -> LabelMap {
    let (width, height) = (photo.width(), photo.height());
    let cells = Cells::new(votes, photo, grid, extent, options);
    let (columns, rows) = (Looks::new(width, extent.0, grid.0), Looks::new(height, extent.1, grid.1));
    let likeness: Vec<f32> =
        (0..=FARTHEST).map(|squared| (-(squared as f32) / (2.0 * TOLERANCE * TOLERANCE)).exp()).collect();

    let mut map = LabelMap { width, height, labels: vec![0; width * height], confidence: vec![0; width * height] };
    let colours = photo.rgba().par_chunks_exact(width * 4);
    let decided = map.labels.par_chunks_exact_mut(width).zip(map.confidence.par_chunks_exact_mut(width));
    let lines = rows.0.par_iter().zip(colours).zip(decided);
    lines.for_each_init(
        || vec![0.0; cells.channels],
        |pixel, ((row, colours), (labels, confidence))| {
            for (x, (column, colour)) in columns.0.iter().zip(colours.as_chunks::<4>().0).enumerate() {
                if cells.agree[row.tap.low * grid.0 + column.tap.low] {
                    cells.interpolate(row, column, pixel);
                } else {
                    cells.blend(row, column, &colour[..3], &likeness, pixel);
                }
                (labels[x], confidence[x]) = cells.decide(pixel, options);
            }
        },
    );
    map
}

/// What a row or column of pixels looks at.
struct Look {
    tap: Tap,
    /// The first of `REACH` cells, and their weights: 0 for those beyond the grid.
    first: usize,
    weights: [f32; REACH],
}

struct Looks(Vec<Look>);

impl Looks {
    fn new(size: usize, extent: f32, limit: usize) -> Looks {
        let taps = Taps::new(size, extent, limit);
        let look = |(i, tap): (usize, Tap)| {
            let source = (i as f32 + 0.5) * extent / size as f32 - 0.5;
            let first = (source.floor() as isize - 1).clamp(0, limit as isize - 1) as usize;
            let weights = std::array::from_fn(|k| {
                let distance = (first + k) as f32 - source;
                if first + k < limit { (-distance * distance / (2.0 * SPREAD * SPREAD)).exp() } else { 0.0 }
            });
            Look { tap, first, weights }
        };
        Looks(taps.0.into_iter().enumerate().map(look).collect())
    }
}

/// The cells that hold the photo.
struct Cells {
    columns: usize,
    /// The typed classes that have the most votes in some cell: no other can be a pixel's label.
    classes: Vec<usize>,
    /// `classes`, the best distractor, all votes.
    channels: usize,
    /// `[rows][columns][channels]`.
    votes: Vec<f32>,
    /// Mean colour of each cell's pixels.
    colours: Vec<[u8; 3]>,
    /// Whether all cells that a pixel looks at, if this one is the upper left of the nearest four, have the same label.
    agree: Vec<bool>,
}

impl Cells {
    fn new(votes: &Votes, photo: &Photo, grid: (usize, usize), extent: (f32, f32), options: &ComposeOptions) -> Cells {
        let (columns, rows) = grid;
        let width = votes.channels;
        let all: Vec<f32> = (0..rows).flat_map(|y| votes.row(y).into_iter().take(columns * width)).collect();
        let mut best = vec![false; votes.classes];
        let mut labels = Vec::with_capacity(columns * rows);
        for cell in all.chunks_exact(width) {
            let typed = cell[..votes.classes].iter().copied().enumerate();
            if let Some((class, _)) = options.best(typed.clone()) {
                best[class] = true;
            }
            labels.push(decide(typed, cell[votes.classes], cell[votes.classes + 1], options).0);
        }
        let classes: Vec<usize> = (0..votes.classes).filter(|&class| best[class]).collect();
        let picked = |cell: &'_ [f32]| {
            let typed = classes.iter().map(|&class| cell[class]).collect::<Vec<_>>();
            typed.into_iter().chain([cell[votes.classes], cell[votes.classes + 1]])
        };
        let around = |at: usize, limit: usize| at.saturating_sub(1)..(at + REACH - 1).min(limit);
        let agrees = |cell: usize| {
            let label = labels[cell];
            around(cell / columns, rows)
                .all(|y| around(cell % columns, columns).all(|x| labels[y * columns + x] == label))
        };
        Cells {
            columns,
            channels: classes.len() + 2,
            votes: all.chunks_exact(width).flat_map(picked).collect(),
            colours: colours(photo, grid, extent),
            agree: (0..columns * rows).map(agrees).collect(),
            classes,
        }
    }

    fn of(&self, row: usize, column: usize) -> &[f32] {
        let at = (row * self.columns + column) * self.channels;
        &self.votes[at..at + self.channels]
    }

    fn interpolate(&self, row: &Look, column: &Look, pixel: &mut [f32]) {
        let [a, b] = [row.tap.low, row.tap.high].map(|y| (self.of(y, column.tap.low), self.of(y, column.tap.high)));
        for (c, out) in pixel.iter_mut().enumerate() {
            *out = row.tap.blend(column.tap.blend(a.0[c], a.1[c]), column.tap.blend(b.0[c], b.1[c]));
        }
    }

    fn blend(&self, row: &Look, column: &Look, colour: &[u8], likeness: &[f32], pixel: &mut [f32]) {
        pixel.fill(0.0);
        let mut total = 0.0;
        for (j, &across) in row.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            for (i, &along) in column.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                let (y, x) = (row.first + j, column.first + i);
                let squared: u32 = (self.colours[y * self.columns + x].iter().zip(colour))
                    .map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2))
                    .sum();
                let weight = across * along * likeness[(squared as usize).min(FARTHEST)];
                total += weight;
                for (out, vote) in pixel.iter_mut().zip(self.of(y, x)) {
                    *out += weight * vote;
                }
            }
        }
        for out in pixel {
            *out /= total;
        }
    }

    fn decide(&self, pixel: &[f32], options: &ComposeOptions) -> (u8, u8) {
        let [typed @ .., distractor, all] = pixel else { return (super::OTHER, 0) };
        decide(self.classes.iter().copied().zip(typed.iter().copied()), *distractor, *all, options)
    }
}

/// Mean colour of the pixels in each cell of the grid.
fn colours(photo: &Photo, (columns, rows): (usize, usize), extent: (f32, f32)) -> Vec<[u8; 3]> {
    let cell = |i: usize, size: usize, extent: f32, limit: usize| {
        (((i as f32 + 0.5) * extent / size as f32) as usize).min(limit - 1)
    };
    let column: Vec<usize> = (0..photo.width()).map(|x| cell(x, photo.width(), extent.0, columns)).collect();
    let mut sums = vec![[0u64; 4]; columns * rows];
    for (y, line) in photo.rgba().chunks_exact(photo.width() * 4).enumerate() {
        let row = cell(y, photo.height(), extent.1, rows);
        for (pixel, column) in line.as_chunks::<4>().0.iter().zip(&column) {
            let sum = &mut sums[row * columns + column];
            for k in 0..3 {
                sum[k] += u64::from(pixel[k]);
            }
            sum[3] += 1;
        }
    }
    let middle = |i: usize, size: usize, extent: f32| ((i as f32 + 0.5) * size as f32 / extent) as usize;
    let colour = |(cell, &[r, g, b, n]): (usize, &[u64; 4])| {
        if n > 0 {
            return [r, g, b].map(|sum| (sum / n) as u8);
        }
        // The photo is smaller than the grid: the nearest pixel.
        let x = middle(cell % columns, photo.width(), extent.0).min(photo.width() - 1);
        let y = middle(cell / columns, photo.height(), extent.1).min(photo.height() - 1);
        let at = (y * photo.width() + x) * 4;
        [photo.rgba()[at], photo.rgba()[at + 1], photo.rgba()[at + 2]]
    };
    sums.iter().enumerate().map(colour).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{OTHER, compose};
    use super::*;
    use crate::bundle::Mode;
    use crate::classify::SegmentScores;
    use crate::engine::Tensor;
    use crate::segment::proposals::Proposals;

    const STRIDE: usize = 4;

    /// Two segments that meet at cell `split` of a grid `side` wide, and a photo of `size` whose colours meet at `edge`.
    fn labels(side: usize, split: usize, size: (usize, usize), edge: usize, contrast: u8) -> LabelMap {
        let covered = |query: usize, cell: usize| (cell % side < split) == (query == 0);
        let logits = (0..2).flat_map(|q| (0..side * side).map(move |cell| if covered(q, cell) { 6.0 } else { -6.0 }));
        let tensor =
            |shape: &[usize], data: Vec<f32>| Tensor::new(shape, data).expect("as many values as the shape has");
        let proposals = Proposals {
            mask_logits: tensor(&[1, 2, side, side], logits.collect()),
            embeddings: tensor(&[1, 2, 1], vec![1.0; 2]),
            background_logits: tensor(&[1, 2], vec![0.0; 2]),
            mask_stride: STRIDE,
            content: (side * STRIDE, side * STRIDE),
        };
        let scores = |query: usize| {
            let fused = vec![if query == 0 { 0.9 } else { 0.1 }, if query == 0 { 0.1 } else { 0.9 }];
            SegmentScores {
                query,
                by_query: fused.clone(),
                by_image: None,
                fused,
                rows: vec![Some(0), Some(1)],
                distractors: vec![],
                background: 0.0,
            }
        };
        let rgba = (0..size.0 * size.1).flat_map(|at| {
            let value = if at % size.0 < edge { 100 } else { 100 + contrast };
            [value, value, value, 255]
        });
        let photo = Photo::from_rgba(size.0, size.1, rgba.collect()).expect("a photo");
        let options = ComposeOptions { mode: Mode::Lite, gamma: 0.0, seen: vec![], threshold: 0.3 };
        compose(&proposals, &[scores(0), scores(1)], 2, &photo, &options)
    }

    /// Where each row of pixels changes from class 0 to class 1; fails where it does so more than once.
    fn boundary(map: &LabelMap) -> Vec<usize> {
        let rows = map.labels.chunks_exact(map.width);
        rows.map(|row| {
            let first = row.iter().filter(|&&label| label == 0).count();
            assert!(
                row[..first].iter().all(|&label| label == 0) && row[first..].iter().all(|&label| label == 1),
                "{row:?}"
            );
            first
        })
        .collect()
    }

    #[test]
    fn a_boundary_follows_the_photo_within_a_cell() {
        // A cell is 10 pixels wide; the masks meet at 80.
        for edge in 74..=86 {
            let map = labels(16, 8, (160, 160), edge, 80);
            assert!(boundary(&map).iter().all(|&x| x == edge), "{edge}: {:?}", boundary(&map));
        }
    }

    #[test]
    fn without_an_edge_in_the_photo_a_boundary_stays() {
        assert!(boundary(&labels(16, 8, (160, 160), 0, 0)).iter().all(|&x| x == 80));
        // One that is too far away is none of its own.
        assert!(boundary(&labels(16, 8, (160, 160), 40, 80)).iter().all(|&x| x == 80));
    }

    #[test]
    fn photos_smaller_than_the_grid_are_labelled() {
        for side in [1, 2, 3, 7] {
            let map = labels(16, 8, (side, side), side / 2, 80);
            assert_eq!(map.labels.len(), side * side);
            assert!(map.labels.iter().all(|&label| label != OTHER), "{:?}", map.labels);
        }
        assert!(boundary(&labels(16, 8, (8, 8), 4, 80)).iter().all(|&x| x == 4));
    }
}
