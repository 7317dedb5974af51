//! From the bytes of an upload to pixels, and from pixels to what the graphs take.

mod resize;

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::bundle::Resolution;
use crate::engine::Tensor;

use resize::bilinear;

/// Longest side, in pixels, at which a photo is kept and labelled; a larger one is made smaller when decoded.
pub const MAX_SIDE: u32 = 4096;
/// Longest side that is decoded at all, and most pixels; [`PhotoError::TooLarge`] says so.
const MAX_DECODED_SIDE: u32 = 20_000;
const MAX_DECODED_PIXELS: u64 = 100_000_000;
/// Most memory a decoder may take besides the pixels, in bytes: more than twice what any format needs for the most pixels,
/// so that no photo within the limits above is refused for it.
const MAX_DECODER_BYTES: u64 = MAX_DECODED_PIXELS * 16;

/// A decoded photo, upright, RGBA, at most [`MAX_SIDE`] on its long side.
#[derive(Clone, Debug)]
pub struct Photo {
    width: usize,
    height: usize,
    /// `width * height * 4` bytes, not premultiplied.
    rgba: Vec<u8>,
    original: (usize, usize),
}

/// Why an upload could not be taken as a photo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    #[error("the file is empty; choose a photo")]
    Empty,
    #[error("this is not an image that can be read here; use JPEG, PNG, WebP, GIF or BMP")]
    UnknownFormat,
    #[error("the image is damaged or cut off ({0}); save it again or choose another")]
    Damaged(String),
    #[error("the image is too large to decode here; make it smaller than 20,000 pixels a side and 100 megapixels")]
    TooLarge,
    #[error("the image has no pixels")]
    NoPixels,
    #[error("{found} bytes are not {width} x {height} pixels of four bytes each")]
    PixelBytes { found: usize, width: usize, height: usize },
}

impl Photo {
    /// Decodes JPEG, PNG, WebP, BMP or the first frame of a GIF, and applies the EXIF orientation.
    ///
    /// # Errors
    /// [`PhotoError::TooLarge`] beyond 20,000 pixels a side or 100 megapixels, before memory is taken for them; the others
    /// for what is no photo of these formats.
    pub fn decode(bytes: &[u8]) -> Result<Photo, PhotoError> {
        if bytes.is_empty() {
            return Err(PhotoError::Empty);
        }
        let mut reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| PhotoError::Damaged(error.to_string()))?;
        match reader.format() {
            Some(ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif | ImageFormat::Bmp) => {}
            _ => return Err(PhotoError::UnknownFormat),
        }
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_DECODED_SIDE);
        limits.max_image_height = Some(MAX_DECODED_SIDE);
        limits.max_alloc = Some(MAX_DECODER_BYTES);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(PhotoError::from_image)?;
        let (width, height) = decoder.dimensions();
        check_limits(width.into(), height.into())?;
        let orientation = decoder.orientation().map_err(PhotoError::from_image)?;
        let image = DynamicImage::from_decoder(decoder).map_err(PhotoError::from_image)?;
        // Turned as bytes: some formats decode to twice as many.
        let mut image = DynamicImage::ImageRgba8(image.into_rgba8());
        image.apply_orientation(orientation);
        let rgba = image.into_rgba8();
        Photo::from_rgba(rgba.width() as usize, rgba.height() as usize, rgba.into_raw())
    }

    /// A photo from `width * height * 4` RGBA bytes, upright, not premultiplied.
    ///
    /// # Errors
    /// [`PhotoError::NoPixels`], [`PhotoError::TooLarge`] as [`Photo::decode`], [`PhotoError::PixelBytes`] if `rgba` is
    /// shorter or longer.
    pub fn from_rgba(width: usize, height: usize, rgba: Vec<u8>) -> Result<Photo, PhotoError> {
        if width == 0 || height == 0 {
            return Err(PhotoError::NoPixels);
        }
        check_limits(width as u64, height as u64)?;
        // Within the limits that is less than 2^32.
        if rgba.len() != width * height * 4 {
            return Err(PhotoError::PixelBytes { found: rgba.len(), width, height });
        }
        let original = (width, height);
        let (width, height) = resized(width, height, usize::MAX, MAX_SIDE as usize);
        let rgba = if (width, height) == original { rgba } else { bilinear::<4>(&rgba, original, (width, height)) };
        Ok(Photo { width, height, rgba, original })
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// Width and height in pixels, upright, before the photo was made smaller.
    pub fn original(&self) -> (usize, usize) {
        self.original
    }

    /// `width * height * 4` bytes, not premultiplied.
    pub fn rgba(&self) -> &[u8] {
        &self.rgba
    }

    /// The photo at a resolution, RGB, transparent parts on white.
    pub fn resize(&self, resolution: Resolution) -> Resized {
        self.resize_to(resized(self.width, self.height, resolution.short, resolution.long))
    }

    /// The whole photo as a square of `side` x `side`, RGB, transparent parts on white.
    pub fn squash(&self, side: usize) -> Resized {
        self.resize_to((side, side))
    }

    fn resize_to(&self, (width, height): (usize, usize)) -> Resized {
        let on_white = |value: u8, alpha: u8| {
            let (value, alpha) = (u32::from(value), u32::from(alpha));
            ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        let (pixels, _) = self.rgba.as_chunks();
        let rgb: Vec<u8> =
            pixels.iter().flat_map(|&[r, g, b, a]| [on_white(r, a), on_white(g, a), on_white(b, a)]).collect();
        let rgb = bilinear::<3>(&rgb, (self.width, self.height), (width, height));
        Resized { width, height, rgb }
    }
}

fn check_limits(width: u64, height: u64) -> Result<(), PhotoError> {
    let fits = width.max(height) <= MAX_DECODED_SIDE.into() && width.saturating_mul(height) <= MAX_DECODED_PIXELS;
    if fits { Ok(()) } else { Err(PhotoError::TooLarge) }
}

impl PhotoError {
    fn from_image(error: image::ImageError) -> PhotoError {
        match error {
            image::ImageError::Limits(_) => PhotoError::TooLarge,
            image::ImageError::Unsupported(_) => PhotoError::UnknownFormat,
            other => PhotoError::Damaged(other.to_string()),
        }
    }
}

/// A photo at the segmenter's resolution: `width * height * 3` RGB bytes.
#[derive(Clone, Debug)]
pub struct Resized {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

impl Resized {
    /// `[1, 3, H, W]`, `(value - mean) / std`, padded with zeros at the right and the bottom to multiples of `stride`
    /// (after normalising, so that the padding is the mean colour).
    pub fn normalise(&self, mean: [f32; 3], std: [f32; 3], stride: usize) -> Tensor {
        let padded_width = self.width.next_multiple_of(stride);
        let padded_height = self.height.next_multiple_of(stride);
        let mut tensor = Tensor::zeros([1, 3, padded_height, padded_width]);
        let plane = padded_width * padded_height;
        let data = tensor.data_mut();
        for y in 0..self.height {
            for x in 0..self.width {
                for channel in 0..3 {
                    let value = f32::from(self.rgb[(y * self.width + x) * 3 + channel]);
                    data[channel * plane + y * padded_width + x] = (value - mean[channel]) / std[channel];
                }
            }
        }
        tensor
    }
}

/// The size after scaling the short side to `short`, or less where the long side would pass `long`
/// (detectron2's ResizeShortestEdge: sides rounded half up). With `short = usize::MAX` a small photo is kept as it is.
pub fn resized(width: usize, height: usize, short: usize, long: usize) -> (usize, usize) {
    let (small, big) = (width.min(height) as f64, width.max(height) as f64);
    let mut scale = if short == usize::MAX { 1.0 } else { short as f64 / small };
    if big * scale > long as f64 {
        scale = long as f64 / big;
    }
    let side = |side: usize| ((side as f64 * scale + 0.5) as usize).max(1);
    (side(width), side(height))
}
