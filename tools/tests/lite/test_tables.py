"""The tables, on made-up photos, by a program that sees the truth."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from zegformer_tools.lite import evaluate, hierarchy, kinds, languages, protocol, tune
from zegformer_tools.lite.data import Photo, for_tuning, is_held_out, label_files
from zegformer_tools.lite.evaluate import ODD_NAMES, ON_NO_LIST
from zegformer_tools.lite.held import REPORTING, TUNING, Held, Typed
from zegformer_tools.lite.protocol import UNSEEN, WITHHELD, never_taught, refuse_if_taught
from zegformer_tools.lite.runtime import OTHER, Choice, Classes, Proposals
from zegformer_tools.lite.synonyms import SYNONYMS

NAMES = {
    "voc": ["background", "cat", "dog", "horse", "cow", "person", "chair", "sofa", "bus"],
    "coco": ["sky", "grass", "dog", "road", "wall", "sea"],
    "ccp": ["background", "hat", "coat", "dress", "skin", "hair", "scarf", "belt", "shoes"],
}
FOLDERS = {"voc": "masks", "coco": "semantic", "ccp": "masks", "bsds": "segments"}
THINGS = [f"thing{i}" for i in range(25)]


def half(stem: str) -> str:
    return TUNING if for_tuning(Photo("voc", stem, None)) else REPORTING


@pytest.fixture
def data(tmp_path):
    """Held-out photos, four of each half and set: two names of the set side by side, VOC's with a strip of nothing."""
    held = [s for s in (f"photo{i}" for i in range(400)) if is_held_out(s)]
    stems = [s for part in (TUNING, REPORTING) for s in [s for s in held if half(s) == part][:4]]
    pixels = Image.new("RGB", (96, 64))
    for kind, folder in FOLDERS.items():
        (tmp_path / kind / "images").mkdir(parents=True)
        (tmp_path / kind / folder).mkdir()
        (tmp_path / kind / "classes.json").write_text(json.dumps(NAMES.get(kind, [])))
        for index, stem in enumerate(stems):
            labels = np.full((64, 96), 1 + index % 4, np.uint8)
            labels[:, 40:] = 2 + index % 4 if kind != "coco" else (2 + index % 4) % 5
            labels[:, 80:] = {"voc": 0, "coco": 255, "ccp": 5, "bsds": 9}[kind]
            pixels.save(tmp_path / kind / "images" / f"{stem}.png")
            for annotator in ("_1", "_2") if kind == "bsds" else ("",):
                Image.fromarray(labels).save(tmp_path / kind / folder / f"{stem}{annotator}.png")
    for kind in ("caltech101", "grocery"):
        for index, name in enumerate(THINGS):
            (tmp_path / kind / name).mkdir(parents=True)
            pixels.save(tmp_path / kind / name / f"{stems[index % 8]}.png")
        (tmp_path / kind / "classes.json").write_text(json.dumps({n: n for n in THINGS}))
    return tmp_path


class Oracle:
    """Knows all labels and the odd words, and which folder a photo is from; `blind` to some names."""

    def __init__(self, data, blind=()):
        self.data, self.blind = data, blind
        self.asked = Counter()
        words = {**ODD_NAMES, **{name: [*ODD_NAMES[name], *ON_NO_LIST[name]] for name in ODD_NAMES}}
        self.meant = {word: name for name, words in words.items() for word in words}

    def labels(self, photos, classes, *options):
        self.asked[options] += 1
        return [self.label(path, [self.meant.get(c, c) for c in classes]) for path in photos]

    def label(self, path, classes):
        kind = path.parents[1].name
        if kind not in FOLDERS:
            here = [classes.index(path.parent.name)] if path.parent.name in classes else []
            return np.full((64, 96), here[0] if here else OTHER, np.uint8)
        true = np.asarray(Image.open(label_files(self.data, Photo(kind, path.stem, path))[0]))
        found = np.full(true.shape, OTHER, np.uint8)
        for index, name in enumerate(classes):
            if name in NAMES[kind] and name not in self.blind:
                found[true == NAMES[kind].index(name)] = index
        return found


def test_halves_share_nothing_and_bsds_is_all_reported(data):
    for kind in ("voc", "coco", "ccp"):
        parts = [{p.stem for p in Held(data, part).photos(kind)} for part in (TUNING, REPORTING)]
        assert [len(part) for part in parts] == [4, 4] and not parts[0] & parts[1]
    assert len(Held(data).photos("bsds")) == 8 and not Held(data, TUNING).photos("bsds")
    assert "between annotators" not in evaluate.tables(Held(data, TUNING), None, None)
    things = [{p.stem for _, here in Held(data, part).single_things("grocery") for p in here} for part in (TUNING, "")]
    assert things[0] and things[1] and not things[0] & things[1]


@pytest.mark.parametrize("part", [TUNING, REPORTING])
def test_what_sees_all_has_full_marks(data, part):
    held, program = Held(data, part), Oracle(data)
    for kind in NAMES:
        assert evaluate.typed_names(held, program, kind) == {"photos": 4, "mean": 1, "95 %": [1, 1]}
        found = evaluate.all_names(held, program, kind, "--resolution", "fine")
        assert found["mIoU"] == found["pixel accuracy"] == 1 and found["mIoU, 95 %"] == [1, 1]
        assert found["photos"] == 4 and found["in five photos or more"] == 0
    assert program.asked["--no-distractors", "--threshold", "0", "--resolution", "fine"] == 3
    other = evaluate.with_other(held, program)
    assert other["mIoU"] == 1 and set(other["classes"]) == {"other", *NAMES["voc"][1:6]}
    assert other["names that occur"] == 5
    none = evaluate.false_labels(held, program, 2)
    assert (none["photos"], none["with false labels"], none["pixels, 95 %"]) == (4, 0, [0, 0])
    named = evaluate.named_things(held, program, "grocery")
    assert named["right of 20"] == named["right of 5"] == 1 and named["with false labels"] == 0


def test_what_is_not_seen_costs(data):
    held, program = Held(data), Oracle(data, blind=("cat", "dog"))
    found = evaluate.typed_names(held, program, "voc")
    low, high = found["95 %"]
    assert low <= found["mean"] < 0.95 and low < high
    closed = evaluate.all_names(held, program, "voc")
    assert closed["names that occur"] == 5 and closed["mIoU"] == round(3 / 5, 3)
    assert evaluate.all_names(held, Oracle(data), "voc")["mIoU"] == 1


def test_names_in_many_photos_have_a_row_of_their_own(data, monkeypatch):
    monkeypatch.setattr(evaluate, "OFTEN", 2)
    found = evaluate.all_names(Held(data), Oracle(data, blind=("cat", "person")), "voc")
    assert (found["names that occur"], found["in five photos or more"]) == (5, 3)
    assert found["mIoU"] == 0.6 and found["mIoU of the latter"] == 1 and found["mIoU of the latter, 95 %"] == [1, 1]


def test_odd_names_and_general_ones(data):
    held = Held(data)
    found = evaluate.odd_names(held, Oracle(data))
    assert set(found["cat"].values()) == {1.0} and found["cat"].keys() == {"cat", *ODD_NAMES["cat"]}
    assert set(found["on no list"]) == set(ODD_NAMES) and set(found["on no list"]["dog"].values()) == {1.0}
    assert set(found["nonsense"].values()) == {0.0}
    general = evaluate.general_names(held, Oracle(data), {"animal": ["pet", "cow"], "pet": ["cat", "dog"]})
    assert general["animal"]["its kinds typed"] == 1 and general["animal"]["IoU"] == 0
    assert general["pet"]["photos"] < general["animal"]["photos"]


def test_masks_and_boundaries(data):
    class Seer:
        """Masks of one half of every photo, and of the other."""

        def propose(self, image, crops):
            masks = torch.full((2, 16, 24), -1.0)
            masks[0, :, :10], masks[1, :, 10:] = 1, 1
            return SimpleNamespace(masks=masks)

    held = Held(data)
    found = {kind: evaluate.grouping(held, Seer(), kind) for kind in FOLDERS}
    assert [found[kind]["photos"] for kind in FOLDERS] == [4, 4, 4, 8]
    assert found["voc"]["mean best IoU"] == 0.857, "whole on the left, 40 of 56 columns on the right"
    assert found["coco"]["mean best IoU"] == 1, "what nobody labelled does not count"
    assert "boundary" not in found["voc"]
    assert 0.45 < found["bsds"]["boundary"]["recall"] < 0.55 and found["bsds"]["boundary"]["precision"] > 0.95
    assert evaluate.between_annotators(held)["boundary"]["F"] == 1


def test_a_table_that_is_not_there_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "Program", lambda path, bundle: Oracle(data))
    monkeypatch.setattr(evaluate, "Model", lambda bundle: None)
    out = tmp_path / "reports" / "made.json"
    with pytest.raises(SystemExit, match="no table odd-names; there are: typed names; "):
        evaluate.run(data, tmp_path, tmp_path, out, ["odd-names"])
    evaluate.run(data, tmp_path, tmp_path, out, ["false labels"])
    evaluate.run(data, tmp_path, tmp_path, out, ["voc with other"])
    assert set(json.loads(out.read_text())) == {"false labels", "voc with other"}


def test_words_on_no_list_are_on_none():
    listed = {*SYNONYMS, *(word for words in SYNONYMS.values() for word in words), *languages.translations(set())}
    for line in kinds.WORDS.strip().splitlines():
        listed |= {word.strip() for word in line.replace(":", ",").split(",")}
    listed |= set(hierarchy.words())
    words = [word for words in ON_NO_LIST.values() for word in words]
    assert ON_NO_LIST.keys() == ODD_NAMES.keys() and len(words) == len(set(words)) == 20
    assert not listed & set(words)
    assert not {word.lower() for words in ODD_NAMES.values() for word in words} & set(words)


def test_the_score_that_settings_are_chosen_by(data):
    """`tune` gives what the tables give, and its threshold is heard."""
    held = Held(data, TUNING)
    names = NAMES["voc"]
    rows = torch.eye(len(names))

    class Seer:
        def classes(self, typed):
            return Classes.plain(torch.stack([rows[names.index(n)] for (n,) in typed]), rows[:0], [n for (n,) in typed])

        def choice(self):
            return Choice(25.0, 0.3, 0.1)

    def seen(true, doubt=0.0):
        """A mask for each label; `doubt` is the logit of "nothing" on each."""
        values = np.unique(true)
        masks = torch.from_numpy(np.stack([np.where(true == v, 9.0, -9.0) for v in values])).float()
        background = torch.tensor([99.0 if v == 0 else doubt for v in values])
        return Proposals(masks, rows[values], background, list(range(len(values))), torch.zeros(0, len(names)))

    truths = [held.truth(photo) for photo in held.photos("voc")]
    sure = [(true, seen(true)) for true in truths]
    assert np.allclose(tune.typed_names(Seer(), data, "voc", sure, 0.3, (0.1, 0.5), 0.0), 1.0)
    doubtful = [(true, seen(true, 25.0)) for true in truths]
    low, high = tune.typed_names(Seer(), data, "voc", doubtful, 0.3, (0.1, 0.6), 0.0)
    assert low == pytest.approx(1.0) and high < 0.3
    assert tune.typed_names(Seer(), data, "voc", doubtful, 0.3, (0.6,), -20.0)[0] == pytest.approx(1.0)


def test_the_largest_classes_are_typed_with_some_that_are_not_there():
    true = np.zeros((10, 100), np.int32)
    for value, width in zip(range(1, 8), (30, 20, 15, 12, 8, 6, 1), strict=True):
        start = (true > 0).sum() // 10
        true[:, start : start + width] = value
    true[0, 95:] = 255
    typed = Typed.of(true, "voc", 20, np.random.default_rng(0))
    assert typed.values[:5] == [1, 2, 3, 4, 5] and typed.there == 5 and len(typed.values) == 8
    assert all(8 <= value < 20 for value in typed.values[5:])
    right = np.where(typed.wanted == 0, OTHER, typed.wanted - 1).astype(np.uint8)
    assert typed.score(right) == 1
    assert typed.score(np.where(right == 0, OTHER, right)) == pytest.approx((4 + 150 / 445) / 6, abs=0.02)


def test_only_what_never_saw_the_unseen_is_judged(tmp_path):
    assert set(UNSEEN) < set(WITHHELD)
    kept = {"withheld": list(WITHHELD), "start": None}
    assert never_taught(kept) == set(WITHHELD)
    refuse_if_taught(never_taught(kept), "a bundle")
    for told in (
        {"withheld": list(UNSEEN)},
        {"mean_of": [kept, {"withheld": ["couch"]}]},
        {**kept, "start": {"withheld": []}},
        {**kept, "image": {"withheld": ["sofa"]}},
    ):
        with pytest.raises(SystemExit, match=r"was not trained without .*(couch|tv)"):
            refuse_if_taught(never_taught(told), "a bundle")
    assert never_taught({"mean_of": [{**kept, "start": "the second"}, kept], "part_of_the_second": 0.5}) == set(
        WITHHELD
    )
    (tmp_path / "training.json").write_text(json.dumps({"withheld": list(UNSEEN)}))
    with pytest.raises(SystemExit, match="trained without couch: --withhold 'sheep,sofa,train,potted plant,tv,couch'"):
        protocol.run(tmp_path, tmp_path, tmp_path, tmp_path / "out.json")
    torch.save({"settings": {"withheld": list(UNSEEN)}}, tmp_path / "foil.pt")
    with pytest.raises(SystemExit, match=r"foil\.pt was not trained without couch"):
        protocol.run_foil(tmp_path, tmp_path, "foil")
