//! Graphs of several nodes, written down one after the other.

use wonnx::onnx::{
    AttributeProto, AttributeProto_AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use zegformer::engine::cpu::CpuGraph;
use zegformer::engine::webgpu::{Device, WebGpuGraph};
use zegformer::engine::{EngineError, Graph, Tensor};

use super::{float_tensor, random, stated};

pub type Results = Result<Vec<(String, Tensor)>, EngineError>;

#[derive(Clone, Default)]
pub struct Draft {
    pub graph: GraphProto,
    pub given: Vec<(String, Tensor)>,
    count: u64,
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    let mut attribute = AttributeProto::new();
    attribute.set_name(name.to_string());
    attribute.set_field_type(AttributeProto_AttributeType::FLOAT);
    attribute.set_f(value);
    attribute
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    let mut attribute = AttributeProto::new();
    attribute.set_name(name.to_string());
    attribute.set_field_type(AttributeProto_AttributeType::INT);
    attribute.set_i(value);
    attribute
}

pub fn list(name: &str, values: &[i64]) -> AttributeProto {
    let mut attribute = AttributeProto::new();
    attribute.set_name(name.to_string());
    attribute.set_field_type(AttributeProto_AttributeType::INTS);
    attribute.set_ints(values.to_vec());
    attribute
}

impl Draft {
    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    /// An input with these numbers.
    pub fn input(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = self.name("x");
        self.graph.mut_input().push(stated(&name, Some(shape)));
        self.given.push((name.clone(), Tensor::new(shape, values.to_vec()).expect("as many as the shape says")));
        name
    }

    /// An input with random numbers from -2 to 2.
    pub fn data(&mut self, shape: &[usize]) -> String {
        let values = random(shape, 100 + self.count, -2.0, 2.0);
        self.input(shape, values.data())
    }

    pub fn constant(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = self.name("w");
        self.graph.mut_initializer().push(float_tensor(&name, shape, values));
        name
    }

    /// A constant with random numbers from -1 to 1.
    pub fn weights(&mut self, shape: &[usize]) -> String {
        let values = random(shape, 100 + self.count, -1.0, 1.0);
        self.constant(shape, values.data())
    }

    pub fn ints(&mut self, values: &[i64]) -> String {
        let name = self.name("i");
        let mut tensor = TensorProto::new();
        tensor.set_name(name.clone());
        tensor.set_data_type(7);
        tensor.set_dims(vec![values.len() as i64]);
        tensor.set_int64_data(values.to_vec());
        self.graph.mut_initializer().push(tensor);
        name
    }

    pub fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[AttributeProto]) -> String {
        let name = self.name("v");
        let mut node = NodeProto::new();
        node.set_op_type(operator.to_string());
        node.set_name(format!("{operator} of {name}"));
        node.set_input(inputs.iter().map(|input| input.to_string()).collect());
        node.set_attribute(attributes.to_vec().into());
        node.mut_output().push(name.clone());
        self.graph.mut_node().push(node);
        name
    }

    pub fn output(&mut self, name: &str) {
        self.graph.mut_output().push(stated(name, None));
    }

    pub fn model(&self) -> ModelProto {
        let mut model = ModelProto::new();
        model.set_ir_version(8);
        let mut operators = OperatorSetIdProto::new();
        operators.set_version(20);
        model.mut_opset_import().push(operators);
        let mut graph = self.graph.clone();
        graph.set_name("draft".to_string());
        model.set_graph(graph);
        model
    }

    pub fn named(&self) -> Vec<(&str, &Tensor)> {
        self.given.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
    }

    pub fn on_cpu(&self) -> Results {
        pollster::block_on(CpuGraph::load(self.model())?.run(&self.named()))
    }

    pub fn on_gpu(&self, device: &Device) -> Results {
        pollster::block_on(WebGpuGraph::load(device.clone(), self.model())?.run(&self.named()))
    }
}
