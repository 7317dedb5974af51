"""Multi-head attention as ONNX nodes."""

from __future__ import annotations

from torch import Tensor

from .graph import Graph
from .transformer import Attention


def scaled_query(attention: Attention) -> tuple[Tensor, Tensor]:
    """The query projection [inputs, outputs] and its bias, with the scores' 1 / sqrt(width of a head) in them."""
    width = attention.in_proj_weight.shape[1]
    scale = (width // attention.heads) ** -0.5
    return attention.in_proj_weight[:width].T * scale, attention.in_proj_bias[:width] * scale


def query_heads(graph: Graph, x: str, name: str, attention: Attention) -> str:
    width = attention.in_proj_weight.shape[1]
    q = graph.linear(x, f"{name}.q", *scaled_query(attention))
    return graph.heads(q, attention.heads, width // attention.heads, f"{name}.q")


def attention_nodes(
    graph: Graph,
    query: str,
    key: str,
    value: str,
    name: str,
    attention: Attention,
    bias: str | None = None,
    split: bool = True,
) -> str:
    """Multi-head attention; `split` false: `query` is projected and in heads already."""
    q = query_heads(graph, query, name, attention) if split else query
    k, v = key_heads(graph, key, name, attention), value_heads(graph, value, name, attention)
    return attention_output(graph, graph.attend(q, k, v, name, bias), name, attention)


def key_heads(graph: Graph, x: str, name: str, attention: Attention, transposed: bool = True) -> str:
    """[B, heads, width of a head, T], or with the last axes as in `x`."""
    _, weight, _ = attention.in_proj_weight.chunk(3)
    _, bias, _ = attention.in_proj_bias.chunk(3)
    y = graph.linear(x, f"{name}.k", weight.T, bias)
    return graph.heads(y, attention.heads, weight.shape[1] // attention.heads, f"{name}.k", keys=transposed)


def value_heads(graph: Graph, x: str, name: str, attention: Attention) -> str:
    _, _, weight = attention.in_proj_weight.chunk(3)
    _, _, bias = attention.in_proj_bias.chunk(3)
    y = graph.linear(x, f"{name}.v", weight.T, bias)
    return graph.heads(y, attention.heads, weight.shape[1] // attention.heads, f"{name}.v")


def attention_output(graph: Graph, y: str, name: str, attention: Attention) -> str:
    return graph.linear(y, f"{name}.out_proj", attention.out_proj.weight.T, attention.out_proj.bias)
