//! Operators that compute each element of the output from one element of each input.
//!
//! A value in buffer `n` is the variable `v<n>`; an operator is one statement. So fusing two operators is writing one's
//! statements after the other's.

use tera::Context;
use wonnx::onnx::NodeProto;

use super::super::attributes::{float, int, string};
use super::super::plan::Planner;
use super::super::template::{literal, render, spread};
use super::super::values::{Value, View};
use super::{Inputs, Kernel, Work, broadcast, strides};

/// Statements over broadcast inputs.
pub struct Map {
    pub inputs: Vec<View>,
    pub shape: Vec<usize>,
    pub body: Vec<String>,
    pub output: usize,
}

/// A kernel that copies `view` into the buffer `output`.
pub fn copy(view: &View, output: usize) -> Work {
    let body = vec![format!("let v{output} = v{};", view.buffer)];
    Work::Map(Map { inputs: vec![view.clone()], shape: view.shape.clone(), body, output })
}

/// A step for `node` that computes `expression` of its inputs' variables, broadcast. The inputs are different buffers.
pub fn map(
    planner: &mut Planner,
    node: &NodeProto,
    inputs: &[&Value],
    expression: impl Fn(&[String]) -> String,
) -> Result<Value, String> {
    let views: Vec<View> = inputs.iter().map(|input| planner.view(input)).collect::<Result<_, _>>()?;
    let shape = broadcast(&inputs.iter().map(|input| input.shape.as_slice()).collect::<Vec<_>>())?;
    let variables: Vec<String> = views.iter().map(|view| format!("v{}", view.buffer)).collect();
    let output = planner.buffers.names.len();
    let body = vec![format!("let v{output} = {};", expression(&variables))];
    let name = node.get_output().first().cloned().unwrap_or_default();
    Ok(planner.step(node, &name, &shape, Work::Map(Map { inputs: views, shape: shape.clone(), body, output })))
}

fn constant(value: f32) -> String {
    format!("T({})", literal(value))
}

/// Whether neither the number nor its reciprocal is rounded.
fn is_power_of_two(value: f32) -> bool {
    value.is_normal() && (1.0 / value).is_normal() && value.to_bits().trailing_zeros() >= f32::MANTISSA_DIGITS - 1
}

pub fn lower(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let operator = node.get_op_type();
    if operator == "BatchNormalization" {
        return batch_normalisation(planner, node, inputs);
    }
    if operator == "Cast" && matches!(int(node, "to", 1), 1 | 10 | 11 | 16) {
        return Ok(inputs.need(0)?.clone());
    }
    let first = inputs.need(0)?;
    let mut views = Vec::new();
    let mut terms = Vec::new();
    let mut shapes = vec![first.shape.as_slice()];
    for (at, input) in inputs.0.iter().enumerate() {
        let Some(input) = input else {
            terms.push(String::new());
            continue;
        };
        // The first input stays a buffer: a kernel needs something to read.
        match input.scalar().filter(|_| at > 0 || inputs.0.len() > 1 && first.constant.is_some()) {
            Some(value) => terms.push(constant(value)),
            None => {
                let view = planner.view(input)?;
                terms.push(format!("v{}", view.buffer));
                views.push(view);
            }
        }
        if !matches!(operator, "Clip") {
            shapes.push(&input.shape);
        }
    }
    if views.is_empty() {
        let view = planner.view(first)?;
        terms[0] = format!("v{}", view.buffer);
        views.push(view);
    }
    views.dedup();
    let mut distinct: Vec<View> = Vec::new();
    for view in views {
        match distinct.iter().find(|known| known.buffer == view.buffer) {
            Some(known) if known.shape == view.shape => {}
            Some(_) => return two_views(planner, node, inputs),
            None => distinct.push(view),
        }
    }
    let shape = broadcast(&shapes)?;
    let expression = expression(node, &terms, inputs)?;
    let output = node.get_output().first().cloned().unwrap_or_default();
    if distinct.len() >= super::MOST_BUFFERS {
        return Err(format!("{} inputs are too many", distinct.len()));
    }
    let buffer = planner.buffers.names.len();
    let body = vec![format!("let v{buffer} = {expression};")];
    Ok(planner.step(
        node,
        &output,
        &shape,
        Work::Map(Map { inputs: distinct, shape: shape.clone(), body, output: buffer }),
    ))
}

/// One buffer read under two shapes: the second becomes a copy.
fn two_views(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let mut copied: Vec<Option<Value>> = inputs.0.to_vec();
    for input in copied.iter_mut().skip(1).flatten() {
        let view = planner.view(input)?;
        let buffer = planner.buffers.names.len();
        *input = planner.step(node, &format!("copy {buffer}"), &view.shape, copy(&view, buffer));
    }
    lower(planner, node, &Inputs(&copied))
}

fn expression(node: &NodeProto, terms: &[String], inputs: &Inputs) -> Result<String, String> {
    let x = terms[0].as_str();
    let y = terms.get(1).map_or("", String::as_str);
    let two = |text: String| if y.is_empty() { Err("its second input is missing".to_string()) } else { Ok(text) };
    let fold = |function: &str| terms[1..].iter().fold(x.to_string(), |all, term| format!("{function}({all}, {term})"));
    let compare = |sign: &str| two(format!("select(T(0.0), T(1.0), {x} {sign} {y})"));
    let k = |name: &str, default: f32| constant(float(node, name, default));
    let sigmoid = |x: &str| format!("(T(1.0) / (T(1.0) + exp(min(-({x}), T(88.0)))))");
    Ok(match node.get_op_type() {
        "Add" => two(format!("{x} + {y}"))?,
        "Sub" => two(format!("{x} - {y}"))?,
        "Mul" => two(format!("{x} * {y}"))?,
        "Div" => match inputs.get(1).and_then(Value::scalar) {
            // By its reciprocal only where that is exact, or 41 / 41 would be less than 1.
            Some(divisor) if is_power_of_two(divisor) => format!("{x} * {}", constant(1.0 / divisor)),
            _ => two(format!("{x} / {y}"))?,
        },
        "Pow" => match inputs.get(1).and_then(Value::scalar) {
            Some(1.0) => x.to_string(),
            Some(2.0) => format!("{x} * {x}"),
            Some(3.0) => format!("{x} * {x} * {x}"),
            Some(0.5) => format!("sqrt({x})"),
            Some(-1.0) => format!("T(1.0) / {x}"),
            _ => two(format!("power({x}, {y})"))?,
        },
        "Min" => fold("min"),
        "Max" => fold("max"),
        "Sum" => terms.join(" + "),
        "Mean" => format!("({}) / {}", terms.join(" + "), constant(terms.len() as f32)),
        "Relu" => format!("max({x}, T(0.0))"),
        "LeakyRelu" => format!("max({x}, T(0.0)) + {} * min({x}, T(0.0))", k("alpha", 0.01)),
        "PRelu" => two(format!("max({x}, T(0.0)) + {y} * min({x}, T(0.0))"))?,
        "Elu" => format!("select({} * (exp(min({x}, T(0.0))) - T(1.0)), {x}, {x} > T(0.0))", k("alpha", 1.0)),
        "Sigmoid" => sigmoid(x),
        "HardSigmoid" => format!("clamp({} * {x} + {}, T(0.0), T(1.0))", k("alpha", 0.2), k("beta", 0.5)),
        "HardSwish" => format!("{x} * clamp({x} * {} + T(0.5), T(0.0), T(1.0))", constant(1.0 / 6.0)),
        "Tanh" => format!("hyperbolic_tangent({x})"),
        "Softplus" => format!("max({x}, T(0.0)) + log_of_one_and(exp(-abs({x})))"),
        "Exp" => format!("exp({x})"),
        "Log" => format!("log({x})"),
        "Sqrt" => format!("sqrt({x})"),
        "Reciprocal" => format!("T(1.0) / {x}"),
        "Erf" => format!("erf({x})"),
        "Gelu" => match string(node, "approximate", "none").as_str() {
            "none" => format!("T(0.5) * {x} * (T(1.0) + erf({x} * {}))", constant(std::f32::consts::FRAC_1_SQRT_2)),
            "tanh" => format!(
                "{x} * {}",
                sigmoid(&format!("{} * ({x} + T(0.044715) * {x} * {x} * {x})", constant(1.595_769)))
            ),
            other => return Err(format!("approximate = \"{other}\"")),
        },
        "Neg" => format!("-({x})"),
        "Abs" => format!("abs({x})"),
        "Sign" => format!("sign({x})"),
        "Floor" => format!("floor({x})"),
        "Ceil" => format!("ceil({x})"),
        "Round" => format!("round({x})"),
        "Sin" => format!("sin({x})"),
        "Cos" => format!("cos({x})"),
        "Clip" => {
            let bound = |at: usize, name: &str| match terms.get(at).filter(|term| !term.is_empty()) {
                Some(term) => Some(term.clone()),
                // As an attribute an infinity is no bound.
                None => node
                    .get_attribute()
                    .iter()
                    .find(|a| a.get_name() == name && a.get_f().is_finite())
                    .map(|a| constant(a.get_f())),
            };
            let mut text = x.to_string();
            if let Some(low) = bound(1, "min") {
                text = format!("max({text}, {low})");
            }
            if let Some(high) = bound(2, "max") {
                text = format!("min({text}, {high})");
            }
            text
        }
        "Equal" => compare("==")?,
        "Greater" => compare(">")?,
        "GreaterOrEqual" => compare(">=")?,
        "Less" => compare("<")?,
        "LessOrEqual" => compare("<=")?,
        "And" => two(format!("{x} * {y}"))?,
        "Or" => two(format!("max({x}, {y})"))?,
        "Not" => format!("T(1.0) - {x}"),
        "Where" => match terms.get(2).filter(|_| !y.is_empty()) {
            Some(z) => format!("select({z}, {y}, {x} != T(0.0))"),
            None => return Err("it needs three inputs".to_string()),
        },
        "Cast" if int(node, "to", 1) == 9 => format!("select(T(0.0), T(1.0), {x} != T(0.0))"),
        "Cast" => format!("trunc({x})"),
        _ => return Err("no kernel is known for this operator".to_string()),
    })
}

fn batch_normalisation(planner: &mut Planner, node: &NodeProto, inputs: &Inputs) -> Result<Value, String> {
    let x = inputs.need(0)?;
    let mut views = vec![planner.view(x)?];
    for at in 1..5 {
        let mut view = planner.view(inputs.need(at)?)?;
        view.shape.extend(std::iter::repeat_n(1, x.shape.len().saturating_sub(2)));
        views.push(view);
    }
    let shape = x.shape.clone();
    let shapes: Vec<&[usize]> = views.iter().map(|view| view.shape.as_slice()).collect();
    if broadcast(&shapes)? != shape {
        return Err("its parameters do not fit the channels".to_string());
    }
    let v: Vec<String> = views.iter().map(|view| format!("v{}", view.buffer)).collect();
    let epsilon = constant(float(node, "epsilon", 1e-5));
    let buffer = planner.buffers.names.len();
    let body = vec![format!(
        "let v{buffer} = ({} - {}) * inverseSqrt({} + {epsilon}) * {} + {};",
        v[0], v[3], v[4], v[1], v[2]
    )];
    let mut distinct: Vec<View> = Vec::new();
    for view in views {
        if !distinct.contains(&view) {
            distinct.push(view);
        }
    }
    let output = node.get_output().first().cloned().unwrap_or_default();
    let map = Map { inputs: distinct, shape: shape.clone(), body, output: buffer };
    Ok(planner.step(node, &output, &shape, Work::Map(map)))
}

/// Abramowitz and Stegun 7.1.26, error at most 1.5e-7, and near zero, where that is much, five terms of the series.
const ERF: &str =
    "fn erf(x: T) -> T { let a = min(abs(x), T(9.0)); let t = T(1.0) / (T(1.0) + 0.3275911 * a); let q = a * a;
let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
let near = a * (1.128379167 - q * (0.376126389 - q * (0.112837917 - q * (0.026866171 - q * 0.005223977))));
return sign(x) * select(T(1.0) - p * exp(-q), near, a < T(0.4)); }
";
/// As ONNX defines it for negative bases and zero exponents. A negative base has no power that is not whole: NaN, which WGSL
/// has no constant for, whence the bits.
const POWER: &str = "fn power(a: T, b: T) -> T { let p = select(pow(abs(a), b), T(1.0), b == T(0.0));
let odd = abs(b - 2.0 * floor(b * 0.5)) == T(1.0); let none = bitcast<T>((bitcast<U>(a) & U(0u)) | U(0x7fc00000u));
return select(p, select(select(none, p, floor(b) == b), -p, odd), a < T(0.0)); }
";
/// log(1 + e) for e >= 0, near zero by its series.
const LOG_OF_ONE_AND: &str = "fn log_of_one_and(e: T) -> T {
let near = e * (T(1.0) - e * (T(0.5) - e * (T(0.33333333) - e * 0.25))); return select(log(T(1.0) + e), near, e < T(0.05)); }
";

/// Near zero by its series: drivers compute tanh from exp(2x) - 1, which loses digits there.
const TANH: &str = "fn hyperbolic_tangent(x: T) -> T { let q = x * x;
let near = x * (T(1.0) - q * (T(0.33333333) - q * (T(0.13333333) - q * 0.053968254)));
return select(tanh(clamp(x, T(-20.0), T(20.0))), near, abs(x) < T(0.25)); }
";

/// The helper functions that statements call, over the shader's type T.
pub fn helpers(body: &[String]) -> String {
    [("erf(", ERF), ("power(", POWER), ("log_of_one_and(", LOG_OF_ONE_AND), ("hyperbolic_tangent(", TANH)]
        .into_iter()
        .filter(|(call, _)| body.iter().any(|statement| statement.contains(call)))
        .map(|(_, text)| text)
        .collect()
}

/// Renames the variables v<n> in order of appearance, so that equal kernels have equal text.
pub fn canonical(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut known: Vec<&str> = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
        let inside = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        if bytes[at] == b'v' && digits > 0 && !inside {
            let name = &rest[1..=digits];
            let number = known.iter().position(|other| *other == name).unwrap_or_else(|| {
                known.push(name);
                known.len() - 1
            });
            result.push_str(&format!("v{number}"));
            at += 1 + digits;
        } else {
            result.push(bytes[at] as char);
            at += 1;
        }
    }
    result
}

/// Strides of `view` inside the broadcast shape.
pub fn broadcast_strides(view: &[usize], shape: &[usize]) -> Vec<usize> {
    let own = strides(view);
    let lead = shape.len().saturating_sub(view.len());
    (0..shape.len()).map(|at| if at < lead || view[at - lead] == 1 { 0 } else { own[at - lead] }).collect()
}

/// Merges neighbouring axes that all inputs walk alike: sizes, and per input the strides.
pub fn collapse(shape: &[usize], inputs: &[Vec<usize>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut sizes: Vec<usize> = Vec::new();
    let mut walks: Vec<Vec<usize>> = vec![Vec::new(); inputs.len()];
    for (at, &size) in shape.iter().enumerate() {
        if size == 1 {
            continue;
        }
        let joins = !sizes.is_empty()
            && inputs.iter().zip(&walks).all(|(strides, walk)| walk.last() == Some(&(strides[at] * size)));
        if let (true, Some(last)) = (joins, sizes.last_mut()) {
            *last *= size;
            for (strides, walk) in inputs.iter().zip(&mut walks) {
                walk.pop();
                walk.push(strides[at]);
            }
        } else {
            sizes.push(size);
            for (strides, walk) in inputs.iter().zip(&mut walks) {
                walk.push(strides[at]);
            }
        }
    }
    if sizes.is_empty() {
        sizes.push(1);
        walks.iter_mut().for_each(|walk| walk.push(0));
    }
    (sizes, walks)
}

impl Map {
    pub fn kernel(self) -> Result<Kernel, String> {
        let own: Vec<Vec<usize>> = self.inputs.iter().map(|view| broadcast_strides(&view.shape, &self.shape)).collect();
        let (mut sizes, mut walks) = collapse(&self.shape, &own);
        let last = sizes.len() - 1;
        let vec = sizes[last] % 4 == 0
            && walks.iter().all(|walk| walk[last] <= 1 && (walk[last] == 0 || walk[..last].iter().all(|s| s % 4 == 0)));
        let mut whole = vec![false; walks.len()];
        if vec {
            sizes[last] /= 4;
            for (walk, whole) in walks.iter_mut().zip(&mut whole) {
                *whole = walk[last] == 1;
                if *whole {
                    walk[..last].iter_mut().for_each(|stride| *stride /= 4);
                }
            }
        }
        let inner = strides(&sizes);
        let count: usize = sizes.iter().product();
        let mut loads = String::new();
        let mut declarations = String::new();
        for (at, (view, walk)) in self.inputs.iter().zip(&walks).enumerate() {
            let kind = if whole[at] { "vec4<f32>" } else { "f32" };
            declarations.push_str(&format!("@group(0) @binding({at}) var<storage, read> in{at}: array<{kind}>;\n"));
            let mut terms: Vec<String> = Vec::new();
            for (axis, &stride) in walk.iter().enumerate().filter(|(_, stride)| **stride > 0) {
                let outer = if inner[axis] == 1 { "i".to_string() } else { format!("i / {}u", inner[axis]) };
                let place = if axis == 0 { outer } else { format!("{outer} % {}u", sizes[axis]) };
                terms.push(if stride == 1 { place } else { format!("({place}) * {stride}u") });
            }
            let place = if terms.is_empty() { "0u".to_string() } else { terms.join(" + ") };
            loads.push_str(&format!("let v{} = T(in{at}[{place}]);\n", view.buffer));
        }
        let code = canonical(&format!("{loads}{}\nlet result = v{};", self.body.join("\n"), self.output));
        let workgroups = spread(count, 64);
        let mut context = Context::new();
        context.insert("declarations", &declarations);
        context.insert("helpers", &helpers(&self.body));
        context.insert("binding", &self.inputs.len());
        context.insert("vec", &vec);
        context.insert("code", &code);
        context.insert("count", &count);
        context.insert("groups_x", &workgroups.0);
        Ok(Kernel { shader: render("elementwise", &context)?, workgroups })
    }
}
