//! Label maps as a COCO annotation document, which pycocotools and most labelling programs read.
//!
//! One annotation per class and photo (a "stuff" annotation: all pixels of the class, RLE, `iscrowd` 0). Category ids count
//! from 1, as COCO's do: id = label + 1.

use serde::Serialize;

use super::error::ReportError;
use super::json::ClassEntry;
use super::rle::CocoMask;
use crate::text::Class;

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Annotations {
    /// What made it.
    pub info: Info,
    /// The photos.
    pub images: Vec<Image>,
    /// Their regions.
    pub annotations: Vec<Annotation>,
    /// The classes.
    pub categories: Vec<Category>,
}

/// What made the document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// One line of text.
    pub description: String,
}

/// One photo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Image {
    /// From 1 on.
    pub id: usize,
    /// Its file, as the caller names it.
    pub file_name: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

/// All pixels of one class in one photo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Annotation {
    /// From 1 on.
    pub id: usize,
    /// The photo.
    pub image_id: usize,
    /// The class.
    pub category_id: usize,
    /// Its mask.
    pub segmentation: CocoMask,
    /// Its pixels.
    pub area: u64,
    /// Left, top, width, height in pixels.
    pub bbox: [usize; 4],
    /// Always 0.
    pub iscrowd: u8,
    /// Mean confidence, 0 to 1 (as in COCO's results; annotation readers pass over it).
    pub score: f64,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Category {
    /// Label + 1.
    pub id: usize,
    /// Its first name.
    pub name: String,
    /// Always `object`: typed names have no hierarchy.
    pub supercategory: &'static str,
}

impl Annotations {
    /// A document without photos. `model` is the bundle's name.
    pub fn new(model: &str, classes: &[Class]) -> Self {
        let category = |(index, class): (usize, &Class)| Category {
            id: index + 1,
            name: class.name.clone(),
            supercategory: "object",
        };
        Self {
            info: Info { description: format!("labelled by zegformer with {model}") },
            images: Vec::new(),
            annotations: Vec::new(),
            categories: classes.iter().enumerate().map(category).collect(),
        }
    }

    /// Adds a photo, `width` x `height` pixels as its classes' masks (see [`super::json::regions`]); classes without pixels
    /// are passed over. `file` tells photos apart: where they come from several folders, with those.
    pub fn add(&mut self, file: &str, width: usize, height: usize, classes: &[ClassEntry]) {
        let image_id = self.images.len() + 1;
        self.images.push(Image { id: image_id, file_name: file.to_owned(), width, height });
        for class in classes.iter().filter(|class| class.area > 0) {
            let [left, top, right, bottom] = class.bounds;
            self.annotations.push(Annotation {
                id: self.annotations.len() + 1,
                image_id,
                category_id: class.index + 1,
                segmentation: class.mask.clone(),
                area: class.area,
                bbox: [left, top, right - left, bottom - top],
                iscrowd: 0,
                score: class.score,
            });
        }
    }

    /// The document as JSON.
    ///
    /// # Errors
    /// [`ReportError::Json`].
    pub fn to_json(&self) -> Result<Vec<u8>, ReportError> {
        Ok(serde_json::to_vec(self)?)
    }
}
