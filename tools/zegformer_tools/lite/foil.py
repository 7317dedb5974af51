"""The paper's foil: the same backbone, pixel decoder, names and photos, but every pixel is named by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import Backbone, lite0
from .losses import DISTILLATION, KNOWLEDGE, Losses, Truth
from .model import FINE, TEMPERATURE, Namer, PixelDecoder
from .names import TextSpace, imagenet_names

PIXELS = 512
"""Of a crop's labelled cells that are taught in a step, drawn at random."""


@dataclass
class Pixels:
    """What the foil says about a batch: `fine` [B, FINE, H/4, W/4], which `name` makes embeddings of, and `wide` [B, D,
    H/32, W/32], what the namer says of the cell that a pixel lies in.

    What ImageNet's classifier says, [B, H/32, W/32, 1000]: `said` by the backbone as it is, `told` by the frozen one;
    `verdicts` [B, D, H/32, W/32], the latter in words.
    """

    fine: Tensor
    wide: Tensor
    name: nn.Conv2d
    said: Tensor
    told: Tensor
    verdicts: Tensor

    def everywhere(self) -> Tensor:
        """Unit vectors [B, D, H/4, W/4]."""
        return F.normalize(
            F.interpolate(self.wide, scale_factor=8, mode="bilinear") + self.name(self.fine).float(), dim=1
        )

    def at(self, crops: Tensor, spots: Tensor) -> Tensor:
        """The same [C, P, D] for P pixels of each of some crops [C], counted row by row: all that a step needs."""
        fine = self.fine[crops].flatten(2).gather(2, spots[:, None].expand(-1, self.fine.shape[1], -1)).transpose(1, 2)
        own = F.linear(fine.float(), self.name.weight[:, :, 0, 0], self.name.bias)
        height, width = self.fine.shape[2:]
        x, y = (spots % width + 0.5) * 2 / width - 1, (spots // width + 0.5) * 2 / height - 1
        places = torch.stack([x, y], -1)[:, :, None]
        wide = F.grid_sample(self.wide[crops], places, padding_mode="border", align_corners=False)[..., 0]
        return F.normalize(wide.transpose(1, 2) + own, dim=2)

    def verdicts_at(self, crops: Tensor, spots: Tensor) -> Tensor:
        """[C, P, D]: the verdict on the cell that each of these pixels lies in."""
        width = self.fine.shape[3]
        scale = width // self.verdicts.shape[3]
        cell = spots // width // scale * (width // scale) + spots % width // scale
        verdicts = self.verdicts[crops].flatten(2)
        return verdicts.gather(2, cell[:, None].expand(-1, verdicts.shape[1], -1)).transpose(1, 2)


class PerPixel(nn.Module):
    """A pixel's embedding: a linear map of the pixel decoder's, and what the namer says of the cell it lies in."""

    def __init__(self, backbone: Backbone, namer: Namer) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixels = PixelDecoder()
        self.namer = namer
        self.name = nn.Conv2d(FINE, namer.words.shape[1], 1)
        nn.init.normal_(self.name.weight, std=0.01)

    def forward(self, features: dict[int, Tensor], frozen: Tensor | None = None) -> Pixels:
        """`features` and `frozen` as the segmenter takes them."""
        fine, _ = self.pixels(features)
        wide = self.backbone.head(features[32]).permute(0, 2, 3, 1).float()
        said = self.namer.classes(wide)
        told = said.detach()
        if frozen is not None:
            told = self.namer.classes(frozen.permute(0, 2, 3, 1).float()).detach()
        named = self.namer(wide, self.namer.in_words(said)).permute(0, 3, 1, 2).float()
        verdicts = self.namer.in_words(told).permute(0, 3, 1, 2).float()
        return Pixels(fine, named, self.name, said, told, verdicts)


def fresh(space: TextSpace) -> PerPixel:
    backbone = lite0()
    words = torch.from_numpy(space.joined(imagenet_names()))
    namer = Namer(backbone.classifier, backbone.classifier_bias, words)
    return PerPixel(backbone, namer)


def trained(cache: Path, name: str, space: TextSpace) -> PerPixel:
    model = fresh(space)
    model.load_state_dict(torch.load(cache / f"{name}.pt", weights_only=True)["average"])
    return model.eval()


def cell_names(truth: Truth) -> Tensor:
    """[B, h, w]: the name of each cell, -1 where there is none; smaller segments lie on top."""
    masks = truth.masks & (truth.names >= 0)[:, :, None, None]
    on_top = masks / masks.sum((2, 3), keepdim=True).clamp(min=1)
    most, segment = on_top.max(1)
    names = truth.names.gather(1, segment.flatten(1)).view_as(segment)
    return torch.where(most > 0, names, -1)


class PixelLosses:
    """The segmenter's losses of names, for single cells."""

    def __init__(self, lesson: Losses) -> None:
        self.lesson = lesson

    def __call__(self, found: Pixels, truth: Truth) -> tuple[Tensor, dict[str, Tensor]]:
        named = cell_names(truth).flatten(1)
        crops = (named >= 0).any(1).nonzero()[:, 0]
        spots = torch.multinomial((named[crops] >= 0).float(), PIXELS, replacement=True)
        aim = named[crops].gather(1, spots).flatten()

        embeddings = found.at(crops, spots).flatten(0, 1)
        table = self.lesson.table()
        logits = F.pad(TEMPERATURE * embeddings @ table.T, (0, 1), value=-1e4)
        agrees = F.cosine_similarity(embeddings, found.verdicts_at(crops, spots).flatten(0, 1), dim=1)
        asked = max(len(aim), 1)
        parts = {
            "name": self.lesson.naming(logits, aim, table) / asked,
            "kept": (1 - agrees).sum() / asked,
            "known": F.kl_div(
                found.said.log_softmax(-1).flatten(0, 2), found.told.softmax(-1).flatten(0, 2), reduction="batchmean"
            ),
        }
        loss = parts["name"] + DISTILLATION * parts["kept"] + KNOWLEDGE * parts["known"]
        right = (logits[:, : len(self.lesson.names)].argmax(1) == aim).sum() / asked
        return loss, {**{part: value.detach() for part, value in parts.items()}, "right": right}
