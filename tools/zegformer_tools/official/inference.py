"""The official inference, stage by stage; every intermediate tensor is kept for parity tests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from . import settings as published
from .clip import Clip
from .crops import binary_masks, boxes, masked_crops
from .fusion import calibrate, fuse, probabilities
from .onepass import encode_segments, mask_bias, squash
from .prompts import class_embeddings
from .pruning import worth_a_crop
from .segmenter import Segmenter, Segments
from .settings import Settings
from .tokenizer import token_ids

Mode = Literal["official", "fast", "one-pass"]
"""official: every proposal is cropped; fast: those that matter; one-pass: none, CLIP sees the photo once."""

MASK_STRIDE = 4


def resized_size(width: int, height: int, short: int, long: int) -> tuple[int, int]:
    """(width, height) with the short side at `short`, unless the long side would exceed `long`."""
    scale = short / min(width, height)
    if max(width, height) * scale > long:
        scale = long / max(width, height)
        return int(width * scale + 0.5), int(height * scale + 0.5)
    if width < height:
        return short, int(height * scale + 0.5)
    return int(width * scale + 0.5), short


def resize(photo: Image.Image, short: int, long: int) -> np.ndarray:
    """[h, w, 3] u8: Pillow's bilinear filter, which averages when it shrinks."""
    size = resized_size(photo.width, photo.height, short, long)
    return np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BILINEAR))


def normalise(pixels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], stride: int) -> Tensor:
    """[3, H, W]: normalised, then padded with zeros at the bottom and right to a multiple of `stride`."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()
    image = (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    height, width = image.shape[1:]
    return F.pad(image, (0, -width % stride, 0, -height % stride))


@dataclass(frozen=True)
class Result:
    """All stages of one photo, in order."""

    resized: np.ndarray  # [h, w, 3] u8
    pixels: Tensor  # [3, H, W] normalised for the backbone, padded
    clip_pixels: Tensor  # [3, H, W] normalised for CLIP, padded
    segments: Segments
    masks: Tensor  # [Q, H, W] logits on the padded grid
    boxes: Tensor  # [Q, 4]
    cropped: Tensor  # [Q] whether the image branch saw the proposal
    crops: Tensor  # [K, 3, S, S] of the cropped ones; none in one pass
    crop_embeddings: Tensor  # [Q, D]; zero where the image branch saw nothing
    query_text: Tensor  # [N, D]
    image_text: Tensor  # [N, D]
    query_logits: Tensor  # [Q, N]
    image_logits: Tensor  # [Q, N]
    scores: Tensor  # [Q, N]
    semantic: Tensor  # [N, h0, w0] at the photo's size, calibrated
    labels: np.ndarray  # [h0, w0] index of the class


class Reference:
    """Both networks with a tokenizer."""

    def __init__(self, segmenter: Segmenter, clip: Clip, tokenizer: Tokenizer, batch: int = 16) -> None:
        self.segmenter = segmenter
        self.clip = clip
        self.tokenizer = tokenizer
        self.batch = batch

    @torch.inference_mode()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """Unit rows, one per prompt."""
        ids = [token_ids(self.tokenizer, prompt, self.clip.shape.context) for prompt in prompts]
        rows = []
        for start in range(0, len(ids), 64):
            part = ids[start : start + 64]
            length = max(len(row) for row in part)
            table = torch.tensor([row + [0] * (length - len(row)) for row in part])
            rows.append(self.clip.encode_tokens(table))
        return torch.cat(rows)

    @torch.inference_mode()
    def text(self, names: list[str], patterns: tuple[str, ...]) -> Tensor:
        """Class embeddings of one branch."""
        return class_embeddings(names, patterns, self.encode_text)

    @torch.inference_mode()
    def encode_crops(self, crops: Tensor) -> Tensor:
        return torch.cat([self.clip.encode_image(part) for part in crops.split(self.batch)])

    @torch.inference_mode()
    def run(
        self,
        photo: Image.Image,
        names: list[str],
        chosen: Settings,
        mode: Mode = "official",
        known: Result | None = None,
    ) -> Result:
        """The whole inference for the classes `names` under `chosen`.

        `known` is an official result for the same photo, names and settings: what the modes share is taken from it.
        A proposal that the image branch did not see keeps the scores of its query branch.
        """
        resized = resize(photo, chosen.short, chosen.long)
        pixels = normalise(resized, published.PIXEL_MEAN, published.PIXEL_STD, published.STRIDE)
        clip_pixels = normalise(resized, published.CLIP_MEAN, published.CLIP_STD, published.STRIDE)
        segments = known.segments if known else self.segmenter(pixels[None])
        masks = upsample(segments.mask_logits[0], pixels.shape[1], pixels.shape[2])
        binary = binary_masks(masks)
        query_text = known.query_text if known else self.text(names, chosen.query_templates)
        image_text = known.image_text if known else self.text(names, chosen.image_templates)
        query_logits = self.segmenter.temperature * segments.embeddings[0] @ query_text.T
        background = segments.background_logits[0]
        side = self.clip.shape.image_size
        inner = resized.shape[0] / MASK_STRIDE, resized.shape[1] / MASK_STRIDE
        cropped = torch.ones(len(masks), dtype=torch.bool)
        if mode == "one-pass":
            crops = torch.zeros(0, 3, side, side)
            bias = mask_bias(segments.mask_logits[0], inner, self.clip.shape.grid)
            crop_embeddings = encode_segments(self.clip, squash(photo, side), bias)
        else:
            if mode == "fast":
                cells = math.ceil(inner[0]), math.ceil(inner[1])
                cropped = worth_a_crop(query_logits, background, segments.mask_logits[0], cells)
            crops = known.crops[cropped] if known else masked_crops(clip_pixels, binary[cropped], side)
            crop_embeddings = torch.zeros(len(masks), self.clip.shape.embedding)
            crop_embeddings[cropped] = known.crop_embeddings[cropped] if known else self.encode_crops(crops)
        image_logits = self.clip.temperature * crop_embeddings @ image_text.T
        seen = torch.tensor([name in chosen.seen for name in names])
        scores = fuse(query_logits, image_logits, background, seen, chosen.ensembling, chosen.weight)
        scores = torch.where(cropped[:, None], scores, probabilities(query_logits, background))
        semantic = compose(scores, masks, resized.shape[:2], (photo.height, photo.width))
        semantic = calibrate(semantic, seen, chosen.gamma)
        return Result(
            resized, pixels, clip_pixels, segments, masks, boxes(binary), cropped, crops, crop_embeddings,
            query_text, image_text, query_logits, image_logits, scores, semantic, semantic.argmax(dim=0).numpy(),
        )  # fmt: skip


def upsample(maps: Tensor, height: int, width: int) -> Tensor:
    """[C, h, w] to [C, height, width], bilinear between pixel centres (align_corners false)."""
    return F.interpolate(maps[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def compose(scores: Tensor, masks: Tensor, inner: tuple[int, ...], outer: tuple[int, int]) -> Tensor:
    """Per-pixel scores on the padded grid, cut to the resized photo (`inner`, height and width), brought to the
    size of the original (`outer`)."""
    semantic = torch.einsum("qn,qhw->nhw", scores, masks.sigmoid())
    return upsample(semantic[:, : inner[0], : inner[1]], outer[0], outer[1])
