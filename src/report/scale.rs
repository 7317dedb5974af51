//! A label map on a larger picture: the photo it was made of before that was made smaller.

/// Where the columns and rows of a map lie on a picture: each pixel of the picture shows the one of the map in which its
/// centre falls (nearest neighbour). Nothing is enlarged in memory; writers enlarge runs, corners and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Width and height of the map in pixels.
    pub map: (usize, usize),
    /// Width and height of the picture in pixels, at least the map's.
    pub picture: (usize, usize),
    columns: Vec<u32>,
    rows: Vec<u32>,
}

impl Scale {
    /// From the sizes (width, height) in pixels of a map and of a picture that is not smaller.
    pub fn new(map: (usize, usize), picture: (usize, usize)) -> Self {
        let picture = (picture.0.max(map.0), picture.1.max(map.1));
        Self { map, picture, columns: starts(map.0, picture.0), rows: starts(map.1, picture.1) }
    }

    /// Of a map that has the size of its picture.
    pub fn same(width: usize, height: usize) -> Self {
        Self::new((width, height), (width, height))
    }

    /// The picture's column at which column `x` of the map begins; `x` from 0 to the map's width.
    pub fn column(&self, x: usize) -> usize {
        self.columns[x] as usize
    }

    /// The picture's row at which row `y` of the map begins; `y` from 0 to the map's height.
    pub fn row(&self, y: usize) -> usize {
        self.rows[y] as usize
    }

    /// Pixels of the picture.
    pub fn pixels(&self) -> usize {
        self.picture.0 * self.picture.1
    }
}

/// The first of `to` positions whose centre falls in position `at` of `from` or behind it, for `at` from 0 to `from`.
fn starts(from: usize, to: usize) -> Vec<u32> {
    let (from, to) = (from as u64, to as u64);
    (0..=from).map(|at| (2 * to * at).saturating_sub(from).div_ceil(2 * from.max(1)) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_centre_falls_in_its_pixel() {
        for (from, to) in [(1, 1), (1, 7), (3, 3), (3, 4), (4096, 5000), (7, 20_000)] {
            let scale = Scale::new((from, 1), (to, 1));
            assert_eq!((scale.column(0), scale.column(from)), (0, to));
            for x in 0..from {
                assert!(scale.column(x) < scale.column(x + 1), "{from} to {to}");
                for at in scale.column(x)..scale.column(x + 1) {
                    assert_eq!((2 * at + 1) * from / (2 * to), x, "{from} to {to}");
                }
            }
        }
    }
}
