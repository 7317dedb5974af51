"""Randomly initialised checkpoints with exactly the official names and sizes: the real path without real weights."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from .checkpoint import State, load_clip, load_segmenter
from .clip import Clip
from .segmenter import Segmenter
from .shapes import ClipShape, SegmenterShape


def random_checkpoint(seed: int, shape: SegmenterShape | None = None) -> State:
    """A randomly initialised state dict with exactly the official names and sizes.

    Scales are chosen so that activations stay in range through all residual blocks and masks have both signs.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in Segmenter(shape or SegmenterShape()).state_dict().items():
        state[key] = _random_segmenter_value(key, value, generator)
    state["criterion.empty_weight"] = torch.cat((torch.ones(156), torch.tensor([0.1])))
    return state


def random_clip(seed: int, shape: ClipShape | None = None) -> State:
    """A randomly initialised CLIP state dict under OpenAI's names."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in Clip(shape or ClipShape()).state_dict().items():
        if key == "logit_scale":
            state[key] = value.clone()
        elif re.search(r"ln_\w+\.weight$", key):
            state[key] = 1 + 0.1 * _normal(value, generator)
        elif value.dim() == 1 and "class_embedding" not in key:
            state[key] = 0.05 * _normal(value, generator)
        elif "token_embedding" in key or "positional" in key or "class_embedding" in key:
            state[key] = 0.3 * _normal(value, generator)
        elif key in ("text_projection", "visual.proj"):
            state[key] = _normal(value, generator) / value.shape[0] ** 0.5
        else:
            state[key] = _normal(value, generator) / value[0].numel() ** 0.5
    return state


def _random_segmenter_value(key: str, value: Tensor, generator: torch.Generator) -> Tensor:
    noise = _normal(value, generator)
    if key.endswith("logit_scale"):
        return value.clone()
    if key.endswith("running_var"):
        return 0.5 + torch.rand(value.shape, generator=generator)
    if key.endswith("norm.weight") or re.search(r"norm\d?\.weight$", key):
        # The last normalisation of a bottleneck is small: each block adds little to the stream it joins.
        return (0.25 if ".conv3." in key else 1.0) * (1 + 0.1 * noise)
    if key.endswith(("query_embed.weight", "bg_feature")):
        return noise * (1.0 if key.endswith("weight") else 0.1)
    if value.dim() == 1:
        return 0.05 * noise
    gain = 2.0**0.5 if value.dim() == 4 else 1.0
    if "in_proj_weight" in key:
        gain = 1.7  # sharp attention: queries that all look at everything would all find the same segment
    if "mask_features" in key:
        noise = noise - noise.mean(dim=1, keepdim=True)  # takes what all channels share out: masks of both signs
    return gain * noise / value[0].numel() ** 0.5


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator)


@torch.no_grad()
def spread(state: State, shape: SegmenterShape, pixels: Tensor) -> None:
    """Shifts two biases of a random segmenter so that, on `pixels` [1, 3, H, W], what all queries have in common
    goes away: untrained queries would otherwise all find the same segment, and no mistake in one would show."""
    head = "sem_seg_head.predictor."
    last = head + "mask_embed.layers.2.bias"
    model = load_segmenter(state, shape)
    predictor = model.sem_seg_head.predictor
    seen: dict[str, Tensor] = {}

    def watch(key: str, layer: nn.Module) -> None:
        def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            seen[key] = output.mean(dim=(0, 1))

        layer.register_forward_hook(note)

    watch(last, predictor.mask_embed.layers[2])
    watch(head + "projection_layer.bias", predictor.projection_layer)
    model(pixels)
    for key, common in seen.items():
        state[key] = state[key] - common
    state[head + "bg_feature"] *= 0.5


@torch.no_grad()
def spread_clip(state: State, shape: ClipShape, crops: Tensor) -> None:
    """Takes the direction that `crops` [B, 3, S, S] have in common out of a random image encoder's projection."""
    model = load_clip(state, shape)
    seen: list[Tensor] = []
    model.visual.ln_post.register_forward_hook(lambda _m, _i, output: seen.append(output))
    model.encode_image(crops)
    common = seen[0].mean(dim=0)
    common = common / common.norm()
    state["visual.proj"] = state["visual.proj"] - torch.outer(common, common @ state["visual.proj"])
