"""Which names are kinds of which."""

from zegformer_tools.lite.hierarchy import HOMONYMS, IMAGENET, below, direct
from zegformer_tools.lite.names import imagenet_names
from zegformer_tools.lite.synonyms import SYNONYMS

CLASSES = [names[0] for names in imagenet_names()]


def test_kinds_of_kinds_are_kinds():
    kinds = {"animal": ["pet", "bird"], "pet": ["cat", "bird"], "bird": ["owl", "animal"]}
    assert below(kinds, "animal") == ["pet", "bird", "cat", "owl"]
    assert below(kinds, "owl") == []


def test_every_range_of_imagenet_is_what_it_says():
    kinds = direct(CLASSES)
    assert len(CLASSES) == 1000
    for name, kind in (
        ("bird", "goldfinch"),
        ("bird", "albatross"),
        ("dog", "mexican hairless"),
        ("cat", "egyptian cat"),
        ("big cat", "cheetah"),
        ("snake", "sidewinder"),
        ("spider", "wolf spider"),
        ("monkey", "indri"),
        ("insect", "lycaenid"),
        ("frog", "tailed frog"),
        ("turtle", "box turtle"),
    ):
        assert kind in below(kinds, name), (name, kind)
    animals = set(below(kinds, "animal"))
    assert {CLASSES[at] for at in range(398)} - animals == set(HOMONYMS)
    others = {CLASSES[at] for at in range(398, 1000)}
    assert others & animals == {"amphibian"}, "the vehicle has the animals' name"
    assert all(first <= last < 398 for ranges in IMAGENET.values() for first, last in ranges)


def test_no_link_is_told_twice():
    kinds = direct(CLASSES)
    for name in ("animal", "mammal", "vehicle", "clothing"):
        for kind in kinds[name]:
            assert not any(kind in below(kinds, other) for other in kinds[name])


def test_no_kind_is_another_word_for_something_else():
    kinds = direct(CLASSES)
    words = {word: name for name, others in SYNONYMS.items() for word in others}
    for name, found in kinds.items():
        for kind in found:
            meant = words.get(kind)
            assert meant is None or kind in kinds or kind in below(kinds, meant), (name, kind, meant)
