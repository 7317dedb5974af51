"""CLIP's two encoders as ONNX graphs."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .attention_graph import attention_nodes
from .clip import Blocks, Clip, ResidualBlock
from .graph import Graph


@torch.no_grad()
def image_graph(clip: Clip) -> Graph:
    """crops [B, 3, S, S] to crop_embeddings [B, D], unit rows."""
    shape, visual = clip.shape, clip.visual
    graph = Graph("image")
    crops = graph.input("crops", ["B", 3, shape.image_size, shape.image_size])
    x = patches(graph, crops, clip)
    # The class token's row, as a product: the number of crops stays open.
    first = np.zeros((1, shape.grid**2 + 1))
    first[0, 0] = 1
    x = _blocks(graph, x, "visual", visual.transformer, only=graph.weight("visual.first", first))
    x = graph.layer_norm(x, "visual.ln_post", visual.ln_post.weight, visual.ln_post.bias)
    x = graph.unit_rows(graph.linear(x, "visual.proj", visual.proj), "embedding")
    graph.output(x, "crop_embeddings", ["B", shape.embedding])
    return graph


@torch.no_grad()
def text_graph(clip: Clip) -> Graph:
    """tokens [B, T, E], attention_bias [B, 1, T, T], pooling [B, T] to text_embeddings [B, D], unit rows."""
    width = clip.shape.text_width
    graph = Graph("text")
    x = graph.input("tokens", ["B", "T", width])
    bias = graph.input("attention_bias", ["B", 1, "T", "T"])
    pooling = graph.input("pooling", ["B", "T"])
    x = _blocks(graph, x, "text", clip.transformer, bias)
    x = graph.layer_norm(x, "text.ln_final", clip.ln_final.weight, clip.ln_final.bias)
    x = graph.node("MatMul", [graph.reshape(pooling, [0, 1, -1], "pooling.row"), x], "text.pooled")
    x = graph.reshape(x, [0, -1], "text.pooled.row")
    x = graph.unit_rows(graph.linear(x, "text.projection", clip.text_projection), "embedding")
    graph.output(x, "text_embeddings", ["B", clip.shape.embedding])
    return graph


def patches(graph: Graph, crops: str, clip: Clip) -> str:
    """Class token and patches with their positions, normalised: [B, 1 + grid * grid, width]."""
    shape, visual = clip.shape, clip.visual
    x = graph.conv(crops, "visual.conv1", visual.conv1.weight, stride=shape.patch)
    x = graph.reshape(x, [0, 0, -1], "visual.patches.flat")
    x = graph.transpose(x, (0, 2, 1), "visual.patches")
    # A product with a shifted identity makes room for the class token, which comes with the positions. Padding or
    # joining would need a tensor as long as the batch.
    shift = np.eye(shape.grid**2 + 1, shape.grid**2, -1)
    x = graph.node("MatMul", [graph.weight("visual.shift", shift), x], "visual.patches.shifted")
    table = visual.positional_embedding.clone()
    table[0] += visual.class_embedding
    x = graph.node("Add", [x, graph.weight("visual.positions", table[None])], "visual.tokens")
    return graph.layer_norm(x, "visual.ln_pre", visual.ln_pre.weight, visual.ln_pre.bias)


def _blocks(graph: Graph, x: str, prefix: str, blocks: Blocks, bias: str | None = None, only: str | None = None) -> str:
    """`only` [1, T] picks the one token whose state is wanted: the last block computes nothing for the others, which
    saves it five sixths of its work. The result is [B, width] then, else [B, T, width]."""
    for index, block in enumerate(blocks.rows()):
        name = f"{prefix}.{index}"
        y = graph.layer_norm(x, f"{name}.ln_1", block.ln_1.weight, block.ln_1.bias)
        if only is not None and index == len(blocks.resblocks) - 1:
            asked = graph.node("MatMul", [only, y], f"{name}.asked")
            x = graph.reshape(graph.node("MatMul", [only, x], f"{name}.kept"), [0, -1], f"{name}.row")
            y = attention_nodes(graph, asked, y, y, f"{name}.attn", block.attn, bias)
            y = graph.reshape(y, [0, -1], f"{name}.attn.row")
        else:
            y = attention_nodes(graph, y, y, y, f"{name}.attn", block.attn, bias)
        x = residual_mlp(graph, graph.node("Add", [x, y], f"{name}.attended"), name, block)
    return x


def residual_mlp(graph: Graph, x: str, name: str, block: ResidualBlock) -> str:
    """The second half of a block."""
    y = graph.layer_norm(x, f"{name}.ln_2", block.ln_2.weight, block.ln_2.bias)
    y = _quick_gelu(graph, _linear(graph, y, f"{name}.c_fc", block.mlp.c_fc))
    return graph.node("Add", [x, _linear(graph, y, f"{name}.c_proj", block.mlp.c_proj)], f"{name}.out")


def _linear(graph: Graph, x: str, name: str, layer: nn.Linear) -> str:
    return graph.linear(x, name, layer.weight.T, layer.bias)


def _quick_gelu(graph: Graph, x: str) -> str:
    factor = "quick_gelu_factor"
    if factor not in graph.weights:
        graph.weight(factor, [1.702])
    gate = graph.node("Sigmoid", [graph.node("Mul", [x, factor], f"{x}.steep")], f"{x}.gate")
    return graph.node("Mul", [x, gate], f"{x}.gelu")
