"""Measures a bundle on held-out photos, with onnxruntime, as the page runs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.nn import functional as F

from .data import Photo, label_files, photos
from .names import dataset_names
from .runtime import OTHER, Choice, Classes, Model, Proposals, labels

UNSEEN = ("sheep", "sofa", "train", "potted plant", "tv")
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 1.0)
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
GAMMAS = (0.0, 0.1, 0.2, 0.3, 0.4)
MOST = {"voc": 240, "coco": 40, "bsds": 60, "ccp": 60}
LEAST_SHARE = 0.005
OFFSETS = (0.0, -2.0, -4.0, -8.0)
TYPED, ABSENT = 5, 3
MOST_PROTOCOL = 110

Found = list[tuple[Photo, np.ndarray, Proposals]]


def for_tuning(photo: Photo) -> bool:
    """Half of the held-out photos serve to choose settings, the other half to report."""
    return hashlib.md5(photo.stem.encode()).digest()[1] < 128


def held_out(data: Path, kind: str) -> list[Photo]:
    return [p for p in photos(data, kind) if p.held_out][: MOST[kind]]


def proposed(model: Model, data: Path, here: Iterable[Photo], resolution: str = "fast") -> Found:
    """Every photo with its labels and what the networks say about it."""
    found = []
    for photo in here:
        truth = np.asarray(Image.open(label_files(data, photo)[0])).astype(np.int32)
        with Image.open(photo.image) as image:
            found.append((photo, truth, model.propose(image, resolution)))
    return found


class Confusion:
    """Intersections and unions by class; row and column 0 is "none of these"."""

    def __init__(self, count: int) -> None:
        self.table = np.zeros((count + 1, count + 1), np.int64)

    def add(self, truth: np.ndarray, picked: np.ndarray, void: np.ndarray) -> None:
        """`truth` has 0 for none; `picked` counts from 0 and has 255 for none."""
        picked = np.where(picked == OTHER, 0, picked.astype(np.int64) + 1)
        size = len(self.table)
        pairs = truth[~void] * size + picked[~void]
        self.table += np.bincount(pairs, minlength=size * size).reshape(size, size)

    def iou(self) -> np.ndarray:
        """Of each class, "none" first; NaN where the class does not occur."""
        hit = np.diag(self.table).astype(float)
        union = self.table.sum(0) + self.table.sum(1) - hit
        return np.where(self.table.sum(1) > 0, hit / np.maximum(union, 1), np.nan)


def confusion(found: Found, classes: Classes, choice: Choice, background: bool) -> Confusion:
    """On VOC. `background`: unlabelled pixels count and should be "other"; else they are left out."""
    total = Confusion(len(classes.typed))
    for _, truth, proposals in found:
        picked, _ = labels(proposals, classes, choice, truth.shape[::-1])
        total.add(np.where(truth == 255, 0, truth), picked, (truth == 255) | ((truth == 0) & (not background)))
    return total


def mean(values: Sequence[float] | np.ndarray) -> float:
    kept = [v for v in values if not np.isnan(v)]
    return float(np.mean(kept)) if kept else float("nan")


def harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def best_ious(truth: np.ndarray, void: Iterable[int], proposals: Proposals) -> list[float]:
    """For each true segment of some size the IoU of the mask that fits it best."""
    h, w = truth.shape
    logits = F.interpolate(proposals.masks[None], (h, w), mode="bilinear")[0]
    masks = (logits > 0).flatten(1).numpy()
    known = ~np.isin(truth.ravel(), [v for v in void if v == 255])
    areas = masks[:, known].sum(1)
    found = []
    for value in np.unique(truth):
        true = truth.ravel() == value
        if value in set(void) or true.sum() < LEAST_SHARE * true.size:
            continue
        hit = masks[:, true].sum(1)
        found.append(float((hit / np.maximum(areas + true.sum() - hit, 1)).max()))
    return found


def grouping(found: Found, void: Iterable[int]) -> float:
    """Mean best IoU over true segments."""
    return mean([v for _, truth, proposals in found for v in best_ious(truth, void, proposals)])


def run(data: Path, cache: Path, folder: Path) -> None:
    model = Model(folder)
    names = dataset_names(data)["voc"][1:]
    report: dict[str, Any] = {}
    voc = proposed(model, data, held_out(data, "voc"))
    test = [f for f in voc if not for_tuning(f[0])]

    plain = model.classes([[n] for n in names], distract=False)
    full = model.classes([[n] for n in names])
    rows = []
    for weight in WEIGHTS:
        choice = replace(model.choice, weight=weight, threshold=0.0)
        labelled = mean(confusion(test, plain, choice, background=False).iou()[1:])
        rows.append({"lambda": weight, "labelled pixels": round(labelled, 3)})
        print(rows[-1], flush=True)
    report["voc by lambda"] = rows

    iou = confusion(test, full, model.choice, background=True).iou()
    report["voc with background"] = {
        "mIoU": round(mean(iou), 3),
        "classes": {n: round(float(v), 3) for n, v in zip(["other", *names], iou) if not np.isnan(v)},
    }
    print(report["voc with background"], flush=True)
    sets = {"voc": voc, **{kind: proposed(model, data, held_out(data, kind)) for kind in ("coco", "ccp", "bsds")}}
    report["typed names"] = {}
    for kind in ("voc", "coco", "ccp"):
        asked = [f for f in sets[kind] if not for_tuning(f[0])]
        report["typed names"][kind] = {
            label: round(typed_names(model, data, kind, asked, replace(model.choice, weight=weight)), 3)
            for label, weight in (("query", 0.0), ("fused", model.choice.weight), ("image", 1.0))
        }
    print(report["typed names"], flush=True)
    void = {"voc": (0, 255), "coco": (255,), "ccp": (0,), "bsds": ()}
    report["mean best IoU"] = {kind: round(grouping(found, void[kind]), 3) for kind, found in sets.items()}
    report["coco, 129 names"] = coco(model, data, sets["coco"])
    print(report["mean best IoU"], report["coco, 129 names"], flush=True)
    (cache / "evaluation.json").write_text(json.dumps(report, indent=1))


def typed_names(model: Model, data: Path, kind: str, found: Found, choice: Choice) -> float:
    """As one uses the page: the photo's largest classes are typed, and some that are not there; the rest is "other".

    Mean over photos of the mean IoU of what is there, "other" included where it covers a twentieth.
    """
    return typed_by_threshold(model, data, kind, found, choice, [choice.threshold])[0]


def typed_by_threshold(
    model: Model, data: Path, kind: str, found: Found, choice: Choice, thresholds: Sequence[float], offset: float = 0.0
) -> list[float]:
    """The same for several thresholds at once; `offset` is added to the background logits."""
    names = dataset_names(data)[kind]
    void = {255} if kind == "coco" else {0, 255}
    rng = np.random.default_rng(0)
    results: list[list[float]] = [[] for _ in thresholds]
    for _, truth, proposals in found:
        values, counts = np.unique(truth, return_counts=True)
        there = [(c, v) for v, c in zip(values.tolist(), counts.tolist()) if v not in void and c > 0.01 * truth.size]
        chosen = [v for _, v in sorted(there, reverse=True)[:TYPED]]
        absent = [i for i in range(len(names)) if i not in values and i not in void]
        typed = [*chosen, *rng.choice(absent, ABSENT, replace=False).tolist()]
        wanted = np.zeros_like(truth)
        for index, value in enumerate(typed):
            wanted[truth == value] = index + 1
        shifted = replace(proposals, background=proposals.background + offset)
        classes = model.classes([[names[v]] for v in typed])
        picked, share = labels(shifted, classes, replace(choice, threshold=0.0), truth.shape[::-1])
        for result, threshold in zip(results, thresholds):
            total = Confusion(len(typed))
            total.add(wanted, np.where(share < threshold, OTHER, picked), truth == 255)
            iou = total.iou()
            rest = [iou[0]] if (wanted == 0).mean() > 0.05 else []
            result.append(mean([*iou[1 : len(chosen) + 1], *rest]))
    return [mean(result) for result in results]


def tune(data: Path, folder: Path, most: int = 40) -> None:
    """Prints scores of settings (background offset, lambda, threshold) on the tuning half, on the mask grid."""
    model = Model(folder)
    sets: dict[str, Found] = {}
    for kind in ("voc", "coco", "ccp"):
        here = [p for p in held_out(data, kind) if for_tuning(p)][:most]
        sets[kind] = []
        for photo, truth, proposals in proposed(model, data, here):
            h, w = proposals.masks.shape[1:]
            rows, columns = np.arange(h) * truth.shape[0] // h, np.arange(w) * truth.shape[1] // w
            sets[kind].append((photo, truth[rows][:, columns], proposals))
    scored = []
    for offset in OFFSETS:
        for weight in WEIGHTS:
            choice = replace(model.choice, weight=weight)
            each = [typed_by_threshold(model, data, k, f, choice, THRESHOLDS, offset) for k, f in sets.items()]
            for index, threshold in enumerate(THRESHOLDS):
                parts = [round(part[index], 3) for part in each]
                scored.append((round(mean(parts), 4), offset, weight, threshold, parts))
    for row in sorted(scored, reverse=True)[:30]:
        print(row)


def coco(model: Model, data: Path, found: Found) -> dict[str, float]:
    """Pixel accuracy and mIoU over all of COCO's names at once, on labelled pixels."""
    names = dataset_names(data)["coco"]
    classes = model.classes([[n] for n in names], distract=False)
    total = Confusion(len(names))
    for _, truth, proposals in found:
        picked, _ = labels(proposals, classes, replace(model.choice, threshold=0.0), truth.shape[::-1])
        total.add(np.where(truth == 255, 0, truth + 1), picked, truth == 255)
    accuracy = float(np.diag(total.table).sum() / max(total.table.sum(), 1))
    return {"pixel accuracy": round(accuracy, 3), "mIoU": round(mean(total.iou()[1:]), 3)}


def protocol(data: Path, folder: Path) -> dict[str, Any]:
    """Seen, unseen and harmonic mean on VOC, for a model that was trained without the unseen names.

    Photos with unseen classes come first. gamma, subtracted from seen names' scores, is chosen on the tuning half.
    """
    model = Model(folder)
    names = dataset_names(data)["voc"][1:]
    ids = [i + 1 for i, n in enumerate(names) if n in UNSEEN]

    def rank(photo: Photo) -> tuple[bool, str]:
        unseen = np.isin(np.asarray(Image.open(label_files(data, photo)[0])), ids).any()
        return not unseen, hashlib.md5(photo.stem.encode()).hexdigest()

    here = sorted((p for p in photos(data, "voc") if p.held_out), key=rank)[:MOST_PROTOCOL]
    found = proposed(model, data, here)
    tuning, test = ([f for f in found if for_tuning(f[0]) == half] for half in (True, False))
    plain = model.classes([[n] for n in names], distract=False)
    seen = frozenset(i for i, n in enumerate(names) if n not in UNSEEN)

    def score(part: Found, choice: Choice) -> tuple[float, float, float]:
        iou = confusion(part, plain, choice, background=False).iou()[1:]
        a, b = mean([iou[i] for i in seen]), mean([iou[i] for i in range(len(names)) if i not in seen])
        return a, b, harmonic(a, b)

    report: dict[str, Any] = {}
    for weight in WEIGHTS:
        choices = [Choice(model.choice.temperature, weight, 0.0, gamma, seen) for gamma in GAMMAS]
        best = max(choices, key=lambda choice: score(tuning, choice)[2])
        report[f"lambda {weight:g}"] = {
            "gamma 0": [round(v, 3) for v in score(test, choices[0])],
            f"gamma {best.gamma:g}": [round(v, 3) for v in score(test, best)],
        }
        print(weight, report[f"lambda {weight:g}"], flush=True)
    return report
