"""Golden files: a tiny bundle of the official architecture with every stage's tensors, and strings with token ids."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ftfy
import numpy as np
import torch
from PIL import Image

from . import settings as published
from .check import drawn_crops
from .checkpoint import load_clip, load_segmenter
from .crops import binary_masks, boxes, masked_crops
from .export import Order, export, temperature
from .fusion import calibrate, fuse
from .inference import MASK_STRIDE, Mode, Reference, Result, compose, normalise, upsample
from .onepass import mask_bias, squash
from .photo import drawn_photo
from .prompts import fill, templates
from .random_weights import random_checkpoint, random_clip, spread, spread_clip
from .settings import Settings, settings
from .shapes import TINY_CLIP, TINY_MERGES, TINY_SEGMENTER
from .strings import strings
from .tokenizer import load_tokenizer, merge_list, token_ids, tokenizer_json

CLASSES = ("cat", "grass", "dog, puppy", "sky-other", "wall-concrete", "Röhre")
SEEN = ("cat", "sky-other", "person")
VOCABULARY = ("person", "building, edifice", "tree")
"""Names with ready vectors; none of the classes, so that those go through the text graph."""

SHORT, LONG = 64, 256
GAMMA = 0.1
SEED = 89


def tiny_settings() -> Settings:
    """The COCO-Stuff settings at a tenth of the size, with few names and templates."""
    return replace(
        settings("coco-stuff"),
        dataset="golden",
        short=SHORT,
        long=LONG,
        gamma=GAMMA,
        query_templates=templates("query_select")[:3],
        classes=CLASSES,
        seen=SEEN,
    )


def tiny_reference(seed: int = SEED) -> tuple[Reference, str]:
    """The tiny networks with random weights, and their tokenizer's JSON.

    Word vectors and positions are rounded to f16, as the bundle stores them: what remains is rounding in f32.
    """
    weights = random_checkpoint(seed, TINY_SEGMENTER)
    pixels = np.asarray(photos()["landscape"])
    spread(weights, TINY_SEGMENTER, normalise(pixels, published.PIXEL_MEAN, published.PIXEL_STD, 32)[None])
    segmenter = load_segmenter(weights, TINY_SEGMENTER)
    state = random_clip(seed + 1, TINY_CLIP)
    for key in ("token_embedding.weight", "positional_embedding"):
        state[key] = state[key].half().float()
    spread_clip(state, TINY_CLIP, drawn_crops(TINY_CLIP.image_size, 8))
    tokenizer = tokenizer_json(merge_list()[:TINY_MERGES], TINY_CLIP.context)
    clip = load_clip(state, TINY_CLIP)
    return Reference(segmenter, clip, load_tokenizer(tokenizer)), tokenizer


def photos() -> dict[str, Image.Image]:
    """One that shrinks and is padded at the right, one that grows and is padded below."""
    return {"landscape": drawn_photo(131, 90, 3), "portrait": drawn_photo(61, 83, 4)}


def write_golden(out: Path, photo: Path | None = None) -> None:
    """Writes bundle, photos and tensors into `out`; `photo` takes the place of the drawn landscape."""
    out.mkdir(parents=True, exist_ok=True)
    reference, tokenizer = tiny_reference()
    chosen = tiny_settings()
    order = Order(
        name="official-tiny",
        settings=chosen,
        encoding="f32",
        source=f"random weights, seed {SEED}",
        vocabulary=VOCABULARY,
    )
    export(reference, tokenizer, out / "bundle", order, say=lambda line: None)
    cases = photos()
    if photo is not None:
        cases["landscape"] = Image.open(photo).convert("RGB")
    for name, image in cases.items():
        image.save(out / f"{name}.png", optimize=True)
        result = reference.run(image, list(CLASSES), chosen)
        Tensors(stages(reference, result, image, chosen)).write(out / name)
        if name == "landscape":
            Tensors(handmade(reference, result)).write(out / "handmade")
    facts = {
        "classes": [name.split(", ") for name in CLASSES],
        "typed": ", ".join(name.replace(", ", " | ") for name in CLASSES),
        "seen": [name in SEEN for name in CLASSES],
        "short": SHORT,
        "long": LONG,
        "gamma": GAMMA,
        "lambda": chosen.weight,
        "temperature": temperature(reference),
        "photos": {name: f"{name}.png" for name in cases},
        "prompts": [
            {"text": prompt, "ids": token_ids(reference.tokenizer, prompt, TINY_CLIP.context)}
            for name in CLASSES
            for prompt in fill(name, chosen.query_templates)
        ],
    }
    lines = ",\n".join(f' "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in facts.items())
    (out / "facts.json").write_text("{\n" + lines + "\n}\n", "utf-8")
    words = {kind: reference.text(list(VOCABULARY), patterns) for kind, patterns in _branches(chosen).items()}
    Tensors({f"vocabulary_{kind}": rows.numpy() for kind, rows in words.items()}).write(out / "words")


def _branches(chosen: Settings) -> dict[str, tuple[str, ...]]:
    return {"query": chosen.query_templates, "image": chosen.image_templates}


def stages(reference: Reference, result: Result, photo: Image.Image, chosen: Settings) -> dict[str, np.ndarray]:
    """Every stage of one photo under stable names."""
    seen = torch.tensor([name in chosen.seen for name in CLASSES])
    background = result.segments.background_logits[0]
    found: dict[str, np.ndarray] = {
        "resized": result.resized,
        "pixels": result.pixels.numpy(),
        "clip_pixels": result.clip_pixels.numpy(),
        "mask_logits": result.segments.mask_logits.numpy(),
        "segment_embeddings": result.segments.embeddings.numpy(),
        "background_logits": result.segments.background_logits.numpy(),
        "boxes": result.boxes.numpy(),
        "crops": result.crops.numpy(),
        "crop_embeddings": result.crop_embeddings.numpy(),
        "query_text": result.query_text.numpy(),
        "image_text": result.image_text.numpy(),
        "query_logits": result.query_logits.numpy(),
        "image_logits": result.image_logits.numpy(),
    }
    for kind in ("split", "all", "image", "query"):
        scores = fuse(result.query_logits, result.image_logits, background, seen, kind, chosen.weight)
        semantic = compose(scores, result.masks, result.resized.shape[:2], (photo.height, photo.width))
        semantic = calibrate(semantic, seen, chosen.gamma)
        found[f"scores_{kind}"] = scores.numpy()
        found[f"labels_{kind}"] = semantic.argmax(dim=0).numpy().astype(np.uint8)
        if kind == chosen.ensembling:
            found["semantic"] = semantic.numpy()
    modes: dict[str, Mode] = {"fast": "fast", "onepass": "one-pass"}
    for name, mode in modes.items():
        other = reference.run(photo, list(CLASSES), chosen, mode, known=result)
        found[f"scores_{name}"] = other.scores.numpy()
        found[f"labels_{name}"] = other.labels.astype(np.uint8)
        if mode == "fast":
            found["cropped_fast"] = other.cropped.numpy().astype(np.uint8)
        else:
            found["embeddings_onepass"] = other.crop_embeddings.numpy()
            inner = [side / MASK_STRIDE for side in result.resized.shape[:2]]
            bias = mask_bias(result.segments.mask_logits[0], (inner[0], inner[1]), reference.clip.shape.grid)
            found["mask_bias"] = bias.numpy()
            found["squashed"] = squash(photo, reference.clip.shape.image_size).numpy()
    return found


def handmade(reference: Reference, result: Result) -> dict[str, np.ndarray]:
    """Masks that a random network does not find, on one photo's grid: two bodies, a corner, a speck of four pixels,
    a long strip, nothing at all; with their boxes and crops."""
    _, height, width = result.clip_pixels.shape
    rows, columns = height // 4, width // 4
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    logits = np.full((6, rows, columns), -5, np.float32)
    logits[0] = 4 - (x - 7) ** 2 / 6 - (y - 9) ** 2 / 3
    logits[1] = 3 - (x - 17) ** 2 / 20 - (y - 4) ** 2 / 2
    logits[2] = 6 - x - y
    logits[3, 8, 12] = 3
    logits[4, 11, 2:21] = 2
    masks = upsample(torch.from_numpy(logits), height, width)
    binary = binary_masks(masks)
    return {
        "clip_pixels": result.clip_pixels.numpy(),
        "mask_logits": logits[None],
        "boxes": boxes(binary).numpy(),
        "crops": masked_crops(result.clip_pixels, binary, reference.clip.shape.image_size).numpy(),
    }


KINDS = {np.dtype(np.uint8): "u8", np.dtype(np.float32): "f32"}


class Tensors:
    """Named arrays in one file: NAME.bin holds them one after the other, little-endian; NAME.json says where."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def write(self, path: Path) -> None:
        index: dict[str, Any] = {}
        content = b""
        for name, array in self.arrays.items():
            content += b"\0" * (-len(content) % 4)
            index[name] = {"type": KINDS[array.dtype], "shape": list(array.shape), "offset": len(content)}
            content += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        path.with_suffix(".bin").write_bytes(content)
        lines = ",\n".join(f' "{name}": {json.dumps(entry)}' for name, entry in index.items())
        path.with_suffix(".json").write_text("{\n" + lines + "\n}\n", "utf-8")


def clean_strings(count: int) -> list[str]:
    """Strings without those that ftfy takes for text decoded with the wrong encoding: it rewrites them, and a
    tokenizer's JSON cannot."""
    return [text for text in strings(count) if ftfy.fix_encoding(text) == text]


def write_token_golden(out: Path, count: int) -> None:
    """clip_tokenizer.json, and clip_tokens.jsonl: one ["text", [ids]] a line, start and end tokens included.

    The ids come from open_clip's SimpleTokenizer (OpenAI's code), not from our JSON.
    """
    from open_clip.tokenizer import SimpleTokenizer

    oracle = SimpleTokenizer()
    out.mkdir(parents=True, exist_ok=True)
    (out / "clip_tokenizer.json").write_text(tokenizer_json(merge_list()), "utf-8")
    rows = []
    for text in clean_strings(count):
        ids = [oracle.sot_token_id, *oracle.encode(text), oracle.eot_token_id]
        rows.append(json.dumps([text, ids[:76] + ids[-1:] if len(ids) > 77 else ids], ensure_ascii=False,
                               separators=(",", ":")))  # fmt: skip
    (out / "clip_tokens.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    print(f"{out}: {len(rows)} strings")


def margins(semantic: np.ndarray) -> np.ndarray:
    """Per pixel, how far the winning class is ahead of the next."""
    ordered = np.sort(semantic, axis=0)
    return ordered[-1] - ordered[-2]
