"""Random crops with their segments, made by the device that trains: every step sees new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .album import LABELLED, REGIONS, Album, Place, Places, bilinear, grid, jittered, normalised
from .backbone import PIXEL_MEAN
from .composite import LEAST_SHARE, MOST_SHARE, SIDES, things
from .data import CELL, LEAST_CELLS, training_names
from .losses import NO_NAME, NOTHING, Truth

SHAPES = ((256, 320), (320, 448), (384, 480))
"""Shorter and longer side of a batch's crops; they take turns at random. A new shape costs seconds at first."""
WHOLE_PHOTOS = 0.25
"""Of the crops that hold the whole photo, grey to the right of it or below, as the page pads it."""
LARGEST = 0.25
"""Of the crops that are the largest that fits; the rest is smaller."""
LEAST_SCALE = 0.35
STRETCH = 0.12
"""Largest logarithm of a crop's change of aspect."""
PASTED = 0.2
"""Of the crops of photos with masks that get another photo's object pasted on."""
SEGMENTS = 32
"""At most in a crop, the largest; and who wears the garments of Clothing Co-Parsing."""
SHARES = {"voc": 0.38, "coco": 0.16, "ccp": 0.16, "bsds": 0.14, "caltech101": 0.12, "grocery": 0.04}
"""Of the crops that are drawn."""
RARITY = 0.4
"""Within a set a photo is drawn as often as the count of its rarest name to the power of minus this."""


class Crops:
    """What is drawn of an album. `frequency`: how many photos with a name are drawn, of all."""

    def __init__(self, data: Path, album: Album, rng: np.random.Generator) -> None:
        self.album, self.device, self.rng = album, album.device, rng
        self.portrait = album.sides[:, 0] > album.sides[:, 1]
        self.sides = torch.from_numpy(album.sides).to(self.device)
        self.starts = torch.from_numpy(album.starts).to(self.device)
        self.worn = torch.from_numpy(album.sets == "ccp").to(self.device)
        self.weights = self._weights()
        self.frequency: dict[int, float] = {}
        for own, weight in zip(album.present, self.weights, strict=True):
            for name in own:
                self.frequency[name] = self.frequency.get(name, 0.0) + float(weight)
        able = things(data, training_names(data)[1])
        donors = [place for place in album.places if pasteable(place, able)]
        self.donors = Places.of(donors, self.device)
        names = np.array([place.name for place in donors], np.int64)
        weights = 1 / np.sqrt(np.bincount(names)[names])
        self.donor_weights = weights / weights.sum()

    def _weights(self) -> np.ndarray:
        present = self.album.present
        counts = np.bincount([name for own in present for name in own], minlength=self.album.count)
        rarity = np.array([max((counts[n] ** -RARITY for n in own), default=1.0) for own in present])
        weights = np.zeros(len(present))
        for kind, share in SHARES.items():
            here = self.album.sets == kind
            weights[here] = share * rarity[here] / max(rarity[here].sum(), 1e-9)
        return weights / weights.sum()

    def batch(self, size: int) -> tuple[Tensor, Truth]:
        """Normalised pixels [B, 3, H, W] of one of `SHAPES`, upright or not, and what is there."""
        short, long = SHAPES[self.rng.integers(len(SHAPES))]
        portrait = bool(self.rng.random() < self.weights @ self.portrait)
        h, w = (long, short) if portrait else (short, long)
        weights = self.weights * (self.portrait == portrait)
        chosen = self.rng.choice(len(weights), size, p=weights / weights.sum())
        index = torch.from_numpy(chosen).to(self.device)
        counts = self.album.map_counts[chosen]
        drawn = self.album.first_map[chosen] + (self.rng.random(size) * counts).astype(np.int64)
        maps = torch.from_numpy(self.album.map_starts.take(drawn, mode="clip")).to(self.device)
        has_map = torch.from_numpy(counts > 0).to(self.device)
        box, flip = self._boxes(index, h, w)
        x, y = grid(box, h, w)
        height, width = (self.sides[index, axis, None, None] for axis in (0, 1))
        outside = (x >= width) | (y >= height)
        x = torch.where(flip[:, None, None], width - x, x)
        pixels = bilinear(self.album.pixels, self.starts[index], height, width, x, y)
        cells = np.s_[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
        x, y, beyond = x[cells], y[cells], outside[cells]
        place = y.long().clamp(min=0).minimum(height - 1) * width + x.long().clamp(min=0).minimum(width - 1)
        labels = self.album.labels[torch.where(has_map[:, None, None], maps[:, None, None] + place, 0)].long()
        labels = torch.where(beyond | ~has_map[:, None, None], -1, labels)
        worn = self.worn[index, None, None] & (labels >= 0)
        pasted = (torch.rand(size, device=self.device) < PASTED) & has_map
        where = pasted.nonzero()[:, 0]
        if len(where):
            pixels[where], labels[where], alpha = self._paste(pixels[where], labels[where])
            outside[where] &= alpha == 0
            worn[where] &= alpha[cells] <= 0.5
        pixels = torch.where(outside[:, None], PIXEL_MEAN, jittered(pixels))
        return normalised(pixels), self._truth(labels, worn, index)

    def _boxes(self, index: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
        """Left, top, right, bottom [B, 4] in the photos' pixels, and whether each is mirrored."""
        count = len(index)

        def rand() -> Tensor:
            return torch.rand(count, device=self.device)

        height, width = self.sides[index].float().unbind(1)
        pick = rand()
        largest = torch.minimum(height / h, width / w)
        covering = torch.maximum(height / h, width / w)
        part = LEAST_SCALE + (1 - LEAST_SCALE) * rand()
        part = torch.where(pick < WHOLE_PHOTOS + LARGEST, 1.0, part)
        whole = pick < WHOLE_PHOTOS
        stretch = torch.where(whole, 0.0, (rand() * 2 - 1) * STRETCH).exp()
        scale = torch.where(whole, covering, largest * part)
        across, down = scale * w * stretch.sqrt(), scale * h / stretch.sqrt()
        across, down = (torch.where(whole, a, torch.minimum(a, b)) for a, b in ((across, width), (down, height)))
        left = torch.where(whole, 0.0, rand() * (width - across))
        top = torch.where(whole, 0.0, rand() * (height - down))
        return torch.stack([left, top, left + across, top + down], 1), rand() < 0.5

    def _paste(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """An object of another photo on each crop; also how much it covers of each pixel, [B, H, W]."""
        count, _, h, w = pixels.shape
        drawn = self.rng.choice(len(self.donor_weights), count, p=self.donor_weights)
        donors = self.donors.at(torch.from_numpy(drawn).to(self.device))
        box = donors.box.float()
        across, down = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
        share = SIDES[0] + (SIDES[1] - SIDES[0]) * torch.rand(count, device=self.device)
        scale = torch.minimum(share * w / across, share * h / down)
        left = torch.rand(count, device=self.device) * (w - scale * across)
        top = torch.rand(count, device=self.device) * (h - scale * down)
        # The crop's own corners as the donor's photo sees them; twice as fine, for the object may be shrunk.
        corner_x, corner_y = box[:, 0] - left / scale, box[:, 1] - top / scale
        x, y = grid(torch.stack([corner_x, corner_y, corner_x + w / scale, corner_y + h / scale], 1), 2 * h, 2 * w)
        low_x, low_y, high_x, high_y = (side[:, None, None] for side in box.unbind(1))
        inside = (x >= low_x) & (x < high_x) & (y >= low_y) & (y < high_y)
        flip = (torch.rand(count, device=self.device) < 0.5)[:, None, None]
        x = torch.where(flip, low_x + high_x - x, x)
        x = torch.minimum(torch.maximum(x, low_x), high_x - 0.5)
        y = torch.minimum(torch.maximum(y, low_y), high_y - 0.5)
        mask = (self.album.inside(donors, x, y) & inside).float()
        height, width = donors.height[:, None, None], donors.width[:, None, None]
        part = bilinear(self.album.pixels, donors.photo, height, width, x, y)
        alpha = F.avg_pool2d(mask[:, None], 2)
        colour = F.avg_pool2d(part * mask[:, None], 2) / alpha.clamp(min=1e-3)
        cover = alpha[:, 0, CELL // 2 :: CELL, CELL // 2 :: CELL] > 0.5
        labels = torch.where(cover, donors.name[:, None, None], labels)
        return pixels + alpha * (colour - pixels), labels, alpha[:, 0]

    def _truth(self, labels: Tensor, worn: Tensor, index: Tensor) -> Truth:
        count = len(labels)
        sizes = torch.zeros(count, self.album.count + REGIONS, device=self.device)
        flat = labels.flatten(1)
        sizes.scatter_add_(1, flat.clamp(min=0), (flat >= 0).float())
        area, value = sizes.topk(SEGMENTS, 1)
        there = area >= LEAST_CELLS
        masks = (labels[:, None] == value[:, :, None, None]) & there[:, :, None, None]
        names = torch.where(value < self.album.count, value, NO_NAME)
        names = torch.where(there, names, NOTHING)
        person = torch.where(worn.flatten(1).sum(1) >= LEAST_CELLS, self.album.person, NOTHING)
        masks = torch.cat([masks, worn[:, None]], 1)
        names = torch.cat([names, person[:, None]], 1)
        labelled = (labels >= 0) & (labels < self.album.count)
        annotated = self.album.annotated[index]
        absent = annotated & (sizes[:, : self.album.count] == 0)
        return Truth(masks, names, labelled, self.album.whole[index], annotated, absent)


def pasteable(place: Place, able: set[int]) -> bool:
    """VOC's objects, COCO's things, CCP's people, neither too small nor too large."""
    fits = {"voc": True, "coco": place.name in able, "ccp": place.value == LABELLED}
    return fits.get(place.set, False) and LEAST_SHARE < place.share < MOST_SHARE
