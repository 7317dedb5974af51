"""ResNet-50/101 with frozen batch normalisation; parameter names as in detectron2's checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FrozenBatchNorm(nn.Module):
    """Batch normalisation whose statistics and affine are buffers."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The normalisation as `x * scale + shift`, per channel."""
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift()
        return x * scale[:, None, None] + shift[:, None, None]


class NormedConv(nn.Conv2d):
    """A convolution without bias that carries its normalisation (`weight`, `norm.*`)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = FrozenBatchNorm(outputs)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(super().forward(input))


class Stem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = NormedConv(3, width, 7, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.conv1(x)), kernel_size=3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1; the stride is in the 3x3 (STRIDE_IN_1X1 false)."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = NormedConv(inputs, middle, 1)
        self.conv2 = NormedConv(middle, middle, 3, stride)
        self.conv3 = NormedConv(middle, outputs, 1)
        self.shortcut = NormedConv(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv1(x))
        y = F.relu(self.conv2(y))
        y = self.conv3(y)
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """Feature maps res2..res5 at strides 4, 8, 16, 32."""

    stages = ("res2", "res3", "res4", "res5")

    def __init__(self, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.stem = Stem(width)
        inputs = width
        for index, (stage, count) in enumerate(zip(self.stages, blocks, strict=True)):
            middle = width * 2**index
            outputs = 4 * middle
            rows = []
            for block in range(count):
                stride = 2 if index > 0 and block == 0 else 1
                rows.append(Bottleneck(inputs, middle, outputs, stride))
                inputs = outputs
            setattr(self, stage, nn.Sequential(*rows))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = getattr(self, stage)(x)
            features.append(x)
        return features
