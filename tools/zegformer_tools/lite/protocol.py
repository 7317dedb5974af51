"""The paper's judgement: VOC with five classes withheld from training, and its foil that classifies pixel by pixel."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from .backbone import PIXEL_MEAN, normalised
from .data import Photo
from .evaluate import CLOSED
from .export import RESOLUTIONS
from .held import TUNING, Held, truth
from .measures import Confusion, harmonic, interval, ious, mean
from .names import dataset_names, text_space
from .program import Program
from .runtime import Choice, Model, Proposals, labels

UNSEEN = ("sheep", "sofa", "train", "potted plant", "tv")
WITHHELD = (*UNSEEN, "couch")
"""To be kept from training: a sofa is COCO's "couch", so that a model which never read "sofa" has still learned what
one looks like and a name for it, if that word is not withheld too."""
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 1.0)
GAMMAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MARGINS = (0.0, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.4, 0.5)
"""The same for cosines, all that the foil has."""
LEAST_PHOTOS = 5

Scores = tuple[float, float, float]
Labeller = Callable[[Photo, float], np.ndarray]


def never_taught(told: Mapping[str, Any]) -> set[str]:
    """The names that every training behind a bundle withheld, of both branches; `told`: its `training.json`."""
    parts = [never_taught(each) for each in told.get("mean_of", ())] or [set(told.get("withheld", ()))]
    if isinstance(told.get("start"), Mapping):
        parts.append(never_taught(told["start"]))
    if "image" in told:
        parts.append(set(told["image"].get("withheld", ())))
    return set.intersection(*parts)


def refuse_if_taught(withheld: Collection[str], what: str) -> None:
    """Ends the program if a model was taught what this judgement takes it not to have seen."""
    taught = [n for n in WITHHELD if n not in withheld]
    if taught:
        raise SystemExit(f"{what} was not trained without {', '.join(taught)}: --withhold {','.join(WITHHELD)!r}")


def split(data: Path) -> tuple[list[Photo], list[Photo]]:
    """The held-out VOC photos: to choose settings by, and to report."""
    return Held(data, TUNING).photos("voc"), Held(data).photos("voc")


def scorer(total: Confusion, names: list[str]) -> Callable[[np.ndarray], Scores]:
    """Of sums over photos: mean IoU over the seen classes, over the unseen, and their harmonic mean.

    Of the classes that occur often enough in all of `total`'s photos.
    """
    often = total.sums[3, 1:] >= LEAST_PHOTOS
    unseen = np.array([n in UNSEEN for n in names])

    def score(sums: np.ndarray) -> Scores:
        iou = ious(sums)[1:]
        known, new = mean(iou[often & ~unseen]), mean(iou[often & unseen])
        return known, new, harmonic(known, new)

    return score


def seen_and_unseen(total: Confusion, names: list[str]) -> Scores:
    return scorer(total, names)(total.sums)


def intervals(total: Confusion, names: list[str]) -> list[list[float]]:
    """95 % intervals of the three, over photos."""
    score = scorer(total, names)
    return [
        interval(total.rows, lambda sums: score(sums)[0]),
        interval(total.rows, lambda sums: score(sums)[1]),
        interval(total.rows, lambda sums: score(sums)[2]),
    ]


def rounded(total: Confusion, names: list[str]) -> list[float]:
    return [round(v, 3) for v in seen_and_unseen(total, names)]


def judged(data: Path, names: list[str], label: Labeller, gammas: tuple[float, ...]) -> dict[str, Any]:
    """Scores without calibration, and with the gamma whose harmonic mean is best on the tuning photos."""
    tuning, test = split(data)

    def labelled(here: list[Photo], gamma: float) -> Confusion:
        total = Confusion(len(names))
        for photo in here:
            true = truth(data, photo)
            total.add(np.where(true == 255, 0, true), label(photo, gamma), (true == 0) | (true == 255))
        return total

    chosen = {gamma: seen_and_unseen(labelled(tuning, gamma), names)[2] for gamma in gammas}
    best = max(chosen, key=lambda gamma: chosen[gamma])
    plain, calibrated = (labelled(test, gamma) for gamma in (0.0, best))
    return {
        "plain": rounded(plain, names),
        "chosen": best,
        "tuning": round(chosen[best], 3),
        "calibrated": rounded(calibrated, names),
        "calibrated, 95 %": intervals(calibrated, names),
    }


def run(data: Path, bundle: Path, path: Path, out: Path) -> None:
    """Seen, unseen and harmonic mean of a bundle trained without the unseen names: for each lambda and calibration.

    Then by the program, with the lambda and the calibration that were best on the tuning photos.
    """
    refuse_if_taught(never_taught(json.loads((bundle / "training.json").read_text())), str(bundle))
    out.parent.mkdir(parents=True, exist_ok=True)
    model = Model(bundle)
    names = dataset_names(data)["voc"][1:]
    proposals: dict[str, Proposals] = {}
    for part in split(data):
        for photo in part:
            with Image.open(photo.image) as image:
                proposals[photo.stem] = model.propose(image)
    classes = model.classes([[n] for n in names], distract=False)
    seen = frozenset(i for i, n in enumerate(names) if n not in UNSEEN)
    report: dict[str, Any] = {}
    kinds = {"gamma": GAMMAS, "margin": MARGINS}
    for weight, (kind, values) in product(WEIGHTS, kinds.items()):
        plain = Choice(model.choice().temperature, weight, 0.0, seen=seen)

        def label(photo: Photo, value: float, plain: Choice = plain, kind: str = kind) -> np.ndarray:
            choice = replace(plain, gamma=value) if kind == "gamma" else replace(plain, margin=value)
            return labels(proposals[photo.stem], classes, choice, truth(data, photo).shape[::-1])[0]

        report[f"lambda {weight:g}, {kind}"] = judged(data, names, label, values)
        print(weight, kind, report[f"lambda {weight:g}, {kind}"], flush=True)

    here = split(data)[1]
    for kind in kinds:
        best = max(WEIGHTS, key=lambda weight: report[f"lambda {weight:g}, {kind}"]["tuning"])
        chosen = report[f"lambda {best:g}, {kind}"]["chosen"]
        total = Confusion(len(names))
        # Every segment is cropped, as in the paper and above: unseen names are what the query branch is least sure of.
        both = ("--mode", "official", "--ensembling", "all")
        options = (*CLOSED, *both, "--lambda", str(best), f"--{kind}", str(chosen))
        found = Program(path, bundle).labels([p.image for p in here], names, *options)
        for photo, picked in zip(here, found, strict=True):
            true = truth(data, photo)
            total.add(np.where(true == 255, 0, true), picked, (true == 0) | (true == 255))
        scores = {"seen, unseen, harmonic": rounded(total, names), "95 %": intervals(total, names)}
        iou = total.iou(LEAST_PHOTOS)[1:]
        classes_iou = {n: round(float(v), 3) for n, v in zip(names, iou, strict=True) if not np.isnan(v)}
        chosen_by = {"lambda": best, kind: chosen}
        report[f"program, {kind}"] = {**chosen_by, **scores, "classes": classes_iou}
        print(report[f"program, {kind}"], flush=True)
    out.write_text(json.dumps(report, indent=1))


def padded(image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
    """Bytes [H, W, 3] at the "fast" resolution, grey below and on the right up to multiples of 32; the size before."""
    limit = RESOLUTIONS["fast"]
    scale = min(limit["short"] / min(image.size), limit["long"] / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    found = np.full((-(-height // 32) * 32, -(-width // 32) * 32, 3), int(PIXEL_MEAN), np.uint8)
    found[:height, :width] = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    return found, (height, width)


@torch.no_grad()
def run_foil(data: Path, cache: Path, name: str) -> None:
    """The same judgement of a per-pixel model."""
    from .foil import trained

    file = cache / f"{name}.pt"
    told = torch.load(file, weights_only=True, map_location="cpu")["settings"]
    refuse_if_taught(never_taught(told), str(file))
    space = text_space(data, cache)
    model = trained(cache, name, space)
    names = dataset_names(data)["voc"][1:]
    rows = torch.from_numpy(space.vectors(names))
    damped = torch.tensor([n not in UNSEEN for n in names]).float()
    logits: dict[str, torch.Tensor] = {}
    for part in split(data):
        for photo in part:
            with Image.open(photo.image) as image:
                pixels, (height, width) = padded(image)
            found = model(model.backbone(normalised(torch.from_numpy(pixels)[None])))
            inside = found.everywhere()[0, :, : -(-height // 4), : -(-width // 4)]
            logits[photo.stem] = torch.einsum("nd,dhw->nhw", rows, inside)

    def label(photo: Photo, gamma: float) -> np.ndarray:
        size = truth(data, photo).shape
        full = F.interpolate((logits[photo.stem] - damped[:, None, None] * gamma)[None], size, mode="bilinear")[0]
        return full.argmax(0).numpy().astype(np.uint8)

    report = judged(data, names, label, MARGINS)
    print("per pixel", report, flush=True)
    (cache / f"{name}.json").write_text(json.dumps(report, indent=1))
