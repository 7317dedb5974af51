"""Trains the image branch on pooled features kept on disk; judges it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .backbone import lite0
from .branch import SIDE, ImageBranch
from .data import is_held_out, label_files, labelled_photos, photos, training_names, withheld_ids
from .features import Features
from .losses import NEAR, exclusive
from .model import TEMPERATURE
from .names import TextSpace, dataset_names, imagenet_names, text_space
from .regions import LEAST_PART, LEAST_PIXELS

DISTILLATION = 1.0
"""Pulls to ImageNet's verdict, which knows more names. At 8 a tenth of the taught ones is lost."""
DECAY = 0.3
STEPS = 4000
RATE = 1e-3
BATCH = 128
VIEWS = 2
"""Of each region or photo: the whole, and mirrored the other way, a part of it."""
NEGATIVES = 256
"""Names drawn for each step that are only ever wrong."""
DROPOUT = 0.1
MEAN_COLOUR = 127


def settings_file(cache: Path, name: str) -> Path:
    """Where a training keeps what it depended on, for the bundle."""
    return cache / f"{name}.image.settings.json"


def settings(withheld: frozenset[str]) -> dict[str, Any]:
    return {
        "steps": STEPS,
        "withheld": sorted(withheld),
        "batch": BATCH,
        "side": SIDE,
        "rate": RATE,
        "decay": DECAY,
        "views": VIEWS,
        "distillation": DISTILLATION,
        "dropout": DROPOUT,
        "negatives": NEGATIVES,
    }


def fresh(space: TextSpace) -> ImageBranch:
    return ImageBranch(lite0(), torch.from_numpy(space.joined(imagenet_names())))


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


def named_crops(data: Path) -> Iterator[tuple[np.ndarray, str, str, bool]]:
    """Every region and photo with a name: pixels, set, name, whether it is held out."""
    names = dataset_names(data)
    for kind in ("caltech101", "grocery"):
        for path, label in labelled_photos(data, kind):
            yield np.asarray(Image.open(path).convert("RGB")), kind, names[kind][label], is_held_out(path.stem)
    for kind in ("voc", "coco", "ccp"):
        for photo in photos(data, kind):
            pixels = np.asarray(Image.open(photo.image).convert("RGB"))
            labels = np.asarray(Image.open(label_files(data, photo)[0]))
            for value in np.unique(labels):
                if value == 255 or (value == 0 and kind != "coco"):
                    continue
                mask = labels == value
                if mask.sum() >= LEAST_PIXELS:
                    yield masked_crop(pixels, mask), kind, names[kind][value], photo.held_out
            if kind == "ccp" and labels.any():
                yield masked_crop(pixels, labels != 0), kind, "person", photo.held_out


def collect(data: Path, cache: Path) -> None:
    """Pooled features of every region and photo with a name: `regions.npz`. Of what is held out, the whole alone."""
    backbone = Features(lite0())
    rng = np.random.default_rng(0)
    inputs: list[np.ndarray] = []
    rows: list[tuple[str, str, bool]] = []
    found: list[np.ndarray] = []
    for index, (pixels, kind, name, held) in enumerate(named_crops(data)):
        for view in views(pixels, bool(index % 2), rng):
            inputs.append(view)
            rows.append((kind, name, held))
            if held:
                break
        if len(inputs) >= 64:
            found.append(backbone.pooled(np.stack(inputs)).astype(np.float16))
            inputs.clear()
        if index % 2000 == 1999:
            print("collected", index + 1, flush=True)
    if inputs:
        found.append(backbone.pooled(np.stack(inputs)).astype(np.float16))
    kinds, labels_, held_ = zip(*rows, strict=True)
    np.savez(
        cache / "regions.npz", features=np.concatenate(found), kind=np.array(kinds), name=np.array(labels_),
        held=np.array(held_),
    )  # fmt: skip


class Collected:
    """The collected features."""

    def __init__(self, cache: Path) -> None:
        kept = np.load(cache / "regions.npz")
        self.features = torch.from_numpy(kept["features"].astype(np.float32))
        self.kind, self.name, self.held = kept["kind"], kept["name"], kept["held"]


class Lesson:
    """What is taught: `names`, and that others are wrong; a name near the right one in the text space is not taught as
    wrong, unless both are names of one data set."""

    def __init__(
        self, names: list[str], withheld: set[str], space: TextSpace, data: Path, device: torch.device
    ) -> None:
        others = [n for n in space._known if n not in names and n not in withheld]
        taught = torch.from_numpy(space.vectors(names))
        self.table = torch.cat([taught, torch.from_numpy(space.vectors(others))])
        self.count = len(names)
        every = training_names(data)[0]
        own = torch.tensor([every.index(n) for n in names])
        self.close = taught @ self.table.T > NEAR
        self.close[:, : self.count] &= ~exclusive(data)[own][:, own]
        self.table, self.close = self.table.to(device), self.close.to(device)

    def __call__(self, found: Tensor, verdict: Tensor, target: Tensor) -> Tensor:
        """The loss of embeddings [B, D] whose names are `target` [B]."""
        drawn = torch.randperm(len(self.table) - self.count, device=target.device)[:NEGATIVES]
        wrong = torch.cat([torch.arange(self.count, device=target.device), self.count + drawn])
        scores = (TEMPERATURE * found @ self.table[wrong].T).masked_fill(self.close[target][:, wrong], -1e4)
        pull = (1 - F.cosine_similarity(found, verdict)).mean()
        return F.cross_entropy(scores, target) + DISTILLATION * pull


def train(regions: Collected, space: TextSpace, data: Path, withheld: set[str]) -> ImageBranch:
    """The residual on a frozen backbone, taught with all names but `withheld` on photos that are not held out."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    branch = fresh(space)
    with torch.no_grad():
        base = branch.verdict(branch.classes(regions.features))
    names = sorted({str(n) for n in regions.name} - withheld)
    lesson = Lesson(names, withheld, space, data, torch.device("cpu"))
    usable = np.flatnonzero(~regions.held & np.isin(regions.name, names))
    labels = np.array([names.index(str(n)) if str(n) in names else -1 for n in regions.name])
    counts = np.bincount(labels[usable], minlength=len(names)).clip(1)
    weight = 1 / np.sqrt(counts[labels[usable]])
    weight /= weight.sum()
    learning = [parameter for parameter in branch.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=RATE, weight_decay=DECAY)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        chosen = rng.choice(usable, BATCH, p=weight)
        x = F.dropout(regions.features[chosen], DROPOUT)
        loss = lesson(branch.named(x, base[chosen]), base[chosen], torch.from_numpy(labels[chosen]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return branch.eval()


@torch.no_grad()
def embeddings(regions: Collected, branch: ImageBranch, residual: bool = True) -> Tensor:
    """Of features of a frozen backbone; without the residual ImageNet's verdict alone."""
    verdict = branch.verdict(branch.classes(regions.features))
    return branch.named(regions.features, verdict) if residual else F.normalize(verdict, dim=-1)


def top1(found: Tensor, truth: np.ndarray, names: list[str], space: TextSpace) -> float:
    vectors = torch.from_numpy(space.vectors(names))
    picked = (found @ vectors.T).argmax(1).numpy()
    return float(np.mean([names[p] == t for p, t in zip(picked, truth, strict=True)]))


def withheld_names(data: Path) -> set[str]:
    """Thirty of Caltech's names."""
    return set(sorted(set(dataset_names(data)["caltech101"]))[::3][:30])


def judged(found: Tensor, kind: np.ndarray, name: np.ndarray, data: Path, space: TextSpace) -> dict[str, float]:
    """Top-1 of the embeddings of what is held out; on Caltech also of the names taught and withheld."""
    named, withheld = dataset_names(data), list(withheld_names(data))
    caltech = kind == "caltech101"
    chosen = {
        "all": caltech,
        "taught": caltech & ~np.isin(name, withheld),
        "withheld": caltech & np.isin(name, withheld),
        **{k: kind == k for k in ("voc", "ccp", "coco", "grocery")},
    }
    row = {}
    for part, here in chosen.items():
        names = sorted(set(named.get(part, named["caltech101"])) - {"background"})
        row[part] = round(top1(found[torch.from_numpy(here)], name[here], names, space), 3)
    return row


def run(data: Path, cache: Path, name: str, withhold: frozenset[str]) -> None:
    """Collects, trains on all names, and reports the held-out photos, with and without names kept from training."""
    withheld_ids(training_names(data)[0], withhold)  # all must be known
    if not (cache / "regions.npz").exists():
        collect(data, cache)
    regions, space = Collected(cache), text_space(data, cache)
    if withhold:
        learned = regions.name[~regions.held]
        left_out = int(np.isin(learned, sorted(withhold)).sum())
        print(f"{len(withhold)} names withheld: {left_out} of {len(learned)} regions left out", flush=True)
    branch = train(regions, space, data, set(withhold))
    torch.save(branch.state_dict(), cache / f"{name}.image.pt")
    settings_file(cache, name).write_text(json.dumps(settings(withhold), indent=1))
    if withhold:
        return
    partial = train(regions, space, data, withheld_names(data))
    rows = {}
    for label, model in (("verdict alone", None), ("shipped", branch), ("30 names withheld", partial)):
        found = embeddings(regions, model or branch, residual=model is not None)[torch.from_numpy(regions.held)]
        rows[label] = judged(found, regions.kind[regions.held], regions.name[regions.held], data, space)
        print(label, rows[label], flush=True)
    (cache / "image.json").write_text(json.dumps(rows, indent=1))


@torch.no_grad()
def judge(data: Path, cache: Path, name: str) -> None:
    """Reports an image branch on what is held out, from the pixels."""
    from .backbone import normalised

    space = text_space(data, cache)
    branch = fresh(space).eval()
    branch.load_state_dict(torch.load(cache / f"{name}.image.pt", weights_only=True))
    rng = np.random.default_rng(0)
    found, rows, waiting = [], [], []
    for pixels, kind, word, held in named_crops(data):
        if held:
            waiting.append(next(views(pixels, False, rng)))
            rows.append((kind, word))
        if len(waiting) == 64:
            found.append(branch(normalised(torch.from_numpy(np.stack(waiting)))))
            waiting.clear()
    if waiting:
        found.append(branch(normalised(torch.from_numpy(np.stack(waiting)))))
    kinds, words = (np.array(column) for column in zip(*rows, strict=True))
    row = judged(torch.cat(found), kinds, words, data, space)
    print(name, row, flush=True)
    (cache / f"{name}.image.json").write_text(json.dumps(row, indent=1))
