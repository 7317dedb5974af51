"""CLIP against open_clip's implementation, and the reference's shortcuts."""

from __future__ import annotations

import open_clip
import torch

from zegformer_tools.official.checkpoint import load_clip
from zegformer_tools.official.random_weights import random_clip
from zegformer_tools.official.shapes import TINY_CLIP, ClipShape

SHAPE = ClipShape(image_size=32, patch=16, vision_width=64, vision_layers=2, vision_heads=1, context=20,
                  vocabulary=100, text_width=64, text_layers=2, text_heads=1, embedding=24)  # fmt: skip


def test_both_encoders_equal_open_clip() -> None:
    state = random_clip(5, SHAPE)
    theirs = open_clip.CLIP(
        embed_dim=24,
        vision_cfg={"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 64},
        text_cfg={"context_length": 20, "vocab_size": 100, "width": 64, "heads": 1, "layers": 2},
        quick_gelu=True,
    ).eval()
    theirs.load_state_dict(state)
    ours = load_clip({**theirs.state_dict(), "attn_mask": torch.zeros(1)}, SHAPE)
    crops = torch.randn(3, 3, 32, 32)
    ids = torch.tensor([[97, 4, 8, 99] + [0] * 16, [97, 99] + [0] * 18, [97] + [5] * 18 + [99]])
    with torch.inference_mode():
        assert torch.allclose(ours.encode_image(crops), theirs.encode_image(crops, normalize=True), atol=1e-5)
        assert torch.allclose(ours.encode_tokens(ids), theirs.encode_text(ids, normalize=True), atol=1e-5)


def test_cutting_the_context_changes_nothing() -> None:
    clip = load_clip(random_clip(6, TINY_CLIP), TINY_CLIP)
    end = TINY_CLIP.vocabulary - 1
    ids = torch.tensor([[end - 1, 5, 9, end, 0, 0], [end - 1, 7, end, 0, 0, 0]])
    long = torch.cat((ids, torch.zeros(2, 40, dtype=torch.long)), dim=1)
    assert torch.allclose(clip.encode_tokens(ids[:, :4]), clip.encode_tokens(long), atol=1e-6)
