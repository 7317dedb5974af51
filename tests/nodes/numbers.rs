//! Numbers at the ends of f32.

use zegformer::engine::webgpu::Tuning;

use super::draft::{Draft, float, list};
use crate::device;

const INFINITY: f32 = f32::INFINITY;

/// What a draft of one node gives on the GPU, with either kind of kernels.
pub fn of(draft: &Draft) -> Vec<f32> {
    let device = device();
    let run = |tuning: Tuning| {
        let results = draft.on_gpu(&device.clone().tuned(tuning)).unwrap_or_else(|error| panic!("{error}"));
        results[0].1.data().to_vec()
    };
    let found = run(Tuning::SOFTWARE);
    let bits = |values: &[f32]| {
        values.iter().map(|value| value.is_nan() || *value == 0.0 || value.is_infinite()).collect::<Vec<_>>()
    };
    let on_cards = run(Tuning::GRAPHICS);
    assert_eq!(bits(&found), bits(&on_cards), "{found:?}, {on_cards:?}");
    found
}

/// The output of `operator` of one input.
fn one(operator: &str, shape: &[usize], values: &[f32]) -> Vec<f32> {
    let mut draft = Draft::default();
    let x = draft.input(shape, values);
    let y = draft.node(operator, &[&x], &[]);
    draft.output(&y);
    of(&draft)
}

#[test]
fn rows_of_the_least_numbers_are_rows_like_others() {
    for n in [3, 64, 200] {
        let found = one("Softmax", &[2, n], &vec![f32::MIN; 2 * n]);
        assert!(found.iter().all(|value| (value * n as f32 - 1.0).abs() < 1e-5), "{found:?}");
        assert_eq!(one("ReduceMax", &[1, n], &vec![-INFINITY; n]), [-INFINITY]);
        assert_eq!(one("ReduceMin", &[1, n], &vec![INFINITY; n]), [INFINITY]);
    }
    assert_eq!(one("Softmax", &[1, 3], &[-INFINITY, 0.0, f32::MIN]), [0.0, 1.0, 0.0]);
    assert_eq!(one("GlobalMaxPool", &[1, 1, 2, 2], &[-INFINITY; 4]), [-INFINITY]);
    let mut draft = Draft::default();
    let x = draft.input(&[1, 1, 2, 2], &[-INFINITY, f32::MIN, -INFINITY, -INFINITY]);
    let y = draft.node("MaxPool", &[&x], &[list("kernel_shape", &[2, 1])]);
    draft.output(&y);
    assert_eq!(of(&draft), [-INFINITY, f32::MIN]);
}

#[test]
fn constants_at_the_ends_are_kept() {
    for value in [-INFINITY, INFINITY, f32::MIN, f32::MAX, 1e-45] {
        let mut draft = Draft::default();
        let x = draft.input(&[3], &[value, 1.0, -1.0]);
        let number = draft.constant(&[], &[value]);
        let same = draft.node("Equal", &[&x, &number], &[]);
        let y = draft.node("Where", &[&same, &x, &number], &[]);
        let least = draft.node("Max", &[&x, &number], &[]);
        draft.output(&y);
        draft.output(&least);
        let results = draft.on_gpu(&device()).unwrap_or_else(|error| panic!("{value}: {error}"));
        // Some adapters take what is nearly nothing for nothing.
        let close = |found: f32| found == value || value.abs() < 1e-37 && found.abs() < 1e-37;
        assert!(results[0].1.data().iter().all(|&found| close(found)), "{value}: {results:?}");
        assert!(close(results[1].1.data()[0]) && results[1].1.data()[1] == value.max(1.0), "{value}: {results:?}");
        if value.abs() > 1.0 {
            let mut draft = Draft::default();
            let x = draft.input(&[2], &[1.0, 2.0]);
            let (pads, number) = (draft.ints(&[0, 1]), draft.constant(&[], &[value]));
            let y = draft.node("Pad", &[&x, &pads, &number], &[]);
            draft.output(&y);
            assert_eq!(of(&draft), [1.0, 2.0, value]);
        }
    }
    let mut draft = Draft::default();
    let x = draft.input(&[2], &[-3.0, 5.0]);
    let y = draft.node("Clip", &[&x], &[float("min", -INFINITY), float("max", 4.0)]);
    draft.output(&y);
    assert_eq!(of(&draft), [-3.0, 4.0]);
}

#[test]
fn powers_of_negative_bases_are_whole_or_none() {
    let bases = [-8.0, -2.0, 4.0, 0.0];
    let power = |exponent: f32, as_tensor: bool| {
        let mut draft = Draft::default();
        let x = draft.input(&[4], &bases);
        let e = if as_tensor { draft.constant(&[4], &[exponent; 4]) } else { draft.constant(&[], &[exponent]) };
        let y = draft.node("Pow", &[&x, &e], &[]);
        draft.output(&y);
        of(&draft)
    };
    for exponent in [1.5f32, 0.25, 0.5, 2.0, 3.0, 5.0, 4.0] {
        for as_tensor in [false, true] {
            for (found, base) in power(exponent, as_tensor).into_iter().zip(bases) {
                let expected = base.powf(exponent);
                let close = (found - expected).abs() <= 1e-4 * expected.abs() || found.is_nan() && expected.is_nan();
                assert!(close, "{base} to the {exponent} is {found}, not {expected}");
            }
        }
    }
}

#[test]
fn what_divides_evenly_is_whole() {
    let values: Vec<f32> = (1..=200).map(|at| at as f32 * 41.0).collect();
    let mut draft = Draft::default();
    let x = draft.input(&[200], &values);
    let number = draft.constant(&[], &[41.0]);
    let quotient = draft.node("Div", &[&x, &number], &[]);
    let y = draft.node("Floor", &[&quotient], &[]);
    draft.output(&y);
    assert_eq!(of(&draft), (1..=200).map(|at| at as f32).collect::<Vec<f32>>());
}
