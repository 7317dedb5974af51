"""Writes a complete bundle for the page: graphs, tables, tokenizer, ready vocabulary, bundle.json; and checks it."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import write
from . import settings as published
from .check import Checker, Stage, judge, session
from .clip_graphs import image_graph, text_graph
from .graph import Graph, Weight
from .inference import MASK_STRIDE, Reference
from .onepass_graph import onepass_graph
from .pack import Encoding, halved, store, store_beside, table_bytes
from .position import TEMPERATURE
from .prompts import class_names, fill, synonyms
from .segmenter_graph import segmenter_graph
from .settings import Settings

LICENCE = (
    "ZegFormer's weights: CC BY-NC 4.0 (non-commercial use, with attribution: Ding, Xue, Xia and Dai, CVPR 2022); "
    "CLIP's weights: MIT (OpenAI)"
)
VOCABULARIES = ("coco-stuff", "ade-847", "voc")
IMAGE_BATCH = 8
ONE_PASS = "image.onepass.onnx"
VOCABULARY_FILES = ("vocabulary.json", "vocabulary.query.f16", "vocabulary.image.f16")


@dataclass(frozen=True)
class Order:
    """What to export, and how."""

    name: str
    settings: Settings
    encoding: Encoding
    source: str
    vocabulary: tuple[str, ...] = class_names("coco-stuff")
    resolutions: tuple[tuple[str, int, int], ...] = ()  # name, short, long; beside "official"


def export(reference: Reference, tokenizer: str, out: Path, order: Order, say: Callable[[str], None] = print) -> None:
    """Writes the bundle into `out` (made if missing). Raises CheckError if a graph disagrees with the reference."""
    out.mkdir(parents=True, exist_ok=True)
    checker = Checker(reference)
    files: list[str] = []
    plain = partial(store, folder=out, encoding=order.encoding)
    # The one-pass graph has the weights of the crops' graph, which keeps them in files of their own for both.
    beside = partial(store_beside, folder=out, encoding=order.encoding, lender="image.onnx")
    makers: list[tuple[str, Callable[[], Graph], Callable[..., list[Stage]], Callable[..., list[str]]]] = [
        ("segmenter.onnx", lambda: segmenter_graph(reference.segmenter), checker.segmenter, plain),
        ("image.onnx", lambda: image_graph(reference.clip), checker.image, partial(plain, apart=True)),
        (ONE_PASS, lambda: onepass_graph(reference.clip), checker.onepass, beside),
        ("text.onnx", lambda: text_graph(reference.clip), checker.text, plain),
    ]
    for file, make, check, keep in makers:
        started = time.monotonic()
        graph = make()
        _judged(f"{file}, f32", check(session(graph)), "f32", say)
        written = keep(graph=graph, file=file)
        files += written
        del graph
        gc.collect()
        if order.encoding != "f32":
            _judged(f"{file}, {order.encoding}", check(session(out / file)), order.encoding, say)
        size = sum((out / name).stat().st_size for name in written)
        say(f"{file}: {size / 1e6:.1f} MB in {len(written)} file(s), {time.monotonic() - started:.0f} s")
    files += _tables(reference, out, order.encoding)
    (out / "tokenizer.json").write_text(tokenizer, "utf-8")
    files.append("tokenizer.json")
    files += _vocabulary(reference, out, order, say)
    _write_bundle(reference, out, order, files)
    total = sum((out / name).stat().st_size for name in files)
    say(f"{out}: {len(files) + 1} files, {total / 1e6:.1f} MB")


def _judged(title: str, stages: list[Stage], encoding: Encoding, say: Callable[[str], None]) -> None:
    say(title)
    for stage in stages:
        say(f"  {stage.line()}")
    judge(stages, encoding)


def _tables(reference: Reference, out: Path, encoding: Encoding) -> list[str]:
    clip = reference.clip
    (out / "tokens.bin").write_bytes(table_bytes(clip.token_embedding.weight.numpy(), encoding))
    (out / "positions.bin").write_bytes(table_bytes(clip.positional_embedding.numpy(), "f16"))
    return ["tokens.bin", "positions.bin"]


def _vocabulary(reference: Reference, out: Path, order: Order, say: Callable[[str], None]) -> list[str]:
    """Vectors of common names for both branches, so that the page needs no text encoder for them.

    A row is the mean over the templates at its own length, not brought to length 1: so the mean of several names'
    rows is the mean over all their prompts, which is what a class with synonyms is.
    """
    if not order.vocabulary:
        return []
    names = list(dict.fromkeys(part for name in order.vocabulary for part in synonyms(name)))
    started = time.monotonic()
    kinds = {"query": order.settings.query_templates, "image": order.settings.image_templates}
    for kind, patterns in kinds.items():
        matrix = np.zeros((len(names), reference.clip.shape.embedding), np.float32)
        for index, name in enumerate(names):
            matrix[index] = reference.encode_text(fill(name, patterns)).mean(dim=0).numpy()
            if (index + 1) % 100 == 0:
                say(f"vocabulary, {kind} branch: {index + 1} of {len(names)} names")
        (out / f"vocabulary.{kind}.f16").write_bytes(halved(kind, Weight(matrix)).astype("<f2").tobytes())
    (out / "vocabulary.json").write_text(json.dumps(names, ensure_ascii=False, indent=0) + "\n", "utf-8")
    say(f"vocabulary: {len(names)} names, {time.monotonic() - started:.0f} s")
    return list(VOCABULARY_FILES)


def _write_bundle(reference: Reference, out: Path, order: Order, files: list[str]) -> None:
    segmenter, clip, chosen = reference.segmenter.shape, reference.clip.shape, order.settings
    resolutions = {"official": {"short": chosen.short, "long": chosen.long}}
    resolutions |= {name: {"short": short, "long": long} for name, short, long in order.resolutions}
    table_encoding = "int8" if order.encoding == "int8" else "f16"
    bundle: dict[str, Any] = {
        "format": 1,
        "name": order.name,
        "description": (
            f"ZegFormer, {segmenter.backbone} backbone, with CLIP; settings of the {chosen.dataset} evaluation"
        ),
        "licence": LICENCE,
        "source": order.source,
        "mode": "official",
        "embedding": clip.embedding,
        "pixels": {
            "mean": list(published.PIXEL_MEAN),
            "std": list(published.PIXEL_STD),
            "stride": published.STRIDE,
            "default": "official",
            "resolutions": resolutions,
        },
        "segmenter": {
            "graph": "segmenter.onnx",
            "encoding": order.encoding,
            "queries": segmenter.queries,
            "mask_stride": MASK_STRIDE,
            "position": {
                "kind": "sine",
                "channels": segmenter.hidden,
                "temperature": TEMPERATURE,
                "stride": published.STRIDE,
            },
        },
        "image": {
            "graph": "image.onnx",
            "encoding": order.encoding,
            "crop": clip.image_size,
            "mean": list(published.CLIP_MEAN),
            "std": list(published.CLIP_STD),
            "batch": IMAGE_BATCH,
            "sampling": "roi_align",
            "one_pass": {"graph": ONE_PASS, "grid": clip.grid},
        },
        "text": {
            "graph": "text.onnx",
            "encoding": order.encoding,
            "tokenizer": "tokenizer.json",
            "context": clip.context,
            "width": clip.text_width,
            "table": {"file": "tokens.bin", "encoding": table_encoding, "rows": clip.vocabulary},
            "position": {"file": "positions.bin", "encoding": "f16", "rows": clip.context},
            "attention": "causal",
            "pooling": "eot",
        },
        "templates": {"query": list(chosen.query_templates), "image": list(chosen.image_templates)},
        "classify": {
            "temperature": temperature(reference),
            "lambda": chosen.weight,
            "gamma": chosen.gamma,
            "ensembling": chosen.ensembling,
            "seen": list(chosen.seen),
        },
        "other": None,
        "vocabulary": dict(zip(("names", "query", "image"), VOCABULARY_FILES)) if order.vocabulary else None,
    }
    write(out, bundle, files)


def temperature(reference: Reference) -> float:
    """The one factor from cosine to logit that a bundle has: both branches must agree on it."""
    query, image = reference.segmenter.temperature, reference.clip.temperature
    if abs(query - image) > 1e-3 * image:
        raise ValueError(f"the branches' temperatures differ: logit_scale gives {query}, CLIP's gives {image}")
    return round(image, 3)
