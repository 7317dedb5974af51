//! Running a session: in submissions of bounded work, between which a listener hears how far it is and may call it off.

use web_time::{Duration, Instant};
use wonnx::Session;
use wonnx::wgpu;

use super::super::{EngineError, Listener, Tensor, element_count};
use super::device::Device;

/// What a submission should take. In less, time is lost between them; a screen stands still, and a Stop waits, for as long as
/// two of them.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(80);
/// A listener that takes longer has let the GPU run dry: the next submission's time says nothing.
const PAUSE: Duration = Duration::from_millis(4);

/// A graph compiled for one set of input shapes.
pub struct Compiled {
    pub session: Session,
    pub outputs: Vec<(String, Vec<usize>)>,
    /// Of each operator, in the order in which they run: about as many multiplications and additions.
    pub works: Vec<u64>,
    /// The names of the buffers that hold constants of the engine's making.
    pub constants: Vec<String>,
}

/// Where the submission ends that starts with operator `start`.
fn end(works: &[u64], start: usize, bound: u64) -> usize {
    let mut sum = 0u64;
    let fits = |work: &&u64| {
        sum = sum.saturating_add(**work);
        sum <= bound
    };
    // One operator cannot be divided.
    start + works[start..].iter().take_while(fits).count().max(1)
}

/// Runs it once.
///
/// # Errors
/// What the device complains about, and [`EngineError::Cancelled`]: what was submitted until then still runs to its end.
pub async fn run(
    device: &Device,
    compiled: &Compiled,
    inputs: &[(&str, &Tensor)],
    listener: &mut dyn Listener,
) -> Result<Vec<(String, Tensor)>, EngineError> {
    let scope = device.scope();
    let mut results = submit(device, compiled, inputs, listener).await;
    if results.is_ok() {
        results = read(device, compiled).await;
    }
    let complaint = scope.end().await;
    device.check()?;
    complaint?;
    results
}

async fn submit(
    device: &Device,
    compiled: &Compiled,
    inputs: &[(&str, &Tensor)],
    listener: &mut dyn Listener,
) -> Result<Vec<(String, Tensor)>, EngineError> {
    let parts = compiled.session.parts();
    for (name, tensor) in inputs {
        parts.write(name, tensor.data());
    }
    let works = &compiled.works;
    let total = works.iter().sum::<u64>().max(1);
    let mut start = 0;
    let mut done = 0;
    // The submission before this one runs while this one is written down: the GPU always has work.
    let mut before = None;
    let mut since = Some(Instant::now());
    while start < works.len() {
        let bound = device.pace().get();
        let end = end(works, start, bound);
        let own = works[start..end].iter().sum::<u64>();
        let waiting = device.after(parts.submit(start..end));
        if let Some((waiting, work)) = before.replace((waiting, own)) {
            waiting.await;
            let finished = Instant::now();
            if let Some(since) = since.filter(|_| work >= bound / 2) {
                let worked = (finished - since).saturating_sub(device.idle());
                device.pace().set(paced(bound, worked));
            }
            done += work;
            if !listener.on(done as f32 / total as f32).await {
                return Err(EngineError::Cancelled);
            }
            since = (finished.elapsed() < PAUSE).then_some(finished);
        }
        start = end;
    }
    Ok(Vec::new())
}

/// The bound that follows from how long a submission of about this work took.
fn paced(bound: u64, time: Duration) -> u64 {
    let next = if time < SHORTEST {
        bound * 2
    } else if time > LONGEST {
        bound / 2
    } else {
        bound
    };
    next.clamp(1 << 26, 1 << 44)
}

/// All outputs, on one journey.
async fn read(device: &Device, compiled: &Compiled) -> Result<Vec<(String, Tensor)>, EngineError> {
    let parts = compiled.session.parts();
    let context = device.context();
    let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut copies = Vec::new();
    for (name, shape) in &compiled.outputs {
        let source = parts.output(name).ok_or_else(|| EngineError::MissingOutput(name.clone()))?;
        let copy = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("output"),
            size: element_count(shape).unwrap_or(0) as u64 * 4,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(source, 0, &copy, 0, copy.size());
        copies.push(copy);
    }
    context.queue.submit(Some(encoder.finish()));
    let mapped: Vec<_> = copies
        .iter()
        .map(|copy| {
            let (sender, receiver) = futures_channel::oneshot::channel();
            copy.slice(..).map_async(wgpu::MapMode::Read, move |result| {
                let _ = sender.send(result.is_ok());
            });
            receiver
        })
        .collect();
    #[cfg(not(target_arch = "wasm32"))]
    let _ = context.device.poll(wgpu::PollType::wait_indefinitely());
    let mut results = Vec::new();
    let mut failed = None;
    for (((name, shape), copy), mapped) in compiled.outputs.iter().zip(&copies).zip(mapped) {
        match content(copy, arrived(mapped).await).and_then(|data| Tensor::new(shape.clone(), data)) {
            Ok(tensor) => results.push((name.clone(), tensor)),
            Err(error) => failed = Some(error),
        }
        // Now, not when the browser's garbage collector comes by.
        copy.destroy();
    }
    failed.map_or(Ok(results), Err)
}

/// Whether a buffer was mapped. Natively that is decided by now; a lost device leaves it undecided.
async fn arrived(mut mapped: futures_channel::oneshot::Receiver<bool>) -> bool {
    if cfg!(target_arch = "wasm32") { mapped.await == Ok(true) } else { mapped.try_recv() == Ok(Some(true)) }
}

fn content(copy: &wgpu::Buffer, arrived: bool) -> Result<Vec<f32>, EngineError> {
    let unread = || EngineError::Gpu("the results could not be read".to_string());
    if !arrived {
        return Err(unread());
    }
    let bytes = copy.slice(..).get_mapped_range().map_err(|_| unread())?;
    Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_are_bounded_by_their_work() {
        let works = [3, 3, 3, 100, 1, 9, 1];
        let mut ends = Vec::new();
        while ends.last() != Some(&works.len()) {
            ends.push(end(&works, ends.last().copied().unwrap_or(0), 10));
        }
        assert_eq!(ends, [3, 4, 6, 7]);
        assert_eq!(end(&[u64::MAX, u64::MAX], 0, 1 << 44), 1, "a sum that overflows is too large");
    }

    #[test]
    fn the_bound_follows_the_adapter() {
        assert_eq!(paced(1 << 30, Duration::from_millis(1)), 1 << 31);
        assert_eq!(paced(1 << 30, Duration::from_millis(50)), 1 << 30);
        assert_eq!(paced(1 << 30, Duration::from_secs(1)), 1 << 29);
        assert_eq!(paced(1 << 26, Duration::from_secs(1)), 1 << 26);
    }
}
