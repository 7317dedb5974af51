//! The CPU engine: [`rten`], with SIMD natively and in wasm.

use std::sync::OnceLock;

use async_trait::async_trait;
use protobuf::Message;
use rayon::ThreadPool;
use rten::{Model, ModelOptions, NodeId, Value, ValueOrView};
use rten_tensor::TensorView;
use rten_tensor::prelude::*;

use super::{EngineError, Graph, ModelProto, Tensor, weights};

/// The threads of the CPU engine; without them rten and rayon start their own natively, and have the calling one alone in a browser.
static THREADS: OnceLock<ThreadPool> = OnceLock::new();

/// Gives all CPU graphs of this process their threads, once and for all.
///
/// # Errors
/// The pool itself, if they have one already.
pub fn share_threads(pool: ThreadPool) -> Result<(), ThreadPool> {
    THREADS.set(pool)
}

/// Does `work` where its parallel parts are shared among these threads.
pub fn on_threads<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match THREADS.get() {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

/// A graph loaded into `rten`.
pub struct CpuGraph {
    model: Model,
    inputs: Vec<(String, NodeId)>,
    outputs: Vec<(String, NodeId)>,
}

impl CpuGraph {
    /// Loads a graph with f32 weights.
    ///
    /// # Errors
    /// [`EngineError::Cpu`] with rten's message (it names the node) for an operator that rten does not know;
    /// [`EngineError::Weight`] for a weight that does not fill its shape.
    pub fn load(model: ModelProto) -> Result<CpuGraph, EngineError> {
        weights::check(&model)?;
        let bytes = model.write_to_bytes().map_err(|error| EngineError::Parse(error.to_string()))?;
        drop(model);
        let model = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(bytes)
            .map_err(|error| EngineError::Cpu(error.to_string()))?;
        let named = |ids: &[NodeId]| {
            ids.iter()
                .map(|&id| {
                    let info = model.node_info(id);
                    let name = info.and_then(|info| info.name().map(str::to_string));
                    (name.unwrap_or_default(), id)
                })
                .collect::<Vec<_>>()
        };
        let inputs = named(model.input_ids());
        let outputs = named(model.output_ids());
        Ok(CpuGraph { model, inputs, outputs })
    }
}

#[async_trait(?Send)]
impl Graph for CpuGraph {
    async fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, EngineError> {
        for (name, _) in inputs {
            if !self.inputs.iter().any(|(known, _)| known == name) {
                return Err(EngineError::UnknownInput((*name).to_string()));
            }
        }
        let mut values: Vec<(NodeId, ValueOrView)> = Vec::with_capacity(inputs.len());
        for (name, id) in &self.inputs {
            let (_, tensor) = inputs
                .iter()
                .find(|(given, _)| given == name)
                .ok_or_else(|| EngineError::MissingInput(name.clone()))?;
            let view = TensorView::from_data(tensor.shape(), tensor.data());
            values.push((*id, view.into()));
        }
        let ids: Vec<NodeId> = self.outputs.iter().map(|&(_, id)| id).collect();
        let results = on_threads(|| self.model.run(values, &ids, None));
        let results = results.map_err(|error| EngineError::Cpu(error.to_string()))?;
        self.outputs
            .iter()
            .zip(results)
            .map(|((name, _), value)| match value {
                Value::FloatTensor(tensor) => {
                    let shape = tensor.shape().to_vec();
                    Ok((name.clone(), Tensor::new(shape, tensor.into_data())?))
                }
                _ => Err(EngineError::Cpu(format!("output \"{name}\" is not a float tensor"))),
            })
            .collect()
    }
}
