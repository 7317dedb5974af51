//! Which block of a matrix product this adapter computes fastest, and whether Winograd's transforms pay: measured on it, since
//! cards differ too much to be listed.
//! And how far kernels are from what the adapter can do.

use web_time::{Duration, Instant};
use wonnx::wgpu;

use super::super::EngineError;
use super::device::Device;
use super::lower::{Conv, Kernel, Product, winograd};
use super::tuning::{Block, LARGE, Tuning};

/// Rows, inner length and columns of the products that are timed, of few results and of many. The inner length is short: it is
/// the same for all blocks, and the page waits.
const FEW: (usize, usize, usize) = (512, 256, 1024);
const MANY: (usize, usize, usize) = (2048, 256, 2048);
const _: () = assert!(FEW.0 * FEW.2 >= LARGE);
/// Channels, in and out, and pixels a side of the convolution that is timed.
const CONVOLUTION: (usize, usize) = (128, 32);
const _: () = assert!(CONVOLUTION.0 * CONVOLUTION.1 * CONVOLUTION.1 >= LARGE);
/// Once this has gone by, the round that is under way is the last.
const PATIENCE: Duration = Duration::from_millis(500);

/// How carefully kernels are timed.
#[derive(Clone, Copy)]
pub struct Effort {
    /// What a submission takes at least: a kernel is run in it as often as that needs, since one run alone would drown in the
    /// time that a submission takes.
    pub least: Duration,
    pub rounds: usize,
    /// Whether what a kernel wrote is read back.
    pub output: bool,
}

impl Effort {
    /// While the page waits.
    pub const QUICK: Effort = Effort { least: Duration::from_millis(2), rounds: 3, output: false };
}

/// What was found of a kernel.
pub struct Timing {
    pub best: Duration,
    pub median: Duration,
    /// What it wrote, if that was asked for.
    pub output: Vec<f32>,
}

/// What is timed.
#[derive(Clone, Copy)]
pub enum Problem {
    /// Stacked products of `m` rows, inner length `k` and `n` columns.
    Product { m: usize, k: usize, n: usize, stacks: usize },
    /// A convolution with so many channels, in and out, pixels and taps a side.
    Conv { channels: usize, side: usize, taps: usize, groups: usize },
}

impl Problem {
    /// Multiplications and additions.
    pub fn operations(self) -> usize {
        match self {
            Problem::Product { m, k, n, stacks } => 2 * m * k * n * stacks,
            Problem::Conv { channels, side, taps, groups } => {
                2 * channels * channels / groups * taps * taps * side * side
            }
        }
    }

    /// Elements of what it reads, twice, and of what it writes.
    pub fn numbers(self) -> [usize; 3] {
        match self {
            Problem::Product { m, k, n, stacks } => [m * k * stacks, k * n * stacks, m * n * stacks],
            Problem::Conv { channels, side, taps, groups } => {
                let image = channels * side * side;
                [image, channels * channels / groups * taps * taps, image]
            }
        }
    }

    /// The block that it is computed by, if it is computed as a product.
    pub fn block(self, tuning: Tuning) -> Option<Block> {
        match self {
            Problem::Product { m, n, stacks, .. } => Some(tuning.block_for(m, n, stacks)),
            Problem::Conv { channels, side, groups, .. } => {
                let pixels = side * side;
                (groups == 1 && tuning.gathers(channels * pixels)).then(|| tuning.block_for(channels, pixels, 1))
            }
        }
    }

    /// Its kernel by this block; a convolution's without one is the kernel that is not a product.
    fn kernel(self, block: Option<Block>) -> Result<Kernel, String> {
        match self {
            Problem::Product { m, k, n, stacks } => {
                let product = match stacks {
                    1 => Product::pointwise(0, 1, None, m, k, n, 1),
                    _ => Product::stacked(0, 1, m, k, n, stacks),
                };
                product.with(block.unwrap_or(Block::SMALL), [false; 2])
            }
            Problem::Conv { channels, side, taps, groups } => {
                let conv = Conv { groups, ..Conv::plain(channels, side, taps) };
                match block {
                    Some(block) => conv.kernel(Tuning { few: block, many: block, ..Tuning::GRAPHICS }, false),
                    None => conv.direct(Tuning::GRAPHICS, false),
                }
            }
        }
    }

    /// How long it takes by this block.
    ///
    /// # Errors
    /// What the device complains about.
    pub async fn time(self, device: &Device, block: Option<Block>, effort: Effort) -> Result<Timing, EngineError> {
        let kernel = self.kernel(block).map_err(EngineError::Gpu)?;
        let mut found = run(device, &[kernel], &self.numbers(), effort).await?;
        Ok(found.remove(0))
    }
}

/// What buffer number `buffer` holds at `at`: from -1 to 1, without order.
pub fn filling(buffer: usize, at: usize) -> f32 {
    let mixed = (at as u32 ^ (buffer as u32) << 30).wrapping_mul(0x9e37_79b9);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b);
    ((mixed ^ mixed >> 13) >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}

/// How long each block takes for a product.
pub type Times = Vec<(Block, Duration)>;

/// `tuning` with what is fastest on this device.
///
/// # Errors
/// What the device complains about.
pub async fn measured(device: &Device, tuning: Tuning) -> Result<Tuning, EngineError> {
    let tuning = blocks(device, tuning, 1).await?;
    match pays_by_winograd(device, tuning).await {
        Err(error) if is_refusal(&error) => Ok(tuning),
        pays => Ok(Tuning { winograd: pays?, ..tuning }),
    }
}

/// `tuning` with the blocks that are fastest for products with one in `part` of the rows that cards are measured by: 1, or more
/// for adapters that would take too long.
///
/// # Errors
/// What the device complains about.
pub async fn blocks(device: &Device, tuning: Tuning, part: usize) -> Result<Tuning, EngineError> {
    let rows = |(m, k, n): (usize, usize, usize)| (m / part, k, n);
    let few = fastest(device, &Block::FEW, rows(FEW)).await?.unwrap_or(tuning.few);
    let many = fastest(device, &Block::MANY, rows(MANY)).await?.unwrap_or(tuning.many);
    Ok(Tuning { few, many, ..tuning })
}

/// Whether a convolution of 3 x 3 is faster by Winograd's transforms than as one product.
async fn pays_by_winograd(device: &Device, tuning: Tuning) -> Result<bool, EngineError> {
    let (channels, side) = CONVOLUTION;
    let conv = Conv::plain(channels, side, 3);
    let image = channels * side * side;
    let kernel = conv.kernel(tuning, false).map_err(EngineError::Gpu)?;
    let gathered = run(device, &[kernel], &[image, channels * channels * 9, image], Effort::QUICK).await?[0].best;
    let stages = winograd_times(device, channels, side, tuning, Effort::QUICK).await?;
    Ok(stages.iter().sum::<Duration>() < gathered)
}

/// Whether the adapter's compiler does not take a kernel: no reason to do without the GPU.
fn is_refusal(error: &EngineError) -> bool {
    matches!(error, EngineError::Gpu(_) | EngineError::Shader { .. })
}

/// Of those that the adapter's compiler takes.
async fn fastest(
    device: &Device,
    blocks: &[Block],
    product: (usize, usize, usize),
) -> Result<Option<Block>, EngineError> {
    let found = match times(device, blocks, product).await {
        Err(error) if is_refusal(&error) => {
            let mut taken = Vec::new();
            for block in blocks {
                match times(device, &[*block], product).await {
                    Err(error) if is_refusal(&error) => {}
                    found => taken.extend(found?),
                }
            }
            taken
        }
        found => found?,
    };
    Ok(found.iter().min_by_key(|(_, time)| *time).map(|&(block, _)| block))
}

/// How long each stage of a convolution of 3 x 3 with so many channels, in and out, and pixels a side takes by Winograd's
/// transforms.
///
/// # Errors
/// What the device complains about.
pub async fn winograd_times(
    device: &Device,
    channels: usize,
    side: usize,
    tuning: Tuning,
    effort: Effort,
) -> Result<Vec<Duration>, EngineError> {
    let mut times = Vec::new();
    let kernels = winograd::kernels(&Conv::plain(channels, side, 3), tuning).map_err(EngineError::Gpu)?;
    for (kernel, numbers) in kernels {
        times.push(run(device, &[kernel], &numbers, effort).await?[0].best);
    }
    Ok(times)
}

/// The best time of each of these blocks for a product of these rows, inner length and columns.
///
/// # Errors
/// What the device complains about.
pub async fn times(device: &Device, blocks: &[Block], (m, k, n): (usize, usize, usize)) -> Result<Times, EngineError> {
    let kernel = |block: &Block| Product::pointwise(0, 1, None, m, k, n, 1).with(*block, [false; 2]);
    let kernels: Result<Vec<Kernel>, String> = blocks.iter().map(kernel).collect();
    let found = run(device, &kernels.map_err(EngineError::Gpu)?, &[m * k, k * n, m * n], Effort::QUICK).await?;
    Ok(blocks.iter().copied().zip(found.into_iter().map(|timing| timing.best)).collect())
}

/// Multiplications and additions a second that the device reaches when nothing but registers is asked of it: what the
/// kernels' rates are to be held against.
///
/// # Errors
/// What the device complains about.
pub async fn attainable(device: &Device, effort: Effort) -> Result<f64, EngineError> {
    const THREADS: usize = 1 << 18;
    const TURNS: usize = 256;
    let lanes: Vec<usize> = (0..8).collect();
    let each = |text: &dyn Fn(&usize) -> String| lanes.iter().map(text).collect::<Vec<String>>();
    // Unrolled by hand: the counting must not count.
    let turn = each(&|i| format!("s{i} = s{i} * factor + factor;")).join(" ").repeat(8);
    let shader = format!(
        "@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
        @compute @workgroup_size(256)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let factor = vec4<f32>(f32(id.x) * 1e-7 + 0.5);
            {} for (var turn = 0u; turn < {}u; turn += 1u) {{ {turn} }}
            y[id.x] = {};
        }}",
        each(&|i| format!("var s{i} = factor + {i}.0;")).join(" "),
        TURNS / 8,
        each(&|i| format!("s{i}")).join(" + "),
    );
    let kernel = Kernel { shader, workgroups: ((THREADS / 256) as u32, 1, 1) };
    let time = run(device, &[kernel], &[THREADS * 4], effort).await?[0].best;
    Ok((2 * 4 * lanes.len() * THREADS * TURNS) as f64 / time.as_secs_f64())
}

/// Bytes a second that the device reads and writes when so many MiB are copied: what is large comes from memory, what is
/// small may stay in a cache.
///
/// # Errors
/// What the device complains about.
pub async fn bandwidth(device: &Device, mebibytes: usize, effort: Effort) -> Result<f64, EngineError> {
    let vectors = mebibytes << 16;
    let groups = (vectors / 256).min(1 << 15);
    let shader = format!(
        "@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
        @group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
        @compute @workgroup_size(256)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            for (var at = id.x; at < {vectors}u; at += {}u) {{ y[at] = x[at]; }}
        }}",
        groups * 256
    );
    let kernel = Kernel { shader, workgroups: (groups as u32, 1, 1) };
    let time = run(device, &[kernel], &[vectors * 4; 2], effort).await?[0].best;
    Ok((2 * 16 * vectors) as f64 / time.as_secs_f64())
}

/// The times of one run of each kernel, on buffers of so many numbers. The last is the one that they write.
async fn run(
    device: &Device,
    kernels: &[Kernel],
    numbers: &[usize],
    effort: Effort,
) -> Result<Vec<Timing>, EngineError> {
    let gpu = &device.context().device;
    let scope = device.scope();
    let last = numbers.len() - 1;
    let buffers: Vec<wgpu::Buffer> = numbers
        .iter()
        .enumerate()
        .map(|(number, &numbers)| {
            let buffer = gpu.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 4 * numbers as u64,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            // Zeros would draw less power than numbers do, and be multiplied faster.
            if number < last {
                let mut bytes = Vec::with_capacity(4 * numbers);
                (0..numbers).for_each(|at| bytes.extend_from_slice(&filling(number, at).to_le_bytes()));
                device.context().queue.write_buffer(&buffer, 0, &bytes);
            }
            buffer
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
    let submit = async |at: usize, runs: u32| {
        let (workgroups, (pipeline, group)) = (kernels[at].workgroups, &prepared[at]);
        let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, group, &[]);
        for _ in 0..runs {
            pass.dispatch_workgroups(workgroups.0, workgroups.1, workgroups.2);
        }
        drop(pass);
        let commands = encoder.finish();
        let begun = Instant::now();
        device.context().queue.submit(Some(commands));
        done(device).await;
        begun.elapsed().saturating_sub(device.idle())
    };
    let mut runs = vec![1u32; kernels.len()];
    let mut found = vec![Vec::new(); kernels.len()];
    let started = Instant::now();
    // The first run compiles.
    for (at, runs) in runs.iter_mut().enumerate() {
        submit(at, 1).await;
        while submit(at, *runs).await < effort.least && *runs < 4096 {
            *runs *= 2;
        }
    }
    // By turns, so that a disturbance does not hit one kernel alone.
    for _ in 0..effort.rounds {
        for (at, found) in found.iter_mut().enumerate() {
            found.push(submit(at, runs[at]).await / runs[at]);
        }
        if started.elapsed() > PATIENCE {
            break;
        }
    }
    device.check()?;
    let output = if effort.output { content(device, &buffers[last]).await } else { Vec::new() };
    buffers.iter().for_each(wgpu::Buffer::destroy);
    let timing = |mut times: Vec<Duration>| {
        times.sort();
        Timing { best: times[0], median: times[times.len() / 2], output: output.clone() }
    };
    Ok(found.into_iter().map(timing).collect())
}

/// What a buffer holds.
async fn content(device: &Device, buffer: &wgpu::Buffer) -> Vec<f32> {
    let gpu = &device.context().device;
    let copy = gpu.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size());
    device.context().queue.submit(Some(encoder.finish()));
    copy.slice(..).map_async(wgpu::MapMode::Read, |_| {});
    done(device).await;
    let Ok(bytes) = copy.slice(..).get_mapped_range() else { return Vec::new() };
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
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
