"""The frozen backbone as an ONNX graph, and its features by onnxruntime: several times as fast as by PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from ..official.graph import Graph
from .backbone import CHANNELS, STAGE_ENDS, WIDTH, Backbone, Block, Convolution, normalised


def convolution(graph: Graph, x: str, part: Convolution) -> str:
    name = part.name
    kernel = part.weight.detach().numpy()
    before, after = part.pads
    inputs = [
        x,
        graph.weight(f"{name}.weight", kernel, axis=0),
        graph.weight(f"{name}.bias", part.bias.detach().numpy()),
    ]
    size = kernel.shape[-1]
    y = graph.node(
        "Conv", inputs, name, kernel_shape=[size, size], strides=[part.stride] * 2, group=part.groups,
        pads=[before, before, after, after],
    )  # fmt: skip
    return relu6(graph, y) if part.relu6 else y


def relu6(graph: Graph, x: str) -> str:
    return clip(graph, x, 0, 6)


def clip(graph: Graph, x: str, low: float, high: float) -> str:
    limits = []
    for value in (low, high):
        name = f"scalar_{value:g}".replace("-", "m")
        if name not in graph.weights:
            graph.weight(name, np.array(value))
        limits.append(name)
    return graph.node("Clip", [x, *limits], f"{x}.clip")


def backbone_nodes(graph: Graph, x: str, backbone: Backbone) -> dict[int, str]:
    """Stride -> name of its features."""
    found = {}
    x = convolution(graph, x, backbone.stem)
    for index, block in enumerate(backbone.blocks):
        assert isinstance(block, Block)
        x = _block(graph, x, block, f"block{index}")
        if index in STAGE_ENDS:
            found[STAGE_ENDS[index]] = x
    return found


def _block(graph: Graph, x: str, block: Block, name: str) -> str:
    y = x
    for part in block.convolutions:
        assert isinstance(part, Convolution)
        y = convolution(graph, y, part)
    return graph.node("Add", [y, x], f"{name}.out") if block.residual else y


class Features:
    """Features of bytes [B, H, W, 3] whose sides are multiples of 32."""

    def __init__(self, backbone: Backbone) -> None:
        import onnxruntime

        graph = Graph("backbone")
        found = backbone_nodes(graph, graph.input("pixels", ["B", 3, "H", "W"]), backbone)
        for stride, name in found.items():
            graph.output(name, f"stride{stride}", ["B", CHANNELS[stride], f"H/{stride}", f"W/{stride}"])
        wide = convolution(graph, "stride32", backbone.head)
        graph.output(graph.node("GlobalAveragePool", [wide], "mean"), "pooled", ["B", WIDTH, 1, 1])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(
            graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _run(self, outputs: list[str], pixels: np.ndarray) -> list[np.ndarray]:
        return self.session.run(outputs, {"pixels": normalised(torch.from_numpy(pixels)).contiguous().numpy()})

    def strides(self, pixels: np.ndarray) -> dict[int, np.ndarray]:
        """Stride -> features [B, C, H/stride, W/stride]."""
        return dict(zip(CHANNELS, self._run([f"stride{s}" for s in CHANNELS], pixels), strict=True))

    def pooled(self, pixels: np.ndarray) -> np.ndarray:
        """[B, 1280]: what the ImageNet classifier reads."""
        return self._run(["pooled"], pixels)[0][:, :, 0, 0]
