"""Runs the frozen backbone once over some crops of every photo and keeps the features on disk."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .backbone import CHANNELS, Lite0, normalised
from .data import LONG, SHORT, Crop, Photo, Segments, label_files, photos, rare_first, segments, training_names

AUGMENTATIONS = {"voc": 2, "coco": 8, "ccp": 2, "bsds": 4}
"""Crops per photo; the first is the whole photo."""
COUNTS = {"voc": 2000, "coco": 150, "ccp": 450, "bsds": 389}
SIZES = {stride: c * (SHORT // stride) * (LONG // stride) for stride, c in CHANNELS.items()}
BATCH = 16


def plan(data: Path, seed: int = 0) -> list[tuple[Photo, Crop, int]]:
    """Training crops with the annotator's number, in random order, whole photos first."""
    rng = np.random.default_rng(seed)
    found: list[tuple[int, float, Photo, Crop, int]] = []
    for kind, most in COUNTS.items():
        here = [p for p in photos(data, kind) if not p.held_out]
        here = rare_first(data, here, most) if kind == "voc" else here[:most]
        for photo in here:
            with Image.open(photo.image) as image:
                width, height = image.size
            for k in range(AUGMENTATIONS[kind]):
                scale = 1.0 if k == 0 else float(rng.uniform(0.5, 1.0))
                crop = Crop.of(width, height, scale, bool(k % 2), rng)
                late = 0 if kind == "coco" or k == 0 else k
                found.append((late, float(rng.random()), photo, crop, k))
    found.sort(key=lambda row: row[:2])
    return [(photo, crop, k) for _, _, photo, crop, k in found]


def as_bf16(backbone: Lite0) -> None:
    """Half the memory traffic: features are kept in 16 bits anyway."""
    parts = [backbone.stem, backbone.head, *(c for b in backbone.blocks for c in b.convolutions)]
    for part in parts:
        part.weight = part.weight.bfloat16().contiguous(memory_format=torch.channels_last)
        part.bias = part.bias.bfloat16()


def build(data: Path, folder: Path) -> None:
    """Writes `features<stride>.f16` and `crops.pkl`; the log's count grows as it goes, so training may start early."""
    folder.mkdir(parents=True, exist_ok=True)
    names, ids = training_names(data)
    (folder / "names.json").write_text(json.dumps(names))
    person = names.index("person")
    todo = plan(data)
    print(len(todo), "crops", flush=True)
    files = {
        s: np.memmap(folder / f"features{s}.f16", np.float16, "w+", shape=(len(todo), n)) for s, n in SIZES.items()
    }
    backbone = Lite0()
    as_bf16(backbone)
    rows: list[tuple[str, bool, Segments] | None] = [None] * len(todo)
    done = 0
    pending: dict[bool, list[int]] = {False: [], True: []}
    for index in range(len(todo)):
        pending[todo[index][1].portrait].append(index)
        for portrait, waiting in pending.items():
            if len(waiting) < BATCH and index + 1 < len(todo):
                continue
            if not waiting:
                continue
            pixels = []
            for i in waiting:
                photo, crop, k = todo[i]
                labels = label_files(data, photo)
                label = Image.open(labels[k % len(labels)])
                rows[i] = (photo.set, portrait, packed(segments(photo.set, crop.labels(label), ids, person)))
                pixels.append(crop.pixels(Image.open(photo.image)))
            x = normalised(torch.from_numpy(np.stack(pixels))).bfloat16().contiguous(memory_format=torch.channels_last)
            for stride, values in backbone.features(x).items():
                files[stride][waiting] = values.float().contiguous().flatten(1).numpy().astype(np.float16)
            done += len(waiting)
            pending[portrait] = []
        if index % 800 == 799 or index + 1 == len(todo):
            print("cached", done, flush=True)
            temporary = folder / "crops.tmp"
            temporary.write_bytes(pickle.dumps(rows))
            temporary.rename(folder / "crops.pkl")


def packed(found: Segments) -> Segments:
    """Masks as bits; `unpacked` widens them."""
    return Segments(np.packbits(found.masks, -1), found.names, np.packbits(found.labelled, -1))


def unpacked(found: Segments) -> Segments:
    return Segments(
        np.unpackbits(found.masks, -1).astype(bool), found.names, np.unpackbits(found.labelled, -1).astype(bool)
    )
