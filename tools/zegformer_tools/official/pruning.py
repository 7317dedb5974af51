"""`mode: fast`: which proposals are worth a crop, as far as can be told before any crop is made."""

from __future__ import annotations

from torch import Tensor

from .fusion import probabilities


def worth_a_crop(query_logits: Tensor, background: Tensor, mask_logits: Tensor, cells: tuple[int, int]) -> Tensor:
    """[Q] booleans: the proposal owns a cell of the label map that the query branch alone would make, or a name beats
    the background in its query branch. `query_logits` is [Q, N], `background` [Q], `mask_logits` [Q, h, w]; `cells` are
    the rows and columns of the grid that the photo covers.

    The proposal that owns a cell is the one that votes the most for any name there.
    """
    best = probabilities(query_logits, background).amax(dim=1)
    votes = best[:, None, None] * mask_logits[:, : cells[0], : cells[1]].sigmoid()
    worth = query_logits.amax(dim=1) > background
    worth[votes.argmax(dim=0).unique()] = True
    return worth
