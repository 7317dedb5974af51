"""What a bundle says of its names."""

from zegformer_tools.lite.export import other_words


def test_other_words_of_what_was_taught() -> None:
    found = other_words(["dog", "couch"], {"sofa"}, {"hund": "dog", "welpe": "puppy", "kanapee": "settee"})
    assert found[:2] == ["dog", "puppy"]
    assert {"couch", "hund", "welpe"} <= set(found)
    # A word that is also one of what was withheld.
    assert not {"settee", "kanapee", "sofa"} & set(found)
    assert len(found) == len(set(found))
