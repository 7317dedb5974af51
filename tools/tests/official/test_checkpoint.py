"""Strict loading: names, sizes, wrappers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zegformer_tools.official.checkpoint import (
    CLIP_PREFIX,
    CheckpointError,
    clip_shape,
    load_clip,
    load_segmenter,
    read_state,
    segmenter_shape,
)
from zegformer_tools.official.random_weights import random_checkpoint, random_clip
from zegformer_tools.official.segmenter import Segmenter
from zegformer_tools.official.shapes import BLOCKS, TINY_CLIP, TINY_SEGMENTER, ClipShape, SegmenterShape

TINY = random_checkpoint(0, TINY_SEGMENTER)


def test_official_key_names_and_sizes() -> None:
    """The published R101 checkpoint's names, spelled out where they are easy to get wrong."""
    with torch.device("meta"):
        state = Segmenter(SegmenterShape()).state_dict()
    sizes = {key: tuple(value.shape) for key, value in state.items()}
    head = "sem_seg_head.predictor."
    expected = {
        "backbone.stem.conv1.weight": (64, 3, 7, 7),
        "backbone.stem.conv1.norm.running_var": (64,),
        "backbone.res2.0.shortcut.weight": (256, 64, 1, 1),
        "backbone.res4.22.conv3.norm.bias": (1024,),
        "backbone.res5.2.conv2.weight": (512, 512, 3, 3),
        "sem_seg_head.pixel_decoder.adapter_1.weight": (256, 256, 1, 1),
        "sem_seg_head.pixel_decoder.adapter_3.norm.weight": (256,),
        "sem_seg_head.pixel_decoder.layer_4.weight": (256, 2048, 3, 3),
        "sem_seg_head.pixel_decoder.mask_features.bias": (256,),
        head + "query_embed.weight": (100, 256),
        head + "input_proj.weight": (256, 2048, 1, 1),
        head + "projection_layer.weight": (512, 256),
        head + "bg_feature": (1, 512),
        head + "logit_scale": (1,),
        head + "mask_embed.layers.2.bias": (256,),
        head + "transformer.decoder.layers.5.multihead_attn.in_proj_weight": (768, 256),
        head + "transformer.decoder.layers.0.self_attn.out_proj.bias": (256,),
        head + "transformer.decoder.layers.3.linear1.weight": (2048, 256),
        head + "transformer.decoder.norm.weight": (256,),
    }
    assert {key: sizes.get(key) for key in expected} == expected
    assert not [key for key in sizes if "num_batches_tracked" in key]
    blocks = {stage: len({k.split(".")[2] for k in sizes if k.startswith(f"backbone.{stage}.")}) for stage in
              ("res2", "res3", "res4", "res5")}  # fmt: skip
    assert tuple(blocks.values()) == BLOCKS[101]


def test_a_missing_key_is_named() -> None:
    state = {k: v for k, v in TINY.items() if k != "sem_seg_head.predictor.bg_feature"}
    with pytest.raises(CheckpointError, match=r"lacks sem_seg_head\.predictor\.bg_feature"):
        load_segmenter(state, TINY_SEGMENTER)


def test_an_extra_key_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"backbone\.res6\.0\.conv1\.weight"):
        load_segmenter({**TINY, "backbone.res6.0.conv1.weight": torch.zeros(1)}, TINY_SEGMENTER)


def test_a_wrong_size_is_named() -> None:
    key = "sem_seg_head.predictor.query_embed.weight"
    with pytest.raises(CheckpointError, match=r"query_embed\.weight is \(3, 3\), expected \(12, 32\)"):
        load_segmenter({**TINY, key: torch.zeros(3, 3)}, TINY_SEGMENTER)


def test_values_that_are_not_finite_are_refused() -> None:
    key = "sem_seg_head.pixel_decoder.mask_features.bias"
    with pytest.raises(CheckpointError, match=r"mask_features\.bias holds values that are not finite"):
        load_segmenter({**TINY, key: torch.full((32,), torch.nan)}, TINY_SEGMENTER)


def test_training_leftovers_and_clip_inside_are_allowed() -> None:
    assert "criterion.empty_weight" in TINY
    clip = random_clip(1, TINY_CLIP)
    both = {**TINY, **{CLIP_PREFIX + key: value for key, value in clip.items()}}
    load_segmenter(both, TINY_SEGMENTER)
    inside = load_clip(both, TINY_CLIP)
    assert torch.equal(inside.visual.proj, clip["visual.proj"])


def test_clip_needs_all_its_keys_too() -> None:
    clip = random_clip(1, TINY_CLIP)
    with pytest.raises(CheckpointError, match="lacks text_projection"):
        load_clip({k: v for k, v in clip.items() if k != "text_projection"}, TINY_CLIP)
    with pytest.raises(CheckpointError, match=r"visual\.attnpool"):
        load_clip({**clip, "visual.attnpool.k_proj.weight": torch.zeros(1)}, TINY_CLIP)
    with pytest.raises(CheckpointError, match="ResNet image encoder"):
        clip_shape({"visual.layer1.0.conv1.weight": torch.zeros(1)})


def test_shapes_are_read_from_the_tensors() -> None:
    blocks = BLOCKS[50]
    shape = SegmenterShape(
        blocks=blocks, width=2, conv_dim=32, hidden=16, feedforward=8, layers=3, queries=5, embedding=6
    )
    assert segmenter_shape(random_checkpoint(0, shape)) == shape
    clip = ClipShape(image_size=16, patch=8, vision_width=128, vision_layers=1, vision_heads=2, context=9,
                     vocabulary=20, text_width=64, text_layers=2, text_heads=1, embedding=6)  # fmt: skip
    assert clip_shape(random_clip(0, clip)) == clip


def test_an_unknown_depth_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"\(1, 2, 1, 1\) blocks"):
        segmenter_shape(TINY)


def test_files_and_their_wrappers(tmp_path: Path) -> None:
    clip = random_clip(1, TINY_CLIP)
    halves = {key: value.half() for key, value in clip.items()}
    torch.save({"model": halves, "iteration": 7}, tmp_path / "detectron.pth")
    torch.save({"state_dict": {"module." + k: v for k, v in halves.items()}}, tmp_path / "trained.pt")
    for name in ("detectron.pth", "trained.pt"):
        state = read_state(tmp_path / name)
        assert set(state) == set(clip)
        assert state["visual.proj"].dtype == torch.float32
        assert torch.equal(state["visual.proj"], halves["visual.proj"].float())


def test_openai_files_are_torchscript_archives(tmp_path: Path) -> None:
    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logit_scale = torch.nn.Parameter(torch.tensor(4.5, dtype=torch.float16))
            self.register_buffer("input_resolution", torch.tensor(224))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.logit_scale

    torch.jit.script(Holder()).save(str(tmp_path / "ViT-B-16.pt"))
    state = read_state(tmp_path / "ViT-B-16.pt")
    assert state["logit_scale"].item() == 4.5
    assert state["logit_scale"].dtype == torch.float32


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>Google Drive</html>")
    with pytest.raises(CheckpointError, match=r"page\.pth: neither a PyTorch state dict"):
        read_state(tmp_path / "page.pth")
    with pytest.raises(CheckpointError, match="no such file"):
        read_state(tmp_path / "nothing.pth")
