//! Resizing of planes.

use wonnx::onnx::NodeProto;

use super::super::attributes::{float, int, ints, string};
use super::super::plan::Planner;
use super::super::template::literal;
use super::super::values::{Constant, Value};
use super::sample::sample;
use super::{Inputs, axis};

/// How one axis changes.
#[derive(Clone, Copy)]
struct Change {
    from: usize,
    to: usize,
    /// The stated scale, from which `to` was rounded; where sizes are stated, what they make.
    scale: f64,
    /// The part of the input that is looked at, from 0 to 1.
    part: (f32, f32),
}

pub fn resize(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let changes = changes(node, inputs, &x.shape)?;
    let shape: Vec<usize> = changes.iter().map(|change| change.to).collect();
    let rank = shape.len();
    if rank < 2 || shape[..rank - 2] != x.shape[..rank - 2] {
        return Err(format!("from {:?} to {shape:?}; only the last two axes can change", x.shape));
    }
    // Before a place is found for each row and column: f32 could not tell more of them apart.
    if let Some(side) = shape.iter().find(|&&side| side > 1 << 24) {
        return Err(format!("it would have {side} rows or columns"));
    }
    let (down, across) = (changes[rank - 2], changes[rank - 1]);
    let mode = string(node, "coordinate_transformation_mode", "half_pixel");
    // The places are found here, not by the shader: a card may round otherwise, and a place half way between two elements
    // then falls to the other one.
    let mut places = places(&mode, down)?;
    places.extend(self::places(&mode, across)?);
    let antialias = int(node, "antialias", 0) != 0;
    let mut code = match string(node, "mode", "nearest").as_str() {
        "nearest" => format!("value = at(plane, {}, {});", nearest(node, "y")?, nearest(node, "x")?),
        "linear" if !antialias => "let fy = floor(y);
	let fx = floor(x);
	let ty = y - fy;
	let tx = x - fx;
	let iy = i32(fy);
	let ix = i32(fx);
	let top = mix(at(plane, iy, ix), at(plane, iy, ix + 1), tx);
	let bottom = mix(at(plane, iy + 1, ix), at(plane, iy + 1, ix + 1), tx);
	value = mix(top, bottom, ty);"
            .to_string(),
        "linear" | "cubic" => filtered(node, down, across),
        other => return Err(format!("mode \"{other}\"")),
    };
    if mode == "tf_crop_and_resize" {
        let beyond = |place: &str, change: Change| format!("{place} < 0.0 || {place} > {}.0", change.from - 1);
        let filler = literal(float(node, "extrapolation_value", 0.0));
        let outside = format!("{} || {}", beyond("y", down), beyond("x", across));
        code.push_str(&format!("\n\tif ({outside}) {{ value = {filler}; }}"));
    }
    let table = Value { shape: vec![places.len()], buffer: None, constant: Some(Constant::Floats(places)) };
    sample(planner, node, (x, Some(&table)), &shape, ((down.from, across.from), (down.to, across.to)), &code)
}

/// What `axes`, `scales`, `sizes` and `roi` make of each axis.
fn changes(node: &NodeProto, inputs: &Inputs, shape: &[usize]) -> Result<Vec<Change>, String> {
    let axes: Vec<usize> = match ints(node, "axes") {
        Some(axes) => axes.iter().map(|&at| axis(at, shape.len())).collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect(),
    };
    let lacking = || "it has neither scales nor sizes for every axis".to_string();
    let crops = string(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize";
    let parts = if crops { inputs.floats(1)?.unwrap_or_default() } else { Vec::new() };
    let scales = inputs.floats(2)?.filter(|scales| !scales.is_empty());
    let sizes = inputs.ints(3)?.filter(|sizes| !sizes.is_empty());
    if [scales.as_ref().map(Vec::len), sizes.as_ref().map(Vec::len)].iter().flatten().any(|&n| n != axes.len()) {
        return Err(lacking());
    }
    let wanted = |at: usize| {
        let size = sizes.as_ref().and_then(|sizes| usize::try_from(sizes[at]).ok());
        size.filter(|&size| size > 0).ok_or_else(lacking)
    };
    // One scale for all axes, such that none becomes larger, or smaller, than wanted.
    let policy = string(node, "keep_aspect_ratio_policy", "stretch");
    let mut common: Option<f64> = None;
    for (at, &axis) in axes.iter().enumerate().filter(|_| policy != "stretch" && sizes.is_some()) {
        let scale = wanted(at)? as f64 / shape[axis] as f64;
        common = common.map_or(Some(scale), |other| {
            Some(if policy == "not_larger" { other.min(scale) } else { other.max(scale) })
        });
    }
    let mut changes: Vec<Change> =
        shape.iter().map(|&side| Change { from: side, to: side, scale: 1.0, part: (0.0, 1.0) }).collect();
    for (at, &axis) in axes.iter().enumerate() {
        let side = shape[axis];
        let change = &mut changes[axis];
        if crops {
            let (start, end) = (parts.get(at), parts.get(axes.len() + at));
            change.part = (*start.ok_or("its roi is missing")?, *end.ok_or("its roi is missing")?);
        }
        (change.to, change.scale) = match (common, &sizes, &scales) {
            (Some(scale), ..) => ((scale * side as f64).round() as usize, scale),
            (None, Some(_), _) => (wanted(at)?, wanted(at)? as f64 / side as f64),
            (None, None, Some(scales)) => {
                let scale = Some(scales[at]).filter(|scale| scale.is_finite() && *scale > 0.0).ok_or_else(lacking)?;
                ((side as f32 * (change.part.1 - change.part.0) * scale).floor() as usize, f64::from(scale))
            }
            (None, None, None) => return Err(lacking()),
        };
    }
    Ok(changes)
}

/// Where each element of the output lies along one axis of the input. Found in f64, so that a place that is whole, or half way
/// between two elements, is so in f32.
fn places(mode: &str, change: Change) -> Result<Vec<f32>, String> {
    let Change { from, to, scale, part } = change;
    let part = (f64::from(part.0), f64::from(part.1));
    let last = from as f64 - 1.0;
    let (start, step, middle) = match mode {
        "asymmetric" => (0.0, 1.0 / scale, 0.0),
        "half_pixel" => (-0.5, 1.0 / scale, 0.5),
        "half_pixel_symmetric" => {
            // The image stays centred where its size was rounded.
            let exact = scale * from as f64;
            (from as f64 / 2.0 * (1.0 - to as f64 / exact) - 0.5, 1.0 / scale, 0.5)
        }
        "pytorch_half_pixel" if to > 1 => (-0.5, 1.0 / scale, 0.5),
        "align_corners" if to > 1 => (0.0, last / (scale * from as f64 - 1.0), 0.0),
        "pytorch_half_pixel" | "align_corners" => (0.0, 0.0, 0.0),
        "tf_crop_and_resize" if to > 1 => (part.0 * last, (part.1 - part.0) * last / (to as f64 - 1.0), 0.0),
        "tf_crop_and_resize" => (0.5 * (part.0 + part.1) * last, 0.0, 0.0),
        other => return Err(format!("coordinates \"{other}\"")),
    };
    Ok((0..to).map(|at| (start + (at as f64 + middle) * step) as f32).collect())
}

fn nearest(node: &NodeProto, place: &str) -> Result<String, String> {
    Ok(match string(node, "nearest_mode", "round_prefer_floor").as_str() {
        "floor" => format!("i32(floor({place}))"),
        "ceil" => format!("i32(ceil({place}))"),
        "round_prefer_floor" => format!("i32(ceil({place} - 0.5))"),
        "round_prefer_ceil" => format!("i32(floor({place} + 0.5))"),
        other => return Err(format!("nearest_mode \"{other}\"")),
    })
}

/// The mean of the neighbours, weighted by their distance: by the cubic convolution of Keys (1981) with its constant a, or by a
/// triangle. With `antialias` it reaches as far as an output pixel is wide.
fn filtered(node: &NodeProto, down: Change, across: Change) -> String {
    let cubic = string(node, "mode", "nearest") == "cubic";
    let a = literal(float(node, "cubic_coeff_a", -0.75));
    let (reach, weight) = if cubic {
        let near = format!("(({a} + 2.0) * d - ({a} + 3.0)) * d * d + 1.0");
        let far = format!("(({a} * d - 5.0 * {a}) * d + 8.0 * {a}) * d - 4.0 * {a}");
        (2.0, format!("select(select(0.0, {far}, d < 2.0), {near}, d <= 1.0)"))
    } else {
        (1.0, "max(0.0, 1.0 - d)".to_string())
    };
    let around = |p: &str, change: Change| {
        let shrink = if int(node, "antialias", 0) != 0 { change.scale.min(1.0) as f32 } else { 1.0 };
        let reach = literal(reach / shrink);
        let outside = if int(node, "exclude_outside", 0) != 0 {
            format!("if (j{p} < 0 || j{p} >= {}) {{ continue; }}", change.from)
        } else {
            String::new()
        };
        format!(
            "for (var j{p} = i32(ceil({p} - {reach})); j{p} <= i32(floor({p} + {reach})); j{p} += 1) {{
	{outside}
	var w{p} = 0.0;
	{{ let d = abs(f32(j{p}) - {p}) * {}; w{p} = {weight}; }}
	",
            literal(shrink)
        )
    };
    format!(
        "var all = 0.0;
	{}{}value += wy * wx * at(plane, jy, jx);
	all += wy * wx;
	}}
	}}
	value /= all;",
        around("y", down),
        around("x", across)
    )
}
