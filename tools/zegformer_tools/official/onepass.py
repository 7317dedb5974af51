"""The image branch in one pass: CLIP sees the whole photo once, with a class token for every proposal.

MaskCLIP (Ding, Wang and Tu, ICML 2023) and SAN (Xu et al., CVPR 2023) name masks so: each proposal has a copy of
CLIP's class token, which looks at the patches under its mask and at itself; patches and CLIP's own class token see no
proposal, so that they stay what CLIP makes of the photo. Here nothing is trained: the bias of the attention is the
logarithm of the part of a patch that the mask covers, so that a patch weighs as much as is covered of it.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import settings as published
from .clip import Clip

FLOOR = -100.0
"""The bias of a patch that a mask does not touch: exp(-100) is nothing beside the class token's own share."""


def squash(photo: Image.Image, side: int) -> Tensor:
    """[1, 3, S, S]: the whole photo as a square by Pillow's bilinear filter, normalised for CLIP."""
    small = photo.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    image = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (published.CLIP_MEAN, published.CLIP_STD))
    return ((image - mean) / std)[None]


def mask_bias(mask_logits: Tensor, inner: tuple[float, float], grid: int) -> Tensor:
    """[Q, h, w] logits on the mask grid to [Q, grid * grid], row-major, for the patches of the squashed photo.

    A cell is covered from a logit of 1/2 on and not at all up to -1/2, in between by degrees, so that rounding turns no
    cell over. `inner` is the photo's height and width inside the padded grid, in cells. A mask that covers nothing sees
    the whole photo, as a crop of nothing is a crop of the whole.
    """
    covers = (mask_logits + 0.5).clamp(0, 1)
    rows = area_weights(inner[0], grid, covers.shape[1])
    columns = area_weights(inner[1], grid, covers.shape[2])
    coverage = (rows @ covers @ columns.T).flatten(1)
    bias = coverage.log().clamp(min=FLOOR)
    return torch.where(coverage.sum(dim=1, keepdim=True) > 0, bias, torch.zeros_like(bias))


def area_weights(extent: float, bins: int, cells: int) -> Tensor:
    """[bins, cells]: the share that each cell has in each of `bins` equal parts of `extent` cells."""
    edges = torch.arange(bins + 1) * extent / bins
    low = torch.maximum(edges[:-1, None], torch.arange(cells)[None])
    high = torch.minimum(edges[1:, None], torch.arange(1, cells + 1)[None])
    return (high - low).clamp(min=0) * bins / extent


def encode_segments(clip: Clip, photo: Tensor, bias: Tensor) -> Tensor:
    """[1, 3, S, S] and [Q, P] to unit rows [Q, D]. With a bias of zero each row is what `encode_image` gives."""
    visual = clip.visual
    patches = visual.conv1(photo).flatten(2).transpose(1, 2)
    x = torch.cat((visual.class_embedding.expand(1, 1, -1), patches), dim=1) + visual.positional_embedding
    x = visual.ln_pre(x)
    tokens = x[:, :1].expand(len(bias), 1, -1)
    # The first key is the proposal's own token.
    keys_bias = torch.cat((torch.zeros(len(bias), 1), bias), dim=1)[:, None, None]
    for block in visual.transformer.rows():
        seen, own = block.ln_1(x), block.ln_1(tokens)
        keys = torch.cat((own, seen[:, 1:].expand(len(bias), -1, -1)), dim=1)
        tokens = tokens + block.attn(own, keys, keys, keys_bias)
        tokens = tokens + block.mlp(block.ln_2(tokens))
        x = block(x, None)
    rows = visual.ln_post(tokens[:, 0]) @ visual.proj
    return rows / rows.norm(dim=-1, keepdim=True)
