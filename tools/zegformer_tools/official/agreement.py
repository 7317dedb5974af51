"""How far the shortcuts' label maps agree with the official ones, over many photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
from PIL import Image, ImageOps

from .inference import Mode, Reference, Result
from .settings import Settings


@dataclass(frozen=True)
class Agreement:
    """One photo in one mode beside the same photo in the official mode."""

    photo: str
    mode: Mode
    pixels: float  # share of the pixels with the same class
    crops: int  # crops encoded
    queries: int
    scores: float  # largest difference of a score
    cosine: float  # mean cosine of the image branch's embedding of a segment and its official one, where there is one


def opened(path: Path) -> Image.Image:
    """The photo, upright."""
    with Image.open(path) as file:
        return ImageOps.exif_transpose(file).convert("RGB")


def compare(
    reference: Reference,
    photos: Iterable[Path],
    names: list[str],
    chosen: Settings,
    modes: Iterable[Mode] = ("fast", "one-pass"),
    say: Callable[[str], None] = print,
) -> list[Agreement]:
    """Runs every photo in the official mode and in `modes`, and says how they agree, photo by photo and on the mean."""
    found: list[Agreement] = []
    for path in photos:
        photo, started = opened(path), monotonic()
        official = reference.run(photo, names, chosen)
        seconds = monotonic() - started
        for mode in modes:
            started = monotonic()
            other = reference.run(photo, names, chosen, mode, known=official)
            found.append(_agreement(path.name, mode, official, other))
            say(f"{line(found[-1])}   (official {seconds:.0f} s, the rest of {mode} {monotonic() - started:.0f} s)")
        say(f"{path.name}: {len(np.unique(official.labels))} of {len(names)} classes in the official map")
    for mode in modes:
        say(summary([one for one in found if one.mode == mode]))
    return found


def _agreement(photo: str, mode: Mode, official: Result, other: Result) -> Agreement:
    cosines = (official.crop_embeddings * other.crop_embeddings).sum(dim=1)[other.cropped]
    return Agreement(
        photo,
        mode,
        float((official.labels == other.labels).mean()),
        len(other.crops),
        len(other.scores),
        float((official.scores - other.scores).abs().max()),
        float(cosines.mean()) if len(cosines) else 1.0,
    )


def line(one: Agreement) -> str:
    return (
        f"{one.photo:<28.28} {one.mode:<9} {100 * one.pixels:7.3f} % of the pixels equal, "
        f"{one.crops:3} of {one.queries} crops, scores differ by up to {one.scores:.3f}, "
        f"embeddings' cosine {one.cosine:.3f}"
    )


def summary(found: list[Agreement]) -> str:
    """The mean and the worst of several photos in one mode."""
    if not found:
        return "no photos"
    pixels = [one.pixels for one in found]
    crops = [one.crops for one in found]
    return (
        f"{found[0].mode}, {len(found)} photos: {100 * np.mean(pixels):.3f} % of the pixels equal on the mean, "
        f"{100 * min(pixels):.3f} % at least; {np.mean(crops):.1f} crops of {found[0].queries} on the mean"
    )
