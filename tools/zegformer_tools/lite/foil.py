"""The paper's foil: the same backbone, pixel decoder, names and photos, but every pixel is named by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import losses
from .backbone import Backbone, lite0
from .cache import unpacked
from .cached import BATCHES, Cached
from .data import SHORT, Segments, annotated, training_names
from .model import FINE, TEMPERATURE, Namer, PixelDecoder
from .names import TextSpace, imagenet_names, text_space
from .train import Batch, Options, Taught, balance, has_bf16, namer_ridge, rate_at


@dataclass
class Pixels:
    """Unit vectors [B, D, H/4, W/4] and ImageNet's verdicts [B, D, H/32, W/32]."""

    embeddings: Tensor
    verdicts: Tensor


class PerPixel(nn.Module):
    """A pixel's embedding: a linear map of the pixel decoder's, and what the namer says of the cell it lies in."""

    def __init__(self, backbone: Backbone, namer: Namer) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixels = PixelDecoder()
        self.namer = namer
        self.name = nn.Conv2d(FINE, namer.words.shape[1], 1)
        nn.init.normal_(self.name.weight, std=0.01)

    def forward(self, features: dict[int, Tensor]) -> Pixels:
        fine, _ = self.pixels(features)
        with torch.no_grad():
            wide = self.backbone.head(features[32]).permute(0, 2, 3, 1)
            verdict = self.namer.verdict(wide.float())
        coarse = self.namer(wide.float(), verdict).permute(0, 3, 1, 2).float()
        wide_again = F.interpolate(coarse, scale_factor=8, mode="bilinear")
        return Pixels(F.normalize(wide_again + self.name(fine).float(), dim=1), verdict.permute(0, 3, 1, 2).float())


def fresh(space: TextSpace) -> PerPixel:
    backbone = lite0()
    words = torch.from_numpy(space.joined(imagenet_names()))
    namer = Namer(backbone.classifier, backbone.classifier_bias, words)
    return PerPixel(backbone, namer)


def trained(cache: Path, name: str, space: TextSpace) -> PerPixel:
    model = fresh(space)
    model.load_state_dict(torch.load(cache / f"{name}.pt", weights_only=True))
    return model.eval()


def cell_names(segments: Segments) -> Tensor:
    """[h * w]: the name of each cell, -1 where there is none; smaller segments lie on top."""
    found = np.full(segments.masks.shape[1:], -1)
    for index in np.argsort(-segments.masks.sum((1, 2))):
        found[segments.masks[index]] = segments.names[index]
    return torch.from_numpy(found.ravel())


def run(data: Path, cache: Path, name: str, options: Options) -> None:
    """Trains it as the segmenter is trained, but for cross-entropy of single cells; no photos without masks."""
    torch.manual_seed(options.seed)
    space = text_space(data, cache)
    names = training_names(data)[0]
    taught = Taught(space, names, options.withhold)
    withheld = {names.index(n) for n in options.withhold & {*names}}
    known = annotated(training_names(data)[1], len(names), withheld)
    crops = Cached(cache, SHORT, np.random.default_rng(options.seed), withheld, known)
    added = balance(options.balance, crops.frequency, len(names))
    teacher = losses.Losses(taught.table, taught.others, losses.exclusive(data), added)
    model = fresh(space)

    def draw() -> Batch:
        features, rows = crops.batch(BATCHES[SHORT])
        return features, crops.truth(rows)

    namer_ridge(model.namer, model.backbone, draw, taught.table)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.02, fused=True)
    begun = time.time()
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = options.rate * rate_at(step, step / options.steps)
        features, rows = crops.batch(BATCHES[SHORT])
        truth = [unpacked(row.segments) for row in rows]
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            found = model(features)
        flat = found.embeddings.flatten(2).unbind()
        near = F.interpolate(found.verdicts, scale_factor=8).flatten(2).unbind()
        table = torch.cat([taught.table, taught.others[torch.randperm(len(taught.others))[: losses.NEGATIVES]]])
        total, right, asked = [torch.zeros(())], 0, 0
        for b, segments in enumerate(truth):
            aims = cell_names(segments) if segments.names else torch.zeros(0, dtype=torch.long)
            spots = torch.nonzero(aims >= 0)[:, 0]
            if not len(spots):
                continue
            spots = spots[torch.randint(len(spots), (losses.POINTS // 4,))]
            rows, aim = flat[b][:, spots].T, aims[spots]
            logits = F.pad(TEMPERATURE * rows @ table.T, (0, 1), value=-1e4)
            total.append(teacher.naming(logits, aim, table) / len(aim))
            total.append(losses.DISTILLATION * (1 - F.cosine_similarity(rows, near[b][:, spots].T)).mean())
            right += int((logits[:, : len(names)].argmax(1) == aim).sum())
            asked += len(aim)
        loss = torch.stack(total).sum() / len(truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        if step % 50 == 49:
            print(f"step {step + 1} {time.time() - begun:.0f} s", loss.item(), right / max(asked, 1), flush=True)
    torch.save(model.state_dict(), cache / f"{name}.pt")
