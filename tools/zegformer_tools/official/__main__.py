"""python -m zegformer_tools.official export | segment | compare | cost | golden | tokens | random"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image

from . import checkpoint as checkpoints
from . import settings as published
from .agreement import compare, opened
from .check import drawn_crops
from .cost import costs
from .export import VOCABULARIES, Order, export
from .golden import write_golden, write_token_golden
from .inference import Mode, Reference, normalise
from .photo import drawn_photo
from .prompts import class_names
from .random_weights import random_checkpoint, random_clip, spread, spread_clip
from .settings import DATASETS, Settings, settings
from .shapes import BLOCKS, ClipShape, SegmenterShape
from .tokenizer import load_tokenizer, merge_list, tokenizer_json


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zegformer_tools.official", description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for PyTorch")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    make = commands.add_parser("export", help="a bundle for the page from the two checkpoints")
    _add_checkpoints(make)
    make.add_argument("--out", type=Path, required=True, help="the bundle's folder, e.g. models/zegformer-r101")
    make.add_argument("--name", help="the bundle's name; the folder's by default")
    make.add_argument("--encoding", choices=("f16", "int8", "f32"), default="f16")
    make.add_argument("--vocabulary", default="coco-stuff,ade-847",
                      help=f"name lists with ready vectors: some of {','.join(VOCABULARIES)}, or none")  # fmt: skip
    make.set_defaults(run=_export)

    label = commands.add_parser("segment", help="label one photo by the reference, to compare the page with")
    _add_checkpoints(label)
    label.add_argument("photo", type=Path)
    label.add_argument("--classes", required=True, help='names as one types them: "cat, sofa | couch"')
    label.add_argument("--mode", choices=get_args(Mode), default="official")
    label.add_argument("--out", type=Path, help="the label map: a PNG whose values are the classes' numbers")
    label.add_argument("--compare", type=Path, help="another label map of the same photo and classes, e.g. the page's")
    label.set_defaults(run=_segment)

    beside = commands.add_parser("compare", help="how far the label maps of fast and one-pass agree with the official")
    _add_checkpoints(beside)
    beside.add_argument("photos", type=Path, nargs="+")
    beside.add_argument("--classes", required=True, help='names as one types them: "cat, sofa | couch"')
    beside.add_argument("--short", type=int, help="short side in pixels, to save time; the dataset's by default")
    beside.add_argument("--modes", nargs="+", choices=("fast", "one-pass"), default=["fast", "one-pass"])
    beside.set_defaults(run=_compare)

    cost = commands.add_parser("cost", help="the multiplications of a bundle's graphs for a photo of some size")
    cost.add_argument("bundle", type=Path)
    cost.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    cost.set_defaults(run=_cost)

    gold = commands.add_parser("golden", help="a tiny bundle with every stage's tensors, for parity tests")
    gold.add_argument("--out", type=Path, required=True)
    gold.add_argument("--photo", type=Path, help="drawn by default")
    gold.set_defaults(run=_golden)

    tokens = commands.add_parser("tokens", help="strings with CLIP's token ids, for the tokenizer's tests")
    tokens.add_argument("--out", type=Path, required=True, help="a folder")
    tokens.add_argument("--count", type=int, default=10_500)
    tokens.set_defaults(run=lambda options: write_token_golden(options.out, options.count))

    noise = commands.add_parser("random", help="randomly initialised checkpoints with the official names and sizes")
    noise.add_argument("--backbone", choices=[f"R{depth}" for depth in BLOCKS], default="R101")
    noise.add_argument("--seed", type=int, default=0)
    noise.add_argument("--out", type=Path, required=True, help="a folder for zegformer.pth and clip.pt")
    noise.set_defaults(run=_random)
    return parser


def _add_checkpoints(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--zegformer", type=Path, required=True, help="the official .pth file")
    parser.add_argument("--clip", type=Path, help="OpenAI's ViT-B-16.pt, or open_clip's weights of the same model; "
                        "may be left out if the ZegFormer file has CLIP inside")  # fmt: skip
    parser.add_argument("--backbone", choices=[f"R{depth}" for depth in BLOCKS],
                        help="what the checkpoint must have; found out by default")  # fmt: skip
    parser.add_argument("--dataset", choices=DATASETS, default="coco-stuff", help="whose evaluation settings to use")
    parser.add_argument("--seen", type=Path, help="a JSON list of the names seen in training")
    parser.add_argument("--bpe", type=Path, help="bpe_simple_vocab_16e6.txt.gz; from open_clip_torch by default")


def _load(options: argparse.Namespace) -> tuple[Reference, str, Settings]:
    """The networks, the tokenizer's JSON and the settings that the options ask for."""
    state = checkpoints.read_state(options.zegformer)
    segmenter = checkpoints.load_segmenter(state)
    if options.backbone not in (None, segmenter.shape.backbone):
        raise ValueError(f"{options.zegformer} has {segmenter.shape.backbone}, not {options.backbone}")
    clip = checkpoints.load_clip(checkpoints.read_state(options.clip) if options.clip else state)
    if clip.shape.embedding != segmenter.shape.embedding:
        raise ValueError(
            f"CLIP's embeddings are {clip.shape.embedding} wide, the segmenter's {segmenter.shape.embedding}: "
            "ZegFormer was trained with ViT-B/16"
        )
    seen = tuple(json.loads(options.seen.read_text("utf-8"))) if options.seen else None
    chosen = settings(options.dataset, segmenter.shape.backbone, seen)
    tokenizer = tokenizer_json(merge_list(options.bpe), clip.shape.context)
    return Reference(segmenter, clip, load_tokenizer(tokenizer)), tokenizer, chosen


def _export(options: argparse.Namespace) -> None:
    reference, tokenizer, chosen = _load(options)
    lists = [] if options.vocabulary == "none" else options.vocabulary.split(",")
    unknown = set(lists) - set(VOCABULARIES)
    if unknown:
        raise ValueError(f"unknown vocabulary {', '.join(sorted(unknown))}; known are {', '.join(VOCABULARIES)}, none")
    order = Order(
        name=options.name or options.out.name,
        settings=chosen,
        encoding=options.encoding,
        source="; ".join(_origin(file) for file in (options.zegformer, options.clip) if file)
        + "; https://github.com/dingjiansw101/ZegFormer, https://github.com/openai/CLIP",
        vocabulary=tuple(name for kind in lists for name in class_names(kind)),
        resolutions=(("fast", chosen.short // 2, chosen.long // 2),),
    )
    export(reference, tokenizer, options.out, order)


def _segment(options: argparse.Namespace) -> None:
    reference, _, chosen = _load(options)
    names = _typed(options.classes)
    labels = reference.run(opened(options.photo), names, chosen, options.mode).labels
    for index, name in enumerate(names):
        print(f"{index:3} {100 * (labels == index).mean():6.2f} % {name}")
    if options.out:
        Image.fromarray(labels.astype(np.uint8)).save(options.out)
    if options.compare:
        with Image.open(options.compare) as file:
            other = np.asarray(file)
        if other.shape != labels.shape:
            raise ValueError(f"{options.compare} is {other.shape}, the reference's label map {labels.shape}")
        print(f"{100 * (other == labels).mean():.3f} % of the pixels have the same class")


def _compare(options: argparse.Namespace) -> None:
    reference, _, chosen = _load(options)
    if options.short:
        chosen = replace(chosen, short=options.short, long=4 * options.short)
    compare(reference, options.photos, _typed(options.classes), chosen, options.modes)


def _cost(options: argparse.Namespace) -> None:
    for part, billions in costs(options.bundle, *options.size).items():
        # Two operations each; 1 TFLOP/s makes 500 of them a second.
        print(f"{part:<44} {billions:9.2f} GMAC {billions * 2:9.1f} ms at 1 TFLOP/s")


def _typed(classes: str) -> list[str]:
    """Classes as the networks' lists name them: synonyms with a comma between."""
    return [", ".join(word.strip() for word in name.split("|")) for name in classes.split(",")]


def _origin(file: Path) -> str:
    with file.open("rb") as content:
        return f"{file.name} (SHA-256 {hashlib.file_digest(content, 'sha256').hexdigest()})"


def _golden(options: argparse.Namespace) -> None:
    write_golden(options.out, options.photo)


def _random(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    shape = SegmenterShape(blocks=BLOCKS[int(options.backbone[1:])])
    state = random_checkpoint(options.seed, shape)
    pixels = np.asarray(drawn_photo(320, 256))
    spread(state, shape, normalise(pixels, published.PIXEL_MEAN, published.PIXEL_STD, published.STRIDE)[None])
    torch.save({"model": state}, options.out / "zegformer.pth")
    clip = random_clip(options.seed + 1)
    spread_clip(clip, ClipShape(), drawn_crops(ClipShape().image_size, 4))
    torch.save(clip, options.out / "clip.pt")


if __name__ == "__main__":
    sys.exit(main())
