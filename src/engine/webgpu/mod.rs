//! The WebGPU engine: wonnx with this crate's kernels.
//!
//! What a graph asks for is checked when it is loaded ([`check`], by the list in [`operators`]), and it is planned for the shapes of
//! its inputs ([`plan`]): every value gets its shape, side inputs that are constants become part of the shaders, chains are fused,
//! and each remaining node gets one kernel ([`lower`]). wonnx then holds the buffers and shares them between values that are not
//! alive together; [`run`] has it submit the kernels in order.

mod assemble;
mod attributes;
mod check;
mod device;
mod fold;
mod fuse;
mod half;
mod lower;
pub mod measure;
mod operators;
#[cfg(target_arch = "wasm32")]
mod pipelines;
mod plan;
mod run;
mod template;
mod tuning;
mod turns;
mod values;

use std::collections::HashSet;
use std::rc::Rc;

use async_trait::async_trait;
use wonnx::Session;
use wonnx::extension::Weights;
use wonnx::onnx::TensorProto;

use super::{EngineError, Graph, Listener, ModelProto, Tensor, Unheard, weights};
use check::{Checked, Kind};
pub use device::Device;
pub use operators::{OPERATORS, operator};
use plan::Plan;
use run::Compiled;
pub use tuning::{Block, Shared, Tuning};

/// Sessions kept for different input shapes; the one used longest ago goes first.
const KEPT_SESSIONS: usize = 3;
/// Weights at least this large leave the host's memory once they are on the GPU.
const HEAVY_BYTES: usize = 4096;
/// Integers up to here are exact in f32.
const EXACT: f32 = 16_777_216.0;

/// What one binding holds wherever WebGPU runs (the default of maxStorageBufferBindingSize), in bytes.
pub const BINDING_BYTES: u64 = 128 << 20;

type Shapes = Vec<(String, Vec<usize>)>;

/// The largest binding of a run of `model` (f32 weights) on a graphics card, for inputs of the given shapes: the name of
/// its value, and its bytes. Needs no device.
pub fn largest_binding(model: &ModelProto, inputs: &[(String, Vec<usize>)]) -> Result<(String, u64), EngineError> {
    plan::largest(model, &check::check(model)?, inputs, Tuning::GRAPHICS)
}

/// The shapes of the inputs, if the model states them all.
fn stated_shapes(model: &ModelProto) -> Option<Shapes> {
    let weights: HashSet<&str> = model.get_graph().get_initializer().iter().map(|tensor| tensor.get_name()).collect();
    let inputs = model.get_graph().get_input().iter().filter(|input| !weights.contains(input.get_name()));
    let stated = inputs.map(|input| {
        let tensor = input.get_field_type().get_tensor_type();
        let sides = tensor.get_shape().get_dim().iter();
        // What is left open has no value, or a name.
        let shape = sides.map(|side| usize::try_from(side.get_dim_value()).ok().filter(|&side| side > 0));
        let shape: Option<Vec<usize>> = tensor.has_shape().then(|| shape.collect()).flatten();
        shape.map(|shape| (input.get_name().to_string(), shape))
    });
    stated.collect()
}

/// A graph on a GPU. Compiled for each new set of input shapes; weights are uploaded once.
pub struct WebGpuGraph {
    device: Device,
    model: ModelProto,
    checked: Checked,
    /// Names of the weights that are f16.
    half: HashSet<String>,
    weights: Rc<Weights>,
    /// The last used first.
    sessions: Vec<(Shapes, Compiled)>,
}

impl Drop for WebGpuGraph {
    /// A large model's next graph needs the room now, not when the browser's garbage collector comes by.
    fn drop(&mut self) {
        self.sessions.clear();
        for buffer in self.weights.borrow().values() {
            buffer.destroy();
        }
    }
}

impl WebGpuGraph {
    /// Takes a graph with f32 weights.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for an operator, operator set, attribute or type of elements that is not known. What
    /// shapes or the content of constants decide (ranks, sizes, tensors without elements) is refused here as well if the
    /// model states the shapes of its inputs, else by the first run. [`EngineError::Weight`] for a weight that does not fill
    /// its shape.
    pub fn load(device: Device, mut model: ModelProto) -> Result<WebGpuGraph, EngineError> {
        device.check()?;
        weights::check(&model)?;
        let checked = check::check(&model)?;
        if let Some(shapes) = stated_shapes(&model) {
            plan::refuse(&model, &checked, &shapes, device.tuning())?;
        }
        let half = if device.tuning().half { half::narrow(&mut model) } else { HashSet::new() };
        Ok(WebGpuGraph { device, model, checked, half, weights: Rc::default(), sessions: Vec::new() })
    }

    /// Integers and truth values travel as f32: refuses what is neither.
    fn check_input(&self, name: &str, tensor: &Tensor) -> Result<(), EngineError> {
        let fits: fn(f32) -> bool = match self.checked.kinds.get(name) {
            Some(Kind::Int) => |value| value.abs() <= EXACT && value.fract() == 0.0,
            Some(Kind::Bool) => |value| value == 0.0 || value == 1.0,
            _ => return Ok(()),
        };
        match tensor.data().iter().find(|value| !fits(**value)) {
            Some(value) => Err(EngineError::Input { name: name.to_string(), value: *value }),
            None => Ok(()),
        }
    }

    /// Bytes of weights that are on the host: all until the first run, then the small ones. For tests.
    pub fn host_bytes(&self) -> usize {
        let bytes = |tensor: &TensorProto| tensor.get_raw_data().len().max(tensor.get_float_data().len() * 4);
        self.model.get_graph().get_initializer().iter().map(bytes).sum()
    }

    /// How many buffers hold weights and constants. For tests.
    pub fn buffers(&self) -> usize {
        self.weights.borrow().len()
    }

    /// Gives back the constants that were made for sessions which are gone.
    fn forget_constants(&self) {
        let graph = self.model.get_graph();
        let mut kept: HashSet<&str> = graph.get_initializer().iter().map(|tensor| tensor.get_name()).collect();
        kept.extend(self.sessions.iter().flat_map(|(_, compiled)| compiled.constants.iter().map(String::as_str)));
        self.weights.borrow_mut().retain(|name, buffer| {
            let keep = kept.contains(name.as_str());
            if !keep {
                buffer.destroy();
            }
            keep
        });
    }

    fn forget_weight(&self, name: &str) {
        if let Some(buffer) = self.weights.borrow_mut().remove(name) {
            buffer.destroy();
        }
    }

    async fn compile(
        &mut self,
        shapes: &Shapes,
        #[cfg_attr(
            not(target_arch = "wasm32"),
            expect(unused_variables, reason = "it hears of pipelines in browsers")
        )]
        listener: &mut dyn Listener,
    ) -> Result<Compiled, EngineError> {
        let tuning = self.device.tuning();
        let plan = plan::plan(&self.model, &self.checked, &self.half, shapes, tuning, self.device.limits())?;
        let Plan { model: mut planned, weights: read, kernels, outputs } = plan;
        // Natively wonnx makes them: wgpu can do so only while the caller waits.
        #[cfg(target_arch = "wasm32")]
        pipelines::make(&self.device, &planned, &kernels, listener).await?;
        // wonnx reads the weights once; then they are on the GPU under their names. They move there and back, since a
        // second copy of a large model's weights may not fit.
        let read: HashSet<String> = read.into_iter().collect();
        let mut moved: Vec<(usize, Vec<u8>, Vec<f32>)> = Vec::new();
        for (at, tensor) in self.model.mut_graph().mut_initializer().iter_mut().enumerate() {
            if read.contains(tensor.get_name()) {
                let mut lent = TensorProto::new();
                lent.set_name(tensor.get_name().to_string());
                lent.set_data_type(tensor.get_data_type());
                lent.set_dims(tensor.get_dims().to_vec());
                lent.set_raw_data(tensor.take_raw_data());
                lent.set_float_data(tensor.take_float_data());
                planned.mut_graph().mut_initializer().push(lent);
                moved.push((at, Vec::new(), Vec::new()));
            }
        }
        let own = planned.get_graph().get_initializer().len() - moved.len();
        let made = planned.get_graph().get_initializer().iter().take(own);
        let constants: Vec<String> = made.map(|tensor| tensor.get_name().to_string()).collect();
        let scope = self.device.scope();
        self.device.offer(kernels);
        let session = Session::with_context(&planned, self.device.context(), &self.weights);
        let works = self.device.taken();
        let complaint = scope.end().await;
        for (lent, (_, raw, floats)) in planned.mut_graph().mut_initializer().iter_mut().skip(own).zip(&mut moved) {
            *raw = lent.take_raw_data();
            *floats = lent.take_float_data();
        }
        let failed = complaint.is_err() || session.is_err();
        if failed {
            // What was uploaded now may be broken. Weights that are only on the GPU were uploaded by an earlier session.
            let of_others = |name: &&String| self.sessions.iter().any(|(_, other)| other.constants.contains(name));
            constants.iter().filter(|name| !of_others(name)).for_each(|name| self.forget_weight(name));
        }
        for (at, raw, floats) in moved {
            let bytes = raw.len().max(floats.len() * 4);
            if failed && bytes > 0 {
                self.forget_weight(self.model.get_graph().get_initializer()[at].get_name());
            }
            let tensor = &mut self.model.mut_graph().mut_initializer()[at];
            if failed || bytes < HEAVY_BYTES {
                tensor.set_raw_data(raw);
                tensor.set_float_data(floats);
            }
        }
        if let Err(error) = complaint {
            self.device.forget_pipelines();
            return Err(error);
        }
        let session = session.map_err(|error| EngineError::Gpu(error.to_string()))?;
        Ok(Compiled { session, outputs, works, constants })
    }
}

#[async_trait(?Send)]
impl Graph for WebGpuGraph {
    async fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, EngineError> {
        self.run_heard(inputs, &mut Unheard).await
    }

    async fn run_heard(
        &mut self,
        inputs: &[(&str, &Tensor)],
        listener: &mut dyn Listener,
    ) -> Result<Vec<(String, Tensor)>, EngineError> {
        let _turn = self.device.turn().await;
        self.device.check()?;
        for (name, tensor) in inputs {
            self.check_input(name, tensor)?;
        }
        let shapes: Shapes = inputs.iter().map(|(name, tensor)| (name.to_string(), tensor.shape().to_vec())).collect();
        let compiled = match self.sessions.iter().position(|(known, _)| *known == shapes) {
            Some(at) => self.sessions.remove(at).1,
            None => {
                // Room first: the GPU may not hold one session more.
                self.sessions.truncate(KEPT_SESSIONS - 1);
                self.forget_constants();
                self.compile(&shapes, listener).await?
            }
        };
        self.sessions.insert(0, (shapes, compiled));
        run::run(&self.device, &self.sessions[0].1, inputs, listener).await
    }
}
