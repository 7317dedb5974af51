"""Trains the segmenter: on cached features, or end to end on crops made by a GPU."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import album, cached, composite, foil, live, losses, warm
from .backbone import Backbone, lite0
from .branch import ImageBranch
from .cache import BASES, COMPOSITES, CROPS, PARTS, backbone_of
from .cache import LEAST_SCALE as CACHED_LEAST_SCALE
from .data import LEAST_CELLS, MOST_SEGMENTS, SAME, annotated, training_names, withheld_ids
from .image import settings_file
from .losses import Truth
from .model import QUERIES, TEMPERATURE, Found, Namer, Segmenter
from .names import TextSpace, imagenet_names, text_space
from .synonyms import SYNONYMS

DECODER_PART = 0.35
"""Of the rate, for the transformer: at more its queries end up saying all the same."""
CLIP = 1.0
"""Largest norm of the gradient."""
DECAY = 0.02
WARM_UP = 200
FLAT = 0.4
"""Part of the steps before the rate goes down."""
ANOTHER_WORD = 0.3
"""How often a name that has synonyms is taught by one of them."""
EMA = 0.998
RIDGE = {"batches": 90, "strength": 0.2}
"""Of the regression that the namer starts from; the strength is a part of the features' mean square."""
SAVE_SECONDS = 150.0
AGREE = ("start", "seed", "rate", "balance", "withheld", "foil", "tune", "batch")
"""The settings that a checkpoint must share with what is asked for, or it is another training's."""
CPU = torch.device("cpu")


def fresh(space: TextSpace) -> Segmenter:
    backbone = lite0()
    words = torch.from_numpy(space.joined(imagenet_names()))
    return Segmenter(backbone, Namer(backbone.classifier, backbone.classifier_bias, words))


Batch = tuple[dict[int, Tensor], Truth]
"""Features of some crops, and what is there."""


@torch.no_grad()
def namer_ridge(
    namer: Namer,
    backbone: Backbone,
    draw: Callable[[], Batch],
    names: Tensor,
) -> None:
    """Starts the namer's learned part from a regression of true masks' features on their names' vectors."""
    inputs, targets = [], []
    for _ in range(int(RIDGE["batches"])):
        features, truth = draw()
        wide = backbone.head(features[32]).flatten(2).transpose(1, 2).float()
        everything = torch.ones_like(truth.masks[:, :1])
        masks = torch.cat([truth.masks, everything], 1).float()
        aims = torch.cat([truth.names, truth.whole[:, None]], 1)
        share = F.avg_pool2d(masks, 8).flatten(2)
        pooled = share / share.sum(2, keepdim=True).clamp(min=1e-6) @ wide
        inputs.append(pooled[aims >= 0])
        targets.append(names[aims[aims >= 0]])
    x, y = torch.cat(inputs), torch.cat(targets)
    y = y - namer.verdict(x)
    mean, offset = x.mean(0), y.mean(0)
    x, y = x - mean, y - offset
    gram = x.T @ x
    gram.diagonal().add_(RIDGE["strength"] * gram.diagonal().mean())
    weight = torch.linalg.solve(gram, x.T @ y).T
    namer.learned.weight.copy_(weight)
    namer.learned.bias.copy_(offset - weight @ mean)


@dataclass(frozen=True)
class Options:
    """What a run is told; the rest of its settings are this package's constants, listed by `settings`."""

    steps: int
    minutes: float = float("inf")
    """It ends after so many at the latest, and the rate falls in time for it: for a machine with limited time."""
    seed: int = 0
    rate: float = 1e-3
    start: Path | None = None
    """A bundle whose weights it starts from."""
    balance: float = 0.0
    """Of the logarithm of a name's frequency: added to its logit while it is taught, so that a rare name need not be
    given up for a frequent one (logit adjustment, Menon et al., ICLR 2021)."""
    withhold: frozenset[str] = frozenset()
    device: str = "cpu"
    live: bool = False
    """Learns from crops made as it goes, not from the cache: for a GPU."""
    batch: int = 64
    """Live crops a step."""
    tune: float = 0.0
    """Of the rate, for the backbone, on live crops; 0 leaves it frozen."""
    foil: bool = False
    """Names every pixel by itself instead of segments."""


def settings(options: Options, steps: int) -> dict[str, Any]:
    """All that a run depends on, to be kept beside its weights."""
    constants = {
        "decoder_part": DECODER_PART,
        "clip": CLIP,
        "decay": DECAY,
        "flat": FLAT,
        "warm_up": WARM_UP,
        "average": EMA,
        "another_word": ANOTHER_WORD,
        "ridge": RIDGE,
        "temperature": TEMPERATURE,
        "points": losses.POINTS,
        "mask": losses.MASK,
        "matching": losses.MATCHING,
        "early_layers": losses.EARLY_LAYERS,
        "no_object": losses.NO_OBJECT,
        "labelled_enough": losses.LABELLED_ENOUGH,
        "absent": losses.ABSENT,
        "hardly_labelled": losses.HARDLY_LABELLED,
        "least_area": losses.LEAST_AREA,
        "distillation": losses.DISTILLATION,
        "knowledge": losses.KNOWLEDGE,
        "whole": losses.WHOLE,
        "whole_areas": losses.WHOLE_AREAS,
        "negatives": losses.NEGATIVES,
        "near": losses.NEAR,
        "queries": QUERIES,
        "least_cells": LEAST_CELLS,
        "cut_out": (composite.LEAST_SHARE, composite.MOST_SHARE),
        "cut_out_sides": composite.SIDES,
    }
    from_cache = {
        "batches": cached.BATCHES,
        "shares": cached.SHARES,
        "rarity": cached.RARITY,
        "crops": CROPS,
        "parts": PARTS,
        "composites": COMPOSITES,
        "bases": BASES,
        "least_scale": CACHED_LEAST_SCALE,
        "most_segments": MOST_SEGMENTS,
        "same": SAME,
    }
    from_pixels = {
        "batch": options.batch,
        "tune": options.tune,
        "shares": live.SHARES,
        "rarity": live.RARITY,
        "shapes": live.SHAPES,
        "whole_photos": live.WHOLE_PHOTOS,
        "largest": live.LARGEST,
        "least_scale": live.LEAST_SCALE,
        "stretch": live.STRETCH,
        "pasted": live.PASTED,
        "most_segments": live.SEGMENTS,
        "grey": album.GREY,
        "jitter": album.JITTER,
    }
    own = {
        "steps": steps,
        "minutes": options.minutes if math.isfinite(options.minutes) else None,
        "seed": options.seed,
        "rate": options.rate,
        "balance": options.balance,
        "withheld": sorted(options.withhold),
        "foil": options.foil,
        "start": options.start and json.loads((options.start / "training.json").read_text()),
    }
    if options.foil:
        constants["pixels"] = foil.PIXELS
    return {**own, **constants, **(from_pixels if options.live else from_cache)}


def rate_at(step: int, done: float) -> float:
    """The part of the highest rate, when `done` of the training is: up in a straight line, flat, down in one."""
    return min(1.0, (step + 1) / WARM_UP, max((1 - done) / (1 - FLAT), 0.01))


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


def groups(model: Segmenter | foil.PerPixel, tune: float) -> list[dict[str, Any]]:
    """The parameters that learn, with their parts of the rate."""
    careful = ("layers.", "content", "place", "mask1.", "mask2.", "mask3.")
    own = {name: p for name, p in model.named_parameters() if not name.startswith("backbone.")}
    found = [
        {"params": [p for name, p in own.items() if not name.startswith(careful)], "part": 1.0},
        {"params": [p for name, p in own.items() if name.startswith(careful)], "part": DECODER_PART},
    ]
    if tune:
        found.append({"params": [p.requires_grad_() for p in model.backbone.parameters()], "part": tune})
    return found


def same(backbone: Backbone, other: Backbone) -> bool:
    """Whether their weights are the same but for what int8 does to them."""
    pairs = zip(backbone.parameters(), other.parameters(), strict=True)
    return all((a - b).abs().max() <= 0.01 * b.abs().max() for a, b in pairs)


class FromCache:
    """Batches of cached features."""

    def __init__(self, data: Path, cache: Path, rng: np.random.Generator, withheld: set[int]) -> None:
        self.rng = rng
        names, ids = training_names(data)
        known = annotated(ids, len(names), withheld)
        self.crops = {short: cached.Cached(cache, short, rng, withheld, known) for short in cached.BATCHES}
        self.frequency = self.crops[min(self.crops)].frequency

    def draw(self) -> Batch:
        short = int(self.rng.choice(list(cached.BATCHES)))
        features, rows = self.crops[short].batch(cached.BATCHES[short])
        return features, self.crops[short].truth(rows)


def going_on(file: Path, options: Options, device: torch.device) -> dict[str, Any] | None:
    """The checkpoint in `file`, if there is one; it must be of the training that is asked for."""
    if not file.exists():
        return None
    kept: dict[str, Any] = torch.load(file, weights_only=True, map_location=device)
    asked = settings(options, kept["step"])
    other = [key for key in AGREE if kept["settings"].get(key) != asked.get(key)]
    if other:
        raise SystemExit(
            f"{file} is of a training with another {', '.join(other)}: take another --name, or remove the file"
        )
    return kept


def streams(rng: np.random.Generator, device: torch.device) -> dict[str, Any]:
    """Where the random numbers are, so that a training that goes on draws what it would have drawn."""
    found: dict[str, Any] = {"numpy": json.dumps(rng.bit_generator.state), "torch": torch.get_rng_state()}
    return found | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_streams(kept: dict[str, Any], rng: np.random.Generator, device: torch.device) -> None:
    rng.bit_generator.state = json.loads(kept["numpy"])
    torch.set_rng_state(kept["torch"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(kept["cuda"].cpu(), device)


def run(data: Path, cache: Path, name: str, options: Options) -> None:
    """Trains for so many steps in all, from the checkpoint if there is one; keeps the averaged weights."""
    if options.start and options.foil:
        raise SystemExit("a bundle has no weights for the foil: leave --start out")
    if options.tune and not options.live:
        raise SystemExit("the backbone of cached features cannot learn: leave --tune out, or train with --device cuda")
    file = cache / f"{name}.pt"
    kept = going_on(file, options, torch.device(options.device))
    if kept and (kept.get("finished") or kept["step"] >= options.steps):
        print(f"{file} is finished, after {kept['step']} steps: another --name trains anew", flush=True)
        return
    device = torch.device(options.device)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(options.seed)
    space = text_space(data, cache)
    names = training_names(data)[0]
    withheld = withheld_ids(names, options.withhold)
    made = foil.fresh(space) if options.foil else fresh(space)
    model = made.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = lite0().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(groups(model, options.tune), lr=options.rate, weight_decay=DECAY, fused=True)
    step, seconds = 0, 0.0
    average: dict[str, Tensor] = {}
    if kept:
        model.load_state_dict(kept["model"])
        average = kept["average"]
        optimiser.load_state_dict(kept["optimiser"])
        step, seconds = kept["step"], kept.get("seconds", 0.0)
        torch.manual_seed(options.seed + step)
    taught = Taught(space, names, options.withhold, device)
    rng = np.random.default_rng([options.seed, step])
    crops = live.Crops(data, album.Album(data, device, withheld), rng) if options.live else None
    source = crops or FromCache(data, cache, rng, withheld)
    added = balance(options.balance, source.frequency, len(names)).to(device)
    lesson = losses.Losses(taught.table, taught.others, losses.exclusive(data).to(device), added)
    teach = foil.PixelLosses(lesson) if options.foil else lesson

    def draw() -> tuple[dict[int, Tensor], Tensor | None, Truth]:
        """Features, what the frozen head makes of the same pixels where the backbone learns, and what is there."""
        if isinstance(source, FromCache):
            features, truth = source.draw()
            return features, None, truth
        pixels, truth = source.batch(options.batch)
        with torch.no_grad():
            frozen = teacher.head(teacher(pixels)[32]) if options.tune else None
        return model.backbone(pixels), frozen, truth

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" or has_bf16())

    if step == 0:
        if options.start and isinstance(model, Segmenter):
            warm.load(model, options.start)
            branch = ImageBranch(lite0(), model.namer.words.cpu())
            warm.load_image(branch, options.start)
            torch.save(branch.state_dict(), cache / f"{name}.image.pt")
            settings_file(cache, name).unlink(missing_ok=True)
        else:
            namer_ridge(model.namer, model.backbone, lambda: draw()[::2], taught.table)
        average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    if not options.live and not same(model.backbone, backbone_of(cache)):
        raise SystemExit(f"{cache} holds the features of another backbone: make one with cache --start {options.start}")
    learned = [key for key, value in model.named_parameters() if value.requires_grad]
    if kept and "streams" in kept:
        set_streams(kept["streams"], rng, device)
    saved = time.time()
    begun = saved - seconds
    recent: list[dict[str, Tensor]] = []
    done = max(step / options.steps, seconds / 60 / options.minutes)
    while done < 1:
        for group in optimiser.param_groups:
            group["lr"] = group["part"] * options.rate * rate_at(step, done)
        with autocast():
            features, frozen, truth = draw()
            found = model(features, frozen)
        lesson.names = taught.in_words()
        loss, report = teach(found, truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        step += 1
        done = max(step / options.steps, (time.time() - begun) / 60 / options.minutes)
        keep = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            state = dict(model.named_parameters())
            torch._foreach_lerp_([average[key] for key in learned], [state[key] for key in learned], 1 - keep)
        if isinstance(found, Found):
            # Queries that all say the same cannot be told apart again: 0 here means a run to be given up.
            report["spread"] = found.mask_vectors[-1].detach().std(1).mean()
        recent.append(report)
        if step % 50 == 0:
            means = {k: round(torch.stack([r[k] for r in recent]).float().mean().item(), 3) for k in recent[0]}
            print(f"step {step} {time.time() - begun:.0f} s", means, flush=True)
            recent = []
        if time.time() - saved > SAVE_SECONDS or done >= 1:
            saved = time.time()
            weights = {"model": model.state_dict(), "average": average, "optimiser": optimiser.state_dict()}
            so_far = {"step": step, "seconds": saved - begun, "finished": done >= 1, "streams": streams(rng, device)}
            torch.save({**weights, **so_far, "settings": settings(options, step)}, file.with_suffix(".tmp"))
            file.with_suffix(".tmp").rename(file)


class Taught:
    """The vectors of all names, withheld ones replaced, and those of names that are only wrong, `others` [M, D]."""

    def __init__(
        self, space: TextSpace, names: list[str], withhold: frozenset[str], device: torch.device = CPU
    ) -> None:
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
        self.table, self.others = self.table.to(device), vectors.to(device)
        self.synonyms = {name: words.to(device) for name, words in self.synonyms.items()}

    def in_words(self) -> Tensor:
        """[N, D]: the vectors of all names, some by a synonym drawn at random."""
        table = self.table.clone()
        for name, words in self.synonyms.items():
            if torch.rand(()) < ANOTHER_WORD:
                table[name] = words[torch.randint(len(words), ())]
        return table
