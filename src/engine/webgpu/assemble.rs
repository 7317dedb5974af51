//! The plan as a model that wonnx can hold: one node for each kernel, the shape of every value stated.

use std::collections::{HashMap, HashSet};

use wonnx::onnx::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorProto_DataType, TensorShapeProto,
    TensorShapeProto_Dimension, TypeProto, TypeProto_Tensor, ValueInfoProto,
};

use super::super::EngineError;
use super::plan::{Plan, Planner};
use super::values::View;

/// What it takes to start a kernel, and to read or write an element, in multiplications.
const STARTING: u64 = 1 << 20;
const ELEMENT: u64 = 8;

fn stated(name: &str, shape: &[usize]) -> ValueInfoProto {
    let mut sides = TensorShapeProto::new();
    for &side in shape {
        let mut dimension = TensorShapeProto_Dimension::new();
        dimension.set_dim_value(side as i64);
        sides.mut_dim().push(dimension);
    }
    let mut tensor = TypeProto_Tensor::new();
    tensor.set_elem_type(TensorProto_DataType::FLOAT as i32);
    tensor.set_shape(sides);
    let mut kind = TypeProto::new();
    kind.set_tensor_type(tensor);
    let mut info = ValueInfoProto::new();
    info.set_name(name.to_string());
    info.set_field_type(kind);
    info
}

/// Puts the steps of `planner` into a model.
pub fn assemble(
    original: &ModelProto,
    planner: Planner,
    half: &HashSet<String>,
    inputs: &[(String, Vec<usize>)],
    outputs: &[View],
) -> Result<Plan, EngineError> {
    let Planner { buffers, steps, made, tuning, .. } = planner;
    // wonnx tells values apart by their names, and some are of the engine's own making.
    let mut names = HashSet::new();
    if let Some(name) = buffers.names.iter().find(|name| !names.insert(name.as_str())) {
        return Err(EngineError::Parse(format!("\"{name}\" is defined twice")));
    }
    let mut graph = GraphProto::new();
    graph.set_name("planned".to_string());
    let mut read = vec![false; buffers.names.len()];
    let mut kernels = HashMap::new();
    for step in steps {
        let (name, shape) = (&buffers.names[step.output], &buffers.shapes[step.output]);
        let mut node = NodeProto::new();
        // Not the ONNX operator: wonnx must treat every node alike.
        node.set_op_type("Kernel".to_string());
        node.set_name(format!("{} ({})", step.node, step.operator));
        for buffer in step.work.reads() {
            read[buffer] = true;
            node.mut_input().push(buffers.names[buffer].clone());
        }
        node.mut_output().push(name.clone());
        graph.mut_node().push(node);
        graph.mut_value_info().push(stated(name, shape));
        let elements: usize = step.work.reads().iter().chain([&step.output]).map(|&it| buffers.elements(it)).sum();
        let work = STARTING + ELEMENT * elements as u64 + step.work.multiplications() as u64;
        let kernel = step.work.kernel(tuning, |buffer| half.contains(&buffers.names[buffer])).map_err(|reason| {
            EngineError::Unsupported { operator: step.operator.clone(), node: step.node.clone(), reason }
        })?;
        kernels.insert(name.clone(), (kernel, work));
    }
    for (name, shape) in inputs {
        graph.mut_input().push(stated(name, shape));
    }
    for (buffer, content) in made {
        if read[buffer] {
            let mut tensor = TensorProto::new();
            tensor.set_name(buffers.names[buffer].clone());
            tensor.set_data_type(TensorProto_DataType::FLOAT as i32);
            tensor.mut_dims().push(content.len() as i64);
            tensor.set_raw_data(content.iter().flat_map(|value| value.to_le_bytes()).collect());
            graph.mut_initializer().push(tensor);
        }
    }
    let weights = original
        .get_graph()
        .get_initializer()
        .iter()
        .map(|tensor| tensor.get_name())
        .filter(|name| buffers.names.iter().zip(&read).any(|(known, read)| *read && known == name))
        .map(str::to_string)
        .collect();
    let mut named = Vec::new();
    for output in outputs {
        let name = &buffers.names[output.buffer];
        graph.mut_output().push(stated(name, &output.shape));
        named.push((name.clone(), output.shape.clone()));
    }
    let mut model = ModelProto::new();
    let mut operators = OperatorSetIdProto::new();
    operators.set_version(18);
    model.mut_opset_import().push(operators);
    model.set_graph(graph);
    Ok(Plan { model, weights, kernels, outputs: named })
}
