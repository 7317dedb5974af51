"""Whole trainings of a few steps, on crops of a made-up data folder."""

import numpy as np
import pytest
import torch
from tiny import segmenter, tiny_backbone

from zegformer_tools.lite import live, train
from zegformer_tools.lite.data import withheld_ids
from zegformer_tools.lite.train import DECODER_PART, Options, groups, settings

SIX = Options(steps=6, device="cpu", live=True, batch=2, tune=0.1, seed=3)


@pytest.fixture
def begin(data, space, tmp_path, monkeypatch):
    """Runs a training; `broken_at` breaks it off in that step."""
    monkeypatch.setattr(train, "text_space", lambda *_: space)
    monkeypatch.setattr(train, "fresh", lambda _: segmenter(tiny_backbone()))
    monkeypatch.setattr(train, "lite0", tiny_backbone)
    monkeypatch.setattr(train, "RIDGE", {"batches": 2, "strength": 0.2})
    monkeypatch.setattr(train, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(live, "SHAPES", ((64, 96), (96, 128)))
    batch = live.Crops.batch

    def run(name, options, broken_at=None):
        drawn = []

        def counted(self, size):
            drawn.append(size)
            if broken_at and len(drawn) == broken_at:
                raise KeyboardInterrupt
            return batch(self, size)

        monkeypatch.setattr(live.Crops, "batch", counted)
        train.run(data, tmp_path, name, options)
        return torch.load(tmp_path / f"{name}.pt", weights_only=True)

    return run


def test_a_training_that_was_broken_off_ends_with_the_same_weights(begin):
    whole = begin("whole", SIX)
    with pytest.raises(KeyboardInterrupt):
        begin("broken", SIX, broken_at=2 + 4)  # two batches go to the ridge
    broken = begin("broken", SIX)
    assert whole["step"] == broken["step"] == 6
    for part in ("model", "average"):
        for key, value in whole[part].items():
            assert torch.equal(value, broken[part][key]), key
    started = segmenter(tiny_backbone()).state_dict()
    assert not torch.equal(whole["average"]["backbone.stem.weight"], started["backbone.stem.weight"])


def test_a_finished_training_is_left_as_it_is(begin, data, tmp_path, capsys):
    begin("made", SIX)
    made = (tmp_path / "made.pt").read_bytes()
    begin("made", SIX, broken_at=1)
    assert "is finished, after 6 steps" in capsys.readouterr().out
    assert (tmp_path / "made.pt").read_bytes() == made


def test_minutes_count_from_the_first_start(begin, tmp_path):
    soon = Options(**{**vars(SIX), "minutes": 1.0, "steps": 1000})
    with pytest.raises(KeyboardInterrupt):
        begin("made", soon, broken_at=2 + 3)
    kept = torch.load(tmp_path / "made.pt", weights_only=True)
    assert kept["seconds"] > 0 and not kept["finished"] and kept["settings"]["minutes"] == 1
    torch.save(kept | {"seconds": 60.0 - 1e-6}, tmp_path / "made.pt")
    kept = begin("made", soon)
    assert kept["finished"] and kept["step"] == 3


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"rate": 5e-4}, {"balance": 0.2}, {"tune": 0.2}, {"withhold": frozenset({"dog"})}]
)
def test_another_trainings_checkpoint_is_not_gone_on_from(begin, other):
    begin("made", SIX)
    with pytest.raises(SystemExit, match=r"another (seed|rate|balance|tune|withheld): take another --name"):
        begin("made", Options(**{**vars(SIX), **other}))


def test_a_checkpoint_without_a_clock_is_gone_on_from(begin, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        begin("made", SIX, broken_at=2 + 4)
    kept = torch.load(tmp_path / "made.pt", weights_only=True)
    torch.save({k: kept[k] for k in ("model", "average", "optimiser", "step", "settings")}, tmp_path / "made.pt")
    assert begin("made", SIX)["step"] == 6


def test_what_is_withheld_is_said(begin, capsys):
    begin("made", Options(**{**vars(SIX), "steps": 1, "withhold": frozenset({"table"})}))
    assert "1 names withheld: 2 of 12 photos left out" in capsys.readouterr().out


def test_a_name_that_is_not_taught_cannot_be_withheld(begin):
    assert withheld_ids(["cat", "dog"], {"dog", "puppy"}) == {1}
    with pytest.raises(SystemExit, match="cannot withhold dgo, tree house: "):
        begin("made", Options(**{**vars(SIX), "withhold": frozenset({"dgo", "tree house", "dog"})}))


@pytest.mark.parametrize("tune", [1.0, DECODER_PART, 0.1])
def test_every_part_of_the_model_learns_at_its_own_rate(tune):
    model = segmenter(tiny_backbone())
    parts = [group["part"] for group in groups(model, tune)]
    found = [id(p) for group in groups(model, tune) for p in group["params"]]
    assert parts == [1.0, DECODER_PART, tune]
    assert sorted(found) == sorted(id(p) for p in model.parameters())
    assert [group["part"] for group in groups(model, 0.0)] == [1.0, DECODER_PART]


def test_the_backbone_of_cached_features_is_not_tuned(tmp_path):
    with pytest.raises(SystemExit, match="leave --tune out"):
        train.run(tmp_path, tmp_path, "made", Options(steps=1, tune=0.1))


def test_settings_have_no_infinite_minutes():
    assert settings(Options(steps=3), 3)["minutes"] is None
    assert np.isfinite(settings(Options(steps=3, minutes=12.3), 3)["minutes"])
