//! What the WebGPU engine refuses when a graph is loaded, and graphs in damaged files.

use wonnx::onnx::{ModelProto, NodeProto};
use zegformer::engine::cpu::CpuGraph;
use zegformer::engine::webgpu::WebGpuGraph;
use zegformer::engine::{EngineError, Graph, Tensor};

use super::draft::{Draft, int, list};
use super::numbers::of;
use super::stated;
use crate::device;

fn refused(draft: &Draft) -> String {
    match WebGpuGraph::load(device(), draft.model()) {
        Ok(_) => "it was loaded".to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn weights_that_do_not_fill_their_shape_are_refused() {
    let whole = |kind: i32, raw: usize| {
        let mut draft = Draft::default();
        let (x, w) = (draft.data(&[20, 20]), draft.weights(&[20, 20]));
        let y = draft.node("MatMul", &[&x, &w], &[]);
        draft.output(&y);
        let tensor = &mut draft.graph.mut_initializer()[0];
        tensor.set_data_type(kind);
        tensor.set_raw_data(vec![0; raw]);
        draft
    };
    for (kind, raw) in [(1, 1596), (1, 0), (1, 1604), (7, 1600), (9, 399)] {
        let draft = whole(kind, raw);
        let on_cpu = CpuGraph::load(draft.model()).err().map(|error| error.to_string()).unwrap_or_default();
        for said in [refused(&draft), on_cpu] {
            assert!(said.contains("weight \"w2\"") && said.contains("do not fit shape [20, 20]"), "{said}");
        }
    }
    let mut twice = whole(1, 1600);
    twice.graph.mut_initializer()[0].set_float_data(vec![0.0; 400]);
    assert!(refused(&twice).contains("twice"), "{}", refused(&twice));
}

#[test]
fn an_input_that_the_file_fixes_cannot_be_given() {
    let mut draft = Draft::default();
    let (x, w) = (draft.data(&[2]), draft.weights(&[2]));
    let y = draft.node("Add", &[&x, &w], &[]);
    draft.output(&y);
    draft.graph.mut_input().push(stated(&w, Some(&[2])));
    assert!(draft.on_gpu(&device()).is_ok());
    draft.given.push((w.clone(), Tensor::new([2], vec![1.0, 2.0]).expect("two")));
    for result in [draft.on_gpu(&device()), draft.on_cpu()] {
        let error = result.expect_err("it has its value").to_string();
        assert_eq!(error, format!("the graph has no input called \"{w}\""));
    }
}

#[test]
fn names_are_defined_once() {
    let draft = |change: fn(&mut Draft)| {
        let mut draft = Draft::default();
        let x = draft.data(&[2]);
        let one = draft.node("Relu", &[&x], &[]);
        let two = draft.node("Neg", &[&x], &[]);
        let y = draft.node("Add", &[&one, &two], &[]);
        draft.output(&y);
        change(&mut draft);
        draft
    };
    assert_eq!(refused(&draft(|_| {})), "it was loaded");
    let changes: [fn(&mut Draft); 5] = [
        |draft| draft.graph.mut_node()[1].mut_output()[0] = "v2".to_string(),
        |draft| draft.graph.mut_node()[1].mut_output()[0] = "x1".to_string(),
        |draft| draft.graph.mut_input().push(stated("x1", Some(&[2]))),
        |draft| draft.graph.mut_output().push(stated("v4", None)),
        |draft| {
            let twin = super::float_tensor("w", &[1], &[1.0]);
            draft.graph.set_initializer(vec![twin.clone(), twin].into());
        },
    ];
    for change in changes {
        let said = refused(&draft(change));
        assert!(said.contains("defined"), "{said}");
    }
}

/// One node of an input of this shape; steering inputs follow.
fn steered(operator: &str, shape: &[usize], ints: &[&[i64]], change: fn(&mut NodeProto)) -> Draft {
    let mut draft = Draft::default();
    let x = draft.data(shape);
    let ints: Vec<String> = ints.iter().map(|values| draft.ints(values)).collect();
    let inputs: Vec<&str> = [x.as_str()].into_iter().chain(ints.iter().map(String::as_str)).collect();
    let y = draft.node(operator, &inputs, &[]);
    draft.output(&y);
    change(&mut draft.graph.mut_node()[0]);
    draft
}

/// These once took the program with them, or would have been computed wrongly. All are refused when the graph is loaded.
#[test]
fn hostile_sizes_are_refused() {
    let resize = |height: i64| {
        let mut draft = Draft::default();
        let (x, sizes) = (draft.data(&[1, 1, 2, 2]), draft.ints(&[1, 1, height, 2]));
        let y = draft.node("Resize", &[&x, "", "", &sizes], &[]);
        draft.output(&y);
        draft
    };
    let none = |_: &mut NodeProto| {};
    let conv = |name: &str, value: i64, count: usize| {
        let mut draft = Draft::default();
        let (x, w) = (draft.data(&[1, 2, 4, 4]), draft.weights(&[2, 2, 2, 2]));
        let y = draft.node("Conv", &[&x, &w], &[list(name, &vec![value; count])]);
        draft.output(&y);
        draft
    };
    let mut groups = conv("strides", 1, 2);
    groups.graph.mut_node()[0].mut_attribute().push(int("group", i64::MAX));
    let mut mask = Draft::default();
    let (x, shape) = (mask.data(&[1]), mask.ints(&[1 << 20, 1 << 12]));
    let large = mask.node("Expand", &[&x, &shape], &[]);
    let y = mask.node("Dropout", &[&large], &[]);
    mask.graph.mut_node()[1].mut_output().push("mask".to_string());
    mask.output(&y);
    let cases = [
        ("Resize", resize(1 << 40)),
        ("Resize", resize(1 << 30)),
        ("Tile", steered("Tile", &[2, 2], &[&[1 << 63 >> 1, 4]], none)),
        ("Tile", steered("Tile", &[4, 4], &[&[1 << 31, 1 << 31]], none)),
        ("Expand", steered("Expand", &[1, 1], &[&[1 << 33, 1 << 33]], none)),
        ("Pad", steered("Pad", &[2], &[&[i64::MAX, i64::MAX]], none)),
        ("Pad", steered("Pad", &[2], &[&[1 << 40, 0]], none)),
        (
            "Split",
            steered("Split", &[2], &[&[i64::MAX, i64::MAX, 4]], |node| {
                node.mut_output().push("b".to_string());
                node.mut_output().push("c".to_string());
            }),
        ),
        ("Relu", steered("Relu", &[2], &[], |node| node.clear_output())),
        (
            "Concat",
            steered("Concat", &[2], &[], |node| {
                node.set_input(vec![node.get_input()[0].clone(); 12].into());
                node.clear_output();
            }),
        ),
        ("Cast", steered("Cast", &[2], &[], |node| node.clear_output())),
        ("Conv", conv("pads", i64::MAX, 4)),
        ("Conv", conv("pads", 1 << 30, 4)),
        ("Conv", conv("dilations", i64::MAX, 2)),
        ("Conv", conv("dilations", 1 << 20, 2)),
        ("Conv", groups),
        ("Dropout", mask),
        // What the model itself decides is not left to the first run.
        ("Transpose", steered("Transpose", &[2, 3], &[], |node| node.mut_attribute().push(list("perm", &[0, 1, 2])))),
        ("Reshape", steered("Reshape", &[2, 3], &[&[4, 2]], none)),
        (
            "Pad",
            steered("Pad", &[2], &[&[2, 2]], |node| {
                let mut mode = int("mode", 0);
                mode.set_s(b"reflect".to_vec());
                node.mut_attribute().push(mode);
            }),
        ),
        ("output", steered("Slice", &[4], &[&[3], &[3]], none)),
    ];
    for (operator, draft) in &cases {
        let said = refused(draft);
        assert!(said.starts_with(&format!("operator {operator} (node")), "{operator}: {said}");
    }
    let long = steered("Slice", &[5], &[&[1], &[i64::MAX], &[0], &[i64::MAX]], none);
    assert_eq!(of(&long), [long.given[0].1.data()[1]]);
    let back = steered("Slice", &[5], &[&[3], &[i64::MIN], &[0], &[i64::MIN]], none);
    assert_eq!(of(&back), [back.given[0].1.data()[3]]);
}

/// Bytes with some of them changed, left out or cut off, the same on every run.
fn damaged(bytes: &[u8], round: u64) -> Vec<u8> {
    let mut state = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % sides
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + below(4) {
        let at = below(bytes.len());
        match below(12) {
            0 => bytes.truncate(at.max(1)),
            1 => drop(bytes.drain(at..(at + 1 + below(8)).min(bytes.len()))),
            _ => bytes[at] = below(256) as u8,
        }
    }
    bytes
}

/// Damaged files give numbers or an error in words. Most damage hits weights, so nodes are damaged as well.
#[test]
fn damaged_graphs_do_not_take_the_program_with_them() {
    use protobuf::Message;
    use zegformer::engine::weights;
    let device = device();
    let mut draft = Draft::default();
    let x = draft.data(&[1, 4, 6, 8]);
    let w = draft.weights(&[8, 4, 3, 3]);
    let conv = draft.node("Conv", &[&x, &w], &[list("pads", &[1; 4]), list("strides", &[2, 2])]);
    let relu = draft.node("Relu", &[&conv], &[]);
    let sizes = draft.ints(&[1, 8, 5, 7]);
    let resized = draft.node("Resize", &[&relu, "", "", &sizes], &[]);
    let pads = draft.ints(&[0, 0, 1, 1, 0, 0, 0, 1]);
    let padded = draft.node("Pad", &[&resized, &pads], &[]);
    let shape = draft.ints(&[8, -1]);
    let flat = draft.node("Reshape", &[&padded, &shape], &[]);
    let turned = draft.node("Transpose", &[&flat], &[list("perm", &[1, 0])]);
    let soft = draft.node("Softmax", &[&turned], &[int("axis", -1)]);
    let twice = draft.node("Concat", &[&soft, &soft], &[int("axis", 1)]);
    let repeats = draft.ints(&[1, 2]);
    let tiled = draft.node("Tile", &[&twice, &repeats], &[]);
    draft.output(&tiled);
    let whole = draft.model().write_to_bytes().expect("it can be written");
    let mut ran = 0;
    for round in 0..150 {
        let bytes = damaged(&whole, round);
        let load = || -> Result<ModelProto, EngineError> {
            let (model, _) = weights::parse(&bytes)?;
            weights::widen(model, &std::collections::HashMap::new())
        };
        let outcome = load().and_then(|model| {
            let mut graph = WebGpuGraph::load(device.clone(), model)?;
            pollster::block_on(graph.run(&draft.named()))
        });
        match outcome {
            Ok(_) => ran += 1,
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(ran > 10 && ran < 140, "{ran} of 150 ran");
}
