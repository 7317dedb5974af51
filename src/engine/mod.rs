//! Running ONNX graphs: one trait, two engines over the very same files.
//!
//! * [`cpu`]: `rten`, SIMD on the CPU, natively and in wasm.
//! * [`webgpu`]: `wonnx` with this crate's kernels, natively over Vulkan/Metal/DX12 and in browsers over WebGPU.
//!
//! A graph file stores its weights as f16 or int8; [`weights::widen`] turns them into f32 before either engine sees them.

pub mod cpu;
pub mod webgpu;
pub mod weights;

use async_trait::async_trait;
pub use wonnx::onnx::ModelProto;

/// A dense, row-major f32 tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// Wraps `data` (row-major) as a tensor of `shape`.
    ///
    /// # Errors
    /// [`EngineError::Shape`] if the number of elements is not the product of `shape`.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Tensor, EngineError> {
        let shape = shape.into();
        if element_count(&shape) != Some(data.len()) {
            return Err(EngineError::Shape(format!("{} values do not fill a tensor of shape {shape:?}", data.len())));
        }
        Ok(Tensor { shape, data })
    }

    /// A tensor of zeros. The shape comes from the caller's own sizes, never from untrusted input.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Tensor {
        let shape = shape.into();
        let data = vec![0.0; shape.iter().product()];
        Tensor { shape, data }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn data(&self) -> &[f32] {
        &self.data
    }

    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    pub fn into_data(self) -> Vec<f32> {
        self.data
    }
}

/// The product of `shape`, or `None` where it overflows.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))
}

/// Which engine runs the graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    WebGpu,
    Cpu,
}

impl EngineKind {
    /// The word used in links, on the command line and in the page: `webgpu` or `cpu`.
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::WebGpu => "webgpu",
            EngineKind::Cpu => "cpu",
        }
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// WebGPU on a hardware adapter, else the CPU.
    #[default]
    Auto,
    WebGpu,
    Cpu,
}

impl std::str::FromStr for EngineChoice {
    type Err = EngineError;

    fn from_str(word: &str) -> Result<Self, EngineError> {
        match word {
            "auto" => Ok(EngineChoice::Auto),
            "webgpu" => Ok(EngineChoice::WebGpu),
            "cpu" => Ok(EngineChoice::Cpu),
            other => Err(EngineError::UnknownEngine(other.to_string())),
        }
    }
}

/// A loaded graph. Inputs and outputs go by the names in the ONNX file.
#[async_trait(?Send)]
pub trait Graph {
    /// Runs the graph once and returns its outputs in the file's order.
    ///
    /// # Errors
    /// A missing or surplus input, a shape that does not fit, an operator that fails, a shader that does not compile,
    /// a lost device. After [`EngineError::DeviceLost`] the graph is unusable; load it on the other engine.
    async fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, EngineError>;

    /// The same, where `listener` hears how far it is and may call it off. An engine that has no parts to stop between tells
    /// nothing.
    ///
    /// # Errors
    /// Those of [`Graph::run`], and [`EngineError::Cancelled`]; the graph can be run again.
    async fn run_heard(
        &mut self,
        inputs: &[(&str, &Tensor)],
        _listener: &mut dyn Listener,
    ) -> Result<Vec<(String, Tensor)>, EngineError> {
        self.run(inputs).await
    }
}

/// Hears how far the run of a graph is.
#[async_trait(?Send)]
pub trait Listener {
    /// `done` of 1 is done. Returns false to call it off.
    async fn on(&mut self, done: f32) -> bool;
}

/// A listener that hears nothing and calls nothing off.
pub struct Unheard;

#[async_trait(?Send)]
impl Listener for Unheard {
    async fn on(&mut self, _done: f32) -> bool {
        true
    }
}

/// A chosen engine, ready to load graphs.
pub enum Engine {
    Cpu,
    WebGpu(webgpu::Device),
}

/// The chosen engine in words, for the status line.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    pub kind: EngineKind,
    /// The adapter's name, or `CPU`.
    pub adapter: String,
    /// Why this engine was taken, as a sentence.
    pub reason: String,
}

impl Engine {
    /// Chooses an engine. Only an explicit `WebGpu` can fail; `Auto` falls back to the CPU and says why.
    pub async fn choose(choice: EngineChoice) -> Result<(Engine, EngineInfo), EngineError> {
        let on_cpu = |reason: String| EngineInfo { kind: EngineKind::Cpu, adapter: "CPU".to_string(), reason };
        if choice == EngineChoice::Cpu {
            return Ok((Engine::Cpu, on_cpu("The CPU was asked for.".to_string())));
        }
        let device = match webgpu::Device::request().await {
            Ok(device) => device,
            Err(error) if choice == EngineChoice::Auto => {
                return Ok((Engine::Cpu, on_cpu(format!("No WebGPU here: {error}"))));
            }
            Err(error) => return Err(error),
        };
        let adapter = device.adapter_name().to_string();
        if choice == EngineChoice::Auto && device.is_software() {
            let reason = format!("The only WebGPU adapter ({adapter}) is a software one, slower than the CPU engine.");
            return Ok((Engine::Cpu, on_cpu(reason)));
        }
        let reason = if choice == EngineChoice::Auto {
            "A hardware WebGPU adapter was found.".to_string()
        } else {
            "WebGPU was asked for.".to_string()
        };
        let info = EngineInfo { kind: EngineKind::WebGpu, adapter, reason };
        Ok((Engine::WebGpu(device), info))
    }

    /// Loads a graph whose weights were widened by [`weights::widen`].
    pub fn load(&self, model: ModelProto) -> Result<Box<dyn Graph>, EngineError> {
        Ok(match self {
            Engine::Cpu => Box::new(cpu::CpuGraph::load(model)?),
            Engine::WebGpu(device) => Box::new(webgpu::WebGpuGraph::load(device.clone(), model)?),
        })
    }
}

/// Runs `graph` and returns the named outputs in the order asked for.
///
/// # Errors
/// Those of [`Graph::run_heard`], [`EngineError::MissingOutput`], and [`EngineError::NotFinite`]: such values lose every comparison,
/// so whatever is made of them would look like an answer.
pub async fn run_named<const N: usize>(
    graph: &mut dyn Graph,
    inputs: &[(&str, &Tensor)],
    outputs: [&str; N],
    listener: &mut dyn Listener,
) -> Result<[Tensor; N], EngineError> {
    let mut results = graph.run_heard(inputs, listener).await?;
    let mut taken = Vec::with_capacity(N);
    for name in outputs {
        let at = results
            .iter()
            .position(|(output, _)| output == name)
            .ok_or_else(|| EngineError::MissingOutput(name.to_string()))?;
        let tensor = results.swap_remove(at).1;
        if !tensor.data().iter().all(|value| value.is_finite()) {
            return Err(EngineError::NotFinite(name.to_string()));
        }
        taken.push(tensor);
    }
    taken.try_into().map_err(|_| EngineError::MissingOutput(outputs.join(", ")))
}

/// What can go wrong while loading or running a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    #[error("there is no engine called \"{0}\"; use auto, webgpu or cpu")]
    UnknownEngine(String),
    #[error("{0}")]
    Shape(String),
    #[error("the graph file is damaged or not ONNX: {0}")]
    Parse(String),
    #[error("weight \"{name}\": {reason}")]
    Weight { name: String, reason: String },
    #[error("the graph has no input called \"{0}\"")]
    UnknownInput(String),
    #[error("the graph's input \"{name}\" takes whole numbers or truth values that f32 can hold, not {value}")]
    Input { name: String, value: f32 },
    #[error("the graph needs an input called \"{0}\"")]
    MissingInput(String),
    #[error("the graph has no output called \"{0}\"")]
    MissingOutput(String),
    #[error(
        "the graph's output \"{0}\" holds values that are not numbers: its weights are wrong, or this engine computes them wrongly; try the other engine"
    )]
    NotFinite(String),
    #[error("operator {operator} (node \"{node}\") is not supported: {reason}")]
    Unsupported { operator: String, node: String, reason: String },
    #[error("the CPU engine failed: {0}")]
    Cpu(String),
    #[error("no usable WebGPU adapter: {0}")]
    NoAdapter(String),
    #[error("the shader of node \"{node}\" does not compile: {message}")]
    Shader { node: String, message: String },
    #[error("the GPU reported an error: {0}")]
    Gpu(String),
    #[error("the GPU ran out of memory: {0}")]
    GpuOutOfMemory(String),
    #[error("the GPU was lost ({0}); the CPU engine can go on")]
    DeviceLost(String),
    #[error("cancelled")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same whatever it is asked.
    struct Parrot(Vec<f32>);

    #[async_trait(?Send)]
    impl Graph for Parrot {
        async fn run(&mut self, _inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, EngineError> {
            Ok(vec![("said".to_string(), Tensor::new([self.0.len()], self.0.clone())?)])
        }
    }

    fn ask(values: &[f32], output: &str) -> Result<Vec<f32>, String> {
        let found = pollster::block_on(run_named(&mut Parrot(values.to_vec()), &[], [output], &mut Unheard));
        found.map(|[said]| said.into_data()).map_err(|error| error.to_string())
    }

    #[test]
    fn outputs_are_there_and_numbers() {
        assert_eq!(ask(&[1.0, -2.0], "said"), Ok(vec![1.0, -2.0]));
        assert_eq!(ask(&[1.0], "meant"), Err("the graph has no output called \"meant\"".to_string()));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let refused = ask(&[1.0, value], "said").expect_err("no number");
            assert!(refused.starts_with("the graph's output \"said\" holds values that are not numbers"), "{refused}");
        }
    }
}
