"""Random crops made on the device that trains, from photos and label maps kept there: every step sees new ones."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .backbone import PIXEL_MEAN, PIXEL_STD
from .composite import LEAST_SHARE, MOST_SHARE, SIDES, things
from .data import CELL, LABELLED_SETS, LEAST_CELLS, is_held_out, label_files, labelled_photos, photos, training_names
from .losses import NO_NAME, NOTHING, Truth

SHAPES = ((256, 320), (288, 384), (320, 416), (320, 480), (384, 480))
"""Shorter and longer side of a batch's crops; they take turns at random."""
WHOLE_PHOTOS = 0.25
"""Of the crops that hold the whole photo, grey to the right of it or below, as the page pads it."""
LARGEST = 0.25
"""Of the crops that are the largest that fits; the rest is smaller."""
LEAST_SCALE = 0.35
STRETCH = 0.12
"""Largest logarithm of a crop's change of aspect."""
PASTED = 0.2
"""Of the crops of photos with masks that get another photo's object pasted on."""
SEGMENTS = 32
"""At most in a crop, the largest; and who wears the garments of Clothing Co-Parsing."""
SHARES = {"voc": 0.38, "coco": 0.16, "ccp": 0.16, "bsds": 0.14, "caltech101": 0.12, "grocery": 0.04}
"""Of the crops that are drawn."""
RARITY = 0.4
"""Within a set a photo is drawn as often as the count of its rarest name to the power of minus this."""
REGIONS = 512
"""Numbers of nameless segments start at the count of the names; at most so many in a label map."""
GREY = 0.05
"""Of the crops that lose their colours."""


@dataclass
class Read:
    """A photo's pixels [h, w, 3], its label maps [h, w] (a name, a region, -1) and, if it has no masks, its name."""

    kind: str
    pixels: np.ndarray
    labels: list[np.ndarray]
    whole: int

    def names(self, count: int) -> set[int]:
        found = {name for labels in self.labels for name in values(labels) if name < count}
        return found | ({self.whole} if self.whole >= 0 else set())


def values(labels: np.ndarray) -> list[int]:
    """The values of a label map, in order, without -1."""
    return np.flatnonzero(np.bincount(labels[labels >= 0])).tolist()


def read_all(data: Path, ids: dict[tuple[str, int], int], count: int) -> Iterator[Read]:
    """Every photo that is not held out. `ids`: (set, label) -> name, of `count` names."""

    def masked(kind: str, image: Path, files: list[Path]) -> Read:
        pixels = np.asarray(Image.open(image).convert("RGB"))
        maps = []
        for file in files:
            labels = np.asarray(Image.open(file)).astype(np.int64)
            if kind == "bsds":
                found = count + labels % REGIONS
            else:
                table = np.full(int(labels.max()) + 1, -1)
                for (owner, label), name in ids.items():
                    if owner == kind and label < len(table):
                        table[label] = name
                found = table[labels]
            maps.append(found.astype(np.int16))
        return Read(kind, pixels, maps, -1)

    def labelled(kind: str, image: Path, name: int) -> Read:
        return Read(kind, np.asarray(Image.open(image).convert("RGB")), [], name)

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


@dataclass
class Donors:
    """Objects to paste: label map's first cell and the photo's first pixel, its width, the box, the value, the name."""

    labels: Tensor
    photo: Tensor
    width: Tensor
    box: Tensor
    value: Tensor
    name: Tensor
    weights: np.ndarray


class Album:
    """All photos, end to end in one tensor, and their label maps in another."""

    def __init__(self, data: Path, device: torch.device, rng: np.random.Generator, withheld: set[int]) -> None:
        names, ids = training_names(data)
        self.count, self.person = len(names), names.index("person")
        self.rng, self.device = rng, device
        read = [photo for photo in read_all(data, ids, self.count) if not withheld & photo.names(self.count)]
        self.sets = np.array([photo.kind for photo in read])
        sizes = np.array([photo.pixels.shape[:2] for photo in read])
        self.portrait = sizes[:, 0] > sizes[:, 1]
        self.sizes = torch.from_numpy(sizes).to(device)
        self.whole = torch.tensor([photo.whole for photo in read], device=device)
        self.worn = torch.from_numpy(self.sets == "ccp").to(device)
        self.pixels = torch.from_numpy(np.concatenate([p.pixels.reshape(-1, 3) for p in read])).to(device)
        maps = [m.ravel() for p in read for m in p.labels]
        self.labels = torch.from_numpy(np.concatenate(maps)).to(device)
        self.starts = torch.from_numpy(_starts([p.pixels.shape[0] * p.pixels.shape[1] for p in read])).to(device)
        self.map_starts = _starts([len(m) for m in maps])
        self.map_counts = np.array([len(p.labels) for p in read])
        self.first_map = _starts(list(self.map_counts))
        present = [sorted(photo.names(self.count)) for photo in read]
        self.weights = self._weights(present)
        self.frequency: dict[int, float] = {}
        for own, weight in zip(present, self.weights, strict=True):
            for name in own:
                self.frequency[name] = self.frequency.get(name, 0.0) + float(weight)
        self.donors = self._donors(read, things(data, ids))

    def _weights(self, found: list[list[int]]) -> np.ndarray:
        counts = np.bincount([name for own in found for name in own], minlength=self.count)
        rarity = np.array([max((counts[n] ** -RARITY for n in own), default=1.0) for own in found])
        weights = np.zeros(len(found))
        for kind, share in SHARES.items():
            here = self.sets == kind
            weights[here] = share * rarity[here] / max(rarity[here].sum(), 1e-9)
        return weights / weights.sum()

    def _donors(self, read: list[Read], able: set[int]) -> Donors:
        """VOC's objects, COCO's things, CCP's people; those of rare names more often."""
        rows: list[tuple[int, int, int, tuple[int, int, int, int], int, int]] = []
        for index, photo in enumerate(read):
            if photo.kind not in ("voc", "coco", "ccp"):
                continue
            labels = photo.labels[0]
            for value in [-1] if photo.kind == "ccp" else values(labels):
                mask = labels >= 0 if value < 0 else labels == value
                if photo.kind == "coco" and value not in able:
                    continue
                if not LEAST_SHARE < mask.mean() < MOST_SHARE:
                    continue
                ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                box = (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
                map_start = int(self.map_starts[self.first_map[index]])
                name = self.person if value < 0 else value
                rows.append((map_start, int(self.starts[index]), labels.shape[1], box, value, name))
        counts = np.bincount([row[5] for row in rows])
        weights = 1 / np.sqrt(counts[[row[5] for row in rows]])
        columns: list[Any] = [torch.tensor(column, device=self.device) for column in zip(*rows, strict=True)]
        return Donors(*columns, weights / weights.sum())  # type: ignore[call-arg]

    def batch(self, size: int) -> tuple[Tensor, Truth]:
        """Normalised pixels [B, 3, H, W] of one of `SHAPES`, upright or not, and what is there."""
        short, long = SHAPES[self.rng.integers(len(SHAPES))]
        portrait = bool(self.rng.random() < self.weights @ self.portrait)
        h, w = (long, short) if portrait else (short, long)
        weights = self.weights * (self.portrait == portrait)
        chosen = self.rng.choice(len(weights), size, p=weights / weights.sum())
        index = torch.from_numpy(chosen).to(self.device)
        counts = self.map_counts[chosen]
        drawn = self.first_map[chosen] + (self.rng.random(size) * counts).astype(np.int64)
        maps = torch.from_numpy(self.map_starts[np.minimum(drawn, len(self.map_starts) - 1)]).to(self.device)
        has_map = torch.from_numpy(counts > 0).to(self.device)
        box, flip = self._boxes(index, h, w)
        x, y = _grid(box, h, w)
        height, width = (self.sizes[index, axis, None, None] for axis in (0, 1))
        outside = (x >= width) | (y >= height)
        x = torch.where(flip[:, None, None], width - x, x)
        pixels = bilinear(self.pixels, self.starts[index], height, width, x, y)
        cells = np.s_[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
        x, y, beyond = x[cells], y[cells], outside[cells]
        place = y.long().clamp(min=0).minimum(height - 1) * width + x.long().clamp(min=0).minimum(width - 1)
        labels = self.labels[torch.where(has_map[:, None, None], maps[:, None, None] + place, 0)].long()
        labels = torch.where(beyond | ~has_map[:, None, None], -1, labels)
        worn = torch.where(self.worn[index, None, None] & (labels >= 0), 1, 0).bool()
        pasted = (torch.rand(size, device=self.device) < PASTED) & has_map
        where = pasted.nonzero()[:, 0]
        if len(where):
            pixels[where], labels[where], alpha = self._paste(pixels[where], labels[where])
            outside[where] &= alpha == 0
            worn[where] &= alpha[cells] <= 0.5
        pixels = torch.where(outside[:, None], PIXEL_MEAN, jittered(pixels))
        return normalised(pixels), self._truth(labels, worn, self.whole[index])

    def _boxes(self, index: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
        """Left, top, right, bottom [B, 4] in the photos' pixels, and whether each is mirrored."""
        count = len(index)

        def rand() -> Tensor:
            return torch.rand(count, device=self.device)

        height, width = self.sizes[index].float().unbind(1)
        pick = rand()
        largest = torch.minimum(height / h, width / w)
        covering = torch.maximum(height / h, width / w)
        part = LEAST_SCALE + (1 - LEAST_SCALE) * rand()
        part = torch.where(pick < WHOLE_PHOTOS + LARGEST, 1.0, part)
        whole = pick < WHOLE_PHOTOS
        stretch = torch.where(whole, 0.0, (rand() * 2 - 1) * STRETCH).exp()
        scale = torch.where(whole, covering, largest * part)
        across, down = scale * w * stretch.sqrt(), scale * h / stretch.sqrt()
        across, down = (torch.where(whole, a, torch.minimum(a, b)) for a, b in ((across, width), (down, height)))
        left = torch.where(whole, 0.0, rand() * (width - across))
        top = torch.where(whole, 0.0, rand() * (height - down))
        return torch.stack([left, top, left + across, top + down], 1), rand() < 0.5

    def _paste(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """An object of another photo on each crop; also how much it covers of each pixel, [B, H, W]."""
        count, _, h, w = pixels.shape
        drawn = self.rng.choice(len(self.donors.weights), count, p=self.donors.weights)
        index = torch.from_numpy(drawn).to(self.device)
        box = self.donors.box[index].float()
        across, down = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
        share = SIDES[0] + (SIDES[1] - SIDES[0]) * torch.rand(count, device=self.device)
        scale = torch.minimum(share * w / across, share * h / down)
        left = torch.rand(count, device=self.device) * (w - scale * across)
        top = torch.rand(count, device=self.device) * (h - scale * down)
        # The crop's own corners as the donor's photo sees them; twice as fine, for the object may be shrunk.
        corner_x, corner_y = box[:, 0] - left / scale, box[:, 1] - top / scale
        x, y = _grid(torch.stack([corner_x, corner_y, corner_x + w / scale, corner_y + h / scale], 1), 2 * h, 2 * w)
        low_x, low_y, high_x, high_y = (side[:, None, None] for side in box.unbind(1))
        inside = (x >= low_x) & (x < high_x) & (y >= low_y) & (y < high_y)
        flip = (torch.rand(count, device=self.device) < 0.5)[:, None, None]
        x = torch.where(flip, low_x + high_x - x, x)
        x = torch.minimum(torch.maximum(x, low_x), high_x - 0.5)
        y = torch.minimum(torch.maximum(y, low_y), high_y - 0.5)
        width = self.donors.width[index, None, None]
        found = self.labels[self.donors.labels[index, None, None] + y.long() * width + x.long()]
        value = self.donors.value[index, None, None]
        mask = (torch.where(value < 0, found >= 0, found == value) & inside).float()
        part = bilinear(self.pixels, self.donors.photo[index], high_y.long(), width, x, y)
        alpha = F.avg_pool2d(mask[:, None], 2)
        colour = F.avg_pool2d(part * mask[:, None], 2) / alpha.clamp(min=1e-3)
        cover = alpha[:, 0, CELL // 2 :: CELL, CELL // 2 :: CELL] > 0.5
        name = self.donors.name[index, None, None]
        return pixels + alpha * (colour - pixels), torch.where(cover, name, labels), alpha[:, 0]

    def _truth(self, labels: Tensor, worn: Tensor, whole: Tensor) -> Truth:
        count = len(labels)
        sizes = torch.zeros(count, self.count + REGIONS, device=self.device)
        flat = labels.flatten(1)
        sizes.scatter_add_(1, flat.clamp(min=0), (flat >= 0).float())
        area, value = sizes.topk(SEGMENTS, 1)
        there = area >= LEAST_CELLS
        masks = (labels[:, None] == value[:, :, None, None]) & there[:, :, None, None]
        names = torch.where(value < self.count, value, NO_NAME)
        names = torch.where(there, names, NOTHING)
        person = torch.where(worn.flatten(1).sum(1) >= LEAST_CELLS, self.person, NOTHING)
        masks = torch.cat([masks, worn[:, None]], 1)
        names = torch.cat([names, person[:, None]], 1)
        return Truth(masks, names, (labels >= 0) & (labels < self.count), whole)


def _starts(lengths: list[int]) -> np.ndarray:
    """Where each of these runs begins when they lie end to end."""
    return np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))[:-1]])


def _grid(box: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
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

    def factor(most: float, channels: int = 1) -> Tensor:
        return ((torch.rand(count, channels, 1, 1, device=device) * 2 - 1) * most).exp()

    grey = pixels.mean(1, keepdim=True)
    saturation = torch.where(torch.rand(count, 1, 1, 1, device=device) < GREY, 0.0, factor(0.4))
    found = grey + (pixels - grey) * saturation
    middle = found.mean((1, 2, 3), keepdim=True)
    found = middle + (found - middle) * factor(0.25)
    return (found * factor(0.3) * factor(0.08, 3)).clamp(0, 255)


def normalised(pixels: Tensor) -> Tensor:
    """Bytes as floats [B, 3, H, W] to what the backbone reads."""
    return ((pixels - PIXEL_MEAN) / PIXEL_STD).contiguous(memory_format=torch.channels_last)
