"""Prompts, fusion and calibration on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from zegformer_tools.official.fusion import calibrate, fuse, probabilities
from zegformer_tools.official.prompts import class_embeddings, class_names, fill, synonyms, templates
from zegformer_tools.official.settings import DATASETS, settings

HALF, QUARTER, EIGHTH = math.log(0.5), math.log(0.25), math.log(0.125)
SEEN = torch.tensor([True, True, False])
# The softmax of these logarithms gives the numbers back: three classes and the background sum to one.
QUERY = torch.tensor([[HALF, EIGHTH, EIGHTH]])
IMAGE = torch.tensor([[EIGHTH, HALF, EIGHTH]])
BACKGROUND = torch.tensor([QUARTER])


def test_background_takes_part_and_is_dropped() -> None:
    assert torch.allclose(probabilities(QUERY, BACKGROUND), torch.tensor([[0.5, 0.125, 0.125]]))


def test_query_and_image_alone() -> None:
    query = fuse(QUERY, IMAGE, BACKGROUND, SEEN, "query")
    image = fuse(QUERY, IMAGE, BACKGROUND, SEEN, "image")
    assert torch.allclose(query, torch.tensor([[0.5, 0.125, 0.125]]))
    assert torch.allclose(image, torch.tensor([[0.125, 0.5, 0.125]]))


def test_split_averages_seen_classes_in_the_image_branch() -> None:
    mean = (0.125 + 0.5) / 2
    expected = [0.5 ** (2 / 3) * mean ** (1 / 3), 0.125 ** (2 / 3) * mean ** (1 / 3), 0.125]
    found = fuse(QUERY, IMAGE, BACKGROUND, SEEN, "split")[0].tolist()
    assert found == pytest.approx(expected, rel=1e-5)


def test_all_treats_every_class_as_unseen() -> None:
    expected = [0.5 ** (1 / 3) * 0.125 ** (2 / 3), 0.125 ** (1 / 3) * 0.5 ** (2 / 3), 0.125]
    found = fuse(QUERY, IMAGE, BACKGROUND, SEEN, "all")[0].tolist()
    assert found == pytest.approx(expected, rel=1e-5)


def test_split_without_seen_classes_is_all() -> None:
    nothing = torch.zeros(3, dtype=torch.bool)
    split = fuse(QUERY, IMAGE, BACKGROUND, nothing, "split")
    assert torch.allclose(split, fuse(QUERY, IMAGE, BACKGROUND, nothing, "all"))


def test_another_lambda() -> None:
    found = fuse(QUERY, IMAGE, BACKGROUND, SEEN, "all", weight=0.25)[0, 0].item()
    assert found == pytest.approx(0.5**0.75 * 0.125**0.25, rel=1e-5)


def test_unknown_ensembling_is_named() -> None:
    with pytest.raises(ValueError, match="'both'"):
        fuse(QUERY, IMAGE, BACKGROUND, SEEN, "both")  # type: ignore[arg-type]


def test_calibration_takes_gamma_off_seen_classes() -> None:
    scores = torch.tensor([0.5, 0.45, 0.42])[:, None, None].expand(3, 2, 2)
    found = calibrate(scores, SEEN, 0.1)
    assert found[:, 0, 0].tolist() == pytest.approx([0.4, 0.35, 0.42])
    assert found.argmax(dim=0).unique().tolist() == [2]
    assert torch.equal(calibrate(scores, SEEN, 0.0), scores)


def test_prompts_of_a_class_with_synonyms() -> None:
    assert synonyms("building, edifice") == ["building", "edifice"]
    assert synonyms("wall-other") == ["wall-other"]
    assert fill("building, edifice", ["a {}.", "the {}"]) == [
        "a building.",
        "the building",
        "a edifice.",
        "the edifice",
    ]


def test_class_embedding_is_the_mean_of_unit_vectors() -> None:
    table = {"a x": [1.0, 0.0], "the x": [0.0, 1.0], "a y": [0.6, 0.8], "the y": [0.6, 0.8], "a z": [0.0, 1.0],
             "the z": [1.0, 0.0]}  # fmt: skip
    asked: list[str] = []

    def encode(prompts: list[str]) -> torch.Tensor:
        asked.extend(prompts)
        return torch.tensor([table[prompt] for prompt in prompts])

    found = class_embeddings(["x", "y, z"], ["a {}", "the {}"], encode)
    assert asked == ["a x", "the x", "a y", "the y", "a z", "the z"]
    mean = torch.tensor([(0.6 + 0.6 + 0 + 1) / 4, (0.8 + 0.8 + 1 + 0) / 4])
    assert torch.allclose(found[0], torch.tensor([0.5, 0.5]) / math.sqrt(0.5))
    assert torch.allclose(found[1], mean / mean.norm())


def test_published_lists() -> None:
    assert (len(templates("query_single")), len(templates("query_select")), len(templates("image"))) == (1, 8, 32)
    coco, seen = class_names("coco-stuff"), class_names("coco-stuff-seen")
    assert (len(coco), len(seen), len(class_names("ade-847"))) == (171, 156, 847)
    assert set(seen) < set(coco)
    assert set(class_names("voc")) - set(class_names("voc-seen")) == {
        "potted plant", "sheep", "sofa", "train", "tvmonitor"
    }  # fmt: skip


def test_published_settings() -> None:
    coco = settings("coco-stuff")
    assert (coco.short, coco.long, coco.ensembling, coco.gamma) == (640, 2560, "split", 0.1)
    assert coco.weight == pytest.approx(2 / 3)
    assert settings("voc", "R50").ensembling == "image"
    assert settings("voc", "R101").gamma == 0.1
    assert (settings("847").ensembling, settings("847").gamma) == ("image", 0.0)
    with pytest.raises(ValueError, match="--seen"):
        settings("ade")
    assert settings("ade", seen=("wall",)).seen == ("wall",)
    with pytest.raises(ValueError, match="pascal"):
        settings("pascal")
    assert len(DATASETS) == 4
