"""Masked crops: boxes, RoIAlign, background."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align as torchvision_roi_align

from zegformer_tools.official.crops import binary_masks, boxes, masked_crops, roi_align


@pytest.mark.parametrize("seed", range(20))
def test_roi_align_equals_torchvision(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    height, width = (int(v) for v in torch.randint(8, 90, (2,), generator=generator))
    image = torch.randn(3, height, width, generator=generator)
    corners = torch.rand(4, generator=generator) * torch.tensor([width, height, width, height])
    x0, x1 = sorted((corners[0].item(), corners[2].item()))
    y0, y1 = sorted((corners[1].item(), corners[3].item()))
    whole = seed % 2 == 0  # the boxes of masks have whole numbers
    box = torch.tensor([int(x0), int(y0), int(x1) + 1, int(y1) + 1] if whole else [x0, y0, x1 + 0.1, y1 + 0.1])
    size = (7, 16, 32)[seed % 3]
    expected = torchvision_roi_align(image[None], [box.float()[None]], size, aligned=True)[0]
    assert torch.allclose(roi_align(image, box.float(), size), expected, atol=2e-4)


def test_roi_align_of_the_whole_padded_photo() -> None:
    image = torch.randn(3, 64, 96)
    box = torch.tensor([0.0, 0.0, 96.0, 64.0])
    expected = torchvision_roi_align(image[None], [box[None]], 32, aligned=True)[0]
    assert torch.allclose(roi_align(image, box, 32), expected, atol=1e-4)


def test_boxes_are_inclusive_indices() -> None:
    masks = torch.zeros(5, 8, 10, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 4, 4] = True  # one pixel
    masks[2, 4, 1:9] = True  # one row: no area either
    masks[4, 0, 0] = masks[4, 7, 9] = True
    whole = [0.0, 0.0, 10.0, 8.0]
    assert boxes(masks).tolist() == [[3, 2, 8, 4], whole, whole, whole, [0, 0, 9, 7]]


def test_outside_the_mask_is_the_mean_colour() -> None:
    pixels = torch.full((3, 16, 16), 2.0)
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, 4:12, 4:12] = True
    masks[0, 6:10, 6:10] = False
    crops = masked_crops(pixels, masks, 7)
    assert crops.shape == (2, 3, 7, 7)
    assert crops[0, :, 3, 3].abs().max() == 0, "a hole shows the mean colour"
    assert crops[0].max() == pytest.approx(2.0)
    assert crops[1].abs().max() == 0, "an empty mask shows nothing"


def test_masks_follow_the_sigmoid_in_f32() -> None:
    logits = torch.tensor([[[-1.0, 0.0, 1e-9, 1e-3]]])
    assert binary_masks(logits).tolist() == [[[False, False, False, True]]]
