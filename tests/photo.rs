//! Uploads: what decodes, what is refused, and that nothing panics.

use std::io::{Cursor, Write};

use image::{ImageFormat, RgbImage};
use zegformer::bundle::Resolution;
use zegformer::photo::{Photo, PhotoError, resized};

fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x + y) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("encoding a test image");
    bytes.into_inner()
}

#[test]
fn common_formats_decode() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp] {
        let photo = Photo::decode(&encoded(31, 17, format)).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!((photo.width(), photo.height()), (31, 17), "{format:?}");
        assert_eq!(photo.rgba().len(), 31 * 17 * 4);
    }
}

/// A JPEG with EXIF orientation 6 is shown turned by a quarter: its width and height change places.
#[test]
fn exif_orientation_is_applied() {
    let plain = encoded(32, 16, ImageFormat::Jpeg);
    let exif: &[u8] = &[
        0xff, 0xe1, 0x00, 0x22, b'E', b'x', b'i', b'f', 0, 0, b'M', b'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0,
        0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0,
    ];
    let turned = [&plain[..2], exif, &plain[2..]].concat();
    let photo = Photo::decode(&turned).expect("a JPEG with EXIF");
    assert_eq!((photo.width(), photo.height()), (16, 32));
}

#[test]
fn a_large_photo_is_made_smaller() {
    let photo = Photo::decode(&encoded(5000, 40, ImageFormat::Png)).expect("a wide photo");
    assert_eq!((photo.width(), photo.height()), (4096, 33));
    assert_eq!(photo.original(), (5000, 40));
}

/// A flat image that was never in memory: lines of a stream.
fn flat(width: u32, height: u32, colour: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fastest);
    let mut writer = encoder.write_header().unwrap();
    let line = vec![0x80; width as usize * colour.samples() * depth as usize / 8];
    let mut lines = writer.stream_writer().unwrap();
    for _ in 0..height {
        lines.write_all(&line).unwrap();
    }
    lines.finish().unwrap();
    writer.finish().unwrap();
    file
}

/// The limits are those of the message, whatever a pixel takes.
#[test]
fn pixels_are_limited_not_bytes() {
    let gray = flat(20_000, 5_001, png::ColorType::Grayscale, png::BitDepth::Eight);
    assert!(matches!(Photo::decode(&gray), Err(PhotoError::TooLarge)));
    let long = flat(20_001, 1, png::ColorType::Grayscale, png::BitDepth::Eight);
    assert!(matches!(Photo::decode(&long), Err(PhotoError::TooLarge)));
    let deep = flat(20_000, 3_600, png::ColorType::Rgba, png::BitDepth::Sixteen);
    let photo = Photo::decode(&deep).expect("72 megapixels of 8 bytes each");
    assert_eq!((photo.original(), photo.width(), photo.height()), ((20_000, 3_600), 4096, 737));
}

#[test]
fn pixels_are_taken_as_they_are_or_refused() {
    let photo = Photo::from_rgba(8192, 2, vec![7; 8192 * 2 * 4]).expect("pixels");
    assert_eq!((photo.original(), photo.width(), photo.height()), ((8192, 2), 4096, 1));
    assert!(photo.rgba().iter().all(|&value| value == 7));
    assert!(matches!(Photo::from_rgba(0, 2, Vec::new()), Err(PhotoError::NoPixels)));
    assert!(matches!(Photo::from_rgba(2, 2, vec![0; 15]), Err(PhotoError::PixelBytes { found: 15, .. })));
    for (width, height) in [(20_001, 1), (10_001, 10_000), (usize::MAX, 2), (usize::MAX, usize::MAX)] {
        assert!(matches!(Photo::from_rgba(width, height, Vec::new()), Err(PhotoError::TooLarge)));
    }
}

#[test]
fn what_is_no_photo_is_refused_with_a_sentence() {
    assert!(matches!(Photo::decode(b""), Err(PhotoError::Empty)));
    assert!(matches!(Photo::decode(b"%PDF-1.4 not a photo"), Err(PhotoError::UnknownFormat)));
    let png = encoded(64, 64, ImageFormat::Png);
    assert!(matches!(Photo::decode(&png[..png.len() / 2]), Err(PhotoError::Damaged(_))));
    // A header that claims 100,000 x 100,000 pixels must not be believed with memory.
    let mut bomb = encoded(8, 8, ImageFormat::Bmp);
    bomb[18..22].copy_from_slice(&100_000u32.to_le_bytes());
    bomb[22..26].copy_from_slice(&100_000u32.to_le_bytes());
    assert!(Photo::decode(&bomb).is_err());
}

/// Every truncation and many single-byte changes of every format give a photo or an error, never a panic.
#[test]
fn damaged_files_do_not_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut refused = 0;
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp] {
        let whole = encoded(24, 24, format);
        for cut in (0..whole.len()).step_by(7) {
            refused += usize::from(Photo::decode(&whole[..cut]).is_err());
        }
        for _ in 0..300 {
            let mut damaged = whole.clone();
            let at = random() % damaged.len();
            damaged[at] = random() as u8;
            refused += usize::from(Photo::decode(&damaged).is_err());
        }
    }
    assert!(refused > 300, "only {refused} damaged files were refused");
}

#[test]
fn short_side_rule_of_detectron2() {
    assert_eq!(resized(640, 480, 640, 2560), (853, 640));
    assert_eq!(resized(451, 300, 320, 640), (481, 320));
    assert_eq!(resized(4000, 400, 640, 2560), (2560, 256));
    assert_eq!(resized(100, 50, usize::MAX, 4096), (100, 50));
}

/// Padding comes after normalising: it is 0, the mean colour.
#[test]
fn padding_is_the_mean_colour() {
    let photo = Photo::decode(&encoded(50, 40, ImageFormat::Png)).expect("a photo");
    let resized = photo.resize(Resolution { short: 40, long: 80 });
    let tensor = resized.normalise([10.0, 20.0, 30.0], [2.0, 4.0, 5.0], 32);
    assert_eq!(tensor.shape(), [1, 3, 64, 64]);
    assert_eq!(tensor.data()[63], 0.0);
    assert_eq!(tensor.data()[63 * 64], 0.0);
    // Pixel (3, 2) is (3, 2, 5).
    assert_eq!(tensor.data()[2 * 64 + 3], (3.0 - 10.0) / 2.0);
    assert_eq!(tensor.data()[64 * 64 + 2 * 64 + 3], (2.0 - 20.0) / 4.0);
}
