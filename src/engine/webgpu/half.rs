//! Weights that stay in f16 on the GPU: those whose values f16 holds exactly, as a bundle in f16 has them, and that only
//! kernels read which know of it. They need half the memory and half its traffic, on any adapter.

use std::collections::{HashMap, HashSet};

use half::f16;
use wonnx::onnx::{ModelProto, NodeProto, TensorProto, TensorProto_DataType};

use super::values::SMALL;

/// Turns such weights of `model` to f16: their data is then pairs of f16, though they say FLOAT. Returns their names.
pub fn narrow(model: &mut ModelProto) -> HashSet<String> {
    let graph = model.mut_graph();
    // By name: whether all that read it know of f16.
    let mut known: HashMap<String, bool> = HashMap::new();
    for node in graph.get_node() {
        for (at, name) in node.get_input().iter().enumerate() {
            *known.entry(name.clone()).or_insert(true) &= reads_half(node, at);
        }
    }
    for output in graph.get_output() {
        known.remove(output.get_name());
    }
    let mut narrowed = HashSet::new();
    for tensor in graph.mut_initializer().iter_mut() {
        if known.get(tensor.get_name()) == Some(&true)
            && let Some(bytes) = exact(tensor)
        {
            tensor.set_float_data(Vec::new());
            tensor.set_raw_data(bytes);
            narrowed.insert(tensor.get_name().to_string());
        }
    }
    narrowed
}

/// Whether the kernel of `node` can read its input number `at` in f16.
fn reads_half(node: &NodeProto, at: usize) -> bool {
    match node.get_op_type() {
        "Conv" => at == 1,
        "MatMul" | "Gemm" => at < 2,
        _ => false,
    }
}

/// The f16 values, two bytes each, of a tensor of f32 if nothing is lost.
fn exact(tensor: &TensorProto) -> Option<Vec<u8>> {
    if tensor.get_data_type() != TensorProto_DataType::FLOAT as i32 {
        return None;
    }
    let narrowed = |value: f32| {
        let half = f16::from_f32(value);
        (half.to_f32() == value).then(|| half.to_le_bytes())
    };
    let floats = tensor.get_float_data();
    let raw = tensor.get_raw_data();
    if floats.len().max(raw.len() / 4) <= SMALL {
        return None; // shaders may contain it
    }
    let pairs: Option<Vec<[u8; 2]>> = if floats.is_empty() {
        raw.as_chunks().0.iter().map(|&bytes| narrowed(f32::from_le_bytes(bytes))).collect()
    } else {
        floats.iter().map(|&value| narrowed(value)).collect()
    };
    Some(pairs?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(values: Vec<f32>, reader: &str, place: usize) -> ModelProto {
        let mut tensor = TensorProto::new();
        tensor.set_name("w".to_string());
        tensor.set_data_type(TensorProto_DataType::FLOAT as i32);
        tensor.mut_dims().push(values.len() as i64);
        tensor.set_float_data(values);
        let mut node = NodeProto::new();
        node.set_op_type(reader.to_string());
        for at in 0..=place {
            node.mut_input().push(if at == place { "w".to_string() } else { format!("x{at}") });
        }
        let mut model = ModelProto::new();
        model.mut_graph().mut_node().push(node);
        model.mut_graph().mut_initializer().push(tensor);
        model
    }

    #[test]
    fn only_exact_weights_of_products_and_convolutions_are_narrowed() {
        let exact = [0.5, -1.0 / 1024.0, 65504.0, 0.0].repeat(100);
        let mut narrowed = model(exact.clone(), "MatMul", 1);
        assert_eq!(narrow(&mut narrowed).len(), 1);
        let tensor = &narrowed.get_graph().get_initializer()[0];
        assert!(tensor.get_float_data().is_empty());
        assert_eq!(tensor.get_raw_data()[..4], [0x00, 0x38, 0x00, 0x94]);

        assert!(narrow(&mut model(exact.clone(), "Add", 1)).is_empty());
        assert!(narrow(&mut model(exact.clone(), "Gemm", 2)).is_empty(), "a bias is read as f32");
        assert!(narrow(&mut model(vec![0.1; 400], "MatMul", 1)).is_empty(), "f16 has no 0.1");
        assert!(narrow(&mut model(vec![1e6; 400], "MatMul", 1)).is_empty(), "f16 ends at 65504");
        assert!(narrow(&mut model(exact[..16].to_vec(), "MatMul", 1)).is_empty(), "shaders may contain it");
    }
}
