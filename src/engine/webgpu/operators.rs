//! The operators that the engine claims: since which operator set, with which attributes, on which types of elements.
//!
//! The engine calculates with f32 alone. Integers and truth values travel as f32 too, so they are only taken where they stay
//! exact: moved, compared, picked by. Calculating with integers is left to the host, which knows shapes and constants.

use Attribute::{Any, Ints, Sides, Words};
use Types::{Cast, Compare, Extreme, Float, Logic, Moved, Ordered, Picked, Power, Shaped, Steered, Where};

/// The newest operator set whose definitions were read.
pub const NEWEST_OPSET: i64 = 27;

/// What an operator takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Types {
    /// f32 to f32.
    Float,
    /// f32 to f32, and integers to integers if the host knows all of them.
    Steered,
    /// f32 or integers, none of which becomes larger.
    Ordered,
    /// The same, and truth values.
    Extreme,
    /// Anything, and all data inputs alike.
    Moved,
    /// Anything, picked by integers.
    Picked,
    /// f32 to the power of f32 or integers.
    Power,
    /// Two of a type to truth values.
    Compare,
    /// Truth values.
    Logic,
    /// A truth value chooses between two of a type.
    Where,
    /// The attribute `to` says it.
    Cast,
    /// Anything to integers that the host knows.
    Shaped,
    /// The attribute says it: Constant, ConstantOfShape.
    Stated,
}

/// The values that an attribute may have.
#[derive(Clone, Copy, Debug)]
pub enum Attribute {
    Any,
    Words(&'static [&'static str]),
    Ints(&'static [i64]),
    /// A list for one or two spatial axes, this many numbers each.
    Sides(usize),
}

#[derive(Debug)]
pub struct Operator {
    pub name: &'static str,
    /// The first operator set whose definition is understood.
    pub since: i64,
    pub types: Types,
    /// All others are refused.
    pub attributes: &'static [(&'static str, Attribute)],
    /// Inputs that have to be constants when a graph is planned.
    pub steering: &'static [usize],
    /// Outputs that can be computed.
    pub outputs: usize,
}

type Attributes = &'static [(&'static str, Attribute)];

const fn plain(name: &'static str, since: i64, types: Types) -> Operator {
    with(name, since, types, &[])
}

const fn with(name: &'static str, since: i64, types: Types, attributes: Attributes) -> Operator {
    Operator { name, since, types, attributes, steering: &[], outputs: 1 }
}

const fn steered(
    name: &'static str,
    since: i64,
    types: Types,
    attributes: Attributes,
    steering: &'static [usize],
) -> Operator {
    Operator { name, since, types, attributes, steering, outputs: 1 }
}

const fn reduction(name: &'static str, types: Types) -> Operator {
    steered(name, 1, types, &[("axes", Any), ("keepdims", Any), ("noop_with_empty_axes", Any)], &[1])
}

const AUTO_PAD: (&str, Attribute) = ("auto_pad", Words(&["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]));

#[rustfmt::skip]
pub const OPERATORS: &[Operator] = &[
    // One element of each input to one of the output.
    plain("Add", 7, Steered), plain("Sub", 7, Steered), plain("Mul", 7, Steered), plain("Div", 7, Steered),
    plain("Pow", 7, Power), plain("Min", 6, Ordered), plain("Max", 6, Ordered),
    plain("Sum", 6, Float), plain("Mean", 6, Float),
    plain("Relu", 6, Ordered), plain("Neg", 6, Ordered), plain("Abs", 6, Ordered), plain("Sign", 9, Ordered),
    plain("PRelu", 7, Float), plain("Sigmoid", 6, Float), plain("HardSwish", 14, Float), plain("Tanh", 6, Float),
    plain("Softplus", 1, Float), plain("Exp", 6, Float), plain("Log", 6, Float), plain("Sqrt", 6, Float),
    plain("Reciprocal", 6, Float), plain("Erf", 9, Float), plain("Floor", 6, Float), plain("Ceil", 6, Float),
    plain("Round", 11, Float), plain("Sin", 7, Float), plain("Cos", 7, Float),
    with("LeakyRelu", 6, Float, &[("alpha", Any)]), with("Elu", 6, Float, &[("alpha", Any)]),
    with("HardSigmoid", 6, Float, &[("alpha", Any), ("beta", Any)]),
    with("Gelu", 20, Float, &[("approximate", Words(&["none", "tanh"]))]),
    with("Clip", 6, Ordered, &[("min", Any), ("max", Any)]),
    plain("Equal", 7, Compare), plain("Greater", 7, Compare), plain("GreaterOrEqual", 12, Compare),
    plain("Less", 7, Compare), plain("LessOrEqual", 12, Compare),
    plain("And", 7, Logic), plain("Or", 7, Logic), plain("Not", 1, Logic), plain("Where", 9, Where),
    // `saturate` and `round_mode` speak of eight-bit floats only.
    with("Cast", 6, Cast, &[("to", Ints(&[1, 6, 7, 9])), ("saturate", Any), ("round_mode", Any)]),
    with("BatchNormalization", 9, Float, &[("epsilon", Any), ("momentum", Any), ("training_mode", Ints(&[0]))]),
    // Products.
    plain("MatMul", 1, Float),
    with("Gemm", 7, Float, &[("alpha", Any), ("beta", Any), ("transA", Any), ("transB", Any)]),
    with("Conv", 1, Float, &[AUTO_PAD, ("dilations", Sides(1)), ("group", Any), ("kernel_shape", Sides(1)),
        ("pads", Sides(2)), ("strides", Sides(1))]),
    // Rows.
    with("Softmax", 1, Float, &[("axis", Any)]), with("LogSoftmax", 1, Float, &[("axis", Any)]),
    Operator { name: "LayerNormalization", since: 17, types: Float, outputs: 3, steering: &[],
        attributes: &[("axis", Any), ("epsilon", Any), ("stash_type", Ints(&[1]))] },
    with("InstanceNormalization", 6, Float, &[("epsilon", Any)]),
    reduction("ReduceMean", Float), reduction("ReduceSum", Float), reduction("ReduceL1", Float),
    reduction("ReduceL2", Float), reduction("ReduceSumSquare", Float),
    reduction("ReduceMax", Extreme), reduction("ReduceMin", Extreme),
    // Planes.
    with("AveragePool", 1, Float, &[AUTO_PAD, ("ceil_mode", Any), ("count_include_pad", Any), ("dilations", Sides(1)),
        ("kernel_shape", Sides(1)), ("pads", Sides(2)), ("strides", Sides(1))]),
    with("MaxPool", 1, Float, &[AUTO_PAD, ("ceil_mode", Any), ("dilations", Sides(1)), ("kernel_shape", Sides(1)),
        ("pads", Sides(2)), ("storage_order", Any), ("strides", Sides(1))]),
    plain("GlobalAveragePool", 1, Float), plain("GlobalMaxPool", 1, Float),
    steered("Resize", 11, Float, &[("antialias", Any), ("axes", Any), ("exclude_outside", Any),
        ("coordinate_transformation_mode", Words(&["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
            "align_corners", "asymmetric", "tf_crop_and_resize"])),
        ("cubic_coeff_a", Any), ("extrapolation_value", Any),
        ("keep_aspect_ratio_policy", Words(&["stretch", "not_larger", "not_smaller"])),
        ("mode", Words(&["nearest", "linear", "cubic"])),
        ("nearest_mode", Words(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))], &[1, 2, 3]),
    // Elements elsewhere, shapes.
    with("Transpose", 1, Moved, &[("perm", Any)]), with("Concat", 4, Moved, &[("axis", Any)]),
    with("Flatten", 1, Moved, &[("axis", Any)]), plain("Identity", 1, Moved),
    with("Gather", 1, Picked, &[("axis", Any)]),
    steered("Reshape", 5, Moved, &[("allowzero", Any)], &[1]),
    steered("Squeeze", 1, Moved, &[("axes", Any)], &[1]), steered("Unsqueeze", 1, Moved, &[("axes", Any)], &[1]),
    steered("Expand", 8, Moved, &[], &[1]), steered("Tile", 6, Moved, &[], &[1]),
    steered("Slice", 10, Moved, &[], &[1, 2, 3, 4]),
    steered("Pad", 2, Moved, &[("mode", Words(&["constant", "reflect", "edge", "wrap"])), ("pads", Any), ("value", Any)],
        &[1, 2, 3]),
    Operator { name: "Split", since: 2, types: Moved, outputs: usize::MAX, steering: &[1],
        attributes: &[("axis", Any), ("num_outputs", Any), ("split", Any)] },
    // What it drops, and that it drops, is for training.
    Operator { name: "Dropout", since: 7, types: Float, outputs: 2, steering: &[2],
        attributes: &[("ratio", Any), ("seed", Any)] },
    with("Shape", 1, Shaped, &[("start", Any), ("end", Any)]), plain("Size", 1, Shaped),
    steered("Range", 11, Steered, &[], &[0, 1, 2]),
    with("Constant", 1, Types::Stated, &[("value", Any), ("value_float", Any), ("value_floats", Any),
        ("value_int", Any), ("value_ints", Any)]),
    steered("ConstantOfShape", 9, Types::Stated, &[("value", Any)], &[0]),
];

/// What is claimed of the operator `name`.
pub fn operator(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}
