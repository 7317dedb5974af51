"""Runs the exported graphs in onnxruntime and compares them with the reference, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from . import settings as published
from .graph import Graph
from .inference import Reference, normalise
from .onepass import encode_segments, mask_bias
from .pack import Encoding
from .photo import drawn_photo
from .position import sine_position
from .tokenizer import token_ids


class CheckError(ValueError):
    """An exported graph does not do what the reference does."""


@dataclass(frozen=True)
class Stage:
    """One compared tensor."""

    name: str
    error: float  # largest absolute difference
    scale: float  # largest absolute value in the reference
    cosine: float  # least cosine of two rows; 1 where rows have no meaning
    agreement: float  # share of elements with the same sign

    def line(self) -> str:
        return (
            f"{self.name:<34} largest error {self.error:.2e} of {self.scale:.2e}, "
            f"cosine >= {self.cosine:.6f}, same sign {100 * self.agreement:.3f} %"
        )


@dataclass(frozen=True)
class Tolerance:
    """Errors as a share of the largest value; signs are asked of mask logits only."""

    error: float
    cosine: float
    agreement: float


TOLERANCES: dict[Encoding, Tolerance] = {
    "f32": Tolerance(1e-3, 0.99999, 0.9999),
    "f16": Tolerance(5e-2, 0.999, 0.995),
    # int8 rounds each weight by up to 1/254 of its channel's largest: only a broken graph is refused, whether the
    # rest is good enough has to be seen on label maps.
    "int8": Tolerance(0.8, 0.7, 0.85),
}


def compare(name: str, found: np.ndarray, expected: Tensor, rows: bool = True) -> Stage:
    """`rows`: the last axis holds vectors whose directions matter."""
    a, b = torch.from_numpy(np.asarray(found)).double(), expected.double()
    if a.shape != b.shape:
        raise CheckError(f"{name}: shape {tuple(a.shape)}, the reference has {tuple(b.shape)}")
    if not torch.isfinite(a).all():
        raise CheckError(f"{name}: values that are not finite")
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).min().item() if rows else 1.0
    agreement = ((a > 0) == (b > 0)).double().mean().item()
    return Stage(name, (a - b).abs().max().item(), b.abs().max().item(), cosine, agreement)


def judge(stages: list[Stage], encoding: Encoding) -> None:
    """Raises for the first stage that is beyond the encoding's tolerance."""
    limit = TOLERANCES[encoding]
    for stage in stages:
        masks = stage.name.startswith("mask_logits")
        if stage.error > limit.error * stage.scale:
            raise CheckError(f"{stage.line()}: more than {limit.error} of the largest value ({encoding})")
        if stage.cosine < limit.cosine:
            raise CheckError(f"{stage.line()}: cosine below {limit.cosine} ({encoding})")
        if masks and stage.agreement < limit.agreement:
            raise CheckError(f"{stage.line()}: fewer than {limit.agreement} of the signs ({encoding})")


class Checker:
    """Holds inputs and the reference's answers, so that several encodings are compared with one reference run."""

    def __init__(self, reference: Reference, sizes: tuple[tuple[int, int], ...] = ((256, 384), (320, 224))) -> None:
        self.reference = reference
        self.photos = []
        for width, height in sizes:
            pixels = np.asarray(drawn_photo(width, height))
            self.photos.append(normalise(pixels, published.PIXEL_MEAN, published.PIXEL_STD, published.STRIDE)[None])
        crops = drawn_crops(reference.clip.shape.image_size, 3)
        self.crops = torch.cat((crops, torch.zeros_like(crops[:1])))
        self.prompts = ["a photo of a cat.", "A photo of a wall-concrete in the scene", "", "This is one sky-other"]

    @torch.inference_mode()
    def segmenter(self, session: onnxruntime.InferenceSession) -> list[Stage]:
        stages = []
        for pixels in self.photos:
            channels = self.reference.segmenter.shape.hidden
            height, width = pixels.shape[2], pixels.shape[3]
            position = sine_position(height // published.STRIDE, width // published.STRIDE, channels)
            names = ["mask_logits", "segment_embeddings", "background_logits"]
            found = session.run(names, {"pixels": pixels.numpy(), "position": position.numpy()})
            segments = self.reference.segmenter(pixels)
            label = f"{width}x{height}"
            stages += [
                compare(f"mask_logits {label}", found[0], segments.mask_logits, rows=False),
                compare(f"segment_embeddings {label}", found[1], segments.embeddings),
                compare(f"background_logits {label}", found[2], segments.background_logits, rows=False),
            ]
        return stages

    @torch.inference_mode()
    def image(self, session: onnxruntime.InferenceSession) -> list[Stage]:
        expected = self.reference.clip.encode_image(self.crops)
        stages = []
        for count in (len(self.crops), 1):
            found = session.run(["crop_embeddings"], {"crops": self.crops[:count].numpy()})
            stages.append(compare(f"crop_embeddings, {count} crops", found[0], expected[:count]))
        return stages

    @torch.inference_mode()
    def onepass(self, session: onnxruntime.InferenceSession) -> list[Stage]:
        stages = []
        grid = self.reference.clip.shape.grid
        generator = torch.Generator().manual_seed(3)
        drawn = torch.randn(5, 3 * grid, 2 * grid, generator=generator)
        drawn[3], drawn[4] = -1, 1  # nothing, and all
        for count in (5, 1):
            bias = mask_bias(drawn[:count], (2.6 * grid, 2.0 * grid), grid)
            found = session.run(
                ["segment_embeddings"], {"photo": self.crops[:1].numpy(), "mask_bias": bias[None].numpy()}
            )
            expected = encode_segments(self.reference.clip, self.crops[:1], bias)
            stages.append(compare(f"one-pass embeddings, {count} masks", found[0][0], expected))
        return stages

    @torch.inference_mode()
    def text(self, session: onnxruntime.InferenceSession) -> list[Stage]:
        clip = self.reference.clip
        expected = self.reference.encode_text(self.prompts)
        ids = [token_ids(self.reference.tokenizer, prompt, clip.shape.context) for prompt in self.prompts]
        stages = []
        for length in (max(map(len, ids)), clip.shape.context):
            inputs = text_inputs(clip.token_embedding.weight, clip.positional_embedding, ids, length)
            found = session.run(["text_embeddings"], inputs)
            stages.append(compare(f"text_embeddings, {length} tokens", found[0], expected))
        return stages


def drawn_crops(side: int, count: int) -> Tensor:
    """[count, 3, side, side] drawn pictures, normalised for CLIP."""
    pictures = (np.asarray(drawn_photo(side, side, seed)) for seed in range(count))
    return torch.stack([normalise(p, published.CLIP_MEAN, published.CLIP_STD, 1) for p in pictures])


def text_inputs(table: Tensor, positions: Tensor, ids: list[list[int]], length: int) -> dict[str, np.ndarray]:
    """The text graph's inputs for prompts cut or padded to `length` tokens."""
    padded = torch.tensor([row + [0] * (length - len(row)) for row in ids])
    tokens = (table[padded] + positions[:length]).detach().numpy()
    bias = np.triu(np.full((length, length), -1e4, np.float32), 1)
    pooling = np.zeros((len(ids), length), np.float32)
    for index, row in enumerate(ids):
        pooling[index, len(row) - 1] = 1
    bias = np.broadcast_to(bias, (len(ids), 1, length, length))
    return {"tokens": tokens, "attention_bias": np.ascontiguousarray(bias), "pooling": pooling}


def session(model: Path | Graph) -> onnxruntime.InferenceSession:
    """A stored graph, or one still in f32."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model.model().SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
