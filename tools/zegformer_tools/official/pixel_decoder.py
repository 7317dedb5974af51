"""The feature pyramid that makes stride-4 pixel features out of res2..res5."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class GroupedConv(nn.Conv2d):
    """A convolution without bias, followed by GroupNorm (`weight`, `norm.weight`, `norm.bias`)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(groups, outputs)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(super().forward(input))


class PixelDecoder(nn.Module):
    """Top down: a 3x3 layer on res5, then per level 1x1 adapter + nearest x2 of the level above, 3x3 layer."""

    def __init__(self, channels: tuple[int, int, int, int], conv_dim: int, mask_dim: int, groups: int) -> None:
        super().__init__()
        for level, inputs in enumerate(channels[:-1], start=1):
            setattr(self, f"adapter_{level}", GroupedConv(inputs, conv_dim, 1, groups))
            setattr(self, f"layer_{level}", GroupedConv(conv_dim, conv_dim, 3, groups))
        self.layer_4 = GroupedConv(channels[-1], conv_dim, 3, groups)
        self.mask_features = nn.Conv2d(conv_dim, mask_dim, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        y = F.relu(self.layer_4(features[-1]))
        for level in (3, 2, 1):
            lateral = getattr(self, f"adapter_{level}")(features[level - 1])
            y = lateral + F.interpolate(y, size=lateral.shape[-2:], mode="nearest")
            y = F.relu(getattr(self, f"layer_{level}")(y))
        return self.mask_features(y)
