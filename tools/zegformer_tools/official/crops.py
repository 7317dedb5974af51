"""Masked crops of the photo for CLIP: background at the mean colour, box of the mask, RoIAlign to a square."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def binary_masks(mask_logits: Tensor) -> Tensor:
    """[Q, H, W] logits on the padded photo to booleans. sigmoid > 0.5, not logit > 0: in f32 the sigmoid of a
    tiny positive number is 0.5."""
    return mask_logits.sigmoid() > 0.5


def boxes(masks: Tensor) -> Tensor:
    """[Q, 4] x0, y0, x1, y1: indices of the first and the last column and row with a set pixel, used as
    coordinates without the usual + 1. A box without area (no pixel, or one row or column) is the whole photo."""
    count, height, width = masks.shape
    whole = torch.tensor([0.0, 0.0, float(width), float(height)])
    result = whole.repeat(count, 1)
    for index, mask in enumerate(masks):
        rows = mask.any(dim=1).nonzero().flatten()
        columns = mask.any(dim=0).nonzero().flatten()
        if len(rows) == 0:
            continue
        x0, x1 = int(columns[0]), int(columns[-1])
        y0, y1 = int(rows[0]), int(rows[-1])
        if (x1 - x0) * (y1 - y0) > 0:
            result[index] = torch.tensor([x0, y0, x1, y1], dtype=torch.float32)
    return result


def roi_align(image: Tensor, box: Tensor, size: int) -> Tensor:
    """[C, H, W] and one box to [C, size, size]: RoIAlign, `aligned`, adaptive sampling (torchvision's -1).

    Each bin averages ceil(side / size) bilinear samples an axis. Pixel centres are at integers after the half-pixel
    shift; a sample further than one pixel outside counts as zero. Every sample's weight is a product of one factor
    per axis, so the whole is two matrix products.
    """
    x0, y0, x1, y1 = (float(v) - 0.5 for v in box)
    _, height, width = image.shape
    rows = _axis_weights(y0, y1 - y0, size, height)
    columns = _axis_weights(x0, x1 - x0, size, width)
    return rows @ image @ columns.T


def _axis_weights(start: float, extent: float, bins: int, pixels: int) -> Tensor:
    """[bins, pixels]: what each pixel along an axis gives to each bin."""
    step = extent / bins
    samples = max(math.ceil(step), 0)
    weights = torch.zeros(bins, pixels)
    for index in range(bins):
        for sample in range(samples):
            at = start + index * step + (sample + 0.5) * step / samples
            if at < -1.0 or at > pixels:
                continue
            at = max(at, 0.0)
            low = min(int(at), pixels - 1)
            high = min(low + 1, pixels - 1)
            part = at - low if high > low else 0.0
            weights[index, low] += (1 - part) / samples
            weights[index, high] += part / samples
    return weights


def masked_crops(pixels: Tensor, masks: Tensor, size: int) -> Tensor:
    """[3, H, W] CLIP-normalised padded photo and [Q, H, W] masks to [Q, 3, size, size]. Zero is CLIP's mean colour."""
    return torch.stack([roi_align(pixels * mask, box, size) for mask, box in zip(masks, boxes(masks), strict=True)])
