//! What can be refused of a graph before shapes are known: unknown operators, attributes, operator sets and types.

use std::collections::{HashMap, HashSet};

use wonnx::onnx::{AttributeProto, ModelProto, NodeProto, TensorProto, TensorProto_DataType, ValueInfoProto};

use super::super::EngineError;
use super::attributes;
use super::lower::MOST_BUFFERS;
use super::operators::{Attribute, NEWEST_OPSET, Operator, Types, operator};
use super::plan::node_name;
use super::values::SMALL;

/// What the elements of a value are. All but [`Kind::Other`] travel as f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Float,
    /// int32 or int64.
    Int,
    Bool,
    /// A type of this ONNX number.
    Other(i32),
}

impl Kind {
    pub fn of(number: i32) -> Kind {
        match number {
            1 => Kind::Float,
            6 | 7 => Kind::Int,
            9 => Kind::Bool,
            other => Kind::Other(other),
        }
    }
}

/// ONNX's names of its types, by their numbers.
const NAMES: [&str; 27] = [
    "UNDEFINED",
    "FLOAT",
    "UINT8",
    "INT8",
    "UINT16",
    "INT16",
    "INT32",
    "INT64",
    "STRING",
    "BOOL",
    "FLOAT16",
    "DOUBLE",
    "UINT32",
    "UINT64",
    "COMPLEX64",
    "COMPLEX128",
    "BFLOAT16",
    "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ",
    "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ",
    "UINT4",
    "INT4",
    "FLOAT4E2M1",
    "FLOAT8E8M0",
    "UINT2",
    "INT2",
];

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Float => "FLOAT",
            Kind::Int => "INT",
            Kind::Bool => "BOOL",
            Kind::Other(number) => {
                usize::try_from(*number).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("unknown")
            }
        })
    }
}

/// What is known of a value without shapes.
#[derive(Clone, Copy)]
struct Known {
    kind: Kind,
    /// The host will know its content when it knows the shapes.
    constant: bool,
}

/// A graph that passed.
pub struct Checked {
    pub opset: i64,
    /// The types of all values.
    pub kinds: HashMap<String, Kind>,
}

/// Checks every node of `model`.
///
/// # Errors
/// [`EngineError::Unsupported`] with the operator, the node's name and the reason; [`EngineError::MissingOutput`];
/// [`EngineError::Parse`] where two values have one name.
pub fn check(model: &ModelProto) -> Result<Checked, EngineError> {
    let graph = model.get_graph();
    let opset = model
        .get_opset_import()
        .iter()
        .find(|set| matches!(set.get_domain(), "" | "ai.onnx"))
        .map_or(0, |set| set.get_version());
    let mut values: HashMap<&str, Known> = HashMap::new();
    let twice = |name: &str| EngineError::Parse(format!("\"{name}\" is defined twice"));
    for input in graph.get_input() {
        if values.insert(input.get_name(), Known { kind: declared(input), constant: false }).is_some() {
            return Err(twice(input.get_name()));
        }
    }
    let mut stored = HashSet::new();
    for tensor in graph.get_initializer() {
        // One may have the name of an input, whose value it then is.
        if !stored.insert(tensor.get_name()) {
            return Err(twice(tensor.get_name()));
        }
        values.insert(tensor.get_name(), Known { kind: Kind::of(tensor.get_data_type()), constant: is_small(tensor) });
    }
    for node in graph.get_node() {
        let refused = |reason: String| EngineError::Unsupported {
            operator: node.get_op_type().to_string(),
            node: node_name(node),
            reason,
        };
        let results = check_node(node, opset, &values).map_err(refused)?;
        for name in node.get_output().iter().filter(|name| !name.is_empty()) {
            if values.insert(name, results).is_some() {
                return Err(refused(format!("its output \"{name}\" is defined already")));
            }
        }
    }
    let mut outputs = HashSet::new();
    if let Some(output) = graph.get_output().iter().find(|output| !outputs.insert(output.get_name())) {
        return Err(twice(output.get_name()));
    }
    if let Some(output) = graph.get_output().iter().find(|output| !values.contains_key(output.get_name())) {
        return Err(EngineError::MissingOutput(output.get_name().to_string()));
    }
    let kinds = values.iter().map(|(name, known)| ((*name).to_string(), known.kind)).collect();
    Ok(Checked { opset, kinds })
}

fn declared(input: &ValueInfoProto) -> Kind {
    let kind = input.get_field_type();
    if kind.has_tensor_type() { Kind::of(kind.get_tensor_type().get_elem_type()) } else { Kind::Other(0) }
}

fn is_small(tensor: &TensorProto) -> bool {
    let floats = tensor.get_data_type() == TensorProto_DataType::FLOAT as i32;
    let count = tensor.get_dims().iter().try_fold(1i64, |count, &side| count.checked_mul(side));
    !floats || count.is_some_and(|count| count <= SMALL as i64)
}

/// What the outputs of `node` are.
fn check_node(node: &NodeProto, opset: i64, values: &HashMap<&str, Known>) -> Result<Known, String> {
    if !matches!(node.get_domain(), "" | "ai.onnx") {
        return Err(format!("it belongs to the operator set \"{}\"", node.get_domain()));
    }
    let claimed = operator(node.get_op_type()).ok_or("no kernel is known for this operator")?;
    if opset > NEWEST_OPSET {
        return Err(format!("operator set {opset}; the newest that is known is {NEWEST_OPSET}"));
    }
    if opset < claimed.since {
        return Err(format!("operator set {opset}; it is understood since {}", claimed.since));
    }
    for attribute in node.get_attribute() {
        check_attribute(claimed, attribute)?;
    }
    if node.get_output().first().is_none_or(|name| name.is_empty()) {
        return Err("it has no output".to_string());
    }
    if node.get_output().iter().skip(claimed.outputs).any(|name| !name.is_empty()) {
        return Err("only its first output is computed".to_string());
    }
    let inputs: Vec<Option<Known>> = node
        .get_input()
        .iter()
        .map(|name| match name.as_str() {
            "" => Ok(None),
            name => values.get(name).map(|known| Some(*known)).ok_or(format!("nothing computes its input \"{name}\"")),
        })
        .collect::<Result<_, _>>()?;
    for (name, input) in node.get_input().iter().zip(&inputs) {
        if let Some(Known { kind: kind @ Kind::Other(_), .. }) = input {
            return Err(format!("its input \"{name}\" has elements of type {kind}"));
        }
    }
    let mut distinct: Vec<&str> = node.get_input().iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    if matches!(claimed.name, "Min" | "Max" | "Sum" | "Mean") && distinct.len() >= MOST_BUFFERS {
        return Err(format!("{} inputs are too many", distinct.len()));
    }
    for &at in claimed.steering {
        if inputs.get(at).copied().flatten().is_some_and(|input| !input.constant) {
            return Err(format!("input {at} depends on the data"));
        }
    }
    let all_constant = inputs.iter().flatten().all(|input| input.constant);
    let data: Vec<Kind> = inputs
        .iter()
        .enumerate()
        .filter(|(at, _)| !claimed.steering.contains(at))
        .filter_map(|(_, input)| input.map(|input| input.kind))
        .collect();
    let kind = result(node, claimed, &data, inputs.first().copied().flatten(), all_constant)?;
    Ok(Known { kind, constant: all_constant || claimed.types == Types::Shaped })
}

fn check_attribute(claimed: &Operator, attribute: &AttributeProto) -> Result<(), String> {
    let name = attribute.get_name();
    let (_, allowed) = claimed
        .attributes
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| format!("its attribute \"{name}\" is not supported"))?;
    // Shaders can say no other numbers. An infinite bound is none, and padding is told in bits.
    let number = attribute.get_f();
    if !number.is_finite() && (number.is_nan() || !matches!(claimed.name, "Clip" | "Pad" | "Constant")) {
        return Err(format!("{name} {number} is not supported"));
    }
    match allowed {
        Attribute::Any => Ok(()),
        Attribute::Words(words) => match std::str::from_utf8(attribute.get_s()) {
            Ok(word) if words.contains(&word) => Ok(()),
            word => Err(format!("{name} \"{}\" is not supported", word.unwrap_or("?"))),
        },
        Attribute::Ints(numbers) if numbers.contains(&attribute.get_i()) => Ok(()),
        Attribute::Ints(_) if claimed.types == Types::Cast => {
            Err(format!("its result has elements of type {}", Kind::of(attribute.get_i() as i32)))
        }
        Attribute::Ints(_) => Err(format!("{name} {} is not supported", attribute.get_i())),
        Attribute::Sides(each) if attribute.get_ints().len() <= 2 * each => Ok(()),
        Attribute::Sides(_) => Err("only one or two spatial axes are supported".to_string()),
    }
}

/// The type of the outputs of `node` for inputs of the types `data`; `first` is its first input.
fn result(
    node: &NodeProto,
    claimed: &Operator,
    data: &[Kind],
    first: Option<Known>,
    all_constant: bool,
) -> Result<Kind, String> {
    let unfit = || {
        let list: Vec<String> = data.iter().map(ToString::to_string).collect();
        format!("elements of type {}", list.join(", "))
    };
    let alike = |data: &[Kind]| match data {
        [kind, rest @ ..] if rest.iter().all(|other| other == kind) => Ok(*kind),
        _ => Err(unfit()),
    };
    let one_of = |allowed: &[Kind]| alike(data).and_then(|kind| allowed.contains(&kind).then_some(kind).ok_or(unfit()));
    match claimed.types {
        Types::Float => one_of(&[Kind::Float]),
        Types::Steered if data.is_empty() => first.map(|input| input.kind).ok_or_else(unfit),
        Types::Steered => match one_of(&[Kind::Float, Kind::Int])? {
            Kind::Int if !all_constant => Err("it would calculate with integers, which f32 may not hold".to_string()),
            kind => Ok(kind),
        },
        Types::Ordered => one_of(&[Kind::Float, Kind::Int]),
        Types::Extreme => one_of(&[Kind::Float, Kind::Int, Kind::Bool]),
        Types::Moved => alike(data),
        Types::Picked => match data {
            [kind, Kind::Int] => Ok(*kind),
            _ => Err(unfit()),
        },
        Types::Power => match data {
            [Kind::Float, Kind::Float | Kind::Int] => Ok(Kind::Float),
            _ => Err(unfit()),
        },
        Types::Compare => alike(data).map(|_| Kind::Bool),
        Types::Logic => one_of(&[Kind::Bool]),
        Types::Where => match data {
            [Kind::Bool, a, b] if a == b => Ok(*a),
            _ => Err(unfit()),
        },
        Types::Cast => Ok(Kind::of(attributes::int(node, "to", 1) as i32)),
        Types::Shaped => Ok(Kind::Int),
        Types::Stated => stated(node),
    }
}

/// The type that Constant or ConstantOfShape states.
fn stated(node: &NodeProto) -> Result<Kind, String> {
    let Some(attribute) = node.get_attribute().first() else {
        return if node.get_op_type() == "Constant" { Err("it has no value".to_string()) } else { Ok(Kind::Float) };
    };
    Ok(match attribute.get_name() {
        "value_int" | "value_ints" => Kind::Int,
        "value_float" | "value_floats" => Kind::Float,
        _ => Kind::of(attribute.get_t().get_data_type()),
    })
}

#[cfg(test)]
mod tests {
    use wonnx::onnx::OperatorSetIdProto;

    use super::*;

    fn attribute(name: &str, number: i64, word: &str) -> AttributeProto {
        let mut attribute = AttributeProto::new();
        attribute.set_name(name.to_string());
        attribute.set_i(number);
        attribute.set_s(word.as_bytes().to_vec());
        attribute
    }

    fn not_finite(name: &str) -> AttributeProto {
        let mut attribute = attribute(name, 0, "");
        attribute.set_f(f32::INFINITY);
        attribute
    }

    /// What is said of one node that reads inputs of these types.
    fn verdict(operator: &str, opset: i64, kinds: &[i32], attributes: &[AttributeProto]) -> String {
        let mut model = ModelProto::new();
        let mut set = OperatorSetIdProto::new();
        set.set_version(opset);
        model.mut_opset_import().push(set);
        let mut node = NodeProto::new();
        node.set_op_type(operator.to_string());
        node.set_name("the node".to_string());
        node.set_attribute(attributes.to_vec().into());
        node.mut_output().push("y".to_string());
        for (at, &kind) in kinds.iter().enumerate() {
            let mut input = ValueInfoProto::new();
            input.set_name(format!("x{at}"));
            input.mut_field_type().mut_tensor_type().set_elem_type(kind);
            node.mut_input().push(format!("x{at}"));
            model.mut_graph().mut_input().push(input);
        }
        model.mut_graph().mut_node().push(node);
        match check(&model) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_needs_no_shapes_is_refused_with_operator_node_and_reason() {
        let cases = [
            (verdict("Einsum", 18, &[1], &[]), "Einsum", "no kernel"),
            (verdict("Relu", NEWEST_OPSET + 1, &[1], &[]), "Relu", "the newest that is known"),
            (verdict("Slice", 9, &[1], &[]), "Slice", "understood since 10"),
            (verdict("Relu", 18, &[10], &[]), "Relu", "type FLOAT16"),
            (verdict("Sigmoid", 18, &[7], &[]), "Sigmoid", "type INT"),
            (verdict("Add", 18, &[7, 7], &[]), "Add", "calculate with integers"),
            (verdict("Cast", 18, &[1], &[attribute("to", 11, "")]), "Cast", "type DOUBLE"),
            (verdict("Reshape", 18, &[1, 7], &[]), "Reshape", "input 1 depends on the data"),
            (verdict("Softmax", 18, &[1], &[attribute("axes", 1, "")]), "Softmax", "attribute \"axes\""),
            (verdict("Resize", 18, &[1], &[attribute("mode", 0, "area")]), "Resize", "mode \"area\""),
            (verdict("Max", 18, &[1; 8], &[]), "Max", "8 inputs are too many"),
            (verdict("LeakyRelu", 18, &[1], &[not_finite("alpha")]), "LeakyRelu", "alpha inf"),
            (
                verdict("BatchNormalization", 18, &[1; 5], &[attribute("training_mode", 1, "")]),
                "Batch",
                "training_mode 1",
            ),
        ];
        for (said, operator, reason) in cases {
            assert!(said.contains(operator) && said.contains("the node") && said.contains(reason), "{said}");
        }
    }

    #[test]
    fn what_is_claimed_passes() {
        for (operator, kinds) in [
            ("Add", &[1, 1][..]),
            ("Max", &[7, 7]),
            ("Equal", &[9, 9]),
            ("Where", &[9, 6, 6]),
            ("Gather", &[1, 7]),
            ("Pow", &[1, 6]),
        ] {
            assert_eq!(verdict(operator, 18, kinds, &[]), "");
        }
    }
}
