//! The ONNX project's own tests of operators on the WebGPU engine: each passes, or is refused for a reason that
//! `onnx_nodes/skipped.txt` states. `onnx_nodes/fetch.sh` brings them; `ZEGFORMER_CASE=resize` picks some.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use protobuf::Message;
use wonnx::onnx::{GraphProto, ModelProto, TensorProto};
use zegformer::engine::webgpu::{Device, OPERATORS, Tuning, WebGpuGraph, operator};
use zegformer::engine::{EngineError, Graph, Tensor};

/// What the ONNX project allows its backends.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// How a test ended.
enum Outcome {
    Passed,
    /// At load or at the first run, and what the engine said.
    Refused(&'static str, EngineError),
    Wrong(String),
}

#[test]
fn every_node_test_passes_or_is_refused_as_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/onnx-nodes");
    let wanted = std::env::var("ZEGFORMER_CASE").unwrap_or_default();
    let mut tests: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the ONNX node tests; tests/onnx_nodes/fetch.sh brings them")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.join("model.onnx").exists() && name_of(path).contains(&wanted))
        .collect();
    tests.sort();
    let device = match pollster::block_on(Device::request()) {
        Ok(device) => device,
        Err(error) => panic!("{error}; install a Vulkan driver, such as Debian's mesa-vulkan-drivers"),
    };
    let listed = skipped();
    let mut used = BTreeSet::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut proven = BTreeSet::new();
    let mut failures = Vec::new();
    for path in &tests {
        let name = name_of(path);
        let model = read_model(path);
        // With the kernels for CPU adapters and with those for GPUs: either runs anywhere.
        let outcome = match run(&device.clone().tuned(Tuning::SOFTWARE), path, &model) {
            Outcome::Passed => run(&device.clone().tuned(Tuning::GRAPHICS), path, &model),
            other => other,
        };
        match outcome {
            Outcome::Wrong(what) => failures.push(format!("{name}: {what}")),
            Outcome::Passed => {
                *counts.entry("passed".to_string()).or_default() += 1;
                proven.extend(model.get_graph().get_node().iter().map(|node| node.get_op_type().to_string()));
                if listed.contains_key(&name) {
                    failures.push(format!("{name}: is listed as refused, but passes"));
                }
            }
            Outcome::Refused(stage, error) => {
                let entry =
                    [group(&error), Some(name.clone())].into_iter().flatten().find(|it| listed.contains_key(it));
                let heading = entry.as_ref().map(|entry| listed[entry].as_str()).unwrap_or_default();
                match entry {
                    Some(entry) if entry != name => {
                        *counts.entry(heading.to_string()).or_default() += 1;
                        used.insert(entry);
                    }
                    Some(entry) if says(heading, stage, &error) => {
                        *counts.entry(heading.to_string()).or_default() += 1;
                        used.insert(entry);
                    }
                    _ => failures.push(format!("{name}: {stage}: {error}")),
                }
            }
        }
    }
    for (heading, count) in &counts {
        println!("{count:5} {heading}");
    }
    if wanted.is_empty() {
        failures.extend(
            listed.keys().filter(|entry| !used.contains(*entry)).map(|entry| format!("{entry}: is listed in vain")),
        );
        let untested = OPERATORS.iter().filter(|claimed| !proven.contains(claimed.name));
        failures.extend(untested.map(|claimed| format!("{}: is claimed, but no test passed", claimed.name)));
    }
    assert!(failures.is_empty(), "{} of {} tests:\n{}", failures.len(), tests.len(), failures.join("\n"));
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read_model(path: &Path) -> ModelProto {
    let bytes = std::fs::read(path.join("model.onnx")).expect("the model can be read");
    ModelProto::parse_from_bytes(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Entries of the list with the headings they stand under.
fn skipped() -> BTreeMap<String, String> {
    let mut heading = "";
    let mut entries = BTreeMap::new();
    for line in include_str!("onnx_nodes/skipped.txt").lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(' ') {
            entries.extend(line.split_whitespace().map(|entry| (entry.to_string(), heading.to_string())));
        } else {
            heading = line;
        }
    }
    entries
}

/// The entry for all tests that are refused for an operator, an operator set or a type that is not claimed.
fn group(error: &EngineError) -> Option<String> {
    let EngineError::Unsupported { operator, reason, .. } = error else { return None };
    let after = |words: &str| reason.split_once(words).map(|(_, rest)| rest.trim_matches('"').to_string());
    if reason == "no kernel is known for this operator" {
        return Some(operator.clone());
    }
    after("it belongs to the operator set ").or_else(|| after("has elements of type "))
}

/// Whether the engine refused when and for what the heading says: `load: REASON` or `run: REASON`.
fn says(heading: &str, stage: &str, error: &EngineError) -> bool {
    heading.split_once(": ").is_some_and(|(when, reason)| when == stage && error.to_string().contains(reason))
}

/// Whether the input `name` has to be a constant: it steers an operator, or it is an integer that a function of several
/// nodes calculates shapes with.
fn steers(graph: &GraphProto, name: &str, tensor: &TensorProto) -> bool {
    let by_operator = graph.get_node().iter().any(|node| {
        let steering = operator(node.get_op_type()).map_or(&[][..], |claimed| claimed.steering);
        steering.iter().any(|&at| node.get_input().get(at).is_some_and(|input| input == name))
    });
    by_operator || graph.get_node().len() > 1 && matches!(tensor.get_data_type(), 6 | 7)
}

fn read_tensor(path: &Path) -> TensorProto {
    let bytes = std::fs::read(path).expect("the tensor can be read");
    TensorProto::parse_from_bytes(&bytes).unwrap_or_default()
}

/// The elements of a tensor of a type that the engine takes.
fn values(tensor: &TensorProto) -> Vec<f64> {
    let raw = tensor.get_raw_data();
    match (tensor.get_data_type(), raw.is_empty()) {
        (1, true) => tensor.get_float_data().iter().map(|&value| f64::from(value)).collect(),
        (1, false) => raw.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
        (6 | 9, true) => tensor.get_int32_data().iter().map(|&value| f64::from(value)).collect(),
        (6, false) => raw.as_chunks().0.iter().map(|bytes| f64::from(i32::from_le_bytes(*bytes))).collect(),
        (7, true) => tensor.get_int64_data().iter().map(|&value| value as f64).collect(),
        (7, false) => raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
        (9, false) => raw.iter().map(|&byte| f64::from(byte)).collect(),
        (kind, _) => panic!("a tensor of type {kind} was not refused"),
    }
}

fn shape(tensor: &TensorProto) -> Vec<usize> {
    tensor.get_dims().iter().map(|&side| side as usize).collect()
}

fn run(device: &Device, path: &Path, model: &ModelProto) -> Outcome {
    let mut model = model.clone();
    let names: Vec<String> = model.get_graph().get_input().iter().map(|input| input.get_name().to_string()).collect();
    let mut given = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let mut tensor = read_tensor(&path.join(format!("test_data_set_0/input_{at}.pb")));
        if steers(model.get_graph(), &name, &tensor) {
            tensor.set_name(name);
            model.mut_graph().mut_initializer().push(tensor);
        } else {
            given.push((name, tensor));
        }
    }
    let mut graph = match WebGpuGraph::load(device.clone(), model.clone()) {
        Ok(graph) => graph,
        Err(error) => return Outcome::Refused("load", error),
    };
    let mut inputs = Vec::new();
    for (name, tensor) in &given {
        let data = values(tensor).into_iter().map(|value| value as f32).collect();
        inputs.push((name.as_str(), Tensor::new(shape(tensor), data).expect("a whole tensor")));
    }
    let views: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let found = match pollster::block_on(graph.run(&views)) {
        Ok(found) => found,
        Err(error) => return Outcome::Refused("run", error),
    };
    for (at, (name, found)) in found.iter().enumerate() {
        let expected = read_tensor(&path.join(format!("test_data_set_0/output_{at}.pb")));
        if found.shape() != shape(&expected) {
            return Outcome::Wrong(format!("{name} is {:?}, not {:?}", found.shape(), shape(&expected)));
        }
        let off = values(&expected).into_iter().zip(found.data()).find(|&(expected, &found)| {
            let found = f64::from(found);
            // Written so that no number is close to what is none.
            let close = (found - expected).abs() <= ABSOLUTE + RELATIVE * expected.abs();
            !(close || found == expected)
        });
        if let Some((expected, found)) = off {
            return Outcome::Wrong(format!("{name} has {found}, not {expected}"));
        }
    }
    Outcome::Passed
}
