"""Masked crops of named regions, and photos with one name, made on the device that trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .album import Album, Places, bilinear, grid, jittered, normalised
from .backbone import PIXEL_MEAN
from .branch import SIDE

LEAST_PIXELS = 400
LEAST_PART = 0.7
"""Of a region's box, each way."""
UNMASKED = 0.1
"""Of the crops that keep what is around the region."""


class Regions:
    """What may be drawn of an album: the crops' names are `names` [R]."""

    def __init__(self, album: Album, rng: np.random.Generator) -> None:
        self.album, self.rng = album, rng
        rows = [row for row in album.places if row.pixels >= LEAST_PIXELS]
        self.names = np.array([row.name for row in rows])
        self.places = Places.of(rows, album.device)
        weights = 1 / np.sqrt(np.bincount(self.names)[self.names])
        self.weights = weights / weights.sum()

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Normalised crops [B, 3, SIDE, SIDE], squashed, and the indices of their names [B]."""
        album = self.album
        drawn = self.rng.choice(len(self.weights), size, p=self.weights)
        index = torch.from_numpy(drawn).to(album.device)
        place = self.places.at(index)

        def rand(*shape: int) -> Tensor:
            return torch.rand(size, *shape, device=album.device)

        corner, far = place.box[:, :2].float(), place.box[:, 2:].float()
        part = (far - corner) * (LEAST_PART + (1 - LEAST_PART) * rand(2))
        corner = corner + (far - corner - part) * rand(2)
        # Twice as fine, for most regions are shrunk.
        x, y = grid(torch.cat([corner, corner + part], 1), 2 * SIDE, 2 * SIDE)
        flip = (rand() < 0.5)[:, None, None]
        x = torch.where(flip, x.flip(2), x)
        pixels = bilinear(album.pixels, place.photo, place.height[:, None, None], place.width[:, None, None], x, y)
        mask = album.inside(place, x, y) | (rand() < UNMASKED)[:, None, None]
        pixels = torch.where(mask[:, None], jittered(pixels), PIXEL_MEAN)
        names: Any = torch.from_numpy(self.names[drawn]).to(album.device)
        return normalised(F.avg_pool2d(pixels, 2)), names
