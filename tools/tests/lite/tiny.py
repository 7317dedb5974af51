"""A segmenter with random weights on a backbone with hardly any convolutions."""

import torch

from zegformer_tools.lite.backbone import CHANNELS, STAGE_ENDS, WIDTH, Backbone, Block, Convolution
from zegformer_tools.lite.model import Namer, Segmenter
from zegformer_tools.lite.names import EMBEDDING


def tiny_backbone() -> Backbone:
    """The strides and widths of Lite0's stages, with hardly any convolutions between them."""
    torch.manual_seed(0)

    def convolution(name: str, inputs: int, outputs: int, size: int, stride: int) -> Convolution:
        weight = torch.randn(outputs, inputs, size, size) * (2 / (inputs * size * size)) ** 0.5
        return Convolution(name, weight, torch.randn(outputs) * 0.1, stride, 1, True)

    blocks = []
    width = 8
    for index in range(16):
        stride = STAGE_ENDS.get(index)
        out = CHANNELS[stride] if stride else width
        parts = [convolution(f"block{index}", width, out, 3 if stride else 1, 2 if stride else 1)]
        blocks.append(Block(parts, residual=not stride))
        width = out
    head = convolution("head", width, WIDTH, 1, 1)
    classifier = torch.randn(10, WIDTH) * 0.2
    return Backbone(convolution("stem", 3, 8, 3, 2), blocks, head, classifier, torch.randn(10))


def segmenter(backbone: Backbone) -> Segmenter:
    words = torch.nn.functional.normalize(torch.randn(10, EMBEDDING), dim=-1)
    return Segmenter(backbone, Namer(backbone.classifier, backbone.classifier_bias, words)).eval()
