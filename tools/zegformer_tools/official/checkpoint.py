"""Reads the official checkpoint and CLIP's, strictly: a missing or an extra key is an error that names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from .clip import Clip
from .segmenter import Segmenter
from .shapes import BLOCKS, ClipShape, SegmenterShape

State = dict[str, Tensor]

CLIP_PREFIX = "sem_seg_head.predictor.clip_model."
IGNORED = ("criterion.empty_weight",)  # a training loss's constant
CLIP_IGNORED = ("input_resolution", "context_length", "vocab_size", "attn_mask")  # facts about the file, not weights


class CheckpointError(ValueError):
    """The file is not the checkpoint it should be; the message says what is wrong with it."""


def read_state(path: Path) -> State:
    """The tensors of a .pth/.pt/.bin file (plain, or wrapped in "model" or "state_dict"), a TorchScript archive
    (OpenAI's files) or a .safetensors file, all widened to f32."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return _widen(load_file(str(path)))
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as first:
        try:
            loaded = torch.jit.load(str(path), map_location="cpu").state_dict()
        except Exception as second:
            raise CheckpointError(
                f"{path}: neither a PyTorch state dict ({_line(first)}) nor a TorchScript archive ({_line(second)})"
            ) from second
    for wrapper in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, not a dictionary of tensors")
    state = {str(key): torch.as_tensor(value) for key, value in loaded.items() if not isinstance(value, str)}
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return _widen(state)


def load_segmenter(state: Mapping[str, Tensor], shape: SegmenterShape | None = None) -> Segmenter:
    """The segmenter of an official state dict; CLIP's weights in it are left aside."""
    own = {k: v for k, v in state.items() if not k.startswith(CLIP_PREFIX) and k not in IGNORED}
    model = Segmenter(shape or segmenter_shape(own))
    _fill(model, own, "the ZegFormer checkpoint")
    return model


def load_clip(state: Mapping[str, Tensor], shape: ClipShape | None = None) -> Clip:
    """CLIP from OpenAI's or open_clip's state dict, or from the one saved inside a ZegFormer checkpoint."""
    inside = {k.removeprefix(CLIP_PREFIX): v for k, v in state.items() if k.startswith(CLIP_PREFIX)}
    own = {k: v for k, v in (inside or state).items() if k not in CLIP_IGNORED}
    model = Clip(shape or clip_shape(own))
    _fill(model, own, "the CLIP checkpoint")
    return model


def segmenter_shape(state: Mapping[str, Tensor]) -> SegmenterShape:
    """Sizes read from the tensors. Heads and groups leave no trace there: they are the published ones."""
    where = "the ZegFormer checkpoint"
    head = "sem_seg_head.predictor."
    blocks = tuple(_count(state, rf"backbone\.{stage}\.(\d+)\.") for stage in ("res2", "res3", "res4", "res5"))
    if blocks not in BLOCKS.values():
        raise CheckpointError(f"{where}: {blocks} blocks in res2..res5; known are {list(BLOCKS.values())}")
    queries, hidden = _get(state, head + "query_embed.weight", where).shape
    conv_dim = _get(state, "sem_seg_head.pixel_decoder.layer_4.weight", where).shape[0]
    return SegmenterShape(
        blocks=(blocks[0], blocks[1], blocks[2], blocks[3]),
        width=_get(state, "backbone.stem.conv1.weight", where).shape[0],
        conv_dim=conv_dim,
        hidden=hidden,
        feedforward=_get(state, head + "transformer.decoder.layers.0.linear1.weight", where).shape[0],
        layers=_count(state, r"sem_seg_head\.predictor\.transformer\.decoder\.layers\.(\d+)\."),
        queries=queries,
        embedding=_get(state, head + "projection_layer.weight", where).shape[0],
    )


def clip_shape(state: Mapping[str, Tensor]) -> ClipShape:
    """Sizes read from the tensors; heads are 64 wide in every CLIP of this family."""
    where = "the CLIP checkpoint"
    if "visual.layer1.0.conv1.weight" in state:
        raise CheckpointError(f"{where}: has a ResNet image encoder; ZegFormer uses ViT-B/16")
    width, _, patch, _ = _get(state, "visual.conv1.weight", where).shape
    tokens = _get(state, "visual.positional_embedding", where).shape[0]
    context, text_width = _get(state, "positional_embedding", where).shape
    return ClipShape(
        image_size=patch * round((tokens - 1) ** 0.5),
        patch=patch,
        vision_width=width,
        vision_layers=_count(state, r"visual\.transformer\.resblocks\.(\d+)\."),
        vision_heads=width // 64,
        context=context,
        vocabulary=_get(state, "token_embedding.weight", where).shape[0],
        text_width=text_width,
        text_layers=_count(state, r"transformer\.resblocks\.(\d+)\."),
        text_heads=text_width // 64,
        embedding=_get(state, "text_projection", where).shape[1],
    )


def _fill(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    expected = model.state_dict()
    missing = [k for k in expected if k not in state]
    extra = [k for k in state if k not in expected]
    if missing:
        raise CheckpointError(f"{where}: lacks {_some(missing)}")
    if extra:
        raise CheckpointError(f"{where}: has {_some(extra)}, which this architecture does not know")
    for key, value in expected.items():
        found = state[key]
        if key.endswith("logit_scale") and found.numel() == 1:
            found = found.reshape(value.shape)
        if found.shape != value.shape:
            raise CheckpointError(f"{where}: {key} is {tuple(found.shape)}, expected {tuple(value.shape)}")
        if not torch.isfinite(found).all():
            raise CheckpointError(f"{where}: {key} holds values that are not finite")
    model.load_state_dict({k: state[k].reshape(v.shape) for k, v in expected.items()})
    model.eval()
    model.requires_grad_(False)


def _get(state: Mapping[str, Tensor], key: str, where: str) -> Tensor:
    if key not in state:
        raise CheckpointError(f"{where}: lacks {key}")
    return state[key]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    found = [int(match[1]) for match in (re.match(pattern, key) for key in state) if match]
    return max(found, default=-1) + 1


def _some(keys: list[str], limit: int = 5) -> str:
    rest = len(keys) - limit
    return ", ".join(keys[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _widen(state: Mapping[str, Tensor]) -> State:
    return {k: v.detach().float() if v.is_floating_point() else v.detach() for k, v in state.items()}


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
