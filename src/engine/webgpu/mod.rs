//! Placeholder until the WebGPU engine lands.
use super::{EngineError, Graph, ModelProto, Tensor};
#[derive(Clone)]
pub struct Device;
impl Device {
    pub async fn request() -> Result<Device, EngineError> {
        Err(EngineError::NoAdapter("not built in".into()))
    }
    pub fn adapter_name(&self) -> &str {
        ""
    }
    pub fn is_software(&self) -> bool {
        true
    }
}
pub struct WebGpuGraph;
impl WebGpuGraph {
    pub fn load(_device: Device, _model: ModelProto) -> Result<WebGpuGraph, EngineError> {
        Err(EngineError::NoAdapter("not built in".into()))
    }
}
#[async_trait::async_trait(?Send)]
impl Graph for WebGpuGraph {
    async fn run(&mut self, _inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, EngineError> {
        Err(EngineError::NoAdapter("not built in".into()))
    }
}
