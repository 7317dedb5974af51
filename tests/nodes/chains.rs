//! What follows a product, a convolution or anything else is fused into its kernel: the numbers stay those of the CPU.

use zegformer::engine::webgpu::Tuning;

use super::draft::{Draft, float, int, list};
use crate::{device, difference};

/// Adds a node with a result of this shape to a draft, and gives its name.
type Producer = (&'static str, &'static [usize], fn(&mut Draft) -> String);

fn conv(draft: &mut Draft, image: &[usize], weights: &[usize], groups: i64, bias: bool) -> String {
    let (x, w) = (draft.data(image), draft.weights(weights));
    let pads = [(weights[2] / 2) as i64; 4];
    let attributes = [int("group", groups), list("pads", &pads), list("strides", &[1, 1]), list("dilations", &[1, 1])];
    if bias {
        let b = draft.weights(&[weights[0]]);
        return draft.node("Conv", &[&x, &w, &b], &attributes);
    }
    draft.node("Conv", &[&x, &w], &attributes)
}

fn gemm(draft: &mut Draft, c: &[usize], alpha: f32, beta: f32) -> String {
    let (a, b) = (draft.data(&[6, 9]), draft.weights(&[9, 8]));
    let attributes = [float("alpha", alpha), float("beta", beta)];
    if c.is_empty() {
        return draft.node("Gemm", &[&a, &b], &attributes);
    }
    let c = draft.weights(c);
    draft.node("Gemm", &[&a, &b, &c], &attributes)
}

fn two(draft: &mut Draft, operator: &str, a: &[usize], b: &[usize]) -> String {
    let (a, b) = (draft.data(a), draft.data(b));
    draft.node(operator, &[&a, &b], &[])
}

const PRODUCERS: &[Producer] = &[
    ("MatMul", &[5, 12], |draft| two(draft, "MatMul", &[5, 8], &[8, 12])),
    ("MatMul of odd sizes", &[3, 7], |draft| two(draft, "MatMul", &[3, 5], &[5, 7])),
    ("MatMul of stacks", &[2, 3, 4], |draft| two(draft, "MatMul", &[2, 3, 5], &[2, 5, 4])),
    ("MatMul of rows of stacks", &[2, 3, 4], |draft| two(draft, "MatMul", &[2, 3, 5], &[5, 4])),
    ("Gemm", &[6, 8], |draft| gemm(draft, &[], 1.0, 1.0)),
    ("Gemm with a beta and nothing to scale", &[6, 8], |draft| gemm(draft, &[], 2.0, 0.5)),
    ("Gemm with a beta of 0 and nothing to scale", &[6, 8], |draft| gemm(draft, &[], 1.0, 0.0)),
    ("Gemm with a C that counts for nothing", &[6, 8], |draft| gemm(draft, &[8], 1.0, 0.0)),
    ("Gemm with a scaled C", &[6, 8], |draft| gemm(draft, &[6, 8], 0.5, 3.0)),
    ("Gemm with a row", &[6, 8], |draft| gemm(draft, &[8], 0.5, 3.0)),
    ("Conv", &[2, 6, 5, 7], |draft| conv(draft, &[2, 3, 5, 7], &[6, 3, 3, 3], 1, false)),
    ("Conv with a bias", &[2, 6, 5, 7], |draft| conv(draft, &[2, 3, 5, 7], &[6, 3, 3, 3], 1, true)),
    ("Conv in groups", &[1, 6, 5, 4], |draft| conv(draft, &[1, 6, 5, 4], &[6, 1, 3, 3], 6, true)),
    ("Conv of 1 x 1", &[2, 6, 5, 4], |draft| conv(draft, &[2, 3, 5, 4], &[6, 3, 1, 1], 1, true)),
    ("Conv of 1 x 1 of a row", &[1, 6, 1, 8], |draft| conv(draft, &[1, 3, 1, 8], &[6, 3, 1, 1], 1, false)),
    ("Conv by Winograd", &[1, 32, 6, 8], |draft| conv(draft, &[1, 32, 6, 8], &[32, 32, 3, 3], 1, true)),
    ("Mul", &[4, 6], |draft| two(draft, "Mul", &[4, 6], &[6])),
    ("Softmax", &[4, 6], |draft| {
        let x = draft.data(&[4, 6]);
        draft.node("Softmax", &[&x], &[])
    }),
];

/// What may follow a value of this shape.
const FOLLOWERS: &[&str] = &[
    "bias",
    "bias first",
    "channels",
    "residual",
    "residual first",
    "scalar",
    "scale",
    "gain",
    "less",
    "twice",
    "Relu",
    "Gelu",
    "Clip",
    "Div",
];

/// And then.
const AFTER_THAT: &[&str] = &["bias", "residual first", "scale", "less", "twice", "Relu"];

fn follow(draft: &mut Draft, what: &str, value: &str, shape: &[usize]) -> String {
    let last = shape[shape.len() - 1];
    let first = |draft: &mut Draft, operator: &str, other: String, turned: bool| {
        let inputs = if turned { [other.as_str(), value] } else { [value, other.as_str()] };
        draft.node(operator, &inputs, &[])
    };
    match what {
        "bias" | "bias first" => {
            let bias = draft.weights(&[last]);
            first(draft, "Add", bias, what != "bias")
        }
        "channels" => {
            let sides: Vec<usize> = (1..shape.len()).map(|at| if at == 1 { shape[1] } else { 1 }).collect();
            let bias = draft.weights(&sides);
            first(draft, "Add", bias, false)
        }
        "residual" | "residual first" => {
            let other = draft.data(shape);
            first(draft, "Add", other, what != "residual")
        }
        "scalar" => {
            let number = draft.constant(&[], &[0.75]);
            first(draft, "Add", number, true)
        }
        "scale" => {
            let number = draft.constant(&[1], &[-1.5]);
            first(draft, "Mul", number, false)
        }
        "gain" => {
            let gain = draft.weights(&[last]);
            first(draft, "Mul", gain, false)
        }
        "less" => {
            let other = draft.weights(shape);
            first(draft, "Sub", other, true)
        }
        "twice" => draft.node("Add", &[value, value], &[]),
        "Clip" => {
            let (low, high) = (draft.constant(&[], &[-0.5]), draft.constant(&[], &[1.25]));
            draft.node("Clip", &[value, &low, &high], &[])
        }
        "Div" => {
            let number = draft.constant(&[], &[3.0]);
            first(draft, "Div", number, false)
        }
        operator => draft.node(operator, &[value], &[]),
    }
}

#[test]
fn what_follows_is_fused_and_stays_right() {
    let device = device();
    let mut failures = Vec::new();
    for (name, shape, produce) in PRODUCERS {
        // One graph with all pairs, each of a producer of its own: what two read is not fused.
        let mut draft = Draft::default();
        let mut chains = Vec::new();
        for one in FOLLOWERS {
            for two in [None].into_iter().chain(AFTER_THAT.iter().map(Some)) {
                let produced = produce(&mut draft);
                let mut value = follow(&mut draft, one, &produced, shape);
                if let Some(two) = two {
                    value = follow(&mut draft, two, &value, shape);
                }
                draft.output(&value);
                chains.push(format!("{name}, {one}, {two:?}"));
            }
        }
        let expected = draft.on_cpu().expect("rten runs it");
        for tuning in [Tuning::SOFTWARE, Tuning::GRAPHICS] {
            let found = draft.on_gpu(&device.clone().tuned(tuning)).unwrap_or_else(|error| panic!("{name}: {error}"));
            for ((chain, (_, expected)), (_, found)) in chains.iter().zip(&expected).zip(&found) {
                let off = difference(expected, found);
                if off > 1e-3 {
                    failures.push(format!("{chain} is off by {off}, software: {}", tuning.software));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
}

/// What is asked for as an output, or read twice, is not swallowed by what follows it.
#[test]
fn what_is_read_elsewhere_is_not_fused_away() {
    let device = device();
    for (name, shape, produce) in PRODUCERS {
        let mut draft = Draft::default();
        let value = produce(&mut draft);
        let sum = follow(&mut draft, "bias", &value, shape);
        let last = follow(&mut draft, "Relu", &sum, shape);
        for output in [&last, &value] {
            draft.output(output);
        }
        let value = produce(&mut draft);
        let (one, two) = (follow(&mut draft, "bias", &value, shape), follow(&mut draft, "Relu", &value, shape));
        let both = draft.node("Add", &[&one, &two], &[]);
        draft.output(&both);
        let expected = draft.on_cpu().expect("rten runs it");
        let found = draft.on_gpu(&device).unwrap_or_else(|error| panic!("{name}: {error}"));
        for ((output, expected), (_, found)) in expected.iter().zip(&found) {
            assert!(difference(expected, found) < 1e-3, "{name}: {output}");
        }
    }
}
