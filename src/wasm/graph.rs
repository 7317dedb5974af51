//! A single graph for the benchmark page: the same engines as the pipeline's, without the pipeline.

use std::collections::HashMap;

use js_sys::{Array, Float32Array, Object, Reflect};
use protobuf::Message;
use wasm_bindgen::prelude::*;

use crate::engine::webgpu::measure::blocks;
use crate::engine::webgpu::{Block, Device, Tuning};
use crate::engine::{Engine, EngineChoice, EngineError, Graph, Tensor, weights};
use crate::pipeline::Error;

/// The same model with f32 weights: what our engines make of it before they load it. For other runtimes, which may unpack
/// f16 and int8 anew in each run.
#[wasm_bindgen(js_name = widenWeights)]
pub fn widen_weights(bytes: &[u8]) -> Result<Vec<u8>, JsError> {
    let (model, _) = weights::parse(bytes)?;
    let model = weights::widen(model, &HashMap::new())?;
    Ok(model.write_to_bytes().map_err(|error| EngineError::Parse(error.to_string()))?)
}

/// An ONNX graph on an engine.
#[wasm_bindgen]
pub struct OnnxGraph {
    graph: Box<dyn Graph>,
    adapter: String,
    tuning: String,
}

#[wasm_bindgen]
impl OnnxGraph {
    /// Loads a graph without side files on `webgpu` or `cpu`.
    pub async fn load(bytes: &[u8], engine: String) -> Result<OnnxGraph, JsError> {
        let choice: EngineChoice = engine.parse().map_err(Error::from)?;
        let (engine, info) = Engine::choose(choice).await?;
        OnnxGraph::on(&engine, info.adapter, bytes)
    }

    /// Loads a graph on WebGPU with all that is meant for graphics cards, even on a software adapter, where it is slow:
    /// for tests. Large products are computed by block number `block` of those that cards choose from.
    #[wasm_bindgen(js_name = loadForCard)]
    pub async fn load_for_card(bytes: &[u8], block: Option<usize>, winograd: bool) -> Result<OnnxGraph, JsError> {
        let device = Device::request().await?;
        let mut tuning = Tuning { half: true, subgroups: device.has_subgroups(), winograd, ..Tuning::GRAPHICS };
        if let Some(block) = block.and_then(|at| [Block::FEW, Block::MANY].concat().get(at).copied()) {
            tuning = Tuning { few: block, many: block, ..tuning };
        }
        let adapter = device.adapter_name().to_string();
        OnnxGraph::on(&Engine::WebGpu(device.tuned(tuning)), adapter, bytes)
    }

    /// What a graphics card would be tuned to if it were as fast as this adapter: for tests of how that is measured.
    #[wasm_bindgen(js_name = measureAsCard)]
    pub async fn measure_as_card() -> Result<String, JsError> {
        let device = Device::request().await?;
        let known = Tuning { half: true, subgroups: device.has_subgroups(), ..Tuning::GRAPHICS };
        Ok(format!("{:?}", blocks(&device, known, 16).await?))
    }

    /// Loads a graph with kernels for large products that no compiler takes: for tests of what is said then.
    #[wasm_bindgen(js_name = loadBroken)]
    pub async fn load_broken(bytes: &[u8]) -> Result<OnnxGraph, JsError> {
        let device = Device::request().await?;
        let broken = Block::shared(4, 1, (8, 8), 0, 1);
        let adapter = device.adapter_name().to_string();
        let tuning = Tuning { few: broken, many: broken, ..Tuning::GRAPHICS };
        OnnxGraph::on(&Engine::WebGpu(device.tuned(tuning)), adapter, bytes)
    }

    /// The adapter's name, or `CPU`.
    #[wasm_bindgen(getter)]
    pub fn adapter(&self) -> String {
        self.adapter.clone()
    }

    /// What the kernels are tuned to; empty on the CPU.
    #[wasm_bindgen(getter)]
    pub fn tuning(&self) -> String {
        self.tuning.clone()
    }

    /// Runs the graph. `inputs` is a list of `{name, shape, data}` with `data` a `Float32Array`; so is the answer.
    pub async fn run(&mut self, inputs: Array) -> Result<Array, JsError> {
        let mut tensors = Vec::new();
        for input in inputs.iter() {
            tensors.push(tensor(&input).ok_or_else(|| JsError::new("an input is not {name, shape, data}"))?);
        }
        let tensors = tensors
            .into_iter()
            .map(|(name, shape, data)| Ok((name, Tensor::new(shape, data)?)))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let views: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let outputs = Array::new();
        for (name, tensor) in self.graph.run(&views).await? {
            let output = Object::new();
            let shape: Array = tensor.shape().iter().map(|&side| JsValue::from_f64(side as f64)).collect();
            for (key, value) in [
                ("name", JsValue::from_str(&name)),
                ("shape", shape.into()),
                ("data", Float32Array::from(tensor.data()).into()),
            ] {
                Reflect::set(&output, &key.into(), &value)
                    .map_err(|_| JsError::new("an output could not be handed over"))?;
            }
            outputs.push(&output);
        }
        Ok(outputs)
    }
}

impl OnnxGraph {
    fn on(engine: &Engine, adapter: String, bytes: &[u8]) -> Result<OnnxGraph, JsError> {
        let tuning = match engine {
            Engine::WebGpu(device) => format!("{:?}", device.tuning()),
            Engine::Cpu => String::new(),
        };
        let (model, _) = weights::parse(bytes)?;
        let graph = engine.load(weights::widen(model, &HashMap::new())?)?;
        Ok(OnnxGraph { graph, adapter, tuning })
    }
}

fn tensor(input: &JsValue) -> Option<(String, Vec<usize>, Vec<f32>)> {
    let get = |key: &str| Reflect::get(input, &key.into()).ok();
    let name = get("name")?.as_string()?;
    let shape = get("shape")?.dyn_into::<Array>().ok()?;
    let shape = shape.iter().map(|side| side.as_f64().map(|side| side as usize)).collect::<Option<Vec<_>>>()?;
    let data = get("data")?.dyn_into::<Float32Array>().ok()?;
    Some((name, shape, data.to_vec()))
}
