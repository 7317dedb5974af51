//! The WebGPU engine against the CPU engine: the same nodes, shapes and random numbers have to give the same results.
//!
//! Runs on whatever adapter there is; a software Vulkan driver (Mesa's lavapipe) will do.

mod nodes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nodes::{Case, random, run_case};
use zegformer::engine::cpu::CpuGraph;
use zegformer::engine::webgpu::measure;
use zegformer::engine::webgpu::{Block, Device, Tuning, WebGpuGraph};
use zegformer::engine::{Graph, Tensor, weights};

fn device() -> Device {
    match pollster::block_on(Device::request()) {
        Ok(device) => device,
        Err(error) => panic!("{error}; install a Vulkan driver, such as Debian's mesa-vulkan-drivers"),
    }
}

/// The largest difference, relative to the largest magnitude of its row: what a row of small numbers is off by does not
/// vanish beside a large one elsewhere. A row of next to nothing is what large terms leave of each other: the tensor's
/// magnitude then counts for a hundredth.
fn difference(expected: &Tensor, found: &Tensor) -> f32 {
    assert_eq!(expected.shape(), found.shape());
    let largest = |values: &[f32]| values.iter().fold(f32::MIN_POSITIVE, |scale, value| scale.max(value.abs()));
    let least = largest(expected.data()) / 100.0;
    let row = expected.shape().last().copied().unwrap_or(1).max(1);
    let rows = expected.data().chunks(row).zip(found.data().chunks(row));
    rows.fold(0.0f32, |worst, (expected, found)| {
        let scale = largest(expected).max(least);
        expected.iter().zip(found).fold(worst, |worst, (a, b)| {
            let apart = (a - b).abs() / scale;
            if apart.is_nan() { f32::INFINITY } else { worst.max(apart) }
        })
    })
}

/// With the kernels for CPU adapters and with those for GPUs: either runs anywhere.
#[test]
fn every_operator_agrees_with_the_cpu() {
    compare_cases(&device().tuned(Tuning::SOFTWARE), nodes::cases());
}

#[test]
fn every_operator_agrees_with_the_cpu_as_on_a_gpu() {
    compare_cases(&device().tuned(Tuning::GRAPHICS), nodes::cases());
}

#[test]
fn random_shapes_agree_with_the_cpu() {
    let device = device();
    compare_cases(&device.clone().tuned(Tuning::SOFTWARE), nodes::random_cases(280));
    compare_cases(&device.tuned(Tuning::GRAPHICS), nodes::random_cases(280));
}

#[test]
fn rows_agree_with_the_cpu_by_subgroups() {
    let device = device();
    assert!(device.has_subgroups(), "{} has no subgroups; Mesa's lavapipe does", device.adapter_name());
    let rows = ["Softmax", "LogSoftmax", "LayerNorm", "InstanceNorm", "Reduce", "Global"];
    let cases: Vec<Case> =
        nodes::cases().into_iter().filter(|case| rows.iter().any(|row| case.name.starts_with(row))).collect();
    assert!(cases.len() > 40, "only {} cases", cases.len());
    compare_cases(&device.tuned(Tuning { subgroups: true, ..Tuning::GRAPHICS }), cases);
}

#[test]
fn weights_in_f16_agree_with_the_cpu() {
    let weighed = |case: &Case| ["Conv ", "MatMul ", "Gemm "].iter().any(|kind| case.name.starts_with(kind));
    let cases = || nodes::cases().into_iter().filter(weighed).map(Case::halved).collect::<Vec<Case>>();
    assert!(cases().len() > 60, "only {} cases", cases().len());
    compare_cases(&device().tuned(Tuning { half: true, ..Tuning::GRAPHICS }), cases());
    compare_cases(&device().tuned(Tuning { half: true, ..Tuning::SOFTWARE }), cases());
}

/// Whatever block is measured to be the fastest on some card has to be right there.
#[test]
fn products_agree_with_the_cpu_by_every_block() {
    let device = device();
    for block in Block::FEW.into_iter().chain(Block::MANY) {
        assert!(block.bytes() <= 16_384, "{block:?} takes {} bytes", block.bytes());
        let tuning = Tuning { half: true, few: block, many: block, ..Tuning::GRAPHICS };
        let shapes: [[&[usize]; 2]; 6] = [
            [&[384, 64], &[64, 512]],
            [&[333, 52], &[52, 404]],
            [&[3, 200, 20], &[3, 20, 256]],
            [&[2, 2, 260, 64], &[2, 1, 64, 132]],
            [&[2100, 4], &[4, 260]],
            [&[257, 33], &[33, 515]],
        ];
        let plain = shapes.iter().map(|shapes| Case::new(&format!("by {block:?} of {shapes:?}"), "MatMul", shapes));
        // Shape of the image and of the weights, stride, dilation, padding; with and without a bias.
        let images: [([usize; 4], [usize; 4], [i64; 3]); 7] = [
            ([1, 48, 40, 40], [96, 48, 1, 1], [1, 1, 0]),
            ([2, 20, 37, 36], [68, 20, 1, 1], [1, 1, 0]),
            ([1, 12, 48, 44], [80, 12, 3, 3], [1, 1, 1]),
            ([2, 4, 65, 63], [70, 4, 5, 3], [2, 1, 2]),
            ([1, 8, 40, 60], [64, 8, 3, 3], [1, 2, 2]),
            ([1, 3, 64, 64], [64, 3, 3, 3], [1, 1, 1]),
            ([1, 4, 128, 96], [96, 4, 3, 3], [2, 1, 1]),
        ];
        let convolutions = images.iter().enumerate().map(|(at, (image, weights, [stride, dilation, pad]))| {
            let name = format!("by {block:?} of {image:?} {weights:?}");
            let bias: &[&[usize]] = if at % 2 == 0 { &[&[weights[0]]] } else { &[] };
            let shapes: Vec<&[usize]> = [image.as_slice(), weights].into_iter().chain(bias.iter().copied()).collect();
            Case::new(&name, "Conv", &shapes)
                .list("strides", &[*stride; 2])
                .list("dilations", &[*dilation; 2])
                .list("pads", &[*pad; 4])
        });
        let cases: Vec<Case> = plain.chain(convolutions).collect();
        compare_cases(&device.clone().tuned(tuning), both(cases));
    }
}

#[test]
fn convolutions_agree_with_the_cpu_by_winograd() {
    let device = device();
    // Shape of the image, channels of the result, padding; every second has a bias.
    let shapes: [([usize; 4], usize, [i64; 4]); 6] = [
        ([1, 32, 12, 12], 32, [1; 4]),
        ([2, 36, 7, 9], 40, [1; 4]),
        ([1, 33, 5, 5], 35, [0; 4]),
        ([3, 32, 1, 1], 32, [1; 4]),
        ([1, 48, 6, 10], 32, [2, 1, 0, 2]),
        ([2, 64, 9, 6], 64, [1; 4]),
    ];
    let mut cases = Vec::new();
    for (at, (image, channels, pads)) in shapes.iter().enumerate() {
        let (weights, bias) = ([*channels, image[1], 3, 3], [*channels]);
        let shapes: Vec<&[usize]> = vec![image, &weights, &bias];
        let case = Case::new(&format!("of {image:?} {weights:?} {pads:?}"), "Conv", &shapes[..2 + at % 2]);
        let case = case.list("strides", &[1; 2]).list("dilations", &[1; 2]).list("pads", pads);
        if image[1] == *channels && *pads == [1; 4] {
            cases.push(case.clone().residual());
        }
        cases.push(case);
    }
    for tuning in [Tuning { half: true, ..Tuning::SOFTWARE }, Tuning { half: true, winograd: true, ..Tuning::GRAPHICS }]
    {
        compare_cases(&device.clone().tuned(tuning), both(cases.clone()));
        // That they are computed so shows in the last bits.
        let bits = |tuning: Tuning| {
            let run = |model| {
                WebGpuGraph::load(device.clone().tuned(tuning), model).map(|graph| Box::new(graph) as Box<dyn Graph>)
            };
            run_case(&cases[0], run).expect("the case runs")[0].1.clone()
        };
        assert_ne!(bits(tuning), bits(Tuning { winograd: false, ..tuning }));
    }
}

fn both(cases: Vec<Case>) -> Vec<Case> {
    cases.iter().cloned().chain(cases.iter().cloned().map(Case::halved)).collect()
}

#[test]
fn the_fastest_block_is_measured() {
    let device = device();
    let times = pollster::block_on(measure::times(&device, &Block::MANY, (64, 16, 64))).expect("the kernels run");
    assert_eq!(times.len(), Block::MANY.len());
    assert!(times.iter().all(|(_, time)| *time > Duration::ZERO), "{times:?}");
    let tuned = pollster::block_on(measure::measured(&device, Tuning::GRAPHICS)).expect("the kernels run");
    assert!(Block::FEW.contains(&tuned.few) && Block::MANY.contains(&tuned.many));
}

fn compare_cases(device: &Device, cases: Vec<Case>) {
    let mut failures = Vec::new();
    let wanted = std::env::var("ZEGFORMER_CASE").unwrap_or_default();
    for case in cases.iter().filter(|case| case.name.contains(&wanted)) {
        let expected = run_case(case, |model| CpuGraph::load(model).map(|graph| Box::new(graph) as Box<dyn Graph>));
        let found = run_case(case, |model| {
            WebGpuGraph::load(device.clone(), model).map(|graph| Box::new(graph) as Box<dyn Graph>)
        });
        match (expected, found) {
            (Ok(expected), Ok(found)) => {
                for ((name, expected), (_, found)) in expected.iter().zip(&found) {
                    if expected.shape() != found.shape() {
                        failures.push(format!(
                            "{}: {name} is {:?}, not {:?}",
                            case.name,
                            found.shape(),
                            expected.shape()
                        ));
                    } else if difference(expected, found) > 1e-3 {
                        failures.push(format!("{}: {name} is off by {}", case.name, difference(expected, found)));
                    }
                }
            }
            (Err(error), _) => failures.push(format!("{}: on the CPU: {error}", case.name)),
            (_, Err(error)) => failures.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn graphs_of_the_bundles_agree_with_the_cpu() {
    let device = device();
    compare_graphs(&device);
    let subgroups = device.has_subgroups();
    compare_graphs(&device.tuned(Tuning { half: true, subgroups, ..Tuning::GRAPHICS }));
}

fn compare_graphs(device: &Device) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compared = 0;
    for folder in [root.join("tests/golden/official-tiny/bundle"), root.join("models/zegformer-lite")] {
        for name in ["segmenter.onnx", "image.onnx", "image.onepass.onnx", "text.onnx"] {
            let path = folder.join(name);
            if path.exists() {
                compare_graph(device, &path);
                compared += 1;
            }
        }
    }
    assert!(compared >= 3, "the golden graphs are missing");
}

fn load(path: &PathBuf) -> wonnx::onnx::ModelProto {
    let bytes = std::fs::read(path).expect("the graph can be read");
    let (model, files) = weights::parse(&bytes).expect("the graph is ONNX");
    let read = |file: String| {
        let bytes = std::fs::read(path.with_file_name(&file)).expect("its weights lie beside it");
        (file, bytes)
    };
    weights::widen(model, &files.into_iter().map(read).collect()).expect("its weights can be widened")
}

fn compare_graph(device: &Device, path: &PathBuf) {
    let model = load(path);
    let mut on_gpu = WebGpuGraph::load(device.clone(), model.clone()).expect("the GPU engine takes the graph");
    // Named axes; two sets of sizes, so that a session is made when the weights are on the GPU only.
    for (height, width, batch, length) in [(64, 96, 2, 8), (96, 64, 1, 5)] {
        let mut inputs = Vec::new();
        for (number, input) in model.get_graph().get_input().iter().enumerate() {
            let sides = input.get_field_type().get_tensor_type().get_shape().get_dim();
            let shape: Vec<usize> = sides
                .iter()
                .map(|side| match side.get_dim_param() {
                    "" => side.get_dim_value() as usize,
                    "H" => height,
                    "W" => width,
                    "h" => height / 32,
                    "w" => width / 32,
                    "H/16" => height / 16,
                    "W/16" => width / 16,
                    "B" | "Q" => batch,
                    "T" => length,
                    other => panic!("{}: an axis called {other}", path.display()),
                })
                .collect();
            inputs.push((input.get_name().to_string(), random(&shape, 7 + number as u64, -1.0, 1.0)));
        }
        let named: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut on_cpu = CpuGraph::load(model.clone()).expect("the CPU engine takes the graph");
        let expected = pollster::block_on(on_cpu.run(&named)).expect("the CPU engine runs the graph");
        let found =
            pollster::block_on(on_gpu.run(&named)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let again = pollster::block_on(on_gpu.run(&named)).expect("a second run works");
        for ((name, expected), ((other, found), (_, again))) in expected.iter().zip(found.iter().zip(&again)) {
            assert_eq!(name, other);
            let apart = difference(expected, found);
            assert!(apart < 1e-3, "{}: {name} is off by {apart} at {height}x{width}", path.display());
            assert!(difference(found, again) < 1e-6, "{}: {name} differs between runs", path.display());
        }
    }
}

#[test]
fn what_is_unknown_is_refused_by_name() {
    let device = device();
    let case = Case::new("unknown", "Einsum", &[&[2, 3], &[3, 2]]).named("the odd one");
    let error = run_case(&case, |model| {
        WebGpuGraph::load(device.clone(), model).map(|graph| Box::new(graph) as Box<dyn Graph>)
    })
    .expect_err("no kernel is known");
    let text = error.to_string();
    assert!(text.contains("Einsum") && text.contains("the odd one"), "{text}");
}

#[test]
#[ignore = "a measurement"]
fn milliseconds_of_the_graphs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/zegformer-lite");
    let runs = if std::env::var_os("ZEGFORMER_QUICK").is_some() { 3 } else { 30 };
    let device = device();
    for (file, shapes) in [
        ("segmenter.onnx", vec![vec![1, 3, 320, 448], vec![1, 192, 20, 28]]),
        ("image.onnx", vec![vec![4, 3, 160, 160]]),
    ] {
        let path = folder.join(file);
        if !path.exists() {
            println!("{} is not there", path.display());
            continue;
        }
        let model = load(&path);
        let names: Vec<String> = model.get_graph().get_input().iter().map(|it| it.get_name().to_string()).collect();
        let inputs: Vec<Tensor> = shapes.iter().map(|shape| random(shape, 1, -1.0, 1.0)).collect();
        let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&inputs).collect();
        let mut graph = WebGpuGraph::load(device.clone(), model).expect("the graph is taken");
        let mut times = Vec::new();
        for run in 0..runs {
            let start = Instant::now();
            pollster::block_on(graph.run(&named)).expect("the graph runs");
            let time = start.elapsed();
            if run == 0 {
                println!("{}: {file} {shapes:?}: first run {time:.1?}", device.adapter_name());
            } else {
                times.push(time);
            }
        }
        times.sort();
        println!("{file}: best {:.2?}, median {:.2?}", times[0], times[times.len() / 2]);
    }
}
