"""tokenizer.json against OpenAI's tokenizer as open_clip carries it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Tokenizer, normalizers

from zegformer_tools.official.charmap import LIGATURES, precompiled, widths
from zegformer_tools.official.golden import clean_strings
from zegformer_tools.official.strings import strings
from zegformer_tools.official.tokenizer import (
    VocabularyError,
    load_tokenizer,
    merge_list,
    token_ids,
    tokenizer_json,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(tokenizer_json(merge_list()))


@pytest.fixture(scope="module")
def oracle() -> SimpleTokenizer:
    return SimpleTokenizer()


def test_ten_thousand_strings(tokenizer: Tokenizer, oracle: SimpleTokenizer) -> None:
    texts = clean_strings(10_500)
    assert len(texts) > 10_000
    wrong = []
    for text in texts:
        expected = [oracle.sot_token_id, *oracle.encode(text), oracle.eot_token_id]
        if len(expected) > 77:
            expected = expected[:76] + expected[-1:]
        if token_ids(tokenizer, text, 77) != expected:
            wrong.append(text)
    assert not wrong, f"{len(wrong)}, e.g. {wrong[:3]}"


def test_the_strings_cover_what_they_should() -> None:
    texts = strings(10_500)
    assert len(set(texts)) == len(texts) == 10_500
    assert texts == strings(10_500), "the same every time"
    assert "" in texts
    assert max(map(len, texts)) > 200
    joined = "".join(texts)
    for sample in [
        "é",
        "ß",
        "猫",
        "ひ",
        "한",
        "ا",
        "א",
        "ก",
        "Σ",
        "Ж",
        "😀",
        "🇩🇪",
        "“",
        "'ll",
        "Ａ",
        "ﬁ",
        "ｶﾞ",
        "e\u0301",
        "\u200d",
        "\x07",
    ]:
        assert sample in joined, repr(sample)


def test_known_ids(tokenizer: Tokenizer) -> None:
    assert token_ids(tokenizer, "a photo of a cat", 77) == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert token_ids(tokenizer, "", 77) == [49406, 49407]
    assert tokenizer.token_to_id("<|endoftext|>") == 49407


def test_widths_and_ligatures(tokenizer: Tokenizer) -> None:
    assert token_ids(tokenizer, "ｃａｔ", 77) == [49406, 2368, 49407]
    assert token_ids(tokenizer, "ＣＡＴ\u3000cat", 77) == [49406, 2368, 2368, 49407]
    assert token_ids(tokenizer, "ﬁsh", 77) == token_ids(tokenizer, "fish", 77)
    assert token_ids(tokenizer, "ｶﾞ", 77) == token_ids(tokenizer, "ガ", 77)


def test_every_character_of_the_table_is_replaced() -> None:
    table = LIGATURES | widths()
    normaliser = normalizers.Precompiled(base64.b64decode(precompiled(table)))
    for character, usual in table.items():
        assert normaliser.normalize_str(character) == usual
        assert normaliser.normalize_str(f"a{character}b") == f"a{usual}b"
    for code in [*range(0x20, 0x3000, 7), 0x4E00, 0xFF00, 0xFFF0, 0x1F600]:
        if chr(code) not in table:
            assert normaliser.normalize_str(chr(code)) == chr(code)


def test_long_texts_keep_their_end_token(tokenizer: Tokenizer) -> None:
    ids = token_ids(tokenizer, "cat " * 200, 77)
    assert (len(ids), ids[0], ids[-1], set(ids[1:-1])) == (77, 49406, 49407, {2368})
    assert token_ids(tokenizer, "cat cat cat cat", 4) == [49406, 2368, 2368, 49407]


def test_fewer_merges_make_a_smaller_vocabulary() -> None:
    text = tokenizer_json(merge_list()[:100])
    small = load_tokenizer(text)
    assert small.get_vocab_size() == 512 + 100 + 2
    assert max(token_ids(small, "a photo of the 猫", 77)) == 613
    assert json.loads(text)["model"]["end_of_word_suffix"] == "</w>"


def test_another_file_is_refused(tmp_path: Path) -> None:
    import gzip

    other = tmp_path / "other.gz"
    other.write_bytes(gzip.compress(b"#version\na b\n"))
    with pytest.raises(VocabularyError, match="not CLIP's BPE vocabulary"):
        merge_list(other)
    with pytest.raises(VocabularyError, match="no such file"):
        merge_list(tmp_path / "nothing.gz")
