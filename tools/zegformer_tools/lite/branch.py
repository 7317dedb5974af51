"""The image branch: ImageNet's verdict on a masked crop in words, and a residual trained to correct it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import WIDTH, Backbone
from .names import EMBEDDING

SIDE = 160
HIDDEN = 256
SHARPNESS = 1.5
"""ImageNet's logits are multiplied by this: the classifier was trained with smoothed labels and is too timid."""
RESIDUAL = 0.3


class ImageBranch(nn.Module):
    """Normalised masked crops [B, 3, SIDE, SIDE] to unit rows [B, D]. `words` [1000, D]: ImageNet's names."""

    words: Tensor

    def __init__(self, backbone: Backbone, words: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("words", words)
        self.widen, self.shrink = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, EMBEDDING)
        nn.init.zeros_(self.shrink.weight)
        nn.init.zeros_(self.shrink.bias)

    def pooled(self, crops: Tensor) -> Tensor:
        """[B, 1280]: what the ImageNet classifier reads."""
        return self.backbone.head(self.backbone(crops)[32]).mean((2, 3)).float()

    def classes(self, pooled: Tensor) -> Tensor:
        """Logits of ImageNet's classes."""
        return SHARPNESS * (pooled @ self.backbone.classifier.T + self.backbone.classifier_bias)

    def verdict(self, classes: Tensor) -> Tensor:
        """In words; of any length."""
        return classes.softmax(-1) @ self.words

    def named(self, pooled: Tensor, verdict: Tensor) -> Tensor:
        return F.normalize(verdict + RESIDUAL * self.shrink(F.relu(self.widen(pooled))), dim=-1)

    def forward(self, crops: Tensor) -> Tensor:
        pooled = self.pooled(crops)
        return self.named(pooled, self.verdict(self.classes(pooled)))
