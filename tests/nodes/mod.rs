//! One-node graphs with random inputs.

use wonnx::onnx::{
    AttributeProto, AttributeProto_AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorProto_DataType, TensorShapeProto, TensorShapeProto_Dimension, TypeProto, TypeProto_Tensor, ValueInfoProto,
};
use zegformer::engine::{EngineError, Graph, Tensor};

/// An input of a node.
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
    Missing,
}

pub struct Case {
    pub name: String,
    operator: String,
    node: String,
    inputs: Vec<Given>,
    attributes: Vec<AttributeProto>,
    outputs: usize,
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
        }
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

    fn list(self, name: &str, values: &[i64]) -> Case {
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
                let values = random(shape, seed, -1.0, 1.0);
                graph.mut_initializer().push(float_tensor(&name, shape, values.data()));
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
            Given::Missing => {}
        }
    }
    for at in 0..case.outputs {
        let name = format!("out{at}");
        node.mut_output().push(name.clone());
        graph.mut_output().push(stated(&name, None));
    }
    graph.mut_node().push(node);
    let mut model = ModelProto::new();
    model.set_ir_version(8);
    let mut operators = OperatorSetIdProto::new();
    operators.set_version(20);
    model.mut_opset_import().push(operators);
    model.set_graph(graph);
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    pollster::block_on(load(model)?.run(&named))
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    elementwise(&mut all);
    products(&mut all);
    convolutions(&mut all);
    rows(&mut all);
    moves(&mut all);
    samples(&mut all);
    all
}

fn elementwise(all: &mut Vec<Case>) {
    for operator in [
        "Relu",
        "LeakyRelu",
        "Sigmoid",
        "Tanh",
        "Exp",
        "Erf",
        "Gelu",
        "Neg",
        "Abs",
        "HardSigmoid",
        "HardSwish",
        "Identity",
    ] {
        for shape in [&[1][..], &[7], &[3, 5, 4], &[70_007]] {
            all.push(Case::new(&format!("{shape:?}"), operator, &[shape]));
        }
    }
    all.push(Case::new("of large numbers", "Tanh", &[&[1000]]).range(-200.0, 200.0));
    all.push(Case::new("of large numbers", "Sigmoid", &[&[1000]]).range(-200.0, 200.0));
    all.push(Case::new("of large numbers", "Erf", &[&[1000]]).range(-50.0, 50.0));
    // More than 65,535 workgroups of 64.
    all.push(Case::new("of many", "Relu", &[&[4_200_001]]));
    for operator in ["Log", "Sqrt", "Reciprocal"] {
        all.push(Case::new("", operator, &[&[2, 9]]).range(0.1, 5.0));
    }
    for operator in ["Add", "Sub", "Mul", "Div", "Min", "Max"] {
        let shapes: [(&[usize], &[usize]); 9] = [
            (&[6, 8], &[6, 8]),
            (&[6, 7], &[7]),
            (&[2, 3, 8], &[8]),
            (&[2, 3, 8], &[3, 1]),
            (&[3, 1, 5], &[4, 1]),
            (&[1], &[4, 4]),
            (&[2, 6, 4, 4], &[6, 1, 1]),
            (&[2, 1, 4], &[2, 3, 1]),
            (&[5], &[1]),
        ];
        for (a, b) in shapes {
            all.push(Case::new(&format!("{a:?} {b:?}"), operator, &[a, b]).range(0.5, 3.0));
        }
        all.push(Case::new("a constant", operator, &[&[4, 5]]).floats(&[], &[3.0]));
    }
    for exponent in [2.0, 3.0, 0.0, 1.0, -1.0, 4.0, -3.0] {
        all.push(Case::new(&format!("of negative bases, {exponent}"), "Pow", &[&[33]]).floats(&[], &[exponent]));
        all.push(Case::new(&format!("of exponents, {exponent}"), "Pow", &[&[33]]).floats(&[33], &[exponent; 33]));
    }
    all.push(Case::new("", "Pow", &[&[4, 5], &[5]]).range(0.1, 3.0));
    all.push(Case::new("both", "Clip", &[&[4, 6]]).floats(&[], &[-0.05]).floats(&[], &[0.7]));
    all.push(Case::new("above", "Clip", &[&[4, 6]]).missing().floats(&[], &[0.7]));
    all.push(Case::new("below", "Clip", &[&[4, 6]]).floats(&[], &[0.05]));
    all.push(Case::new("data", "Clip", &[&[4, 6], &[], &[]]));
}

fn products(all: &mut Vec<Case>) {
    let sizes = [
        (1, 1, 1),
        (4, 4, 4),
        (5, 7, 3),
        (1, 64, 17),
        (33, 16, 1),
        (16, 12, 20),
        (63, 65, 66),
        (100, 32, 48),
        (9, 3, 6),
    ];
    for (m, k, n) in sizes {
        all.push(Case::new(&format!("{m} {k} {n}"), "MatMul", &[&[m, k], &[k, n]]));
        all.push(Case::new(&format!("stack {m} {k} {n}"), "MatMul", &[&[3, m, k], &[3, k, n]]));
        all.push(Case::new(&format!("weights {m} {k} {n}"), "MatMul", &[&[2, 3, m, k]]).weights(&[k, n]));
    }
    // Not a stack times a vector: there rten keeps an axis that ONNX drops.
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[2, 1, 5, 8], &[3, 8, 4]),
        (&[5, 8], &[2, 3, 8, 4]),
        (&[1, 5, 8], &[6, 8, 4]),
        (&[7], &[7, 5]),
        (&[4, 7], &[7]),
        (&[8], &[8]),
    ];
    for (a, b) in shapes {
        all.push(Case::new(&format!("{a:?} {b:?}"), "MatMul", &[a, b]));
    }
    // More than 65,535 stacks.
    all.push(Case::new("many stacks", "MatMul", &[&[70_000, 1, 4], &[70_000, 4, 2]]));
    for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (m, k, n) in [(5, 7, 3), (8, 12, 16)] {
            let left: &[usize] = if a == 1 { &[k, m] } else { &[m, k] };
            let right: &[usize] = if b == 1 { &[n, k] } else { &[k, n] };
            for bias in [&[n][..], &[m, n], &[1, n], &[m, 1], &[1]] {
                let name = format!("transA {a} transB {b} {m} {k} {n} bias {bias:?}");
                let case = Case::new(&name, "Gemm", &[left, right, bias]).int("transA", a).int("transB", b);
                all.push(case.float("alpha", 0.5).float("beta", 2.0));
            }
            all.push(
                Case::new(&format!("plain {a} {b} {m}"), "Gemm", &[left, right]).int("transA", a).int("transB", b),
            );
        }
    }
}

fn convolutions(all: &mut Vec<Case>) {
    struct Shape {
        x: [usize; 4],
        w: [usize; 4],
        group: i64,
        strides: [i64; 2],
        pads: [i64; 4],
        dilations: [i64; 2],
    }
    let c = |x, w, group, strides, pads, dilations| Shape { x, w, group, strides, pads, dilations };
    let shapes = [
        c([1, 3, 9, 11], [8, 3, 3, 3], 1, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([2, 5, 8, 8], [7, 5, 3, 3], 1, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([1, 4, 16, 12], [8, 4, 3, 3], 1, [2, 2], [0, 0, 1, 1], [1, 1]),
        c([1, 4, 16, 12], [8, 4, 5, 5], 1, [2, 2], [1, 1, 2, 2], [1, 1]),
        c([1, 6, 10, 10], [6, 1, 3, 3], 6, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([2, 6, 11, 13], [6, 1, 5, 5], 6, [2, 2], [1, 1, 2, 2], [1, 1]),
        c([1, 4, 10, 10], [12, 1, 3, 3], 4, [1, 1], [1, 1, 1, 1], [1, 1]),
        c([1, 8, 9, 9], [12, 4, 3, 3], 2, [1, 2], [1, 0, 2, 1], [1, 1]),
        c([1, 4, 12, 12], [4, 4, 3, 3], 1, [1, 1], [2, 2, 2, 2], [2, 2]),
        c([1, 3, 32, 32], [32, 3, 16, 16], 1, [16, 16], [0, 0, 0, 0], [1, 1]),
        c([1, 3, 17, 17], [16, 3, 7, 7], 1, [2, 2], [3, 3, 3, 3], [1, 1]),
        c([1, 8, 7, 7], [16, 8, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([2, 8, 4, 4], [6, 8, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([2, 5, 3, 3], [3, 5, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([1, 8, 8, 8], [4, 8, 1, 1], 1, [2, 2], [0, 0, 0, 0], [1, 1]),
        c([1, 1, 1, 1], [1, 1, 1, 1], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
        c([1, 4, 1, 9], [4, 4, 1, 3], 1, [1, 1], [0, 1, 0, 1], [1, 1]),
        c([1, 1, 2100, 2100], [1, 1, 1, 2], 1, [1, 1], [0, 0, 0, 0], [1, 1]),
    ];
    for s in shapes {
        for bias in [false, true] {
            let name = format!("{:?} {:?} strides {:?} pads {:?} bias {bias}", s.x, s.w, s.strides, s.pads);
            let mut case = Case::new(&name, "Conv", &[&s.x]).weights(&s.w);
            if bias {
                case = case.weights(&[s.w[0]]);
            }
            let case = case.int("group", s.group).list("strides", &s.strides).list("pads", &s.pads);
            all.push(case.list("dilations", &s.dilations).list("kernel_shape", &[s.w[2] as i64, s.w[3] as i64]));
        }
    }
    let auto = Case::new("auto_pad", "Conv", &[&[1, 2, 9, 10]]).weights(&[3, 2, 3, 3]);
    all.push(auto.word("auto_pad", "SAME_UPPER").list("strides", &[2, 2]).list("kernel_shape", &[3, 3]));
}

fn rows(all: &mut Vec<Case>) {
    for shape in [&[5, 7][..], &[2, 3, 200], &[1, 1], &[2, 4, 3, 5]] {
        for axis in 0..shape.len() as i64 {
            all.push(Case::new(&format!("{shape:?} axis {axis}"), "Softmax", &[shape]).int("axis", axis));
        }
    }
    all.push(Case::new("of large numbers", "Softmax", &[&[4, 33]]).range(-1000.0, 1000.0).int("axis", -1));
    all.push(Case::new("many rows", "Softmax", &[&[70_000, 3]]).int("axis", -1));
    for shape in [&[3, 8][..], &[2, 5, 7], &[1, 200, 64], &[1, 1]] {
        let n = shape[shape.len() - 1];
        let case = Case::new(&format!("{shape:?}"), "LayerNormalization", &[shape]).weights(&[n]).weights(&[n]);
        all.push(case.float("epsilon", 1e-5).int("axis", -1));
    }
    let case = Case::new("", "InstanceNormalization", &[&[2, 3, 5, 6]]).weights(&[3]).weights(&[3]);
    all.push(case.float("epsilon", 1e-3));
    let case = Case::new("", "BatchNormalization", &[&[2, 3, 5, 6]]).weights(&[3]).weights(&[3]).weights(&[3]);
    all.push(case.floats(&[3], &[0.5, 1.0, 2.0]));
    for operator in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"] {
        for axes in [&[-1][..], &[1], &[0, 2], &[1, 2], &[0, 1, 2]] {
            for keep in [0, 1] {
                let name = format!("{axes:?} keep {keep}");
                all.push(Case::new(&name, operator, &[&[3, 4, 5]]).ints(axes).int("keepdims", keep));
            }
        }
        all.push(Case::new("all", operator, &[&[3, 70]]));
        all.push(Case::new("wide", operator, &[&[3, 5, 300]]).ints(&[0, 2]));
    }
}

fn moves(all: &mut Vec<Case>) {
    for order in [&[1, 0, 2, 3][..], &[0, 2, 1, 3], &[3, 2, 1, 0], &[0, 2, 3, 1], &[0, 1, 2, 3]] {
        all.push(Case::new(&format!("{order:?}"), "Transpose", &[&[2, 3, 4, 5]]).list("perm", order));
    }
    all.push(Case::new("of a column", "Transpose", &[&[1, 7, 1, 5]]).list("perm", &[0, 2, 1, 3]));
    for axis in [0, 1, 2, -1] {
        let shapes: [&[usize]; 2] = [&[2, 3, 4], &[2, 3, 4]];
        all.push(Case::new(&format!("axis {axis}"), "Concat", &shapes).int("axis", axis));
        let case = Case::new(&format!("axis {axis}"), "Gather", &[&[5, 6, 7]]).ints(&[4, 0, -1, 2]);
        all.push(case.int("axis", axis));
    }
    let ten: [&[usize]; 10] = [
        &[2, 1, 3],
        &[2, 2, 3],
        &[2, 3, 3],
        &[2, 1, 3],
        &[2, 1, 3],
        &[2, 1, 3],
        &[2, 5, 3],
        &[2, 1, 3],
        &[2, 1, 3],
        &[2, 4, 3],
    ];
    all.push(Case::new("of ten", "Concat", &ten).int("axis", 1));
    all.push(Case::new("uneven", "Split", &[&[2, 9, 4]]).ints(&[2, 3, 4]).int("axis", 1).outputs(3));
    all.push(Case::new("even", "Split", &[&[6, 3]]).ints(&[3, 3]).int("axis", 0).outputs(2));
    let slices: [[&[i64]; 4]; 5] = [
        [&[1], &[3], &[1], &[1]],
        [&[0, 1], &[i64::MAX, -1], &[0, 2], &[1, 2]],
        [&[-1], &[i64::MIN], &[1], &[-1]],
        [&[-2], &[-5], &[2], &[-2]],
        [&[0], &[100], &[0], &[3]],
    ];
    for [starts, ends, axes, steps] in slices {
        let case = Case::new(&format!("{starts:?} {ends:?} {axes:?} {steps:?}"), "Slice", &[&[4, 5, 6]]);
        all.push(case.ints(starts).ints(ends).ints(axes).ints(steps));
    }
    all.push(Case::new("", "Expand", &[&[3, 1]]).ints(&[2, 3, 4]));
    all.push(Case::new("", "Tile", &[&[2, 3]]).ints(&[2, 3]));
    all.push(Case::new("uneven", "Pad", &[&[2, 3, 4]]).ints(&[0, 1, 2, 3, 0, 1]).floats(&[], &[1.5]));
    all.push(Case::new("zeros", "Pad", &[&[1, 2, 5, 5]]).ints(&[0, 0, 1, 1, 0, 0, 2, 2]));
    all.push(Case::new("", "Reshape", &[&[2, 3, 4]]).ints(&[0, -1]));
    all.push(Case::new("", "Flatten", &[&[2, 3, 4]]).int("axis", 2));
    all.push(Case::new("", "Squeeze", &[&[1, 3, 1, 4]]).ints(&[0, 2]));
    all.push(Case::new("", "Unsqueeze", &[&[3, 4]]).ints(&[0, -1]));
}

fn samples(all: &mut Vec<Case>) {
    for (mode, coordinates, nearest) in [
        ("nearest", "asymmetric", "floor"),
        ("nearest", "half_pixel", "round_prefer_floor"),
        ("linear", "half_pixel", "floor"),
        ("linear", "align_corners", "floor"),
        ("linear", "asymmetric", "floor"),
    ] {
        for sizes in [[1, 2, 12, 16], [1, 2, 5, 7], [1, 2, 3, 4], [1, 2, 6, 8]] {
            let name = format!("{mode} {coordinates} {sizes:?}");
            let case = Case::new(&name, "Resize", &[&[1, 2, 6, 8]]).missing().missing().ints(&sizes);
            let case = case.word("mode", mode).word("nearest_mode", nearest);
            all.push(case.word("coordinate_transformation_mode", coordinates));
        }
        let case = Case::new(&format!("{mode} {coordinates} scales"), "Resize", &[&[1, 2, 5, 7]]).missing();
        let case = case.floats(&[4], &[1.0, 1.0, 2.0, 2.0]).word("mode", mode).word("nearest_mode", nearest);
        all.push(case.word("coordinate_transformation_mode", coordinates));
    }
    for operator in ["AveragePool", "MaxPool"] {
        for (kernel, stride, pads) in
            [(2, 2, [0, 0, 0, 0]), (3, 2, [1, 1, 1, 1]), (3, 1, [0, 1, 1, 0]), (4, 4, [0, 0, 0, 0])]
        {
            let name = format!("{kernel} {stride} {pads:?}");
            let case = Case::new(&name, operator, &[&[2, 3, 12, 8]]).list("kernel_shape", &[kernel, kernel]);
            all.push(case.list("strides", &[stride, stride]).list("pads", &pads));
        }
    }
    all.push(Case::new("", "GlobalAveragePool", &[&[2, 3, 7, 9]]));
    all.push(Case::new("", "GlobalMaxPool", &[&[2, 3, 7, 9]]));
}
