//! One-node graphs with random inputs.

mod cases;
mod chains;
mod draft;
mod numbers;
mod refused;
mod runs;
mod shapes;

pub use cases::cases;
pub use shapes::random_cases;
use wonnx::onnx::{
    AttributeProto, AttributeProto_AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorProto_DataType, TensorShapeProto, TensorShapeProto_Dimension, TypeProto, TypeProto_Tensor, ValueInfoProto,
};
use zegformer::engine::{EngineError, Graph, Tensor};

/// An input of a node.
#[derive(Clone)]
enum Given {
    /// Random numbers at run time.
    Data {
        shape: Vec<usize>,
        low: f32,
        high: f32,
    },
    /// Random numbers as an initializer.
    Weights(Vec<usize>),
    Floats(Vec<usize>, Vec<f32>),
    Ints(Vec<i64>),
    /// True, false, false, true, false, …
    Truths(Vec<usize>),
    Missing,
}

#[derive(Clone)]
pub struct Case {
    pub name: String,
    operator: String,
    node: String,
    inputs: Vec<Given>,
    attributes: Vec<AttributeProto>,
    outputs: usize,
    /// Whether random weights are rounded to f16.
    half: bool,
    /// Whether the output is no float and becomes one by a Cast.
    cast: bool,
    /// Whether the first input is added to the output, and the sum goes through a Relu.
    residual: bool,
}

impl Case {
    /// Inputs of these shapes with numbers from -2 to 2.
    pub fn new(name: &str, operator: &str, shapes: &[&[usize]]) -> Case {
        let data = |shape: &&[usize]| Given::Data { shape: shape.to_vec(), low: -2.0, high: 2.0 };
        Case {
            name: format!("{operator} {name}"),
            operator: operator.to_string(),
            node: "node".to_string(),
            inputs: shapes.iter().map(data).collect(),
            attributes: Vec::new(),
            outputs: 1,
            half: false,
            cast: false,
            residual: false,
        }
    }

    /// The same with what products and convolutions multiply by as constants that f16 holds exactly.
    pub fn halved(mut self) -> Case {
        self.half = true;
        let weighed = matches!(self.operator.as_str(), "Conv" | "MatMul" | "Gemm");
        if let Some(second) = self.inputs.get_mut(1).filter(|_| weighed)
            && let Given::Data { shape, .. } = second
        {
            *second = Given::Weights(shape.clone());
        }
        self
    }

    /// The same as in a residual network: `Relu(output + first input)`.
    pub fn residual(mut self) -> Case {
        self.name += ", residual";
        self.residual = true;
        self
    }

    pub fn named(mut self, node: &str) -> Case {
        self.node = node.to_string();
        self
    }

    fn range(mut self, from: f32, to: f32) -> Case {
        for input in &mut self.inputs {
            if let Given::Data { low, high, .. } = input {
                (*low, *high) = (from, to);
            }
        }
        self
    }

    fn ints(mut self, values: &[i64]) -> Case {
        self.inputs.push(Given::Ints(values.to_vec()));
        self
    }

    fn weights(mut self, shape: &[usize]) -> Case {
        self.inputs.push(Given::Weights(shape.to_vec()));
        self
    }

    fn floats(mut self, shape: &[usize], values: &[f32]) -> Case {
        self.inputs.push(Given::Floats(shape.to_vec(), values.to_vec()));
        self
    }

    fn truths(mut self, shape: &[usize]) -> Case {
        self.inputs.insert(0, Given::Truths(shape.to_vec()));
        self
    }

    fn cast(mut self) -> Case {
        self.cast = true;
        self
    }

    fn missing(mut self) -> Case {
        self.inputs.push(Given::Missing);
        self
    }

    fn outputs(mut self, outputs: usize) -> Case {
        self.outputs = outputs;
        self
    }

    fn attribute(mut self, name: &str, kind: AttributeProto_AttributeType, set: impl Fn(&mut AttributeProto)) -> Case {
        let mut attribute = AttributeProto::new();
        attribute.set_name(name.to_string());
        attribute.set_field_type(kind);
        set(&mut attribute);
        self.attributes.push(attribute);
        self
    }

    fn int(self, name: &str, value: i64) -> Case {
        self.attribute(name, AttributeProto_AttributeType::INT, |attribute| attribute.set_i(value))
    }

    fn float(self, name: &str, value: f32) -> Case {
        self.attribute(name, AttributeProto_AttributeType::FLOAT, |attribute| attribute.set_f(value))
    }

    pub fn list(self, name: &str, values: &[i64]) -> Case {
        self.attribute(name, AttributeProto_AttributeType::INTS, |attribute| attribute.set_ints(values.to_vec()))
    }

    fn word(self, name: &str, value: &str) -> Case {
        self.attribute(name, AttributeProto_AttributeType::STRING, |attribute| {
            attribute.set_s(value.as_bytes().to_vec())
        })
    }
}

/// Numbers between `low` and `high` that depend on nothing but `seed`.
pub fn random(shape: &[usize], seed: u64, low: f32, high: f32) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let data = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            low + (high - low) * ((state >> 40) as f32 / (1u64 << 24) as f32)
        })
        .collect();
    Tensor::new(shape.to_vec(), data).expect("as many numbers as the shape says")
}

fn stated(name: &str, shape: Option<&[usize]>) -> ValueInfoProto {
    let mut tensor = TypeProto_Tensor::new();
    tensor.set_elem_type(TensorProto_DataType::FLOAT as i32);
    if let Some(shape) = shape {
        let mut sides = TensorShapeProto::new();
        for &side in shape {
            let mut dimension = TensorShapeProto_Dimension::new();
            dimension.set_dim_value(side as i64);
            sides.mut_dim().push(dimension);
        }
        tensor.set_shape(sides);
    }
    let mut kind = TypeProto::new();
    kind.set_tensor_type(tensor);
    let mut info = ValueInfoProto::new();
    info.set_name(name.to_string());
    info.set_field_type(kind);
    info
}

fn float_tensor(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    let mut tensor = TensorProto::new();
    tensor.set_name(name.to_string());
    tensor.set_data_type(TensorProto_DataType::FLOAT as i32);
    tensor.set_dims(shape.iter().map(|&side| side as i64).collect());
    tensor.set_raw_data(values.iter().flat_map(|value| value.to_le_bytes()).collect());
    tensor
}

type Results = Result<Vec<(String, Tensor)>, EngineError>;

/// Runs a case on the engine that `load` makes.
pub fn run_case(case: &Case, load: impl Fn(ModelProto) -> Result<Box<dyn Graph>, EngineError>) -> Results {
    let mut graph = GraphProto::new();
    graph.set_name("case".to_string());
    let mut node = NodeProto::new();
    node.set_op_type(case.operator.clone());
    node.set_name(case.node.clone());
    node.set_attribute(case.attributes.clone().into());
    let mut tensors = Vec::new();
    for (at, input) in case.inputs.iter().enumerate() {
        let name = format!("in{at}");
        let seed = 1 + at as u64;
        node.mut_input().push(if matches!(input, Given::Missing) { String::new() } else { name.clone() });
        match input {
            Given::Data { shape, low, high } => {
                graph.mut_input().push(stated(&name, Some(shape)));
                tensors.push((name, random(shape, seed, *low, *high)));
            }
            Given::Weights(shape) => {
                let mut values = random(shape, seed, -1.0, 1.0).data().to_vec();
                if case.half {
                    values.iter_mut().for_each(|value| *value = half::f16::from_f32(*value).to_f32());
                }
                graph.mut_initializer().push(float_tensor(&name, shape, &values));
            }
            Given::Floats(shape, values) => graph.mut_initializer().push(float_tensor(&name, shape, values)),
            Given::Ints(values) => {
                let mut tensor = TensorProto::new();
                tensor.set_name(name);
                tensor.set_data_type(TensorProto_DataType::INT64 as i32);
                tensor.set_dims(vec![values.len() as i64]);
                tensor.set_raw_data(values.iter().flat_map(|value| value.to_le_bytes()).collect());
                graph.mut_initializer().push(tensor);
            }
            Given::Truths(shape) => {
                let mut tensor = TensorProto::new();
                tensor.set_name(name);
                tensor.set_data_type(TensorProto_DataType::BOOL as i32);
                tensor.set_dims(shape.iter().map(|&side| side as i64).collect());
                tensor.set_raw_data((0..shape.iter().product::<usize>()).map(|at| u8::from(at % 5 % 3 == 0)).collect());
                graph.mut_initializer().push(tensor);
            }
            Given::Missing => {}
        }
    }
    for at in 0..case.outputs {
        let name = format!("out{at}");
        node.mut_output().push(if case.cast || case.residual { format!("raw {name}") } else { name.clone() });
        graph.mut_output().push(stated(&name, None));
    }
    graph.mut_node().push(node);
    if case.cast {
        let mut cast = NodeProto::new();
        cast.set_op_type("Cast".to_string());
        cast.mut_input().push("raw out0".to_string());
        cast.mut_output().push("out0".to_string());
        let Case { attributes, .. } = Case::new("", "Cast", &[]).int("to", 1);
        cast.set_attribute(attributes.into());
        graph.mut_node().push(cast);
    }
    if case.residual {
        for (operator, inputs, output) in [("Add", vec!["raw out0", "in0"], "sum"), ("Relu", vec!["sum"], "out0")] {
            let mut node = NodeProto::new();
            node.set_op_type(operator.to_string());
            inputs.iter().for_each(|input| node.mut_input().push(input.to_string()));
            node.mut_output().push(output.to_string());
            graph.mut_node().push(node);
        }
    }
    let mut model = ModelProto::new();
    model.set_ir_version(8);
    let mut operators = OperatorSetIdProto::new();
    operators.set_version(20);
    model.mut_opset_import().push(operators);
    model.set_graph(graph);
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    pollster::block_on(load(model)?.run(&named))
}
