"""What the segmenter is taught with: masks, names of segments, names of whole photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from .data import Segments, training_names
from .model import TEMPERATURE, Found

POINTS = 2048
MASK = {"bce": 4.0, "dice": 2.0}
"""Weights in the loss of a mask."""
MATCHING = {"bce": 3.0, "dice": 3.0, "name": 1.5}
"""Weights in what it costs to match a query to a segment; the chance of the right name is taken off."""
EARLY_LAYERS = 0.4
"""Weight of the masks of all layers but the last."""
NO_OBJECT = 0.05
LABELLED_ENOUGH = 0.6
"""A free query is taught "background" only when so much of its mask is on labelled cells."""
ABSENT = 1.0
"""Keeps free queries from saying what the photo's labels rule out."""
HARDLY_LABELLED = 0.2
"""A free query with less of its mask on labelled cells is none of the names that would have been labelled."""
LEAST_AREA = 0.005
"""Of the crop, in the mask of a query that can say something wrong."""
DISTILLATION = 2.0
"""Keeps a segment's embedding close to ImageNet's verdict, which knows more names than are taught."""
KNOWLEDGE = 1.0
"""Keeps the backbone's ImageNet classes what they were (Kullback-Leibler divergence from the frozen one's)."""
WHOLE = 0.5
WHOLE_AREAS = (0.06, 0.95)
"""Of the photo that a query may cover to be what the photo's one name means."""
NEGATIVES = 128
NEAR = 0.5
"""A name this close to the right one (cosine) is not taught as wrong, unless both are names of one data set."""


NO_NAME, NOTHING = -1, -2
"""In the place of a name: a segment that has none, and no segment."""


@dataclass
class Truth:
    """The segments of B crops, padded to K: masks [B, K, h, w], names [B, K], `labelled` [B, h, w]: cells that someone
    named. `whole` [B]: the name of a photo that has a name but no masks, else -1. `annotated` [B, N]: names that would
    have been labelled, were they there; `absent` [B, N]: those of them that are not."""

    masks: Tensor
    names: Tensor
    labelled: Tensor
    whole: Tensor
    annotated: Tensor
    absent: Tensor

    @classmethod
    def of(cls, crops: list[Segments], annotated: np.ndarray, absent: np.ndarray) -> Truth:
        most = max(1, *(len(crop.names) for crop in crops))
        masks = torch.zeros(len(crops), most, *crops[0].masks.shape[1:], dtype=torch.bool)
        names = torch.full((len(crops), most), NOTHING)
        for b, crop in enumerate(crops):
            masks[b, : len(crop.names)] = torch.from_numpy(crop.masks)
            names[b, : len(crop.names)] = torch.tensor(crop.names, dtype=torch.long)
        labelled = torch.from_numpy(np.stack([crop.labelled for crop in crops]))
        whole = torch.tensor([crop.whole for crop in crops])
        return cls(masks, names, labelled, whole, torch.from_numpy(annotated), torch.from_numpy(absent))


def pair_costs(points: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """BCE and dice [B, Q, K] of logits [B, Q, P] against masks [B, K, P]."""
    turned = truth.transpose(1, 2)
    bce = (F.softplus(points).sum(2)[:, :, None] - points @ turned) / points.shape[2]
    soft = points.sigmoid()
    dice = 1 - (2 * soft @ turned + 1) / (soft.sum(2)[:, :, None] + truth.sum(2)[:, None] + 1)
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

    def __call__(self, found: Found, truth: Truth) -> tuple[Tensor, dict[str, Tensor]]:
        device = found.background.device
        table = self.table()
        scores = torch.cat([TEMPERATURE * found.embeddings @ table.T, found.background[..., None]], -1)
        spots = torch.randint(found.mask_features[0, 0].numel(), (len(scores), POINTS), device=device)

        def at_spots(x: Tensor) -> Tensor:
            """[B, C, h, w] to [B, C, P]."""
            return x.flatten(2).gather(2, spots[:, None].expand(-1, x.shape[1], -1))

        cells, wanted = at_spots(found.mask_features), at_spots(truth.masks).float()
        labelled = at_spots(truth.labelled[:, None])[:, 0].float()
        points = found.mask_vectors[-1] @ cells
        queries = matched(points.detach(), wanted, scores.detach(), truth.names)

        real = truth.names > NOTHING
        mask = torch.zeros((), device=device)
        for index, vectors in enumerate(found.mask_vectors):
            x = vectors.gather(1, queries[..., None].expand(-1, -1, vectors.shape[2])) @ cells
            bce = F.binary_cross_entropy_with_logits(x, wanted, reduction="none").mean(2)
            soft = x.sigmoid()
            dice = 1 - (2 * (soft * wanted).sum(2) + 1) / (soft.sum(2) + wanted.sum(2) + 1)
            weight = 1.0 if index == len(found.mask_vectors) - 1 else EARLY_LAYERS
            mask = mask + weight * ((MASK["bce"] * bce + MASK["dice"] * dice) * real).sum()

        crop, segment = (truth.names >= 0).nonzero(as_tuple=True)
        query, aim = queries[crop, segment], truth.names[crop, segment]
        logits = scores[crop, query]
        agrees = F.cosine_similarity(found.embeddings[crop, query], found.verdicts[crop, query], dim=-1)

        soft = points.detach().sigmoid()
        share = (soft @ labelled[..., None])[..., 0] / (soft.sum(2) + 1e-3)
        taken = torch.zeros_like(share).scatter_add(1, queries, real.float()) > 0
        has_names = (truth.names >= 0).any(1)[:, None]
        free = scores[(share > LABELLED_ENOUGH) & ~taken & has_names]
        background = torch.full((len(free),), scores.shape[-1] - 1, device=device)

        ruled_out = self.ruled_out(scores, truth, share, taken, soft.mean(2) > LEAST_AREA)

        whole = (truth.whole >= 0).nonzero()[:, 0]
        name = truth.whole[whole]
        said = scores[whole, saying(points[whole].detach(), scores[whole].detach(), name)]

        asked, segments = max(len(aim), 1), real.sum().clamp(min=1)
        parts = {
            "mask": mask / segments,
            "name": self.naming(logits, aim, table) / asked,
            "nothing": F.cross_entropy(free, background, reduction="sum") / asked,
            "absent": ruled_out,
            "kept": (1 - agrees).sum() / asked,
            "whole": self.naming(said, name, table) / max(len(name), 1),
            "known": F.kl_div(
                found.said.log_softmax(-1).flatten(0, 1), found.told.softmax(-1).flatten(0, 1), reduction="batchmean"
            ),
        }
        weights = {"nothing": NO_OBJECT, "absent": ABSENT, "kept": DISTILLATION, "whole": WHOLE, "known": KNOWLEDGE}
        loss = torch.stack([weights.get(part, 1.0) * value for part, value in parts.items()]).sum()
        right = (logits[:, : len(self.names)].argmax(1) == aim).sum() / asked
        return loss, {**{part: value.detach() for part, value in parts.items()}, "right": right}

    def table(self) -> Tensor:
        """[N + M, D]: the names, and others drawn anew that are only wrong."""
        picked = torch.randperm(len(self.others), device=self.others.device)[:NEGATIVES]
        return torch.cat([self.names, self.others[picked]])

    def ruled_out(self, scores: Tensor, truth: Truth, share: Tensor, taken: Tensor, seen: Tensor) -> Tensor:
        """Minus the logarithm of the chance that a free query says nothing that cannot be, on average over all B, Q.

        VOC labels every dog: a query on something that VOC does not label, a table, say, is taught not to say "dog",
        while what it should say is left open.
        """
        free = seen & ~taken
        count = len(self.names)
        wrong = torch.where((share < HARDLY_LABELLED)[..., None], truth.annotated[:, None], truth.absent[:, None])
        wrong = wrong & free[..., None]
        chance = (scores.softmax(-1)[..., :count] * wrong).sum(-1)
        return -(1 - chance.clamp(max=1 - 1e-4)).log().sum() / wrong.any(-1).sum().clamp(min=1)

    def naming(self, logits: Tensor, aim: Tensor, table: Tensor) -> Tensor:
        """Cross-entropy of `logits` [K, N + M + 1] with the right names, summed."""
        logits = logits + F.pad(self.added, (0, logits.shape[1] - len(self.added)))
        return F.cross_entropy(self.without_near(logits, aim, table), aim, reduction="sum")

    def without_near(self, logits: Tensor, aim: Tensor, table: Tensor) -> Tensor:
        """`logits` [K, N + M + 1] with the names too close to the right ones out of the running."""
        near = self.names[aim] @ table.T > NEAR
        near[:, : len(self.names)] &= ~self.exclusive[aim]
        near[torch.arange(len(aim), device=aim.device), aim] = False
        return logits.masked_fill(F.pad(near, (0, 1)), -1e4)


def saying(points: Tensor, scores: Tensor, names: Tensor) -> Tensor:
    """[W]: the query that says the photo's name best, of those that cover enough of it; it should say it louder."""
    area = points.sigmoid().mean(2)
    fits = (area > WHOLE_AREAS[0]) & (area < WHOLE_AREAS[1])
    own = scores[torch.arange(len(names), device=names.device), :, names]
    return (own + torch.where(fits, 0.0, -1e3)).argmax(1)


@torch.no_grad()
def matched(points: Tensor, wanted: Tensor, scores: Tensor, names: Tensor) -> Tensor:
    """[B, K]: the query of each segment (Hungarian), by mask and, where there is one, by name; 0 for no segment."""
    bce, dice = pair_costs(points, wanted)
    asked = names.clamp(min=0)[:, None].expand(-1, scores.shape[1], -1)
    name = scores.softmax(-1).gather(2, asked) * (names >= 0)[:, None]
    weighted = MATCHING["bce"] * bce + MATCHING["dice"] * dice - MATCHING["name"] * name
    costs = weighted.cpu().numpy()
    found = np.zeros(names.shape, np.int64)
    for cost, there, queries in zip(costs, (names > NOTHING).cpu().numpy(), found, strict=True):
        columns = np.flatnonzero(there)
        rows, order = linear_sum_assignment(cost[:, columns])
        queries[columns[order]] = rows
    return torch.from_numpy(found).to(names.device)
