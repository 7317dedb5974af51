"""Scores settings on the photos kept for that: background offset, lambda, threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from .data import LABELLED_SETS, MASKED_SETS
from .evaluate import is_first
from .held import TUNING, Held, Typed
from .measures import mean
from .names import dataset_names
from .runtime import OTHER, Model, Proposals, labels

OFFSETS = (4.0, 2.0, 0.0, -2.0, -4.0)
WEIGHTS = (0.0, 0.15, 0.3, 0.45, 0.6)
THRESHOLDS = (0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
MOST = 40

Found = list[tuple[np.ndarray, Proposals]]
"""Of each photo its label map, on the mask grid, and what the segmenter says of it."""


def run(data: Path, bundle: Path) -> None:
    """Prints the best settings; labels are compared on the mask grid."""
    model, held = Model(bundle), Held(data, TUNING)
    sets: dict[str, Found] = {}
    for kind in MASKED_SETS:
        sets[kind] = []
        for photo in held.photos(kind)[:MOST]:
            with Image.open(photo.image) as image:
                proposals = model.propose(image)
            true = held.truth(photo)
            h, w = proposals.masks.shape[1:]
            rows, columns = np.arange(h) * true.shape[0] // h, np.arange(w) * true.shape[1] // w
            sets[kind].append((true[rows][:, columns], proposals))
    scored = []
    for offset in OFFSETS:
        for weight in WEIGHTS:
            each = [typed_names(model, data, k, f, weight, THRESHOLDS, offset) for k, f in sets.items()]
            for index, threshold in enumerate(THRESHOLDS):
                parts = [round(part[index], 3) for part in each]
                scored.append((round(mean(parts), 4), offset, weight, threshold, parts))
    print("mean, background offset, lambda, threshold, [voc, coco, ccp]")
    for row in sorted(scored, reverse=True)[:30]:
        print(row)
    print("lambda, photos of one thing with the right name")
    for kind in LABELLED_SETS:
        print(kind, named_things(model, held, kind))


def named_things(model: Model, held: Held, kind: str) -> dict[float, float]:
    """The score of `evaluate.named_things` for several lambdas."""
    right: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    for typed, here in held.single_things(kind):
        classes = model.classes([[n] for n in typed])
        for photo in here:
            with Image.open(photo.image) as image:
                proposals, size = model.propose(image), image.size
            for weight, found in right.items():
                choice = replace(model.choice(), weight=weight)
                found.append(float(is_first(labels(proposals, classes, choice, size)[0])))
    return {weight: round(mean(found), 3) for weight, found in right.items()}


def typed_names(
    model: Model, data: Path, kind: str, found: Found, weight: float, thresholds: Sequence[float], offset: float
) -> list[float]:
    """The score of `evaluate.typed_names` for several thresholds; `offset` is added to the background logits."""
    names = dataset_names(data)[kind]
    rng = np.random.default_rng(0)
    results: list[list[float]] = [[] for _ in thresholds]
    for true, proposals in found:
        typed = Typed.of(true, kind, len(names), rng)
        shifted = replace(proposals, background=proposals.background + offset)
        classes = model.classes([[names[v]] for v in typed.values])
        choice = replace(model.choice(), weight=weight, threshold=0.0)
        picked, share = labels(shifted, classes, choice, (true.shape[1], true.shape[0]))
        for result, threshold in zip(results, thresholds, strict=True):
            result.append(typed.score(np.where(share < threshold, OTHER, picked)))
    return [mean(result) for result in results]
