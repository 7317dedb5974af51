"""What the segmenter is taught with: masks, names of segments, names of whole photos."""

from __future__ import annotations

from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from .data import Segments, training_names
from .model import TEMPERATURE, Found

POINTS = 1024
EARLY_LAYERS = 0.4
"""Weight of the masks of all layers but the last."""
NO_OBJECT = 0.05
LABELLED_ENOUGH = 0.6
"""A free query is taught "background" only when so much of its mask is on labelled cells."""
DISTILLATION = 2.0
"""Keeps a segment's embedding close to ImageNet's verdict, which knows more names than are taught."""
WHOLE = 0.5
WHOLE_AREAS = (0.06, 0.95)
"""Of the photo that a query may cover to be what the photo's one name means."""
NEGATIVES = 128
NEAR = 0.5
"""A name this close to the right one (cosine) is not taught as wrong, unless both are names of one data set."""


def pair_costs(points: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """BCE and dice [Q, K] of logits [Q, P] against masks [K, P]."""
    count = points.shape[1]
    bce = (F.softplus(points).sum(1)[:, None] - points @ truth.T) / count
    soft = points.sigmoid()
    dice = 1 - (2 * soft @ truth.T + 1) / (soft.sum(1)[:, None] + truth.sum(1)[None] + 1)
    return bce, dice


def exclusive(data: Path) -> Tensor:
    """[N, N] of `training_names`: whether two belong to one data set, whose labels exclude each other."""
    names, ids = training_names(data)
    found = torch.zeros(len(names), len(names), dtype=torch.bool)
    for kind in {kind for kind, _ in ids}:
        here = torch.tensor(sorted({i for (k, _), i in ids.items() if k == kind}))
        found[here[:, None], here] = True
    return found


class Losses:
    """`names` [N, D] are taught, `others` [M, D] are only ever wrong; `exclusive` [N, N]: names of one data set.

    `added` [N] goes onto the names' logits while they are taught.
    """

    def __init__(self, names: Tensor, others: Tensor, exclusive: Tensor, added: Tensor) -> None:
        self.names, self.others, self.exclusive, self.added = names, others, exclusive, added

    def __call__(self, found: Found, truth: list[Segments]) -> tuple[Tensor, dict[str, float]]:
        spots = torch.randint(found.mask_features[0, 0].numel(), (len(truth), POINTS))
        every = found.mask_features.flatten(2)
        # Unbound, not indexed in the loop: the gradient of an index is a tensor of zeros as large as the whole.
        cells = every.gather(2, spots[:, None].expand(-1, every.shape[1], -1)).unbind()
        vectors = [v.unbind() for v in found.mask_vectors]
        embeddings = found.embeddings.unbind()
        negatives = self.others[torch.randperm(len(self.others))[:NEGATIVES]]
        table = torch.cat([self.names, negatives])
        scores = torch.cat([TEMPERATURE * found.embeddings @ table.T, found.background[..., None]], -1).unbind()
        masks, named, nothing, kept, whole = [], [], [], [], []
        right, asked = 0, 0
        for b, segments in enumerate(truth):
            logits = scores[b]
            layers = [v[b] @ cells[b] for v in vectors]
            if segments.whole >= 0:
                whole.append(self._whole(layers[-1], logits, segments.whole, table))
                continue
            wanted = torch.from_numpy(segments.masks).flatten(1)[:, spots[b]].float()
            target = torch.tensor(segments.names)
            rows, columns = matched(layers[-1], wanted, logits, target)
            for index, points in enumerate(layers):
                x, y = points[rows], wanted[columns]
                bce = F.binary_cross_entropy_with_logits(x, y, reduction="none").mean(1)
                soft = x.sigmoid()
                dice = 1 - (2 * (soft * y).sum(1) + 1) / (soft.sum(1) + y.sum(1) + 1)
                weight = 1.0 if index == len(layers) - 1 else EARLY_LAYERS
                masks.append(weight * (4 * bce + 2 * dice).sum())
            with_name = target[columns] >= 0
            if not with_name.any():
                continue
            rows, aim = rows[with_name], target[columns][with_name]
            picked = logits[rows]
            named.append(self.naming(picked, aim, table))
            kept.append((1 - F.cosine_similarity(embeddings[b][rows], found.verdicts[b][rows])).sum())
            right += int((picked[:, : len(self.names)].argmax(1) == aim).sum())
            asked += len(aim)
            labelled = torch.from_numpy(segments.labelled).flatten()[spots[b]].float()
            soft = layers[-1].detach().sigmoid()
            free = (soft @ labelled) / (soft.sum(1) + 1e-3) > LABELLED_ENOUGH
            free[rows] = False
            if free.any():
                last = torch.full((int(free.sum()),), logits.shape[-1] - 1)
                nothing.append(F.cross_entropy(logits[free], last, reduction="sum"))
        parts = {
            "mask": _total(masks) / max(sum(len(s.names) for s in truth), 1),
            "name": _total(named) / max(asked, 1),
            "nothing": _total(nothing) / max(asked, 1),
            "kept": _total(kept) / max(asked, 1),
            "whole": _total(whole) / max(len(whole), 1),
        }
        loss = parts["mask"] + parts["name"] + NO_OBJECT * parts["nothing"]
        loss = loss + DISTILLATION * parts["kept"] + WHOLE * parts["whole"]
        return loss, {**{k: v.item() for k, v in parts.items()}, "right": right / max(asked, 1)}

    def naming(self, logits: Tensor, aim: Tensor, table: Tensor) -> Tensor:
        """Cross-entropy of `logits` [K, N + M + 1] with the right names, summed."""
        logits = logits + F.pad(self.added, (0, logits.shape[1] - len(self.added)))
        return F.cross_entropy(self.without_near(logits, aim, table), aim, reduction="sum")

    def without_near(self, logits: Tensor, aim: Tensor, table: Tensor) -> Tensor:
        """`logits` [K, N + M + 1] with the names too close to the right ones out of the running."""
        near = self.names[aim] @ table.T > NEAR
        near[:, : len(self.names)] &= ~self.exclusive[aim]
        near[torch.arange(len(aim)), aim] = False
        return logits.masked_fill(F.pad(near, (0, 1)), -1e4)

    def _whole(self, masks: Tensor, logits: Tensor, name: int, table: Tensor) -> Tensor:
        """The query that says the photo's name best, of those that cover enough of it, should say it louder."""
        with torch.no_grad():
            area = masks.sigmoid().mean(1)
            fits = (area > WHOLE_AREAS[0]) & (area < WHOLE_AREAS[1])
            best = (logits[:, name] + torch.where(fits, 0.0, -1e3)).argmax()
        aim = torch.tensor([name])
        return self.naming(logits[best][None], aim, table)


@torch.no_grad()
def matched(points: Tensor, wanted: Tensor, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and the segments they are for (Hungarian), by mask and, where there is one, by name."""
    bce, dice = pair_costs(points, wanted)
    name = logits.softmax(-1)[:, target.clamp(min=0)] * (target >= 0)
    rows, columns = linear_sum_assignment((3 * bce + 3 * dice - 1.5 * name).numpy())
    return torch.from_numpy(rows), torch.from_numpy(columns)


def _total(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum() if parts else torch.zeros(())
