"""Writes ONNX graphs node by node, so that every shape follows from the inputs' shapes alone.

No Shape, Range, ConstantOfShape or Expand: a Reshape copies (0) or infers (-1) what it cannot know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
Dimension = int | str


@dataclass(frozen=True)
class Weight:
    """A constant of the graph. `axis` is the output channel's axis of a matrix or a kernel, None for any other."""

    values: np.ndarray
    axis: int | None = None


class Graph:
    """Collects nodes and constants; methods return the name of the output they make."""

    def __init__(self, name: str, opset: int = OPSET) -> None:
        self.name = name
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Weight] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._ints: dict[str, np.ndarray] = {}
        self._used: set[str] = set()

    def input(self, name: str, shape: Sequence[Dimension]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, source: str, name: str, shape: Sequence[Dimension]) -> None:
        """Declares `source`, the output of the last node that made it, as the graph's output `name`."""
        for node in self.nodes:
            for index, output in enumerate(node.output):
                if output == source:
                    node.output[index] = name
            for index, input_ in enumerate(node.input):
                if input_ == source:
                    node.input[index] = name
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def weight(self, name: str, values: Any, axis: int | None = None) -> str:
        """A constant; names are the checkpoint's where there is one. Asked for again, the same is there once."""
        array = np.ascontiguousarray(np.asarray(values, dtype=np.float32))
        if name in self.weights and not np.array_equal(self.weights[name].values, array):
            raise ValueError(f"{self.name}: two weights are called {name}")
        self.weights[name] = Weight(array, axis)
        return name

    def ints(self, values: Sequence[int]) -> str:
        """A vector of integers (target shapes, axes), shared by all who use the same."""
        name = "ints_" + "_".join(str(v).replace("-", "m") for v in values)
        self._ints[name] = np.asarray(values, dtype=np.int64)
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        unique, count = name, 1
        while unique in self._used or unique in self.weights:
            unique, count = f"{name}_{count}", count + 1
        self._used.add(unique)
        self.nodes.append(helper.make_node(op, list(inputs), [unique], name=unique, **attributes))
        return unique

    def conv(self, x: str, name: str, kernel: Any, bias: Any = None, stride: int = 1) -> str:
        """A square convolution; padded by half the kernel, unless its stride is the kernel (patches)."""
        size = int(kernel.shape[-1])
        pad = 0 if stride == size else size // 2
        inputs = [x, self.weight(f"{name}.weight", kernel, axis=0)]
        if bias is not None:
            inputs.append(self.weight(f"{name}.bias", bias))
        return self.node("Conv", inputs, name, kernel_shape=[size, size], strides=[stride, stride], pads=[pad] * 4)

    def linear(self, x: str, name: str, matrix: Any, bias: Any = None) -> str:
        """`x @ matrix + bias`; the matrix is [inputs, outputs]."""
        y = self.node("MatMul", [x, self.weight(f"{name}.weight", matrix, axis=1)], f"{name}.product")
        return y if bias is None else self.node("Add", [y, self.weight(f"{name}.bias", bias)], name)

    def layer_norm(self, x: str, name: str, weight: Any, bias: Any) -> str:
        inputs = [x, self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=1e-5)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}.relu")

    def reshape(self, x: str, shape: Sequence[int], name: str) -> str:
        return self.node("Reshape", [x, self.ints(shape)], name)

    def transpose(self, x: str, order: Sequence[int], name: str) -> str:
        return self.node("Transpose", [x], name, perm=list(order))

    def mean(self, x: str, axis: int, name: str) -> str:
        return self.node("ReduceMean", [x, self.ints([axis])], name, keepdims=1)

    def unit_rows(self, x: str, name: str) -> str:
        """`x` divided by the length of its last axis' vectors."""
        square = self.node("Mul", [x, x], f"{name}.square")
        total = self.node("ReduceSum", [square, self.ints([-1])], f"{name}.sum", keepdims=1)
        return self.node("Div", [x, self.node("Sqrt", [total], f"{name}.length")], name)

    def heads(self, x: str, count: int, width: int, name: str, keys: bool = False) -> str:
        """[B, T, heads * width] to [B, heads, T, width], or to [B, heads, width, T] for keys."""
        split = self.reshape(x, [0, 0, count, width], f"{name}.split")
        return self.transpose(split, (0, 2, 3, 1) if keys else (0, 2, 1, 3), f"{name}.heads")

    def attend(self, q: str, k: str, v: str, name: str, bias: str | None = None) -> str:
        """Heads to [B, T, width]. The scores' scale must be in q already."""
        scores = self.node("MatMul", [q, k], f"{name}.scores")
        if bias is not None:
            scores = self.node("Add", [scores, bias], f"{name}.biased")
        mixed = self.node("MatMul", [self.node("Softmax", [scores], f"{name}.softmax", axis=-1), v], f"{name}.mixed")
        joined = self.transpose(mixed, (0, 2, 1, 3), f"{name}.joined")
        return self.reshape(joined, [0, 0, -1], f"{name}.flat")

    def model(self) -> onnx.ModelProto:
        """The graph with f32 weights inside, checked and with all shapes that can be inferred."""
        stored = [numpy_helper.from_array(weight.values, name) for name, weight in self.weights.items()]
        return self.assemble(self.nodes, stored)

    def assemble(self, nodes: Sequence[onnx.NodeProto], stored: Sequence[onnx.TensorProto]) -> onnx.ModelProto:
        """A model of these nodes and weights, with this graph's inputs, outputs and integers."""
        ints = [numpy_helper.from_array(values, name) for name, values in self._ints.items()]
        graph = helper.make_graph(list(nodes), self.name, self.inputs, self.outputs, [*stored, *ints])
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=9,
            producer_name="zegformer_tools",
        )
