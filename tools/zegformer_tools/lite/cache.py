"""Runs the frozen backbone once over some crops of every photo and keeps the features on disk."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from . import warm
from .backbone import CHANNELS, Backbone, lite0
from .composite import Cutout, cutouts, pasted
from .data import (
    LABELLED_SETS,
    Crop,
    Photo,
    Segments,
    is_held_out,
    joined,
    label_files,
    labelled_photos,
    photos,
    segments,
    sides,
    training_names,
)
from .features import Features

CROPS = {"voc": 3, "coco": 20, "ccp": 3, "bsds": 8, "caltech101": 1, "grocery": 1}
"""Crops per photo; the first is the whole photo."""
LEAST_SCALE = 0.45
COMPOSITES = 5000
BASES = {"bsds": 0.4, "coco": 0.3, "voc": 0.3}
"""What a composite is pasted onto."""
COMPOSITE = "composite"
PARTS = {384: 0.25, 256: 1.0}
"""Shorter side of the crops -> share of all crops that is also made in this size."""
STORED = {4: np.int8, 8: np.int8, 16: np.int8, 32: np.float16}
"""Strides 4 to 16 are kept in 8 bits, a scale for each channel in `scales.npz`."""
CALIBRATION = 8
"""Batches of each shape that the scales are taken from."""
BATCH = 16


@dataclass(frozen=True)
class Row:
    """One crop. `present`: every name anywhere in its photos, also where the crop cuts it off."""

    set: str
    portrait: bool
    segments: Segments
    present: frozenset[int]


@dataclass(frozen=True)
class Plan:
    """A crop to make; `whole`: the name of a photo without masks."""

    photo: Photo
    crop: Crop
    whole: int = -1
    cutout: Cutout | None = None


def numbers(short: int) -> dict[int, int]:
    """Stride -> how many numbers its features have for a crop of this size."""
    height, width = sides(short)
    return {stride: c * (height // stride) * (width // stride) for stride, c in CHANNELS.items()}


def plan(data: Path, ids: dict[tuple[str, int], int], person: int, short: int, seed: int = 0) -> list[Plan]:
    """Crops in random order, so that a cache in the making already has all kinds. Every size has crops of its own."""
    rng = np.random.default_rng([seed, short])
    found: list[Plan] = []
    bases: dict[str, list[Plan]] = {}
    for kind in ("voc", "coco", "ccp", "bsds"):
        here = []
        for photo in photos(data, kind):
            if photo.held_out:
                continue
            with Image.open(photo.image) as image:
                here += list(_crops(photo, image.size, short, rng))
        found += here
        bases[kind] = here
    for kind in LABELLED_SETS:
        for path, folder in labelled_photos(data, kind):
            if is_held_out(path.stem):
                continue
            photo = Photo(kind, path.stem, path)
            with Image.open(path) as image:
                found += [replace(p, whole=ids[kind, folder]) for p in _crops(photo, image.size, short, rng)]
    found += _composites(cutouts(data, ids, person), bases, rng)
    order = rng.permutation(len(found))
    return [found[i] for i in order[: int(len(found) * PARTS[short])]]


def _crops(photo: Photo, size: tuple[int, int], short: int, rng: np.random.Generator) -> Iterator[Plan]:
    for k in range(CROPS[photo.set]):
        scale = 1.0 if k == 0 else float(rng.uniform(LEAST_SCALE, 1.0))
        yield Plan(photo, Crop.of(*size, short, scale, bool(rng.random() < 0.5), rng))


def _composites(pool: list[Cutout], bases: dict[str, list[Plan]], rng: np.random.Generator) -> list[Plan]:
    """Objects of rare names more often: each name's share goes with the square root of its count."""
    counts = np.bincount([c.name for c in pool])
    weights = 1 / np.sqrt(counts[[c.name for c in pool]])
    chosen = rng.choice(len(pool), COMPOSITES, p=weights / weights.sum())
    kinds = rng.choice(list(BASES), COMPOSITES, p=list(BASES.values()))
    return [replace(bases[k][rng.integers(len(bases[k]))], cutout=pool[i]) for k, i in zip(kinds, chosen, strict=True)]


class Maker:
    """Makes pixels and segments of planned crops."""

    def __init__(self, data: Path, ids: dict[tuple[str, int], int], person: int, seed: int = 0) -> None:
        self.data, self.ids, self.person = data, ids, person
        self.rng = np.random.default_rng([seed, 1])

    def _present(self, photo: Photo, labels: np.ndarray) -> set[int]:
        found = {self.ids[photo.set, int(v)] for v in np.unique(labels) if (photo.set, int(v)) in self.ids}
        return found | ({self.person} if photo.set == "ccp" else set())

    def __call__(self, planned: Plan) -> tuple[np.ndarray, Row]:
        photo, crop = planned.photo, planned.crop
        pixels = crop.pixels(Image.open(photo.image))
        if planned.whole >= 0:
            h, w = (side // 4 for side in crop.size)
            empty = Segments(np.zeros((0, h, w), bool), [], np.zeros((h, w), bool), planned.whole)
            return pixels, Row(photo.set, crop.portrait, packed(empty), frozenset({planned.whole}))
        views = [Image.open(file) for file in label_files(self.data, photo)]
        present = self._present(photo, np.asarray(views[0])) if photo.set != "bsds" else set()
        found = joined([segments(photo.set, crop.labels(view), self.ids, self.person) for view in views])
        kind = photo.set
        if planned.cutout is not None:
            kind = COMPOSITE
            cut = planned.cutout
            labels = np.asarray(Image.open(label_files(self.data, cut.photo)[0]))
            mask = labels != 0 if cut.value < 0 else labels == cut.value
            present |= self._present(cut.photo, labels)
            pixels, found = pasted(pixels, found, Image.open(cut.photo.image), mask, cut.name, self.rng)
        return pixels, Row(kind, crop.portrait, packed(found), frozenset(present))


def backbone_of(cache: Path) -> Backbone:
    """The backbone whose features a cache holds."""
    backbone = lite0()
    if (cache / "backbone.pt").exists():
        backbone.load_state_dict(torch.load(cache / "backbone.pt", weights_only=True))
    return backbone


def build(data: Path, cache: Path, seed: int, start: Path | None) -> None:
    """Makes the crops of every size, each in a folder of its own; another seed makes others. Features are those of
    ImageNet's backbone, or of the bundle `start`'s."""
    cache.mkdir(parents=True, exist_ok=True)
    if start and not (cache / "backbone.pt").exists():
        learned = lite0()
        warm.load_backbone(learned, start)
        torch.save(learned.state_dict(), cache / "backbone.pt")
    names, ids = training_names(data)
    person = names.index("person")
    backbone = Features(backbone_of(cache))
    for short in PARTS:
        folder = cache / f"crops{short}"
        if not (folder / "complete").exists():
            folder.mkdir(exist_ok=True)
            _build(plan(data, ids, person, short, seed), folder, short, backbone, Maker(data, ids, person, seed))
            (folder / "complete").touch()


def _build(todo: list[Plan], folder: Path, short: int, backbone: Features, maker: Maker) -> None:
    """Writes `features<stride>`, `scales.npz` and `crops.pkl`, the last anew as it goes: training may start early."""
    print(len(todo), "crops of", short, flush=True)
    sizes = numbers(short)
    files = {s: np.memmap(folder / f"features{s}", STORED[s], "w+", shape=(len(todo), n)) for s, n in sizes.items()}
    scales = {s: np.full(c, 1e-6, np.float32) for s, c in CHANNELS.items()}
    for portrait in (False, True):
        first = [p for p in todo if p.crop.portrait == portrait][: CALIBRATION * BATCH]
        for start in range(0, len(first), BATCH):
            for s, f in backbone.strides(np.stack([maker(p)[0] for p in first[start : start + BATCH]])).items():
                scales[s] = np.maximum(scales[s], np.abs(f).max((0, 2, 3)) / 127)
    kept: dict[str, Any] = {str(s): v for s, v in scales.items()}
    np.savez(folder / "scales.npz", **kept)

    rows: list[Row | None] = [None] * len(todo)
    pending: dict[bool, list[tuple[int, np.ndarray]]] = {False: [], True: []}
    for index, planned in enumerate(todo):
        pixels, rows[index] = maker(planned)
        pending[planned.crop.portrait].append((index, pixels))
        last = index + 1 == len(todo)
        for waiting in pending.values():
            if waiting and (last or len(waiting) == BATCH):
                places = [i for i, _ in waiting]
                for s, f in backbone.strides(np.stack([p for _, p in waiting])).items():
                    if STORED[s] is np.int8:
                        f = np.clip(np.rint(f / scales[s][:, None, None]), -127, 127)
                    files[s][places] = f.reshape(len(places), -1).astype(STORED[s])
                waiting.clear()
        if index % 1600 == 1599 or last:
            print("cached", index + 1, flush=True)
            waiting_now = {i for w in pending.values() for i, _ in w}
            ready = [None if i in waiting_now else row for i, row in enumerate(rows)]
            temporary = folder / "crops.tmp"
            temporary.write_bytes(pickle.dumps(ready))
            temporary.rename(folder / "crops.pkl")


def packed(found: Segments) -> Segments:
    """Masks as bits; `unpacked` widens them."""
    return replace(found, masks=np.packbits(found.masks, -1), labelled=np.packbits(found.labelled, -1))


def unpacked(found: Segments) -> Segments:
    def wide(bits: np.ndarray) -> np.ndarray:
        return np.unpackbits(bits, -1).astype(bool)

    return replace(found, masks=wide(found.masks), labelled=wide(found.labelled))
