"""Trains the segmenter on cached features."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import losses, warm
from .backbone import CHANNELS, Lite0
from .cache import COMPOSITE, COMPOSITES, CROPS, PARTS, STORED, Row, numbers, unpacked
from .data import Segments, sides
from .model import QUERIES, Namer, Segmenter
from .names import TextSpace, imagenet_names, text_space
from .synonyms import SYNONYMS

BATCHES = {256: 16, 384: 8}
"""Crops a step, by their size; the sizes take turns at random."""
DECODER_PART = 0.35
"""Of the rate, for the transformer: at more its queries end up saying all the same."""
CLIP = 1.0
"""Largest norm of the gradient."""
DECAY = 0.02
WARM_UP = 200
FLAT = 0.4
"""Part of the steps before the rate goes down."""
SHARES = {"voc": 0.34, "coco": 0.2, "ccp": 0.1, "bsds": 0.12, COMPOSITE: 0.14, "caltech101": 0.07, "grocery": 0.03}
"""Of the crops that are drawn."""
RARITY = 0.4
"""Within a set a crop is drawn as often as the count of its rarest name to the power of minus this."""
ANOTHER_WORD = 0.3
"""How often a name that has synonyms is taught by one of them."""
EMA = 0.998
SAVE_SECONDS = 150.0


def fresh(space: TextSpace) -> Segmenter:
    backbone = Lite0()
    words = torch.from_numpy(space.joined(imagenet_names()))
    namer = Namer(backbone.classifier, backbone.classifier_bias, words)
    return Segmenter((backbone.head.weight, backbone.head.bias), namer)


class Cached:
    """The cached crops of one size, without those in whose photos a withheld name occurs."""

    def __init__(self, cache: Path, short: int, rng: np.random.Generator, withheld: set[int]) -> None:
        self.rng = rng
        self.sides = sides(short)
        folder = cache / f"crops{short}"
        self.scales = {int(s): torch.from_numpy(v) for s, v in np.load(folder / "scales.npz").items()}
        rows: list[Row | None] = pickle.loads((folder / "crops.pkl").read_bytes())
        self.rows = {i: row for i, row in enumerate(rows) if row is not None and not withheld & row.present}
        self.files = {
            s: np.memmap(folder / f"features{s}", STORED[s], "r", shape=(len(rows), n))
            for s, n in numbers(short).items()
        }
        usable = [i for i, row in self.rows.items() if row.segments.names or row.segments.whole >= 0]
        weights = self._weights(usable)
        self.frequency = self._frequency(usable, weights)
        self.choices = {}
        for portrait in (False, True):
            here = np.array([self.rows[i].portrait == portrait for i in usable])
            self.choices[portrait] = (np.array(usable)[here], weights[here] / weights[here].sum())
            if portrait:
                self.portraits = weights[here].sum() / weights.sum()

    def _named(self, row: int) -> list[int]:
        segments = self.rows[row].segments
        return [n for n in (*segments.names, segments.whole) if n >= 0]

    def _frequency(self, usable: list[int], weights: np.ndarray) -> dict[int, float]:
        """How many segments of a name a crop has on average."""
        found: dict[int, float] = {}
        for row, weight in zip(usable, weights / weights.sum(), strict=True):
            for name in self._named(row):
                found[name] = found.get(name, 0.0) + float(weight)
        return found

    def _weights(self, usable: list[int]) -> np.ndarray:
        """Each set has its share; within it, crops with a rare name come more often."""
        names = [self._named(i) for i in usable]
        counts = np.bincount([n for each in names for n in each])
        rarity = np.array([max((counts[n] ** -RARITY for n in each), default=1.0) for each in names])
        kinds = np.array([self.rows[i].set for i in usable])
        weights = np.zeros(len(usable))
        for kind, share in SHARES.items():
            here = kinds == kind
            weights[here] = share * rarity[here] / max(rarity[here].sum(), 1e-9)
        return weights

    def batch(self, size: int) -> tuple[dict[int, Tensor], list[Segments]]:
        portrait = bool(self.rng.random() < self.portraits)
        indices, weights = self.choices[portrait]
        chosen = self.rng.choice(indices, size, p=weights)
        h, w = reversed(self.sides) if portrait else self.sides
        features = {}
        for s, c in CHANNELS.items():
            kept = torch.from_numpy(np.array(self.files[s][chosen])).float().reshape(size, c, h // s, w // s)
            features[s] = kept * self.scales[s][:, None, None] if STORED[s] is np.int8 else kept
        return features, [unpacked(self.rows[i].segments) for i in chosen]


@torch.no_grad()
def namer_ridge(
    namer: Namer, head: tuple[Tensor, Tensor], crops: Cached, names: Tensor, batches: int = 90, strength: float = 0.02
) -> None:
    """Starts the namer's learned part from a regression of true masks' features on their names' vectors."""
    inputs, targets = [], []
    for _ in range(batches):
        features, truth = crops.batch(16)
        wide = F.relu6(F.conv2d(features[32], *head))
        for b, segments in enumerate(truth):
            aims = [*segments.names, segments.whole]
            if max(aims) < 0:
                continue
            masks = np.concatenate([segments.masks, np.ones((1, *segments.masks.shape[1:]), bool)])
            share = F.avg_pool2d(torch.from_numpy(masks[np.array(aims) >= 0]).float()[None], 8)[0].flatten(1)
            inputs.append(share / share.sum(1, keepdim=True) @ wide[b].flatten(1).T)
            targets.append(names[[n for n in aims if n >= 0]])
    x, y = torch.cat(inputs), torch.cat(targets)
    y = y - namer.verdict(x)
    mean, offset = x.mean(0), y.mean(0)
    x, y = x - mean, y - offset
    gram = x.T @ x
    gram.diagonal().add_(strength * gram.diagonal().mean() * 10)
    weight = torch.linalg.solve(gram, x.T @ y).T
    namer.learned.weight.copy_(weight)
    namer.learned.bias.copy_(offset - weight @ mean)


@dataclass(frozen=True)
class Options:
    """What a run is told; the rest of its settings are this package's constants, listed by `settings`."""

    steps: int
    seed: int = 0
    rate: float = 1e-3
    start: Path | None = None
    """A bundle whose weights it starts from."""
    balance: float = 0.0
    """Of the logarithm of a name's frequency: added to its logit while it is taught, so that a rare name need not be
    given up for a frequent one (logit adjustment, Menon et al., ICLR 2021)."""
    withhold: frozenset[str] = frozenset()


def settings(options: Options) -> dict[str, Any]:
    """All that a run depends on, to be kept beside its weights."""
    constants = {
        "batches": BATCHES,
        "decoder_part": DECODER_PART,
        "clip": CLIP,
        "decay": DECAY,
        "flat": FLAT,
        "warm_up": WARM_UP,
        "average": EMA,
        "shares": SHARES,
        "rarity": RARITY,
        "another_word": ANOTHER_WORD,
        "points": losses.POINTS,
        "early_layers": losses.EARLY_LAYERS,
        "no_object": losses.NO_OBJECT,
        "distillation": losses.DISTILLATION,
        "whole": losses.WHOLE,
        "negatives": losses.NEGATIVES,
        "near": losses.NEAR,
        "crops": CROPS,
        "parts": PARTS,
        "composites": COMPOSITES,
        "queries": QUERIES,
    }
    own = {
        "steps": options.steps,
        "seed": options.seed,
        "rate": options.rate,
        "balance": options.balance,
        "withheld": sorted(options.withhold),
        "start": options.start and json.loads((options.start / "training.json").read_text()),
    }
    return {**own, **constants}


def rate_at(step: int, steps: int) -> float:
    """The part of the highest rate: up in a straight line, flat, down in a straight line."""
    left = (steps - step) / (steps * (1 - FLAT))
    return min(1.0, (step + 1) / WARM_UP, max(left, 0.01))


def has_bf16() -> bool:
    """Whether this processor multiplies bf16 faster than f32: others emulate it, many times slower."""
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def balance(part: float, frequency: dict[int, float], count: int) -> Tensor:
    """[count]: what is added to the names' logits in training; 0 on average, and for names that are never taught."""
    found = torch.zeros(count)
    if frequency:
        logs = torch.tensor(list(frequency.values())).log()
        found[list(frequency)] = part * (logs - logs.mean())
    return found


def groups(model: Segmenter) -> list[dict[str, Any]]:
    """The parameters with their parts of the rate."""
    careful = ("layers.", "content", "place", "mask1.", "mask2.", "mask3.")
    named = list(model.named_parameters())
    return [
        {"params": [p for n, p in named if n.startswith(careful)], "part": DECODER_PART},
        {"params": [p for n, p in named if not n.startswith(careful)], "part": 1.0},
    ]


def run(data: Path, cache: Path, name: str, options: Options) -> None:
    """Trains for so many steps in all, from the checkpoint if there is one; keeps the averaged weights."""
    torch.manual_seed(options.seed)
    space = text_space(data, cache)
    names: list[str] = json.loads((cache / "names.json").read_text())
    withheld = {names.index(n) for n in options.withhold if n in names}
    model = fresh(space)
    optimiser = torch.optim.AdamW(groups(model), lr=options.rate, weight_decay=DECAY, fused=True)
    file = cache / f"{name}.pt"
    step = 0
    average: dict[str, Tensor] = {}
    if file.exists():
        kept = torch.load(file, weights_only=True)
        model.load_state_dict(kept["model"])
        average = kept["average"]
        optimiser.load_state_dict(kept["optimiser"])
        step = kept["step"]
        torch.manual_seed(options.seed + step)
    taught = Taught(space, names, options.withhold)
    rng = np.random.default_rng([options.seed, step])
    crops = {short: Cached(cache, short, rng, withheld) for short in BATCHES}
    small = crops[min(crops)]
    added = balance(options.balance, small.frequency, len(names))
    teacher = losses.Losses(taught.table, taught.others, losses.exclusive(data), added)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if step == 0:
        if options.start:
            warm.load(model, options.start)
            torch.save(warm.residual(options.start).state_dict(), cache / f"{name}.image.pt")
        else:
            namer_ridge(model.namer, (model.head_weight, model.head_bias), small, taught.table)
        average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    begun = saved = time.time()
    recent: list[dict[str, float]] = []
    while step < options.steps:
        for group in optimiser.param_groups:
            group["lr"] = group["part"] * options.rate * rate_at(step, options.steps)
        short = int(rng.choice(list(BATCHES)))
        features, truth = crops[short].batch(BATCHES[short])
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            found = model(features)
        teacher.names = taught.in_words()
        loss, report = teacher(found, truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        step += 1
        keep = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in model.state_dict().items():
                average[key].lerp_(value, 1 - keep)
        # Queries that all say the same cannot be told apart again: 0 here means a run to be given up.
        recent.append({**report, "spread": found.mask_vectors[-1].detach().std(1).mean().item()})
        if step % 50 == 0:
            means = {k: round(float(np.mean([r[k] for r in recent])), 3) for k in recent[0]}
            print(f"step {step} {time.time() - begun:.0f} s", means, flush=True)
            recent = []
        if time.time() - saved > SAVE_SECONDS or step == options.steps:
            saved = time.time()
            state = {"model": model.state_dict(), "average": average, "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step, "settings": settings(options)}, file.with_suffix(".tmp"))
            file.with_suffix(".tmp").rename(file)


class Taught:
    """The vectors of all names, withheld ones replaced, and those of names that are only wrong, `others` [M, D]."""

    def __init__(self, space: TextSpace, names: list[str], withhold: frozenset[str]) -> None:
        self.table = torch.from_numpy(space.vectors(names))
        known = {*names, *withhold}
        synonyms = {n: [s for s in SYNONYMS.get(n, []) if s not in known] for n in names if n not in withhold}
        self.synonyms = {
            names.index(n): torch.from_numpy(space.vectors(words)) for n, words in synonyms.items() if words
        }
        taken = {*known, *(word for n in names for word in SYNONYMS.get(n, []))}
        vectors = torch.from_numpy(space.vectors([n for n in space._known if n not in taken]))
        if withhold:
            taught = next(n for n in names if n not in withhold)
            here = [i for i, n in enumerate(names) if n in withhold]
            self.table[here] = torch.from_numpy(space.vectors([taught]))  # never a target; a repeat does no harm
            hidden = torch.from_numpy(space.vectors(sorted(withhold)))
            vectors = vectors[(vectors @ hidden.T).amax(1) < losses.NEAR]
        self.others = vectors

    def in_words(self) -> Tensor:
        """[N, D]: the vectors of all names, some by a synonym drawn at random."""
        table = self.table.clone()
        for name, words in self.synonyms.items():
            if torch.rand(()) < ANOTHER_WORD:
                table[name] = words[torch.randint(len(words), ())]
        return table
