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
    width = attention.in_proj_weight.shape[1]
    part = width // attention.heads
    _, wk, wv = attention.in_proj_weight.chunk(3)
    _, bk, bv = attention.in_proj_bias.chunk(3)
    q = query_heads(graph, query, name, attention) if split else query
    k = graph.heads(graph.linear(key, f"{name}.k", wk.T, bk), attention.heads, part, f"{name}.k", keys=True)
    v = graph.heads(graph.linear(value, f"{name}.v", wv.T, bv), attention.heads, part, f"{name}.v")
    y = graph.attend(q, k, v, name, bias)
    return graph.linear(y, f"{name}.out_proj", attention.out_proj.weight.T, attention.out_proj.bias)
