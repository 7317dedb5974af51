"""Crops made on the device, from a made-up data folder."""

import json

import numpy as np
import pytest
import torch
from tiny import tiny_backbone

from zegformer_tools.lite import album, image_live, live
from zegformer_tools.lite.branch import ImageBranch
from zegformer_tools.lite.cache import COMPOSITE, Row, packed
from zegformer_tools.lite.cached import Cached
from zegformer_tools.lite.data import CELL, MASKED_SETS, Segments, annotated, training_names
from zegformer_tools.lite.losses import NO_NAME, NOTHING
from zegformer_tools.lite.names import EMBEDDING, TextSpace
from zegformer_tools.lite.regions import Regions

CPU = torch.device("cpu")


def shown(pixels: torch.Tensor) -> torch.Tensor:
    """What is red, or blue, of normalised pixels at the centres of the label map's cells: 0, 1, and 2 for neither."""
    bytes_ = (pixels * 128 + 127)[:, :, CELL // 2 :: CELL, CELL // 2 :: CELL]
    red, blue = bytes_[:, 0] > 2 * bytes_[:, 2] + 20, bytes_[:, 2] > 2 * bytes_[:, 0] + 20
    return torch.where(red, 0, torch.where(blue, 1, 2))


def test_masks_lie_on_what_they_are_masks_of(data, monkeypatch):
    monkeypatch.setattr(live, "PASTED", 0.0)
    monkeypatch.setattr(album, "GREY", 0.0)
    torch.manual_seed(0)
    names, ids = training_names(data)
    crops = live.Crops(data, album.Album(data, CPU, set()), np.random.default_rng(0))
    kinds = set()
    for _ in range(6):
        pixels, truth = crops.batch(16)
        colour = shown(pixels)
        for b in range(16):
            for mask, name in zip(truth.masks[b], truth.names[b].tolist(), strict=True):
                if name == NOTHING:
                    continue
                inside = colour[b][mask]
                inside = inside[inside < 2]
                kinds.add(name)
                if name in (NO_NAME, names.index("person")):
                    continue
                right = 0 if name in {ids[k, 1] for k in ("voc", "coco", "ccp")} else 1
                assert (inside == right).float().mean() > 0.95
            if truth.whole[b] >= 0:
                assert (truth.names[b] == NOTHING).all() and not truth.labelled[b].any()
    wanted = {"dog", "cat", "table", "hat", "coat", "person"}
    assert kinds == {NO_NAME, *(names.index(name) for name in wanted)}


def test_what_a_photo_of_a_set_rules_out(data):
    torch.manual_seed(0)
    names, ids = training_names(data)
    of = {kind: {name for (k, _), name in ids.items() if k == kind} for kind in MASKED_SETS}
    taken = album.Album(data, CPU, {names.index("table")})
    kinds = dict(zip(taken.sets, taken.annotated, strict=True))
    for kind in ("voc", "ccp"):
        assert set(kinds[kind].nonzero()[:, 0].tolist()) == of[kind]
    assert not kinds["bsds"].any() and not kinds["caltech101"].any() and "coco" not in kinds
    crops = live.Crops(data, album.Album(data, CPU, set()), np.random.default_rng(0))
    _, truth = crops.batch(32)
    half_there = 0
    for own, known, absent in zip(truth.names, truth.annotated, truth.absent, strict=True):
        there = {name for name in own.tolist() if name >= 0}
        assert not (absent & ~known).any()
        assert not there & set(absent.nonzero()[:, 0].tolist())
        if known[ids["voc", 1]] and len(there) == 1:
            half_there += 1
            assert absent.any()
    assert half_there > 0


def test_cached_crops_rule_out_what_is_nowhere_in_their_photos():
    crops = Cached.__new__(Cached)  # without a cache
    crops.known = annotated({("voc", 1): 0, ("voc", 2): 1, ("coco", 1): 1, ("caltech101", 0): 2}, 3, {2})
    segments = packed(Segments(np.ones((1, 4, 4), bool), [0], np.ones((4, 4), bool)))
    kinds = {"voc": frozenset({0}), "coco": frozenset({1}), "ccp": frozenset(), COMPOSITE: frozenset({0, 1})}
    truth = crops.truth([Row(kind, False, segments, present) for kind, present in kinds.items()])
    assert truth.annotated.int().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert truth.absent.int().tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_pasted_object_has_its_mask(data):
    torch.manual_seed(0)
    dog = training_names(data)[0].index("dog")
    whole = album.Album(data, CPU, set())
    crops = live.Crops(data, whole, np.random.default_rng(0))
    crops.donors = album.Places.of([p for p in whole.places if p.name == dog and p.set == "voc"], CPU)
    crops.donor_weights = np.full(len(crops.donors.name), 1 / len(crops.donors.name))
    grey, nothing = torch.full((8, 3, 64, 96), 127.0), torch.full((8, 16, 24), -1)
    pixels, labels, alpha = crops._paste(grey, nothing)
    red = shown((pixels - 127) / 128) == 0
    assert (red == (labels == dog)).float().mean() > 0.98
    assert (labels == dog).flatten(1).any(1).all() and (labels == -1).flatten(1).any(1).all()
    assert torch.equal(pixels[(alpha == 0)[:, None].expand(-1, 3, -1, -1)].unique(), torch.tensor([127.0]))


def test_photos_with_a_withheld_name_are_left_out(data):
    names = training_names(data)[0]
    kept = album.Album(data, CPU, {names.index("dog"), names.index("ibis")})
    assert set(kept.sets) == {"ccp", "bsds", "grocery"}


def test_regions_are_cropped_and_masked(data):
    torch.manual_seed(0)
    names = training_names(data)[0]
    regions = Regions(album.Album(data, CPU, set()), np.random.default_rng(0))
    pixels, name = regions.batch(32)
    colour = shown(pixels).flatten(1)
    for word, other in (("cat", 0), ("hat", 1)):
        here = colour[name == names.index(word)]
        assert len(here) and (here == other).float().mean() < 0.15


def test_the_image_branch_goes_on_where_it_was_broken_off(data, tmp_path, monkeypatch):
    names = training_names(data)[0]
    space = TextSpace(np.zeros(EMBEDDING))
    rows = np.eye(EMBEDDING, dtype=np.float32)
    space._known = {word: rows[i] for i, word in enumerate([*names, "kettle", "thing"])}
    monkeypatch.setattr(image_live, "text_space", lambda *_: space)
    monkeypatch.setattr(image_live, "fresh", lambda _: ImageBranch(tiny_backbone(), torch.eye(10, EMBEDDING)))
    monkeypatch.setattr(image_live, "BATCH", 4)
    monkeypatch.setattr(image_live, "SAVE_SECONDS", -1.0)
    seen = []
    batch = Regions.batch

    def broken(self, size):
        seen.append(size)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return batch(self, size)

    monkeypatch.setattr(Regions, "batch", broken)
    with pytest.raises(KeyboardInterrupt):
        image_live.run(data, tmp_path, "made", frozenset(), "cpu", 6)
    assert (tmp_path / "made.image.checkpoint").exists() and not (tmp_path / "made.image.pt").exists()
    image_live.run(data, tmp_path, "made", frozenset(), "cpu", 6)
    assert len(seen) == 4 + 3, "three steps were kept"
    made = torch.load(tmp_path / "made.image.pt", weights_only=True)
    started = image_live.fresh(space).state_dict()
    assert not torch.equal(made["backbone.stem.weight"], started["backbone.stem.weight"])
    assert all(value.isfinite().all() for value in made.values())
    assert json.loads((tmp_path / "made.image.settings.json").read_text())["steps"] == 6
    assert not (tmp_path / "made.image.checkpoint").exists()
    image_live.run(data, tmp_path, "made", frozenset(), "cpu", 6)
    assert len(seen) == 4 + 3, "it is finished"
