"""Segment scores from the two branches, and the calibration of seen classes."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Ensembling = Literal["split", "all", "image", "query"]
"""split: the official ENSEMBLING; all: ENSEMBLING_ALL_CLS; image: neither of them; query: without CLIP."""

LAMBDA = 2 / 3


def probabilities(logits: Tensor, background: Tensor) -> Tensor:
    """Softmax over the classes and the background, which is then dropped: [Q, N] and [Q] to [Q, N]."""
    return torch.cat((logits, background[:, None]), dim=1).softmax(dim=1)[:, :-1]


def fuse(
    query_logits: Tensor,
    image_logits: Tensor,
    background: Tensor,
    seen: Tensor,
    ensembling: Ensembling,
    weight: float = LAMBDA,
) -> Tensor:
    """[Q, N] scores. Both branches have the query branch's background logit in their softmax.

    `seen` is a boolean [N]; `weight` is the paper's lambda.
    """
    if ensembling not in get_args(Ensembling):
        raise ValueError(f"unknown ensembling {ensembling!r}; known are {get_args(Ensembling)}")
    query = probabilities(query_logits, background)
    image = probabilities(image_logits, background)
    if ensembling == "query":
        return query
    if ensembling == "image":
        return image
    if ensembling == "all":
        return query ** (1 - weight) * image**weight
    if seen.any():
        # CLIP may say how likely the seen classes are together, not which of them it is.
        image = torch.where(seen, image[:, seen].mean(dim=1, keepdim=True), image)
    return torch.where(seen, query**weight * image ** (1 - weight), query ** (1 - weight) * image**weight)


def calibrate(scores: Tensor, seen: Tensor, gamma: float) -> Tensor:
    """[N, H, W] per-pixel scores with gamma taken off the seen classes; not positive means off."""
    return scores - gamma * seen[:, None, None].float() if gamma > 0 else scores
