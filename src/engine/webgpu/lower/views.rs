//! Operators that give a buffer another shape and move nothing.

use wonnx::onnx::NodeProto;

use super::super::attributes::{int, ints};
use super::super::values::{Constant, Value};
use super::{Inputs, axis};

const LARGEST_MASK: usize = 1 << 20;

/// Dropout drops nothing here: its mask is all true.
pub fn dropout(node: &NodeProto, inputs: &Inputs) -> Result<Vec<Value>, String> {
    if inputs.ints(2)?.is_some_and(|mode| mode.first() != Some(&0)) {
        return Err("training_mode is not supported".to_string());
    }
    let kept = view(node, inputs)?;
    if node.get_output().get(1).is_none_or(|name| name.is_empty()) {
        return Ok(vec![kept]);
    }
    // The host makes it.
    if kept.count() > LARGEST_MASK {
        return Err(format!("a mask of shape {:?} is too large", kept.shape));
    }
    let constant = Some(Constant::Ints(vec![1; kept.count()]));
    let mask = Value { shape: kept.shape.clone(), buffer: None, constant };
    Ok(vec![kept, mask])
}

pub fn view(node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let count = x.count();
    let axes = || match inputs.ints(1) {
        Ok(None) => Ok(ints(node, "axes")),
        other => other,
    };
    let shape = match node.get_op_type() {
        "Reshape" => {
            let wanted = inputs.ints(1)?.ok_or("its shape is missing")?;
            reshape(&x.shape, &wanted, int(node, "allowzero", 0) != 0)?
        }
        "Flatten" => {
            let at = int(node, "axis", 1);
            let at = usize::try_from(if at < 0 { at + x.shape.len() as i64 } else { at }).unwrap_or(usize::MAX);
            if at > x.shape.len() {
                return Err(format!("axis {at} of a tensor of rank {}", x.shape.len()));
            }
            vec![x.shape[..at].iter().product(), x.shape[at..].iter().product()]
        }
        "Squeeze" => {
            let drop: Vec<usize> = match axes()? {
                Some(axes) => axes.iter().map(|&at| axis(at, x.shape.len())).collect::<Result<_, _>>()?,
                None => (0..x.shape.len()).filter(|&at| x.shape[at] == 1).collect(),
            };
            if let Some(&at) = drop.iter().find(|&&at| x.shape[at] != 1) {
                return Err(format!("axis {at} of shape {:?} is not 1", x.shape));
            }
            (0..x.shape.len()).filter(|at| !drop.contains(at)).map(|at| x.shape[at]).collect()
        }
        "Unsqueeze" => {
            let axes = axes()?.ok_or("its axes are missing")?;
            let rank = x.shape.len() + axes.len();
            let new: Vec<usize> = axes.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?;
            let mut rest = x.shape.iter();
            (0..rank).map(|at| if new.contains(&at) { 1 } else { rest.next().copied().unwrap_or(1) }).collect()
        }
        _ => x.shape.clone(),
    };
    if shape.iter().product::<usize>() != count {
        return Err(format!("a tensor of shape {:?} cannot become {shape:?}", x.shape));
    }
    Ok(Value { shape, ..x.clone() })
}

fn reshape(from: &[usize], wanted: &[i64], zero_is_zero: bool) -> Result<Vec<usize>, String> {
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (at, &side) in wanted.iter().enumerate() {
        shape.push(match side {
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            0 if !zero_is_zero => *from.get(at).ok_or("a side is copied that is not there")?,
            side => usize::try_from(side).map_err(|_| format!("its shape is {wanted:?}"))?,
        });
    }
    if let Some(at) = open {
        let known = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side)).filter(|&known| known > 0);
        let count: usize = from.iter().product();
        shape[at] = known
            .filter(|known| count.is_multiple_of(*known))
            .map(|known| count / known)
            .ok_or_else(|| format!("a tensor of shape {from:?} cannot become {wanted:?}"))?;
    }
    if super::super::super::element_count(&shape).is_none() {
        return Err(format!("its shape is {wanted:?}"));
    }
    Ok(shape)
}
