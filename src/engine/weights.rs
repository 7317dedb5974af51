//! Reading a graph file and widening its weights to f32.
//!
//! On the wire a weight is one of
//! * an f32 initializer, taken as it is;
//! * an f16 initializer followed by `Cast(to = FLOAT)`;
//! * an int8 initializer followed by `DequantizeLinear(scale[, zero point])`, per tensor or per channel of `axis`;
//!
//! inline or in a side file (ONNX external data). All are valid ONNX, so the same file opens in any runtime. Here the
//! pairs are folded into plain f32 initializers, once, so that no engine meets f16 or int8.

use std::collections::HashMap;

use half::f16;
use protobuf::Message;
use wonnx::onnx::{ModelProto, NodeProto, TensorProto, TensorProto_DataLocation, TensorProto_DataType};

use super::{EngineError, element_count};

/// The names of the side files that the graph's weights lie in, each once, in order of appearance.
///
/// # Errors
/// [`EngineError::Parse`] if `bytes` is not an ONNX model.
pub fn parse(bytes: &[u8]) -> Result<(ModelProto, Vec<String>), EngineError> {
    let model = ModelProto::parse_from_bytes(bytes).map_err(|error| EngineError::Parse(error.to_string()))?;
    if model.get_graph().get_output().is_empty() {
        return Err(EngineError::Parse("it has no outputs".to_string()));
    }
    let mut files: Vec<String> = Vec::new();
    for tensor in model.get_graph().get_initializer() {
        if let Some(place) = external_place(tensor)?
            && !files.contains(&place.file)
        {
            files.push(place.file);
        }
    }
    Ok((model, files))
}

/// Replaces every weight of `model` by f32, reading external data from `files` (name to content).
///
/// # Errors
/// [`EngineError::Weight`] names the weight and says what is wrong with it.
pub fn widen(mut model: ModelProto, files: &HashMap<String, Vec<u8>>) -> Result<ModelProto, EngineError> {
    let graph = model.mut_graph();
    let mut stored: HashMap<String, TensorProto> = HashMap::new();
    for mut tensor in std::mem::take(&mut graph.initializer) {
        if let Some(place) = external_place(&tensor)? {
            let bytes = place.read(files, tensor.get_name())?;
            tensor.set_raw_data(bytes.to_vec());
            tensor.external_data.clear();
            tensor.set_data_location(TensorProto_DataLocation::DEFAULT);
        }
        check_one(&tensor)?;
        if let Some(twin) = stored.insert(tensor.get_name().to_string(), tensor) {
            return Err(weight_error(twin.get_name(), "the file has two of this name"));
        }
    }

    let mut widened = Vec::new();
    let mut folded = Vec::new();
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.node) {
        match folded_weight(&node, &stored)? {
            Some(values) => {
                let source = &stored[node.get_input()[0].as_str()];
                let name = node.get_output().first().filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| weight_error(source.get_name(), "what widens it has no output"))?;
                widened.push(f32_initializer(name, source.get_dims(), &values));
                folded.extend(node.get_input().iter().cloned());
            }
            None => kept.push(node),
        }
    }
    // An encoded weight may feed several nodes; it is dropped only when nothing reads the encoded form any more.
    for name in folded {
        if !kept.iter().any(|node| node.get_input().contains(&name)) {
            stored.remove(name.as_str());
        }
    }
    let mut rest: Vec<TensorProto> = stored.into_values().collect();
    rest.sort_by(|a, b| a.get_name().cmp(b.get_name()));
    for tensor in &rest {
        if tensor.get_data_type() == TensorProto_DataType::FLOAT16 as i32 {
            return Err(weight_error(tensor.get_name(), "an f16 weight must be followed by Cast to FLOAT"));
        }
    }
    widened.append(&mut rest);
    graph.set_initializer(widened.into());
    graph.set_node(kept.into());
    Ok(model)
}

/// Refuses a weight that does not have as many elements as its shape says: a kernel would read what lies behind it.
///
/// # Errors
/// [`EngineError::Weight`] names the weight.
pub(super) fn check(model: &ModelProto) -> Result<(), EngineError> {
    model.get_graph().get_initializer().iter().try_for_each(check_one)
}

fn check_one(tensor: &TensorProto) -> Result<(), EngineError> {
    let refused = |reason: String| Err(weight_error(tensor.get_name(), &reason));
    let dims = dims(tensor)?;
    let Some(wanted) = element_count(&dims) else { return refused(format!("its shape {dims:?} is too large")) };
    let raw = tensor.get_raw_data().len();
    // Bytes of an element as raw data; the list that holds them otherwise, and how many of its numbers make an element.
    let (width, list, numbers) = match tensor.get_data_type() {
        1 => (4, tensor.get_float_data().len(), 1),
        6 => (4, tensor.get_int32_data().len(), 1),
        4 | 5 | 10 | 16 => (2, tensor.get_int32_data().len(), 1),
        2 | 3 | 9 | 17..=20 | 24 => (1, tensor.get_int32_data().len(), 1),
        7 => (8, tensor.get_int64_data().len(), 1),
        11 => (8, tensor.get_double_data().len(), 1),
        12 => (4, tensor.get_uint64_data().len(), 1),
        13 => (8, tensor.get_uint64_data().len(), 1),
        14 => (8, tensor.get_float_data().len(), 2),
        15 => (16, tensor.get_double_data().len(), 2),
        // Strings, and what is packed below the byte: refused by its type where it is read.
        _ => return Ok(()),
    };
    if raw > 0 && list > 0 {
        return refused("it has its elements twice".to_string());
    }
    match (wanted.checked_mul(width), wanted.checked_mul(numbers)) {
        (Some(bytes), _) if raw > 0 && raw == bytes => Ok(()),
        (_, Some(all)) if raw == 0 && list == all => Ok(()),
        _ if raw > 0 => refused(format!("{raw} bytes do not fit shape {dims:?}")),
        _ => refused(format!("{list} elements do not fit shape {dims:?}")),
    }
}

/// The f32 values of `node`'s output if it is a Cast of an f16 weight or a DequantizeLinear of an int8 weight.
fn folded_weight(node: &NodeProto, stored: &HashMap<String, TensorProto>) -> Result<Option<Vec<f32>>, EngineError> {
    let weight = |at: usize| node.get_input().get(at).and_then(|name| stored.get(name.as_str()));
    match node.get_op_type() {
        "Cast" => match weight(0) {
            Some(tensor) if tensor.get_data_type() == TensorProto_DataType::FLOAT16 as i32 => {
                Ok(Some(f16_values(tensor)?))
            }
            _ => Ok(None),
        },
        "DequantizeLinear" => {
            let (Some(tensor), Some(scale)) = (weight(0), weight(1)) else {
                return Ok(None);
            };
            if tensor.get_data_type() != TensorProto_DataType::INT8 as i32 {
                return Err(weight_error(tensor.get_name(), "it is not int8"));
            }
            let axis = node
                .get_attribute()
                .iter()
                .find(|attribute| attribute.get_name() == "axis")
                .map_or(1, |attribute| attribute.get_i());
            dequantize(tensor, scale, weight(2), axis).map(Some)
        }
        _ => Ok(None),
    }
}

/// `(value - zero point) * scale`, scale and zero point per tensor or per index of `axis` (ONNX DequantizeLinear-13).
fn dequantize(
    tensor: &TensorProto,
    scale: &TensorProto,
    zero: Option<&TensorProto>,
    axis: i64,
) -> Result<Vec<f32>, EngineError> {
    let name = tensor.get_name();
    let dims = dims(tensor)?;
    let values = int8_values(tensor)?;
    let scales = match scale.get_data_type() {
        kind if kind == TensorProto_DataType::FLOAT16 as i32 => f16_values(scale)?,
        _ => f32_values(scale)?,
    };
    let zeros = zero.map(int8_values).transpose()?.unwrap_or_default();
    let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
    let channels = match scales.len() {
        1 => 1,
        n if dims.get(axis as usize) == Some(&n) => n,
        n => {
            return Err(weight_error(name, &format!("{n} scales do not fit axis {axis} of shape {dims:?}")));
        }
    };
    if !zeros.is_empty() && zeros.len() != scales.len() {
        return Err(weight_error(name, "zero points and scales differ in number"));
    }
    let inner: usize = if channels == 1 { values.len().max(1) } else { dims[axis as usize + 1..].iter().product() };
    Ok(values
        .iter()
        .enumerate()
        .map(|(at, &value)| {
            let channel = at / inner.max(1) % channels;
            let zero = zeros.get(channel).copied().unwrap_or(0);
            (f32::from(value) - f32::from(zero)) * scales[channel]
        })
        .collect())
}

/// A place in a side file.
struct ExternalPlace {
    file: String,
    offset: usize,
    length: Option<usize>,
}

impl ExternalPlace {
    fn read<'a>(&self, files: &'a HashMap<String, Vec<u8>>, weight: &str) -> Result<&'a [u8], EngineError> {
        let file =
            files.get(&self.file).ok_or_else(|| weight_error(weight, &format!("its file {} is missing", self.file)))?;
        let end = match self.length {
            Some(length) => self.offset.checked_add(length),
            None => Some(file.len()),
        };
        end.and_then(|end| file.get(self.offset..end))
            .ok_or_else(|| weight_error(weight, &format!("it lies beyond the end of {}", self.file)))
    }
}

fn external_place(tensor: &TensorProto) -> Result<Option<ExternalPlace>, EngineError> {
    if tensor.get_data_location() != TensorProto_DataLocation::EXTERNAL {
        return Ok(None);
    }
    let mut place = ExternalPlace { file: String::new(), offset: 0, length: None };
    for entry in tensor.get_external_data() {
        let value = entry.get_value();
        let number = || {
            value
                .parse::<usize>()
                .map_err(|_| weight_error(tensor.get_name(), &format!("\"{value}\" is not a position")))
        };
        match entry.get_key() {
            "location" => place.file = value.to_string(),
            "offset" => place.offset = number()?,
            "length" => place.length = Some(number()?),
            _ => {}
        }
    }
    Ok(Some(place))
}

fn dims(tensor: &TensorProto) -> Result<Vec<usize>, EngineError> {
    tensor
        .get_dims()
        .iter()
        .map(|&side| usize::try_from(side))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| weight_error(tensor.get_name(), "it has a negative side"))
}

/// The raw little-endian bytes of `tensor`, checked against its shape.
fn raw(tensor: &TensorProto, width: usize) -> Result<&[u8], EngineError> {
    let wanted = element_count(&dims(tensor)?).and_then(|count| count.checked_mul(width));
    let bytes = tensor.get_raw_data();
    if wanted != Some(bytes.len()) {
        return Err(weight_error(
            tensor.get_name(),
            &format!("{} bytes do not fit shape {:?}", bytes.len(), tensor.get_dims()),
        ));
    }
    Ok(bytes)
}

fn f32_values(tensor: &TensorProto) -> Result<Vec<f32>, EngineError> {
    if !tensor.get_float_data().is_empty() {
        return Ok(tensor.get_float_data().to_vec());
    }
    Ok(raw(tensor, 4)?.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

fn f16_values(tensor: &TensorProto) -> Result<Vec<f32>, EngineError> {
    if !tensor.get_int32_data().is_empty() {
        return Ok(tensor.get_int32_data().iter().map(|&bits| f16::from_bits(bits as u16).to_f32()).collect());
    }
    Ok(raw(tensor, 2)?.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect())
}

fn int8_values(tensor: &TensorProto) -> Result<Vec<i8>, EngineError> {
    if !tensor.get_int32_data().is_empty() {
        return Ok(tensor.get_int32_data().iter().map(|&v| v as i8).collect());
    }
    Ok(raw(tensor, 1)?.iter().map(|&b| b as i8).collect())
}

fn f32_initializer(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let mut tensor = TensorProto::new();
    tensor.set_name(name.to_string());
    tensor.set_data_type(TensorProto_DataType::FLOAT as i32);
    tensor.set_dims(dims.to_vec());
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor.set_raw_data(bytes);
    tensor
}

fn weight_error(name: &str, reason: &str) -> EngineError {
    EngineError::Weight { name: name.to_string(), reason: reason.to_string() }
}
