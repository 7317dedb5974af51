//! What is written about a label map can be read back, by this crate and by the programs it is written for.

#[path = "common/coco.rs"]
mod coco_reader;

use serde::Deserialize;
use zegformer::report::png::View;
use zegformer::report::rle::{Rle, of_labels};
use zegformer::report::scale::Scale;
use zegformer::report::trace::{Polygon, area, polygons};
use zegformer::report::{coco, geojson, json, palette, png};
use zegformer::text::parse_classes;

/// A small pseudo-random sequence (xorshift64), the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    /// A label map of blobs: coarse cells, some noise, so that all kinds of corners occur.
    fn labels(&mut self, width: usize, height: usize, labels: &[u8]) -> Vec<u8> {
        let cell = 1 + self.below(4);
        let noise = self.below(3);
        let across = width.div_ceil(cell);
        let coarse: Vec<u8> = (0..across * height.div_ceil(cell)).map(|_| labels[self.below(labels.len())]).collect();
        (0..width * height)
            .map(|at| {
                if noise > 0 && self.below(8) < noise {
                    return labels[self.below(labels.len())];
                }
                coarse[at / width / cell * across + at % width / cell]
            })
            .collect()
    }

    fn maps(&mut self, count: usize) -> Vec<(usize, usize, Vec<u8>)> {
        (0..count)
            .map(|round| {
                let (width, height) = (1 + self.below(24), 1 + self.below(24));
                let labels: &[u8] = if round % 2 == 0 { &[0, 1] } else { &[0, 3, 253, 255] };
                (width, height, self.labels(width, height, labels))
            })
            .collect()
    }
}

#[derive(Deserialize)]
struct Golden {
    size: [usize; 2],
    bits: String,
    counts: String,
    area: u64,
    bbox: [usize; 4],
}

#[test]
fn rle_equals_pycocotools() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/rle.json")).unwrap();
    assert!(golden.len() >= 26);
    for (number, golden) in golden.iter().enumerate() {
        let [height, width] = golden.size;
        let bit = |at: usize| {
            let byte = u8::from_str_radix(&golden.bits[at / 8 * 2..at / 8 * 2 + 2], 16).unwrap();
            byte >> (7 - at % 8) & 1 == 1
        };
        let mask: Vec<bool> = (0..width * height).map(bit).collect();
        let rle = Rle::encode(&mask, width, height).unwrap();
        assert_eq!(rle.to_text(), golden.counts, "mask {number}");
        assert_eq!((rle.area(), rle.bounds()), (golden.area, golden.bbox), "mask {number}");
        assert_eq!(coco_reader::mask(golden.size, &golden.counts), mask, "mask {number}");
    }
}

#[test]
fn rle_round_trip() {
    let mut dice = Dice(7);
    for (width, height, labels) in dice.maps(300) {
        let masks = of_labels(&labels, width, height).unwrap();
        assert_eq!(masks.iter().map(Rle::area).sum::<u64>(), labels.len() as u64);
        for label in [0u8, 1, 3, 253, 254, 255] {
            let mask: Vec<bool> = labels.iter().map(|&l| l == label).collect();
            let rle = &masks[usize::from(label)];
            assert_eq!(rle, &Rle::encode(&mask, width, height).unwrap());
            let json = rle.to_coco();
            assert_eq!(coco_reader::mask(json.size, &json.counts), mask);
        }
    }
}

/// Whether the centre of a pixel is inside, by the even-odd rule over all rings of a polygon.
fn covers(polygon: &Polygon, x: usize, y: usize) -> bool {
    let edges = polygon.iter().flat_map(|ring| ring.windows(2));
    let crossed = edges.filter(|edge| {
        let ([x0, y0], [x1, y1]) = (edge[0], edge[1]);
        let spans = (y0.min(y1) as usize) <= y && y < y0.max(y1) as usize;
        x0 == x1 && spans && x0 as usize > x
    });
    crossed.count() % 2 == 1
}

#[test]
fn polygons_cover_their_pixels() {
    let mut dice = Dice(5);
    for (width, height, labels) in dice.maps(300) {
        for (label, regions) in polygons(&labels, width).iter().enumerate() {
            let pixels = labels.iter().filter(|&&l| usize::from(l) == label).count();
            let doubled: i64 = regions.iter().flatten().map(|ring| area(ring)).sum();
            assert_eq!(doubled, 2 * pixels as i64, "label {label} of {width} x {height}: {labels:?}");
            for (at, &l) in labels.iter().enumerate() {
                let inside = regions.iter().filter(|polygon| covers(polygon, at % width, at / width)).count();
                assert_eq!(inside, usize::from(usize::from(l) == label));
            }
        }
    }
}

#[test]
fn polygons_are_valid() {
    let mut dice = Dice(9);
    for (width, height, labels) in dice.maps(300) {
        for polygon in polygons(&labels, width).iter().flatten() {
            for (number, ring) in polygon.iter().enumerate() {
                assert!(ring.len() >= 5 && ring.first() == ring.last());
                assert_eq!(area(ring) > 0, number == 0, "the outer ring comes first and runs the other way");
                let mut corners = ring[1..].to_vec();
                corners.sort_unstable();
                corners.dedup();
                assert_eq!(corners.len(), ring.len() - 1, "no corner twice: {ring:?}");
                for edge in ring.windows(2) {
                    assert!((edge[0][0] == edge[1][0]) != (edge[0][1] == edge[1][1]), "edges follow the pixels");
                    assert!(edge.iter().all(|&[x, y]| x as usize <= width && y as usize <= height));
                }
                for corner in ring[1..].windows(2).chain([[ring[ring.len() - 1], ring[1]].as_slice()]) {
                    assert_ne!(corner[0], corner[1]);
                }
            }
        }
    }
}

#[test]
fn geojson_document() {
    let labels = [0, 0, 255, 2, 2, 255];
    let document = geojson::features(&labels, &Scale::same(3, 2), &["cat", "dog", "sofa"]).unwrap();
    let value = serde_json::to_value(&document).unwrap();
    assert_eq!(value["type"], "FeatureCollection");
    assert_eq!(value["pixels"], serde_json::json!({"width": 3, "height": 2, "y": "down"}));
    let names: Vec<&str> =
        value["features"].as_array().unwrap().iter().map(|f| f["properties"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cat", "sofa"], "a class without pixels has no feature");
    let feature = &value["features"][1];
    assert_eq!(feature["properties"]["index"], 2);
    assert_eq!(feature["geometry"]["type"], "MultiPolygon");
    assert_eq!(feature["geometry"]["coordinates"], serde_json::json!([[[[2, 1], [2, 2], [0, 2], [0, 1], [2, 1]]]]));
    assert!(geojson::features(&labels, &Scale::same(2, 2), &[]).is_err());
}

/// Decodes without applying the palette.
fn raw(file: &[u8]) -> (::png::OutputInfo, Vec<u8>) {
    let mut decoder = ::png::Decoder::new(std::io::Cursor::new(file));
    decoder.set_transformations(::png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info, pixels)
}

#[test]
fn label_png_keeps_the_labels() {
    let mut dice = Dice(3);
    for (width, height, labels) in dice.maps(20) {
        let file = png::labels(&labels, &Scale::same(width, height)).unwrap();
        let (info, pixels) = raw(&file);
        assert_eq!((info.color_type, info.bit_depth), (::png::ColorType::Indexed, ::png::BitDepth::Eight));
        assert_eq!((info.width as usize, info.height as usize), (width, height));
        assert_eq!(pixels, labels);
    }
    let shown = image::load_from_memory(&png::labels(&[0, 255], &Scale::same(2, 1)).unwrap()).unwrap().into_rgba8();
    assert_eq!(shown.get_pixel(0, 0).0[..3], palette::colour(0));
    assert_eq!(shown.get_pixel(0, 0).0[3], 255);
    assert_eq!(shown.get_pixel(1, 0).0[3], 0, "other is transparent");
    assert!(png::labels(&[0; 5], &Scale::same(2, 3)).is_err());
    assert!(png::labels(&[], &Scale::same(0, 0)).is_err());
}

#[test]
fn overlay_and_cutout() {
    let rgba = [10, 20, 30, 255, 10, 20, 30, 255, 40, 50, 60, 255, 0, 0, 0, 0];
    let labels = [0, 0, 255, 255];
    let shown = |file: Vec<u8>| image::load_from_memory(&file).unwrap().into_rgba8().into_raw();
    let half = View { opacity: 0.5, hidden: &[] };
    let overlay = shown(png::overlay(&rgba, &labels, 4, 1, &half).unwrap());
    let outline = palette::colour(0);
    assert_eq!(overlay[..4], [120, 90, 15, 255]);
    assert_eq!(overlay[4..7], outline, "the last pixel of a region has the colour itself");
    assert_eq!(overlay[8..], [40, 50, 60, 255, 255, 255, 255, 255]);
    let solid = shown(png::overlay(&rgba, &labels, 4, 1, &View { opacity: 9.0, hidden: &[] }).unwrap());
    assert_eq!(solid[..3], outline);
    let none = shown(png::overlay(&rgba, &labels, 4, 1, &View { opacity: 0.5, hidden: &[0] }).unwrap());
    assert_eq!(none[..8], [10, 20, 30, 255, 10, 20, 30, 255], "a hidden class has no outline either");
    let cutout = shown(png::cutout(&rgba, &labels, 4, 1, 0).unwrap());
    assert_eq!(cutout, [10, 20, 30, 255, 10, 20, 30, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(png::overlay(&rgba[..8], &labels, 4, 1, &half).is_err());
    assert!(png::cutout(&rgba, &labels[..2], 4, 1, 0).is_err());
}

#[test]
fn regions_and_annotations() {
    let classes = parse_classes("cat, sofa | couch, wall").unwrap();
    let labels = [0, 0, 255, 2, 0, 255];
    let confidence = [255, 0, 9, 51, 255, 9];
    let (entries, other) = json::regions(&labels, &confidence, &Scale::same(3, 2), &classes).unwrap();
    assert_eq!(entries.iter().map(|e| e.area).collect::<Vec<_>>(), [3, 0, 1]);
    assert_eq!((other.area, other.share), (2, 1.0 / 3.0));
    assert!((entries[0].score - 2.0 / 3.0).abs() < 1e-9 && (entries[2].score - 0.2).abs() < 1e-9);
    assert_eq!((entries[0].bounds, entries[1].bounds, entries[2].bounds), ([0, 0, 2, 2], [0; 4], [0, 1, 1, 2]));
    assert_eq!(entries[1].synonyms, ["couch"]);

    let mut document = coco::Annotations::new("zegformer-lite", &classes);
    document.add("a.png", 3, 2, &entries);
    document.add("b.png", 3, 2, &entries);
    let value: serde_json::Value = serde_json::from_slice(&document.to_json().unwrap()).unwrap();
    assert_eq!(value["images"].as_array().unwrap().len(), 2);
    assert_eq!(value["categories"][1], serde_json::json!({"id": 2, "name": "sofa", "supercategory": "object"}));
    let annotations = value["annotations"].as_array().unwrap();
    assert_eq!(annotations.len(), 4, "a class without pixels has no annotation");
    assert_eq!(annotations[3]["id"], 4);
    assert_eq!(annotations[3]["image_id"], 2);
    assert_eq!(annotations[3]["category_id"], 3);
    assert_eq!(annotations[3]["bbox"], serde_json::json!([0, 1, 1, 1]));
    assert!(json::regions(&labels, &confidence[1..], &Scale::same(3, 2), &classes).is_err());
}

/// The labels, masks, areas and polygons of a map on a larger picture are those of the enlarged map.
#[test]
fn what_is_enlarged_equals_the_enlarged_map() {
    let mut dice = Dice(13);
    let classes = parse_classes("a, b, c, d").unwrap();
    for (width, height, labels) in dice.maps(60) {
        let (wide, tall) = (width + dice.below(3 * width), height + dice.below(20));
        let scale = Scale::new((width, height), (wide, tall));
        let same = Scale::same(wide, tall);
        let source = |at: usize, from: usize, to: usize| (2 * at + 1) * from / (2 * to);
        let at = |at: usize| source(at / wide, height, tall) * width + source(at % wide, width, wide);
        let enlarged: Vec<u8> = (0..wide * tall).map(|pixel| labels[at(pixel)]).collect();
        assert_eq!(raw(&png::labels(&labels, &scale).unwrap()).1, enlarged);
        let names = ["a", "b", "c", "d"];
        let found = geojson::features(&labels, &scale, &names).unwrap();
        assert_eq!(found, geojson::features(&enlarged, &same, &names).unwrap());
        let confidence = |pixels: usize| vec![255; pixels];
        let found = json::regions(&labels, &confidence(labels.len()), &scale, &classes).unwrap();
        assert_eq!(found, json::regions(&enlarged, &confidence(enlarged.len()), &same, &classes).unwrap());
    }
}
