"""The per-pixel foil's step on made-up crops."""

import numpy as np
import torch
from tiny import tiny_backbone

from zegformer_tools.lite.backbone import CHANNELS
from zegformer_tools.lite.data import Segments
from zegformer_tools.lite.foil import PerPixel, PixelLosses, Pixels, cell_names
from zegformer_tools.lite.losses import Losses, Truth
from zegformer_tools.lite.model import FINE, Namer
from zegformer_tools.lite.names import EMBEDDING


def truth_of(*crops: Segments) -> Truth:
    nothing = np.zeros((len(crops), 5), bool)
    return Truth.of(list(crops), nothing, nothing)


def test_smaller_segments_lie_on_top_and_nameless_ones_name_nothing():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :3], masks[1, 0, 0], masks[2, 3] = True, True, True
    found = cell_names(truth_of(Segments(masks, [2, 1, -1], np.zeros((4, 4), bool))))
    assert found.tolist() == [[[1, 2, 2, 2], [2] * 4, [2] * 4, [-1] * 4]]


def test_spots_are_what_everywhere_has():
    torch.manual_seed(1)
    name = torch.nn.Conv2d(FINE, 6, 1)
    said = torch.zeros(2, 2, 3, 1000)
    found = Pixels(torch.randn(2, FINE, 16, 24), torch.randn(2, 6, 2, 3), name, said, said, torch.randn(2, 6, 2, 3))
    spots = torch.randint(16 * 24, (2, 50))
    spots[0, :2] = torch.tensor([0, 16 * 24 - 1])
    crops = torch.tensor([1, 0])

    def picked(everywhere: torch.Tensor) -> torch.Tensor:
        return everywhere[crops].flatten(2).gather(2, spots[:, None].expand(-1, 6, -1)).transpose(1, 2)

    assert torch.allclose(found.at(crops, spots), picked(found.everywhere()), atol=1e-5)
    cells = torch.nn.functional.interpolate(found.verdicts, scale_factor=8)
    assert torch.equal(found.verdicts_at(crops, spots), picked(cells))


def test_steps_lower_the_loss_and_crops_without_names_teach_nothing():
    torch.manual_seed(0)
    backbone = tiny_backbone()
    words = torch.nn.functional.normalize(torch.randn(10, EMBEDDING), dim=-1)
    model = PerPixel(backbone, Namer(backbone.classifier, backbone.classifier_bias, words))
    lesson = PixelLosses(Losses(words[:5], words[5:], torch.ones(5, 5, dtype=torch.bool), torch.zeros(5)))
    features = {s: torch.randn(2, c, 64 // s, 96 // s) for s, c in CHANNELS.items()}
    masks = np.zeros((2, 16, 24), bool)
    masks[0, :8], masks[1, 8:] = True, True
    nowhere = np.zeros((16, 24), bool)
    truth = truth_of(Segments(masks, [0, 1], nowhere), Segments(masks, [-1, -1], nowhere))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    found = []
    for _ in range(12):
        loss, _ = lesson(model(features), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    assert found[-1] < 0.8 * found[0]
    nameless = truth_of(*[Segments(masks, [-1, -1], nowhere)] * 2)
    assert lesson(model(features), nameless)[1]["name"] == 0
