"""Measures a bundle on held-out photos, by the command-line program; masks alone by onnxruntime."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.nn import functional as F

from .data import LABELLED_SETS, MASKED_SETS, Photo, for_tuning, label_files, labelled_photos, photos
from .hierarchy import below
from .measures import Confusion, best_ious, boundary_recall, mean
from .names import dataset_names
from .program import Program
from .runtime import OTHER, Model

VOID = {"voc": (0, 255), "coco": (255,), "ccp": (0,), "bsds": ()}
CLOSED = ("--no-distractors", "--threshold", "0")
"""All names are typed and every pixel gets one."""
TYPED, ABSENT = 5, 3
LEAST_TYPED = 0.01
MANY, MOST_EACH = 20, 2
LEAST_GENERAL = 0.02
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
ODD_OTHERS = {"cat": "dog", "dog": "cat", "horse": "cow", "cow": "horse", "person": "horse"}
GENERAL = {
    "voc": ("animal", "pet", "farm animal", "vehicle", "furniture"),
    "ccp": ("clothing", "footwear", "trousers"),
    "coco": ("plant", "ground", "building"),
}
NONSENSE = ["qwxzt", "blorf", "thing", "democracy"]
MOST_ODD = 20

Report = dict[str, Any]


def truth(data: Path, photo: Photo, annotator: int = 0) -> np.ndarray:
    return np.asarray(Image.open(label_files(data, photo)[annotator])).astype(np.int32)


def held_out(data: Path, kind: str) -> list[Photo]:
    """The photos that are reported: half of the held-out VOC and CCP photos, all of the few others."""
    found = [p for p in photos(data, kind) if p.held_out]
    return found if kind in ("coco", "bsds") else [p for p in found if not for_tuning(p)]


def closed(data: Path, program: Program, kind: str, *options: str) -> Confusion:
    """All of a set's names typed at once; only labelled pixels count."""
    first = 0 if kind == "coco" else 1
    names = dataset_names(data)[kind][first:]
    here = held_out(data, kind)
    total = Confusion(len(names))
    found = program.labels([p.image for p in here], names, *CLOSED, *options)
    for photo, picked in zip(here, found, strict=True):
        true = truth(data, photo)
        total.add(np.where(true == 255, 0, true + 1 - first), picked, np.isin(true, VOID[kind]))
    return total


def with_other(data: Path, program: Program) -> Report:
    """VOC's names typed; unlabelled pixels should be "other"."""
    names = dataset_names(data)["voc"][1:]
    here = held_out(data, "voc")
    total = Confusion(len(names))
    for photo, picked in zip(here, program.labels([p.image for p in here], names), strict=True):
        true = truth(data, photo)
        total.add(np.where(true == 255, 0, true), picked, true == 255)
    iou = total.iou()
    classes = {n: round(float(v), 3) for n, v in zip(["other", *names], iou, strict=True) if not np.isnan(v)}
    return {"mIoU": round(mean(iou), 3), "classes": classes}


def typed_names(data: Path, program: Program, kind: str, *options: str) -> float:
    """As one uses the page: the photo's largest classes are typed, and some that are not there; the rest is "other".

    Mean over photos of the mean IoU of what is there, "other" included where it covers a twentieth.
    """
    names = dataset_names(data)[kind]
    rng = np.random.default_rng(0)
    results = []
    for photo in held_out(data, kind):
        true = truth(data, photo)
        values, counts = np.unique(true, return_counts=True)
        sizes = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)
        there = [v for c, v in sizes if v not in VOID[kind] and c > LEAST_TYPED * true.size][:TYPED]
        absent = [i for i in range(len(names)) if i not in values and i not in VOID[kind]]
        typed = [*there, *rng.choice(absent, ABSENT, replace=False).tolist()]
        wanted = np.zeros_like(true)
        for index, value in enumerate(typed):
            wanted[true == value] = index + 1
        total = Confusion(len(typed))
        picked = program.labels([photo.image], [names[v] for v in typed], *options)[0]
        total.add(wanted, picked, true == 255)
        iou = total.iou()
        rest = [iou[0]] if (wanted == 0).mean() > 0.05 else []
        results.append(mean([*iou[1 : len(there) + 1], *rest]))
    return mean(results)


def false_labels(data: Path, program: Program, count: int) -> Report:
    """`count` of VOC's names typed, none of them there: in how many photos they get pixels, and how many."""
    names = dataset_names(data)["voc"]
    rng = np.random.default_rng(0)
    shares = []
    for photo in held_out(data, "voc"):
        values = np.unique(truth(data, photo))
        absent = [n for i, n in enumerate(names) if i and i not in values]
        picked = program.labels([photo.image], rng.choice(absent, count, replace=False).tolist())[0]
        shares.append(float((picked != 255).mean()))
    rate = float(np.mean([s > FALSE_SHARE for s in shares]))
    return {"photos": len(shares), "with false labels": round(rate, 3), "pixels": round(mean(shares), 3)}


def odd_names(data: Path, program: Program) -> Report:
    """IoU of a class under other words for it, in VOC photos, beside another animal's name."""
    names = dataset_names(data)["voc"]
    report: Report = {}
    for name, variants in ODD_NAMES.items():
        value = names.index(name)
        here = [p for p in held_out(data, "voc") if (truth(data, p) == value).mean() > 0.05][:MOST_ODD]

        def score(word: str, here: list[Photo] = here, value: int = value, other: str = ODD_OTHERS[name]) -> float:
            total = Confusion(1)
            for photo, picked in zip(here, program.labels([p.image for p in here], [word, other]), strict=True):
                true = truth(data, photo)
                total.add((true == value).astype(np.int32), np.where(picked == 0, 0, 255), true == 255)
            return round(float(total.iou()[1]), 3)

        report[name] = {word: score(word) for word in [name, *variants]}
    here = held_out(data, "voc")[: 2 * MOST_ODD]
    report["nonsense"] = {
        word: round(mean([float((p == 0).mean()) for p in program.labels([p.image for p in here], [word])]), 3)
        for word in NONSENSE
    }
    return report


def single_things(data: Path, kind: str, tuning: bool = False) -> list[tuple[list[str], list[Photo]]]:
    """Photos of one thing, of the tuning or of the reporting half, and what to type: the thing's name, which was taught
    without masks, first, with others of its set."""
    found = dataset_names(data)
    masked = {n for masks in MASKED_SETS for n in found[masks]}
    names = [n for n in dict.fromkeys(found[kind]) if n not in masked]
    here: dict[str, list[Photo]] = {}
    for path, folder in labelled_photos(data, kind):
        photo = Photo(kind, path.stem, path)
        if photo.held_out and for_tuning(photo) == tuning:
            here.setdefault(found[kind][folder], []).append(photo)
    rng = np.random.default_rng(0)
    others = {n: rng.choice([m for m in names if m != n], MANY - 1, replace=False).tolist() for n in names}
    return [([n, *others[n]], here[n][:MOST_EACH]) for n in names if n in here]


def named_things(data: Path, program: Program, kind: str, *options: str) -> Report:
    """Photos of one thing, 20 or 5 names typed, none taught with masks: in how many the right one has the most pixels.

    And in how many there is a false label, when five of the others are typed alone.
    """
    right, few, wrong = [], [], []
    for typed, here in single_things(data, kind):
        files = [p.image for p in here]
        right += [float(is_first(picked)) for picked in program.labels(files, typed, *options)]
        few += [float(is_first(picked)) for picked in program.labels(files, [typed[0], *typed[-4:]], *options)]
        wrong += false_alone(program, files, typed[1 : 1 + TYPED], *options)
    found = {"right of 20": mean(right), "right of 5": mean(few), "with false labels": mean(wrong)}
    return {"photos": len(right)} | {name: round(value, 3) for name, value in found.items()}


def false_alone(program: Program, files: list[Path], typed: Sequence[str], *options: str) -> list[float]:
    """Of each photo whether there is a label; none of what is typed is on it."""
    return [float((picked != OTHER).mean() > FALSE_SHARE) for picked in program.labels(files, typed, *options)]


def unlisted_things(data: Path, program: Program, model: Model, kind: str) -> Report:
    """The false labels of `named_things` where no silent name is what the photo shows, nor above, below or near it."""
    wrong = []
    kinds, other = model.settings["vocabulary"].get("kinds", {}), model.settings["other"]
    for typed, here in single_things(data, kind):
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


def general_names(data: Path, program: Program, kinds: dict[str, list[str]]) -> Report:
    """A general name typed alone where its kinds are: IoU of it, and of its kinds together, typed in its place."""
    report: Report = {}
    for kind, generals in GENERAL.items():
        names = dataset_names(data)[kind]
        for general in generals:
            values = [v for v, n in enumerate(names) if n in below(kinds, general)]
            here = [p for p in held_out(data, kind) if np.isin(truth(data, p), values).mean() > LEAST_GENERAL]
            files = [p.image for p in here]
            report[general] = {"photos": len(here)}
            for way, typed in (("IoU", [general]), ("its kinds typed", [names[v] for v in values])):
                total = Confusion(1)
                for photo, picked in zip(here, program.labels(files, typed), strict=True):
                    true = truth(data, photo)
                    wanted = np.isin(true, values).astype(np.int32)
                    total.add(wanted, np.where(picked == OTHER, OTHER, 0), true == 255)
                report[general][way] = round(float(total.iou()[1]), 3)
    return report


def is_first(picked: np.ndarray) -> bool:
    """Whether the first name has the most pixels of all, "other" aside."""
    counts = np.bincount(picked.ravel(), minlength=OTHER + 1)[:OTHER]
    return bool(counts[0] > counts[1:].max())


def grouping(data: Path, model: Model, kind: str, most: int = 120) -> Report:
    """Names aside: mean best IoU over true segments, and boundary recall of the partition that the masks make."""
    ious: list[float] = []
    recalls: list[float] = []
    for photo in [p for p in photos(data, kind) if p.held_out][:most]:
        with Image.open(photo.image) as image:
            proposals = model.propose(image, crops=False)
        for annotator in range(len(label_files(data, photo))):
            true = truth(data, photo, annotator)
            logits = F.interpolate(proposals.masks[None], true.shape, mode="bilinear")[0]
            ious += best_ious(true, VOID[kind], (logits > 0).numpy())
            if kind in ("coco", "bsds"):
                recalls.append(boundary_recall(true, logits.argmax(0).numpy()))
    found = {"mean best IoU": round(mean(ious), 3)}
    return found | ({"boundary recall": round(mean(recalls), 3)} if recalls else {})


def between_annotators(data: Path) -> Report:
    """BSDS: how well what one annotator drew is met by what another did, over all pairs, and by all the others."""
    one: list[float] = []
    all_others: list[float] = []
    for photo in [p for p in photos(data, "bsds") if p.held_out]:
        maps = [truth(data, photo, annotator) for annotator in range(len(label_files(data, photo)))]
        masks = [np.stack([drawn == value for value in np.unique(drawn)]) for drawn in maps]
        for own, true in enumerate(maps):
            found = np.array([best_ious(true, (), masks[other]) for other in range(len(maps)) if other != own])
            one += found.mean(0).tolist()
            all_others += found.max(0).tolist()
    return {"by one other": round(mean(one), 3), "by the three others": round(mean(all_others), 3)}


def run(data: Path, bundle: Path, path: Path, out: Path, only: Sequence[str] = ()) -> None:
    """Every table, printed as it is done and written to `out`."""
    program, model = Program(path, bundle), Model(bundle)

    fusions = {
        "shipped": (),
        "query": ("--branch", "query"),
        "both, everywhere": ("--ensembling", "all"),
        "image": ("--branch", "image"),
    }

    def typed(kind: str) -> Report:
        return {fusion: round(typed_names(data, program, kind, *options), 3) for fusion, options in fusions.items()}

    def named(kind: str) -> Report:
        return {fusion: named_things(data, program, kind, *options) for fusion, options in fusions.items()}

    def summary(kind: str, *options: str) -> Report:
        found = closed(data, program, kind, *options)
        return {"mIoU": round(mean(found.iou()[1:]), 3), "pixel accuracy": round(found.accuracy(), 3)}

    tables: dict[str, Callable[[], Any]] = {
        "typed names": lambda: {kind: typed(kind) for kind in MASKED_SETS},
        "named things": lambda: {kind: named(kind) for kind in LABELLED_SETS},
        "unlisted things": lambda: {kind: unlisted_things(data, program, model, kind) for kind in LABELLED_SETS},
        "general names": lambda: general_names(data, program, model.settings["vocabulary"].get("kinds", {})),
        "all names": lambda: {kind: summary(kind) for kind in MASKED_SETS},
        "all names, fine": lambda: {kind: summary(kind, "--resolution", "fine") for kind in MASKED_SETS},
        "all names, both branches": lambda: {kind: summary(kind, "--ensembling", "all") for kind in MASKED_SETS},
        "voc with other": lambda: with_other(data, program),
        "false labels": lambda: {f"{n} names": false_labels(data, program, n) for n in (1, 5)},
        "odd names": lambda: odd_names(data, program),
        "masks": lambda: {kind: grouping(data, model, kind) for kind in VOID},
        "between annotators": lambda: between_annotators(data),
    }
    report: Report = json.loads(out.read_text()) if out.exists() and only else {}
    for name, table in tables.items():
        if only and name not in only:
            continue
        report[name] = table()
        print(name, json.dumps(report[name], ensure_ascii=False), flush=True)
        out.write_text(json.dumps(report, indent=1, ensure_ascii=False))
