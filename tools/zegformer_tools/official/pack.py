"""Stores a graph with its weights as f16 or int8, in files that static hosts accept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .graph import Graph, Weight

Encoding = Literal["f32", "f16", "int8"]
SMALL = 1024
"""Constants with fewer elements stay f32: they are biases and norms, cheap to send and dear to round."""

FILE_LIMIT = 90_000_000
"""Bytes of one file at most; static hosts refuse 100 MB."""


def packed(graph: Graph, encoding: Encoding) -> onnx.ModelProto:
    """Valid ONNX whose large weights are f16 behind a Cast or int8 behind a DequantizeLinear."""
    nodes: list[onnx.NodeProto] = []
    stored: list[onnx.TensorProto] = []
    for name, weight in graph.weights.items():
        if encoding == "f32" or weight.values.size < SMALL:
            stored.append(numpy_helper.from_array(weight.values, name))
        elif encoding == "int8" and weight.axis is not None:
            values, scale = quantised(weight.values, weight.axis)
            stored.append(numpy_helper.from_array(values, f"{name}.int8"))
            stored.append(numpy_helper.from_array(scale, f"{name}.scale"))
            inputs = [f"{name}.int8", f"{name}.scale"]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}.widen", axis=weight.axis))
        else:
            stored.append(numpy_helper.from_array(halved(name, weight), f"{name}.f16"))
            node = helper.make_node("Cast", [f"{name}.f16"], [name], name=f"{name}.widen", to=TensorProto.FLOAT)
            nodes.append(node)
    return graph.assemble([*nodes, *graph.nodes], stored)


def quantised(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and the f32 scale of each channel along `axis`; zero stays zero."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = np.abs(values).max(axis=others) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    return np.clip(np.rint(values / scale.reshape(shape)), -127, 127).astype(np.int8), scale


def halved(name: str, weight: Weight) -> np.ndarray:
    """The weight in f16; a value beyond f16's range is an error, not an infinity."""
    half = weight.values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(f"weight {name} has values beyond f16's range")
    return half


def store(
    graph: Graph, folder: Path, file: str, encoding: Encoding, limit: int = FILE_LIMIT, apart: bool = False
) -> list[str]:
    """Writes the packed graph to `folder/file` and returns the names of all files written.

    A graph beyond `limit` bytes, or one that lends its weights (`apart`), keeps them in files beside it (ONNX external
    data), `file` numbered from 1.
    """
    model = packed(graph, encoding)
    files = [file]
    if apart or model.ByteSize() > limit:
        stem = Path(file).stem
        content = b""
        for tensor in model.graph.initializer:
            data = tensor.raw_data
            if len(data) < SMALL:
                continue
            if len(data) > limit:
                raise ValueError(f"weight {tensor.name} has {len(data)} bytes, more than one file may have ({limit})")
            if len(files) == 1 or len(content) + len(data) > limit:
                if len(files) > 1:
                    (folder / files[-1]).write_bytes(content)
                files.append(f"{stem}.{len(files)}.bin")
                content = b""
            _move(tensor, files[-1], len(content), len(data))
            content += data + b"\0" * (-len(data) % 16)  # aligned, for who maps the file into memory
        (folder / files[-1]).write_bytes(content)
    (folder / file).write_bytes(model.SerializeToString())
    return files


def store_beside(graph: Graph, folder: Path, file: str, encoding: Encoding, lender: str) -> list[str]:
    """As `store`, but weights that the stored graph `lender` keeps in its side files are read from there."""
    model = packed(graph, encoding)
    lent = {t.name: t for t in onnx.load(folder / lender, load_external_data=False).graph.initializer}
    content: dict[str, bytes] = {}
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in lent[tensor.name].external_data} if tensor.name in lent else {}
        if not place:
            continue
        location, start, length = place["location"], int(place["offset"]), int(place["length"])
        if location not in content:
            content[location] = (folder / location).read_bytes()
        if content[location][start : start + length] != tensor.raw_data:
            raise ValueError(f"weight {tensor.name} of {file} is not the one of {lender}")
        _move(tensor, location, start, length)
    (folder / file).write_bytes(model.SerializeToString())
    return [file]


def _move(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def table_bytes(rows: np.ndarray, encoding: Encoding) -> bytes:
    """A matrix of vectors for the bundle: f16, or int8 rows followed by one f32 scale a row."""
    if encoding == "int8":
        values, scale = quantised(rows, 0)
        return values.tobytes() + scale.astype("<f4").tobytes()
    return halved("table", Weight(rows)).astype("<f2").tobytes()
