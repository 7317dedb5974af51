//! Weights on the wire: f16, int8 and side files become the same f32 that a runtime would compute.

use std::collections::HashMap;

use half::f16;
use protobuf::{Message, RepeatedField};
use wonnx::onnx::{
    AttributeProto, AttributeProto_AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorProto_DataLocation, ValueInfoProto,
};
use zegformer::engine::cpu::CpuGraph;
use zegformer::engine::{Graph, Tensor, weights};

const FLOAT: i32 = 1;
const INT8: i32 = 3;
const FLOAT16: i32 = 10;

fn initializer(name: &str, kind: i32, dims: &[i64], raw: Vec<u8>) -> TensorProto {
    let mut tensor = TensorProto::new();
    tensor.set_name(name.into());
    tensor.set_data_type(kind);
    tensor.set_dims(dims.to_vec());
    tensor.set_raw_data(raw);
    tensor
}

fn node(operator: &str, inputs: &[&str], output: &str, attribute: Option<(&str, i64)>) -> NodeProto {
    let mut node = NodeProto::new();
    node.set_name(format!("{operator}_{output}"));
    node.set_op_type(operator.into());
    node.set_input(inputs.iter().map(|name| name.to_string()).collect());
    node.set_output(RepeatedField::from_vec(vec![output.to_string()]));
    if let Some((name, value)) = attribute {
        let mut attribute = AttributeProto::new();
        attribute.set_name(name.into());
        attribute.set_field_type(AttributeProto_AttributeType::INT);
        attribute.set_i(value);
        node.mut_attribute().push(attribute);
    }
    node
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let mut info = ValueInfoProto::new();
    info.set_name(name.into());
    let tensor = info.mut_field_type().mut_tensor_type();
    tensor.set_elem_type(FLOAT);
    for &side in dims {
        let mut dim = wonnx::onnx::TensorShapeProto_Dimension::new();
        dim.set_dim_value(side);
        tensor.mut_shape().mut_dim().push(dim);
    }
    info
}

fn model(initializers: Vec<TensorProto>, nodes: Vec<NodeProto>, input: &[i64], output: &[i64]) -> Vec<u8> {
    let mut graph = GraphProto::new();
    graph.set_name("weights".into());
    graph.set_initializer(initializers.into());
    graph.set_node(nodes.into());
    graph.mut_input().push(value("x", input));
    graph.mut_output().push(value("y", output));
    let mut opset = OperatorSetIdProto::new();
    opset.set_version(18);
    let mut model = ModelProto::new();
    model.set_ir_version(8);
    model.mut_opset_import().push(opset);
    model.set_graph(graph);
    model.write_to_bytes().expect("a model in memory")
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// y = x * dequantised w, on the CPU engine.
fn run(model: &[u8], files: &HashMap<String, Vec<u8>>, x: Tensor) -> Vec<f32> {
    let (model, _) = weights::parse(model).expect("a model");
    let model = weights::widen(model, files).expect("known weights");
    let mut graph = CpuGraph::load(model).expect("a graph that rten knows");
    let outputs = pollster::block_on(graph.run(&[("x", &x)])).expect("a run");
    outputs[0].1.data().to_vec()
}

#[test]
fn f16_is_widened() {
    let values = [1.5f32, -0.25, 3.0, 65504.0];
    let raw = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    let bytes = model(
        vec![initializer("w16", FLOAT16, &[1, 4], raw)],
        vec![node("Cast", &["w16"], "w", Some(("to", 1))), node("Mul", &["x", "w"], "y", None)],
        &[1, 4],
        &[1, 4],
    );
    let x = Tensor::new([1, 4], vec![2.0, 2.0, -1.0, 0.5]).expect("a tensor");
    assert_eq!(run(&bytes, &HashMap::new(), x), [3.0, -0.5, -3.0, 32752.0]);
}

#[test]
fn int8_is_widened_per_channel_of_its_axis() {
    let quantised: Vec<u8> = [1i8, -2, 127, -128, 5, 6].iter().map(|&v| v as u8).collect();
    let (scales, axis) = ([0.5f32, 2.0, 0.25], 1);
    let bytes = model(
        vec![initializer("w8", INT8, &[2, 3], quantised), initializer("scale", FLOAT, &[3], f32_bytes(&scales))],
        vec![
            node("DequantizeLinear", &["w8", "scale"], "w", Some(("axis", axis))),
            node("Mul", &["x", "w"], "y", None),
        ],
        &[2, 3],
        &[2, 3],
    );
    let x = Tensor::new([2, 3], vec![1.0; 6]).expect("a tensor");
    assert_eq!(run(&bytes, &HashMap::new(), x), [0.5, -4.0, 31.75, -64.0, 10.0, 1.5]);
}

fn external(place: &[(&str, &str)]) -> Vec<u8> {
    let mut tensor = initializer("w", FLOAT, &[1, 2], Vec::new());
    tensor.clear_raw_data();
    tensor.set_data_location(TensorProto_DataLocation::EXTERNAL);
    for (key, value) in place {
        let mut entry = StringStringEntryProto::new();
        entry.set_key(key.to_string());
        entry.set_value(value.to_string());
        tensor.mut_external_data().push(entry);
    }
    model(vec![tensor], vec![node("Mul", &["x", "w"], "y", None)], &[1, 2], &[1, 2])
}

#[test]
fn side_files_are_read_at_their_offset() {
    let bytes = external(&[("location", "weights.bin"), ("offset", "4"), ("length", "8")]);
    let (_, files) = weights::parse(&bytes).expect("a model");
    assert_eq!(files, ["weights.bin"]);
    let side = HashMap::from([("weights.bin".to_string(), f32_bytes(&[9.0, 3.0, 4.0, 9.0]))]);
    let x = Tensor::new([1, 2], vec![1.0, 10.0]).expect("a tensor");
    assert_eq!(run(&bytes, &side, x), [3.0, 40.0]);
}

#[test]
fn a_weight_that_does_not_fit_is_named() {
    let beyond = external(&[("location", "weights.bin"), ("offset", "12"), ("length", "8")]);
    let overflow = external(&[("location", "weights.bin"), ("offset", "18446744073709551615"), ("length", "8")]);
    let side = HashMap::from([("weights.bin".to_string(), vec![0; 16])]);
    for (bytes, files) in [(&beyond, &side), (&overflow, &side), (&beyond, &HashMap::new())] {
        let (model, _) = weights::parse(bytes).expect("a model");
        let error = weights::widen(model, files).expect_err("no such place").to_string();
        assert!(error.contains("weight \"w\""), "{error}");
    }
    let wrong_scales = model(
        vec![initializer("w8", INT8, &[2, 3], vec![0; 6]), initializer("scale", FLOAT, &[2], f32_bytes(&[1.0, 1.0]))],
        vec![node("DequantizeLinear", &["w8", "scale"], "w", Some(("axis", 1))), node("Mul", &["x", "w"], "y", None)],
        &[2, 3],
        &[2, 3],
    );
    let (model, _) = weights::parse(&wrong_scales).expect("a model");
    let error = weights::widen(model, &HashMap::new()).expect_err("scales do not fit").to_string();
    assert!(error.contains("w8") && error.contains("axis 1"), "{error}");
}

#[test]
fn what_is_no_model_is_refused() {
    assert!(weights::parse(b"").is_err());
    assert!(weights::parse(b"<html>404</html>").is_err());
}

/// A list of numbers is held against the shape as raw bytes are, whatever the weight is stored as.
#[test]
fn a_weight_that_does_not_fill_its_shape_is_refused() {
    let mul = || node("Mul", &["x", "w"], "y", None);
    let mut short = initializer("w", FLOAT, &[1, 4], Vec::new());
    short.set_float_data(vec![1.0; 3]);
    let mut short16 = initializer("w16", FLOAT16, &[1, 4], Vec::new());
    short16.set_int32_data(vec![0x3c00; 3]);
    let mut short8 = initializer("w8", INT8, &[1, 4], Vec::new());
    short8.set_int32_data(vec![1; 5]);
    let scale = initializer("scale", FLOAT, &[1], f32_bytes(&[0.5]));
    let half = initializer("w16", FLOAT16, &[1, 4], vec![0; 7]);
    let negative = initializer("w", FLOAT, &[-1, -4], f32_bytes(&[1.0; 4]));
    let widened = |tensor: TensorProto| (vec![tensor], vec![node("Cast", &["w16"], "w", Some(("to", 1))), mul()]);
    let dequantised = vec![node("DequantizeLinear", &["w8", "scale"], "w", None), mul()];
    for (weight, (tensors, nodes)) in [
        ("w", (vec![short.clone()], vec![mul()])),
        ("w16", widened(short16)),
        ("w16", widened(half)),
        ("w8", (vec![short8, scale], dequantised)),
        ("w", (vec![negative], vec![mul()])),
        ("w", (vec![initializer("w", FLOAT, &[1], f32_bytes(&[1.0])); 2], vec![mul()])),
    ] {
        let (model, _) = weights::parse(&model(tensors, nodes, &[1, 4], &[1, 4])).expect("a model");
        let error = weights::widen(model, &HashMap::new()).expect_err("a wrong weight").to_string();
        assert!(error.starts_with(&format!("weight \"{weight}\": ")), "{error}");
    }
}

#[test]
fn what_widens_a_weight_and_has_no_output_is_refused() {
    let mut cast = node("Cast", &["w16"], "w", Some(("to", 1)));
    cast.clear_output();
    let half = initializer("w16", FLOAT16, &[1, 4], vec![0; 8]);
    let bytes = model(vec![half], vec![cast], &[1, 4], &[1, 4]);
    let (model, _) = weights::parse(&bytes).expect("a model");
    let error = weights::widen(model, &HashMap::new()).expect_err("nothing comes of it").to_string();
    assert!(error.contains("w16") && error.contains("no output"), "{error}");
}
