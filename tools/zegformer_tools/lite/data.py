"""Photos and their segments, read from a folder of data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .synonyms import SYNONYMS

SHORT, LONG = 256, 320
"""Sides of a training crop, or what they are multiples of; portraits are 320 high."""
CELL = 4
"""Pixels per cell of the label maps kept for training."""
LEAST_CELLS = 12
MOST_SEGMENTS = 40
SAME = 0.75
"""IoU from which two annotators' segments count as one."""
MASKED_SETS = ("voc", "coco", "ccp")
"""Every pixel of these that shows one of the set's names is labelled."""
LABELLED_SETS = ("caltech101", "grocery")
"""Photos with one name and no masks."""


def sides(short: int) -> tuple[int, int]:
    """The sides of a crop whose shorter one is `short`."""
    return short, short * LONG // SHORT


@dataclass(frozen=True)
class Photo:
    set: str
    stem: str
    image: Path

    @property
    def held_out(self) -> bool:
        """One photo in ten, by its name alone, is never trained on."""
        return is_held_out(self.stem)


def is_held_out(stem: str) -> bool:
    return hashlib.md5(stem.encode()).digest()[0] < 26


def for_tuning(photo: Photo) -> bool:
    """Half of the held-out photos serve to choose settings, the other half to report."""
    return hashlib.md5(photo.stem.encode()).digest()[1] < 128


@dataclass
class Segments:
    """Boolean masks [K, h, w] and the id of each one's name; -1 has none. `labelled`: cells that someone named.

    `whole`: the name of a photo that has a name but no masks, else -1.
    """

    masks: np.ndarray
    names: list[int]
    labelled: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    whole: int = -1


def photos(data: Path, name: str) -> list[Photo]:
    return [Photo(name, p.stem, p) for p in sorted((data / name / "images").iterdir())]


def label_files(data: Path, photo: Photo) -> list[Path]:
    """The label maps of a photo: one, or one per annotator."""
    folder = data / photo.set
    if photo.set == "bsds":
        return sorted((folder / "segments").glob(f"{photo.stem}_*.png"))
    return [folder / ("semantic" if photo.set == "coco" else "masks") / f"{photo.stem}.png"]


@dataclass(frozen=True)
class Crop:
    """A part of a photo with the training crop's aspect, mirrored or not."""

    box: tuple[float, float, float, float]
    flip: bool
    portrait: bool
    short: int = SHORT

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        short, long = sides(self.short)
        return (long, short) if self.portrait else (short, long)

    @classmethod
    def of(cls, width: int, height: int, short: int, scale: float, flip: bool, rng: np.random.Generator) -> Crop:
        """A random place; scale 1 is the largest crop that fits."""
        portrait = height > width
        long_side, short_side = (height, width) if portrait else (width, height)
        whole = min(long_side / LONG, short_side / SHORT)
        part = whole * scale
        h, w = (LONG * part, SHORT * part) if portrait else (SHORT * part, LONG * part)
        x, y = rng.uniform(0, width - w + 1e-6), rng.uniform(0, height - h + 1e-6)
        return cls((x, y, x + w, y + h), flip, portrait, short)

    def pixels(self, image: Image.Image) -> np.ndarray:
        h, w = self.size
        found = np.asarray(image.convert("RGB").resize((w, h), Image.Resampling.BILINEAR, box=self.box))
        return found[:, ::-1] if self.flip else found

    def labels(self, image: Image.Image) -> np.ndarray:
        h, w = self.size
        size = (w // CELL, h // CELL)
        found = np.asarray(image.resize(size, Image.Resampling.NEAREST, box=self.box)).astype(np.int32)
        return found[:, ::-1] if self.flip else found


def segments(kind: str, labels: np.ndarray, ids: dict[tuple[str, int], int], person: int) -> Segments:
    """The segments of a label map. `ids`: (set, label) -> id of the name; `person`: the id of "person"."""
    masks: list[np.ndarray] = []
    names: list[int] = []
    if kind == "bsds":
        void, labelled = set(), np.zeros_like(labels, bool)
    else:
        void = {255} if kind == "coco" else {0, 255}
        labelled = ~np.isin(labels, list(void))
    values, counts = np.unique(labels, return_counts=True)
    for value, count in sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1]):
        if value in void or count < LEAST_CELLS or len(masks) >= MOST_SEGMENTS:
            continue
        masks.append(labels == value)
        names.append(-1 if kind == "bsds" else ids[kind, value])
    if kind == "ccp" and labelled.any():
        # Garments overlap with who wears them: the whole person is a segment too.
        masks.append(labelled)
        names.append(person)
    shape = (len(masks), *labels.shape)
    return Segments(np.stack(masks) if masks else np.zeros(shape, bool), names, labelled)


def joined(views: list[Segments]) -> Segments:
    """What several annotators drew on one photo: parts and wholes. Of segments that are nearly the same one is kept."""
    if len(views) == 1:
        return views[0]
    masks = np.concatenate([view.masks for view in views])
    names = [name for view in views for name in view.names]
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    areas, both = flat.sum(1), flat @ flat.T
    iou = both / np.maximum(areas[:, None] + areas - both, 1)
    kept: list[int] = []
    for index in np.argsort(-areas, kind="stable").tolist():
        if len(kept) < MOST_SEGMENTS and not (iou[index, kept] > SAME).any():
            kept.append(index)
    return Segments(masks[kept], [names[i] for i in kept], views[0].labelled)


def training_names(data: Path) -> tuple[list[str], dict[tuple[str, int], int]]:
    """All names of the sets, and (set, label or index of the folder) -> index."""
    from .names import dataset_names

    found = dataset_names(data)
    names: list[str] = []
    ids = {}
    for kind in ("voc", "coco", "ccp", *LABELLED_SETS):
        for label, name in enumerate(found[kind]):
            if name == "background":
                continue
            if name not in names:
                names.append(name)
            ids[kind, label] = names.index(name)
    return names, ids


def withheld_ids(names: list[str], withhold: Iterable[str]) -> set[int]:
    """The indices in `names`, all that are taught, of those to withhold; a synonym, which has none, may be too."""
    known = {*names, *(word for words in SYNONYMS.values() for word in words)}
    unknown = sorted(set(withhold) - known)
    if unknown:
        raise SystemExit(f"cannot withhold {', '.join(unknown)}: neither a training name nor a synonym of one")
    return {names.index(n) for n in withhold if n in names}


def annotated(ids: dict[tuple[str, int], int], count: int, withheld: set[int]) -> dict[str, np.ndarray]:
    """Set -> [N]: the names, of `count`, that would have been labelled in its photos, were they there."""
    found = {kind: np.zeros(count, bool) for kind in MASKED_SETS}
    for (kind, _), name in ids.items():
        if kind in found and name not in withheld:
            found[kind][name] = True
    return found


def labelled_photos(data: Path, name: str) -> Iterator[tuple[Path, int]]:
    """Photos with one label: path and the index of the folder."""
    folders = sorted(json.loads((data / name / "classes.json").read_text()))
    for index, folder in enumerate(folders):
        for path in sorted((data / name / folder).iterdir()):
            yield path, index
