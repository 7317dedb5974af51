"""One training step's losses on made-up crops."""

import numpy as np
import torch

from zegformer_tools.lite.backbone import CHANNELS, WIDTH
from zegformer_tools.lite.data import Segments
from zegformer_tools.lite.losses import Losses, matched, pair_costs
from zegformer_tools.lite.model import QUERIES, Namer, Segmenter, sine_position
from zegformer_tools.lite.names import EMBEDDING, TextSpace
from zegformer_tools.lite.synonyms import SYNONYMS
from zegformer_tools.lite.train import WARM_UP, Taught, balance, rate_at


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
    nowhere = np.zeros((16, 24), bool)
    truth = [Segments(masks, [0, 1], nowhere), Segments(masks, [-1, -1], nowhere)]
    losses = Losses(words[:5], words[5:], torch.ones(5, 5, dtype=torch.bool), torch.zeros(5))
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


def test_segments_without_a_name_are_matched_by_mask_alone():
    wanted = torch.zeros(2, 64)
    wanted[0, :20] = 1
    wanted[1, 20:50] = 1
    logits = torch.tensor([[9.0, 0, 0], [0, 9.0, 0]])
    points = (wanted[[1, 0]] * 2 - 1) * 8
    rows, columns = matched(points, wanted, logits, torch.tensor([-1, -1]))
    assert dict(zip(rows.tolist(), columns.tolist())) == {0: 1, 1: 0}


def test_a_name_close_to_the_right_one_is_wrong_only_within_its_set():
    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.2]]), dim=-1)
    exclusive = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    losses = Losses(rows, rows[:0], exclusive, torch.zeros(3))
    kept = losses.without_near(torch.zeros(1, 4), torch.tensor([0]), rows)
    assert (kept[0] < -1).tolist() == [False, False, True, False]


def test_a_photo_with_one_name_teaches_the_query_that_says_it_best():
    losses = Losses(torch.eye(3), torch.eye(3)[:0], torch.ones(3, 3, dtype=torch.bool), torch.zeros(3))
    masks = torch.tensor([[9.0, 9, -9, -9], [-9.0, -9, -9, -9], [-9.0, -9, 9, 9]])
    logits = torch.tensor([[0.5, 0, 0, 0], [9.0, 0, 0, 0], [0.0, 0, 0, 0]], requires_grad=True)
    losses._whole(masks, logits, 0, torch.eye(3)).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).any(1).tolist() == [True, False, False]


def test_the_rate_rises_stays_and_falls():
    rates = [rate_at(step, 1000) for step in (0, WARM_UP, 390, 700, 999)]
    assert rates[0] < rates[1] == rates[2] == 1 > rates[3] > rates[4] > 0


def test_a_rare_name_must_be_said_louder_than_a_frequent_one():
    added = balance(0.4, {0: 0.5, 2: 0.005}, 4)
    assert added[0] > 0 > added[2] and added[[1, 3]].tolist() == [0, 0] and abs(added.sum()) < 1e-5
    losses = Losses(torch.eye(4), torch.eye(4)[:0], torch.ones(4, 4, dtype=torch.bool), added)
    same = torch.zeros(1, 5)
    assert losses.naming(same, torch.tensor([2]), torch.eye(4)) > losses.naming(same, torch.tensor([0]), torch.eye(4))


def test_synonyms_are_taught_and_never_wrong():
    words = ["person", "cat", "kettle", *SYNONYMS["person"], *SYNONYMS["cat"]]
    space = TextSpace(np.zeros(len(words)))
    space._known = dict(zip(words, np.eye(len(words), dtype=np.float32), strict=True))
    taught = Taught(space, ["person", "cat"], frozenset())
    assert len(taught.others) == 1  # the kettle
    torch.manual_seed(0)
    said = {words[int(taught.in_words()[0].argmax())] for _ in range(200)}
    assert said == {"person", *SYNONYMS["person"]}


def test_a_withheld_name_is_taught_by_no_synonym():
    words = ["person", "cat", "kettle", *SYNONYMS["person"], *SYNONYMS["cat"]]
    space = TextSpace(np.zeros(len(words)))
    space._known = dict(zip(words, np.eye(len(words), dtype=np.float32), strict=True))
    taught = Taught(space, ["person", "cat"], frozenset({"cat"}))
    assert list(taught.synonyms) == [0]


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
