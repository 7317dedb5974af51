"""Class names to class embeddings: synonyms, templates, ensembling."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from importlib import resources

import torch
from torch import Tensor

Encode = Callable[[list[str]], Tensor]
"""Prompts to unit rows [N, D]."""


@functools.cache
def templates(kind: str) -> tuple[str, ...]:
    """The official templates: `query_single`, `query_select` (8) or `image` (32)."""
    return tuple(_data("templates.json")[kind])


@functools.cache
def class_names(name: str) -> tuple[str, ...]:
    """Class names of `coco-stuff` (171), `coco-stuff-seen` (156), `voc`, `voc-seen` or `ade-847`."""
    return tuple(_data("classes.json")[name])


def synonyms(name: str) -> list[str]:
    """ "building, edifice" are two names of one class."""
    return name.split(", ")


def fill(name: str, patterns: Sequence[str]) -> list[str]:
    """Every template with every synonym."""
    return [pattern.format(synonym) for synonym in synonyms(name) for pattern in patterns]


def class_embeddings(names: Sequence[str], patterns: Sequence[str], encode: Encode) -> Tensor:
    """[N, D] unit rows: the normalised mean of the unit embeddings of all prompts of a class."""
    prompts = [fill(name, patterns) for name in names]
    flat = encode([prompt for group in prompts for prompt in group])
    rows = []
    for group in prompts:
        mean = flat[: len(group)].mean(dim=0)
        flat = flat[len(group) :]
        rows.append(mean / mean.norm())
    return torch.stack(rows)


def _data(file: str) -> dict[str, list[str]]:
    text = resources.files(__package__).joinpath("data", file).read_text("utf-8")
    loaded: dict[str, list[str]] = json.loads(text)
    return loaded
