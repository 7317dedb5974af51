//! Computing small constants on the host: shapes, axes, sizes, and what exporters do with them.

use wonnx::onnx::{NodeProto, TensorProto, TensorProto_DataType};

use super::super::element_count;
use super::attributes;
use super::lower::elementwise::broadcast_strides;
use super::lower::{broadcast, strides};
use super::values::{Constant, Value};

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
    let constants: Option<Vec<(&Value, &Constant)>> =
        inputs.iter().map(|input| input.as_ref().and_then(|value| Some((value, value.constant.as_ref()?)))).collect();
    let Some(constants) = constants.filter(|constants| !constants.is_empty()) else { return Ok(None) };
    match operator {
        "Cast" => return Ok(Some(cast(node, constants[0].0, constants[0].1))),
        "Range" if constants.len() == 3 => return range(&constants).map(Some),
        _ => {}
    }
    // Everything else: integers only, so that weights are left to the GPU.
    let ints: Option<Vec<(&[usize], &[i64])>> = constants
        .iter()
        .map(|(value, constant)| match constant {
            Constant::Ints(values) => Some((value.shape.as_slice(), values.as_slice())),
            Constant::Floats(_) => None,
        })
        .collect();
    let Some(ints) = ints else { return Ok(None) };
    let (shape, data) = ints[0];
    let flat = shape.len() <= 1;
    let folded = match operator {
        "Concat" if ints.iter().all(|(shape, _)| shape.len() == 1) => {
            let all: Vec<i64> = ints.iter().flat_map(|(_, data)| data.iter().copied()).collect();
            value(vec![all.len()], Constant::Ints(all))
        }
        "Gather" if flat && ints.len() == 2 => {
            let length = data.len() as i64;
            let picked: Option<Vec<i64>> = ints[1]
                .1
                .iter()
                .map(|&at| data.get(usize::try_from(if at < 0 { at + length } else { at }).ok()?).copied())
                .collect();
            value(ints[1].0.to_vec(), Constant::Ints(picked.ok_or("an index lies outside")?))
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
        "ConstantOfShape" => {
            let shape = sides(data)?;
            let count = element_count(&shape).filter(|&count| count <= 1 << 24).ok_or("it is too large")?;
            let fill = node.get_attribute().iter().find(|a| a.get_name() == "value").map(|a| read(a.get_t(), 1));
            match fill.transpose()? {
                Some(Constant::Ints(fill)) => value(shape, Constant::Ints(vec![fill[0]; count])),
                Some(Constant::Floats(fill)) => value(shape, Constant::Floats(vec![fill[0]; count])),
                None => value(shape, Constant::Floats(vec![0.0; count])),
            }
        }
        _ => return elementwise(operator, &ints),
    };
    Ok(Some(folded))
}

/// Cast of a constant; an integer that is too large for f32 is rounded, a float is cut.
fn cast(node: &NodeProto, x: &Value, constant: &Constant) -> Value {
    let ints = |of: fn(i64) -> i64| Constant::Ints(constant.ints().into_iter().map(of).collect());
    let result = match (attributes::int(node, "to", 1), constant) {
        (1, _) => Constant::Floats(constant.floats()),
        (9, Constant::Floats(values)) => Constant::Ints(values.iter().map(|&value| i64::from(value != 0.0)).collect()),
        (9, _) => ints(|value| i64::from(value != 0)),
        (6, _) => ints(|value| i64::from(value as i32)),
        _ => ints(|value| value),
    };
    value(x.shape.clone(), result)
}

/// The longest Range.
const LONGEST: i64 = 1 << 20;

fn range(limits: &[(&Value, &Constant)]) -> Result<Value, String> {
    let bad = || "its step is zero or it is too long".to_string();
    if limits.iter().any(|(limit, _)| limit.count() != 1) {
        return Err("a limit is not one number".to_string());
    }
    if let [(_, Constant::Ints(start)), (_, Constant::Ints(end)), (_, Constant::Ints(step))] = limits {
        let (start, end, step) = (i128::from(start[0]), i128::from(end[0]), i128::from(step[0]));
        let count = (step != 0).then(|| ((end - start) + step - step.signum()) / step).ok_or_else(bad)?.max(0);
        let count = usize::try_from(count).ok().filter(|&count| count <= LONGEST as usize).ok_or_else(bad)?;
        let all = (0..count as i128).map(|at| (start + at * step) as i64).collect();
        return Ok(value(vec![count], Constant::Ints(all)));
    }
    let number = |at: usize| limits[at].1.floats()[0];
    let (start, end, step) = (number(0), number(1), number(2));
    let count = ((f64::from(end) - f64::from(start)) / f64::from(step)).ceil();
    // Not so for a step of zero or a limit that is no number.
    if !(count.is_finite() && count <= LONGEST as f64) {
        return Err(bad());
    }
    let count = count.max(0.0) as usize;
    let all = (0..count).map(|at| (f64::from(start) + at as f64 * f64::from(step)) as f32).collect();
    Ok(value(vec![count], Constant::Floats(all)))
}

/// Arithmetic, comparisons and logic on integers, broadcast.
fn elementwise(operator: &str, inputs: &[(&[usize], &[i64])]) -> Result<Option<Value>, String> {
    let truth = |is: bool| Some(i64::from(is));
    let compute = |v: &[i64]| -> Option<Option<i64>> {
        Some(match (operator, v) {
            ("Add", &[a, b]) => a.checked_add(b),
            ("Sub", &[a, b]) => a.checked_sub(b),
            ("Mul", &[a, b]) => a.checked_mul(b),
            ("Div", &[a, b]) => a.checked_div(b),
            ("Min", all) => all.iter().copied().min(),
            ("Max", all) => all.iter().copied().max(),
            ("Neg", &[a]) => a.checked_neg(),
            ("Abs", &[a]) => a.checked_abs(),
            ("Equal", &[a, b]) => truth(a == b),
            ("Less", &[a, b]) => truth(a < b),
            ("LessOrEqual", &[a, b]) => truth(a <= b),
            ("Greater", &[a, b]) => truth(a > b),
            ("GreaterOrEqual", &[a, b]) => truth(a >= b),
            ("And", &[a, b]) => truth(a != 0 && b != 0),
            ("Or", &[a, b]) => truth(a != 0 || b != 0),
            ("Not", &[a]) => truth(a == 0),
            ("Where", &[condition, a, b]) => Some(if condition != 0 { a } else { b }),
            _ => return None,
        })
    };
    if compute(&vec![1; inputs.len()]).is_none() {
        return Ok(None);
    }
    let shapes: Vec<&[usize]> = inputs.iter().map(|(shape, _)| *shape).collect();
    let shape = broadcast(&shapes)?;
    let count = element_count(&shape).filter(|&count| count <= LONGEST as usize).ok_or("it is too large")?;
    let walks: Vec<Vec<usize>> = shapes.iter().map(|own| broadcast_strides(own, &shape)).collect();
    let steps = strides(&shape);
    let mut all = Vec::with_capacity(count);
    for at in 0..count {
        let places = walks
            .iter()
            .map(|walk| (0..shape.len()).map(|axis| at / steps[axis] % shape[axis] * walk[axis]).sum::<usize>());
        let values: Vec<i64> = places.zip(inputs).map(|(place, (_, data))| data[place]).collect();
        all.push(compute(&values).flatten().ok_or("its constants overflow, or it divides by zero")?);
    }
    Ok(Some(value(shape, Constant::Ints(all))))
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
