"""The shortcuts of the image branch: crops for those that matter, and one pass over the whole photo."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from zegformer_tools.official.check import drawn_crops
from zegformer_tools.official.clip_graphs import image_graph
from zegformer_tools.official.golden import CLASSES, photos, tiny_reference, tiny_settings
from zegformer_tools.official.inference import Mode
from zegformer_tools.official.onepass import FLOOR, area_weights, encode_segments, mask_bias
from zegformer_tools.official.onepass_graph import onepass_graph
from zegformer_tools.official.pack import Encoding, store, store_beside
from zegformer_tools.official.pruning import worth_a_crop

REFERENCE, _ = tiny_reference()


def test_without_a_bias_every_token_is_clips_own() -> None:
    photo = drawn_crops(REFERENCE.clip.shape.image_size, 1)
    with torch.inference_mode():
        found = encode_segments(REFERENCE.clip, photo, torch.zeros(4, REFERENCE.clip.shape.grid**2))
        assert torch.allclose(found, REFERENCE.clip.encode_image(photo).expand(4, -1), atol=1e-6)


def test_a_token_sees_nothing_outside_its_mask_in_its_first_look() -> None:
    """Patches see each other, so only a network of one block shows it."""
    clip, grid = REFERENCE.clip, REFERENCE.clip.shape.grid
    photo = drawn_crops(clip.shape.image_size, 1)
    bias = torch.full((1, grid, grid), FLOOR)
    bias[:, :, : grid // 2] = 0
    painted = photo.clone()
    painted[..., clip.shape.image_size // 2 :] = 2.0
    blocks = clip.visual.transformer.resblocks
    try:
        clip.visual.transformer.resblocks = blocks[:1]
        with torch.inference_mode():
            one, other = (encode_segments(clip, image, bias.flatten(1)) for image in (photo, painted))
            assert torch.allclose(one, other, atol=1e-6)
            assert not torch.allclose(clip.encode_image(photo), clip.encode_image(painted), atol=1e-3)
    finally:
        clip.visual.transformer.resblocks = blocks


def test_proposals_do_not_see_each_other() -> None:
    photo = drawn_crops(REFERENCE.clip.shape.image_size, 1)
    bias = mask_bias(torch.randn(3, 12, 12), (11.5, 12.0), REFERENCE.clip.shape.grid)
    with torch.inference_mode():
        together = encode_segments(REFERENCE.clip, photo, bias)
        alone = torch.cat([encode_segments(REFERENCE.clip, photo, row[None]) for row in bias])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_bias_is_the_logarithm_of_the_covered_part() -> None:
    logits = torch.full((3, 6, 8), -1.0)
    logits[0, :3, :2] = 1  # a quarter of the rows' upper half ...
    logits[1, 5:] = 1  # ... only padding, which is not the photo
    bias = mask_bias(logits, (5.0, 8.0), 2)
    # The upper patches are 2.5 rows high: rows 0 and 1 and half of row 2, in two of four columns.
    assert bias[0].tolist() == pytest.approx([math.log(0.5), FLOOR, math.log(0.5 * 0.5 / 2.5), FLOOR])
    assert bias[1].tolist() == [0, 0, 0, 0], "a mask that covers nothing sees all"
    assert bias[2].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("extent", "bins", "cells"), [(5.25, 4, 6), (3.0, 14, 3), (160.0, 14, 160)])
def test_parts_are_equal(extent: float, bins: int, cells: int) -> None:
    weights = area_weights(extent, bins, cells)
    assert torch.allclose(weights.sum(dim=1), torch.ones(bins), atol=1e-5)
    assert (weights[:, math.ceil(extent) :] == 0).all()


def test_who_is_worth_a_crop() -> None:
    query = torch.tensor([[3.0, 0.0], [0.0, 0.0], [1.0, 0.5], [0.0, 0.0]])
    background = torch.tensor([1.0, 2.0, 4.0, 5.0])
    masks = torch.full((4, 2, 3), -6.0)
    masks[1, 0, 0] = 8  # the background wins, yet nobody else votes for this cell
    masks[2, :, 2] = 8  # outside of the photo
    masks[0, :, :2] = 2
    masks[0, 0, 0] = -6
    assert worth_a_crop(query, background, masks, (2, 2)).tolist() == [True, True, False, False]


@pytest.mark.parametrize("mode", ["fast", "one-pass"])
def test_what_is_known_is_taken(mode: Mode) -> None:
    photo = photos()["portrait"]
    official = REFERENCE.run(photo, list(CLASSES), tiny_settings())
    known = REFERENCE.run(photo, list(CLASSES), tiny_settings(), mode, known=official)
    anew = REFERENCE.run(photo, list(CLASSES), tiny_settings(), mode)
    assert torch.allclose(known.scores, anew.scores, atol=1e-5)
    assert (known.labels == anew.labels).mean() > 0.999
    if mode == "fast":
        assert 0 < int(known.cropped.sum()) < len(known.cropped)
        assert torch.allclose(known.scores[known.cropped], official.scores[known.cropped])


@pytest.mark.parametrize("encoding", ["f16", "int8"])
def test_both_image_graphs_share_their_weights(encoding: Encoding, tmp_path: Path) -> None:
    files = store(image_graph(REFERENCE.clip), tmp_path, "image.onnx", encoding, apart=True)
    assert files == ["image.onnx", "image.1.bin"]
    graph = onepass_graph(REFERENCE.clip)
    assert store_beside(graph, tmp_path, "onepass.onnx", encoding, "image.onnx") == ["onepass.onnx"]
    model = onnx.load(tmp_path / "onepass.onnx", load_external_data=False)
    inline = [t.name for t in model.graph.initializer if len(t.raw_data) >= 1024]
    assert inline == []
    other = onepass_graph(REFERENCE.clip)
    name = "visual.0.c_fc.weight"
    other.weights[name] = type(other.weights[name])(np.zeros_like(other.weights[name].values), 1)
    with pytest.raises(ValueError, match=r"visual\.0\.c_fc\.weight"):
        store_beside(other, tmp_path, "other.onnx", encoding, "image.onnx")
