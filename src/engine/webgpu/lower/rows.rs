//! Softmax and normalisations: a row is read, reduced and written again.

use tera::Context;
use wonnx::onnx::NodeProto;

use super::super::attributes::{float, int};
use super::super::plan::Planner;
use super::super::template::{literal, render, spread};
use super::super::tuning::Tuning;
use super::super::values::Value;
use super::elementwise::map;
use super::reduce::reduce;
use super::{Inputs, Kernel, axis, ready};

/// Threads for a row of `n` elements: a software adapter pays dearly for barriers.
pub fn row_threads(tuning: Tuning, rows: usize, n: usize) -> usize {
    if tuning.software || n < 32 || (rows > 65_536 && n < 256) { 1 } else { 64 }
}

/// What the template needs to know of how a row is shared: its threads, and subgroups if they are used.
pub fn row_context(tuning: Tuning, threads: usize, groups: (u32, u32, u32)) -> Context {
    let mut context = Context::new();
    let subgroups = tuning.subgroups && threads > 1;
    context.insert("threads", &threads);
    context.insert("groups_x", &groups.0);
    context.insert("subgroups", &subgroups);
    // Browsers ask for the directive; wgpu's own compiler does not know it yet and needs none.
    let enable = if subgroups && cfg!(target_arch = "wasm32") { "enable subgroups;" } else { "" };
    context.insert("enable", enable);
    context
}

pub fn row_groups(rows: usize, threads: usize) -> (u32, u32, u32) {
    if threads > 1 { spread(rows, 1) } else { spread(rows, 64) }
}

pub fn softmax(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    // Before operator set 13 all axes from this one on were one row.
    let flat = planner.opset < 13;
    let at = axis(int(node, "axis", if flat { 1 } else { -1 }), x.shape.len())?;
    let n: usize = if flat { x.shape[at..].iter().product() } else { x.shape[at] };
    let inner: usize = if flat { 1 } else { x.shape[at + 1..].iter().product() };
    let rows = x.count() / n.max(1);
    let threads = row_threads(planner.tuning, rows, n);
    let workgroups = row_groups(rows, threads);
    let mut context = row_context(planner.tuning, threads, workgroups);
    context.insert("rows", &rows);
    context.insert("n", &n);
    context.insert("inner", &inner);
    context.insert("log", &(node.get_op_type() == "LogSoftmax"));
    let kernel = Kernel { shader: render("softmax", &context)?, workgroups };
    let view = planner.view(x)?;
    Ok(ready(planner, node, &x.shape, &[view], kernel))
}

/// The normalised rows, and where they are asked for the rows' means and the reciprocals of their deviations.
pub fn layer_normalisation(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Vec<Value>, String> {
    let x = inputs.need(0)?;
    let at = axis(int(node, "axis", -1), x.shape.len())?;
    let n: usize = x.shape[at..].iter().product();
    let mut values = vec![normalise(planner, node, inputs, n, None)?];
    if node.get_output().len() > 1 {
        let axes: Vec<usize> = (at..x.shape.len()).collect();
        let mean = reduce(planner, &part(planner, node, 1), x, &axes, true, "ReduceMean")?;
        let apart = map(planner, &part(planner, node, 3), &[x, &mean], |v| format!("{} - {}", v[0], v[1]))?;
        let squares = reduce(planner, &part(planner, node, 3), &apart, &axes, true, "ReduceSumSquare")?;
        let (share, epsilon) = (literal(1.0 / n as f32), literal(float(node, "epsilon", 1e-5)));
        let deviation = map(planner, &part(planner, node, 2), &[&squares], |v| {
            format!("inverseSqrt({} * {share} + {epsilon})", v[0])
        })?;
        values.extend([mean, deviation]);
    }
    Ok(values)
}

/// `node` with one output: its output number `at`, or a value that only its parts know.
fn part(planner: &Planner, node: &NodeProto, at: usize) -> NodeProto {
    let name = node.get_output().get(at).filter(|name| !name.is_empty()).cloned();
    let name = name.unwrap_or_else(|| format!("part {} of {}", planner.buffers.names.len(), node.get_output()[0]));
    let mut part = node.clone();
    part.set_output(vec![name].into());
    part
}

pub fn instance_normalisation(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let shape = &inputs.need(0)?.shape;
    if shape.len() < 2 {
        return Err("its input has no channels".to_string());
    }
    normalise(planner, node, inputs, shape[2..].iter().product(), Some(shape[1]))
}

fn normalise(
    planner: &mut Planner,
    node: &NodeProto,
    inputs: &Inputs,
    n: usize,
    channels: Option<usize>,
) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let rows = x.count() / n.max(1);
    let threads = row_threads(planner.tuning, rows, n);
    let workgroups = row_groups(rows, threads);
    let mut views = vec![planner.view(x)?];
    for parameter in [Some(inputs.need(1)?), inputs.get(2)].into_iter().flatten() {
        if parameter.count() != channels.unwrap_or(n) {
            return Err(format!("its scale has shape {:?}", parameter.shape));
        }
        views.push(planner.view(parameter)?);
    }
    let mut context = row_context(planner.tuning, threads, workgroups);
    context.insert("rows", &rows);
    context.insert("n", &n);
    context.insert("channels", &channels.unwrap_or(0));
    context.insert("wide", &(channels.is_none() && n.is_multiple_of(4)));
    context.insert("shift", &(views.len() > 2));
    context.insert("output_binding", &views.len());
    context.insert("epsilon", &literal(float(node, "epsilon", 1e-5)));
    let kernel = Kernel { shader: render("normalise", &context)?, workgroups };
    Ok(ready(planner, node, &x.shape, &views, kernel))
}
