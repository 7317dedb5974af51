//! What several integration tests share: bundles in folders, golden tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use zegformer::bundle::{Bundle, BundleError, Source};

/// A bundle's folder.
#[allow(dead_code, reason = "not every test file runs a bundle")]
pub struct Folder(pub PathBuf);

#[async_trait(?Send)]
impl Source for Folder {
    async fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        std::fs::read(self.0.join(name))
            .map_err(|error| BundleError::Read { file: name.to_string(), reason: error.to_string() })
    }
}

#[allow(dead_code, reason = "not every test file opens a bundle")]
pub fn open_bundle(folder: &Path) -> Bundle {
    let json = std::fs::read_to_string(folder.join("bundle.json")).expect("bundle.json");
    Bundle::parse(&json).expect("a valid bundle")
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    shape: Vec<usize>,
    offset: usize,
}

/// Named tensors in a `.bin` file with a `.json` directory.
#[allow(dead_code, reason = "not every test file reads golden tensors")]
pub struct Golden {
    entries: BTreeMap<String, Entry>,
    bytes: Vec<u8>,
}

#[allow(dead_code, reason = "not every test file reads golden tensors")]
impl Golden {
    pub fn open(stem: &Path) -> Golden {
        let json = std::fs::read(stem.with_extension("json")).expect("the directory of the golden tensors");
        Golden {
            entries: serde_json::from_slice(&json).expect("a directory of tensors"),
            bytes: std::fs::read(stem.with_extension("bin")).expect("the golden tensors"),
        }
    }

    pub fn shape(&self, name: &str) -> &[usize] {
        &self.entries[name].shape
    }

    pub fn u8(&self, name: &str) -> &[u8] {
        let entry = &self.entries[name];
        assert_eq!(entry.kind, "u8", "{name}");
        &self.bytes[entry.offset..entry.offset + entry.shape.iter().product::<usize>()]
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        let entry = &self.entries[name];
        assert_eq!(entry.kind, "f32", "{name}");
        let end = entry.offset + 4 * entry.shape.iter().product::<usize>();
        self.bytes[entry.offset..end].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }
}
