"""One training step's losses on made-up crops."""

import numpy as np
import torch

from zegformer_tools.lite.backbone import CHANNELS, WIDTH
from zegformer_tools.lite.data import Segments
from zegformer_tools.lite.model import QUERIES, Namer, Segmenter, sine_position
from zegformer_tools.lite.names import EMBEDDING
from zegformer_tools.lite.train import Losses, pair_costs


def test_the_true_mask_costs_least():
    truth = torch.zeros(2, 64)
    truth[0, :20] = 1
    truth[1, 20:50] = 1
    bce, dice = pair_costs((truth * 2 - 1) * 8, truth)
    assert bce.argmin(1).tolist() == [0, 1] and dice.argmin(1).tolist() == [0, 1]


def test_a_step_lowers_the_loss_and_unlabelled_cells_teach_no_background():
    torch.manual_seed(0)
    words = torch.nn.functional.normalize(torch.randn(10, EMBEDDING), dim=-1)
    model = Segmenter(
        (torch.randn(WIDTH, CHANNELS[32], 1, 1) * 0.05, torch.zeros(WIDTH)),
        Namer(torch.randn(10, WIDTH) * 0.1, torch.zeros(10), words),
    )
    features = {s: torch.randn(2, c, 64 // s, 96 // s) for s, c in CHANNELS.items()}
    masks = np.zeros((2, 16, 24), bool)
    masks[0, :8], masks[1, 8:] = True, True
    truth = [
        ("voc", Segments(masks, [0, 1], np.zeros((16, 24), bool))),
        ("bsds", Segments(masks, [-1, -1], np.zeros((16, 24), bool))),
    ]
    losses = Losses(words[:5], words[5:])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    found = []
    for _ in range(12):
        loss, report = losses(model(features), truth)
        assert report["nothing"] == 0
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    assert found[-1] < 0.8 * found[0]


def test_output_shapes_and_unit_rows():
    model = Segmenter(
        (torch.randn(WIDTH, CHANNELS[32], 1, 1), torch.zeros(WIDTH)),
        Namer(torch.randn(10, WIDTH), torch.zeros(10), torch.randn(10, EMBEDDING)),
    )
    with torch.no_grad():
        found = model({s: torch.randn(1, c, 64 // s, 96 // s) for s, c in CHANNELS.items()})
    assert found.masks().shape == (1, QUERIES, 16, 24)
    assert found.background.shape == (1, QUERIES)
    assert torch.allclose(found.embeddings.norm(dim=-1), torch.ones(1, QUERIES), atol=1e-4)


def test_position_tells_every_cell_apart():
    found = sine_position(5, 7).flatten(2)[0].T
    assert torch.pdist(found).min() > 0.1
