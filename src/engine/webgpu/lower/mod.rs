//! One kernel for each operator, by family.

mod conv;
pub mod elementwise;
mod moves;
pub mod product;
mod reduce;
mod resize;
mod rows;
mod sample;
mod views;
pub mod winograd;

use wonnx::onnx::NodeProto;

use super::plan::Planner;
use super::tuning::Tuning;
use super::values::{Value, View};
pub use conv::Conv;
pub use elementwise::Map;
pub use product::Product;
pub use winograd::Transform;

/// Storage buffers that one kernel may bind, its output included: what every WebGPU device has.
pub const MOST_BUFFERS: usize = 8;

/// The program of one node: WGSL with an entry point `main`, and how many workgroups run it. Inputs, then the output are
/// bound in order; each must be used, since layouts are derived from the shader.
pub struct Kernel {
    pub shader: String,
    pub workgroups: (u32, u32, u32),
}

/// A kernel to be. The first three can still be fused.
pub enum Work {
    Map(Map),
    Product(Product),
    Conv(Conv),
    Transform(Transform),
    Ready(Vec<usize>, Kernel),
}

impl Work {
    /// The buffers that it reads, each once, in the order of their bindings.
    pub fn reads(&self) -> Vec<usize> {
        match self {
            Work::Map(map) => map.inputs.iter().map(|input| input.buffer).collect(),
            Work::Product(product) => product.reads(),
            Work::Conv(conv) => conv.reads(),
            Work::Transform(transform) => transform.reads(),
            Work::Ready(reads, _) => reads.clone(),
        }
    }

    /// How many multiplications it takes, beyond some for each element.
    pub fn multiplications(&self) -> usize {
        match self {
            Work::Product(product) => product.stacks * product.m * product.n * product.k,
            Work::Conv(conv) => conv.multiplications(),
            Work::Map(_) | Work::Transform(_) | Work::Ready(..) => 0,
        }
    }

    /// Its kernel; `half` says which buffers are stored in f16.
    pub fn kernel(self, tuning: Tuning, half: impl Fn(usize) -> bool) -> Result<Kernel, String> {
        match self {
            Work::Map(map) => map.kernel(),
            Work::Product(product) => {
                let half = [half(product.a), half(product.b)];
                product.kernel(tuning, half)
            }
            Work::Conv(conv) => {
                let half = half(conv.weights);
                conv.kernel(tuning, half)
            }
            Work::Transform(transform) => transform.kernel(transform.weights().is_some_and(half)),
            Work::Ready(_, kernel) => Ok(kernel),
        }
    }
}

/// What follows a product or convolution in the same kernel: `act(result + bias + residual)`.
#[derive(Default)]
pub struct Tail {
    pub residual: Option<usize>,
    /// The argument's variable, statements, the result's variable.
    pub activation: Option<(usize, Vec<String>, usize)>,
}

impl Tail {
    /// The body of the WGSL function `act(v)`.
    pub fn body(&self) -> String {
        match &self.activation {
            Some((input, body, output)) => {
                elementwise::canonical(&format!("let v{input} = v; {} return v{output};", body.join(" ")))
            }
            None => "return v;".to_string(),
        }
    }

    /// Helper functions that `act` calls.
    pub fn helpers(&self) -> String {
        match &self.activation {
            Some((_, body, _)) => elementwise::helpers(body),
            None => String::new(),
        }
    }
}

/// A node's inputs with the checks that every operator needs.
pub struct Inputs<'a>(pub &'a [Option<Value>]);

impl<'a> Inputs<'a> {
    pub fn get(&self, at: usize) -> Option<&'a Value> {
        self.0.get(at).and_then(Option::as_ref)
    }

    pub fn need(&self, at: usize) -> Result<&'a Value, String> {
        self.get(at).ok_or_else(|| format!("input {at} is missing"))
    }

    /// An input that steers the operator and so must be a constant.
    pub fn ints(&self, at: usize) -> Result<Option<Vec<i64>>, String> {
        match self.get(at) {
            None => Ok(None),
            Some(Value { constant: Some(constant), .. }) => Ok(Some(constant.ints())),
            Some(_) => Err(format!("input {at} depends on the data")),
        }
    }

    pub fn floats(&self, at: usize) -> Result<Option<Vec<f32>>, String> {
        match self.get(at) {
            None => Ok(None),
            Some(Value { constant: Some(constant), .. }) => Ok(Some(constant.floats())),
            Some(_) => Err(format!("input {at} depends on the data")),
        }
    }
}

/// `axis` of a tensor of this rank, counted from the end if negative.
pub fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(at).ok().filter(|&at| at < rank).ok_or_else(|| format!("axis {axis} of a tensor of rank {rank}"))
}

/// Row-major strides.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}

/// The shape that tensors of these shapes broadcast to.
pub fn broadcast(shapes: &[&[usize]]) -> Result<Vec<usize>, String> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for shape in shapes {
        for (side, &given) in result[rank - shape.len()..].iter_mut().zip(*shape) {
            if *side == 1 {
                *side = given;
            } else if given != 1 && given != *side {
                return Err(format!("shapes {shapes:?} do not broadcast"));
            }
        }
    }
    Ok(result)
}

/// Adds the steps that compute `node` and returns its outputs.
pub fn lower(planner: &mut Planner, node: &NodeProto, inputs: &[Option<Value>]) -> Result<Vec<Value>, String> {
    let inputs = Inputs(inputs);
    let one = |value: Result<Value, String>| value.map(|value| vec![value]);
    match node.get_op_type() {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" => one(views::view(node, &inputs)),
        "Dropout" => views::dropout(node, &inputs),
        "Conv" => one(conv::lower(planner, node, &inputs)),
        "MatMul" => one(product::matmul(planner, node, &inputs)),
        "Gemm" => one(product::gemm(planner, node, &inputs)),
        "Softmax" | "LogSoftmax" => one(rows::softmax(planner, node, &inputs)),
        "LayerNormalization" => rows::layer_normalisation(planner, node, &inputs),
        "InstanceNormalization" => one(rows::instance_normalisation(planner, node, &inputs)),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" => {
            one(reduce::lower(planner, node, &inputs))
        }
        "Resize" => one(resize::resize(planner, node, &inputs)),
        "AveragePool" | "MaxPool" => one(sample::pool(planner, node, &inputs)),
        "GlobalAveragePool" | "GlobalMaxPool" => one(reduce::global_pool(planner, node, &inputs)),
        "Transpose" | "Expand" | "Slice" | "Pad" | "Gather" | "Tile" => one(moves::lower(planner, node, &inputs)),
        "Concat" => one(moves::concat(planner, node, &inputs)),
        "Split" => moves::split(planner, node, &inputs),
        _ => one(elementwise::lower(planner, node, &inputs)),
    }
}

/// A finished step: a kernel over the buffers of `reads`.
pub fn ready(planner: &mut Planner, node: &NodeProto, shape: &[usize], reads: &[View], kernel: Kernel) -> Value {
    let reads = reads.iter().map(|view| view.buffer).collect();
    let output = node.get_output().first().cloned().unwrap_or_default();
    planner.step(node, &output, shape, Work::Ready(reads, kernel))
}
