"""One training step's losses on made-up crops."""

import numpy as np
import torch
from tiny import segmenter, tiny_backbone

from zegformer_tools.lite.backbone import CHANNELS
from zegformer_tools.lite.data import Segments
from zegformer_tools.lite.losses import NO_NAME, NOTHING, Losses, Truth, matched, pair_costs, saying
from zegformer_tools.lite.model import QUERIES, sine_position
from zegformer_tools.lite.names import TextSpace
from zegformer_tools.lite.synonyms import SYNONYMS
from zegformer_tools.lite.train import WARM_UP, Taught, balance, rate_at, same


def test_the_true_mask_costs_least():
    truth = torch.zeros(2, 64)
    truth[0, :20] = 1
    truth[1, 20:50] = 1
    bce, dice = pair_costs((truth[None] * 2 - 1) * 8, truth[None])
    assert bce[0].argmin(1).tolist() == [0, 1] and dice[0].argmin(1).tolist() == [0, 1]


def test_a_backbone_that_forgets_is_called_back():
    torch.manual_seed(0)
    model = segmenter(tiny_backbone())
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        frozen = model.backbone.head(model.backbone(pixels)[32])
        for parameter in model.backbone.parameters():
            parameter += torch.randn_like(parameter) * 0.02
    for parameter in model.backbone.parameters():
        parameter.requires_grad_()
    words = model.namer.words
    lesson = Losses(words[:5], words[5:], torch.ones(5, 5, dtype=torch.bool), torch.zeros(5))
    nothing = np.zeros((1, 5), bool)
    empty = Truth.of([Segments(np.zeros((0, 16, 24), bool), [], np.zeros((16, 24), bool))], nothing, nothing)
    optimiser = torch.optim.AdamW(model.backbone.parameters(), lr=1e-3)
    known = []
    for _ in range(12):
        loss, report = lesson(model(model.backbone(pixels), frozen), empty)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        known.append(report["known"].item())
    assert 0 < known[-1] < 0.5 * known[0]


def test_a_step_lowers_the_loss_and_unlabelled_cells_teach_no_background():
    torch.manual_seed(0)
    model = segmenter(tiny_backbone())
    words = model.namer.words
    features = {s: torch.randn(2, c, 64 // s, 96 // s) for s, c in CHANNELS.items()}
    masks = np.zeros((2, 16, 24), bool)
    masks[0, :8], masks[1, 8:] = True, True
    nowhere = np.zeros((16, 24), bool)
    nothing = np.zeros((2, 5), bool)
    truth = Truth.of([Segments(masks, [0, 1], nowhere), Segments(masks, [-1, -1], nowhere)], nothing, nothing)
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
    scores = torch.tensor([[9.0, 0, 0], [0, 9.0, 0]])
    points = (wanted[[1, 0]] * 2 - 1) * 8
    names = torch.tensor([NO_NAME, NO_NAME])
    assert matched(points[None], wanted[None], scores[None], names[None]).tolist() == [[1, 0]]


def test_a_name_close_to_the_right_one_is_wrong_only_within_its_set():
    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.2]]), dim=-1)
    exclusive = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    losses = Losses(rows, rows[:0], exclusive, torch.zeros(3))
    kept = losses.without_near(torch.zeros(1, 4), torch.tensor([0]), rows)
    assert (kept[0] < -1).tolist() == [False, False, True, False]


def test_a_free_query_must_not_say_what_the_labels_rule_out():
    """Names 0 and 1 would have been labelled, 1 is there; queries: on labelled cells, on unlabelled ones, taken."""
    losses = Losses(torch.eye(3), torch.eye(3)[:0], torch.ones(3, 3, dtype=torch.bool), torch.zeros(3))
    annotated = torch.tensor([[True, True, False]])
    truth = Truth(*[torch.zeros(0)] * 4, annotated=annotated, absent=torch.tensor([[True, False, False]]))
    share, taken = torch.tensor([[0.9, 0.0, 0.0]]), torch.tensor([[False, False, True]])
    seen = torch.ones(1, 3, dtype=torch.bool)

    def loss(query: int, name: int) -> float:
        scores = torch.zeros(1, 3, 4)
        scores[..., 3] = 9.0  # nothing
        scores[0, query, 3], scores[0, query, name] = 0.0, 9.0
        return losses.ruled_out(scores, truth, share, taken, seen).item()

    assert loss(0, 0) > 2 and loss(1, 0) > 2 and loss(1, 1) > 2
    assert loss(0, 1) < 0.01, "it is there"
    assert loss(0, 2) < 0.01 and loss(1, 2) < 0.01, "nobody looked for it"
    assert loss(2, 0) < 0.01, "the query of a segment learns that segment's name"
    assert losses.ruled_out(torch.zeros(1, 3, 4), truth, share, taken, ~seen) == 0


def test_a_photo_with_one_name_teaches_the_query_that_says_it_best():
    masks = torch.tensor([[9.0, 9, -9, -9], [-9.0, -9, -9, -9], [-9.0, -9, 9, 9]])
    scores = torch.tensor([[0.5, 0, 0, 0], [9.0, 0, 0, 0], [0.0, 0, 0, 0]])
    assert saying(masks[None], scores[None], torch.tensor([0])).tolist() == [0]
    assert saying(masks[None], -scores[None], torch.tensor([0])).tolist() == [2]


def test_crops_are_padded_to_the_one_with_most_segments():
    masks = np.ones((2, 4, 4), bool)
    seen = np.ones((4, 4), bool)
    truth = Truth.of(
        [Segments(masks[:1], [3], seen), Segments(masks, [NO_NAME, 5], ~seen), Segments(masks[:0], [], seen, 7)],
        np.zeros((3, 8), bool),
        np.zeros((3, 8), bool),
    )
    assert truth.names.tolist() == [[3, NOTHING], [NO_NAME, 5], [NOTHING, NOTHING]]
    assert truth.masks.flatten(2).any(2).tolist() == [[True, False], [True, True], [False, False]]
    assert truth.whole.tolist() == [-1, -1, 7] and truth.labelled.flatten(1).any(1).tolist() == [True, False, True]


def test_a_backbone_is_the_same_after_int8_alone():
    first, second = tiny_backbone(), tiny_backbone()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter += torch.rand_like(parameter) * 0.004 * parameter.abs().max()
    assert same(second, first)
    with torch.no_grad():
        second.head.bias[3] += 0.1 * first.head.bias.abs().max()
    assert not same(second, first)


def test_the_rate_rises_stays_and_falls():
    rates = [rate_at(step, step / 1000) for step in (0, WARM_UP, 390, 700, 999)]
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
    model = segmenter(tiny_backbone())
    with torch.no_grad():
        found = model({s: torch.randn(1, c, 64 // s, 96 // s) for s, c in CHANNELS.items()})
    assert found.masks().shape == (1, QUERIES, 16, 24)
    assert found.background.shape == (1, QUERIES)
    assert torch.allclose(found.embeddings.norm(dim=-1), torch.ones(1, QUERIES), atol=1e-4)


def test_position_tells_every_cell_apart():
    found = sine_position(5, 7).flatten(2)[0].T
    assert torch.pdist(found).min() > 0.1
