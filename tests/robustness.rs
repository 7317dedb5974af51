//! Damaged or hostile input of every kind gives a result or an error in words, never a panic.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use zegformer::bundle::{Bundle, BundleError, Source};
use zegformer::engine::EngineChoice;
use zegformer::pipeline::{Pipeline, Unobserved};
use zegformer::text::{Tokenizer, parse_classes};

/// A small pseudo-random sequence (xorshift64), the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    /// The bytes with some of them changed, left out, doubled, or cut off.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at.max(1)),
                1 => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
                2 => {
                    let piece = bytes[at..(at + 16).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes[at] = self.below(256) as u8,
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        bytes
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/official-tiny/bundle")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

#[test]
fn lists_of_names() {
    let mut dice = Dice(1);
    let pieces =
        ["cat", ",", ";", "|", "\n", "\r", " ", "\t", "é", "e\u{301}", "👩‍🚀", "\u{0}", "\u{200b}", "A", "ﬁ", "İ", "x"];
    for _ in 0..5000 {
        let text: String = (0..dice.below(40)).map(|_| pieces[dice.below(pieces.len())]).collect();
        let Ok(classes) = parse_classes(&text) else { continue };
        let written: Vec<String> = classes.iter().map(|class| class.names().collect::<Vec<_>>().join("|")).collect();
        assert_eq!(
            parse_classes(&written.join(",")).unwrap(),
            classes,
            "reading what was read changes nothing: {text:?}"
        );
    }
}

#[test]
fn bundle_descriptions() {
    let mut dice = Dice(2);
    let json = read("bundle.json");
    for _ in 0..5000 {
        let Ok(text) = String::from_utf8(dice.damage(&json)) else { continue };
        if let Err(error) = Bundle::parse(&text) {
            assert!(error.to_string().contains("bundle.json"), "{error}");
        }
    }
}

#[test]
fn tokenizers() {
    let mut dice = Dice(3);
    let json = read("tokenizer.json");
    for _ in 0..300 {
        if let Ok(tokenizer) = Tokenizer::from_bytes(&dice.damage(&json), 16) {
            let _ = tokenizer.encode("a photo of a cat.");
        }
    }
}

/// A bundle in memory.
struct Memory(BTreeMap<String, Vec<u8>>);

#[async_trait(?Send)]
impl Source for Memory {
    async fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| BundleError::Read { file: name.to_owned(), reason: "not there".to_owned() })
    }
}

/// Files whose declared sizes and hashes are right but whose content is not: an export gone wrong.
#[test]
fn model_files() {
    let mut dice = Dice(4);
    let text = String::from_utf8(read("bundle.json")).unwrap();
    let whole = Bundle::parse(&text).unwrap();
    let files: BTreeMap<String, Vec<u8>> = whole.files.keys().map(|name| (name.clone(), read(name))).collect();
    let names: Vec<&String> = files.keys().collect();
    let photo = std::fs::read(folder().join("../landscape.png")).unwrap();
    // Four hundred rounds were run once; these keep the test short.
    for round in 0..27 {
        let name = names[round % names.len()];
        let mut files = files.clone();
        let damaged = dice.damage(&files[name]);
        let mut bundle = whole.clone();
        let entry = bundle.files.get_mut(name).unwrap();
        entry.bytes = damaged.len() as u64;
        entry.sha256 = Sha256::digest(&damaged).iter().map(|byte| format!("{byte:02x}")).collect();
        files.insert(name.clone(), damaged);
        let outcome = pollster::block_on(async {
            let mut pipeline = Pipeline::new(bundle, Rc::new(Memory(files)), EngineChoice::Cpu).await?;
            pipeline.set_photo(&photo)?;
            pipeline.set_classes("cat, zebra")?;
            pipeline.segment(&mut Unobserved).await.map(|result| result.map.labels.len())
        });
        match outcome {
            Ok(pixels) => assert_eq!(pixels, 131 * 90),
            Err(error) => assert!(!error.to_string().is_empty(), "{name}"),
        }
    }
}
