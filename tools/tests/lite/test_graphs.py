"""The hand-written graphs against PyTorch, with random weights instead of downloaded ones."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny import segmenter, tiny_backbone

from zegformer_tools.lite import graphs, warm
from zegformer_tools.lite.branch import SIDE, ImageBranch
from zegformer_tools.lite.export import mixed
from zegformer_tools.lite.model import sine_position
from zegformer_tools.lite.names import EMBEDDING
from zegformer_tools.official.graph import Graph
from zegformer_tools.official.pack import store

ALLOWED = {
    "Add", "AveragePool", "Clip", "Conv", "Div", "Erf", "GlobalAveragePool", "LayerNormalization", "MatMul", "Mul",
    "ReduceSum", "Relu", "Reshape", "Resize", "Sigmoid", "Softmax", "Sqrt", "Sub", "Transpose",
}  # fmt: skip


def outputs(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = graph.model()
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in graph.nodes} <= ALLOWED
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (128, 64)])
@torch.no_grad()
def test_one_segmenter_graph_serves_every_size(height, width):
    model = segmenter(tiny_backbone())
    model.namer.learned.weight.normal_(std=0.01)
    pixels = torch.randn(1, 3, height, width)
    found = model(model.backbone(pixels))
    position = sine_position(height // 16, width // 16)
    made = outputs(graphs.segmenter_graph(model), {"pixels": pixels.numpy(), "position": position.numpy()})
    np.testing.assert_allclose(made["mask_logits"], found.masks(), atol=2e-3, rtol=1e-3)
    np.testing.assert_allclose(made["segment_embeddings"], found.embeddings, atol=1e-4)
    np.testing.assert_allclose(made["background_logits"], found.background, atol=1e-3)


@pytest.mark.parametrize(("encoding", "tolerance"), [("f16", 1e-3), ("int8", 1e-2)])
@torch.no_grad()
def test_training_goes_on_from_what_a_bundle_holds(tmp_path, encoding, tolerance):
    written, read = segmenter(tiny_backbone()), segmenter(tiny_backbone())
    read.namer.words.copy_(written.namer.words)
    for parameter in written.parameters():
        parameter.normal_()
    store(graphs.segmenter_graph(written), tmp_path, "segmenter.onnx", encoding)
    branch, other = (ImageBranch(tiny_backbone(), written.namer.words) for _ in range(2))
    for parameter in branch.parameters():
        parameter.normal_()
    store(graphs.image_graph(branch), tmp_path, "image.onnx", encoding)
    parts = {part: {"graph": f"{part}.onnx"} for part in ("segmenter", "image")}
    (tmp_path / "bundle.json").write_text(json.dumps(parts))
    warm.load_image(other, tmp_path)
    back = dict(other.named_parameters())
    for name, parameter in branch.named_parameters():
        assert (back[name] - parameter).abs().max() <= tolerance * parameter.abs().max(), name
    warm.load(read, tmp_path)
    kept = dict(read.named_parameters())
    for name, parameter in written.named_parameters():
        assert (kept[name] - parameter).abs().max() < tolerance * parameter.abs().max(), name


def test_weights_between_two_trainings():
    states = [
        {"weight": torch.tensor([1.0, 2.0]), "bias": torch.tensor(3.0)},
        {"weight": torch.tensor([3.0, 0.0]), "bias": torch.tensor(-1.0)},
    ]
    assert mixed(states[:1], 0.5)["weight"].tolist() == [1.0, 2.0]
    found = mixed(states, 0.25)
    assert found["weight"].tolist() == [1.5, 1.5]
    assert found["bias"].item() == 2.0


@torch.no_grad()
def test_image_graph():
    branch = ImageBranch(tiny_backbone(), torch.randn(10, EMBEDDING))
    branch.shrink.weight.normal_(std=0.1)
    crops = torch.randn(3, 3, SIDE, SIDE)
    expected = branch(crops)
    made = outputs(graphs.image_graph(branch), {"crops": crops.numpy()})
    np.testing.assert_allclose(made["crop_embeddings"], expected, atol=1e-4)


@torch.no_grad()
def test_text_graph_ignores_padding():
    torch.manual_seed(0)
    mean = np.random.default_rng(0).normal(size=EMBEDDING).astype(np.float32) * 0.01
    graph = graphs.text_graph(_tiny_sentence_encoder(), mean)
    tokens = np.random.default_rng(1).normal(size=(1, 5, EMBEDDING)).astype(np.float32)
    short = {
        "tokens": tokens,
        "attention_bias": np.zeros((1, 1, 5, 5), np.float32),
        "pooling": np.full((1, 5), 0.2, np.float32),
    }
    bias = np.zeros((1, 1, 8, 8), np.float32)
    bias[..., 5:] = -1e4
    padded = {
        "tokens": np.pad(tokens, ((0, 0), (0, 3), (0, 0))),
        "attention_bias": bias,
        "pooling": np.pad(short["pooling"], ((0, 0), (0, 3))),
    }
    one, other = outputs(graph, short)["text_embeddings"], outputs(graph, padded)["text_embeddings"]
    np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(one), 1, atol=1e-5)


def _tiny_sentence_encoder() -> SimpleNamespace:
    nn = torch.nn

    def norm() -> torch.nn.LayerNorm:
        return nn.LayerNorm(EMBEDDING)

    def dense(inputs: int, out: int, **others: object) -> SimpleNamespace:
        return SimpleNamespace(dense=nn.Linear(inputs, out), **others)

    own = SimpleNamespace(**{part: nn.Linear(EMBEDDING, EMBEDDING) for part in ("query", "key", "value")})
    layer = SimpleNamespace(
        attention=SimpleNamespace(self=own, output=dense(EMBEDDING, EMBEDDING, LayerNorm=norm())),
        intermediate=dense(EMBEDDING, 32),
        output=dense(32, EMBEDDING, LayerNorm=norm()),
    )
    return SimpleNamespace(
        config=SimpleNamespace(num_attention_heads=12),
        embeddings=SimpleNamespace(LayerNorm=norm()),
        encoder=SimpleNamespace(layer=[layer]),
    )
