//! Reductions over any axes, and global pooling.

use wonnx::onnx::NodeProto;

use super::super::attributes::{int, ints};
use super::super::plan::Planner;
use super::super::template::render;
use super::super::values::Value;
use super::rows::{row_context, row_groups, row_threads};
use super::{Inputs, Kernel, axis, ready, strides};

pub fn lower(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let given = match inputs.ints(1)? {
        None => ints(node, "axes"),
        given => given,
    };
    let axes: Vec<usize> = match given {
        Some(axes) if !axes.is_empty() => axes.iter().map(|&at| axis(at, x.shape.len())).collect::<Result<_, _>>()?,
        _ if int(node, "noop_with_empty_axes", 0) != 0 => return Ok(x.clone()),
        _ => (0..x.shape.len()).collect(),
    };
    reduce(planner, node, x, &axes, int(node, "keepdims", 1) != 0, node.get_op_type())
}

pub fn global_pool(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let axes: Vec<usize> = (2..x.shape.len()).collect();
    let operator = if node.get_op_type() == "GlobalMaxPool" { "ReduceMax" } else { "ReduceMean" };
    reduce(planner, node, x, &axes, true, operator)
}

/// The place of element `number` (a WGSL expression) of a walk over axes with these sizes and strides.
pub fn place(number: &str, axes: &[(usize, usize)]) -> String {
    let mut terms = Vec::new();
    let mut inner = 1;
    for (at, &(size, stride)) in axes.iter().enumerate().rev() {
        let shifted = if inner == 1 { number.to_string() } else { format!("{number} / {inner}u") };
        let turned = if at == 0 { shifted } else { format!("{shifted} % {size}u") };
        terms.push(format!("({turned}) * {stride}u"));
        inner *= size;
    }
    if terms.is_empty() { "0u".to_string() } else { terms.join(" + ") }
}

/// The reduction `operator` of `x` over `axes`.
pub fn reduce(
    planner: &mut Planner,
    node: &NodeProto,
    x: &Value,
    axes: &[usize],
    keep: bool,
    operator: &str,
) -> Result<Value, String> {
    let own = strides(&x.shape);
    // Neighbouring axes of one kind are one axis.
    let mut merged: Vec<(bool, usize, usize)> = Vec::new();
    for (at, &size) in x.shape.iter().enumerate().filter(|(_, size)| **size != 1) {
        let reduced = axes.contains(&at);
        match merged.last_mut() {
            Some(last) if last.0 == reduced => *last = (reduced, last.1 * size, own[at]),
            _ => merged.push((reduced, size, own[at])),
        }
    }
    let of = |wanted: bool| -> Vec<(usize, usize)> {
        merged.iter().filter(|axis| axis.0 == wanted).map(|axis| (axis.1, axis.2)).collect()
    };
    let (kept, reduced) = (of(false), of(true));
    let n: usize = reduced.iter().map(|axis| axis.0).product();
    let rows: usize = kept.iter().map(|axis| axis.0).product();
    let (start, step, finish) = match operator {
        "ReduceMean" => ("0.0", "s + x", format!("s / {n}.0")),
        "ReduceSum" => ("0.0", "s + x", "s".to_string()),
        // From the first element: a row may hold nothing but infinities.
        "ReduceMax" => ("data[base]", "max(s, x)", "s".to_string()),
        "ReduceMin" => ("data[base]", "min(s, x)", "s".to_string()),
        "ReduceL1" => ("0.0", "s + abs(x)", "s".to_string()),
        "ReduceL2" => ("0.0", "s + x * x", "sqrt(s)".to_string()),
        _ => ("0.0", "s + x * x", "s".to_string()),
    };
    let join = match operator {
        "ReduceMax" => "max",
        "ReduceMin" => "min",
        _ => "add",
    };
    let threads = row_threads(planner.tuning, rows, n);
    let workgroups = row_groups(rows, threads);
    let mut context = row_context(planner.tuning, threads, workgroups);
    context.insert("rows", &rows);
    context.insert("n", &n);
    context.insert("base", &place("row", &kept));
    context.insert("offset", &place("k", &reduced));
    context.insert("start", start);
    context.insert("step", step);
    context.insert("join", join);
    context.insert("finish", &finish);
    let kernel = Kernel { shader: render("reduce", &context)?, workgroups };
    let shape: Vec<usize> = (0..x.shape.len())
        .filter(|at| keep || !axes.contains(at))
        .map(|at| if axes.contains(&at) { 1 } else { x.shape[at] })
        .collect();
    let view = planner.view(x)?;
    Ok(ready(planner, node, &shape, &[view], kernel))
}
