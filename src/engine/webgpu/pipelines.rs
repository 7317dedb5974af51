//! Pipelines made ahead of their session: asked this way, a browser compiles shaders in parallel and blocks nothing. wonnx, which
//! makes one after the other, finds them in the device's [`Context`](wonnx::extension::Context).

use std::collections::{HashMap, HashSet};

use web_time::{Duration, Instant};
use wonnx::onnx::ModelProto;
use wonnx::wgpu::{ComputePipelineDescriptor, ShaderModuleDescriptor, ShaderSource};

use super::super::{EngineError, Listener};
use super::device::Device;
use super::plan::Weighed;

/// How often the listener is asked, which takes a turn of the page's event loop.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes the pipelines of `planned`'s kernels, by the names of their outputs, that the device has not made yet.
///
/// # Errors
/// [`EngineError::Shader`] with the node, and [`EngineError::Cancelled`]: what was made until then is kept.
pub async fn make(
    device: &Device,
    planned: &ModelProto,
    kernels: &HashMap<String, Weighed>,
    listener: &mut dyn Listener,
) -> Result<(), EngineError> {
    let context = device.context();
    let scope = device.scope();
    let mut asked = HashSet::new();
    let mut waiting = Vec::new();
    for node in planned.get_graph().get_node() {
        let Some((kernel, _)) = node.get_output().first().and_then(|output| kernels.get(output)) else { continue };
        let shader = kernel.shader.as_str();
        if context.pipelines.borrow().contains_key(shader) || !asked.insert(shader) {
            continue;
        }
        let label = Some(node.get_name());
        let source = ShaderSource::Wgsl(shader.into());
        let module = context.device.create_shader_module(ShaderModuleDescriptor { label, source });
        let made = context.device.create_compute_pipeline_async(&ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        waiting.push((shader, node.get_name(), made));
    }
    // What the compiler says of a shader; of its pipeline there is only to hear that the shader is invalid.
    scope.end().await?;
    let mut heard = Instant::now();
    for (shader, node, made) in waiting {
        let pipeline = made.await.map_err(|message| EngineError::Shader { node: node.to_string(), message })?;
        context.pipelines.borrow_mut().insert(shader.to_string(), pipeline);
        if heard.elapsed() > PAUSE {
            if !listener.on(0.0).await {
                return Err(EngineError::Cancelled);
            }
            heard = Instant::now();
        }
    }
    Ok(())
}
