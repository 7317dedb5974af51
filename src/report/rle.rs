//! COCO's run-length encoding of masks, as pycocotools reads it (cocoapi `common/maskApi.c`).
//!
//! Pixels are counted column by column, top to bottom; the counts alternate between zeros and ones and start with zeros.

use serde::Serialize;

use super::error::{ReportError, check_size};
use super::scale::Scale;

/// The mask of one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Lengths of the runs: zeros, ones, zeros, …; their sum is `width * height`.
    pub counts: Vec<u32>,
}

/// A mask as COCO's JSON holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CocoMask {
    /// Height, then width, in pixels.
    pub size: [usize; 2],
    /// The counts, compressed by [`Rle::to_text`].
    pub counts: String,
}

impl Rle {
    /// Encodes a row-major mask.
    ///
    /// # Errors
    /// [`ReportError::Size`] if `mask` is not `width * height` values.
    pub fn encode(mask: &[bool], width: usize, height: usize) -> Result<Self, ReportError> {
        check_size("the mask", mask.len(), 1, width, height)?;
        let mut runs = Runs::default();
        let mut position = 0;
        for x in 0..width {
            for y in 0..height {
                if mask[y * width + x] {
                    runs.add(position, 1);
                }
                position += 1;
            }
        }
        Ok(runs.close(width, height))
    }

    /// The same mask, which has the size of the map, on the picture.
    pub fn scaled(&self, scale: &Scale) -> Self {
        if scale.map == scale.picture {
            return self.clone();
        }
        let mut columns: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.width];
        let mut position = 0;
        for (run, &count) in self.counts.iter().enumerate() {
            let end = position + count as usize;
            while run % 2 == 1 && position < end {
                let (x, y) = (position / self.height, position % self.height);
                let length = (end - position).min(self.height - y);
                columns[x].push((scale.row(y), scale.row(y + length)));
                position += length;
            }
            position = end;
        }
        let (width, height) = scale.picture;
        let mut runs = Runs::default();
        for (x, column) in columns.iter().enumerate() {
            for left in scale.column(x)..scale.column(x + 1) {
                for &(top, bottom) in column {
                    runs.add(left * height + top, bottom - top);
                }
            }
        }
        runs.close(width, height)
    }

    /// Number of ones.
    pub fn area(&self) -> u64 {
        self.counts.iter().skip(1).step_by(2).map(|&count| u64::from(count)).sum()
    }

    /// The smallest box around the ones: left, top, width, height in pixels; all 0 if there are none.
    pub fn bounds(&self) -> [usize; 4] {
        let (mut left, mut top, mut right, mut bottom) = (usize::MAX, usize::MAX, 0, 0);
        let mut position = 0;
        for (run, &count) in self.counts.iter().enumerate() {
            let (start, end) = (position, position + count as usize);
            position = end;
            if run % 2 == 0 || count == 0 || self.height == 0 {
                continue;
            }
            let (first, last) = (start / self.height, (end - 1) / self.height);
            left = left.min(first);
            right = right.max(last + 1);
            // A run that goes on in the next column touches both ends.
            let whole = first != last;
            top = top.min(if whole { 0 } else { start % self.height });
            bottom = bottom.max(if whole { self.height } else { (end - 1) % self.height + 1 });
        }
        if right == 0 { [0; 4] } else { [left, top, right - left, bottom - top] }
    }

    /// The counts as COCO's compressed text: from the fourth on each as its difference from the one two before, in groups
    /// of five bits, lowest first, a sixth bit where more follow, each as one character from `0` on.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (index, &count) in self.counts.iter().enumerate() {
            let mut value = i64::from(count);
            if index > 2 {
                value -= i64::from(self.counts[index - 2]);
            }
            loop {
                let group = (value & 0x1f) as u8;
                value >>= 5;
                let more = if group & 0x10 != 0 { value != -1 } else { value != 0 };
                text.push(char::from(48 + group + if more { 0x20 } else { 0 }));
                if !more {
                    break;
                }
            }
        }
        text
    }

    /// The mask as COCO's JSON holds it.
    pub fn to_coco(&self) -> CocoMask {
        CocoMask { size: [self.height, self.width], counts: self.to_text() }
    }
}

/// The masks of all 256 labels in one pass over the label map: `masks[label]`; of absent labels without ones.
///
/// # Errors
/// [`ReportError::Size`] if `labels` is not `width * height` bytes.
pub fn of_labels(labels: &[u8], width: usize, height: usize) -> Result<Vec<Rle>, ReportError> {
    check_size("the label map", labels.len(), 1, width, height)?;
    let mut runs: Vec<Runs> = (0..256).map(|_| Runs::default()).collect();
    let (mut start, mut current) = (0, labels[0]);
    let mut position = 0;
    for x in 0..width {
        for y in 0..height {
            let label = labels[y * width + x];
            if label != current {
                runs[usize::from(current)].add(start, position - start);
                (start, current) = (position, label);
            }
            position += 1;
        }
    }
    runs[usize::from(current)].add(start, position - start);
    Ok(runs.into_iter().map(|runs| runs.close(width, height)).collect())
}

/// Counts under construction.
#[derive(Default)]
struct Runs {
    counts: Vec<u32>,
    end: usize,
}

impl Runs {
    /// Adds `length` ones that start at `position`, which is not before the end of the last ones.
    fn add(&mut self, position: usize, length: usize) {
        match self.counts.last_mut() {
            Some(last) if position == self.end => *last += length as u32,
            _ => self.counts.extend([(position - self.end) as u32, length as u32]),
        }
        self.end = position + length;
    }

    fn close(mut self, width: usize, height: usize) -> Rle {
        let rest = width * height - self.end;
        if rest > 0 {
            self.counts.push(rest as u32);
        }
        Rle { width, height, counts: self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Columns: 0 1, 1 1, 0 0.
        let mask = [false, true, false, true, true, false];
        let rle = Rle::encode(&mask, 3, 2).unwrap();
        assert_eq!(rle.counts, [1, 3, 2]);
        assert_eq!((rle.area(), rle.bounds()), (3, [0, 0, 2, 2]));
        assert_eq!(rle.to_text(), "132");
    }

    #[test]
    fn edges() {
        let full = Rle::encode(&[true; 6], 2, 3).unwrap();
        assert_eq!((full.counts.as_slice(), full.bounds()), (&[0, 6][..], [0, 0, 2, 3]));
        let empty = Rle::encode(&[false; 6], 2, 3).unwrap();
        assert_eq!((empty.counts.as_slice(), empty.bounds()), (&[6][..], [0; 4]));
        assert!(Rle::encode(&[], 0, 3).is_err());
        assert!(Rle::encode(&[true; 5], 2, 3).is_err());
    }

    #[test]
    fn all_labels_at_once() {
        let labels = [7, 7, 255, 0, 7, 255];
        let masks = of_labels(&labels, 3, 2).unwrap();
        for label in 0..=255 {
            let mask = labels.map(|l| l == label);
            assert_eq!(masks[usize::from(label)], Rle::encode(&mask, 3, 2).unwrap(), "{label}");
        }
    }
}
