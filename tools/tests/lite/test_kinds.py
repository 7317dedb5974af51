from collections.abc import Sequence

import numpy as np

from zegformer_tools.lite.kinds import NEAR, WORDS, kinds
from zegformer_tools.lite.languages import translations
from zegformer_tools.lite.names import TextSpace, unit


class Apart(TextSpace):
    """Every name has an axis of its own, but "steed", which shares that of "horse"."""

    def __init__(self) -> None:
        super().__init__(np.zeros(1))
        self.axes = {"horse": 0}

    def vectors(self, names: Sequence[str]) -> np.ndarray:
        for name in names:
            self.axes.setdefault(name, self.axes["horse"] if name == "steed" else len(self.axes))
        return np.eye(1000, dtype=np.float32)[[self.axes[name] for name in names]]


def test_a_kind_lies_between_its_word_and_its_name() -> None:
    space = Apart()
    found = kinds(space, {"van"})
    word, name = space.vectors(["heifer", "cow"])
    assert np.allclose(found["heifer"], unit(word + name))
    assert found["heifer"] @ name > NEAR, "the silent name gives way"
    assert "van" not in found, "taught as a name of its own"
    assert "steed" not in found, "near enough already"


def test_no_kind_belongs_to_two_names_or_hides_a_foreign_word() -> None:
    meant: dict[str, str] = {}
    for line in WORDS.strip().splitlines():
        name, words = line.split(":")
        for word in words.split(","):
            assert meant.setdefault(word.strip(), name) == name
    foreign = translations(set())
    assert {w: meant[w] for w in meant if w in foreign} == {w: foreign[w] for w in meant if w in foreign}
