"""Settings of the published evaluations: sizes, ensembling, calibration, prompts, class lists."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .fusion import LAMBDA, Ensembling
from .prompts import class_names, templates

PIXEL_MEAN = (123.675, 116.280, 103.530)
PIXEL_STD = (58.395, 57.120, 57.375)
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_STD = (68.5005327, 66.6321579, 70.3231630)
STRIDE = 32


@dataclass(frozen=True)
class Settings:
    """How one evaluation of a checkpoint is run."""

    dataset: str
    short: int
    long: int
    ensembling: Ensembling
    gamma: float  # 0 is off
    query_templates: tuple[str, ...]
    classes: tuple[str, ...]
    seen: tuple[str, ...]
    weight: float = LAMBDA

    @property
    def image_templates(self) -> tuple[str, ...]:
        """The image branch has the same 32 templates everywhere."""
        return templates("image")


DATASETS = ("coco-stuff", "voc", "ade", "847")


def settings(dataset: str, backbone: str = "R101", seen: tuple[str, ...] | None = None) -> Settings:
    """The evaluation `dataset` of the checkpoint with `backbone`.

    `ade` (a model trained on 572 of ADE20K-Full's 847 names) needs its list of seen names from the caller: the
    list is in the official repository only.
    """
    if dataset == "coco-stuff":
        chosen = Settings(
            dataset, 640, 2560, "split", 0.1, templates("query_single"),
            class_names("coco-stuff"), class_names("coco-stuff-seen"),
        )  # fmt: skip
    elif dataset == "voc":
        # The published R50 setting has neither ensembling nor calibration.
        split = backbone != "R50"
        chosen = Settings(
            dataset, 512, 2048, "split" if split else "image", 0.1 if split else 0.0, templates("query_single"),
            class_names("voc"), class_names("voc-seen"),
        )  # fmt: skip
    elif dataset == "ade":
        if seen is None:
            raise ValueError("dataset ade: give the seen names (--seen FILE, a JSON list of the 572 names)")
        chosen = Settings(dataset, 512, 2048, "split", 0.0, templates("query_select"), class_names("ade-847"), seen)
    elif dataset == "847":
        # The COCO-Stuff checkpoint on names it was not trained for: CLIP alone decides.
        chosen = Settings(dataset, 640, 2560, "image", 0.0, templates("query_select"), class_names("ade-847"), ())
    else:
        raise ValueError(f"unknown dataset {dataset!r}; known are {', '.join(DATASETS)}")
    return chosen if seen is None else replace(chosen, seen=seen)
