//! One GPU device for all graphs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use web_time::{Duration, Instant};
use wonnx::extension::{CompileError, CompiledNode, Context};
use wonnx::wgpu;

use super::super::EngineError;
use super::measure;
use super::plan::{Limits, Weighed};
use super::tuning::Tuning;
use super::turns::{Ages, Turn, Turns};

/// Pipelines that are kept, with their shaders: those of some ten sessions of large graphs. Every new set of input shapes has
/// some of its own. A session has its pipelines even where they are kept no more.
const MOST_PIPELINES: usize = 1024;

/// So often nothing is submitted, to see how long that takes.
const IDLE_ROUNDS: usize = 3;
/// A browser that looks for what is done ten times a second, as Firefox 153 does, cannot tell one kernel's time from another's.
const SLOW_TO_TELL: Duration = Duration::from_millis(20);

/// What is handed over while a session is made.
#[derive(Default)]
struct Offer {
    /// Kernels, and their work, by the name of the value that they compute.
    kernels: HashMap<String, Weighed>,
    /// The work of those that wonnx took, in their order.
    taken: Vec<u64>,
    ages: Ages,
}

/// A device with its queue, its compiled pipelines, and whether it is still there. Clones share all.
#[derive(Clone)]
pub struct Device {
    context: Rc<Context>,
    offer: Rc<RefCell<Offer>>,
    turns: Rc<Turns>,
    pace: Rc<Cell<u64>>,
    name: Rc<str>,
    tuning: Tuning,
    idle: Duration,
    lost: Arc<Mutex<Option<String>>>,
}

impl Device {
    /// Asks for the adapter with the highest performance and a device with all its limits. On a graphics card the
    /// kernels of large products are timed first; see [`Device::tuning`].
    ///
    /// # Errors
    /// [`EngineError::NoAdapter`] with the reason.
    pub async fn request() -> Result<Device, EngineError> {
        let none = |error: &dyn std::fmt::Display| EngineError::NoAdapter(error.to_string());
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        let instance = wgpu::Instance::new(descriptor);
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            })
            .await
            .map_err(|error| none(&error))?;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("zegformer"),
                required_limits: adapter.limits(),
                required_features: adapter.features() & wgpu::Features::SUBGROUP,
                ..Default::default()
            })
            .await
            .map_err(|error| none(&error))?;

        let lost = Arc::new(Mutex::new(None));
        let remember = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            let mut lost = remember.lock().unwrap_or_else(PoisonError::into_inner);
            *lost = Some(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        // Errors are asked for by scopes; one that no scope caught must not end the program.
        let remember = lost.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut lost = remember.lock().unwrap_or_else(PoisonError::into_inner);
            lost.get_or_insert_with(|| error.to_string());
        }));

        let info = adapter.get_info();
        let browser = browser_name().await.unwrap_or_default();
        let words = format!("{} {} {} {browser}", info.name, info.driver, info.driver_info);
        let name = [&info.name, &info.driver_info, &info.driver, &browser]
            .into_iter()
            .find(|word| !word.trim().is_empty())
            .map_or("unnamed adapter", |word| word.trim());
        let software = info.device_type == wgpu::DeviceType::Cpu || is_software(&words);
        let offer: Rc<RefCell<Offer>> = Rc::default();
        let offered = offer.clone();
        let context = Context {
            device,
            queue,
            provider: Box::new(move |node| {
                let output = node.get_output().first().cloned().unwrap_or_default();
                let offer = &mut *offered.borrow_mut();
                let (kernel, work) = offer.kernels.remove(&output).ok_or(CompileError::UnimplementedOp(output))?;
                offer.taken.push(work);
                offer.ages.used(&kernel.shader);
                Ok(CompiledNode { shader: kernel.shader, threads: kernel.workgroups })
            }),
            pipelines: RefCell::default(),
        };
        let mut made = Device {
            context: Rc::new(context),
            offer,
            turns: Rc::default(),
            pace: Rc::new(Cell::new(if software { 1 << 28 } else { 1 << 31 })),
            name: Rc::from(name),
            tuning: Tuning::SOFTWARE,
            idle: Duration::MAX,
            lost,
        };
        for _ in 0..IDLE_ROUNDS {
            let begun = Instant::now();
            made.after(made.context.queue.submit(None)).await;
            made.idle = made.idle.min(begun.elapsed());
        }
        if !software {
            let known = Tuning { subgroups: made.has_subgroups(), half: true, ..Tuning::GRAPHICS };
            made.tuning = if made.idle < SLOW_TO_TELL { measure::measured(&made, known).await? } else { known };
        }
        Ok(made)
    }

    /// Gives the GPU back: to all graphs of this device it is as if it were lost. For tests.
    pub fn destroy(&self) {
        self.context.device.destroy();
    }

    /// The adapter in words.
    pub fn adapter_name(&self) -> &str {
        &self.name
    }

    /// Whether the adapter computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.tuning.software
    }

    /// The same device with other kernels: all run anywhere, subgroups only where [`Device::has_subgroups`]. For tests.
    #[must_use]
    pub fn tuned(mut self, tuning: Tuning) -> Device {
        self.tuning = tuning;
        self
    }

    /// Whether kernels may use subgroups.
    pub fn has_subgroups(&self) -> bool {
        self.context.device.features().contains(wgpu::Features::SUBGROUP) && says_subgroup_id()
    }

    /// What kernels are tuned to: by the adapter's kind and features, and by what was measured on it.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// What a buffer can hold.
    pub(super) fn limits(&self) -> Limits {
        let limits = self.context.device.limits();
        Limits { binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) }
    }

    /// How many pipelines are kept for graphs to come. For tests.
    pub fn pipelines(&self) -> usize {
        self.context.pipelines.borrow().len()
    }

    /// Pipelines made while an error was reported may be invalid.
    pub(super) fn forget_pipelines(&self) {
        self.context.pipelines.borrow_mut().clear();
    }

    /// Waits until no other graph of this device runs.
    pub(super) async fn turn(&self) -> Turn {
        self.turns.take().await
    }

    /// What a submission takes in which there is nothing to do.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// How much work a submission may have.
    pub(super) fn pace(&self) -> &Cell<u64> {
        &self.pace
    }

    /// Waits until this submission, which has to be the last one, is done.
    pub(super) fn after(&self, submission: wgpu::SubmissionIndex) -> impl Future<Output = ()> + use<> {
        let (sender, receiver) = futures_channel::oneshot::channel();
        self.context.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        let device = self.context.device.clone();
        async move {
            if cfg!(target_arch = "wasm32") {
                let _ = receiver.await;
            } else {
                let _ = device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None });
            }
        }
    }

    pub(super) fn context(&self) -> &Rc<Context> {
        &self.context
    }

    /// Puts `kernels` where wonnx asks for them.
    pub(super) fn offer(&self, kernels: HashMap<String, Weighed>) {
        let mut offer = self.offer.borrow_mut();
        (offer.kernels, offer.taken) = (kernels, Vec::new());
    }

    /// The work of the kernels that were taken, in their order. What is left is put away, and of the pipelines those used
    /// longest ago.
    pub(super) fn taken(&self) -> Vec<u64> {
        let mut offer = self.offer.borrow_mut();
        offer.kernels = HashMap::new();
        offer.ages.trim(&mut self.context.pipelines.borrow_mut(), MOST_PIPELINES);
        std::mem::take(&mut offer.taken)
    }

    /// # Errors
    /// [`EngineError::DeviceLost`] once the device is gone.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        match &*self.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(EngineError::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }

    /// Watches for errors until [`Scope::end`].
    pub(super) fn scope(&self) -> Scope {
        let device = &self.context.device;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        Scope { internal, validation, memory }
    }
}

/// Open error scopes: nothing that the GPU complains about goes unheard.
pub(super) struct Scope {
    // Dropped in this order when a run is: the last one opened first.
    internal: wgpu::ErrorScopeGuard,
    validation: wgpu::ErrorScopeGuard,
    memory: wgpu::ErrorScopeGuard,
}

impl Scope {
    /// The first error since the scope was opened.
    pub async fn end(self) -> Result<(), EngineError> {
        // Asked for before any answer is awaited: in a browser each answer is a journey to the GPU's process.
        let (internal, validation, memory) = (self.internal.pop(), self.validation.pop(), self.memory.pop());
        let (internal, validation, memory) = (internal.await, validation.await, memory.await);
        if let Some(error) = memory {
            return Err(EngineError::GpuOutOfMemory(error.to_string()));
        }
        match validation.or(internal) {
            Some(error) => Err(complaint(&error.to_string())),
            None => Ok(()),
        }
    }
}

/// Whether shaders can ask for the number of their subgroup, which browsers learnt later than subgroups themselves.
#[cfg(target_arch = "wasm32")]
fn says_subgroup_id() -> bool {
    use js_sys::{Function, Reflect};
    use wasm_bindgen::{JsCast, JsValue};

    let get = |of: &JsValue, name: &str| Reflect::get(of, &JsValue::from_str(name)).ok();
    let says = || {
        let known = get(&get(&get(&js_sys::global(), "navigator")?, "gpu")?, "wgslLanguageFeatures")?;
        let has: Function = get(&known, "has")?.dyn_into().ok()?;
        has.call1(&known, &JsValue::from_str("subgroup_id")).ok()?.as_bool()
    };
    says().unwrap_or(false)
}

#[cfg(not(target_arch = "wasm32"))]
fn says_subgroup_id() -> bool {
    true
}

/// Vendor and architecture, which browsers tell and wgpu does not pass on.
#[cfg(target_arch = "wasm32")]
async fn browser_name() -> Option<String> {
    use js_sys::{Function, Object, Promise, Reflect};
    use wasm_bindgen::{JsCast, JsValue};

    let get = |of: &JsValue, name: &str| Reflect::get(of, &JsValue::from_str(name)).ok();
    let gpu = get(&get(&js_sys::global(), "navigator")?, "gpu")?;
    let request: Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let options = Object::new();
    Reflect::set(&options, &JsValue::from_str("powerPreference"), &JsValue::from_str("high-performance")).ok()?;
    let promise: Promise = request.call1(&gpu, &options).ok()?.dyn_into().ok()?;
    let adapter = wasm_bindgen_futures::JsFuture::from(promise).await.ok()?;
    let info = get(&adapter, "info")?;
    let word = |name: &str| get(&info, name).and_then(|value| value.as_string()).filter(|word| !word.is_empty());
    let words: Vec<String> = ["vendor", "architecture"].into_iter().filter_map(word).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(not(target_arch = "wasm32"))]
async fn browser_name() -> Option<String> {
    None
}

/// Names the node if the message is about its shader or pipeline: wgpu writes `label = 'NODE'`, browsers
/// `[ShaderModule "NODE"]` or, while it is being made, `[ShaderModuleDescriptor ""NODE""]`. What compilers say of the shader
/// is part of the message, line and column included.
fn complaint(message: &str) -> EngineError {
    let between = |start: &str, end: &str| {
        let (node, _) = message.split_once(start)?.1.split_once(end)?;
        (!node.is_empty()).then(|| node.to_string())
    };
    let about_shader = ["ShaderModule", "create_shader_module", "create_compute_pipeline", "ComputePipeline"];
    let node = between("label = '", "'")
        .or_else(|| between("ShaderModuleDescriptor \"\"", "\"\""))
        .or_else(|| between("ComputePipelineDescriptor \"\"", "\"\""))
        .or_else(|| between("ShaderModule \"", "\""))
        .or_else(|| between("ComputePipeline \"", "\""));
    match node.filter(|_| about_shader.iter().any(|word| message.contains(word))) {
        Some(node) => EngineError::Shader { node, message: message.to_string() },
        None => EngineError::Gpu(message.to_string()),
    }
}

fn is_software(words: &str) -> bool {
    let words = words.to_lowercase();
    ["swiftshader", "llvmpipe", "lavapipe", "software", "basic render", "warp"].iter().any(|name| words.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_the_node() {
        let messages = [
            "Validation Error\n\nCaused by:\n  In Device::create_shader_module, label = 'node_7 (Conv)'\n    no such thing",
            "Validation Error\n\nCaused by:\n  In Device::create_compute_pipeline, label = 'node_7 (Conv)'\n    too many threads",
            "Error while parsing WGSL: :2:17 error: unresolved value 'inf'\n\n - While validating [ShaderModuleDescriptor \"\"node_7 (Conv)\"\"]\n - While calling [Device \"zegformer\"].CreateShaderModule([ShaderModuleDescriptor \"\"node_7 (Conv)\"\"]).",
            "The total number of workgroup invocations (4096) exceeds the maximum allowed (256).\n - While validating compute stage ([ShaderModule \"node_7 (Conv)\"], entryPoint: \"main\").\n - While calling [Device].CreateComputePipeline([ComputePipelineDescriptor \"\"node_7 (Conv)\"\"]).",
            "[Invalid ShaderModule \"node_7 (Conv)\"] is invalid.\n - While calling [Device].CreateComputePipeline([ComputePipelineDescriptor]).",
        ];
        for message in messages {
            let error = complaint(message);
            assert!(matches!(&error, EngineError::Shader { node, .. } if node == "node_7 (Conv)"), "{error:?}");
        }
        assert!(matches!(complaint("a buffer is too small"), EngineError::Gpu(_)));
    }
}
