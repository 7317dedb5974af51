"""The bundle run by onnxruntime as the browser runs it, for evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from .hierarchy import below
from .model import sine_position
from .names import TEMPLATE, unit

LEAST_COVERAGE = 0.25
MOST_CROPS = 64
OTHER = 255
SAME = 0.999
"""Names whose vectors have this cosine have one vector, but for rounding."""


@dataclass
class Proposals:
    """Q masks of one photo, cut to the photo's own cells; `crops` in the order of `owners`."""

    masks: Tensor
    embeddings: Tensor
    background: Tensor
    owners: list[int]
    crops: Tensor


@dataclass
class Classes:
    """Unit rows of the typed classes and their kinds, and of the distractors."""

    typed: Tensor
    distractors: Tensor
    of: Tensor
    """[R]: the class of each row."""
    weight: Tensor
    """[R]: what its score counts for."""
    names: list[str]
    """[R]: what it is called; a class's own row by its first name."""
    count: int
    """Of classes. One that is called what an earlier one is called has no row, and scores 0."""

    @classmethod
    def plain(cls, typed: Tensor, distractors: Tensor, names: Sequence[str]) -> Classes:
        """A row for each class, no kinds."""
        return cls(typed, distractors, torch.arange(len(typed)), torch.ones(len(typed)), list(names), len(typed))


@dataclass(frozen=True)
class Choice:
    """What may be tuned without another run of the networks."""

    temperature: float
    weight: float
    threshold: float
    gamma: float = 0.0
    seen: frozenset[int] = frozenset()
    margin: float = 0.0
    """Taken off the cosines of seen classes, before the softmax; `gamma` is taken off their scores after it."""
    grouped: frozenset[str] | None = None
    """Names that the image branch takes for one with distractors and background; `None`: each is one of its own."""


class Model:
    def __init__(self, folder: Path, threads: int = 2) -> None:
        import onnxruntime

        self.folder = folder
        self.settings: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads

        def session(name: str) -> Any:
            return onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])

        self.segmenter, self.image, self.text = (
            session(self.settings[part]["graph"]) for part in ("segmenter", "image", "text")
        )
        names = json.loads((folder / self.settings["vocabulary"]["names"]).read_text())
        rows = np.frombuffer((folder / self.settings["vocabulary"]["query"]).read_bytes(), "<f2")
        rows = rows.reshape(len(names), -1)
        self.vocabulary = dict(zip(names, unit(rows.astype(np.float32)), strict=True))
        first: dict[bytes, str] = {}
        self.meanings = {name: first.setdefault(row.tobytes(), name) for name, row in zip(names, rows, strict=True)}
        """The first name of the vocabulary with the same vector: names of one vector are one meaning."""
        self.kinds: dict[str, list[str]] = {}
        for name, kinds in self.settings["vocabulary"].get("kinds", {}).items():
            self.kinds.setdefault(self.meaning(name), []).extend(map(self.meaning, kinds))

    def choice(self) -> Choice:
        """The bundle's own."""
        classify, other = self.settings["classify"], self.settings["other"]
        return Choice(
            classify["temperature"],
            classify["lambda"],
            other["threshold"],
            classify["gamma"],
            grouped=frozenset(classify["grouped"]) if classify["ensembling"] == "grouped" else None,
        )

    @cached_property
    def _tables(self) -> tuple[Any, np.ndarray, np.ndarray]:
        import tokenizers

        text = self.settings["text"]
        tokenizer = tokenizers.Tokenizer.from_file(str(self.folder / text["tokenizer"]))
        tokenizer.no_padding()
        rows, width = text["table"]["rows"], text["width"]
        raw = (self.folder / text["table"]["file"]).read_bytes()
        values = np.frombuffer(raw[: rows * width], np.int8).reshape(rows, width).astype(np.float32)
        table = values * np.frombuffer(raw[rows * width :], "<f4")[:, None]
        places = np.frombuffer((self.folder / text["position"]["file"]).read_bytes(), "<f2").reshape(-1, width)
        return tokenizer, table, places.astype(np.float32)

    def vector(self, name: str) -> np.ndarray:
        """The ready vector of a name, or the text graph's."""
        if name in self.vocabulary:
            return self.vocabulary[name]
        tokenizer, table, places = self._tables
        ids = tokenizer.encode(TEMPLATE.format(name)).ids[: len(places)]
        inputs = {
            "tokens": (table[ids] + places[: len(ids)])[None],
            "attention_bias": np.zeros((1, 1, len(ids), len(ids)), np.float32),
            "pooling": np.full((1, len(ids)), 1 / len(ids), np.float32),
        }
        return self.text.run(["text_embeddings"], inputs)[0][0]

    def meaning(self, name: str) -> str:
        return self.meanings.get(name, name)

    def classes(self, typed: Sequence[Sequence[str]], distract: bool = True) -> Classes:
        """Rows for these classes, of one or more names each, without or with what competes silently."""
        own = np.stack([unit(np.mean([self.vector(n) for n in names], 0)) for names in typed])
        same = _earlier_of_the_same(own)
        meant: list[set[str]] = [set() for _ in typed]
        for index, (names, earlier) in enumerate(zip(typed, same, strict=True)):
            meant[index if earlier is None else earlier] |= {self.meaning(n) for n in names}
        kinds = [(index, k) for index, k in self._kinds(meant) if (own @ self.vector(k)).max() < SAME]
        sure = [kind in self.seen or kind in meant[index] for index, kind in kinds]
        counts = [1.0 if s else self.settings["vocabulary"]["unseen_kinds"] for s in sure]
        alone = [index for index, earlier in enumerate(same) if earlier is None]
        rows = unit(np.stack([*own[alone], *(self.vector(kind) for _, kind in kinds)]))
        silent = self._silent(meant, rows) if distract else []
        others = np.stack([self.vector(n) for n in silent]) if silent else np.zeros((0, rows.shape[1]), np.float32)
        return Classes(
            torch.from_numpy(rows),
            torch.from_numpy(others),
            torch.tensor([*alone, *(index for index, _ in kinds)]),
            torch.tensor([*[1.0] * len(alone), *counts]),
            [*(typed[index][0] for index in alone), *(kind for _, kind in kinds)],
            len(typed),
        )

    @cached_property
    def seen(self) -> frozenset[str]:
        return frozenset(map(self.meaning, self.settings["classify"]["seen"]))

    def _below(self, meaning: str) -> list[str]:
        return below(self.kinds, meaning)

    def _kinds(self, meant: Sequence[set[str]]) -> list[tuple[int, str]]:
        """What else classes are looked for as: see `Lists::kinds` in src/pipeline/names.rs."""
        able = self.seen | set(map(self.meaning, self.settings["other"]["distractors"]))
        found: dict[str, int] = {}
        for index, own in enumerate(meant):
            under = list(dict.fromkeys(kind for name in sorted(own) for kind in self._below(name)))
            others = {n for at, names in enumerate(meant) if at != index for n in names}
            theirs = {kind for n in others & set(under) for kind in self._below(n)}
            for kind in under:
                if kind not in others and (kind in own or (kind in able and kind not in theirs)):
                    found.setdefault(kind, index)
        return [(index, kind) for kind, index in found.items()]

    def _silent(self, meant: Sequence[set[str]], rows: np.ndarray) -> list[str]:
        """The distractors that compete: see `Lists::apart` and `Names::compete` in src/pipeline/names.rs."""
        everything = set().union(*meant)
        away = everything | {kind for n in everything for kind in self._below(n)}
        other = self.settings["other"]
        names = {n: self.meaning(n) for n in other["distractors"]}
        names = {n: m for n, m in names.items() if m not in away and not everything & set(self._below(m))}
        near = (np.stack([self.vector(n) for n in names]) @ rows.T).max(1) > other["near"]
        close = [m for m, found in zip(names.values(), near, strict=True) if found]
        away = {*close, *(kind for m in close for kind in self._below(m))}
        return [n for n, m in names.items() if m not in away]

    def resized(self, photo: Image.Image, resolution: str = "fast") -> np.ndarray:
        limit = self.settings["pixels"]["resolutions"][resolution]
        scale = min(limit["short"] / min(photo.size), limit["long"] / max(photo.size))
        size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
        return np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BILINEAR))

    def propose(self, photo: Image.Image, resolution: str = "fast", crops: bool = True) -> Proposals:
        pixels = self.resized(photo, resolution)
        settings = self.settings["pixels"]
        mean, std = np.array(settings["mean"]), np.array(settings["std"])
        height, width = pixels.shape[:2]
        stride = settings["stride"]
        padded = np.zeros((1, 3, -(-height // stride) * stride, -(-width // stride) * stride), np.float32)
        padded[0, :, :height, :width] = ((pixels - mean) / std).transpose(2, 0, 1)
        place = self.settings["segmenter"]["position"]["stride"]
        position = sine_position(padded.shape[2] // place, padded.shape[3] // place).numpy()
        outputs = ["mask_logits", "segment_embeddings", "background_logits"]
        found = self.segmenter.run(outputs, {"pixels": padded, "position": position})
        masks, embeddings, background = (torch.from_numpy(f[0]) for f in found)
        cell = self.settings["segmenter"]["mask_stride"]
        inside = masks[:, : -(-height // cell), : -(-width // cell)]
        best, query = inside.max(0)
        counts = torch.bincount(query[best > 0], minlength=len(masks))
        owners = [q for q in range(len(masks)) if counts[q] >= max(inside[0].numel() // 1000, 1)]
        owners = sorted(sorted(owners, key=lambda q: -int(counts[q]))[:MOST_CROPS])
        kept = self._crops(torch.from_numpy(padded), masks, owners) if crops else torch.zeros(0, embeddings.shape[1])
        return Proposals(inside, embeddings, background, owners, kept)

    def _crops(self, padded: Tensor, masks: Tensor, owners: list[int]) -> Tensor:
        side = self.settings["image"]["crop"]
        inputs = []
        for query in owners:
            logits = F.interpolate(masks[None, query : query + 1], padded.shape[2:], mode="bilinear")
            covered = logits > 0
            ys, xs = torch.nonzero(covered[0, 0], as_tuple=True)
            box = [0.0, 0.0, float(padded.shape[3]), float(padded.shape[2])]
            if len(ys) and xs.min() < xs.max() and ys.min() < ys.max():
                box = [float(v) for v in (xs.min(), ys.min(), xs.max(), ys.max())]
            inputs.append(roi_align(padded * covered, [torch.tensor([box])], side, aligned=True)[0])
        if not inputs:
            return torch.zeros(0, masks.shape[0])
        return torch.from_numpy(self.image.run(["crop_embeddings"], {"crops": torch.stack(inputs).numpy()})[0])


def _earlier_of_the_same(rows: np.ndarray) -> list[int | None]:
    """Of each unit row the earlier one that is the same and is so for no other itself."""
    found: list[int | None] = []
    for index, row in enumerate(rows):
        alike = (at for at in range(index) if found[at] is None and row @ rows[at] >= SAME)
        found.append(next(alike, None))
    return found


def scores(found: Proposals, classes: Classes, choice: Choice) -> Tensor:
    """[owners, classes + distractors + background]: fused, p^(1 - lambda) c^lambda; of a class its best row.

    In a group, whose sums are P and C, the image branch's scores count as C p / P.
    """
    fused, rows = _fused(found, classes, choice), len(classes.typed)
    counted = fused[:, :rows] * classes.weight
    best = torch.zeros(len(fused), classes.count)
    best = best.scatter_reduce(1, classes.of.expand_as(counted), counted, "amax")
    return torch.cat([best, fused[:, rows:]], 1)


def _fused(found: Proposals, classes: Classes, choice: Choice) -> Tensor:
    """The same for each row."""
    rows = torch.cat([classes.typed, classes.distractors])
    background = found.background[found.owners, None]

    def probabilities(embeddings: Tensor) -> Tensor:
        cosines = embeddings @ rows.T
        cosines[:, [at for at, index in enumerate(classes.of.tolist()) if index in choice.seen]] -= choice.margin
        return torch.cat([choice.temperature * cosines, background], 1).softmax(-1)

    p = probabilities(found.embeddings[found.owners])
    if choice.weight == 0 or not len(found.crops):
        return p
    c = probabilities(found.crops)
    if choice.grouped is not None:
        group = torch.ones(p.shape[1], dtype=torch.bool)
        group[: len(classes.names)] = torch.tensor([name in choice.grouped for name in classes.names])
        mass = c[:, group].sum(1) / p[:, group].sum(1).clamp(min=torch.finfo(p.dtype).tiny)
        c[:, group] = mass[:, None] * p[:, group]
    return p ** (1 - choice.weight) * c**choice.weight


def labels(found: Proposals, classes: Classes, choice: Choice, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Label map (255 = other) and confidence at `size` = (width, height)."""
    width, height = size
    count = classes.count
    if not found.owners:
        return np.full((height, width), OTHER, np.uint8), np.zeros((height, width), np.float32)
    fused = scores(found, classes, choice)
    votes = torch.einsum("qc,qhw->chw", fused, found.masks[found.owners].sigmoid())
    distractor = votes[count:-1].amax(0) if len(classes.distractors) else torch.zeros_like(votes[0])
    stacked = torch.cat([votes[:count], distractor[None], votes.sum(0)[None]])
    full = F.interpolate(stacked[None], (height, width), mode="bilinear")[0]
    typed = full[:count].clone()
    for index in choice.seen:
        typed[index] -= choice.gamma
    best = typed.argmax(0)
    vote = full[:count].gather(0, best[None])[0]
    share = vote / full[-1].clamp(min=LEAST_COVERAGE)
    other = (full[-2] > vote) | (share < choice.threshold)
    return torch.where(other, OTHER, best).numpy().astype(np.uint8), share.numpy()
