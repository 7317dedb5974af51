"""What is measured: IoU by class, how well masks fit segments, how well boundaries are met; with what uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy import ndimage

from .runtime import OTHER

LEAST_SHARE = 0.005
"""Of a photo that a true segment covers to be looked for."""
NEAR_BOUNDARY = 0.0075
"""Of the diagonal: how far a boundary may be off (as BSDS500's benchmark has it)."""


RESAMPLES = 1000
"""Of the photos, for an interval."""


class Confusion:
    """Pixels of each photo by true and picked class; class 0 is "none of these"."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rows: list[np.ndarray] = []
        """Of each photo [4, count + 1]: pixels that are right, that are the class, that got it; whether it is there."""

    def add(self, truth: np.ndarray, picked: np.ndarray, void: np.ndarray) -> None:
        """`truth` has 0 for none; `picked` counts from 0 and has 255 for none."""
        picked = np.where(picked == OTHER, 0, picked.astype(np.int64) + 1)
        true, found = truth[~void], picked[~void]
        right, there, got = (np.bincount(v, minlength=self.count + 1) for v in (true[true == found], true, found))
        self.rows.append(np.stack([right, there, got, there > 0]))

    @property
    def sums(self) -> np.ndarray:
        return np.sum(self.rows, 0) if self.rows else np.zeros((4, self.count + 1))

    def iou(self, least_photos: int = 1) -> np.ndarray:
        """Of each class, "none" first; NaN where the class occurs in fewer photos."""
        return ious(self.sums, least_photos)

    def accuracy(self) -> float:
        """Share of the pixels that are right."""
        return accuracy(self.sums)

    def occur(self, least_photos: int = 1) -> int:
        """How many of the classes, "none" aside, are in so many photos."""
        return int((self.sums[3, 1:] >= least_photos).sum())


def ious(sums: np.ndarray, least_photos: int = 1) -> np.ndarray:
    """`sums` [4, count + 1]: a `Confusion`'s rows added up."""
    right, there, got, photos = sums
    return np.where(photos >= max(least_photos, 1), right / np.maximum(there + got - right, 1), np.nan)


def accuracy(sums: np.ndarray) -> float:
    return float(sums[0].sum() / max(sums[1].sum(), 1))


def interval(
    rows: Sequence[float] | Sequence[np.ndarray] | np.ndarray, score: Callable[[np.ndarray], float] | None = None
) -> list[float]:
    """Where the middle 95 % of a score lie over photos drawn anew from the same, with replacement (bootstrap).

    `rows` [P, ...]: what each photo adds to the sums that `score` is made of; without `score` numbers whose mean it is.
    It holds for photos like these, for these weights, and says nothing of another training.
    """
    found = np.asarray(rows, float)
    if score is None:
        found = found[~np.isnan(found)]
        return interval(np.stack([found, np.ones_like(found)], 1), lambda sums: sums[0] / sums[1])
    count = len(found)
    if not count:
        return [float("nan")] * 2
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    sums = (times @ found.reshape(count, -1)).reshape(RESAMPLES, *found.shape[1:])
    return [round(float(v), 3) for v in np.nanpercentile([score(s) for s in sums], (2.5, 97.5))]


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


def boundary_counts(truths: Sequence[np.ndarray], void: Iterable[int], segments: np.ndarray) -> np.ndarray:
    """[4]: true boundary pixels that have one of `segments`' near, of how many; these, near a true one, of how many.

    As BSDS counts them: all annotators' for the recall, for the precision whether any annotator drew one there; but by
    the distance alone, where BSDS pairs pixels off. What is found in the `void` of a truth does not count.
    """
    near = NEAR_BOUNDARY * np.hypot(*segments.shape)
    drawn = [boundaries(truth) for truth in truths]
    found = boundaries(segments) & ~np.any([np.isin(truth, list(void)) for truth in truths], 0)
    recalled = sum(int((away(found)[true] <= near).sum()) for true in drawn)
    precise = int((away(np.any(drawn, 0))[found] <= near).sum())
    return np.array([recalled, sum(int(true.sum()) for true in drawn), precise, int(found.sum())])


def away(pixels: np.ndarray) -> np.ndarray:
    """How far each place is from the nearest of these pixels."""
    return ndimage.distance_transform_edt(~pixels) if pixels.any() else np.full(pixels.shape, np.inf)


def boundary_scores(counts: np.ndarray) -> tuple[float, float, float]:
    """Recall, precision and their harmonic mean F; `counts` [4] of some photos, added up."""
    recall, precision = counts[0] / max(counts[1], 1), counts[2] / max(counts[3], 1)
    return float(recall), float(precision), harmonic(recall, precision)
