"""A table of characters to replace, in the form of the `tokenizers` library's Precompiled normaliser.

That is SentencePiece's form: the size of a trie, the trie, the replacements. The trie is a double array of 32-bit units
(darts-clone): from a node with base b, the byte c leads to the unit at b ^ c, which has c as its label; a node where a
key ends keeps its value at b itself.
"""

from __future__ import annotations

import base64
import struct
import unicodedata
from collections.abc import Mapping

LEAF = 1 << 8
VALUE = 1 << 31
OFFSET_SHIFT = 10

# What ftfy takes apart: ligatures and digraphs of Latin letters.
LIGATURES = {
    "Ĳ": "IJ", "ĳ": "ij", "ŉ": "'n", "Ǳ": "DZ", "ǲ": "Dz", "ǳ": "dz", "Ǆ": "DŽ", "ǅ": "Dž", "ǆ": "dž", "Ǉ": "LJ",
    "ǈ": "Lj", "ǉ": "lj", "Ǌ": "NJ", "ǋ": "Nj", "ǌ": "nj", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl",
    "ﬅ": "ſt", "ﬆ": "st",
}  # fmt: skip


def widths() -> dict[str, str]:
    """Full-width and half-width forms with their usual forms (Unicode's compatibility mapping of that block)."""
    pairs = ((chr(code), unicodedata.normalize("NFKC", chr(code))) for code in range(0xFF01, 0xFFF0))
    return {"\u3000": " "} | {character: usual for character, usual in pairs if usual != character}


def precompiled(table: Mapping[str, str]) -> str:
    """The normaliser's `precompiled_charsmap`, in Base64."""
    text, values = b"", {}
    for key, replacement in table.items():
        values[key.encode()] = len(text)
        text += replacement.encode() + b"\0"
    units = _double_array(values)
    trie = struct.pack(f"<{len(units)}I", *units)
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + text).decode("ascii")


def _double_array(values: Mapping[bytes, int]) -> list[int]:
    units: dict[int, int] = {0: 0}
    bases: set[int] = set()

    def place(at: int, prefix: bytes, keys: list[bytes]) -> None:
        """Gives the node at `at`, which all of `keys` pass through, a base, and places its children."""
        children: dict[int, list[bytes]] = {}
        for key in keys:
            if key != prefix:
                children.setdefault(key[len(prefix)], []).append(key)
        ends = prefix in values
        wanted = [0, *children] if ends else list(children)
        base = 1
        while base in bases or any((base ^ label) in units for label in wanted):
            base += 1
        bases.add(base)
        units[at] |= (at ^ base) << OFFSET_SHIFT
        if ends:
            units[at] |= LEAF
            units[base] = values[prefix] | VALUE
        for label in children:
            units[base ^ label] = label
        for label, below in children.items():
            place(base ^ label, prefix + bytes([label]), below)

    place(0, b"", sorted(values))
    # Any byte may be looked up from any base: the array reaches to the end of the last base's block.
    size = (max([*units, *bases]) | 0xFF) + 1
    return [units.get(index, VALUE) for index in range(size)]
