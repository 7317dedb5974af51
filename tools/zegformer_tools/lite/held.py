"""The photos that are never trained on, in two halves, and what is typed for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .data import MASKED_SETS, Photo, for_tuning, label_files, labelled_photos, photos
from .measures import Confusion, mean
from .names import dataset_names

TUNING, REPORTING = "tuning", "reporting"
VOID = {"voc": (0, 255), "coco": (255,), "ccp": (0,), "bsds": ()}
TYPED, ABSENT = 5, 3
LEAST_TYPED = 0.01
LEAST_OTHER = 0.05
"""Of a photo that nothing was typed for, for "other" to count."""
MANY, MOST_EACH = 20, 2


def truth(data: Path, photo: Photo, annotator: int = 0) -> np.ndarray:
    return np.asarray(Image.open(label_files(data, photo)[annotator])).astype(np.int32)


@dataclass(frozen=True)
class Held:
    """One half of the held-out photos: settings are chosen on the tuning half, and nothing is on the one reported."""

    data: Path
    half: str = REPORTING

    def __contains__(self, photo: Photo) -> bool:
        return photo.held_out and for_tuning(photo) == (self.half == TUNING)

    def photos(self, kind: str) -> list[Photo]:
        """Of a set with masks. COCO's are few, 8 to report, but the other 7 chose settings. BSDS has no names, so that
        no setting was ever chosen on it (see `tune`): all its photos are reported, and none serves for tuning."""
        if kind == "bsds":
            return [p for p in photos(self.data, kind) if p.held_out] if self.half == REPORTING else []
        return [p for p in photos(self.data, kind) if p in self]

    def truth(self, photo: Photo, annotator: int = 0) -> np.ndarray:
        return truth(self.data, photo, annotator)

    def truths(self, photo: Photo) -> list[np.ndarray]:
        """One label map, or one of each annotator."""
        return [self.truth(photo, annotator) for annotator in range(len(label_files(self.data, photo)))]

    def single_things(self, kind: str) -> list[tuple[list[str], list[Photo]]]:
        """Photos of one thing and what to type: the thing's name, which was taught without masks, first, with others
        of its set."""
        found = dataset_names(self.data)
        masked = {n for masks in MASKED_SETS for n in found[masks]}
        names = [n for n in dict.fromkeys(found[kind]) if n not in masked]
        here: dict[str, list[Photo]] = {}
        for path, folder in labelled_photos(self.data, kind):
            photo = Photo(kind, path.stem, path)
            if photo in self:
                here.setdefault(found[kind][folder], []).append(photo)
        rng = np.random.default_rng(0)
        others = {n: rng.choice([m for m in names if m != n], MANY - 1, replace=False).tolist() for n in names}
        return [([n, *others[n]], here[n][:MOST_EACH]) for n in names if n in here]


@dataclass(frozen=True)
class Typed:
    """What is typed for a photo, as one uses the page: its largest classes, `there` of them, and some that are not
    there; the rest should be "other". `wanted` [h, w]: the place in `values` plus one, 0 for "other"."""

    values: list[int]
    there: int
    wanted: np.ndarray
    void: np.ndarray

    @classmethod
    def of(cls, true: np.ndarray, kind: str, count: int, rng: np.random.Generator) -> Typed:
        """`true`: a label map of the set `kind`, which has `count` names."""
        values, sizes = np.unique(true, return_counts=True)
        largest = sorted(zip(sizes.tolist(), values.tolist(), strict=True), reverse=True)
        there = [v for size, v in largest if v not in VOID[kind] and size > LEAST_TYPED * true.size][:TYPED]
        absent = [i for i in range(count) if i not in values and i not in VOID[kind]]
        typed = [*there, *rng.choice(absent, ABSENT, replace=False).tolist()]
        wanted = np.zeros_like(true)
        for index, value in enumerate(typed):
            wanted[true == value] = index + 1
        return cls(typed, len(there), wanted, true == 255)

    def score(self, picked: np.ndarray) -> float:
        """The mean IoU of what is there, "other" included where it covers enough."""
        total = Confusion(len(self.values))
        total.add(self.wanted, picked, self.void)
        iou = total.iou()
        rest = [iou[0]] if (self.wanted == 0).mean() > LEAST_OTHER else []
        return mean([*iou[1 : self.there + 1], *rest])
