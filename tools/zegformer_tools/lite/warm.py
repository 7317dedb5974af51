"""Weights read back from a bundle, so that training can go on from what is published."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from .backbone import Backbone
from .branch import RESIDUAL, ImageBranch
from .model import DIM, HEADS, LAYERS, Segmenter


def stored(bundle: Path, part: str) -> dict[str, np.ndarray]:
    """Name -> f32 values of every initializer of the bundle's segmenter or image branch, decoded."""
    settings = json.loads((bundle / "bundle.json").read_text())
    model = onnx.load(str(bundle / settings[part]["graph"]))
    raw = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = {name: values.astype(np.float32) for name, values in raw.items() if values.dtype == np.float32}
    for node in model.graph.node:
        name = node.output[0]
        if node.op_type == "Cast" and node.input[0] in raw:
            found[name] = raw[node.input[0]].astype(np.float32)
        if node.op_type == "DequantizeLinear":
            values, scale = (raw[i].astype(np.float32) for i in node.input[:2])
            axis = next(a.i for a in node.attribute if a.name == "axis")
            found[name] = values * scale.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return found


def _load_backbone(backbone: Backbone, kept: dict[str, np.ndarray]) -> None:
    for convolution in backbone.convolutions():
        for kind, parameter in convolution.named_parameters():
            parameter.copy_(torch.from_numpy(kept[f"{convolution.name}.{kind}"]).reshape(parameter.shape))


@torch.no_grad()
def load_backbone(backbone: Backbone, bundle: Path) -> None:
    """Sets every convolution to what the bundle's segmenter holds."""
    _load_backbone(backbone, stored(bundle, "segmenter"))


@torch.no_grad()
def load_image(branch: ImageBranch, bundle: Path) -> None:
    """Sets every parameter of `branch` to what the bundle holds: the inverse of `graphs.image_graph`."""
    kept = stored(bundle, "image")
    _load_backbone(branch.backbone, kept)
    for layer, name, scale in (
        (branch.widen, "residual.widen", 1.0),
        (branch.shrink, "residual.shrink", RESIDUAL),
    ):
        layer.weight.copy_(torch.from_numpy(kept[f"{name}.weight"].T / scale))
        layer.bias.copy_(torch.from_numpy(kept[f"{name}.bias"] / scale))


@torch.no_grad()
def load(model: Segmenter, bundle: Path) -> None:
    """Sets every parameter of `model` to what the bundle holds: the inverse of `graphs.segmenter_graph`."""
    kept = stored(bundle, "segmenter")
    left = dict(model.named_parameters())

    def put(parameter: str, values: np.ndarray) -> None:
        target: Tensor = left.pop(parameter)
        target.copy_(torch.from_numpy(values.copy()).reshape(target.shape))

    def linear(parameter: str, name: str, scale: float = 1.0) -> None:
        put(f"{parameter}.weight", kept[f"{name}.weight"].T / scale)
        put(f"{parameter}.bias", kept[f"{name}.bias"] / scale)

    _load_backbone(model.backbone, kept)
    left = {name: parameter for name, parameter in left.items() if not name.startswith("backbone.")}
    for name in [n for n in left if n.startswith("pixels.")]:
        put(name, kept[name])
    put("content", kept["queries.start"][0])
    put("place", kept["queries.place"][0])
    for index in range(LAYERS):
        layer = f"layer{index}"
        for block in ("cross", "own"):
            for part in ("q", "k", "v", "out"):
                # The graph's queries are scaled already.
                scale = 1 / math.sqrt(DIM // HEADS) if part == "q" else 1.0
                linear(f"layers.{index}.{block}.{part}", f"{layer}.{block}.{part}", scale)
        for part in ("widen", "shrink"):
            linear(f"layers.{index}.{part}", f"{layer}.{part}")
        for part in ("norm1", "norm2", "norm3"):
            for kind in ("weight", "bias"):
                put(f"layers.{index}.{part}.{kind}", kept[f"{layer}.{part}.{kind}"])
    for number in range(3):
        linear(f"mask{number + 1}", f"layer0.mask{number}")
    linear("background", "background")
    linear("name", "name")
    linear("namer.learned", "namer.learned")
    # The graph holds the names' vectors times the trust in them.
    words, trusted = model.namer.words.cpu().numpy().ravel(), kept["verdict.words.weight"].ravel()
    put("namer.trust", np.array(trusted @ words / (words @ words)))
    if left:
        raise ValueError(f"{bundle} has no weights for {', '.join(left)}")
