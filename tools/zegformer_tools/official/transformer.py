"""DETR's transformer decoder, post-norm, as ZegFormer uses it (there is no encoder)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention with the parameter names of torch.nn.MultiheadAttention, batch first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """`bias` is added to the scores: broadcastable to [B, heads, queries, keys]."""
        wq, wk, wv = self.in_proj_weight.chunk(3)
        bq, bk, bv = self.in_proj_bias.chunk(3)

        def split(x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
            batch, length, _ = x.shape
            return F.linear(x, weight, shift).view(batch, length, self.heads, -1).transpose(1, 2)

        q, k, v = split(query, wq, bq), split(key, wk, bk), split(value, wv, bv)
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        if bias is not None:
            scores = scores + bias
        mixed = scores.softmax(dim=-1) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.multihead_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, target: Tensor, queries: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        """Positions (learned for queries, sine for memory) go into queries and keys, never into values."""
        q = target + queries
        target = self.norm1(target + self.self_attn(q, q, target))
        target = self.norm2(target + self.multihead_attn(target + queries, memory + position, memory))
        return self.norm3(target + self.linear2(F.relu(self.linear1(target))))


class Decoder(nn.Module):
    def __init__(self, width: int, heads: int, feedforward: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feedforward) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def rows(self) -> list[DecoderLayer]:
        """The layers, with their type."""
        return [cast(DecoderLayer, layer) for layer in self.layers]

    def forward(self, queries: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        target = torch.zeros_like(queries)
        for layer in self.rows():
            target = layer(target, queries, memory, position)
        return self.norm(target)


class Transformer(nn.Module):
    """Holds the decoder under the checkpoint's name `transformer.decoder`."""

    def __init__(self, width: int, heads: int, feedforward: int, layers: int) -> None:
        super().__init__()
        self.decoder = Decoder(width, heads, feedforward, layers)
