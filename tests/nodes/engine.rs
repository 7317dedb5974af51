//! What the WebGPU engine refuses, how it ends, what it keeps, and numbers at the ends of f32.

use std::future::poll_fn;
use std::task::Poll;

use async_trait::async_trait;
use wonnx::onnx::{ModelProto, NodeProto};
use zegformer::engine::cpu::CpuGraph;
use zegformer::engine::webgpu::{Block, Tuning, WebGpuGraph};
use zegformer::engine::{EngineError, Graph, Listener, Tensor};

use super::draft::{Draft, float, int, list};
use super::stated;
use crate::{device, difference};

const INFINITY: f32 = f32::INFINITY;

/// What a draft of one node gives on the GPU, with either kind of kernels.
fn of(draft: &Draft) -> Vec<f32> {
    let device = device();
    let run = |tuning: Tuning| {
        let results = draft.on_gpu(&device.clone().tuned(tuning)).unwrap_or_else(|error| panic!("{error}"));
        results[0].1.data().to_vec()
    };
    let found = run(Tuning::SOFTWARE);
    let bits = |values: &[f32]| {
        values.iter().map(|value| value.is_nan() || *value == 0.0 || value.is_infinite()).collect::<Vec<_>>()
    };
    let on_cards = run(Tuning::GRAPHICS);
    assert_eq!(bits(&found), bits(&on_cards), "{found:?}, {on_cards:?}");
    found
}

/// The output of `operator` of one input.
fn one(operator: &str, shape: &[usize], values: &[f32]) -> Vec<f32> {
    let mut draft = Draft::default();
    let x = draft.input(shape, values);
    let y = draft.node(operator, &[&x], &[]);
    draft.output(&y);
    of(&draft)
}

#[test]
fn rows_of_the_least_numbers_are_rows_like_others() {
    for n in [3, 64, 200] {
        let found = one("Softmax", &[2, n], &vec![f32::MIN; 2 * n]);
        assert!(found.iter().all(|value| (value * n as f32 - 1.0).abs() < 1e-5), "{found:?}");
        assert_eq!(one("ReduceMax", &[1, n], &vec![-INFINITY; n]), [-INFINITY]);
        assert_eq!(one("ReduceMin", &[1, n], &vec![INFINITY; n]), [INFINITY]);
    }
    assert_eq!(one("Softmax", &[1, 3], &[-INFINITY, 0.0, f32::MIN]), [0.0, 1.0, 0.0]);
    assert_eq!(one("GlobalMaxPool", &[1, 1, 2, 2], &[-INFINITY; 4]), [-INFINITY]);
    let mut draft = Draft::default();
    let x = draft.input(&[1, 1, 2, 2], &[-INFINITY, f32::MIN, -INFINITY, -INFINITY]);
    let y = draft.node("MaxPool", &[&x], &[list("kernel_shape", &[2, 1])]);
    draft.output(&y);
    assert_eq!(of(&draft), [-INFINITY, f32::MIN]);
}

#[test]
fn constants_at_the_ends_are_kept() {
    for value in [-INFINITY, INFINITY, f32::MIN, f32::MAX, 1e-45] {
        let mut draft = Draft::default();
        let x = draft.input(&[3], &[value, 1.0, -1.0]);
        let number = draft.constant(&[], &[value]);
        let same = draft.node("Equal", &[&x, &number], &[]);
        let y = draft.node("Where", &[&same, &x, &number], &[]);
        let least = draft.node("Max", &[&x, &number], &[]);
        draft.output(&y);
        draft.output(&least);
        let results = draft.on_gpu(&device()).unwrap_or_else(|error| panic!("{value}: {error}"));
        // Some adapters take what is nearly nothing for nothing.
        let close = |found: f32| found == value || value.abs() < 1e-37 && found.abs() < 1e-37;
        assert!(results[0].1.data().iter().all(|&found| close(found)), "{value}: {results:?}");
        assert!(close(results[1].1.data()[0]) && results[1].1.data()[1] == value.max(1.0), "{value}: {results:?}");
        if value.abs() > 1.0 {
            let mut draft = Draft::default();
            let x = draft.input(&[2], &[1.0, 2.0]);
            let (pads, number) = (draft.ints(&[0, 1]), draft.constant(&[], &[value]));
            let y = draft.node("Pad", &[&x, &pads, &number], &[]);
            draft.output(&y);
            assert_eq!(of(&draft), [1.0, 2.0, value]);
        }
    }
    let mut draft = Draft::default();
    let x = draft.input(&[2], &[-3.0, 5.0]);
    let y = draft.node("Clip", &[&x], &[float("min", -INFINITY), float("max", 4.0)]);
    draft.output(&y);
    assert_eq!(of(&draft), [-3.0, 4.0]);
}

#[test]
fn powers_of_negative_bases_are_whole_or_none() {
    let bases = [-8.0, -2.0, 4.0, 0.0];
    let power = |exponent: f32, as_tensor: bool| {
        let mut draft = Draft::default();
        let x = draft.input(&[4], &bases);
        let e = if as_tensor { draft.constant(&[4], &[exponent; 4]) } else { draft.constant(&[], &[exponent]) };
        let y = draft.node("Pow", &[&x, &e], &[]);
        draft.output(&y);
        of(&draft)
    };
    for exponent in [1.5f32, 0.25, 0.5, 2.0, 3.0, 5.0, 4.0] {
        for as_tensor in [false, true] {
            for (found, base) in power(exponent, as_tensor).into_iter().zip(bases) {
                let expected = base.powf(exponent);
                let close = (found - expected).abs() <= 1e-4 * expected.abs() || found.is_nan() && expected.is_nan();
                assert!(close, "{base} to the {exponent} is {found}, not {expected}");
            }
        }
    }
}

#[test]
fn what_divides_evenly_is_whole() {
    let values: Vec<f32> = (1..=200).map(|at| at as f32 * 41.0).collect();
    let mut draft = Draft::default();
    let x = draft.input(&[200], &values);
    let number = draft.constant(&[], &[41.0]);
    let quotient = draft.node("Div", &[&x, &number], &[]);
    let y = draft.node("Floor", &[&quotient], &[]);
    draft.output(&y);
    assert_eq!(of(&draft), (1..=200).map(|at| at as f32).collect::<Vec<f32>>());
}

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

/// Products one after the other, that are many submissions on a software adapter.
fn long() -> Draft {
    let mut draft = Draft::default();
    let mut value = draft.data(&[256, 512]);
    for _ in 0..24 {
        let w = draft.constant(&[512, 512], super::random(&[512, 512], 5, -0.07, 0.07).data());
        value = draft.node("MatMul", &[&value, &w], &[]);
    }
    draft.output(&value);
    draft
}

/// Notes what it hears, gives way once each time, and calls off after some.
struct Ear {
    heard: Vec<f32>,
    patience: usize,
}

#[async_trait(?Send)]
impl Listener for Ear {
    async fn on(&mut self, done: f32) -> bool {
        self.heard.push(done);
        let mut given_way = false;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut given_way, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.heard.len() <= self.patience
    }
}

#[test]
fn a_run_is_heard_and_called_off() {
    let draft = long();
    let mut graph = WebGpuGraph::load(device(), draft.model()).expect("it is loaded");
    let mut ear = Ear { heard: Vec::new(), patience: 1 };
    let outcome = pollster::block_on(graph.run_heard(&draft.named(), &mut ear));
    assert!(matches!(outcome, Err(EngineError::Cancelled)), "{:?}", ear.heard);
    assert_eq!(ear.heard.len(), 2);
    let mut ear = Ear { heard: Vec::new(), patience: usize::MAX };
    let found = pollster::block_on(graph.run_heard(&draft.named(), &mut ear)).expect("it can be run again");
    assert!(ear.heard.len() > 2 && ear.heard.is_sorted(), "{:?}", ear.heard);
    assert!(ear.heard.iter().all(|done| (0.0..1.0).contains(done)), "{:?}", ear.heard);
    assert!(difference(&draft.on_cpu().expect("rten runs it")[0].1, &found[0].1) < 1e-3);
}

#[test]
fn graphs_of_one_device_take_turns() {
    let device = device();
    let draft = long();
    let load = || WebGpuGraph::load(device.clone(), draft.model()).expect("it is loaded");
    let (mut one, mut two) = (load(), load());
    let ear = || Ear { heard: Vec::new(), patience: usize::MAX };
    let (mut first, mut second) = (ear(), ear());
    let inputs = draft.named();
    let mut runs = [one.run_heard(&inputs, &mut first), two.run_heard(&inputs, &mut second)];
    let mut results = [None, None];
    pollster::block_on(poll_fn(|context| {
        for (run, result) in runs.iter_mut().zip(&mut results).filter(|(_, result)| result.is_none()) {
            if let Poll::Ready(found) = run.as_mut().poll(context) {
                *result = Some(found.expect("it runs"));
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert_eq!(results[0], results[1]);
    // A run that is dropped half way leaves the turn, and the error scopes, to the next.
    drop(runs);
    let mut dropped = ear();
    let mut half = one.run_heard(&inputs, &mut dropped);
    pollster::block_on(poll_fn(|context| {
        assert!(half.as_mut().poll(context).is_pending());
        Poll::Ready(())
    }));
    drop(half);
    assert!(!dropped.heard.is_empty());
    pollster::block_on(two.run(&inputs)).expect("it runs");
}

#[test]
fn what_sessions_need_no_more_is_given_back() {
    let device = device();
    let mut draft = Draft::default();
    let x = draft.data(&[1, 2, 4, 4]);
    let (scales, w) = (draft.constant(&[4], &[1.0, 1.0, 2.5, 2.5]), draft.weights(&[2, 2, 33, 33]));
    let resized = draft.node("Resize", &[&x, "", &scales], &[]);
    let y = draft.node(
        "Conv",
        &[&resized, &w],
        &[list("pads", &[16; 4]), list("strides", &[1, 1]), list("dilations", &[1, 1])],
    );
    draft.output(&y);
    draft.graph.set_input(vec![stated(&x, None)].into());
    let mut graph = WebGpuGraph::load(device.clone(), draft.model()).expect("it is loaded");
    assert!(graph.host_bytes() >= 4 * 2 * 2 * 33 * 33);
    for side in 3..15 {
        let input = super::random(&[1, 2, side, side + 1], 1, -1.0, 1.0);
        let found = pollster::block_on(graph.run(&[(x.as_str(), &input)])).expect("it runs");
        draft.given = vec![(x.clone(), input)];
        assert!(difference(&draft.on_cpu().expect("rten runs it")[0].1, &found[0].1) < 1e-3);
        // The weights, and for each of three sessions where its rows and columns lie.
        assert!(graph.buffers() <= 1 + 3, "{} buffers", graph.buffers());
        assert!(graph.host_bytes() < 4096, "{} bytes on the host", graph.host_bytes());
    }
    let before = device.pipelines();
    let mut draft = Draft::default();
    for _ in 0..4 {
        let (a, b) = (draft.data(&[9, 8]), draft.data(&[8, 11]));
        let y = draft.node("MatMul", &[&a, &b], &[]);
        draft.output(&y);
    }
    draft.on_gpu(&device).expect("it runs");
    assert_eq!(device.pipelines(), before + 1, "equal shaders are compiled once");
}

#[test]
fn a_broken_kernel_is_told_by_its_node() {
    let device = device();
    let mut draft = Draft::default();
    let (a, b) = (draft.data(&[512, 64]), draft.data(&[64, 512]));
    let y = draft.node("MatMul", &[&a, &b], &[]);
    draft.output(&y);
    // Nothing is shared at a time: arrays without elements.
    let none = Block::shared(4, 1, (8, 8), 0, 1);
    let many = Block::shared(4, 1, (64, 64), 16, 1);
    for broken in [none, many] {
        let tuning = Tuning { few: broken, many: broken, ..Tuning::GRAPHICS };
        let error = draft.on_gpu(&device.clone().tuned(tuning)).expect_err("no compiler takes it");
        let EngineError::Shader { node, .. } = &error else { panic!("{error:?}") };
        assert!(node.starts_with("MatMul of v3"), "{node}");
    }
    draft.on_gpu(&device).expect("the device is none the worse for it");
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
