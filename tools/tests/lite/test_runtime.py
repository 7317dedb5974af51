"""Fusion and composition as the browser does them."""

import json
import math
from pathlib import Path

import numpy as np
import torch

from zegformer_tools.lite.runtime import OTHER, Choice, Classes, Model, Proposals, labels, scores

ROOT = Path(__file__).parents[3]


def two_halves() -> Proposals:
    masks = torch.full((2, 4, 4), -9.0)
    masks[0, :, :2] = 9
    masks[1, :, 2:] = 9
    rows = torch.eye(3)
    return Proposals(masks, rows[:2], torch.zeros(2), [0, 1], rows[[0, 2]])


def test_fused_is_the_weighted_geometric_mean():
    found, classes = two_halves(), Classes.plain(torch.eye(3), torch.zeros(0, 3), "abc")
    whole = scores(found, classes, Choice(2.0, 0.0, 0.0)), scores(found, classes, Choice(2.0, 1.0, 0.0))
    both = scores(found, classes, Choice(2.0, 0.25, 0.0))
    assert math.isclose(both[1, 2], whole[0][1, 2] ** 0.75 * whole[1][1, 2] ** 0.25, rel_tol=1e-5)


def test_the_image_branch_takes_a_group_for_one():
    found, classes = two_halves(), Classes.plain(torch.eye(3)[:2], torch.eye(3)[2:], "ab")
    p, c = (scores(found, classes, Choice(2.0, weight, 0.0)) for weight in (0.0, 1.0))
    both = scores(found, classes, Choice(2.0, 0.25, 0.0, grouped=frozenset("a")))
    group = [0, 2, 3]
    sway = (c[:, group].sum(1) / p[:, group].sum(1)) ** 0.25
    assert torch.allclose(both[:, group], p[:, group] * sway[:, None])
    assert torch.allclose(both[:, 1], p[:, 1] ** 0.75 * c[:, 1] ** 0.25)
    alone = scores(found, classes, Choice(2.0, 0.25, 0.0, grouped=frozenset("ab")))
    assert torch.allclose(alone, p)


def test_a_class_has_the_score_of_its_best_row():
    found = two_halves()
    plain = scores(found, Classes.plain(torch.eye(3), torch.zeros(0, 3), "abc"), Choice(2.0, 0.25, 0.0))
    kinds = Classes(
        torch.eye(3), torch.zeros(0, 3), torch.tensor([0, 1, 1]), torch.tensor([1.0, 1.0, 0.5]), list("abc"), 3
    )
    best = scores(found, kinds, Choice(2.0, 0.25, 0.0))
    assert best.shape == (2, 4)
    assert torch.allclose(best[:, 1], torch.maximum(plain[:, 1], plain[:, 2] / 2))
    assert torch.allclose(best[:, [0, 3]], plain[:, [0, 3]])
    assert not best[:, 2].any(), "a class without rows is called what another one is called"


def test_each_half_gets_its_name():
    found, classes = two_halves(), Classes.plain(torch.eye(3)[:2], torch.zeros(0, 3), "ab")
    picked, confidence = labels(found, classes, Choice(20.0, 0.0, 0.3), (8, 8))
    assert (picked[:, :3] == 0).all() and (picked[:, 5:] == 1).all()
    assert confidence[:, :3].min() > 0.9


def test_a_distractor_takes_its_pixels_away():
    found, classes = two_halves(), Classes.plain(torch.eye(3)[:1], torch.eye(3)[1:2], "a")
    picked, _ = labels(found, classes, Choice(20.0, 0.0, 0.3), (8, 8))
    assert (picked[:, :3] == 0).all() and (picked[:, 5:] == OTHER).all()


def test_gamma_damps_seen_names():
    found = two_halves()
    found.embeddings = torch.nn.functional.normalize(torch.tensor([[1.0, 0.95, 0], [0, 0, 1]]), dim=-1)
    classes = Classes.plain(torch.eye(3)[:2], torch.zeros(0, 3), "ab")
    plain, _ = labels(found, classes, Choice(5.0, 0.0, 0.0), (8, 8))
    damped, _ = labels(found, classes, Choice(5.0, 0.0, 0.0, 0.5, frozenset({0})), (8, 8))
    assert (plain[:, :3] == 0).all() and (damped[:, :3] == 1).all()


def test_a_margin_is_taken_off_the_cosines_of_seen_classes():
    found, classes = two_halves(), Classes.plain(torch.eye(3), torch.zeros(0, 3), "abc")
    cosines = torch.eye(3)[:2] - torch.tensor([0.25, 0.0, 0.0])
    wanted = torch.cat([8.0 * cosines, torch.zeros(2, 1)], 1).softmax(-1)
    assert torch.allclose(scores(found, classes, Choice(8.0, 0.0, 0.0, seen=frozenset({0}), margin=0.25)), wanted)


def test_kinds_and_silent_names_are_those_of_the_browser():
    model = Model(ROOT / "models" / "zegformer-lite", threads=1)
    for case in json.loads((ROOT / "tests" / "golden" / "names.json").read_text()):
        typed = [[name.strip() for name in names.split("|")] for names in case["typed"].split(",")]
        found = model.classes(typed)
        own = len(set(map(model.meaning, (names[0] for names in typed))))
        kinds = zip(found.of.tolist()[own:], found.names[own:], strict=True)
        assert sorted(map(list, kinds)) == case["kinds"], case["typed"]
        silent = [name for name in model.settings["other"]["distractors"] if name not in case["away"]]
        assert np.allclose(found.distractors, np.stack([model.vector(name) for name in silent])), case["typed"]


def test_names_of_one_vector_share_a_row():
    model = Model(ROOT / "models" / "zegformer-lite", threads=1)
    found = model.classes([["dog"], ["wall"], ["hund"]])
    assert found.count == 3 and found.names[:2] == ["dog", "wall"] and 2 not in found.of.tolist()
    assert model.classes([["animal"], ["hund"]]).names.count("dog") == 0
