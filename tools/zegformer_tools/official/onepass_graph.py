"""The one-pass image branch as an ONNX graph; its weights are those of the crops' graph, under the same names."""

from __future__ import annotations

import numpy as np
import torch

from .attention_graph import attention_output, key_heads, query_heads, value_heads
from .clip import Clip
from .clip_graphs import patches, residual_mlp
from .graph import Graph
from .transformer import Attention


@torch.no_grad()
def onepass_graph(clip: Clip) -> Graph:
    """photo [1, 3, S, S], mask_bias [1, Q, P] to segment_embeddings [1, Q, D], unit rows; Q is open.

    No tensor is made by joining two: among the photo's keys and values a proposal's own take the place of the class
    token's, which no proposal looks at. Rows of ones and zeros pick the two parts, which is exact.
    """
    shape, visual = clip.shape, clip.visual
    count = shape.grid**2
    graph = Graph("onepass")
    photo = graph.input("photo", [1, 3, shape.image_size, shape.image_size])
    given = graph.input("mask_bias", [1, "Q", count])
    x = patches(graph, photo, clip)
    own, rest = np.zeros(count + 1), np.ones(count + 1)
    own[0], rest[0] = 1, 0
    picks = Picks(graph.weight("onepass.own", own), graph.weight("onepass.rest", rest),
                  graph.weight("onepass.own_column", own[:, None]))  # fmt: skip
    # The crops' graph has the shifted identity that makes room for the class token.
    bias = graph.transpose(given, (0, 2, 1), "onepass.columns")
    bias = graph.node("MatMul", ["visual.shift", bias], "onepass.shifted")
    bias = graph.transpose(bias, (0, 2, 1), "onepass.bias")
    bias = graph.reshape(bias, [1, 1, -1, count + 1], "onepass.bias.heads")
    # A class token a proposal: the first token of the photo, added to as many zeros.
    zeros = graph.node(
        "Mul", [graph.mean(given, -1, "onepass.mean"), graph.weight("onepass.zero", [0])], "onepass.zeros"
    )
    first = visual.ln_pre(visual.class_embedding + visual.positional_embedding[0])
    tokens = graph.node("Add", [zeros, graph.weight("onepass.class", first[None, None])], "onepass.tokens")
    for index, block in enumerate(visual.transformer.rows()):
        name = f"visual.{index}"
        last = index == len(visual.transformer.resblocks) - 1
        seen = graph.layer_norm(x, f"{name}.ln_1", block.ln_1.weight, block.ln_1.bias)
        keys = key_heads(graph, seen, f"{name}.attn", block.attn)
        values = value_heads(graph, seen, f"{name}.attn", block.attn)
        asking = graph.layer_norm(tokens, f"{name}.ln_1", block.ln_1.weight, block.ln_1.bias)
        y = _look(graph, asking, keys, values, bias, picks, f"{name}.attn", block.attn)
        tokens = residual_mlp(graph, graph.node("Add", [tokens, y], f"{name}.tokens"), name, block)
        if not last:
            y = graph.attend(query_heads(graph, seen, f"{name}.attn", block.attn), keys, values, f"{name}.attn")
            y = attention_output(graph, y, f"{name}.attn", block.attn)
            x = residual_mlp(graph, graph.node("Add", [x, y], f"{name}.attended"), name, block)
    tokens = graph.layer_norm(tokens, "visual.ln_post", visual.ln_post.weight, visual.ln_post.bias)
    rows = graph.unit_rows(graph.linear(tokens, "visual.proj", visual.proj), "embedding")
    graph.output(rows, "segment_embeddings", [1, "Q", shape.embedding])
    return graph


class Picks:
    """Constants: [1 + P] with only the first one set, its complement, and the first as a column."""

    def __init__(self, own: str, rest: str, column: str) -> None:
        self.own, self.rest, self.column = own, rest, column


def _look(
    graph: Graph, asking: str, keys: str, values: str, bias: str, picks: Picks, name: str, attention: Attention
) -> str:
    """Attention of the proposals' tokens [1, Q, width] to themselves and to the patches under their masks."""
    q = query_heads(graph, asking, name, attention)
    k = key_heads(graph, asking, name, attention, transposed=False)
    v = value_heads(graph, asking, name, attention)
    name = f"{name}.look"
    score = graph.node(
        "ReduceSum", [graph.node("Mul", [q, k], f"{name}.qk"), graph.ints([-1])], f"{name}.own", keepdims=1
    )
    score = graph.node("Mul", [score, picks.own], f"{name}.own.placed")
    scores = graph.node("Mul", [graph.node("MatMul", [q, keys], f"{name}.scores"), picks.rest], f"{name}.patches")
    scores = graph.node("Add", [graph.node("Add", [scores, score], f"{name}.all"), bias], f"{name}.biased")
    shares = graph.node("Softmax", [scores], f"{name}.softmax", axis=-1)
    mixed = graph.node("MatMul", [graph.node("Mul", [shares, picks.rest], f"{name}.shares"), values], f"{name}.mixed")
    share = graph.node("MatMul", [shares, picks.column], f"{name}.share")
    mixed = graph.node("Add", [mixed, graph.node("Mul", [share, v], f"{name}.kept")], f"{name}.sum")
    joined = graph.transpose(mixed, (0, 2, 1, 3), f"{name}.joined")
    return attention_output(
        graph, graph.reshape(joined, [0, 0, -1], f"{name}.flat"), name.removesuffix(".look"), attention
    )
