//! Reading a node's attributes, with ONNX's defaults given by the caller.

use wonnx::onnx::{AttributeProto, NodeProto};

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.get_attribute().iter().find(|attribute| attribute.get_name() == name)
}

pub fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    find(node, name).map_or(default, AttributeProto::get_i)
}

pub fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    find(node, name).map_or(default, AttributeProto::get_f)
}

pub fn ints(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    find(node, name).map(|attribute| attribute.get_ints().to_vec())
}

pub fn string(node: &NodeProto, name: &str, default: &str) -> String {
    find(node, name)
        .and_then(|attribute| String::from_utf8(attribute.get_s().to_vec()).ok())
        .unwrap_or_else(|| default.to_string())
}
