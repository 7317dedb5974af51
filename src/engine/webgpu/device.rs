//! One GPU device for all graphs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use wonnx::extension::{CompileError, CompiledNode, Context};
use wonnx::wgpu;

use super::super::EngineError;
use super::lower::Kernel;
use super::measure;
use super::plan::Limits;
use super::tuning::Tuning;

/// Kernels by the name of the value that they compute, handed to wonnx while a session is made.
type Kernels = Rc<RefCell<HashMap<String, Kernel>>>;

/// A device with its queue, its compiled pipelines, and whether it is still there. Clones share all.
#[derive(Clone)]
pub struct Device {
    context: Rc<Context>,
    kernels: Kernels,
    name: Rc<str>,
    tuning: Tuning,
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
        let kernels = Kernels::default();
        let planned = kernels.clone();
        let context = Context {
            device,
            queue,
            provider: Box::new(move |node| {
                let output = node.get_output().first().cloned().unwrap_or_default();
                let kernel = planned.borrow_mut().remove(&output).ok_or(CompileError::UnimplementedOp(output))?;
                Ok(CompiledNode { shader: kernel.shader, threads: kernel.workgroups })
            }),
            pipelines: RefCell::default(),
        };
        let mut made =
            Device { context: Rc::new(context), kernels, name: Rc::from(name), tuning: Tuning::SOFTWARE, lost };
        if !software {
            let known = Tuning { subgroups: made.has_subgroups(), half: true, ..Tuning::GRAPHICS };
            made.tuning = measure::measured(&made, known).await?;
        }
        Ok(made)
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

    /// Pipelines made while an error was reported may be invalid.
    pub(super) fn forget_pipelines(&self) {
        self.context.pipelines.borrow_mut().clear();
    }

    pub(super) fn context(&self) -> &Rc<Context> {
        &self.context
    }

    /// Puts `kernels` where wonnx asks for them.
    pub(super) fn offer(&self, kernels: HashMap<String, Kernel>) {
        *self.kernels.borrow_mut() = kernels;
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
        Scope { memory, validation, internal }
    }
}

/// Open error scopes: nothing that the GPU complains about goes unheard.
pub(super) struct Scope {
    memory: wgpu::ErrorScopeGuard,
    validation: wgpu::ErrorScopeGuard,
    internal: wgpu::ErrorScopeGuard,
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

/// Names the node if the message is about its shader: wgpu writes `label = 'NODE'`, browsers `[ShaderModule "NODE"]`.
fn complaint(message: &str) -> EngineError {
    let between =
        |start: &str, end: char| message.split_once(start)?.1.split_once(end).map(|(node, _)| node.to_string());
    let about_shader = ["ShaderModule", "create_shader_module", "create_compute_pipeline", "ComputePipeline"];
    let node = between("label = '", '\'').or_else(|| between("[ShaderModule \"", '"'));
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
            "error: unresolved value 'inf'\n - While validating [ComputePipelineDescriptor \"x\"], [ShaderModule \"node_7 (Conv)\"]",
        ];
        for message in messages {
            let error = complaint(message);
            assert!(matches!(&error, EngineError::Shader { node, .. } if node == "node_7 (Conv)"), "{error:?}");
        }
        assert!(matches!(complaint("a buffer is too small"), EngineError::Gpu(_)));
    }
}
