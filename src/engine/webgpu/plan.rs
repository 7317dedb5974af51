//! From an ONNX graph and the shapes of its inputs to kernels: every value gets its shape, constants that only steer other
//! operators are folded, views (Reshape and the like) become names of the same buffer.

use std::collections::{HashMap, HashSet};

use wonnx::onnx::{ModelProto, NodeProto, TensorProto, TensorProto_DataType};

use super::super::{EngineError, element_count};
use super::check::{Checked, Kind};
use super::lower::Kernel;
use super::operators::{Types, operator};
use super::tuning::Tuning;
use super::values::{SMALL, Value, View};
use super::{assemble, fold, fuse, lower};

/// One kernel to be: what it reads, what it writes.
pub struct Step {
    pub node: String,
    pub operator: String,
    pub output: usize,
    pub work: lower::Work,
}

/// Names and sizes of the buffers. Elements are f32.
#[derive(Default)]
pub struct Buffers {
    pub names: Vec<String>,
    pub shapes: Vec<Vec<usize>>,
}

impl Buffers {
    pub fn add(&mut self, name: &str, shape: &[usize]) -> usize {
        self.names.push(name.to_string());
        self.shapes.push(shape.to_vec());
        self.names.len() - 1
    }

    /// How many elements a buffer has.
    pub fn elements(&self, buffer: usize) -> usize {
        self.shapes[buffer].iter().product()
    }
}

/// A graph made ready for wonnx.
pub struct Plan {
    /// Nodes, inputs, outputs and shapes; of the initializers only those made here.
    pub model: ModelProto,
    /// Names of the original's initializers that are read.
    pub weights: Vec<String>,
    /// By the name of each node's output.
    pub kernels: HashMap<String, Weighed>,
    pub outputs: Vec<(String, Vec<usize>)>,
}

/// A kernel, and its work: about as many multiplications and additions.
pub type Weighed = (Kernel, u64);

/// The state of planning.
pub struct Planner {
    pub values: HashMap<String, Value>,
    pub buffers: Buffers,
    pub steps: Vec<Step>,
    /// Constants that became buffers: buffer to content.
    pub made: HashMap<usize, Vec<f32>>,
    pub opset: i64,
    pub tuning: Tuning,
}

/// Plans `model`, which was `checked`, for inputs of the given shapes. `half`: names of the weights in f16.
pub fn plan(
    model: &ModelProto,
    checked: &Checked,
    half: &HashSet<String>,
    inputs: &[(String, Vec<usize>)],
    tuning: Tuning,
    limits: Limits,
) -> Result<Plan, EngineError> {
    let (planner, outputs) = prepare(model, checked, inputs, tuning)?;
    limits.check(&planner)?;
    assemble::assemble(model, planner, half, inputs, &outputs)
}

/// What [`plan`] would refuse of `model` for inputs of the given shapes, whatever the device can hold.
pub fn refuse(
    model: &ModelProto,
    checked: &Checked,
    inputs: &[(String, Vec<usize>)],
    tuning: Tuning,
) -> Result<(), EngineError> {
    prepare(model, checked, inputs, tuning).map(|_| ())
}

/// The largest buffer of a run for inputs of the given shapes: its value's name and its bytes.
pub fn largest(
    model: &ModelProto,
    checked: &Checked,
    inputs: &[(String, Vec<usize>)],
    tuning: Tuning,
) -> Result<(String, u64), EngineError> {
    let (planner, _) = prepare(model, checked, inputs, tuning)?;
    let sizes = planner.buffers.names.into_iter().zip(planner.buffers.shapes.iter().map(|shape| bytes(shape)));
    Ok(sizes.max_by_key(|&(_, bytes)| bytes).unwrap_or_default())
}

/// Bytes of a buffer of f32.
fn bytes(shape: &[usize]) -> u64 {
    element_count(shape).map_or(u64::MAX, |count| count as u64 * 4)
}

/// Every value with its shape, and the steps, fused.
fn prepare(
    model: &ModelProto,
    checked: &Checked,
    inputs: &[(String, Vec<usize>)],
    tuning: Tuning,
) -> Result<(Planner, Vec<View>), EngineError> {
    let graph = model.get_graph();
    let mut planner = Planner {
        values: HashMap::new(),
        buffers: Buffers::default(),
        steps: Vec::new(),
        made: HashMap::new(),
        opset: checked.opset,
        tuning,
    };
    for tensor in graph.get_initializer() {
        planner.initializer(tensor)?;
    }
    for input in graph.get_input() {
        let name = input.get_name();
        if planner.values.contains_key(name) {
            continue;
        }
        let (_, shape) = inputs
            .iter()
            .find(|(given, _)| given == name)
            .ok_or_else(|| EngineError::MissingInput(name.to_string()))?;
        if element_count(shape).is_none_or(|count| count == 0) {
            return Err(EngineError::Shape(format!("input \"{name}\" of shape {shape:?} has no elements")));
        }
        let buffer = planner.buffers.add(name, shape);
        planner.values.insert(name.to_string(), Value { shape: shape.clone(), buffer: Some(buffer), constant: None });
    }
    for (name, _) in inputs {
        // An input that is a weight of the file as well has its value; rten does not take it either.
        let fixed = graph.get_initializer().iter().any(|tensor| tensor.get_name() == name);
        if fixed || !graph.get_input().iter().any(|input| input.get_name() == name) {
            return Err(EngineError::UnknownInput(name.clone()));
        }
    }
    for node in graph.get_node() {
        planner.node(node, checked).map_err(|reason| EngineError::Unsupported {
            operator: node.get_op_type().to_string(),
            node: node_name(node),
            reason,
        })?;
    }
    let outputs = planner.outputs(graph.get_output().iter().map(|output| output.get_name()))?;
    let kept: Vec<usize> = outputs.iter().map(|output| output.buffer).collect();
    fuse::fuse(&mut planner.steps, &kept);
    lower::winograd::expand(&mut planner);
    Ok((planner, outputs))
}

/// What one binding can hold on the device.
#[derive(Clone, Copy)]
pub struct Limits {
    pub binding_bytes: u64,
}

impl Limits {
    fn check(self, planner: &Planner) -> Result<(), EngineError> {
        for (name, shape) in planner.buffers.names.iter().zip(&planner.buffers.shapes) {
            let bytes = bytes(shape);
            if bytes > self.binding_bytes.min(u64::from(u32::MAX)) {
                let limit = self.binding_bytes >> 20;
                return Err(EngineError::GpuOutOfMemory(format!(
                    "value \"{name}\" of shape {shape:?} needs {} MiB, a buffer holds {limit} MiB",
                    bytes >> 20
                )));
            }
        }
        Ok(())
    }
}

pub fn node_name(node: &NodeProto) -> String {
    match node.get_name() {
        "" => node.get_output().first().cloned().unwrap_or_default(),
        name => name.to_string(),
    }
}

impl Planner {
    fn initializer(&mut self, tensor: &TensorProto) -> Result<(), EngineError> {
        let name = tensor.get_name();
        let damaged = |reason: &str| EngineError::Weight { name: name.to_string(), reason: reason.to_string() };
        let shape: Vec<usize> = tensor
            .get_dims()
            .iter()
            .map(|&side| usize::try_from(side).map_err(|_| damaged("a side is negative")))
            .collect::<Result<_, _>>()?;
        let count = element_count(&shape).ok_or_else(|| damaged("it is too large"))?;
        let is_float = tensor.get_data_type() == TensorProto_DataType::FLOAT as i32;
        let constant =
            if is_float && count > SMALL { None } else { Some(fold::read(tensor, count).map_err(|e| damaged(&e))?) };
        let buffer = (is_float && count > 0).then(|| self.buffers.add(name, &shape));
        self.values.insert(name.to_string(), Value { shape, buffer, constant });
        Ok(())
    }

    fn node(&mut self, node: &NodeProto, checked: &Checked) -> Result<(), String> {
        let inputs: Vec<Option<Value>> = node
            .get_input()
            .iter()
            .map(|name| match name.as_str() {
                "" => Ok(None),
                name => {
                    let known = self.values.get(name).cloned();
                    known.map(Some).ok_or_else(|| format!("nothing computes its input \"{name}\""))
                }
            })
            .collect::<Result<_, _>>()?;
        let results = match fold::fold(node, &inputs)? {
            Some(folded) => vec![folded],
            None => {
                let types = operator(node.get_op_type()).map(|operator| operator.types);
                let output = node.get_output().first().and_then(|name| checked.kinds.get(name));
                if types == Some(Types::Steered) && output == Some(&Kind::Int) {
                    return Err("it would calculate with integers, which f32 may not hold".to_string());
                }
                lower::lower(self, node, &inputs)?
            }
        };
        for (name, value) in node.get_output().iter().zip(results) {
            if value.constant.is_none() && element_count(&value.shape).is_none_or(|count| count == 0) {
                return Err(format!("its output of shape {:?} has no elements", value.shape));
            }
            self.values.insert(name.clone(), value);
        }
        if let Some(missing) =
            node.get_output().iter().find(|name| !name.is_empty() && !self.values.contains_key(*name))
        {
            return Err(format!("its output \"{missing}\" is not computed"));
        }
        Ok(())
    }

    /// The value as a buffer; a constant that lives on the host only is made one.
    pub fn view(&mut self, value: &Value) -> Result<View, String> {
        let buffer = match (value.buffer, &value.constant) {
            (Some(buffer), _) => buffer,
            (None, Some(constant)) => {
                let content = constant.exact_floats()?;
                if content.is_empty() {
                    return Err("one of its inputs has no elements".to_string());
                }
                // Named by its content: sessions for other shapes share buffers of the same name.
                let hash = content.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, value| {
                    (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3)
                });
                let name = format!("constant {hash:016x} {}", content.len());
                match self.buffers.names.iter().position(|known| *known == name) {
                    Some(buffer) => buffer,
                    None => {
                        let buffer = self.buffers.add(&name, &[content.len()]);
                        self.made.insert(buffer, content);
                        buffer
                    }
                }
            }
            (None, None) => return Err("one of its inputs has no value".to_string()),
        };
        Ok(View { buffer, shape: value.shape.clone() })
    }

    /// Adds a step for `node` and returns the value that it computes.
    pub fn step(&mut self, node: &NodeProto, output: &str, shape: &[usize], work: lower::Work) -> Value {
        let buffer = self.buffers.add(output, shape);
        self.steps.push(Step { node: node_name(node), operator: node.get_op_type().to_string(), output: buffer, work });
        Value { shape: shape.to_vec(), buffer: Some(buffer), constant: None }
    }

    /// The graph's outputs, each a buffer of its own that a kernel writes, under the output's name.
    fn outputs<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<Vec<View>, EngineError> {
        let mut outputs: Vec<View> = Vec::new();
        for name in names {
            let refused = |reason: String| EngineError::Unsupported {
                operator: "output".to_string(),
                node: name.to_string(),
                reason,
            };
            let value = self.values.get(name).cloned().ok_or_else(|| EngineError::MissingOutput(name.to_string()))?;
            if value.count() == 0 {
                return Err(refused(format!("of shape {:?} it has no elements", value.shape)));
            }
            let mut view = self.view(&value).map_err(refused)?;
            if !self.steps.iter().any(|step| step.output == view.buffer) && self.buffers.names[view.buffer] == name {
                return Err(refused("it is an input or a weight, nothing computes it".to_string()));
            }
            let computed = self.steps.iter().any(|step| step.output == view.buffer);
            if computed && outputs.iter().all(|other| other.buffer != view.buffer) {
                self.buffers.names[view.buffer] = name.to_string();
            } else {
                let buffer = self.buffers.add(name, &view.shape);
                let work = lower::elementwise::copy(&view, buffer);
                self.steps.push(Step {
                    node: name.to_string(),
                    operator: "Identity".to_string(),
                    output: buffer,
                    work,
                });
                view.buffer = buffer;
            }
            outputs.push(view);
        }
        Ok(outputs)
    }
}
