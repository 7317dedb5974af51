"""Measures a bundle on held-out photos, by the command-line program; masks alone by onnxruntime."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.nn import functional as F

from .data import LABELLED_SETS, MASKED_SETS, Photo
from .held import REPORTING, TYPED, VOID, Held, Typed
from .hierarchy import below
from .measures import (
    Confusion,
    accuracy,
    best_ious,
    boundary_counts,
    boundary_scores,
    interval,
    ious,
    mean,
)
from .names import dataset_names
from .program import Program
from .runtime import OTHER, Model

CLOSED = ("--no-distractors", "--threshold", "0")
"""All names are typed and every pixel gets one."""
OFTEN = 5
"""Photos that a name is in, to say something of it."""
LEAST_GENERAL = 0.02
THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
"""Least certainties of a label, to compare."""
FALSE_SHARE = 0.01
"""Of a photo: more under names that are not there is a false label."""
ODD_NAMES = {
    "cat": ["cats", "a black cat", "kitten", "tomcat", "pussycat", "Katze", "chat", "gato", "feline"],
    "dog": ["dogs", "a brown dog", "puppy", "doggy", "terrier", "mutt", "Hund", "chien", "perro", "canine"],
    "horse": ["horses", "a white horse", "pony", "steed", "Pferd", "cheval", "mustang"],
    "cow": ["cows", "a spotted cow", "cattle", "heifer", "Kuh", "vache", "bull"],
    "person": [
        "people",
        "a person in a red coat",
        "human",
        "man",
        "woman",
        "lady",
        "guy",
        "Mensch",
        "personne",
        "pedestrian",
    ],
}
ON_NO_LIST = {
    "cat": ["puss", "grimalkin", "mog", "ratter"],
    "dog": ["pooch", "cur", "pup", "bow-wow"],
    "horse": ["nag", "filly", "thoroughbred", "dobbin"],
    "cow": ["bovine", "milker", "longhorn", "friesian"],
    "person": ["chap", "fellow", "grown-up", "bloke"],
}
"""Words that no list of `kinds`, `synonyms`, `languages` or `hierarchy` has, written down before any was tried; they
are not to be added to a list, nor changed for others: what is found by them is what a word gets that nobody thought of.
"""
ODD_OTHERS = {"cat": "dog", "dog": "cat", "horse": "cow", "cow": "horse", "person": "horse"}
GENERAL = {
    "voc": ("animal", "pet", "farm animal", "vehicle", "furniture"),
    "ccp": ("clothing", "footwear", "trousers"),
    "coco": ("plant", "ground", "building"),
}
NONSENSE = ["qwxzt", "blorf", "thing", "democracy"]
MOST_ODD = 20

Report = dict[str, Any]


def closed(held: Held, program: Program, kind: str, *options: str) -> Confusion:
    """All of a set's names typed at once; only labelled pixels count."""
    first = 0 if kind == "coco" else 1
    names = dataset_names(held.data)[kind][first:]
    here = held.photos(kind)
    total = Confusion(len(names))
    found = program.labels([p.image for p in here], names, *CLOSED, *options)
    for photo, picked in zip(here, found, strict=True):
        true = held.truth(photo)
        total.add(np.where(true == 255, 0, true + 1 - first), picked, np.isin(true, VOID[kind]))
    return total


def occurring(total: Confusion) -> Report:
    """How many photos there are, and of how many names the mean IoU is one."""
    return {
        "photos": len(total.rows),
        "names that occur": total.occur(),
        "in five photos or more": total.occur(OFTEN),
    }


def all_names(held: Held, program: Program, kind: str, *options: str) -> Report:
    """`closed`, summed up; and of the names alone that are in five photos or more.

    A name that a sample of the photos lacks is not in that sample's mean. Rare names are lacking most often, and have
    less than others: so the first interval lies too high, and the second is the one to compare by.
    """
    total = closed(held, program, kind, *options)
    often = np.flatnonzero(total.sums[3, 1:] >= OFTEN) + 1
    report = occurring(total) | {
        "mIoU": round(mean(total.iou()[1:]), 3),
        "mIoU, 95 %": interval(total.rows, lambda sums: mean(ious(sums)[1:])),
        "pixel accuracy": round(total.accuracy(), 3),
        "pixel accuracy, 95 %": interval(total.rows, accuracy),
    }
    if len(often):
        report["mIoU of the latter"] = round(mean(total.iou()[often]), 3)
        report["mIoU of the latter, 95 %"] = interval(total.rows, lambda sums: mean(ious(sums)[often]))
    return report


def with_other(held: Held, program: Program) -> Report:
    """VOC's names typed; unlabelled pixels should be "other"."""
    names = dataset_names(held.data)["voc"][1:]
    here = held.photos("voc")
    total = Confusion(len(names))
    for photo, picked in zip(here, program.labels([p.image for p in here], names), strict=True):
        true = held.truth(photo)
        total.add(np.where(true == 255, 0, true), picked, true == 255)
    iou = total.iou()
    classes = {n: round(float(v), 3) for n, v in zip(["other", *names], iou, strict=True) if not np.isnan(v)}
    return occurring(total) | {"mIoU": round(mean(iou), 3), "classes": classes}


def typed_names(held: Held, program: Program, kind: str, *options: str) -> Report:
    """As one uses the page (see `Typed`): the mean over photos of each one's score."""
    names = dataset_names(held.data)[kind]
    rng = np.random.default_rng(0)
    scores = []
    for photo in held.photos(kind):
        typed = Typed.of(held.truth(photo), kind, len(names), rng)
        scores.append(typed.score(program.labels([photo.image], [names[v] for v in typed.values], *options)[0]))
    return {"photos": len(scores), "mean": round(mean(scores), 3), "95 %": interval(scores)}


def false_labels(held: Held, program: Program, count: int, *options: str) -> Report:
    """`count` of VOC's names typed, none of them there: in how many photos they get pixels, and how many."""
    names = dataset_names(held.data)["voc"]
    rng = np.random.default_rng(0)
    shares = []
    for photo in held.photos("voc"):
        values = np.unique(held.truth(photo))
        absent = [n for i, n in enumerate(names) if i and i not in values]
        picked = program.labels([photo.image], rng.choice(absent, count, replace=False).tolist(), *options)[0]
        shares.append(float((picked != 255).mean()))
    wrong = [float(share > FALSE_SHARE) for share in shares]
    return {
        "photos": len(shares),
        "with false labels": round(mean(wrong), 3),
        "with false labels, 95 %": interval(wrong),
        "pixels": round(mean(shares), 3),
        "pixels, 95 %": interval(shares),
    }


def thresholds(held: Held, program: Program) -> Report:
    """What the least certainty of a label does to what is there, and to false labels."""
    report: Report = {}
    for threshold in THRESHOLDS:
        option = ("--threshold", f"{threshold:g}")
        typed = {kind: typed_names(held, program, kind, *option)["mean"] for kind in MASKED_SETS}
        false = {f"{n} names": false_labels(held, program, n, *option)["with false labels"] for n in (1, 5)}
        report[f"{threshold:g}"] = {"typed names": typed, "with false labels": false}
    return report


def odd_names(held: Held, program: Program) -> Report:
    """IoU of a class under other words for it, in VOC photos, beside another animal's name."""
    names = dataset_names(held.data)["voc"]
    report: Report = {}
    of_no_list: Report = {}
    for name, variants in ODD_NAMES.items():
        value = names.index(name)
        here = [p for p in held.photos("voc") if (held.truth(p) == value).mean() > 0.05][:MOST_ODD]

        def score(word: str, here: list[Photo] = here, value: int = value, other: str = ODD_OTHERS[name]) -> float:
            return covered(held, here, [value], program.labels([p.image for p in here], [word, other]))

        report[name] = {word: score(word) for word in [name, *variants]}
        of_no_list[name] = {word: score(word) for word in ON_NO_LIST[name]}
    here = held.photos("voc")[: 2 * MOST_ODD]
    report["on no list"] = of_no_list
    report["nonsense"] = {
        word: round(mean([float((p == 0).mean()) for p in program.labels([p.image for p in here], [word])]), 3)
        for word in NONSENSE
    }
    return report


def covered(held: Held, here: Sequence[Photo], values: Sequence[int], found: Sequence[np.ndarray]) -> float:
    """IoU of the pixels with one of these labels, over all photos, and of those `found` for the first name typed."""
    total = Confusion(1)
    for photo, picked in zip(here, found, strict=True):
        true = held.truth(photo)
        total.add(np.isin(true, values).astype(np.int32), np.where(picked == 0, 0, OTHER), true == 255)
    return round(float(total.iou()[1]), 3)


def named_things(held: Held, program: Program, kind: str, *options: str) -> Report:
    """Photos of one thing, 20 or 5 names typed, none taught with masks: in how many the right one has the most pixels.

    And in how many there is a false label, when five of the others are typed alone.
    """
    right, few, wrong = [], [], []
    for typed, here in held.single_things(kind):
        files = [p.image for p in here]
        right += [float(is_first(picked)) for picked in program.labels(files, typed, *options)]
        few += [float(is_first(picked)) for picked in program.labels(files, [typed[0], *typed[-4:]], *options)]
        wrong += false_alone(program, files, typed[1 : 1 + TYPED], *options)
    found = {"right of 20": mean(right), "right of 5": mean(few), "with false labels": mean(wrong)}
    return {"photos": len(right)} | {name: round(value, 3) for name, value in found.items()}


def false_alone(program: Program, files: list[Path], typed: Sequence[str], *options: str) -> list[float]:
    """Of each photo whether there is a label; none of what is typed is on it."""
    return [float((picked != OTHER).mean() > FALSE_SHARE) for picked in program.labels(files, typed, *options)]


def unlisted_things(held: Held, program: Program, model: Model, kind: str) -> Report:
    """The false labels of `named_things` where no silent name is what the photo shows, nor above, below or near it."""
    wrong = []
    kinds, other = model.settings["vocabulary"].get("kinds", {}), model.settings["other"]
    for typed, here in held.single_things(kind):
        name = typed[0]
        near = {n for n in other["distractors"] if model.vector(n) @ model.vector(name) > other["near"]}
        near |= {name, *below(kinds, name), *(n for n in other["distractors"] if name in below(kinds, n))}
        kept = [n for n in other["distractors"] if n not in near]
        with tempfile.TemporaryDirectory() as folder:
            for file in program.bundle.iterdir():
                (Path(folder) / file.name).symlink_to(file.resolve())
            (Path(folder) / "bundle.json").unlink()
            changed = model.settings | {"other": other | {"distractors": kept}}
            (Path(folder) / "bundle.json").write_text(json.dumps(changed))
            files = [p.image for p in here]
            wrong += false_alone(Program(program.path, Path(folder)), files, typed[1 : 1 + TYPED])
    return {"photos": len(wrong), "with false labels": round(mean(wrong), 3)}


def general_names(held: Held, program: Program, kinds: Mapping[str, Sequence[str]]) -> Report:
    """A general name typed alone where its kinds are: IoU of it, and of its kinds together, typed in its place."""
    report: Report = {}
    for kind, generals in GENERAL.items():
        names = dataset_names(held.data)[kind]
        for general in generals:
            values = [v for v, n in enumerate(names) if n in below(kinds, general)]
            here = [p for p in held.photos(kind) if np.isin(held.truth(p), values).mean() > LEAST_GENERAL]
            files = [p.image for p in here]
            report[general] = {"photos": len(here)}
            for way, typed in (("IoU", [general]), ("its kinds typed", [names[v] for v in values])):
                found = [np.where(picked == OTHER, OTHER, 0) for picked in program.labels(files, typed)]
                report[general][way] = covered(held, here, values, found)
    return report


def is_first(picked: np.ndarray) -> bool:
    """Whether the first name has the most pixels of all, "other" aside."""
    counts = np.bincount(picked.ravel(), minlength=OTHER + 1)[:OTHER]
    return bool(counts[0] > counts[1:].max())


def grouping(held: Held, model: Model, kind: str) -> Report:
    """Names aside: mean best IoU over true segments; and how well the boundaries of the partition that the masks make
    meet the true ones, where all of a photo is labelled."""
    fits: list[tuple[float, int]] = []
    met: list[np.ndarray] = []
    for photo in held.photos(kind):
        with Image.open(photo.image) as image:
            masks = model.propose(image, crops=False).masks
        truths = held.truths(photo)
        logits = F.interpolate(masks[None], truths[0].shape, mode="bilinear")[0]
        found = [iou for true in truths for iou in best_ious(true, VOID[kind], (logits > 0).numpy())]
        fits.append((sum(found), len(found)))
        if kind in ("coco", "bsds"):
            met.append(boundary_counts(truths, VOID[kind], logits.argmax(0).numpy()))
    report = {"photos": len(fits)} | best_iou(fits)
    return report | (boundary(met) if met else {})


def best_iou(fits: Sequence[tuple[float, int]]) -> Report:
    """`fits`: of each photo the sum of its segments' best IoUs, and how many these are."""

    def score(sums: np.ndarray) -> float:
        return float(sums[0] / sums[1]) if sums[1] else float("nan")

    rows = np.array(fits)
    return {"mean best IoU": round(score(rows.sum(0)), 3), "mean best IoU, 95 %": interval(rows, score)}


def boundary(counts: Sequence[np.ndarray]) -> Report:
    """`counts`: of each photo its `boundary_counts`."""
    recall, precision, f = (round(v, 3) for v in boundary_scores(np.sum(counts, 0)))
    found = {"recall": recall, "precision": precision, "F": f}
    return {"boundary": found | {"F, 95 %": interval(counts, lambda sums: boundary_scores(sums)[2])}}


def between_annotators(held: Held) -> Report:
    """BSDS: how well what one annotator drew is met by what another did, over all pairs, and by all the others."""
    one: list[float] = []
    all_others: list[float] = []
    met: list[np.ndarray] = []
    for photo in held.photos("bsds"):
        maps = held.truths(photo)
        masks = [np.stack([drawn == value for value in np.unique(drawn)]) for drawn in maps]
        for own, true in enumerate(maps):
            found = np.array([best_ious(true, (), masks[other]) for other in range(len(maps)) if other != own])
            one += found.mean(0).tolist()
            all_others += found.max(0).tolist()
        counts = [boundary_counts([*maps[:own], *maps[own + 1 :]], (), drawn) for own, drawn in enumerate(maps)]
        met.append(np.sum(counts, 0))
    report = {"by one other": round(mean(one), 3), "by the three others": round(mean(all_others), 3)}
    return report | boundary(met)


def tables(held: Held, program: Program, model: Model) -> dict[str, Callable[[], Any]]:
    """What there is to report. BSDS is left out where it has no photos, of the tuning half."""
    fusions = {
        "shipped": (),
        "query": ("--branch", "query"),
        "both, everywhere": ("--ensembling", "all"),
        "image": ("--branch", "image"),
    }

    def typed(kind: str) -> Report:
        return {fusion: typed_names(held, program, kind, *options) for fusion, options in fusions.items()}

    def named(kind: str) -> Report:
        return {fusion: named_things(held, program, kind, *options) for fusion, options in fusions.items()}

    def every(*options: str) -> Report:
        return {kind: all_names(held, program, kind, *options) for kind in MASKED_SETS}

    def kinds() -> Mapping[str, Sequence[str]]:
        return model.settings["vocabulary"].get("kinds", {})

    found: dict[str, Callable[[], Any]] = {
        "typed names": lambda: {kind: typed(kind) for kind in MASKED_SETS},
        "named things": lambda: {kind: named(kind) for kind in LABELLED_SETS},
        "unlisted things": lambda: {kind: unlisted_things(held, program, model, kind) for kind in LABELLED_SETS},
        "general names": lambda: general_names(held, program, kinds()),
        "all names": every,
        "all names, fine": lambda: every("--resolution", "fine"),
        "all names, both branches": lambda: every("--ensembling", "all"),
        "voc with other": lambda: with_other(held, program),
        "false labels": lambda: {f"{n} names": false_labels(held, program, n) for n in (1, 5)},
        "thresholds": lambda: thresholds(held, program),
        "odd names": lambda: odd_names(held, program),
        "masks": lambda: {kind: grouping(held, model, kind) for kind in VOID if held.photos(kind)},
    }
    return found | ({"between annotators": lambda: between_annotators(held)} if held.photos("bsds") else {})


def run(data: Path, bundle: Path, path: Path, out: Path, only: Sequence[str] = (), half: str = REPORTING) -> None:
    """Every table, or those of `only`, printed as it is done and written to `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    found = tables(Held(data, half), Program(path, bundle), Model(bundle))
    unknown = [name for name in only if name not in found]
    if unknown:
        raise SystemExit(f"no table {', '.join(unknown)}; there are: {'; '.join(found)}")
    report: Report = json.loads(out.read_text()) if out.exists() and only else {}
    for name, table in found.items():
        if only and name not in only:
            continue
        report[name] = table()
        print(name, json.dumps(report[name], ensure_ascii=False), flush=True)
        out.write_text(json.dumps(report, indent=1, ensure_ascii=False))
