from zegformer_tools.lite.languages import WORDS, translations


def test_words_of_other_languages() -> None:
    found = translations({"cat", "lion", "rock", "boot"})
    assert found["katze"] == "cat"
    assert found["chat"] == "cat"
    assert found["hut"] == "hat"
    # English has these words.
    assert not {"lion", "rock", "boot", ""} & set(found)


def test_no_word_stands_for_two_names() -> None:
    meant: dict[str, str] = {}
    for line in WORDS.strip().splitlines():
        name, words = line.split(":")
        for word in {w.strip().lower() for w in words.replace(";", ",").split(",")} - {""}:
            assert meant.setdefault(word, name) == name
