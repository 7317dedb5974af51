"""From normalised pixels to segments: mask logits, segment embeddings, background logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pixel_decoder import PixelDecoder
from .position import sine_position
from .resnet import ResNet
from .shapes import SegmenterShape
from .transformer import Transformer


@dataclass(frozen=True)
class Segments:
    """What the network finds in one photo."""

    mask_logits: Tensor  # [1, Q, H/4, W/4]
    embeddings: Tensor  # [1, Q, D], unit rows
    background_logits: Tensor  # [1, Q]


class MaskEmbed(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, outputs)])

    def rows(self) -> list[nn.Linear]:
        """The layers, with their type."""
        return [cast(nn.Linear, layer) for layer in self.layers]

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.rows()
        return third(F.relu(second(F.relu(first(x)))))


class Predictor(nn.Module):
    """The transformer and the two heads on it."""

    def __init__(self, shape: SegmenterShape) -> None:
        super().__init__()
        self.transformer = Transformer(shape.hidden, shape.heads, shape.feedforward, shape.layers)
        self.query_embed = nn.Embedding(shape.queries, shape.hidden)
        self.input_proj = nn.Conv2d(shape.channels[-1], shape.hidden, 1)
        self.projection_layer = nn.Linear(shape.hidden, shape.embedding)
        self.bg_feature = nn.Parameter(torch.randn(1, shape.embedding))
        self.logit_scale = nn.Parameter(torch.full((1,), math.log(100.0)))
        self.mask_embed = MaskEmbed(shape.hidden, shape.conv_dim)

    def forward(self, res5: Tensor, mask_features: Tensor) -> Segments:
        memory = self.input_proj(res5)
        position = sine_position(memory.shape[2], memory.shape[3], memory.shape[1]).to(memory)
        queries = self.query_embed.weight[None].expand(memory.shape[0], -1, -1)
        hidden = self.transformer.decoder(
            queries, memory.flatten(2).transpose(1, 2), position.flatten(2).transpose(1, 2)
        )
        x = self.projection_layer(hidden)
        x = x / x.norm(dim=-1, keepdim=True)
        # The background embedding is learned at whatever length: it is not normalised.
        background = self.logit_scale.exp() * (x @ self.bg_feature[0])
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embed(hidden), mask_features)
        return Segments(masks, x, background)


class Head(nn.Module):
    def __init__(self, shape: SegmenterShape) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(shape.channels, shape.conv_dim, shape.conv_dim, shape.groups)
        self.predictor = Predictor(shape)


class Segmenter(nn.Module):
    """The whole of ZegFormer but CLIP; `state_dict` has the official checkpoint's names."""

    def __init__(self, shape: SegmenterShape) -> None:
        super().__init__()
        self.shape = shape
        self.backbone = ResNet(shape.blocks, shape.width)
        self.sem_seg_head = Head(shape)

    @property
    def temperature(self) -> float:
        """What cosines are multiplied by in the query branch."""
        return float(self.sem_seg_head.predictor.logit_scale.exp())

    def forward(self, pixels: Tensor) -> Segments:
        features = self.backbone(pixels)
        mask_features = self.sem_seg_head.pixel_decoder(features)
        return self.sem_seg_head.predictor(features[-1], mask_features)
