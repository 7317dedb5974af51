"""Photos and their label maps in the memory of the device that trains, and what is needed to make crops of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .backbone import PIXEL_MEAN, PIXEL_STD
from .data import LABELLED_SETS, annotated, is_held_out, label_files, labelled_photos, photos, training_names

REGIONS = 512
"""Numbers of nameless segments start at the count of the names; at most so many in a label map."""
LABELLED, EVERYTHING = -1, -2
"""In the place of a label: all that has one (who wears the garments), and the whole photo."""
GREY = 0.05
"""Of the crops that lose their colours."""
JITTER = {"saturation": 0.4, "contrast": 0.25, "brightness": 0.3, "tint": 0.08}
"""Largest logarithm of the factor that each is changed by; the tint by another one for each of the three colours."""


@dataclass
class Read:
    """A photo's pixels [h, w, 3], its label maps [h, w] (a name, a region, -1) and, if it has no masks, its name."""

    kind: str
    pixels: np.ndarray
    labels: list[np.ndarray]
    names: set[int]
    whole: int
    regions: list[tuple[int, tuple[int, int, int, int], int]]
    """Label, box (left, top, right, bottom) and size in pixels of every region with a name."""


def read_all(data: Path, ids: dict[tuple[str, int], int], count: int) -> Iterator[Read]:
    """Every photo that is not held out. `ids`: (set, label) -> name, of `count` names."""
    tables = {kind: np.full(256, -1, np.int16) for kind, _ in ids}
    for (kind, label), name in ids.items():
        tables[kind][label] = name

    def masked(kind: str, image: Path, files: list[Path]) -> Read:
        pixels = np.asarray(Image.open(image).convert("RGB"))
        raw = [np.asarray(Image.open(file)) for file in files]
        if kind == "bsds":
            return Read(
                kind, pixels, [(count + r.astype(np.int32) % REGIONS).astype(np.int16) for r in raw], set(), -1, []
            )
        labels = tables[kind][raw[0]]
        names = np.flatnonzero(np.bincount(labels[labels >= 0])).tolist()
        regions = [_region(labels == name, name) for name in names]
        if kind == "ccp" and names:
            regions.append(_region(labels >= 0, LABELLED))
        return Read(kind, pixels, [labels], set(names), -1, regions)

    def labelled(kind: str, image: Path, name: int) -> Read:
        pixels = np.asarray(Image.open(image).convert("RGB"))
        height, width = pixels.shape[:2]
        return Read(kind, pixels, [], {name}, name, [(EVERYTHING, (0, 0, width, height), height * width)])

    with ThreadPoolExecutor() as pool:
        jobs = []
        for kind in ("voc", "coco", "ccp", "bsds"):
            for photo in photos(data, kind):
                if not photo.held_out:
                    jobs.append(pool.submit(masked, kind, photo.image, label_files(data, photo)))
        for kind in LABELLED_SETS:
            for path, folder in labelled_photos(data, kind):
                if not is_held_out(path.stem):
                    jobs.append(pool.submit(labelled, kind, path, ids[kind, folder]))
        for job in jobs:
            yield job.result()


def _region(mask: np.ndarray, value: int) -> tuple[int, tuple[int, int, int, int], int]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return value, (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1), int(np.count_nonzero(mask))


@dataclass(frozen=True)
class Place:
    """A region with a name: where its photo and its label map begin, the photo's sides, the region's box (left, top,
    right, bottom), its label and its size in pixels."""

    set: str
    name: int
    photo: int
    labels: int
    height: int
    width: int
    box: tuple[int, int, int, int]
    value: int
    pixels: int

    @property
    def share(self) -> float:
        return self.pixels / (self.height * self.width)


@dataclass
class Places:
    """The same of many, on the device."""

    name: Tensor
    photo: Tensor
    labels: Tensor
    height: Tensor
    width: Tensor
    box: Tensor
    value: Tensor

    @classmethod
    def of(cls, rows: Sequence[Place], device: torch.device) -> Places:
        return cls(*(torch.tensor([getattr(row, f.name) for row in rows], device=device) for f in fields(cls)))

    def at(self, index: Tensor) -> Places:
        return Places(*(column[index] for column in vars(self).values()))


class Album:
    """All photos that are not held out, end to end in one tensor, and their label maps in another.

    Photos in which a withheld name occurs are left out. `present`: the names in each photo; `annotated` [P, N]: those
    that would have been labelled, were they there.
    """

    def __init__(self, data: Path, device: torch.device, withheld: set[int]) -> None:
        names, ids = training_names(data)
        self.count, self.person, self.device = len(names), names.index("person"), device
        every = list(read_all(data, ids, self.count))
        read = [photo for photo in every if not withheld & photo.names]
        if withheld:
            print(
                f"{len(withheld)} names withheld: {len(every) - len(read)} of {len(every)} photos left out", flush=True
            )
        self.sets = np.array([photo.kind for photo in read])
        self.present = [sorted(photo.names) for photo in read]
        self.sides = np.array([photo.pixels.shape[:2] for photo in read])
        self.whole = torch.tensor([photo.whole for photo in read], device=device)
        known, nothing = annotated(ids, self.count, withheld), np.zeros(self.count, bool)
        self.annotated = torch.from_numpy(np.stack([known.get(kind, nothing) for kind in self.sets])).to(device)
        self.pixels = torch.from_numpy(np.concatenate([p.pixels.reshape(-1, 3) for p in read])).to(device)
        maps = [m.ravel() for p in read for m in p.labels]
        self.labels = torch.from_numpy(np.concatenate(maps)).to(device)
        self.starts = _starts(list(self.sides.prod(1)))
        self.map_starts = _starts([len(m) for m in maps])
        self.map_counts = np.array([len(p.labels) for p in read])
        self.first_map = _starts(list(self.map_counts))
        self.places = [place for index, photo in enumerate(read) for place in self._places(index, photo)]

    def _places(self, index: int, photo: Read) -> Iterator[Place]:
        height, width = photo.pixels.shape[:2]
        for value, box, pixels in photo.regions:
            labels = int(self.map_starts[self.first_map[index]]) if photo.labels else 0
            name = {EVERYTHING: photo.whole, LABELLED: self.person}.get(value, value)
            yield Place(photo.kind, name, int(self.starts[index]), labels, height, width, box, value, pixels)

    def inside(self, places: Places, x: Tensor, y: Tensor) -> Tensor:
        """[B, h, w]: whether these spots of a photo each are in the region."""
        column = x.long().clamp(min=0).minimum(places.width[:, None, None] - 1)
        row = y.long().clamp(min=0).minimum(places.height[:, None, None] - 1)
        value = places.value[:, None, None]
        spot = places.labels[:, None, None] + row * places.width[:, None, None] + column
        found = self.labels[torch.where(value == EVERYTHING, 0, spot)]
        return torch.where(value == LABELLED, found >= 0, found == value) | (value == EVERYTHING)


def _starts(lengths: list[int]) -> np.ndarray:
    """Where each of these runs begins when they lie end to end."""
    return np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))[:-1]])


def grid(box: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """The places [B, h, w] of the centres of h x w pixels in boxes [B, 4]: left, top, right, bottom."""
    left, top, right, bottom = (side[:, None, None] for side in box.unbind(1))
    across = (torch.arange(w, device=box.device) + 0.5) / w
    down = (torch.arange(h, device=box.device) + 0.5)[:, None] / h
    x, y = left + (right - left) * across, top + (bottom - top) * down
    return x.expand(-1, h, -1), y.expand(-1, -1, w)


def bilinear(flat: Tensor, start: Tensor, height: Tensor, width: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[B, 3, h, w] of photos that begin at `start` [B] of `flat` [P, 3]; a pixel's centre is at its place plus .5."""
    x, y = x - 0.5, y - 0.5
    left, top = x.floor(), y.floor()
    right_part, lower_part = (x - left)[..., None], (y - top)[..., None]

    def at(dx: int, dy: int) -> Tensor:
        column = (left.long() + dx).clamp(min=0).minimum(width - 1)
        row = (top.long() + dy).clamp(min=0).minimum(height - 1)
        return flat[start[:, None, None] + row * width + column].float()

    upper = at(0, 0).lerp(at(1, 0), right_part)
    lower = at(0, 1).lerp(at(1, 1), right_part)
    return upper.lerp(lower, lower_part).permute(0, 3, 1, 2)


def jittered(pixels: Tensor) -> Tensor:
    """Brightness, contrast, saturation and the tint changed at random; bytes as floats."""
    count, device = len(pixels), pixels.device

    def factor(what: str, channels: int = 1) -> Tensor:
        return ((torch.rand(count, channels, 1, 1, device=device) * 2 - 1) * JITTER[what]).exp()

    grey = pixels.mean(1, keepdim=True)
    saturation = torch.where(torch.rand(count, 1, 1, 1, device=device) < GREY, 0.0, factor("saturation"))
    found = grey + (pixels - grey) * saturation
    middle = found.mean((1, 2, 3), keepdim=True)
    found = middle + (found - middle) * factor("contrast")
    return (found * factor("brightness") * factor("tint", 3)).clamp(0, 255)


def normalised(pixels: Tensor) -> Tensor:
    """Bytes as floats [B, 3, H, W] to what the backbone reads."""
    return ((pixels - PIXEL_MEAN) / PIXEL_STD).contiguous(memory_format=torch.channels_last)
