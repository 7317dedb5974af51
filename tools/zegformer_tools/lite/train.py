"""Trains the segmenter on cached features."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from .backbone import CHANNELS, Lite0
from .cache import SIZES, unpacked
from .data import LONG, SHORT, Segments
from .model import TEMPERATURE, Found, Namer, Segmenter
from .names import TextSpace, imagenet_names, vocabulary

BATCH = 16
POINTS = 1024
RATE = 5e-4
NO_OBJECT = 0.05
NEGATIVES = 128
NEAR = 0.5
"""A name this close to the right one (cosine) is not taught as wrong."""
EMA = 0.998
SAVE_SECONDS = 150.0


def text_space(data: Path, cache: Path) -> TextSpace:
    """The space of the whole vocabulary, kept beside the features."""
    file = cache / "text.pkl"
    if file.exists():
        space = TextSpace(np.zeros(1))
        space.mean, space._known = pickle.loads(file.read_bytes())
        return space
    space = TextSpace.over(vocabulary(data))
    space.joined(imagenet_names())
    file.write_bytes(pickle.dumps((space.mean, space._known)))
    return space


def fresh(space: TextSpace) -> Segmenter:
    backbone = Lite0()
    words = torch.from_numpy(space.joined(imagenet_names()))
    namer = Namer(backbone.classifier, backbone.classifier_bias, words)
    return Segmenter((backbone.head.weight, backbone.head.bias), namer)


class Cached:
    """The crops cached so far."""

    def __init__(self, folder: Path, rng: np.random.Generator, withheld: set[int]) -> None:
        self.folder, self.rng, self.withheld = folder, rng, withheld
        self.reload()

    def reload(self) -> None:
        rows = pickle.loads((self.folder / "crops.pkl").read_bytes())
        self.rows: dict[int, tuple[str, bool, Segments]] = {
            i: row for i, row in enumerate(rows) if row is not None and not self.withheld & set(row[2].names)
        }
        self.files = {
            s: np.memmap(self.folder / f"features{s}.f16", np.float16, "r", shape=(len(rows), n))
            for s, n in SIZES.items()
        }
        self.complete = all(row is not None for row in rows)
        of = {p: [i for i, row in self.rows.items() if row[1] == p and len(row[2].names)] for p in (False, True)}
        self.indices = of
        self.weights = {}
        for p, indices in of.items():
            weight = np.array([SET_WEIGHTS[self.rows[i][0]] for i in indices])
            self.weights[p] = weight / max(weight.sum(), 1e-9)
        total = [len(of[p]) for p in (False, True)]
        self.portrait = total[1] / max(sum(total), 1)

    def batch(self, size: int) -> tuple[dict[int, Tensor], list[tuple[str, Segments]]]:
        portrait = bool(self.rng.random() < self.portrait)
        chosen = self.rng.choice(self.indices[portrait], size, p=self.weights[portrait])
        h, w = (LONG, SHORT) if portrait else (SHORT, LONG)
        features = {
            s: torch.from_numpy(np.array(self.files[s][chosen]).astype(np.float32)).reshape(size, c, h // s, w // s)
            for s, c in CHANNELS.items()
        }
        return features, [(self.rows[i][0], unpacked(self.rows[i][2])) for i in chosen]


SET_WEIGHTS = {"voc": 1.0, "coco": 1.5, "ccp": 0.7, "bsds": 0.6}


def pair_costs(points: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """BCE and dice [Q, K] of logits [Q, P] against masks [K, P]."""
    count = points.shape[1]
    bce = (F.softplus(points).sum(1)[:, None] - points @ truth.T) / count
    soft = points.sigmoid()
    dice = 1 - (2 * soft @ truth.T + 1) / (soft.sum(1)[:, None] + truth.sum(1)[None] + 1)
    return bce, dice


class Losses:
    def __init__(self, names: Tensor, others: Tensor) -> None:
        self.names, self.others = names, others

    def __call__(self, found: Found, truth: list[tuple[str, Segments]]) -> tuple[Tensor, dict[str, float]]:
        size = found.embeddings.shape[0]
        cells = found.mask_features.flatten(2)
        negatives = self.others[torch.randperm(len(self.others))[:NEGATIVES]]
        table = torch.cat([self.names, negatives])
        name_logits = TEMPERATURE * found.embeddings @ table.T
        logits = torch.cat([name_logits, found.background[..., None]], -1)
        masks, names, nothing = [], [], []
        right, asked = 0, 0
        for b in range(size):
            kind, segments = truth[b]
            wanted = torch.from_numpy(segments.masks).flatten(1).float()
            target = torch.tensor(segments.names)
            spots = torch.randint(cells.shape[2], (POINTS,))
            sampled, wanted = cells[b][:, spots], wanted[:, spots]
            layers = [v[b] @ sampled for v in found.mask_vectors]
            with torch.no_grad():
                bce, dice = pair_costs(layers[-1], wanted)
                cost = 3 * bce + 3 * dice
                if kind != "bsds":
                    cost = cost - 1.5 * logits[b].softmax(-1)[:, target]
                rows, columns = linear_sum_assignment(cost.numpy())
            for index, points in enumerate(layers):
                x, y = points[rows], wanted[columns]
                bce_loss = F.binary_cross_entropy_with_logits(x, y, reduction="none").mean(1)
                soft = x.sigmoid()
                dice_loss = 1 - (2 * (soft * y).sum(1) + 1) / (soft.sum(1) + y.sum(1) + 1)
                weight = 1.0 if index == len(layers) - 1 else 0.4
                masks.append(weight * (4 * bce_loss + 2 * dice_loss).sum())
            if kind == "bsds":
                continue
            aim = target[columns]
            picked = logits[b][rows]
            near = (self.names[aim] @ table.T > NEAR).float()
            near[torch.arange(len(aim)), aim] = 0
            hidden = torch.cat([near, torch.zeros(len(aim), 1)], 1) * -1e4
            names.append(F.cross_entropy(picked + hidden, aim, reduction="sum"))
            right += int((picked[:, : len(self.names)].argmax(1) == aim).sum())
            asked += len(aim)
            labelled = torch.from_numpy(segments.labelled).flatten()[spots].float()
            soft = layers[-1].detach().sigmoid()
            inside = (soft @ labelled) / (soft.sum(1) + 1e-3)
            free = torch.ones(len(soft), dtype=torch.bool)
            free[rows] = False
            free &= inside > 0.6
            if free.any():
                last = torch.full((int(free.sum()),), logits.shape[-1] - 1)
                nothing.append(F.cross_entropy(logits[b][free], last, reduction="sum"))
        count = max(sum(len(s.names) for _, s in truth), 1)
        mask_loss = torch.stack(masks).sum() / count
        name_loss = torch.stack(names).sum() / max(asked, 1) if names else torch.zeros(())
        nothing_loss = torch.stack(nothing).sum() / max(asked, 1) if nothing else torch.zeros(())
        report = {"mask": mask_loss.item(), "name": name_loss.item(), "nothing": nothing_loss.item()}
        report["right"] = right / max(asked, 1)
        return mask_loss + name_loss + NO_OBJECT * nothing_loss, report


@torch.no_grad()
def ridge(model: Segmenter, crops: Cached, names: Tensor, batches: int = 90, strength: float = 0.02) -> None:
    """Starts the namer's learned part from a regression of true masks' features on their names' vectors."""
    inputs, targets = [], []
    for _ in range(batches):
        features, truth = crops.batch(BATCH)
        wide = F.relu6(F.conv2d(features[32], model.head_weight, model.head_bias))
        for b, (kind, segments) in enumerate(truth):
            if kind == "bsds":
                continue
            share = F.avg_pool2d(torch.from_numpy(segments.masks).float()[None], 8)[0].flatten(1)
            inputs.append(share / share.sum(1, keepdim=True) @ wide[b].flatten(1).T)
            targets.append(names[segments.names])
    x, y = torch.cat(inputs), torch.cat(targets)
    y = y - model.namer.verdict(x)
    mean, offset = x.mean(0), y.mean(0)
    x, y = x - mean, y - offset
    gram = x.T @ x
    gram.diagonal().add_(strength * gram.diagonal().mean() * 10)
    weight = torch.linalg.solve(gram, x.T @ y).T
    model.namer.learned.weight.copy_(weight)
    model.namer.learned.bias.copy_(offset - weight @ mean)


def run(data: Path, cache: Path, name: str, minutes: float, withhold: set[str]) -> None:
    """Trains for so many minutes, from the checkpoint if there is one; saves the averaged weights."""
    torch.manual_seed(0)
    rng = np.random.default_rng(int(time.time()))
    space = text_space(data, cache)
    names: list[str] = json.loads((cache / "names.json").read_text())
    withheld = {names.index(n) for n in withhold if n in names}
    model = fresh(space)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    file = cache / f"{name}.pt"
    step, spent = 0, 0.0
    if file.exists():
        kept = torch.load(file, weights_only=True)
        model.load_state_dict(kept["model"])
        average = kept["average"]
        optimiser.load_state_dict(kept["optimiser"])
        step, spent = kept["step"], kept["spent"]
    table = torch.from_numpy(space.vectors(names))
    taught = [n for i, n in enumerate(names) if i not in withheld]
    others = [n for n in space._known if n not in names and n not in withhold]
    if withheld:
        table[list(withheld)] = torch.from_numpy(space.vectors(taught[:1]))  # never a target; a repeat does no harm
        hidden = torch.from_numpy(space.vectors(sorted(withhold)))
        vectors = torch.from_numpy(space.vectors(others))
        others = [n for n, far in zip(others, (vectors @ hidden.T).amax(1) < NEAR, strict=True) if far]
    losses = Losses(table, torch.from_numpy(space.vectors(others)))
    crops = Cached(cache, rng, withheld)
    if step == 0:
        ridge(model, crops, table)
        average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    total = minutes * 60
    begun = saved = time.time()
    before = spent
    recent: list[dict[str, float]] = []
    while spent < total:
        part = spent / total
        rate = RATE * min(1.0, (step + 1) / 100) * (1.0 if part < 0.4 else max(0.01, (1 - part) / 0.6))
        for group in optimiser.param_groups:
            group["lr"] = rate
        features, truth = crops.batch(BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            fine, memory = model.pixels(features)
        found = model.behind(features, fine.float(), memory.float())
        loss, report = losses(found, truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        step += 1
        keep = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in model.state_dict().items():
                average[key].lerp_(value, 1 - keep)
        recent.append(report)
        now = time.time()
        spent = before + now - begun
        if step % 50 == 0:
            means = {k: round(float(np.mean([r[k] for r in recent])), 3) for k in recent[0]}
            print(f"step {step} {spent:.0f} s {step * BATCH} crops", means, flush=True)
            recent = []
        if now - saved > SAVE_SECONDS or spent >= total:
            saved = now
            state = {"model": model.state_dict(), "average": average, "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step, "spent": spent}, file.with_suffix(".tmp"))
            file.with_suffix(".tmp").rename(file)
            if not crops.complete:
                crops.reload()
