"""Composites: an object cut out by its mask and pasted onto another crop, so that rare names get more masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .data import CELL, LEAST_CELLS, Photo, Segments, label_files, photos

LEAST_SHARE, MOST_SHARE = 0.02, 0.5
"""Of a photo that an object to be cut out may cover."""
SIDES = (0.3, 0.8)
"""The pasted object's longer side, as a share of the crop's side along it."""


@dataclass(frozen=True)
class Cutout:
    """One class's pixels in one photo. `name`: index of the name."""

    photo: Photo
    value: int
    name: int


def things(data: Path, ids: dict[tuple[str, int], int]) -> set[int]:
    """The names of COCO's things, as opposed to its stuff."""
    info = json.loads((data / "coco" / "class_info.json").read_text())
    return {ids["coco", entry["id"]] for entry in info if entry["isthing"] and ("coco", entry["id"]) in ids}


def cutouts(data: Path, ids: dict[tuple[str, int], int], person: int) -> list[Cutout]:
    """All that may be cut out of photos that are trained on: VOC's objects, COCO's things, CCP's people."""
    able = things(data, ids)
    found = []
    for kind in ("voc", "coco", "ccp"):
        for photo in photos(data, kind):
            if photo.held_out:
                continue
            labels = np.asarray(Image.open(label_files(data, photo)[0]))[::2, ::2]
            if kind == "ccp":
                if LEAST_SHARE < (labels != 0).mean() < MOST_SHARE:
                    found.append(Cutout(photo, -1, person))
                continue
            for value, count in zip(*np.unique(labels, return_counts=True), strict=True):
                if not LEAST_SHARE < count / labels.size < MOST_SHARE:
                    continue
                name = ids.get((kind, int(value)))
                if name is not None and (kind == "voc" or name in able):
                    found.append(Cutout(photo, int(value), name))
    return found


def pasted(
    pixels: np.ndarray, base: Segments, image: Image.Image, mask: np.ndarray, name: int, rng: np.random.Generator
) -> tuple[np.ndarray, Segments]:
    """The crop `pixels` [H, W, 3] with `image`'s part under `mask` somewhere on it, and the segments of both."""
    height, width = pixels.shape[:2]
    ys, xs = np.nonzero(mask)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    share = rng.uniform(*SIDES)
    scale = min(share * width / (box[2] - box[0]), share * height / (box[3] - box[1]))
    size = (max(int((box[2] - box[0]) * scale), CELL), max(int((box[3] - box[1]) * scale), CELL))
    part = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR, box=box), np.float32)
    soft = Image.fromarray((mask * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR, box=box)
    alpha = np.asarray(soft, np.float32) / 255
    if rng.random() < 0.5:
        part, alpha = part[:, ::-1], alpha[:, ::-1]
    x, y = int(rng.integers(0, width - size[0] + 1)), int(rng.integers(0, height - size[1] + 1))
    there = np.s_[y : y + size[1], x : x + size[0]]
    made = pixels.astype(np.float32)
    made[there] += alpha[..., None] * (part - made[there])
    covered = np.zeros((height, width), bool)
    covered[there] = alpha > 0.5
    cells = covered[CELL // 2 :: CELL, CELL // 2 :: CELL]
    masks, names = [cells], [name]
    for left, own in zip(base.masks & ~cells, base.names, strict=True):
        if left.sum() >= LEAST_CELLS:
            masks.append(left)
            names.append(own)
    return made.round().astype(np.uint8), Segments(np.stack(masks), names, base.labelled | cells)
