//! What the adapter reaches, and how far kernels are from it. Both are listings:
//! `cargo test --release --test rates -- --ignored --nocapture --test-threads 1`.

use std::time::{Duration, Instant};

use wonnx::wgpu;
use zegformer::engine::webgpu::measure::{self, Effort, Problem, filling};
use zegformer::engine::webgpu::{Block, Device, Tuning};

/// The part of what was computed that is off, of some places all over the result.
fn wrong(problem: Problem, output: &[f32]) -> Option<String> {
    let [_, _, count] = problem.numbers();
    if output.len() != count {
        return Some(format!("{} numbers, not {count}", output.len()));
    }
    let places = (0..200).map(|at| at * 7919 * 613 % count).chain([0, count - 1]);
    for place in places {
        let (a, b) = (|at| f64::from(filling(0, at)), |at| f64::from(filling(1, at)));
        let expected: f64 = match problem {
            Problem::Product { m, k, n, .. } => {
                let (stack, row, column) = (place / (m * n), place / n % m, place % n);
                (0..k).map(|at| a((stack * m + row) * k + at) * b((stack * k + at) * n + column)).sum()
            }
            Problem::Conv { channels, side, taps, groups } => {
                let (channel, y, x) = (place / (side * side), place / side % side, place % side);
                let each = channels / groups;
                let mut sum = 0.0;
                for at in 0..each * taps * taps {
                    let (from, dy, dx) = (at / (taps * taps), at / taps % taps, at % taps);
                    let (y, x) = ((y + dy).wrapping_sub(taps / 2), (x + dx).wrapping_sub(taps / 2));
                    if y < side && x < side {
                        let plane = channel / each * each + from;
                        sum += a((plane * side + y) * side + x) * b(channel * each * taps * taps + at);
                    }
                }
                sum
            }
        };
        let found = f64::from(output[place]);
        // Written so that no number is close to what is none.
        let close = (found - expected).abs() <= 2e-3;
        if !close {
            return Some(format!("{found} at {place}, not {expected}"));
        }
    }
    None
}

/// The blocks that devices choose from; with `ZEGFORMER_SWEEP=1` others as well.
fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Block::FEW.into_iter().chain(Block::MANY).collect();
    if set("ZEGFORMER_SWEEP") {
        for (rows, columns) in [(4, 1), (4, 2), (8, 1), (8, 2)] {
            for size in [(8, 8), (16, 8), (8, 16), (16, 16)] {
                for (depth, slices) in [(16, 1), (16, 2), (32, 1), (32, 4)] {
                    blocks.push(Block::shared(rows, columns, size, depth, slices));
                }
            }
        }
        // What every WebGPU device runs.
        let threads = |block: &Block| block.shared.map_or(0, |it| it.size.0 * it.size.1 * it.slices);
        blocks.retain(|block| block.bytes() <= 16_384 && threads(block) <= 256);
    }
    let mut known = Vec::new();
    blocks.retain(|block| {
        !known.contains(block) && {
            known.push(*block);
            true
        }
    });
    blocks
}

fn set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// `ZEGFORMER_QUICK=1`: fewer problems, for slow adapters; `ZEGFORMER_CASE`: those whose name contains it.
#[test]
#[ignore = "a measurement"]
fn rates() {
    let started = Instant::now();
    let device = pollster::block_on(Device::request()).expect("there is an adapter");
    let tuning = device.tuning();
    println!("{}: ready after {} ms; {tuning:?}", device.adapter_name(), started.elapsed().as_millis());
    let quick = set("ZEGFORMER_QUICK");
    let least = Duration::from_millis(if quick { 1 } else { 5 });
    let effort = Effort { least, rounds: if quick { 1 } else { 5 }, output: true };
    let bare = Effort { output: false, ..effort };
    let attainable = pollster::block_on(measure::attainable(&device, bare)).expect("the kernel runs");
    println!("{:.0} GFLOP/s from registers alone", attainable / 1e9);
    for mebibytes in [1, 8, if quick { 16 } else { 128 }] {
        let bandwidth = pollster::block_on(measure::bandwidth(&device, mebibytes, bare)).expect("the kernel runs");
        println!("{:.0} GB/s when {mebibytes} MiB are copied", bandwidth / 1e9);
    }
    let product = |m, k, n, stacks| Problem::Product { m, k, n, stacks };
    let conv = |channels, side, taps, groups| Problem::Conv { channels, side, taps, groups };
    let mut problems = vec![
        ("MatMul 200x768x3072", product(200, 768, 3072, 1)),
        ("conv 3x3 256->256 @40x40", conv(256, 40, 3, 1)),
        ("conv 1x1 256->256 @80x80", product(256, 256, 6400, 1)),
        ("attention 12x200x64x200", product(200, 64, 200, 12)),
        ("depthwise 3x3 96 @80x80", conv(96, 80, 3, 96)),
        ("attention 12x200x200x64", product(200, 200, 64, 12)),
        ("MatMul 512x256x1024", product(512, 256, 1024, 1)),
        ("MatMul 2048x2048x2048", product(2048, 2048, 2048, 1)),
        ("conv 3x3 256->256 @160x160", conv(256, 160, 3, 1)),
        ("MatMul 4096x4096x4096", product(4096, 4096, 4096, 1)),
    ];
    problems.truncate(if quick { 5 } else { 10 });
    let wanted = std::env::var("ZEGFORMER_CASE").unwrap_or_default();
    let mut failures = Vec::new();
    for (name, problem) in problems.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        // Winograd's rate may pass what is attainable: it is told in the multiplications that others would need.
        let print = |how: &str, time: Duration| {
            let rate = problem.operations() as f64 / time.as_secs_f64();
            let bytes = 4.0 * problem.numbers().iter().sum::<usize>() as f64 / time.as_secs_f64();
            println!(
                "{name} | {how} | {:.1} us | {:.0} GFLOP/s | {:.1} % | {:.0} GB/s",
                time.as_secs_f64() * 1e6,
                rate / 1e9,
                100.0 * rate / attainable,
                bytes / 1e9,
            );
        };
        let chosen = problem.block(tuning);
        let mut tried = vec![chosen];
        if chosen.is_some() {
            tried.extend(blocks().into_iter().map(Some).filter(|block| *block != chosen));
        }
        let mut times = Vec::new();
        for block in tried {
            match pollster::block_on(problem.time(&device, block, effort)) {
                Ok(timing) => {
                    failures.extend(wrong(problem, &timing.output).map(|what| format!("{name} | {block:?}: {what}")));
                    times.push((timing.median, format!("{block:?}")));
                }
                Err(error) => failures.push(format!("{name} | {block:?}: {error}")),
            }
        }
        if let Problem::Conv { channels, side, taps: 3, groups: 1 } = problem {
            let tunings = blocks().into_iter().map(|block| Tuning { few: block, many: block, ..tuning });
            for (at, tuning) in [tuning].into_iter().chain(tunings).enumerate() {
                match pollster::block_on(measure::winograd_times(&device, channels, side, tuning, bare)) {
                    Ok(stages) => {
                        let block = tuning.block_for(channels, side.div_ceil(2).pow(2), 16);
                        let how = format!("Winograd {stages:.1?} {block:?}");
                        let found = (stages.iter().sum(), how);
                        // First what is chosen.
                        let place = if at == 0 && tuning.winograd { 0 } else { times.len() };
                        times.insert(place, found);
                    }
                    Err(error) => failures.push(format!("{name} | Winograd {tuning:?}: {error}")),
                }
            }
        }
        let Some((time, how)) = times.first() else { continue };
        print(&format!("CHOSEN {how}"), *time);
        times.sort();
        for (at, (time, how)) in times.iter().enumerate().take(if set("ZEGFORMER_SWEEP") { 20 } else { 4 }) {
            print(&format!("{} {how}", if at == 0 { "BEST" } else { "then" }), *time);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What there is to choose from, as wgpu tells it.
#[test]
#[ignore = "a listing"]
fn adapters() {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    for adapter in pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY)) {
        println!("{:?}", adapter.get_info());
        let (features, limits) = (adapter.features(), adapter.limits());
        for feature in [wgpu::Features::SHADER_F16, wgpu::Features::SUBGROUP, wgpu::Features::TIMESTAMP_QUERY] {
            println!("  {feature:?}: {}", features.contains(feature));
        }
        println!(
            "  workgroups: {} threads, {} bytes; bindings: {} MiB, buffers: {} MiB",
            limits.max_compute_invocations_per_workgroup,
            limits.max_compute_workgroup_storage_size,
            limits.max_storage_buffer_binding_size >> 20,
            limits.max_buffer_size >> 20
        );
    }
}
