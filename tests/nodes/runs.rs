//! How runs end, how graphs share a device, what sessions keep.

use std::future::poll_fn;
use std::task::Poll;

use async_trait::async_trait;
use zegformer::engine::webgpu::{Block, Device, Tuning, WebGpuGraph};
use zegformer::engine::{EngineError, Graph, Listener};

use super::draft::{Draft, list};
use super::stated;
use crate::{device, difference};

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

/// Loses the device when it hears of the run.
struct Loser(Device);

#[async_trait(?Send)]
impl Listener for Loser {
    async fn on(&mut self, _done: f32) -> bool {
        self.0.destroy();
        true
    }
}

#[test]
fn a_lost_device_is_an_error_and_another_one_goes_on() {
    let draft = long();
    let lost = device();
    let mut graph = WebGpuGraph::load(lost.clone(), draft.model()).expect("it is loaded");
    let before = pollster::block_on(graph.run(&draft.named())).expect("it runs");
    // In the midst of a run, at the start of the next, and when a graph is loaded.
    let outcome = pollster::block_on(graph.run_heard(&draft.named(), &mut Loser(lost.clone())));
    assert!(matches!(outcome, Err(EngineError::DeviceLost(_))), "{outcome:?}");
    let outcome = pollster::block_on(graph.run(&draft.named()));
    assert!(matches!(outcome, Err(EngineError::DeviceLost(_))), "{outcome:?}");
    let loaded = WebGpuGraph::load(lost, draft.model()).map(|_| ());
    assert!(matches!(loaded, Err(EngineError::DeviceLost(_))), "{loaded:?}");
    let mut graph = WebGpuGraph::load(device(), draft.model()).expect("it is loaded");
    assert_eq!(pollster::block_on(graph.run(&draft.named())).expect("it runs"), before);
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
