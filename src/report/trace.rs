//! Outlines of the connected regions of a label map.

use std::collections::HashMap;

/// A closed ring of points `[x, y]`, the first repeated at the end; corners only.
pub type Ring = Vec<[u32; 2]>;
/// An outer ring and its holes.
pub type Polygon = Vec<Ring>;

/// The polygons of every label, `result[label]`, each a region whose pixels touch along edges. Outer rings have positive
/// area by the shoelace formula, holes negative. `labels` is row-major and holds whole rows of `width` > 0.
pub fn polygons(labels: &[u8], width: usize) -> Vec<Vec<Polygon>> {
    let map = Map { labels, width, height: labels.len() / width };
    let regions = Regions::new(&map);
    let mut outlines: Vec<Polygon> = vec![Vec::new(); regions.count];
    let mut of_label: Vec<Vec<usize>> = vec![Vec::new(); 256];
    let mut walked = vec![false; labels.len()];
    for y in 0..map.height {
        for x in 0..width {
            let at = y * width + x;
            if walked[at] || !map.starts_ring(x, y) {
                continue;
            }
            let label = labels[at];
            let region = regions.of(x, y);
            for ring in map.walk(x, y, &mut walked) {
                let outline = &mut outlines[region];
                if area(&ring) > 0 {
                    outline.insert(0, ring);
                    of_label[usize::from(label)].push(region);
                } else {
                    outline.push(ring);
                }
            }
        }
    }
    let mut take = |region: usize| std::mem::take(&mut outlines[region]);
    of_label.into_iter().map(|regions| regions.into_iter().map(&mut take).collect()).collect()
}

/// Twice the signed area of a ring in square pixels, by the shoelace formula on `(x, y)` as they are.
pub fn area(ring: &[[u32; 2]]) -> i64 {
    let cross = |pair: &[[u32; 2]]| {
        i64::from(pair[0][0]) * i64::from(pair[1][1]) - i64::from(pair[1][0]) * i64::from(pair[0][1])
    };
    ring.windows(2).map(cross).sum()
}

struct Map<'a> {
    labels: &'a [u8],
    width: usize,
    height: usize,
}

impl Map<'_> {
    /// Whether the upper edge of a pixel is an outline of its region. Every ring has such an edge.
    fn starts_ring(&self, x: usize, y: usize) -> bool {
        y == 0 || self.labels[(y - 1) * self.width + x] != self.labels[y * self.width + x]
    }

    /// Whether the pixel exists and has the label.
    fn is(&self, x: i64, y: i64, label: u8) -> bool {
        let inside = (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y);
        inside && self.labels[y as usize * self.width + x as usize] == label
    }

    /// Walks along one outline from the upper left corner of a pixel, the region at the right hand (as seen on a screen),
    /// and marks the pixels whose upper edges it passes. Gives simple rings: at a corner that is passed twice the part
    /// between is cut off as a ring of its own.
    fn walk(&self, x: usize, y: usize, walked: &mut [bool]) -> Vec<Ring> {
        let label = self.labels[y * self.width + x];
        let start = (x as i64, y as i64, East);
        let (mut px, mut py, mut heading) = start;
        let mut rings = Vec::new();
        let mut corners: Ring = Vec::new();
        // Only corners between two diagonal pixels of the region are passed twice: where those passed once are in `corners`,
        // by place and in their order, so that those of a ring that is cut off are the last ones.
        let mut crossings: HashMap<[u32; 2], usize> = HashMap::new();
        let mut order: Vec<[u32; 2]> = Vec::new();
        loop {
            if heading == East {
                walked[py as usize * self.width + px as usize] = true;
            }
            let (dx, dy) = heading.step();
            (px, py) = (px + dx, py + dy);
            let (right, left) = heading.ahead();
            let right = self.is(px + right.0, py + right.1, label);
            let left = self.is(px + left.0, py + left.1, label);
            // Turning right wherever the region ends there keeps diagonal neighbours apart.
            let next = match (right, left) {
                (false, _) => heading.right(),
                (true, true) => heading.left(),
                (true, false) => heading,
            };
            if next != heading {
                let corner = [px as u32, py as u32];
                if !right && left {
                    if let Some(&first) = crossings.get(&corner) {
                        let mut ring = corners.split_off(first);
                        while let Some(cut) = order.pop_if(|cut| crossings.get(cut).is_some_and(|&at| at > first)) {
                            crossings.remove(&cut);
                        }
                        ring.push(corner);
                        corners.push(corner);
                        rings.push(ring);
                        heading = next;
                        if (px, py, heading) == start {
                            break;
                        }
                        continue;
                    }
                    crossings.insert(corner, corners.len());
                    order.push(corner);
                }
                corners.push(corner);
            }
            heading = next;
            if (px, py, heading) == start {
                break;
            }
        }
        // The start is a corner only if the outline turns there; then it was pushed last.
        if let Some(&first) = corners.first() {
            corners.push(first);
        }
        if corners.len() > 3 {
            rings.push(corners);
        }
        rings
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heading {
    East,
    South,
    West,
    North,
}
use Heading::{East, North, South, West};

impl Heading {
    fn step(self) -> (i64, i64) {
        match self {
            East => (1, 0),
            South => (0, 1),
            West => (-1, 0),
            North => (0, -1),
        }
    }

    /// The pixels ahead of a corner, at the right hand and at the left, relative to the pixel south-east of the corner.
    fn ahead(self) -> ((i64, i64), (i64, i64)) {
        match self {
            East => ((0, 0), (0, -1)),
            South => ((-1, 0), (0, 0)),
            West => ((-1, -1), (-1, 0)),
            North => ((0, -1), (-1, -1)),
        }
    }

    fn right(self) -> Self {
        match self {
            East => South,
            South => West,
            West => North,
            North => East,
        }
    }

    fn left(self) -> Self {
        self.right().right().right()
    }
}

/// Which connected region (along edges) each pixel belongs to, kept as runs of equal labels.
struct Regions {
    /// First column and region of each run, row after row.
    runs: Vec<(u32, u32)>,
    /// Where each row's runs start.
    rows: Vec<usize>,
    count: usize,
}

impl Regions {
    fn new(map: &Map) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let mut rows = vec![0];
        let mut parents: Vec<u32> = Vec::new();
        for y in 0..map.height {
            let row = &map.labels[y * map.width..(y + 1) * map.width];
            let first = runs.len();
            for x in 0..map.width {
                if x == 0 || row[x] != row[x - 1] {
                    runs.push((x as u32, parents.len() as u32));
                    parents.push(parents.len() as u32);
                }
            }
            rows.push(runs.len());
            if y > 0 {
                let above = rows[y - 1]..first;
                join(&mut parents, above, first..runs.len(), &runs, map, y);
            }
        }
        let mut numbers = HashMap::new();
        for (_, region) in &mut runs {
            let next = numbers.len() as u32;
            *region = *numbers.entry(root(&mut parents, *region)).or_insert(next);
        }
        Self { runs, rows, count: numbers.len() }
    }

    fn of(&self, x: usize, y: usize) -> usize {
        let row = &self.runs[self.rows[y]..self.rows[y + 1]];
        let run = row.partition_point(|&(start, _)| start as usize <= x) - 1;
        row[run].1 as usize
    }
}

/// Joins the runs of row `y` with those of the row above that touch them and have the same label.
fn join(
    parents: &mut [u32],
    above: std::ops::Range<usize>,
    below: std::ops::Range<usize>,
    runs: &[(u32, u32)],
    map: &Map,
    y: usize,
) {
    let end = |run: usize, row: &std::ops::Range<usize>| {
        if run + 1 < row.end { runs[run + 1].0 as usize } else { map.width }
    };
    let (mut a, mut b) = (above.start, below.start);
    while a < above.end && b < below.end {
        let x = runs[a].0.max(runs[b].0) as usize;
        if map.labels[y * map.width + x] == map.labels[(y - 1) * map.width + x] {
            let (high, low) = (root(parents, a as u32), root(parents, b as u32));
            parents[high.max(low) as usize] = high.min(low);
        }
        let (end_above, end_below) = (end(a, &above), end(b, &below));
        if end_above <= end_below {
            a += 1;
        }
        if end_below <= end_above {
            b += 1;
        }
    }
}

fn root(parents: &mut [u32], run: u32) -> u32 {
    let mut root = run;
    while parents[root as usize] != root {
        let above = parents[parents[root as usize] as usize];
        parents[root as usize] = above;
        root = above;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(rows: &[&str]) -> Vec<Vec<Polygon>> {
        let labels: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(|b| b - b'0')).collect();
        polygons(&labels, rows[0].len())
    }

    #[test]
    fn a_pixel_and_a_frame() {
        let regions = traced(&["000", "010", "000"]);
        assert_eq!(regions[1], [vec![vec![[2, 1], [2, 2], [1, 2], [1, 1], [2, 1]]]]);
        assert_eq!(
            regions[0],
            [vec![vec![[3, 0], [3, 3], [0, 3], [0, 0], [3, 0]], vec![[2, 2], [2, 1], [1, 1], [1, 2], [2, 2]],]]
        );
    }

    #[test]
    fn diagonal_pixels_are_apart() {
        let regions = traced(&["10", "01"]);
        assert_eq!(regions[1].len(), 2);
        assert_eq!(regions[0].len(), 2);
        assert!(regions.iter().flatten().all(|polygon| polygon.len() == 1 && polygon[0].len() == 5));
    }

    #[test]
    fn holes_that_touch_are_apart() {
        let regions = traced(&["0000", "0100", "0010", "0000"]);
        assert_eq!(regions[0].len(), 1);
        assert_eq!(regions[0][0].len(), 3, "an outer ring and two holes");
    }

    #[test]
    fn a_bay_that_closes_at_a_corner_is_a_hole() {
        let regions = traced(&["0001", "0110", "0110", "0000"]);
        assert_eq!(regions[0].len(), 1);
        assert_eq!(regions[0][0].len(), 2);
        assert!(area(&regions[0][0][0]) > 0 && area(&regions[0][0][1]) < 0);
    }

    /// Each pass over a list of all corners so far would make this take minutes.
    #[test]
    fn many_bays_take_time_in_proportion() {
        const BAYS: usize = 200_000;
        let row = |pattern: [u8; 3]| (0..3 * BAYS).map(move |x| pattern[x % 3]);
        let labels: Vec<u8> = row([1, 0, 0]).chain(row([0, 1, 0])).chain(row([0, 0, 0])).collect();
        let started = std::time::Instant::now();
        let regions = polygons(&labels, 3 * BAYS);
        assert_eq!((regions[0].len(), regions[0][0].len()), (1, 1 + BAYS));
        assert_eq!(regions[1].len(), 2 * BAYS);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
