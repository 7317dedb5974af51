//! Resizing and pooling of planes.

use tera::Context;
use wonnx::extension::Kernel;
use wonnx::onnx::NodeProto;

use super::super::attributes::{int, ints, string};
use super::super::plan::{Planner, Value};
use super::super::template::{literal, render, spread};
use super::conv::Window;
use super::{Inputs, axis, ready};

fn sample(
    planner: &mut Planner,
    node: &NodeProto,
    x: &Value,
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
    context.insert("code", code);
    let kernel = Kernel { shader: render("sample", &context)?, workgroups };
    let view = planner.view(x)?;
    Ok(ready(planner, node, shape, &[view], kernel))
}

pub fn pool(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    if node.get_output().iter().skip(1).any(|name| !name.is_empty()) {
        return Err("only its first output is computed".to_string());
    }
    let window = Window::of(node, &x.shape, None)?;
    let shape = window.shape(&x.shape, x.shape[1]);
    let maximum = node.get_op_type() == "MaxPool";
    let Window { input, kernel, stride, dilation, pad, .. } = window;
    let step = if maximum {
        "value = select(value, max(value, at(plane, y, x)), inside);"
    } else {
        "value += select(0.0, at(plane, y, x), inside); n += select(0.0, 1.0, counted);"
    };
    // With padding counted, a window still ends where the padding ends (ceil_mode reaches beyond).
    let pads = ints(node, "pads").unwrap_or_default();
    let after = |at: usize| pads.get(pads.len() / 2 + at).copied().unwrap_or(0);
    let (below, right) = if pads.len() == 2 { (0, after(0)) } else { (after(0), after(1)) };
    let counted = if int(node, "count_include_pad", 0) != 0 {
        format!("y < {} && x < {}", input.0 as i64 + below, input.1 as i64 + right)
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
        start = if maximum { "value = -3.4e38;" } else { "var n = 0.0;" },
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
    sample(planner, node, x, &shape, (window.input, window.output), &code)
}

pub fn resize(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let rank = x.shape.len();
    let axes: Vec<usize> = match ints(node, "axes") {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    let scales = inputs.floats(2)?.filter(|scales| !scales.is_empty());
    let sizes = inputs.ints(3)?.filter(|sizes| !sizes.is_empty());
    if string(node, "keep_aspect_ratio_policy", "stretch") != "stretch" {
        return Err("it keeps the aspect ratio".to_string());
    }
    if int(node, "antialias", 0) != 0 || int(node, "exclude_outside", 0) != 0 {
        return Err("antialias and exclude_outside are not supported".to_string());
    }
    let mut shape = x.shape.clone();
    let mut ratio = vec![1.0f32; rank];
    for (at, &axis) in axes.iter().enumerate() {
        let lacking = || "it has neither scales nor sizes for every axis".to_string();
        let side = x.shape[axis];
        (shape[axis], ratio[axis]) = match (&sizes, &scales) {
            (Some(sizes), _) => {
                let wanted = sizes.get(at).and_then(|&size| usize::try_from(size).ok()).ok_or_else(lacking)?;
                (wanted, wanted as f32 / side as f32)
            }
            (None, Some(scales)) => {
                let scale = *scales.get(at).filter(|scale| scale.is_finite() && **scale > 0.0).ok_or_else(lacking)?;
                ((side as f32 * scale).floor() as usize, scale)
            }
            (None, None) => return Err(lacking()),
        };
    }
    if rank < 3 || shape[..rank - 2] != x.shape[..rank - 2] {
        return Err(format!("from {:?} to {shape:?}; only the last two axes can change", x.shape));
    }
    let (input, output) = ((x.shape[rank - 2], x.shape[rank - 1]), (shape[rank - 2], shape[rank - 1]));
    let coordinate = string(node, "coordinate_transformation_mode", "half_pixel");
    let place = |o: &str, from: usize, to: usize, ratio: f32| -> Result<String, String> {
        let scale = literal(1.0 / ratio);
        Ok(match coordinate.as_str() {
            "asymmetric" => format!("f32({o}) * {scale}"),
            "half_pixel" => format!("(f32({o}) + 0.5) * {scale} - 0.5"),
            "pytorch_half_pixel" if to > 1 => format!("(f32({o}) + 0.5) * {scale} - 0.5"),
            "pytorch_half_pixel" => "0.0".to_string(),
            "align_corners" if to > 1 => format!("f32({o}) * {}", literal((from - 1) as f32 / (to - 1) as f32)),
            "align_corners" => "0.0".to_string(),
            other => return Err(format!("coordinates \"{other}\"")),
        })
    };
    let y = place("oy", input.0, output.0, ratio[rank - 2])?;
    let x_place = place("ox", input.1, output.1, ratio[rank - 1])?;
    let code = match string(node, "mode", "nearest").as_str() {
        "nearest" => {
            // Half a millionth steadies places that are whole but for rounding.
            let nearest = |p: &str| -> Result<String, String> {
                Ok(match string(node, "nearest_mode", "round_prefer_floor").as_str() {
                    "floor" => format!("i32(floor({p} + 5e-7))"),
                    "ceil" => format!("i32(ceil({p} - 5e-7))"),
                    "round_prefer_floor" => format!("i32(ceil({p} - 0.5))"),
                    "round_prefer_ceil" => format!("i32(floor({p} + 0.5))"),
                    other => return Err(format!("nearest_mode \"{other}\"")),
                })
            };
            format!("value = at(plane, {}, {});", nearest(&y)?, nearest(&x_place)?)
        }
        "linear" => format!(
            "let y = {y};
	let x = {x_place};
	let fy = floor(y);
	let fx = floor(x);
	let ty = y - fy;
	let tx = x - fx;
	let iy = i32(fy);
	let ix = i32(fx);
	let top = mix(at(plane, iy, ix), at(plane, iy, ix + 1), tx);
	let bottom = mix(at(plane, iy + 1, ix), at(plane, iy + 1, ix + 1), tx);
	value = mix(top, bottom, ty);"
        ),
        other => return Err(format!("mode \"{other}\"")),
    };
    sample(planner, node, x, &shape, (input, output), &code)
}
