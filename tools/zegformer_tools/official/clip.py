"""CLIP with a vision transformer: image and text encoder, parameter names as in OpenAI's files."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from .shapes import ClipShape
from .transformer import Attention


class QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGelu()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class ResidualBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, bias)
        return x + self.mlp(self.ln_2(x))


class Blocks(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualBlock(width, heads) for _ in range(layers))

    def rows(self) -> list[ResidualBlock]:
        """The blocks, with their type."""
        return [cast(ResidualBlock, block) for block in self.resblocks]

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        for block in self.rows():
            x = block(x, bias)
        return x


class Vision(nn.Module):
    def __init__(self, shape: ClipShape) -> None:
        super().__init__()
        width = shape.vision_width
        self.conv1 = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(shape.grid**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Blocks(width, shape.vision_layers, shape.vision_heads)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, shape.embedding))

    def forward(self, crops: Tensor) -> Tensor:
        patches = self.conv1(crops).flatten(2).transpose(1, 2)
        start = self.class_embedding.expand(patches.shape[0], 1, -1)
        x = torch.cat((start, patches), dim=1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj


class Clip(nn.Module):
    """Both encoders; `encode_*` give unit rows."""

    def __init__(self, shape: ClipShape) -> None:
        super().__init__()
        self.shape = shape
        self.visual = Vision(shape)
        self.transformer = Blocks(shape.text_width, shape.text_layers, shape.text_heads)
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.text_width)
        self.positional_embedding = nn.Parameter(torch.zeros(shape.context, shape.text_width))
        self.ln_final = nn.LayerNorm(shape.text_width)
        self.text_projection = nn.Parameter(torch.zeros(shape.text_width, shape.embedding))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(100.0)))

    @property
    def temperature(self) -> float:
        """What cosines are multiplied by in the image branch."""
        return float(self.logit_scale.exp())

    def encode_image(self, crops: Tensor) -> Tensor:
        x = self.visual(crops)
        return x / x.norm(dim=-1, keepdim=True)

    def encode_tokens(self, ids: Tensor) -> Tensor:
        """[B, T] token ids, 0 after the end token. T may be any length that holds the longest prompt: attention
        is causal and the end token's state is taken, so what comes after it has no effect."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer(x, causal_bias(ids.shape[1]).to(x)))
        end = ids.argmax(dim=-1)  # the end token has the largest id of all
        x = x[torch.arange(len(ids)), end] @ self.text_projection
        return x / x.norm(dim=-1, keepdim=True)


def causal_bias(length: int) -> Tensor:
    """[T, T]: minus infinity above the diagonal."""
    return torch.full((length, length), float("-inf")).triu(1)
