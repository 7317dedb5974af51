"""The sine position encoding of the transformer's memory (DETR's, normalised)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0
EPSILON = 1e-6


def sine_position(height: int, width: int, channels: int, temperature: float = TEMPERATURE) -> Tensor:
    """[1, channels, height, width]: first half by row, second half by column; sine and cosine alternate.

    Cell i of n along an axis (counted from 1) is at the angle 2 pi i / (n + 1e-6).
    """
    half = channels // 2
    exponent = 2 * torch.div(torch.arange(half, dtype=torch.float32), 2, rounding_mode="floor") / half
    period = temperature**exponent

    def axis(n: int) -> Tensor:
        angle = torch.arange(1, n + 1, dtype=torch.float32) / (n + EPSILON) * (2 * math.pi)
        phase = angle[:, None] / period
        return torch.stack((phase[:, 0::2].sin(), phase[:, 1::2].cos()), dim=2).flatten(1)

    rows = axis(height)[:, None, :].expand(height, width, half)
    columns = axis(width)[None, :, :].expand(height, width, half)
    return torch.cat((rows, columns), dim=2).permute(2, 0, 1)[None]
