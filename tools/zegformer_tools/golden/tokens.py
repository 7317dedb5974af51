"""Makes tests/golden/minilm_tokens.jsonl: texts with the ids that the Python tokenizers package gives them.

One ["text", [ids]] a line, start and end tokens included, nothing cut off. Run from the repository's root with
tokenizers 0.23:

    python tools/zegformer_tools/golden/tokens.py tests/golden/minilm_tokenizer.json > tests/golden/minilm_tokens.jsonl
"""

import json
import random
import sys

from tokenizers import Tokenizer

NAMES = """person;traffic light;potted plant;tv/monitor;wall-concrete;playingfield;hot dog;t-shirt;wine glass;
    teddy bear;Afghan hound;crème brûlée;jalapeño;façade;smörgåsbord;Röhre;œuf;naïve café;Łódź;São Paulo;
    İstanbul;ΟΔΥΣΣΕΥΣ;ẞ;ﬁre ﬂame;ＦＵＬＬ　ＷＩＤＴＨ;Ⅷ;½ cup;x²;№ 5;东京塔;ラーメン;김치찌개;한옥;ข้าวผัด;кошка;собака;
    قطة;כלב;बिल्ली;பூனை;😀;👩‍🚀;👨‍👩‍👧‍👦;🇩🇪 flag;❤️;☕ cup;1️⃣;rock'n'roll;dog's;mother-in-law;a.b.c;50%;$100;C++;#tag;
    @home;a/b\\c;«cat»;“cat”;cat…;cat—dog;[MASK];[CLS] cat;[UNK];##ing;antidisestablishmentarianism;
    pneumonoultramicroscopicsilicovolcanoconiosis;supercalifragilisticexpialidocious"""
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "àéîöüñçßøåæœÀÉÎÖÜÑÇẞØÅÆŒ",
    "0123456789",
    " .,;:!?'\"-_/()[]{}<>|@#$%^&*+=~`",
    "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "日月火水木金土犬猫人山川雪語漢",
    "あいうえおカキクケコタナ",
    "가나다라마바사아자차",
    "ابتثجحخدذرزسشصضطظعغفقك",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "กขคงจฉชซญดตถทนบปผพ",
    "अआइईउऊएऐओऔकखगघ",
    "😀😺🐶🐱🚗🌲🏠👍🏽🎉",
    "\u0301\u0308\u0327\u200d\u200b\ufe0f\u00a0\u3000\u00ad",
]


def texts() -> list[str]:
    dice = random.Random(377)
    made = [
        "",
        " ",
        "\n\t ",
        "a",
        "A",
        "'",
        ".",
        "e\u0301",
        "é",
        "\u0301",
        "\u200b",
        "\ufeff",
        "\ufffd",
        "\x00",
        "a\x07b",
    ]
    names = [name.strip() for name in NAMES.split(";")]
    for template in ("{}", "a photo of a {}.", "There is a masked {} in the scene"):
        made += [template.replace("{}", name) for name in names]
    made += ["cat " * 300, "x" * 99, "x" * 100, "x" * 101, "word" * 500, "猫" * 200, "😺" * 150]
    while len(made) < 900:
        pieces = []
        for _ in range(dice.randint(1, 8)):
            alphabet = dice.choice(ALPHABETS)
            pieces.append("".join(dice.choice(alphabet) for _ in range(dice.randint(1, 12))))
        made.append(dice.choice(["", " "]).join(pieces))
    return made


if __name__ == "__main__":
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in texts():
        print(json.dumps([text, tokenizer.encode(text).ids], ensure_ascii=False, separators=(",", ":")))
