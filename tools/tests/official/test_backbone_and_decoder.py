"""ResNet, pixel decoder, position encoding and transformer decoder, each against an independent computation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zegformer_tools.official.pixel_decoder import PixelDecoder
from zegformer_tools.official.position import sine_position
from zegformer_tools.official.resnet import FrozenBatchNorm, ResNet
from zegformer_tools.official.segmenter import Segmenter
from zegformer_tools.official.shapes import BLOCKS, TINY_SEGMENTER, SegmenterShape
from zegformer_tools.official.transformer import Attention, Decoder


def test_frozen_batch_norm_is_batch_norm_in_evaluation() -> None:
    torch.manual_seed(0)
    frozen, usual = FrozenBatchNorm(5), nn.BatchNorm2d(5)
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = torch.rand(5) + 0.5
        getattr(frozen, name).data.copy_(value)
        getattr(usual, name).data.copy_(value)
    x = torch.randn(2, 5, 4, 3)
    assert torch.allclose(frozen(x), usual.eval()(x), atol=1e-5)


def test_resnet_equals_torchvision_with_its_weights() -> None:
    """torchvision's ResNet-50 is the same network under other names (stride in the 3x3)."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    theirs = resnet50(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.2, 0.6)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    ours = ResNet(BLOCKS[50], 64).eval()
    state = {}
    for key, value in theirs.state_dict().items():
        if key.startswith("fc.") or key.endswith("num_batches_tracked"):
            continue
        for stage in range(4, 0, -1):
            key = key.replace(f"layer{stage}.", f"res{stage + 1}.")
        key = key.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        key = key if key.startswith("res") else "stem." + key
        for number in "123":
            key = key.replace(f"bn{number}.", f"conv{number}.norm.")
        state[key] = value
    ours.load_state_dict(state)
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found = ours(x)
        y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for index, layer in enumerate((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4)):
            y = layer(y)
            assert found[index].shape == y.shape
            assert torch.allclose(found[index], y, atol=1e-4 * y.abs().max().item())


def test_pixel_decoder_step_by_step() -> None:
    torch.manual_seed(1)
    decoder = PixelDecoder((4, 6, 8, 10), 16, 12, groups=4).eval()
    for parameter in decoder.parameters():
        parameter.data.normal_(0, 0.3)
    maps = [torch.randn(1, c, 2 ** (5 - i), 3 * 2 ** (3 - i)) for i, c in enumerate((4, 6, 8, 10))]

    def norm(x: torch.Tensor, layer: str) -> torch.Tensor:
        affine = getattr(decoder, layer).norm
        grouped = x.reshape(4, -1)
        mean, variance = grouped.mean(1, keepdim=True), grouped.var(1, unbiased=False, keepdim=True)
        x = ((grouped - mean) / torch.sqrt(variance + 1e-5)).reshape(x.shape)
        return x * affine.weight[:, None, None] + affine.bias[:, None, None]

    y = norm(F.conv2d(maps[3], decoder.layer_4.weight, padding=1), "layer_4").clamp(min=0)
    for level in (3, 2, 1):
        lateral = norm(F.conv2d(maps[level - 1], getattr(decoder, f"adapter_{level}").weight), f"adapter_{level}")
        y = lateral + y.repeat_interleave(2, 2).repeat_interleave(2, 3)
        y = norm(F.conv2d(y, getattr(decoder, f"layer_{level}").weight, padding=1), f"layer_{level}").clamp(min=0)
    expected = F.conv2d(y, decoder.mask_features.weight, decoder.mask_features.bias, padding=1)
    assert torch.allclose(decoder(maps), expected, atol=1e-3 * expected.abs().max().item())


def test_position_encoding_cell_by_cell() -> None:
    height, width, channels = 3, 5, 16
    found = sine_position(height, width, channels)
    assert found.shape == (1, channels, height, width)
    half = channels // 2
    for c in range(channels):
        along_rows, k = c < half, c % half
        wave = math.sin if k % 2 == 0 else math.cos
        period = 10000 ** (2 * (k // 2) / half)
        for y in range(height):
            for x in range(width):
                cell, cells = (y, height) if along_rows else (x, width)
                angle = 2 * math.pi * (cell + 1) / (cells + 1e-6) / period
                assert found[0, c, y, x].item() == pytest.approx(wave(angle), abs=2e-6)


def test_attention_equals_torch() -> None:
    torch.manual_seed(2)
    ours, theirs = Attention(24, 3).eval(), nn.MultiheadAttention(24, 3, batch_first=True).eval()
    theirs.in_proj_bias.data.normal_()
    theirs.out_proj.bias.data.normal_()
    ours.load_state_dict(theirs.state_dict())
    q, k, v = torch.randn(2, 5, 24), torch.randn(2, 7, 24), torch.randn(2, 7, 24)
    assert torch.allclose(ours(q, k, v), theirs(q, k, v)[0], atol=1e-5)
    bias = torch.full((5, 7), float("-inf")).triu(1)
    assert torch.allclose(ours(q, k, v, bias), theirs(q, k, v, attn_mask=bias)[0], atol=1e-5)


def test_decoder_with_torch_attention() -> None:
    """DETR's post-norm layer written out with torch.nn.MultiheadAttention."""
    torch.manual_seed(3)
    width, heads = 16, 2
    decoder = Decoder(width, heads, 32, 2).eval()
    for parameter in decoder.parameters():
        parameter.data.normal_(0, 0.4)
    queries, memory, position = torch.randn(1, 5, width), torch.randn(1, 6, width), torch.randn(1, 6, width)

    def attend(module: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        theirs = nn.MultiheadAttention(width, heads, batch_first=True).eval()
        theirs.load_state_dict(module.state_dict())
        return theirs(q, k, v)[0]

    x = torch.zeros_like(queries)
    for layer in decoder.layers:
        x = layer.norm1(x + attend(layer.self_attn, x + queries, x + queries, x))
        x = layer.norm2(x + attend(layer.multihead_attn, x + queries, memory + position, memory))
        x = layer.norm3(x + layer.linear2(torch.relu(layer.linear1(x))))
    assert torch.allclose(decoder(queries, memory, position), decoder.norm(x), atol=1e-4)


def test_background_embedding_keeps_its_length() -> None:
    torch.manual_seed(4)
    model = Segmenter(TINY_SEGMENTER).eval()
    predictor = model.sem_seg_head.predictor
    pixels = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        before = model(pixels)
        assert torch.allclose(before.embeddings.norm(dim=-1), torch.ones(1, TINY_SEGMENTER.queries))
        expected = 100 * (before.embeddings @ predictor.bg_feature.T)[..., 0]
        assert torch.allclose(before.background_logits, expected, rtol=1e-4, atol=1e-3)
        predictor.bg_feature.data *= 3
        assert torch.allclose(model(pixels).background_logits, 3 * expected, rtol=1e-4, atol=1e-2)


def test_masks_are_at_a_quarter_of_the_size() -> None:
    shape = SegmenterShape(blocks=(1, 1, 1, 1), width=4, conv_dim=32, groups=8, hidden=32, heads=4, feedforward=8,
                           layers=1, queries=3, embedding=8)  # fmt: skip
    found = Segmenter(shape).eval()(torch.zeros(1, 3, 96, 64))
    assert found.mask_logits.shape == (1, 3, 24, 16)
    assert found.embeddings.shape == (1, 3, 8)
    assert found.background_logits.shape == (1, 3)
