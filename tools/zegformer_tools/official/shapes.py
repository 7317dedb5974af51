"""Sizes of the networks: the published ones, and a tiny pair of the same architecture for tests."""

from __future__ import annotations

from dataclasses import dataclass

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Bottleneck blocks in res2..res5 by depth."""


@dataclass(frozen=True)
class SegmenterShape:
    """Backbone, pixel decoder and mask transformer."""

    blocks: tuple[int, int, int, int] = BLOCKS[101]
    width: int = 64  # channels of the stem; res2 has four times as many, each later stage twice the one before
    conv_dim: int = 256
    groups: int = 32
    hidden: int = 256
    heads: int = 8
    feedforward: int = 2048
    layers: int = 6
    queries: int = 100
    embedding: int = 512

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Output channels of res2, res3, res4, res5."""
        return (4 * self.width, 8 * self.width, 16 * self.width, 32 * self.width)

    @property
    def backbone(self) -> str:
        """The backbone's usual name, as far as it has one."""
        for depth, blocks in BLOCKS.items():
            if blocks == self.blocks:
                return f"R{depth}"
        return "R" + "-".join(str(n) for n in self.blocks)


@dataclass(frozen=True)
class ClipShape:
    """CLIP with a vision transformer; the defaults are ViT-B/16."""

    image_size: int = 224
    patch: int = 16
    vision_width: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    context: int = 77
    vocabulary: int = 49408
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    embedding: int = 512

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch


TINY_SEGMENTER = SegmenterShape(
    blocks=(1, 2, 1, 1),
    width=4,
    conv_dim=32,
    groups=8,
    hidden=32,
    heads=4,
    feedforward=64,
    layers=2,
    queries=12,
    embedding=32,
)

TINY_MERGES = 1024
"""How many of CLIP's BPE merges the tiny tokenizer keeps (256 bytes, 256 word-ending bytes, merges, 2 marks)."""

TINY_CLIP = ClipShape(
    image_size=32,
    patch=8,
    vision_width=48,
    vision_layers=2,
    vision_heads=3,
    context=77,
    vocabulary=512 + TINY_MERGES + 2,
    text_width=32,
    text_layers=2,
    text_heads=2,
    embedding=32,
)
