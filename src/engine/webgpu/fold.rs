//! Computing small constants on the host: shapes, axes, sizes, and what exporters do with them.

use wonnx::onnx::{NodeProto, TensorProto, TensorProto_DataType};

use super::super::element_count;
use super::attributes;
use super::plan::{Constant, Value};

/// A tensor's content.
pub fn read(tensor: &TensorProto, count: usize) -> Result<Constant, String> {
    let raw = tensor.get_raw_data();
    let kind = tensor.get_data_type();
    let is = |wanted: TensorProto_DataType| kind == wanted as i32;
    let constant = if is(TensorProto_DataType::FLOAT) {
        Constant::Floats(match raw.is_empty() {
            true => tensor.get_float_data().to_vec(),
            false => raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        })
    } else if is(TensorProto_DataType::INT64) {
        Constant::Ints(match raw.is_empty() {
            true => tensor.get_int64_data().to_vec(),
            false => raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        })
    } else if is(TensorProto_DataType::INT32) {
        Constant::Ints(match raw.is_empty() {
            true => tensor.get_int32_data().iter().map(|&value| i64::from(value)).collect(),
            false => raw.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        })
    } else if is(TensorProto_DataType::BOOL) {
        Constant::Ints(match raw.is_empty() {
            true => tensor.get_int32_data().iter().map(|&value| i64::from(value)).collect(),
            false => raw.iter().map(|&byte| i64::from(byte)).collect(),
        })
    } else {
        return Err(format!("elements of type {kind} are not supported"));
    };
    let found = match &constant {
        Constant::Ints(values) => values.len(),
        Constant::Floats(values) => values.len(),
    };
    match found == count {
        true => Ok(constant),
        false => Err(format!("it has {found} elements, its shape {count}")),
    }
}

fn value(shape: Vec<usize>, constant: Constant) -> Value {
    Value { shape, buffer: None, constant: Some(constant) }
}

/// The output of `node` if it is a constant that the host should know.
pub fn fold(node: &NodeProto, inputs: &[Option<Value>]) -> Result<Option<Value>, String> {
    let operator = node.get_op_type();
    match operator {
        "Constant" => return constant(node).map(Some),
        "Shape" => {
            let shape = inputs.first().and_then(Option::as_ref).ok_or("it has no input")?.shape.clone();
            let bound =
                |at: i64| (if at < 0 { at + shape.len() as i64 } else { at }).clamp(0, shape.len() as i64) as usize;
            let start = bound(attributes::int(node, "start", 0));
            let end = bound(attributes::int(node, "end", shape.len() as i64)).max(start);
            let sides: Vec<i64> = shape[start..end].iter().map(|&side| side as i64).collect();
            return Ok(Some(value(vec![sides.len()], Constant::Ints(sides))));
        }
        "Size" => {
            let count = inputs.first().and_then(Option::as_ref).ok_or("it has no input")?.count();
            return Ok(Some(value(Vec::new(), Constant::Ints(vec![count as i64]))));
        }
        _ => {}
    }
    // Everything else: integers only, so that weights are left to the GPU.
    let mut ints: Vec<(Vec<usize>, Vec<i64>)> = Vec::new();
    for input in inputs.iter().flatten() {
        match &input.constant {
            Some(Constant::Ints(values)) => ints.push((input.shape.clone(), values.clone())),
            Some(Constant::Floats(values)) if operator == "Cast" => {
                ints.push((input.shape.clone(), values.iter().map(|&value| value as i64).collect()));
            }
            _ => return Ok(None),
        }
    }
    if ints.is_empty() || inputs.iter().any(Option::is_none) {
        return Ok(None);
    }
    let (shape, data) = ints[0].clone();
    let flat = shape.len() <= 1;
    let folded = match operator {
        "Identity" => value(shape, Constant::Ints(data)),
        "Cast" if attributes::int(node, "to", 1) == 1 => match &inputs[0].as_ref().and_then(|i| i.constant.clone()) {
            Some(constant) => value(shape, Constant::Floats(constant.floats())),
            None => return Ok(None),
        },
        "Cast" => value(shape, Constant::Ints(data)),
        "Unsqueeze" | "Squeeze" | "Reshape" if data.len() == 1 || flat => {
            let length = data.len();
            let shape = if operator == "Squeeze" && length == 1 { Vec::new() } else { vec![length] };
            value(shape, Constant::Ints(data))
        }
        "Concat" if ints.iter().all(|(shape, _)| shape.len() == 1) => {
            let all: Vec<i64> = ints.into_iter().flat_map(|(_, data)| data).collect();
            value(vec![all.len()], Constant::Ints(all))
        }
        "Gather" if flat && ints.len() == 2 => {
            let length = data.len() as i64;
            let picked: Option<Vec<i64>> = ints[1]
                .1
                .iter()
                .map(|&at| data.get(usize::try_from(if at < 0 { at + length } else { at }).ok()?).copied())
                .collect();
            value(ints[1].0.clone(), Constant::Ints(picked.ok_or("an index lies outside")?))
        }
        "Slice" if flat && ints.len() >= 3 => {
            let length = data.len() as i64;
            let bound = |at: i64| (if at < 0 { at + length } else { at }).clamp(0, length) as usize;
            let step = ints.get(4).and_then(|(_, steps)| steps.first().copied()).unwrap_or(1);
            let (start, end) = (ints[1].1.first(), ints[2].1.first());
            let (Some(&start), Some(&end), 1..) = (start, end, step) else { return Ok(None) };
            let (start, end) = (bound(start), bound(end));
            let picked: Vec<i64> =
                data.get(start..end.max(start)).unwrap_or_default().iter().step_by(step as usize).copied().collect();
            value(vec![picked.len()], Constant::Ints(picked))
        }
        "Range" if ints.len() == 3 => {
            let (start, end, step) = (ints[0].1[0], ints[1].1[0], ints[2].1[0]);
            if step == 0 || (end.saturating_sub(start)) / step > 1 << 20 {
                return Err("its step is zero or it is too long".to_string());
            }
            let mut all = Vec::new();
            let mut at = start;
            while (step > 0 && at < end) || (step < 0 && at > end) {
                all.push(at);
                at += step;
            }
            value(vec![all.len()], Constant::Ints(all))
        }
        "ConstantOfShape" => {
            let shape = sides(&data)?;
            let count = element_count(&shape).filter(|&count| count <= 1 << 24).ok_or("it is too large")?;
            let fill = node.get_attribute().iter().find(|a| a.get_name() == "value").map(|a| read(a.get_t(), 1));
            match fill.transpose()? {
                Some(Constant::Ints(fill)) => value(shape, Constant::Ints(vec![fill[0]; count])),
                Some(Constant::Floats(fill)) => value(shape, Constant::Floats(vec![fill[0]; count])),
                None => value(shape, Constant::Floats(vec![0.0; count])),
            }
        }
        "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" | "Equal" if ints.len() == 2 && flat && ints[1].0.len() <= 1 => {
            let other = &ints[1].1;
            let count = if data.is_empty() || other.is_empty() { 0 } else { data.len().max(other.len()) };
            if [data.len(), other.len()].iter().any(|&n| n != count && n != 1) {
                return Ok(None);
            }
            let at = |values: &[i64], i: usize| if values.len() == 1 { values[0] } else { values[i] };
            let all: Option<Vec<i64>> = (0..count)
                .map(|i| {
                    let (a, b) = (at(&data, i), at(other, i));
                    match operator {
                        "Add" => a.checked_add(b),
                        "Sub" => a.checked_sub(b),
                        "Mul" => a.checked_mul(b),
                        "Div" => a.checked_div(b),
                        "Min" => Some(a.min(b)),
                        "Max" => Some(a.max(b)),
                        _ => Some(i64::from(a == b)),
                    }
                })
                .collect();
            let shape = if shape.is_empty() && ints[1].0.is_empty() { Vec::new() } else { vec![count] };
            value(shape, Constant::Ints(all.ok_or("its constants overflow")?))
        }
        _ => return Ok(None),
    };
    Ok(Some(folded))
}

fn constant(node: &NodeProto) -> Result<Value, String> {
    let attribute = node.get_attribute().first().ok_or("it has no value")?;
    Ok(match attribute.get_name() {
        "value" => {
            let tensor = attribute.get_t();
            let shape = sides(tensor.get_dims())?;
            let count = element_count(&shape).ok_or("it is too large")?;
            let constant = read(tensor, count)?;
            value(shape, constant)
        }
        "value_float" => value(Vec::new(), Constant::Floats(vec![attribute.get_f()])),
        "value_int" => value(Vec::new(), Constant::Ints(vec![attribute.get_i()])),
        "value_floats" => value(vec![attribute.get_floats().len()], Constant::Floats(attribute.get_floats().to_vec())),
        "value_ints" => value(vec![attribute.get_ints().len()], Constant::Ints(attribute.get_ints().to_vec())),
        other => return Err(format!("its attribute \"{other}\" is not supported")),
    })
}

pub fn sides(dims: &[i64]) -> Result<Vec<usize>, String> {
    dims.iter().map(|&side| usize::try_from(side).map_err(|_| format!("a side is {side}"))).collect()
}
