"""How many multiplications a bundle's graphs take, from the shapes of their tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from .inference import resized_size


def macs(graph: Path, sizes: Mapping[str, int]) -> int:
    """Multiply-accumulates of all convolutions and matrix products; `sizes` gives the named axes of the inputs."""
    model = onnx.load(graph, load_external_data=False)
    for value in [*model.graph.input, *model.graph.output]:
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param in sizes:
                side.dim_value = sizes[side.dim_param]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        shapes[value.name] = [side.dim_value for side in value.type.tensor_type.shape.dim]
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += int(np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:]))
        elif node.op_type == "MatMul":
            total += int(np.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1])
    return total


def costs(bundle: Path, width: int, height: int, tokens: int = 16) -> dict[str, float]:
    """10^9 multiply-accumulates of each part for a photo of `width` x `height` pixels."""
    declared = json.loads((bundle / "bundle.json").read_text("utf-8"))
    pixels, image = declared["pixels"], declared["image"]
    rule = pixels["resolutions"][pixels["default"]]
    columns, rows = (
        -(-side // pixels["stride"]) * pixels["stride"]
        for side in resized_size(width, height, rule["short"], rule["long"])
    )
    position = declared["segmenter"]["position"]["stride"]
    grid = {"H": rows, "W": columns, "h": rows // position, "w": columns // position}
    found = {
        f"segmenter, {columns} x {rows}": macs(bundle / declared["segmenter"]["graph"], grid),
        "image branch, one crop": macs(bundle / image["graph"], {"B": 1}),
        f"text branch, one prompt of {tokens} tokens": macs(bundle / declared["text"]["graph"], {"B": 1, "T": tokens}),
    }
    if image.get("one_pass"):
        queries = declared["segmenter"]["queries"]
        found[f"image branch, one pass with {queries} masks"] = macs(
            bundle / image["one_pass"]["graph"], {"Q": queries}
        )
    return {part: count / 1e9 for part, count in found.items()}
