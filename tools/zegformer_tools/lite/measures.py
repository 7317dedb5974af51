"""What is measured: IoU by class, how well masks fit segments, how much of the boundaries is found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from .runtime import OTHER

LEAST_SHARE = 0.005
"""Of a photo that a true segment covers to be looked for."""
NEAR_BOUNDARY = 0.0075
"""Of the diagonal: how far a boundary may be off (as BSDS500's benchmark has it)."""


class Confusion:
    """Pixels by true and picked class; row and column 0 is "none of these"."""

    def __init__(self, count: int) -> None:
        self.table = np.zeros((count + 1, count + 1), np.int64)
        self.photos = np.zeros(count + 1, np.int64)
        """How many photos each true class occurs in."""

    def add(self, truth: np.ndarray, picked: np.ndarray, void: np.ndarray) -> None:
        """`truth` has 0 for none; `picked` counts from 0 and has 255 for none."""
        picked = np.where(picked == OTHER, 0, picked.astype(np.int64) + 1)
        size = len(self.table)
        pairs = truth[~void] * size + picked[~void]
        found = np.bincount(pairs, minlength=size * size).reshape(size, size)
        self.table += found
        self.photos += found.sum(1) > 0

    def iou(self, least_photos: int = 1) -> np.ndarray:
        """Of each class, "none" first; NaN where the class occurs in fewer photos."""
        hit = np.diag(self.table).astype(float)
        union = self.table.sum(0) + self.table.sum(1) - hit
        return np.where(self.photos >= max(least_photos, 1), hit / np.maximum(union, 1), np.nan)

    def accuracy(self) -> float:
        """Share of the pixels that are right."""
        return float(np.diag(self.table).sum() / max(self.table.sum(), 1))


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Of those that are numbers."""
    kept = [v for v in values if not np.isnan(v)]
    return float(np.mean(kept)) if kept else float("nan")


def harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def best_ious(truth: np.ndarray, void: Iterable[int], masks: np.ndarray) -> list[float]:
    """For each true segment of some size the IoU of the mask that fits it best. `masks`: boolean [Q, h, w]."""
    flat = masks.reshape(len(masks), -1)
    void = set(void)
    known = truth.ravel() != 255 if 255 in void else np.ones(truth.size, bool)
    areas = flat[:, known].sum(1)
    found = []
    for value in np.unique(truth):
        true = truth.ravel() == value
        if value in void or true.sum() < LEAST_SHARE * true.size:
            continue
        hit = flat[:, true].sum(1)
        found.append(float((hit / np.maximum(areas + true.sum() - hit, 1)).max()))
    return found


def boundaries(labels: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour belongs to another segment."""
    found = np.zeros(labels.shape, bool)
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    found[:-1] |= labels[:-1] != labels[1:]
    return found


def boundary_recall(truth: np.ndarray, segments: np.ndarray) -> float:
    """Share of the true boundaries that have one of `segments`' boundaries nearby; NaN where there are none."""
    wanted = boundaries(truth)
    if not wanted.any():
        return float("nan")
    distance = ndimage.distance_transform_edt(~boundaries(segments))
    return float((distance[wanted] <= NEAR_BOUNDARY * np.hypot(*truth.shape)).mean())
