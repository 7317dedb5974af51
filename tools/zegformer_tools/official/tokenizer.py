"""CLIP's byte-pair encoding as a `tokenizers` JSON, made from the published merge list.

The original cleans its input with ftfy before it splits it. The JSON does what ftfy does to what people type:
Unicode composition (NFC), straight quotes, usual widths, no ligatures, no control characters. It does not undo HTML
entities or text decoded with the wrong encoding: such input gets other ids than OpenAI's tokenizer gives it.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from .charmap import LIGATURES, precompiled, widths

START = "<|startoftext|>"
END = "<|endoftext|>"
MERGES = 49152 - 256 - 2
"""CLIP uses this many of the merges in the published file."""

SPLIT = r"'s|'ſ|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""Contractions, runs of letters, single digits, runs of anything else; whitespace falls away. (ſ: the original
ignores case, and the long s is an s then.)"""


class VocabularyError(ValueError):
    """The merge list is missing or is not CLIP's."""


def merge_list(path: Path | None = None) -> list[str]:
    """CLIP's merges in order: from `path` (bpe_simple_vocab_16e6.txt.gz), else from the installed open_clip."""
    if path is None:
        spec = importlib.util.find_spec("open_clip")
        if spec is None or not spec.submodule_search_locations:
            raise VocabularyError("CLIP's BPE vocabulary: pip install open_clip_torch, or give its file")
        path = Path(spec.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz"
    if not path.is_file():
        raise VocabularyError(f"{path}: no such file")
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    merges = lines[1 : 1 + MERGES]  # the first line is a comment
    if len(merges) != MERGES or any(len(merge.split()) != 2 for merge in merges):
        raise VocabularyError(f"{path}: not CLIP's BPE vocabulary")
    return merges


def byte_alphabet() -> list[str]:
    """The character that stands for each byte, in the vocabulary's order: printable Latin-1 stands for itself and
    comes first; the others take the characters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = len(set(range(256)) - set(printable))
    return [chr(code) for code in printable] + [chr(256 + index) for index in range(others)]


def tokenizer_json(merges: list[str], context: int = 77) -> str:
    """The whole tokenizer as JSON. Fewer merges make a smaller tokenizer of the same kind."""
    letters = byte_alphabet()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    first, last = len(tokens), len(tokens) + 1
    vocabulary |= {START: first, END: last}
    data: dict[str, Any] = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": context, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [_special(first, START), _special(last, END)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": precompiled(LIGATURES | widths())},
                _replace("\x1b\\[[0-9;]*[a-zA-Z]", ""),
                _replace("[\u201c-\u201f]", '"'),
                _replace("[\u02bc\u2018-\u201b]", "'"),
                _replace("[\\x00-\\x08\\x0B\\x0E-\\x1F\\x7F\u206a-\u206f\ufeff\ufff9-\ufffc]", ""),
                {"type": "NFC"},
                # A capital sigma at the end of a word has a lower case of its own.
                _replace(r"(?<=[\p{Lu}\p{Ll}\p{M}])Σ(?!\p{M}*[\p{Lu}\p{Ll}])", "ς"),
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Removed", "invert": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": START, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": END, "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {
                START: {"id": START, "ids": [first], "tokens": [START]},
                END: {"id": END, "ids": [last], "tokens": [END]},
            },
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def load_tokenizer(text: str) -> Tokenizer:
    return Tokenizer.from_str(text)


def token_ids(tokenizer: Tokenizer, text: str, context: int) -> list[int]:
    """Start, the text's tokens, end; cut to `context` tokens with the end token kept."""
    ids: list[int] = tokenizer.encode(text).ids
    return ids if len(ids) <= context else ids[: context - 1] + ids[-1:]


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _special(index: int, content: str) -> dict[str, Any]:
    return {
        "id": index, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    }  # fmt: skip
