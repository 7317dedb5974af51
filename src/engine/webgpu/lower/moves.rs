//! Operators that put elements elsewhere: Transpose, Slice, Concat, Split, Gather, Expand, Pad, Tile.

use tera::Context;
use wonnx::onnx::NodeProto;

use super::super::super::element_count;
use super::super::attributes::{float, int, ints, string};
use super::super::fold::sides;
use super::super::plan::{Planner, node_name};
use super::super::template::{any_float, render, spread};
use super::super::values::{Value, View};
use super::elementwise::collapse;
use super::{Inputs, Kernel, MOST_BUFFERS, axis, broadcast, ready, strides};

fn gather(
    planner: &mut Planner,
    node: &NodeProto,
    shape: &[usize],
    views: &[View],
    filler: f32,
    code: &str,
) -> Result<Value, String> {
    let count: usize = shape.iter().product();
    let workgroups = spread(count, 64);
    let mut context = Context::new();
    context.insert("inputs", &views.len());
    context.insert("groups_x", &workgroups.0);
    context.insert("count", &count);
    context.insert("filler", &any_float(filler));
    context.insert("code", code);
    let kernel = Kernel { shader: render("gather", &context)?, workgroups };
    Ok(ready(planner, node, shape, views, kernel))
}

/// Declares the coordinates d0, d1, … of the output's element i.
fn coordinates(shape: &[usize]) -> String {
    let inner = strides(shape);
    let mut code = String::new();
    for (at, &size) in shape.iter().enumerate() {
        let turned = if at == 0 { String::new() } else { format!(" % {size}u") };
        code.push_str(&format!("let d{at} = i / {}u{turned};\n\t", inner[at]));
    }
    code
}

/// The output's element at d is the input's at `base` + sum of d * step.
fn strided(
    planner: &mut Planner,
    node: &NodeProto,
    x: &Value,
    shape: &[usize],
    base: i64,
    steps: &[i64],
) -> Result<Value, String> {
    let view = planner.view(x)?;
    let forward: Option<Vec<usize>> = steps.iter().map(|&step| usize::try_from(step).ok()).collect();
    let code = match forward {
        Some(steps) => {
            let (sizes, walks) = collapse(shape, &[steps]);
            let axes: Vec<(usize, usize)> = sizes.iter().copied().zip(walks[0].iter().copied()).collect();
            format!("value = in0[{base}u + {}];", super::reduce::place("i", &axes))
        }
        None => {
            let terms: Vec<String> =
                steps.iter().enumerate().map(|(at, step)| format!("i32(d{at}) * ({step})")).collect();
            format!("{}value = in0[u32({base} + {})];", coordinates(shape), terms.join(" + "))
        }
    };
    gather(planner, node, shape, &[view], 0.0, &code)
}

/// The shape if its elements can be counted.
fn fitting(shape: Vec<usize>) -> Result<Vec<usize>, String> {
    match element_count(&shape) {
        Some(_) => Ok(shape),
        None => Err(format!("its output of shape {shape:?} is too large")),
    }
}

fn signed(strides: &[usize]) -> Vec<i64> {
    strides.iter().map(|&stride| stride as i64).collect()
}

pub fn lower(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let rank = x.shape.len();
    let own = strides(&x.shape);
    match node.get_op_type() {
        "Transpose" => {
            let order: Vec<usize> = match ints(node, "perm") {
                Some(order) => order.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
                None => (0..rank).rev().collect(),
            };
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..rank) {
                return Err(format!("its order of axes is {order:?}"));
            }
            let shape: Vec<usize> = order.iter().map(|&at| x.shape[at]).collect();
            // Where only axes of size 1 change places, nothing moves.
            let long: Vec<usize> = order.iter().copied().filter(|&at| x.shape[at] != 1).collect();
            if long.is_sorted() {
                return Ok(Value { shape, constant: None, buffer: Some(planner.view(x)?.buffer) });
            }
            let steps: Vec<i64> = order.iter().map(|&at| own[at] as i64).collect();
            strided(planner, node, x, &shape, 0, &steps)
        }
        "Expand" => {
            let wanted = sides(&inputs.ints(1)?.ok_or("its shape is missing")?)?;
            let shape = fitting(broadcast(&[&x.shape, &wanted])?)?;
            let lead = shape.len() - rank;
            let steps: Vec<i64> = (0..shape.len())
                .map(|at| if at < lead || x.shape[at - lead] == 1 { 0 } else { own[at - lead] as i64 })
                .collect();
            strided(planner, node, x, &shape, 0, &steps)
        }
        "Tile" => {
            let repeats = sides(&inputs.ints(1)?.ok_or("its repeats are missing")?)?;
            if repeats.len() != rank {
                return Err(format!("its repeats are {repeats:?}"));
            }
            let shape: Option<Vec<usize>> =
                x.shape.iter().zip(&repeats).map(|(side, times)| side.checked_mul(*times)).collect();
            let shape = fitting(shape.ok_or_else(|| format!("its repeats are {repeats:?}"))?)?;
            let terms: Vec<String> = (0..rank).map(|at| format!("d{at} % {}u * {}u", x.shape[at], own[at])).collect();
            let code = format!("{}value = in0[{}];", coordinates(&shape), terms.join(" + "));
            let view = planner.view(x)?;
            gather(planner, node, &shape, &[view], 0.0, &code)
        }
        "Slice" => slice(planner, node, inputs),
        "Pad" => pad(planner, node, inputs),
        _ => gather_axis(planner, node, inputs),
    }
}

fn slice(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let starts = inputs.ints(1)?.ok_or("its starts are missing")?;
    let ends = inputs.ints(2)?.ok_or("its ends are missing")?;
    let axes = inputs.ints(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = inputs.ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&length| length != starts.len()) {
        return Err("its starts, ends, axes and steps differ in number".to_string());
    }
    let mut shape = x.shape.clone();
    let mut walk = signed(&strides(&x.shape));
    let mut base = 0;
    for at in 0..starts.len() {
        let axis = axis(axes[at], x.shape.len())?;
        let side = x.shape[axis] as i64;
        // A longer step leads out as well, and might overflow.
        let step = steps[at].clamp(-side.max(1), side.max(1));
        let wrap = |place: i64| if place < 0 { place.saturating_add(side) } else { place };
        let (start, count) = match step {
            0 => return Err("a step is 0".to_string()),
            1.. => {
                let start = wrap(starts[at]).clamp(0, side);
                (start, (wrap(ends[at]).clamp(0, side) - start + step - 1).div_euclid(step))
            }
            _ => {
                let start = wrap(starts[at]).clamp(-1, side - 1);
                (start, (start - wrap(ends[at]).clamp(-1, side - 1) - step - 1).div_euclid(-step))
            }
        };
        shape[axis] = count.max(0) as usize;
        base += start * walk[axis];
        walk[axis] *= step;
    }
    if shape.contains(&0) {
        return Ok(Value::empty(&shape));
    }
    strided(planner, node, x, &shape, base, &walk)
}

fn pad(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let rank = x.shape.len();
    let given = match inputs.ints(1)? {
        Some(pads) => pads,
        None => ints(node, "pads").ok_or("its pads are missing")?,
    };
    let axes: Vec<usize> = match inputs.ints(3)? {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if given.len() != 2 * axes.len() {
        return Err(format!("its pads are {given:?}"));
    }
    let mut before = vec![0i64; rank];
    let mut shape = x.shape.clone();
    for (at, &axis) in axes.iter().enumerate() {
        before[axis] = given[at];
        let side =
            (x.shape[axis] as i64).checked_add(given[at]).and_then(|side| side.checked_add(given[axes.len() + at]));
        shape[axis] = side
            .and_then(|side| usize::try_from(side).ok())
            .filter(|&side| side > 0 && side < 1 << 31 && given[at].unsigned_abs() < 1 << 31)
            .ok_or_else(|| format!("its pads are {given:?}"))?;
    }
    let shape = fitting(shape)?;
    let filler = inputs.floats(2)?.and_then(|values| values.first().copied()).unwrap_or(float(node, "value", 0.0));
    let own = strides(&x.shape);
    let mut code = coordinates(&shape);
    let mut inside: Vec<String> = vec!["true".to_string()];
    let mut terms = Vec::new();
    let mode = string(node, "mode", "constant");
    for at in 0..rank {
        let side = x.shape[at] as i64;
        let place = match mode.as_str() {
            "constant" => {
                inside.push(format!("e{at} >= 0 && e{at} < {side}"));
                format!("i32(d{at}) - ({})", before[at])
            }
            "edge" => format!("clamp(i32(d{at}) - ({}), 0, {})", before[at], side - 1),
            "wrap" => format!("((i32(d{at}) - ({})) % {side} + {side}) % {side}", before[at]),
            "reflect" if before[at] < side && shape[at] as i64 - before[at] - side < side => {
                format!("{m} - abs({m} - abs(i32(d{at}) - ({b})))", m = side - 1, b = before[at])
            }
            other => return Err(format!("mode \"{other}\" with pads {given:?}")),
        };
        code.push_str(&format!("let e{at} = {place};\n\t"));
        terms.push(format!("u32(e{at}) * {}u", own[at]));
    }
    code.push_str(&format!("if ({}) {{ value = in0[{}]; }}", inside.join(" && "), terms.join(" + ")));
    let view = planner.view(x)?;
    gather(planner, node, &shape, &[view], filler, &code)
}

fn gather_axis(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let (x, indices) = (inputs.need(0)?, inputs.need(1)?);
    let at = axis(int(node, "axis", 0), x.shape.len())?;
    let side = x.shape[at];
    let inner: usize = x.shape[at + 1..].iter().product();
    let picked = indices.count();
    let mut shape = x.shape[..at].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&x.shape[at + 1..]);
    if let Some(constant) = &indices.constant {
        let outside = |&&index: &&i64| index < -(side as i64) || index >= side as i64;
        if let Some(index) = constant.ints().iter().find(|index| outside(index)) {
            return Err(format!("index {index} of an axis of {side}"));
        }
    }
    let views = [planner.view(x)?, planner.view(indices)?];
    // An index that comes with the data cannot be refused any more: where there is nothing, or the index itself is no
    // number, comes NaN. The pipeline refuses it where it reaches an output; a later Relu, Max or comparison may hide it. Its
    // bits depend on `i`, since WGSL has no constant NaN.
    let code = format!(
        "let index = in1[i / {inner}u % {picked}u];
	let wanted = i32(index);
	let place = select(wanted, wanted + {side}, wanted < 0);
	if (place >= 0 && place < {side} && (bitcast<u32>(index) & 0x7fffffffu) <= 0x7f800000u) {{
		value = in0[(i / {block}u * {side}u + u32(place)) * {inner}u + i % {inner}u];
	}} else {{
		value = bitcast<f32>(0x7fc00000u | (i & 0u));
	}}",
        block = inner * picked,
    );
    gather(planner, node, &shape, &views, 0.0, &code)
}

pub fn concat(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let mut parts: Vec<Value> = inputs.0.iter().flatten().cloned().collect();
    let rank = inputs.need(0)?.shape.len();
    let at = axis(int(node, "axis", 0), rank)?;
    parts.retain(|part| part.count() > 0);
    // As many at a time as a kernel can bind.
    while parts.len() > 1 {
        let some: Vec<Value> = parts.drain(..parts.len().min(MOST_BUFFERS - 1)).collect();
        let mut step = node.clone();
        if !parts.is_empty() {
            step.set_output(vec![format!("part {} of {}", planner.buffers.names.len(), node_name(node))].into());
        }
        let joined = concat_some(planner, &step, &some, at)?;
        parts.insert(0, joined);
    }
    parts.pop().ok_or_else(|| "its inputs have no elements".to_string())
}

fn concat_some(planner: &mut Planner, node: &NodeProto, parts: &[Value], at: usize) -> Result<Value, String> {
    let mut shape = parts[0].shape.clone();
    shape[at] = 0;
    for part in parts {
        let fits = part.shape.len() == shape.len()
            && (0..shape.len()).all(|axis| axis == at || part.shape[axis] == shape[axis]);
        if !fits {
            return Err(format!("shapes {shape:?} and {:?} do not fit", part.shape));
        }
        shape[at] += part.shape[at];
    }
    let shape = fitting(shape)?;
    let inner: usize = shape[at + 1..].iter().product();
    let block = shape[at] * inner;
    let mut code = format!("let outer = i / {block}u;\n\tlet place = i % {block}u;\n\t");
    let mut start = 0;
    let mut views: Vec<View> = Vec::new();
    for part in parts {
        let view = planner.view(part)?;
        let number = views.iter().position(|known| known.buffer == view.buffer).unwrap_or_else(|| {
            views.push(view.clone());
            views.len() - 1
        });
        let size = part.shape[at] * inner;
        let otherwise = if start == 0 { "" } else { "else " };
        code.push_str(&format!(
            "{otherwise}if (place < {end}u) {{ value = in{number}[outer * {size}u + place - {start}u]; }}\n\t",
            end = start + size
        ));
        start += size;
    }
    gather(planner, node, &shape, &views, 0.0, &code)
}

pub fn split(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Vec<Value>, String> {
    let x = inputs.need(0)?;
    let at = axis(int(node, "axis", 0), x.shape.len())?;
    let parts = node.get_output().len();
    let given = match inputs.ints(1)? {
        None => ints(node, "split"),
        given => given,
    };
    let sizes: Vec<usize> = match given {
        Some(sizes) => sides(&sizes)?,
        None => {
            let size = x.shape[at].div_ceil(parts.max(1));
            (0..parts).map(|part| size.min(x.shape[at].saturating_sub(part * size))).collect()
        }
    };
    let all = sizes.iter().try_fold(0usize, |all, &size| all.checked_add(size));
    if sizes.len() != parts || all != Some(x.shape[at]) {
        return Err(format!("parts of {sizes:?} of an axis of {}", x.shape[at]));
    }
    let own = strides(&x.shape);
    let mut start = 0;
    let mut values = Vec::new();
    for (size, name) in sizes.into_iter().zip(node.get_output()) {
        let mut shape = x.shape.clone();
        shape[at] = size;
        if shape.contains(&0) {
            values.push(Value::empty(&shape));
            continue;
        }
        let mut part = node.clone();
        let unnamed = format!("part {} of {}", planner.buffers.names.len(), node_name(node));
        part.set_output(vec![if name.is_empty() { unnamed } else { name.clone() }].into());
        values.push(strided(planner, &part, x, &shape, (start * own[at]) as i64, &signed(&own))?);
        start += size;
    }
    Ok(values)
}
