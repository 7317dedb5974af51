"""The segmenter: FPN, a small transformer decoder with learned queries, and names from mask-pooled features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import CHANNELS, WIDTH, Backbone

QUERIES = 64
DIM = 192
HEADS = 6
FEEDFORWARD = 512
LAYERS = 3
COARSE = 128
FINE = 64
POSITION_STRIDE = 16
POSITION_TEMPERATURE = 10000.0
TEMPERATURE = 25.0
MASK_BIAS_LIMIT = 8.0


@dataclass
class Found:
    """What the segmenter says about a batch. `mask_vectors`: [B, Q, FINE] of every layer, the last one last.

    `embeddings` [B, Q, D]: unit rows. `said` [B, Q, 1000]: logits of ImageNet's classes by the backbone as it is;
    `told` and `verdicts` [B, Q, D], the same in words and of any length: by the frozen one.
    """

    mask_vectors: list[Tensor]
    mask_features: Tensor
    embeddings: Tensor
    background: Tensor
    said: Tensor
    told: Tensor
    verdicts: Tensor

    def masks(self, layer: int = -1) -> Tensor:
        """Mask logits [B, Q, H/4, W/4]."""
        return torch.einsum("bqc,bchw->bqhw", self.mask_vectors[layer], self.mask_features)


def sine_position(h: int, w: int, channels: int = DIM) -> Tensor:
    """[1, channels, h, w]: rows in the first half, columns in the second, sine and cosine by turns."""
    half = channels // 2
    divisor = POSITION_TEMPERATURE ** (torch.arange(half).div(2, rounding_mode="floor") * 2 / half)

    def axis(n: int) -> Tensor:
        place = torch.arange(1, n + 1) / (n + 1e-6) * 2 * math.pi
        angle = place[:, None] / divisor
        return torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos())

    rows, columns = axis(h).T, axis(w).T
    return torch.cat([rows[:, :, None].expand(-1, -1, w), columns[:, None, :].expand(-1, h, -1)])[None]


class PixelDecoder(nn.Module):
    """Top-down: stride 32 to 4. Returns mask features and the memory at stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral32 = nn.Conv2d(CHANNELS[32], COARSE, 1)
        self.lateral16 = nn.Conv2d(CHANNELS[16], COARSE, 1)
        self.lateral8 = nn.Conv2d(CHANNELS[8], FINE, 1)
        self.lateral4 = nn.Conv2d(CHANNELS[4], FINE, 1)
        self.smooth32 = nn.Conv2d(COARSE, COARSE, 3, padding=1)
        self.smooth16 = nn.Conv2d(COARSE, COARSE, 3, padding=1)
        self.narrow = nn.Conv2d(COARSE, FINE, 1)
        self.smooth8 = nn.Conv2d(FINE, FINE, 3, padding=1)
        self.smooth4 = nn.Conv2d(FINE, FINE, 3, padding=1)
        self.mask = nn.Conv2d(FINE, FINE, 1)
        self.memory = nn.Conv2d(COARSE, DIM, 1)

    def forward(self, features: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        def up(x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2, mode="nearest")

        x32 = F.relu(self.smooth32(F.relu(self.lateral32(features[32]))))
        x16 = F.relu(self.smooth16(self.lateral16(features[16]) + up(x32)))
        x8 = F.relu(self.smooth8(self.lateral8(features[8]) + up(self.narrow(x16))))
        x4 = F.relu(self.smooth4(self.lateral4(features[4]) + up(x8)))
        return self.mask(x4), self.memory(x16)


class Attention(nn.Module):
    """Multi-head attention with an additive bias."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(DIM, DIM) for _ in range(4))

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

        query, key, value = heads(self.q(q)), heads(self.k(k)), heads(self.v(v))
        scores = query @ key.transpose(-1, -2) / math.sqrt(DIM // HEADS)
        if bias is not None:
            scores = scores + bias[:, None]
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Cross-attention to the memory under the masks so far, self-attention, feed-forward; norms after each."""

    def __init__(self) -> None:
        super().__init__()
        self.cross, self.own = Attention(), Attention()
        self.widen, self.shrink = nn.Linear(DIM, FEEDFORWARD), nn.Linear(FEEDFORWARD, DIM)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(DIM) for _ in range(3))

    def forward(self, x: Tensor, place: Tensor, keys: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        x = self.norm1(x + self.cross(x + place, keys, memory, bias))
        x = self.norm2(x + self.own(x + place, x + place, x))
        return self.norm3(x + self.shrink(F.relu(self.widen(x))))


class Namer(nn.Module):
    """Features of the ImageNet classifier's input to the text space: its own verdict in words, and a learned part."""

    classifier: Tensor
    classifier_bias: Tensor
    words: Tensor

    def __init__(self, classifier: Tensor, bias: Tensor, words: Tensor) -> None:
        super().__init__()
        self.register_buffer("classifier", classifier)
        self.register_buffer("classifier_bias", bias)
        self.register_buffer("words", words)
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.dropout = nn.Dropout(0.1)
        self.learned = nn.Linear(WIDTH, words.shape[1])
        nn.init.zeros_(self.learned.weight)
        nn.init.zeros_(self.learned.bias)

    def classes(self, pooled: Tensor) -> Tensor:
        """Logits of ImageNet's classes."""
        return pooled @ self.classifier.T + self.classifier_bias

    def in_words(self, classes: Tensor) -> Tensor:
        return classes.softmax(-1) @ self.words

    def verdict(self, pooled: Tensor) -> Tensor:
        return self.in_words(self.classes(pooled))

    def forward(self, pooled: Tensor, verdict: Tensor) -> Tensor:
        return self.trust * verdict + self.learned(self.dropout(pooled))


class Segmenter(nn.Module):
    """The backbone and everything behind it."""

    def __init__(self, backbone: Backbone, namer: Namer) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixels = PixelDecoder()
        self.content = nn.Parameter(torch.randn(QUERIES, DIM) * 0.5)
        self.place = nn.Parameter(torch.randn(QUERIES, DIM) * 0.5)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.mask1, self.mask2 = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.mask3 = nn.Linear(DIM, FINE)
        self.namer = namer
        self.name = nn.Linear(DIM, namer.words.shape[1])
        nn.init.normal_(self.name.weight, std=0.01)
        self.background = nn.Linear(DIM, 1)

    def mask_vectors(self, x: Tensor) -> Tensor:
        return self.mask3(F.relu(self.mask2(F.relu(self.mask1(x)))))

    def forward(self, features: dict[int, Tensor], frozen: Tensor | None = None) -> Found:
        """`features`: the backbone's. `frozen` [B, 1280, H/32, W/32]: what a frozen head makes of the same pixels, if
        this backbone is not frozen itself."""
        fine, memory = self.pixels(features)
        count, _, h, w = memory.shape
        keys = (memory + sine_position(h, w).to(memory.device)).flatten(2).transpose(1, 2)
        memory = memory.flatten(2).transpose(1, 2)
        coarse = F.avg_pool2d(fine, POSITION_STRIDE // 4).flatten(2)
        x = self.content[None].expand(count, -1, -1)
        vectors = [self.mask_vectors(x)]
        for layer in self.layers:
            bias = -F.relu(-(vectors[-1] @ coarse)).detach().clamp(max=MASK_BIAS_LIMIT)
            x = layer(x, self.place, keys, memory, bias)
            vectors.append(self.mask_vectors(x))
        with torch.no_grad():
            share = F.avg_pool2d(torch.einsum("bqc,bchw->bqhw", vectors[-1], fine).sigmoid(), 8).flatten(2)
            share = share / (share.sum(-1, keepdim=True) + 1e-4)
        pooled = (share @ self.backbone.head(features[32]).flatten(2).transpose(1, 2)).float()
        said = self.namer.classes(pooled)
        told = said.detach()
        if frozen is not None:
            told = self.namer.classes((share @ frozen.flatten(2).transpose(1, 2)).float()).detach()
        named = self.namer(pooled, self.namer.in_words(said)) + self.name(x).float()
        return Found(
            mask_vectors=[v.float() for v in vectors],
            mask_features=fine.float(),
            embeddings=F.normalize(named, dim=-1),
            background=self.background(x)[..., 0].float(),
            said=said,
            told=told,
            verdicts=self.namer.in_words(told),
        )
