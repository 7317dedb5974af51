"""Crops drawn from the cache: on a processor, without running the backbone."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .backbone import CHANNELS
from .cache import COMPOSITE, STORED, Row, numbers, unpacked
from .data import sides
from .losses import Truth

BATCHES = {256: 16, 384: 8}
"""Crops a step, by their size; the sizes take turns at random."""
SHARES = {"voc": 0.34, "coco": 0.2, "ccp": 0.1, "bsds": 0.12, COMPOSITE: 0.14, "caltech101": 0.07, "grocery": 0.03}
"""Of the crops that are drawn."""
RARITY = 0.4
"""Within a set a crop is drawn as often as the count of its rarest name to the power of minus this."""


class Cached:
    """The cached crops of one size, without those in whose photos a withheld name occurs. `known`: see `annotated`."""

    def __init__(
        self, cache: Path, short: int, rng: np.random.Generator, withheld: set[int], known: dict[str, np.ndarray]
    ) -> None:
        self.rng, self.known = rng, known
        self.sides = sides(short)
        folder = cache / f"crops{short}"
        self.scales = {int(s): torch.from_numpy(v) for s, v in np.load(folder / "scales.npz").items()}
        rows: list[Row | None] = pickle.loads((folder / "crops.pkl").read_bytes())
        self.rows = {i: row for i, row in enumerate(rows) if row is not None and not withheld & row.present}
        if withheld:
            made = sum(row is not None for row in rows)
            left_out = made - len(self.rows)
            print(f"{len(withheld)} names withheld: {left_out} of {made} crops of {short} left out", flush=True)
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

    def batch(self, size: int) -> tuple[dict[int, Tensor], list[Row]]:
        """Features of some crops, and what is kept of these."""
        portrait = bool(self.rng.random() < self.portraits)
        indices, weights = self.choices[portrait]
        chosen = self.rng.choice(indices, size, p=weights)
        h, w = reversed(self.sides) if portrait else self.sides
        features = {}
        for s, c in CHANNELS.items():
            kept = torch.from_numpy(np.array(self.files[s][chosen])).float().reshape(size, c, h // s, w // s)
            features[s] = kept * self.scales[s][:, None, None] if STORED[s] is np.int8 else kept
        return features, [self.rows[i] for i in chosen]

    def truth(self, rows: list[Row]) -> Truth:
        nothing = np.zeros_like(next(iter(self.known.values())))
        known = np.stack([self.known.get(row.set, nothing) for row in rows])
        absent = known.copy()
        for own, row in zip(absent, rows, strict=True):
            own[list(row.present)] = False
        return Truth.of([unpacked(row.segments) for row in rows], known, absent)
