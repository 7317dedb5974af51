"""Strings that try a tokenizer: made from a fixed seed, nothing typed in by hand but the alphabets."""

from __future__ import annotations

import random

from .prompts import class_names, templates

LATIN = "abcdefghijklmnopqrstuvwxyz"
ACCENTS = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿčďěňřšťůžăîșțąęłńóśźżğıİşßẞœĿđħĸŋŧ"
GREEK = "αβγδεζηθικλμνξοπρσςτυφχψωΑΒΓΔΕΖΗΘΣΩάέήίόύώ"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяЁЖЩЯІЇЄҐ"
HEBREW_ARABIC = "אבגדהוזחטיכלמנסעפצקרשתابتثجحخدذرزسشصضطظعغفقكلمنهوي٠١٢٣٤"
CJK = "猫犬木水火山川人口日月東京中国語漢字天空地草花鳥魚車馬門雪雨風ひらがなカタカナ한국어고양이개나무"
INDIC = "अआइईउऊकखगघचछजतदनपबमयरलवशसहािीुूेैोौ्ंกขคงจชซดตถทนบปผพมยรลวสหอะาิีุู"
EMOJI = ["😀", "🐱", "🐶", "🌳", "🚗", "👩\u200d🚀", "👨\u200d👩\u200d👧", "🏳️\u200d🌈", "🇩🇪", "🇯🇵", "👍🏽", "❤️", "☃", "✈️", "🧑\u200d💻"]  # fmt: skip  # noqa: E501
DIGITS = "0123456789²³½¾①②Ⅳ٣५"
PUNCTUATION = "!\"#$%()*+,-./:;=?@[\\]^_`{|}~'…–—·•§©®™°±×÷€£¥"
SPACES = [" ", "  ", "\t", "\n", "\u00a0", "\u2003", "\r\n"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'", "''"]
COMBINING = "\u0301\u0300\u0308\u0303\u0327\u030a"
WIDE = "ＡＢＣａｂｃ０１９！？（）ｱｲｳｶﾞﾊﾟﾝｯー￥￡ﾡﾤ\u3000"
LIGATURES = "ﬁﬂﬃĳŉǆǋﬆ"
QUOTES = "‘’“”‚„"


def strings(count: int, seed: int = 20220420) -> list[str]:
    """`count` different strings: names in templates, words of every script, long ones, mixtures, the empty one."""
    rng = random.Random(seed)
    names = [*class_names("coco-stuff"), *class_names("ade-847")]
    patterns = [*templates("image"), *templates("query_select")]
    scripts = [LATIN, ACCENTS, GREEK, CYRILLIC, HEBREW_ARABIC, CJK, INDIC, WIDE, LATIN + LIGATURES]

    def word(alphabet: str, longest: int = 9) -> str:
        text = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, longest)))
        return rng.choice([text, text, text.upper(), text.title()])

    def prompt() -> str:
        return rng.choice(patterns).format(rng.choice(names))

    def name() -> str:
        return rng.choice([str.upper, str.title, str.lower, str.swapcase])(rng.choice(names))

    def sentence() -> str:
        alphabet = rng.choice(scripts)
        return rng.choice(SPACES).join(word(alphabet) for _ in range(rng.randint(1, 6)))

    def accented() -> str:
        return "".join(
            c + (rng.choice(COMBINING) if rng.random() < 0.3 else "") for c in word(LATIN + GREEK + CYRILLIC)
        )

    def emoji() -> str:
        return rng.choice(["", " "]).join([rng.choice(EMOJI) for _ in range(rng.randint(1, 4))] + [word(LATIN)])

    def mixture() -> str:
        parts = []
        for _ in range(rng.randint(1, 8)):
            parts.append(
                rng.choice(
                    [
                        word(LATIN), word(rng.choice(scripts), 4), rng.choice(DIGITS), rng.choice(PUNCTUATION),
                        rng.choice(SPACES), rng.choice(CONTRACTIONS), rng.choice(EMOJI), rng.choice(QUOTES),
                        str(rng.randint(0, 99999)),
                    ]
                )
            )  # fmt: skip
        return "".join(parts)

    def long() -> str:
        return " ".join(word(rng.choice(scripts)) for _ in range(rng.randint(20, 60)))

    def control() -> str:
        return word(LATIN) + rng.choice("\x00\x07\x0b\x0c\x1b\x7f\ufeff\u200b\u200d\u202e\ufffc") + word(LATIN)

    makers = [prompt] * 6 + [name] * 2 + [sentence] * 5 + [accented] * 2 + [emoji] * 2 + [mixture] * 6 + [control]
    found = dict.fromkeys(["", " ", "\n\t ", "'", "a", "A", "é", "e\u0301", "漢", "😀", "ΟΔΥΣΣΕΥΣ", "İstanbul"])
    found |= dict.fromkeys(long() for _ in range(60))
    while len(found) < count:
        found[rng.choice(makers)()] = None
    return list(found)[:count]
