"""The three networks as ONNX graphs whose shapes follow from their inputs' shapes alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..official.graph import Graph
from .branch import RESIDUAL, SHARPNESS, SIDE, ImageBranch
from .features import backbone_nodes, clip, convolution
from .model import DIM, FINE, HEADS, MASK_BIAS_LIMIT, QUERIES, Attention, Layer, Namer, PixelDecoder, Segmenter
from .names import EMBEDDING


def linear(graph: Graph, x: str, name: str, layer: nn.Linear) -> str:
    return graph.linear(x, name, layer.weight.T.numpy(), layer.bias.numpy())


def namer_nodes(graph: Graph, pooled: str, namer: Namer) -> str:
    """ImageNet's verdict in words, and the learned part."""
    classifier, bias = _tensor(namer.classifier), _tensor(namer.classifier_bias)
    said = verdict_nodes(graph, pooled, classifier, bias, _tensor(namer.words) * _tensor(namer.trust))
    return graph.node("Add", [said, linear(graph, pooled, "namer.learned", namer.learned)], "namer.sum")


def verdict_nodes(graph: Graph, pooled: str, classifier: Tensor, bias: Tensor, words: Tensor) -> str:
    """ImageNet's probabilities times the vectors of its names."""
    logits = graph.linear(pooled, "verdict.classifier", classifier.T.numpy(), bias.numpy())
    return graph.linear(graph.node("Softmax", [logits], "verdict", axis=-1), "verdict.words", words.numpy())


def _tensor(value: Any) -> Tensor:
    assert isinstance(value, Tensor)
    return value.detach()


@torch.no_grad()
def segmenter_graph(model: Segmenter) -> Graph:
    """pixels [1, 3, H, W], position [1, DIM, H/16, W/16] to masks, embeddings and background logits."""
    graph = Graph("segmenter")
    pixels = graph.input("pixels", [1, 3, "H", "W"])
    position = graph.input("position", [1, DIM, "H/16", "W/16"])
    features = backbone_nodes(graph, pixels, model.backbone)
    fine, memory_map = pixel_decoder_nodes(graph, features, model.pixels)

    def rows(x: str, name: str) -> str:
        return graph.transpose(graph.reshape(x, [0, 0, -1], f"{name}.flat"), (0, 2, 1), f"{name}.rows")

    memory = rows(memory_map, "memory")
    keys = rows(graph.node("Add", [memory_map, position], "memory.placed"), "memory.keys")
    quarter = graph.node("AveragePool", [fine], "masks.coarse", kernel_shape=[4, 4], strides=[4, 4])
    coarse = graph.reshape(quarter, [0, 0, -1], "masks.coarse.flat")
    place = graph.weight("queries.place", model.place[None].numpy())
    start = model.content[None].detach()
    x = graph.weight("queries.start", start.numpy())
    vectors = graph.weight("queries.start.masks", model.mask_vectors(start).numpy())
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        name = f"layer{index}"
        bias = clip(graph, graph.node("MatMul", [vectors, coarse], f"{name}.masks"), -MASK_BIAS_LIMIT, 0)
        bias = graph.reshape(bias, [1, 1, QUERIES, -1], f"{name}.bias")
        asked = graph.node("Add", [x, place], f"{name}.cross.asked")
        y = attention_nodes(graph, asked, keys, memory, f"{name}.cross", layer.cross, bias)
        x = joined(graph, x, y, f"{name}.norm1", layer.norm1)
        asked = graph.node("Add", [x, place], f"{name}.own.asked")
        y = attention_nodes(graph, asked, asked, x, f"{name}.own", layer.own)
        x = joined(graph, x, y, f"{name}.norm2", layer.norm2)
        y = graph.relu(linear(graph, x, f"{name}.widen", layer.widen))
        x = joined(graph, x, linear(graph, y, f"{name}.shrink", layer.shrink), f"{name}.norm3", layer.norm3)
        vectors = x
        for part, mask in enumerate((model.mask1, model.mask2, model.mask3)):
            # The head is shared by the layers; names must differ.
            vectors = linear(graph, vectors, f"{name}.mask{part}", mask)
            vectors = graph.relu(vectors) if part < 2 else vectors

    background = linear(graph, x, "background", model.background)
    graph.output(graph.reshape(background, [0, -1], "background.row"), "background_logits", [1, QUERIES])

    # One product a row of the map: so the map's sides need not be known to put it together again.
    kernels = graph.reshape(vectors, [1, 1, QUERIES, FINE], "masks.kernels")
    lines = graph.transpose(fine, (0, 2, 1, 3), "masks.lines_of_features")
    masks = graph.transpose(graph.node("MatMul", [kernels, lines], "masks.lines"), (0, 2, 1, 3), "masks")
    graph.output(masks, "mask_logits", [1, QUERIES, "H/4", "W/4"])

    soft = graph.node("Sigmoid", ["mask_logits"], "share.soft")
    share = graph.node("AveragePool", [soft], "share.pooled", kernel_shape=[8, 8], strides=[8, 8])
    share = graph.reshape(share, [0, 0, -1], "share.flat")
    total = graph.node("ReduceSum", [share, graph.ints([-1])], "share.total", keepdims=1)
    total = graph.node("Add", [total, graph.weight("share.epsilon", [1e-4])], "share.safe")
    share = graph.node("Div", [share, total], "share")
    wide = rows(convolution(graph, features[32], model.backbone.head), "wide")
    pooled = graph.node("MatMul", [share, wide], "pooled")
    named = namer_nodes(graph, pooled, model.namer)
    named = graph.node("Add", [named, linear(graph, x, "name", model.name)], "named")
    graph.output(graph.unit_rows(named, "embeddings"), "segment_embeddings", [1, QUERIES, EMBEDDING])
    return graph


def pixel_decoder_nodes(graph: Graph, features: dict[int, str], decoder: PixelDecoder) -> tuple[str, str]:
    """Names of mask features (stride 4) and memory (stride 16)."""

    def conv(x: str, name: str) -> str:
        layer = getattr(decoder, name)
        return graph.conv(x, f"pixels.{name}", layer.weight.numpy(), layer.bias.numpy())

    def up(x: str, name: str) -> str:
        if "scales_1_1_2_2" not in graph.weights:
            graph.weight("scales_1_1_2_2", [1, 1, 2, 2])
        return graph.node(
            "Resize", [x, "", "scales_1_1_2_2"], name,
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip

    def add(x: str, y: str, name: str) -> str:
        return graph.node("Add", [x, y], name)

    x32 = graph.relu(conv(graph.relu(conv(features[32], "lateral32")), "smooth32"))
    x16 = graph.relu(conv(add(conv(features[16], "lateral16"), up(x32, "up16"), "sum16"), "smooth16"))
    x8 = graph.relu(conv(add(conv(features[8], "lateral8"), up(conv(x16, "narrow"), "up8"), "sum8"), "smooth8"))
    x4 = graph.relu(conv(add(conv(features[4], "lateral4"), up(x8, "up4"), "sum4"), "smooth4"))
    return conv(x4, "mask"), conv(x16, "memory")


def attention_nodes(graph: Graph, q: str, k: str, v: str, name: str, layer: Attention, bias: str | None = None) -> str:
    width = DIM // HEADS
    scale = 1 / math.sqrt(width)
    asked = graph.linear(q, f"{name}.q", (layer.q.weight.T * scale).numpy(), (layer.q.bias * scale).numpy())
    query = graph.heads(asked, HEADS, width, f"{name}.q")
    key = graph.heads(linear(graph, k, f"{name}.k", layer.k), HEADS, width, f"{name}.k", keys=True)
    value = graph.heads(linear(graph, v, f"{name}.v", layer.v), HEADS, width, f"{name}.v")
    return linear(graph, graph.attend(query, key, value, name, bias), f"{name}.out", layer.out)


def joined(graph: Graph, x: str, y: str, name: str, norm: nn.LayerNorm) -> str:
    return graph.layer_norm(graph.node("Add", [x, y], f"{name}.sum"), name, norm.weight.numpy(), norm.bias.numpy())


@torch.no_grad()
def image_graph(branch: ImageBranch) -> Graph:
    """crops [B, 3, S, S] to crop_embeddings [B, D], unit rows."""
    graph = Graph("image")
    crops = graph.input("crops", ["B", 3, SIDE, SIDE])
    backbone = branch.backbone
    x = convolution(graph, backbone_nodes(graph, crops, backbone)[32], backbone.head)
    x = graph.reshape(graph.node("GlobalAveragePool", [x], "pooled"), [0, -1], "pooled.row")
    classifier, bias = backbone.classifier * SHARPNESS, backbone.classifier_bias * SHARPNESS
    y = verdict_nodes(graph, x, classifier, bias, branch.words)
    last = branch.shrink
    hidden = graph.relu(linear(graph, x, "residual.widen", branch.widen))
    shrunk = graph.linear(hidden, "residual.shrink", (last.weight.T * RESIDUAL).numpy(), (last.bias * RESIDUAL).numpy())
    y = graph.node("Add", [y, shrunk], "named")
    graph.output(graph.unit_rows(y, "embedding"), "crop_embeddings", ["B", EMBEDDING])
    return graph


@torch.no_grad()
def text_graph(model: Any, mean: np.ndarray) -> Graph:
    """MiniLM: tokens [B, T, E], attention_bias [B, 1, T, T], pooling [B, T] to centred text_embeddings [B, D]."""
    graph = Graph("text")
    tokens = graph.input("tokens", ["B", "T", EMBEDDING])
    bias = graph.input("attention_bias", ["B", 1, "T", "T"])
    pooling = graph.input("pooling", ["B", "T"])
    heads = model.config.num_attention_heads
    width = EMBEDDING // heads

    def norm(x: str, name: str, layer: Any) -> str:
        return graph.layer_norm(x, name, layer.weight.numpy(), layer.bias.numpy())

    x = norm(tokens, "embeddings.norm", model.embeddings.LayerNorm)
    for index, layer in enumerate(model.encoder.layer):
        name = f"layer{index}"
        own = layer.attention.self
        scale = 1 / math.sqrt(width)
        asked = graph.linear(x, f"{name}.q", (own.query.weight.T * scale).numpy(), (own.query.bias * scale).numpy())
        query = graph.heads(asked, heads, width, f"{name}.q")
        key = graph.heads(linear(graph, x, f"{name}.k", own.key), heads, width, f"{name}.k", keys=True)
        value = graph.heads(linear(graph, x, f"{name}.v", own.value), heads, width, f"{name}.v")
        y = linear(graph, graph.attend(query, key, value, name, bias), f"{name}.out", layer.attention.output.dense)
        x = norm(graph.node("Add", [x, y], f"{name}.attended"), f"{name}.norm1", layer.attention.output.LayerNorm)
        y = gelu(graph, linear(graph, x, f"{name}.widen", layer.intermediate.dense))
        y = linear(graph, y, f"{name}.shrink", layer.output.dense)
        x = norm(graph.node("Add", [x, y], f"{name}.sum"), f"{name}.norm2", layer.output.LayerNorm)
    x = graph.node("MatMul", [graph.reshape(pooling, [0, 1, -1], "pooling.row"), x], "pooled")
    x = graph.unit_rows(graph.reshape(x, [0, -1], "pooled.row"), "sentence")
    x = graph.node("Sub", [x, graph.weight("mean", mean[None])], "centred")
    graph.output(graph.unit_rows(x, "embedding"), "text_embeddings", ["B", EMBEDDING])
    return graph


def gelu(graph: Graph, x: str) -> str:
    for name, value in (("gelu.root", math.sqrt(0.5)), ("gelu.one", 1.0), ("gelu.half", 0.5)):
        if name not in graph.weights:
            graph.weight(name, [value])
    inner = graph.node("Erf", [graph.node("Mul", [x, "gelu.root"], f"{x}.scaled")], f"{x}.erf")
    half = graph.node("Mul", [x, "gelu.half"], f"{x}.half")
    return graph.node("Mul", [half, graph.node("Add", [inner, "gelu.one"], f"{x}.shifted")], f"{x}.gelu")
