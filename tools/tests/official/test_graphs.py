"""The ONNX graphs: which operators they use, that their shapes follow from the inputs', how weights are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from zegformer_tools.official.check import Checker, CheckError, judge, session
from zegformer_tools.official.clip_graphs import image_graph, text_graph
from zegformer_tools.official.golden import tiny_reference
from zegformer_tools.official.graph import Graph
from zegformer_tools.official.onepass_graph import onepass_graph
from zegformer_tools.official.pack import Encoding, packed, quantised, store, table_bytes
from zegformer_tools.official.segmenter_graph import segmenter_graph

REFERENCE, _ = tiny_reference()
GRAPHS = {
    "segmenter": segmenter_graph(REFERENCE.segmenter),
    "image": image_graph(REFERENCE.clip),
    "onepass": onepass_graph(REFERENCE.clip),
    "text": text_graph(REFERENCE.clip),
}
ALLOWED = {
    "Add", "Conv", "Div", "LayerNormalization", "MatMul", "MaxPool", "Mul", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "Resize", "Sigmoid", "Softmax", "Sqrt", "Sub", "Transpose",
}  # fmt: skip
SIZES: dict[str, list[dict[str, int]]] = {
    "segmenter": [{"H": 64, "W": 96, "h": 2, "w": 3}, {"H": 160, "W": 32, "h": 5, "w": 1}],
    "image": [{"B": 1}, {"B": 7}],
    "onepass": [{"Q": 1}, {"Q": 9}],
    "text": [{"B": 1, "T": 4}, {"B": 5, "T": 77}],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_only_plain_operators(name: str) -> None:
    model = GRAPHS[name].model()
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= ALLOWED
    assert model.opset_import[0].version == 18
    made = {output for node in model.graph.node for output in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Reshape":
            assert node.input[1] in constants, "shapes are constants, never computed"
        assert any(value in made or value not in constants for value in node.input), f"{node.name} is a constant"


@pytest.mark.parametrize(("name", "sizes"), [(name, sizes) for name in SIZES for sizes in SIZES[name]])
def test_every_shape_follows_from_the_inputs(name: str, sizes: dict[str, int]) -> None:
    model = GRAPHS[name].model()
    for value in model.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = sizes[dimension.dim_param]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    known = {value.name: value for value in [*inferred.graph.value_info, *inferred.graph.output]}
    for node in inferred.graph.node:
        for output in node.output:
            shape = known[output].type.tensor_type.shape
            assert all(dimension.HasField("dim_value") for dimension in shape.dim), output


@pytest.mark.parametrize("name", GRAPHS)
def test_no_constant_knows_the_size_of_the_photo(name: str) -> None:
    """Every integer in a target shape is 0, -1 or a width of the architecture."""
    widths = {0, -1, 1, 2, 3, 4, 8, 12, 32, 48, 16, 17}
    for node in GRAPHS[name].model().graph.node:
        if node.op_type == "Reshape":
            assert {int(v) for v in GRAPHS[name]._ints[node.input[1]]} <= widths


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_equal_the_reference(name: str) -> None:
    checker = Checker(REFERENCE, sizes=((96, 64), (60, 130)))
    stages = getattr(checker, name)(session(GRAPHS[name]))
    judge(stages, "f32")
    assert max(stage.error / stage.scale for stage in stages) < 1e-4


@pytest.mark.parametrize("encoding", ["f16", "int8"])
@pytest.mark.parametrize("name", GRAPHS)
def test_stored_graphs_stay_close(name: str, encoding: Encoding, tmp_path: Path) -> None:
    files = store(GRAPHS[name], tmp_path, f"{name}.onnx", encoding)
    assert files == [f"{name}.onnx"]
    model = onnx.load(tmp_path / files[0])
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in stored.values():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            assert np.prod(tensor.dims) < 1024, f"{tensor.name} is still f32"
    widened = [node for node in model.graph.node if node.op_type in ("Cast", "DequantizeLinear")]
    kinds = {node.op_type for node in widened}
    assert kinds == ({"Cast"} if encoding == "f16" else {"DequantizeLinear", "Cast"} & kinds)
    assert all(node.input[0] in stored for node in widened)
    half = sum(np.prod(weight.values.shape) for weight in GRAPHS[name].weights.values()) * 2
    size = (tmp_path / files[0]).stat().st_size
    assert size < (1.25 * half + 60_000 if encoding == "f16" else 0.8 * half + 70_000)
    checker = Checker(REFERENCE, sizes=((96, 64),))
    if encoding == "f16":
        judge(getattr(checker, name)(session(tmp_path / files[0])), encoding)
    else:
        getattr(checker, name)(session(tmp_path / files[0]))


def test_large_graphs_are_split(tmp_path: Path) -> None:
    graph = GRAPHS["segmenter"]
    files = store(graph, tmp_path, "segmenter.onnx", "f16", limit=100_000)
    assert files[0] == "segmenter.onnx"
    assert files[1:] == [f"segmenter.{i}.bin" for i in range(1, len(files))]
    assert len(files) > 3
    assert all((tmp_path / name).stat().st_size <= 100_000 for name in files[1:])
    inputs = {"pixels": np.ones((1, 3, 64, 64), np.float32), "position": np.zeros((1, 32, 2, 2), np.float32)}
    whole = onnxruntime.InferenceSession(packed(graph, "f16").SerializeToString())
    for a, b in zip(session(tmp_path / files[0]).run(None, inputs), whole.run(None, inputs), strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-4)


def test_a_weight_larger_than_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than one file may have"):
        store(GRAPHS["segmenter"], tmp_path, "segmenter.onnx", "f16", limit=5_000)


def test_int8_rounds_by_half_a_step_of_its_channel() -> None:
    values = np.random.default_rng(0).normal(size=(6, 5, 3, 3)).astype(np.float32)
    values[2] = 0
    stored, scale = quantised(values, 0)
    assert stored.dtype == np.int8
    assert stored.min() >= -127
    error = np.abs(stored * scale[:, None, None, None] - values).max(axis=(1, 2, 3))
    assert (error <= 0.5001 * scale).all()
    assert (stored[2] == 0).all()


def test_f16_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    graph = Graph("overflow")
    x = graph.input("x", [1, 32])
    graph.output(graph.linear(x, "layer", np.full((32, 32), 1e6)), "y", [1, 32])
    with pytest.raises(ValueError, match=r"layer\.weight has values beyond f16's range"):
        store(graph, tmp_path, "overflow.onnx", "f16")


def test_tables_for_the_caller() -> None:
    rows = np.array([[1.0, -2.0], [0.5, 0.25], [0.0, 0.0]], np.float32)
    assert table_bytes(rows, "f16") == rows.astype("<f2").tobytes()
    data = table_bytes(rows, "int8")
    values = np.frombuffer(data[:6], np.int8).reshape(3, 2)
    scales = np.frombuffer(data[6:], "<f4")
    assert np.allclose(values * scales[:, None], rows, atol=0.01)


def test_a_wrong_graph_is_found_out() -> None:
    broken = image_graph(REFERENCE.clip)
    weight = broken.weights["visual.0.c_fc.weight"].values
    weight[:, 0] *= -1
    checker = Checker(REFERENCE, sizes=((64, 64),))
    with pytest.raises(CheckError, match="crop_embeddings"):
        judge(checker.image(session(broken)), "f32")


def test_first_layer_constants_need_no_input() -> None:
    """The first layer's self-attention sees zeros only; what it gives is in the graph as a constant."""
    names = GRAPHS["segmenter"].weights
    assert "predictor.decoder.0.start" in names
    assert not [name for name in names if name.startswith("predictor.decoder.0.self_attn")]
    assert torch.tensor(names["predictor.decoder.0.queries"].values.shape).tolist() == [1, 4, 12, 8]
