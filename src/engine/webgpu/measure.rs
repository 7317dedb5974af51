//! Which block of a matrix product this adapter computes fastest, and whether Winograd's transforms pay: measured on it, since
//! cards differ too much to be listed.
//! And how far kernels are from what the adapter can do.

use web_time::{Duration, Instant};
use wonnx::wgpu;

use super::super::EngineError;
use super::device::Device;
use super::lower::{Conv, Kernel, Product, winograd};
use super::tuning::{Block, LARGE, Tuning};

/// Rows, inner length and columns of the product that is timed. The inner length is short: it is the same for all blocks,
/// and the page waits.
const PRODUCT: (usize, usize, usize) = (512, 256, 1024);
const _: () = assert!(PRODUCT.0 * PRODUCT.2 >= LARGE);
/// Channels, in and out, and pixels a side of the convolution that is timed.
const CONVOLUTION: (usize, usize) = (128, 32);
const _: () = assert!(CONVOLUTION.0 * CONVOLUTION.1 * CONVOLUTION.1 >= LARGE);
/// Runs in one submission: one alone would drown in the time that a submission takes.
const RUNS: u32 = 4;
const ROUNDS: usize = 3;
/// Once this has gone by, the round that is under way is the last.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long each block takes for a product.
pub type Times = Vec<(Block, Duration)>;

/// `tuning` with what is fastest on this device.
///
/// # Errors
/// What the device complains about.
pub async fn measured(device: &Device, tuning: Tuning) -> Result<Tuning, EngineError> {
    let times = times(device, PRODUCT).await?;
    let fastest = |of: fn(&Block) -> bool| {
        let those = times.iter().filter(|(block, _)| of(block));
        those.min_by_key(|(_, time)| *time).map(|&(block, _)| block)
    };
    let tuning = Tuning {
        block: fastest(|_| true).unwrap_or(tuning.block),
        gathered: fastest(|block| block.shared.is_some()).unwrap_or(tuning.gathered),
        ..tuning
    };
    let (channels, side) = CONVOLUTION;
    let conv = Conv::plain(channels, side, 3);
    let image = channels * side * side;
    let kernel = conv.kernel(tuning, false).map_err(EngineError::Gpu)?;
    let gathered = run(device, &[kernel], &[image, channels * channels * 9, image]).await?[0];
    let winograd = winograd_time(device, channels, side, tuning).await? < gathered;
    Ok(Tuning { winograd, ..tuning })
}

/// How long a convolution of 3 x 3 with so many channels, in and out, and pixels a side takes by Winograd's transforms.
///
/// # Errors
/// What the device complains about.
pub async fn winograd_time(
    device: &Device,
    channels: usize,
    side: usize,
    tuning: Tuning,
) -> Result<Duration, EngineError> {
    let mut time = Duration::ZERO;
    let kernels = winograd::kernels(&Conv::plain(channels, side, 3), tuning).map_err(EngineError::Gpu)?;
    for (kernel, numbers) in kernels {
        time += run(device, &[kernel], &numbers).await?[0];
    }
    Ok(time)
}

/// The best time of every candidate for a product of these rows, inner length and columns.
///
/// # Errors
/// What the device complains about.
pub async fn times(device: &Device, (m, k, n): (usize, usize, usize)) -> Result<Times, EngineError> {
    let kernel = |block: &Block| Product::pointwise(0, 1, None, m, k, n, 1).with(*block, [false; 2]);
    let kernels: Result<Vec<Kernel>, String> = Block::CANDIDATES.iter().map(kernel).collect();
    let found = run(device, &kernels.map_err(EngineError::Gpu)?, &[m * k, k * n, m * n]).await?;
    Ok(Block::CANDIDATES.into_iter().zip(found).collect())
}

/// The same for a convolution of 3 x 3 with so many channels, in and out, and pixels a side; `None` is the kernel that is
/// not a product.
///
/// # Errors
/// What the device complains about.
pub async fn convolution_times(
    device: &Device,
    channels: usize,
    side: usize,
) -> Result<Vec<(Option<Block>, Duration)>, EngineError> {
    let shared = Block::CANDIDATES.into_iter().filter(|block| block.shared.is_some());
    let blocks: Vec<Option<Block>> = std::iter::once(None).chain(shared.map(Some)).collect();
    let kernels: Result<Vec<Kernel>, String> = blocks
        .iter()
        .map(|block| {
            let conv = Conv::plain(channels, side, 3);
            match block {
                Some(gathered) => conv.kernel(Tuning { gathered: *gathered, ..Tuning::GRAPHICS }, false),
                None => conv.direct(Tuning::GRAPHICS, false),
            }
        })
        .collect();
    let image = channels * side * side;
    let found = run(device, &kernels.map_err(EngineError::Gpu)?, &[image, channels * channels * 9, image]).await?;
    Ok(blocks.into_iter().zip(found).collect())
}

/// Multiplications and additions a second that the device reaches when nothing but registers is asked of it: what the
/// kernels' rates are to be held against.
///
/// # Errors
/// What the device complains about.
pub async fn attainable(device: &Device) -> Result<f64, EngineError> {
    const THREADS: usize = 1 << 16;
    const TURNS: usize = 512;
    let lanes: Vec<usize> = (0..8).collect();
    let each = |text: &dyn Fn(&usize) -> String| lanes.iter().map(text).collect::<Vec<String>>();
    let shader = format!(
        "@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let factor = vec4<f32>(f32(id.x) * 1e-7 + 0.5);
            {} for (var turn = 0u; turn < {TURNS}u; turn += 1u) {{ {} }}
            y[id.x] = {};
        }}",
        each(&|i| format!("var s{i} = factor + {i}.0;")).join(" "),
        each(&|i| format!("s{i} = s{i} * factor + factor;")).join(" "),
        each(&|i| format!("s{i}")).join(" + "),
    );
    let kernel = Kernel { shader, workgroups: ((THREADS / 64) as u32, 1, 1) };
    let time = run(device, &[kernel], &[THREADS * 4]).await?[0];
    Ok((2 * 4 * lanes.len() * THREADS * TURNS) as f64 / time.as_secs_f64())
}

/// The best time of one run of each kernel, on buffers of so many numbers.
async fn run(device: &Device, kernels: &[Kernel], numbers: &[usize]) -> Result<Vec<Duration>, EngineError> {
    let gpu = &device.context().device;
    let scope = device.scope();
    let buffers: Vec<wgpu::Buffer> = numbers
        .iter()
        .map(|&numbers| {
            gpu.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 4 * numbers as u64,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        })
        .collect();
    let entries: Vec<wgpu::BindGroupEntry> = buffers
        .iter()
        .enumerate()
        .map(|(at, buffer)| wgpu::BindGroupEntry { binding: at as u32, resource: buffer.as_entire_binding() })
        .collect();
    let mut prepared = Vec::new();
    for kernel in kernels {
        let pipeline = pipeline(gpu, kernel);
        let layout = pipeline.get_bind_group_layout(0);
        let group =
            gpu.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        prepared.push((pipeline, group));
    }
    scope.end().await?;
    let mut found = vec![Duration::MAX; kernels.len()];
    let started = Instant::now();
    // By turns, so that a disturbance does not hit one kernel alone. The first round compiles and warms up.
    for round in 0..=ROUNDS {
        for (at, (kernel, (pipeline, group))) in kernels.iter().zip(&prepared).enumerate() {
            let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, group, &[]);
            for _ in 0..RUNS {
                pass.dispatch_workgroups(kernel.workgroups.0, kernel.workgroups.1, kernel.workgroups.2);
            }
            drop(pass);
            let begun = Instant::now();
            device.context().queue.submit(Some(encoder.finish()));
            done(device).await;
            if round > 0 {
                found[at] = found[at].min(begun.elapsed() / RUNS);
            }
        }
        if round > 0 && started.elapsed() > PATIENCE {
            break;
        }
    }
    device.check()?;
    buffers.iter().for_each(wgpu::Buffer::destroy);
    Ok(found)
}

/// Waits until the device has done all that it was given.
async fn done(device: &Device) {
    let (sender, receiver) = futures_channel::oneshot::channel();
    device.context().queue.on_submitted_work_done(move || {
        let _ = sender.send(());
    });
    #[cfg(not(target_arch = "wasm32"))]
    let _ = device.context().device.poll(wgpu::PollType::wait_indefinitely());
    let _ = receiver.await;
}

fn pipeline(gpu: &wgpu::Device, kernel: &Kernel) -> wgpu::ComputePipeline {
    let module = gpu.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("a product to be timed"),
        source: wgpu::ShaderSource::Wgsl(kernel.shader.as_str().into()),
    });
    gpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("a product to be timed"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}
