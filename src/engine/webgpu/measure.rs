//! Which block of a matrix product this adapter computes fastest: measured on it, since cards differ too much to be listed.

use web_time::{Duration, Instant};
use wonnx::wgpu;

use super::super::EngineError;
use super::device::Device;
use super::lower::{Kernel, Product};
use super::tuning::{Block, LARGE};

/// Rows, inner length and columns of the product that is timed. The inner length is short: it is the same for all blocks,
/// and the page waits.
const PRODUCT: (usize, usize, usize) = (512, 256, 1024);
const _: () = assert!(PRODUCT.0 * PRODUCT.2 >= LARGE);
/// Runs in one submission: one alone would drown in the time that a submission takes.
const RUNS: usize = 4;
const ROUNDS: usize = 3;
/// Once this has gone by, the round that is under way is the last.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long each block takes for a product.
pub type Times = Vec<(Block, Duration)>;

/// The block that is fastest on this device.
///
/// # Errors
/// What the device complains about.
pub async fn fastest(device: &Device) -> Result<Option<Block>, EngineError> {
    Ok(times(device, PRODUCT).await?.into_iter().min_by_key(|&(_, time)| time).map(|(block, _)| block))
}

/// The best time of every candidate for a product of these rows, inner length and columns.
///
/// # Errors
/// What the device complains about.
pub async fn times(device: &Device, (m, k, n): (usize, usize, usize)) -> Result<Times, EngineError> {
    let gpu = &device.context().device;
    let buffer = |numbers: usize| {
        gpu.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * numbers as u64,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let buffers = [buffer(m * k), buffer(k * n), buffer(m * n)];
    let scope = device.scope();
    let mut prepared = Vec::new();
    for block in Block::CANDIDATES {
        let kernel = Product::pointwise(0, 1, None, m, k, n, 1).with(block, [false; 2]).map_err(EngineError::Gpu)?;
        let pipeline = pipeline(gpu, &kernel);
        let entries: Vec<wgpu::BindGroupEntry> = buffers
            .iter()
            .enumerate()
            .map(|(at, buffer)| wgpu::BindGroupEntry { binding: at as u32, resource: buffer.as_entire_binding() })
            .collect();
        let group = gpu.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        prepared.push((block, pipeline, group, kernel.workgroups));
    }
    scope.end().await?;
    let started = Instant::now();
    let mut found: Times = Block::CANDIDATES.iter().map(|&block| (block, Duration::MAX)).collect();
    // By turns, so that a disturbance does not hit one block alone. The first round compiles and warms up.
    for round in 0..=ROUNDS {
        for (at, (_, pipeline, group, workgroups)) in prepared.iter().enumerate() {
            let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, group, &[]);
            for _ in 0..RUNS {
                pass.dispatch_workgroups(workgroups.0, workgroups.1, workgroups.2);
            }
            drop(pass);
            let begun = Instant::now();
            device.context().queue.submit(Some(encoder.finish()));
            done(device).await;
            if round > 0 {
                found[at].1 = found[at].1.min(begun.elapsed());
            }
        }
        if round > 0 && started.elapsed() > PATIENCE {
            break;
        }
    }
    device.check()?;
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
