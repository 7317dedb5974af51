//! The command-line program as a user or a script meets it: files, messages, exit codes.

#[path = "common/coco.rs"]
mod coco_reader;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zegformer::bundle::Bundle;

/// A whole model with random weights, small enough to run in a moment: its labels mean nothing.
const MODEL: &str = "tests/golden/official-tiny/bundle";
const PHOTO: &str = "tests/golden/official-tiny/landscape.png";

fn zegformer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zegformer"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program starts")
}

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Labels of a label PNG with its size, the palette not applied.
fn labels(path: &Path) -> (u32, u32, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Indexed, png::BitDepth::Eight));
    (info.width, info.height, pixels)
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["segment"],
        &["segment", PHOTO, "--out", "x"],
        &["segment", PHOTO, "--classes", "cat"],
        &["segment", PHOTO, "--classes", " , ", "--out", "x"],
        &["segment", PHOTO, "--classes", "cat", "--out", "x", "--branch", "both"],
        &["segment", PHOTO, "--classes", "cat", "--out", "x", "--branch", "query", "--ensembling", "all"],
        &["segment", PHOTO, "--classes", "cat", "--out", "x", "--lambda", "much"],
        &["bundle"],
        &["bundle", "check"],
    ] {
        let output = zegformer(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).is_empty());
    }
    let output = zegformer(&["segment", PHOTO, "--classes", " , ", "--out", "x"]);
    assert!(said(&output).contains("at least one"), "{}", said(&output));
}

#[test]
fn help_and_version_are_no_errors() {
    for argument in ["--help", "--version"] {
        assert_eq!(zegformer(&[argument]).status.code(), Some(0));
    }
    let help = zegformer(&["segment", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    for option in ["--classes", "--model", "--out", "--labels", "--overlay", "--json"] {
        assert!(text.contains(option), "{option}");
    }
}

#[test]
fn a_folder_that_is_no_model_is_named() {
    let empty = folder("no_model");
    let name = empty.to_str().unwrap();
    for arguments in
        [&["bundle", "check", name][..], &["segment", PHOTO, "--classes", "cat", "--out", name, "--model", name]]
    {
        let output = zegformer(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("bundle.json"), "{}", said(&output));
    }
    fs::write(empty.join("bundle.json"), "{\"format\": 1, \"colour\": \"red\"}").unwrap();
    let output = zegformer(&["bundle", "check", name]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("colour"), "{}", said(&output));
}

#[test]
fn a_model_is_checked_up_to_its_largest_buffers() {
    let output = zegformer(&["bundle", "check", MODEL]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for graph in ["segmenter.onnx", "image.onnx", "image.onepass.onnx", "text.onnx"] {
        assert!(text.contains(&format!("{graph} ")), "{graph}: {text}");
    }
    assert!(text.contains("largest bindings on a GPU"), "{text}");
}

#[test]
fn every_mode_labels_and_one_that_the_model_lacks_is_refused() {
    let out = folder("modes");
    let name = out.to_str().unwrap();
    for mode in ["official", "fast", "one-pass", "lite"] {
        let line = ["segment", PHOTO, "--classes", "cat, tree", "--model", MODEL, "--out", name, "--mode", mode];
        let output = zegformer(&line);
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", said(&output));
    }
    let line = ["segment", PHOTO, "--classes", "cat", "--model", "models/zegformer-lite", "--out", name];
    let output = zegformer(&[&line[..], &["--mode", "one-pass"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("one-pass"), "{}", said(&output));
}

#[test]
fn it_says_what_a_phrase_is_looked_for_as() {
    let out = folder("phrase");
    let name = out.to_str().unwrap();
    let cat = "tests/photos/chelsea.png";
    let line = ["segment", cat, "--classes", "a ginger cat, wall", "--model", "models/zegformer-lite", "--out", name];
    let output = zegformer(&line);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output);
    assert!(text.contains("a ginger cat, looked for as \u{201c}cat\u{201d}, "), "{text}");
    let document: serde_json::Value = serde_json::from_slice(&fs::read(out.join("chelsea.json")).unwrap()).unwrap();
    assert_eq!(document["classes"][0]["looked_for_as"], "cat");
    assert_eq!(document["classes"][1]["looked_for_as"], serde_json::Value::Null);
    assert_eq!([&document["classes"][0]["seen"], &document["classes"][1]["seen"]], [true, true]);

    assert_eq!(document["options"]["ensembling"], "grouped");
    let output = zegformer(&[&line[..], &["--ensembling", "all"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let document: serde_json::Value = serde_json::from_slice(&fs::read(out.join("chelsea.json")).unwrap()).unwrap();
    assert_eq!(document["options"]["ensembling"], "all");
}

#[test]
fn a_photo_becomes_three_files() {
    let out = folder("three_files");
    let output = zegformer(&[
        "segment",
        PHOTO,
        "--classes",
        "cat, sofa | couch, wall",
        "--model",
        MODEL,
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(files(&out), ["landscape.json", "landscape.labels.png", "landscape.overlay.png"]);

    let (width, height, labels) = labels(&out.join("landscape.labels.png"));
    let photo = image::image_dimensions(Path::new(env!("CARGO_MANIFEST_DIR")).join(PHOTO)).unwrap();
    assert_eq!((width, height), photo);
    assert!(labels.iter().all(|&label| label < 3 || label == 255));
    let count = |label: u8| labels.iter().filter(|&&l| l == label).count();
    assert_eq!(image::image_dimensions(out.join("landscape.overlay.png")).unwrap(), photo);

    let document: serde_json::Value = serde_json::from_slice(&fs::read(out.join("landscape.json")).unwrap()).unwrap();
    assert_eq!(document["photo"]["file"], "landscape.png");
    let names: Vec<&str> =
        document["classes"].as_array().unwrap().iter().map(|class| class["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cat", "sofa", "wall"]);
    assert_eq!(document["classes"][1]["synonyms"], serde_json::json!(["couch"]));
    for (label, class) in [0, 1, 2].into_iter().zip(document["classes"].as_array().unwrap()) {
        assert_eq!(class["area"], count(label));
        let size: [usize; 2] = serde_json::from_value(class["mask"]["size"].clone()).unwrap();
        let mask = coco_reader::mask(size, class["mask"]["counts"].as_str().unwrap());
        assert!(mask.iter().zip(&labels).all(|(&inside, &l)| inside == (l == label)));
    }
    let segments = document["segments"].as_array().unwrap();
    assert!(!segments.is_empty());
    for segment in segments {
        let scores = segment["scores"].as_array().unwrap();
        assert_eq!(scores.len(), 3);
        for score in scores {
            for branch in ["query", "image", "fused"] {
                let value = score[branch].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&value), "{branch}: {value}");
            }
        }
    }
}

/// With the default model, found without being named.
#[test]
fn the_cat_is_found() {
    let out = folder("cat");
    let photo = "tests/photos/chelsea.png";
    let output =
        zegformer(&["segment", photo, "-c", "cat, sofa | couch, wall", "--labels", "-o", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let (_, _, labels) = labels(&out.join("chelsea.labels.png"));
    let share = |label: u8| labels.iter().filter(|&&l| l == label).count() as f64 / labels.len() as f64;
    assert!(share(0) > 0.4, "cat {:.3}, sofa {:.3}, wall {:.3}", share(0), share(1), share(2));
    assert!(share(0) > share(1) && share(0) > share(2));
}

#[test]
fn a_bad_photo_does_not_stop_the_others() {
    let out = folder("bad_photo");
    let bad = out.join("bad.jpg");
    fs::write(&bad, b"\xff\xd8\xff\xe0 this is no photo").unwrap();
    let results = out.join("results");
    let (bad, results) = (bad.to_str().unwrap(), results.to_str().unwrap());
    let output =
        zegformer(&["segment", bad, "missing.png", PHOTO, "-c", "cat", "-m", MODEL, "--labels", "-q", "-o", results]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(files(Path::new(results)), ["landscape.labels.png"]);
    let said = said(&output);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("bad.jpg") && said.contains("missing.png"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn chosen_files_and_equal_names() {
    let out = folder("equal_names");
    let copy = out.join("landscape.png");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(PHOTO), &copy).unwrap();
    let results = out.join("results");
    let output = zegformer(&[
        "segment",
        PHOTO,
        copy.to_str().unwrap(),
        "--classes",
        "cat; wall",
        "--model",
        MODEL,
        "--labels",
        "--coco",
        "--geojson",
        "--out",
        results.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let names = [
        "annotations.coco.json",
        "landscape-2.geojson",
        "landscape-2.labels.png",
        "landscape.geojson",
        "landscape.labels.png",
    ];
    assert_eq!(files(&results), names);
    assert_eq!(labels(&results.join("landscape.labels.png")), labels(&results.join("landscape-2.labels.png")));
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(results.join("annotations.coco.json")).unwrap()).unwrap();
    let named: Vec<&serde_json::Value> =
        document["images"].as_array().unwrap().iter().map(|image| &image["file_name"]).collect();
    assert_eq!(named, [PHOTO, copy.to_str().unwrap()], "one name for two photos");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("as landscape-2"), "{printed}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let out = folder("settings");
    for setting in [["--lambda", "1.5"], ["--threshold", "-1"], ["--resolution", "huge"], ["--temperature", "0"]] {
        let setting = format!("{}={}", setting[0], setting[1]);
        let output = zegformer(&["segment", PHOTO, "-c", "cat", "-m", MODEL, "-o", out.to_str().unwrap(), &setting]);
        assert_eq!(output.status.code(), Some(2), "{setting}: {}", said(&output));
    }
    assert!(files(&out).is_empty());
}

#[test]
fn a_model_is_checked() {
    let output = zegformer(&["bundle", "check", MODEL]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("segmenter.onnx") && printed.contains("load and run"), "{printed}");
}

#[test]
fn damaged_and_missing_files_are_named() {
    let copy = folder("damaged");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
    let bundle = Bundle::parse(&fs::read_to_string(model.join("bundle.json")).unwrap()).unwrap();
    for name in bundle.files.keys().map(String::as_str).chain(["bundle.json"]) {
        fs::copy(model.join(name), copy.join(name)).unwrap();
    }
    let tokenizer = copy.join(&bundle.text.tokenizer);
    let mut bytes = fs::read(&tokenizer).unwrap();
    bytes[100] ^= 1;
    fs::write(&tokenizer, bytes).unwrap();
    fs::remove_file(copy.join(&bundle.image.graph)).unwrap();
    let output = zegformer(&["bundle", "check", copy.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong: Vec<&str> = printed.lines().filter(|line| line.contains("WRONG")).collect();
    assert_eq!(wrong.len(), 2, "{printed}");
    assert!(wrong.iter().any(|line| line.contains(&bundle.text.tokenizer) && line.contains("SHA-256")));
    assert!(wrong.iter().any(|line| line.contains(&bundle.image.graph)));
}

/// Labels are made of a smaller copy, and saved at the photo's size.
#[test]
fn a_large_photo_keeps_its_size() {
    let out = folder("large");
    let photo = out.join("wide.png");
    let picture =
        image::RgbImage::from_fn(5000, 250, |x, y| image::Rgb([(x / 20) as u8, y as u8, (x * y / 999) as u8]));
    picture.save(&photo).unwrap();
    let results = out.join("results");
    let (photo, name) = (photo.to_str().unwrap(), results.to_str().unwrap());
    let all = ["--labels", "--overlay", "--json", "--coco", "--geojson"];
    let output = zegformer(&[&["segment", photo, "-c", "cat, wall", "-m", MODEL, "-o", name][..], &all].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("worked on at 4096 x 205 pixels"), "{printed}");
    assert_eq!(image::image_dimensions(results.join("wide.overlay.png")).unwrap(), (4096, 205));

    let (width, height, labels) = labels(&results.join("wide.labels.png"));
    assert_eq!((width, height), (5000, 250));
    let read =
        |name: &str| -> serde_json::Value { serde_json::from_slice(&fs::read(results.join(name)).unwrap()).unwrap() };
    let (json, coco, geojson) = (read("wide.json"), read("annotations.coco.json"), read("wide.geojson"));
    assert_eq!([&json["photo"]["width"], &json["photo"]["height"]], [5000, 250]);
    assert_eq!([&coco["images"][0]["width"], &coco["images"][0]["height"]], [5000, 250]);
    assert_eq!([&geojson["pixels"]["width"], &geojson["pixels"]["height"]], [5000, 250]);
    for (label, class) in [0, 1].into_iter().zip(json["classes"].as_array().unwrap()) {
        assert_eq!(class["area"], labels.iter().filter(|&&l| l == label).count());
        assert_eq!(class["mask"]["size"], serde_json::json!([250, 5000]));
    }
    for segment in json["segments"].as_array().unwrap() {
        assert_eq!(segment["mask"]["size"], serde_json::json!([250, 5000]));
    }
}
