"""Trains the image branch with its backbone, on crops made by the device that trains."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import regions
from .album import JITTER, Album
from .branch import SIDE, ImageBranch
from .data import training_names, withheld_ids
from .image import DISTILLATION, DROPOUT, NEGATIVES, RATE, Lesson, fresh, settings_file
from .names import text_space

BATCH = 256
DECAY = 0.05
TUNED_PART = 0.1
"""Of the rate, for the backbone."""
KNOWLEDGE = 1.0
"""Keeps the backbone's ImageNet classes what they were."""
WARM_UP = 200
EMA = 0.998
SAVE_SECONDS = 60.0


def settings(steps: int, withheld: frozenset[str]) -> dict[str, Any]:
    """All that a run depends on, to be kept beside its weights."""
    return {
        "steps": steps,
        "withheld": sorted(withheld),
        "batch": BATCH,
        "side": SIDE,
        "rate": RATE,
        "tune": TUNED_PART,
        "decay": DECAY,
        "warm_up": WARM_UP,
        "average": EMA,
        "distillation": DISTILLATION,
        "knowledge": KNOWLEDGE,
        "dropout": DROPOUT,
        "negatives": NEGATIVES,
        "least_pixels": regions.LEAST_PIXELS,
        "least_part": regions.LEAST_PART,
        "unmasked": regions.UNMASKED,
        "jitter": JITTER,
    }


def rate_at(step: int, steps: int) -> float:
    """The part of the highest rate: up in a straight line, flat for a third, down in one."""
    return min(1.0, (step + 1) / WARM_UP, 1.5 * (1 - step / steps))


def run(data: Path, cache: Path, name: str, withheld: frozenset[str], device_name: str, steps: int) -> None:
    """Trains for so many steps in all, from the checkpoint if there is one; keeps the mean of the last weights.

    `image.judge` reports it.
    """
    checkpoint, asked = cache / f"{name}.image.checkpoint", settings(steps, withheld)
    done = settings_file(cache, name)
    if done.exists() and not checkpoint.exists() and json.loads(done.read_text()) == asked:
        print(f"{name}'s image branch is finished: another --name trains anew", flush=True)
        return
    device = torch.device(device_name)
    space = text_space(data, cache)
    every = training_names(data)[0]
    hidden = withheld_ids(every, withheld)
    taught = [name for name in every if name not in withheld]
    place = torch.tensor([taught.index(name) if name in taught else -1 for name in every], device=device)
    torch.manual_seed(0)
    branch, teacher = fresh(space).to(device), fresh(space).to(device)
    branch, teacher = (m.to(memory_format=torch.channels_last) for m in (branch, teacher))  # type: ignore[call-overload]
    for parameter in branch.backbone.parameters():
        parameter.requires_grad_()
    optimiser = torch.optim.AdamW(
        [
            {"params": [*branch.widen.parameters(), *branch.shrink.parameters()], "part": 1.0},
            {"params": list(branch.backbone.parameters()), "part": TUNED_PART},
        ],
        lr=RATE,
        weight_decay=DECAY,
        fused=True,
    )
    average = [p.detach().clone() for p in branch.parameters()]
    step = 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True, map_location=device)
        if kept.get("settings", asked) != asked:
            raise SystemExit(f"{checkpoint} is of a training with other settings: take another --name, or remove it")
        branch.load_state_dict(kept["branch"])
        optimiser.load_state_dict(kept["optimiser"])
        average, step = kept["average"], kept["step"]
    torch.manual_seed(step)
    album = Album(data, device, hidden)
    crops = regions.Regions(album, np.random.default_rng([0, step]))
    lesson = Lesson(taught, set(withheld), space, data, device)
    begun = saved = time.time()
    while step < steps:
        for group in optimiser.param_groups:
            group["lr"] = group["part"] * RATE * rate_at(step, steps)
        loss, report = losses(branch, teacher, lesson, *crops.batch(BATCH), place)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(branch.parameters(), 1.0)
        optimiser.step()
        keep = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, list(branch.parameters()), 1 - keep)
        step += 1
        if step % 100 == 0:
            means = {part: round(value.item(), 3) for part, value in report.items()}
            print(f"step {step} {time.time() - begun:.0f} s", means, flush=True)
        if time.time() - saved > SAVE_SECONDS and step < steps:
            saved = time.time()
            state = {"branch": branch.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "average": average, "step": step, "settings": asked}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").rename(checkpoint)
    with torch.no_grad():
        for parameter, mean in zip(branch.parameters(), average, strict=True):
            parameter.copy_(mean)
    torch.save(branch.eval().cpu().state_dict(), cache / f"{name}.image.pt")
    done.write_text(json.dumps(asked, indent=1))
    checkpoint.unlink(missing_ok=True)


def losses(
    branch: ImageBranch, teacher: ImageBranch, lesson: Lesson, crops: Tensor, target: Tensor, place: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of normalised crops [B, 3, SIDE, SIDE] whose names are `target` [B]; `place` has a name's row in the
    lesson."""
    target = place[target]
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=crops.device.type != "cpu"):
        pooled = branch.pooled(crops)
        with torch.no_grad():
            told = teacher.classes(teacher.pooled(crops))
    pooled, told = pooled.float(), told.float()
    said = branch.classes(pooled)
    found = branch.named(F.dropout(pooled, DROPOUT), branch.verdict(said))
    known = F.kl_div(said.log_softmax(-1), told.softmax(-1), reduction="batchmean")
    loss = lesson(found, branch.verdict(told), target) + KNOWLEDGE * known
    right = (found @ lesson.table[: lesson.count].T).argmax(1) == target
    return loss, {"loss": loss.detach(), "known": known.detach(), "right": right.float().mean()}
