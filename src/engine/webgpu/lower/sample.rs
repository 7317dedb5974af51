//! Pooling of planes, and the kernel that resizing shares with it.

use tera::Context;
use wonnx::onnx::NodeProto;

use super::super::attributes::int;
use super::super::plan::Planner;
use super::super::template::{any_float, render, spread};
use super::super::values::{Value, View};
use super::conv::Window;
use super::{Inputs, Kernel, ready};

/// A kernel that finds each element of planes of the size `output` by `code`, out of planes of the size `input`. With a table
/// of where each row of the output lies in the input, and each column, these are `y` and `x`.
pub fn sample(
    planner: &mut Planner,
    node: &NodeProto,
    (x, places): (&Value, Option<&Value>),
    shape: &[usize],
    (input, output): ((usize, usize), (usize, usize)),
    code: &str,
) -> Result<Value, String> {
    let count: usize = shape.iter().product();
    let workgroups = spread(count, 64);
    let mut context = Context::new();
    context.insert("count", &count);
    context.insert("groups_x", &workgroups.0);
    context.insert("ih", &input.0);
    context.insert("iw", &input.1);
    context.insert("oh", &output.0);
    context.insert("ow", &output.1);
    context.insert("places", &places.is_some());
    context.insert("code", code);
    let kernel = Kernel { shader: render("sample", &context)?, workgroups };
    let reads: Vec<View> =
        [Some(x), places].into_iter().flatten().map(|value| planner.view(value)).collect::<Result<_, _>>()?;
    Ok(ready(planner, node, shape, &reads, kernel))
}

pub fn pool(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    if node.get_output().iter().skip(1).any(|name| !name.is_empty()) {
        return Err("only its first output is computed".to_string());
    }
    let window = Window::of(node, &x.shape, None)?;
    let shape = window.shape(&x.shape, x.shape[1]);
    let maximum = node.get_op_type() == "MaxPool";
    let Window { input, kernel, stride, dilation, pad, after, .. } = window;
    let step = if maximum {
        "value = select(value, max(value, at(plane, y, x)), inside);"
    } else {
        "value += select(0.0, at(plane, y, x), inside); n += select(0.0, 1.0, counted);"
    };
    // With padding counted, a window still ends where the padding ends (ceil_mode reaches beyond).
    let counted = if int(node, "count_include_pad", 0) != 0 {
        format!("y < {} && x < {}", input.0 + after.0, input.1 + after.1)
    } else {
        "inside".to_string()
    };
    let code = format!(
        "{start}
	let y0 = i32(oy * {sy}u) - {py};
	let x0 = i32(ox * {sx}u) - {px};
	for (var ky = 0; ky < {kh}; ky += 1) {{
		for (var kx = 0; kx < {kw}; kx += 1) {{
			let y = y0 + ky * {dy};
			let x = x0 + kx * {dx};
			let inside = y >= 0 && x >= 0 && y < {ih} && x < {iw};
			{count}
			{step}
		}}
	}}
	{finish}",
        start = if maximum { format!("value = {};", any_float(f32::NEG_INFINITY)) } else { "var n = 0.0;".to_string() },
        count = if maximum { String::new() } else { format!("let counted = {counted};") },
        finish = if maximum { "" } else { "value /= max(n, 1.0);" },
        sy = stride.0,
        sx = stride.1,
        py = pad.0,
        px = pad.1,
        kh = kernel.0,
        kw = kernel.1,
        dy = dilation.0,
        dx = dilation.1,
        ih = input.0,
        iw = input.1,
    );
    sample(planner, node, (x, None), &shape, (window.input, window.output), &code)
}
