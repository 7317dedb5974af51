"""The image branch: ImageNet's verdict on a masked crop in words, and a residual trained to correct it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import WIDTH, Backbone, lite0
from .data import is_held_out, label_files, labelled_photos, photos, training_names
from .features import Features
from .losses import NEAR, exclusive
from .model import TEMPERATURE
from .names import EMBEDDING, TextSpace, dataset_names, imagenet_names, text_space

SIDE = 160
HIDDEN = 256
SHARPNESS = 1.5
"""ImageNet's logits are multiplied by this: the classifier was trained with smoothed labels and is too timid."""
RESIDUAL = 0.3
DISTILLATION = 1.0
"""Pulls to ImageNet's verdict, which knows more names. At 8 a tenth of the taught ones is lost."""
DECAY = 0.3
STEPS = 4000
RATE = 1e-3
VIEWS = 2
"""Of each region or photo: the whole, and mirrored the other way, a part of it."""
LEAST_PART = 0.7
"""Of the side of a part."""
NEGATIVES = 256
"""Names drawn for each step that are only ever wrong."""
LEAST_PIXELS = 400
MEAN_COLOUR = 127


def masked_crop(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask's box, mean colour outside the mask."""
    ys, xs = np.nonzero(mask)
    box = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return np.where(mask[box][..., None], pixels[box], MEAN_COLOUR).astype(np.uint8)


def views(pixels: np.ndarray, mirrored: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`VIEWS` squares [SIDE, SIDE, 3], squashed: first the whole, then parts; mirrored by turns."""
    image = Image.fromarray(pixels)
    for index in range(VIEWS):
        part = 1.0 if index == 0 else rng.uniform(LEAST_PART, 1.0)
        width, height = image.width * part, image.height * part
        x, y = rng.uniform(0, image.width - width + 1e-6), rng.uniform(0, image.height - height + 1e-6)
        box = (x, y, min(x + width, image.width), min(y + height, image.height))
        square = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box))
        yield square[:, ::-1] if mirrored != bool(index % 2) else square


def collect(data: Path, cache: Path) -> None:
    """Pooled features of every region and photo with a name: `regions.npz`. Of what is held out, the whole alone."""
    backbone = Features()
    rng = np.random.default_rng(0)
    names = dataset_names(data)
    inputs: list[np.ndarray] = []
    rows: list[tuple[str, str, bool]] = []
    found: list[np.ndarray] = []
    things = 0

    def flush() -> None:
        if inputs:
            found.append(backbone.pooled(np.stack(inputs)).astype(np.float16))
            inputs.clear()

    def add(pixels: np.ndarray, kind: str, name: str, held: bool) -> None:
        nonlocal things
        for view in views(pixels, bool(things % 2), rng):
            inputs.append(view)
            rows.append((kind, name, held))
            if held:
                break
        things += 1
        if len(inputs) >= 64:
            flush()

    for kind in ("caltech101", "grocery"):
        for path, label in labelled_photos(data, kind):
            add(np.asarray(Image.open(path).convert("RGB")), kind, names[kind][label], is_held_out(path.stem))
        print(kind, len(rows), flush=True)
    for kind in ("voc", "coco", "ccp"):
        for photo in photos(data, kind):
            pixels = np.asarray(Image.open(photo.image).convert("RGB"))
            labels = np.asarray(Image.open(label_files(data, photo)[0]))
            for value in np.unique(labels):
                if value == 255 or (value == 0 and kind != "coco"):
                    continue
                mask = labels == value
                if mask.sum() >= LEAST_PIXELS:
                    add(masked_crop(pixels, mask), kind, names[kind][value], photo.held_out)
            if kind == "ccp" and labels.any():
                add(masked_crop(pixels, labels != 0), kind, "person", photo.held_out)
        print(kind, len(rows), flush=True)
    flush()
    kinds, labels_, held = zip(*rows, strict=True)
    np.savez(
        cache / "regions.npz", features=np.concatenate(found), kind=np.array(kinds), name=np.array(labels_),
        held=np.array(held),
    )  # fmt: skip


def residual_net() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, EMBEDDING))
    nn.init.zeros_(net[2].weight)  # type: ignore[arg-type]
    nn.init.zeros_(net[2].bias)  # type: ignore[arg-type]
    return net


def verdicts(features: Tensor, backbone: Backbone, space: TextSpace, sharpness: float = SHARPNESS) -> Tensor:
    """ImageNet's probabilities times its names' vectors; not of unit length."""
    words = torch.from_numpy(space.joined(imagenet_names()))
    logits = sharpness * (features @ backbone.classifier.T + backbone.classifier_bias)
    return logits.softmax(-1) @ words


class Regions:
    """The collected features."""

    def __init__(self, cache: Path) -> None:
        kept = np.load(cache / "regions.npz")
        self.features = torch.from_numpy(kept["features"].astype(np.float32))
        self.kind, self.name, self.held = kept["kind"], kept["name"], kept["held"]


def train(regions: Regions, backbone: Backbone, space: TextSpace, data: Path, withheld: set[str]) -> nn.Sequential:
    """The residual, taught with all names but `withheld` on photos that are not held out.

    A name near the right one in the text space is not taught as wrong, unless both are names of one data set.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    base = verdicts(regions.features, backbone, space)
    names = sorted({str(n) for n in regions.name} - withheld)
    others = [n for n in space._known if n not in names and n not in withheld]
    table = torch.from_numpy(space.vectors(names))
    extra = torch.from_numpy(space.vectors(others))
    usable = np.flatnonzero(~regions.held & np.isin(regions.name, names))
    labels = np.array([names.index(str(n)) if str(n) in names else -1 for n in regions.name])
    counts = np.bincount(labels[usable], minlength=len(names)).clip(1)
    weight = 1 / np.sqrt(counts[labels[usable]])
    weight /= weight.sum()
    every = training_names(data)[0]
    own = torch.tensor([every.index(n) for n in names])
    close = table @ torch.cat([table, extra]).T > NEAR
    close[:, : len(names)] &= ~exclusive(data)[own][:, own]
    net = residual_net()
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        chosen = rng.choice(usable, 128, p=weight)
        x = regions.features[chosen]
        x = x * (torch.rand_like(x) > 0.1) / 0.9
        target = torch.from_numpy(labels[chosen])
        y = F.normalize(base[chosen] + RESIDUAL * net(x), dim=-1)
        wrong = torch.cat([torch.arange(len(names)), len(names) + torch.randperm(len(extra))[:NEGATIVES]])
        scores = TEMPERATURE * y @ torch.cat([table, extra])[wrong].T
        loss = F.cross_entropy(scores.masked_fill(close[target][:, wrong], -1e4), target)
        loss = loss + DISTILLATION * (1 - F.cosine_similarity(y, base[chosen])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


@torch.no_grad()
def embeddings(regions: Regions, backbone: Backbone, space: TextSpace, net: nn.Module | None) -> Tensor:
    y = verdicts(regions.features, backbone, space)
    if net is not None:
        y = y + RESIDUAL * net(regions.features)
    return F.normalize(y, dim=-1)


def top1(found: Tensor, truth: np.ndarray, names: list[str], space: TextSpace) -> float:
    vectors = torch.from_numpy(space.vectors(names))
    picked = (found @ vectors.T).argmax(1).numpy()
    return float(np.mean([names[p] == t for p, t in zip(picked, truth, strict=True)]))


def run(data: Path, cache: Path, name: str, withhold: frozenset[str]) -> None:
    """Collects, trains on all names, and reports the held-out photos, with and without names kept from training."""
    if not (cache / "regions.npz").exists():
        collect(data, cache)
    regions, backbone, space = Regions(cache), lite0(), text_space(data, cache)
    net = train(regions, backbone, space, data, set(withhold))
    torch.save(net.state_dict(), cache / f"{name}.image.pt")
    if withhold:
        return
    named = dataset_names(data)
    caltech = sorted(set(named["caltech101"]))
    withheld = set(caltech[::3][:30])
    partial = train(regions, backbone, space, data, withheld)
    rows = {}
    here = (regions.kind == "caltech101") & regions.held
    for label, model in (("verdict alone", None), ("shipped", net), ("30 names withheld", partial)):
        found = embeddings(regions, backbone, space, model)
        row = {}
        for part, chosen in (
            ("all", here),
            ("taught", here & ~np.isin(regions.name, list(withheld))),
            ("withheld", here & np.isin(regions.name, list(withheld))),
        ):
            row[part] = round(top1(found[chosen], regions.name[chosen], caltech, space), 3)
        for kind in ("voc", "ccp", "coco", "grocery"):
            chosen = (regions.kind == kind) & regions.held
            names = sorted(set(named[kind]) - {"background"})
            row[kind] = round(top1(found[chosen], regions.name[chosen], names, space), 3)
        rows[label] = row
        print(label, row, flush=True)
    (cache / "image.json").write_text(json.dumps(rows, indent=1))
