"""The whole exporter: from checkpoint files to a bundle that gives the reference's label map."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from zegformer_tools.official.__main__ import main
from zegformer_tools.official.check import session, text_inputs
from zegformer_tools.official.cost import costs
from zegformer_tools.official.crops import binary_masks, masked_crops
from zegformer_tools.official.export import Order, export
from zegformer_tools.official.fusion import calibrate, fuse
from zegformer_tools.official.golden import CLASSES, SEEN, VOCABULARY, photos, tiny_reference, tiny_settings
from zegformer_tools.official.inference import compose, normalise, resize, upsample
from zegformer_tools.official.position import sine_position
from zegformer_tools.official.prompts import class_embeddings
from zegformer_tools.official.random_weights import random_checkpoint, random_clip
from zegformer_tools.official.shapes import BLOCKS, ClipShape, SegmenterShape
from zegformer_tools.official.tokenizer import token_ids

GOLDEN = Path(__file__).parents[3] / "tests" / "golden" / "official-tiny"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle")
    reference, tokenizer = tiny_reference()
    order = Order("tiny", tiny_settings(), "f32", "random weights", VOCABULARY)
    export(reference, tokenizer, out, order, say=lambda line: None)
    return out


def declared(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "bundle.json").read_text("utf-8"))
    return loaded


def test_every_file_is_declared_with_its_hash(bundle: Path) -> None:
    files = declared(bundle)["files"]
    assert set(files) == {path.name for path in bundle.iterdir()} - {"bundle.json"}
    for name, entry in files.items():
        data = (bundle / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_declared_settings(bundle: Path) -> None:
    found = declared(bundle)
    assert (found["format"], found["mode"], found["embedding"], found["other"]) == (1, "official", 32, None)
    assert found["pixels"]["resolutions"][found["pixels"]["default"]] == {"short": 64, "long": 256}
    assert found["segmenter"]["position"] == {"kind": "sine", "channels": 32, "temperature": 10000.0, "stride": 32}
    assert (found["text"]["attention"], found["text"]["pooling"], found["text"]["context"]) == ("causal", "eot", 77)
    assert len(found["templates"]["image"]) == 32
    classify = found["classify"]
    assert classify["seen"] == list(SEEN)
    assert classify["lambda"] == pytest.approx(2 / 3)
    assert (classify["ensembling"], classify["gamma"], classify["temperature"]) == ("split", 0.1, 100.0)


def test_vocabulary_rows_average_to_the_class_vectors(bundle: Path) -> None:
    """ "building, edifice" is stored as two names whose rows add up to the class."""
    reference, _ = tiny_reference()
    names = json.loads((bundle / "vocabulary.json").read_text("utf-8"))
    assert names == ["person", "building", "edifice", "tree"]
    for kind, patterns in (("query", tiny_settings().query_templates), ("image", tiny_settings().image_templates)):
        rows = torch.from_numpy(np.fromfile(bundle / f"vocabulary.{kind}.f16", "<f2").reshape(4, 32)).float()
        expected = reference.text(list(VOCABULARY), patterns)
        found = torch.stack((rows[0], rows[1:3].mean(dim=0), rows[3]))
        found = found / found.norm(dim=1, keepdim=True)
        assert torch.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["landscape", "portrait"])
def test_the_bundle_alone_gives_the_reference_label_map(bundle: Path, name: str) -> None:
    """Every number from the bundle's files; only the arithmetic between the graphs is shared with the reference."""
    found, chosen, photo = declared(bundle), tiny_settings(), photos()[name]
    reference, _ = tiny_reference()
    expected = reference.run(photo, list(CLASSES), chosen)
    resized = resize(photo, **found["pixels"]["resolutions"]["official"])
    pixels = normalise(resized, tuple(found["pixels"]["mean"]), tuple(found["pixels"]["std"]), 32)
    position = sine_position(pixels.shape[1] // 32, pixels.shape[2] // 32, found["segmenter"]["position"]["channels"])
    wanted = ["mask_logits", "segment_embeddings", "background_logits"]
    inputs = {"pixels": pixels[None].numpy(), "position": position.numpy()}
    masks, segments, background = map(torch.from_numpy, session(bundle / "segmenter.onnx").run(wanted, inputs))
    masks = upsample(masks[0], *pixels.shape[1:])
    clip_pixels = normalise(resized, tuple(found["image"]["mean"]), tuple(found["image"]["std"]), 32)
    crops = masked_crops(clip_pixels, binary_masks(masks), found["image"]["crop"])
    crop_rows = torch.from_numpy(session(bundle / "image.onnx").run(None, {"crops": crops.numpy()})[0])
    text = {kind: text_rows(bundle, found, found["templates"][kind]) for kind in ("query", "image")}
    factor = found["classify"]["temperature"]
    seen = torch.tensor([name in found["classify"]["seen"] for name in CLASSES])
    scores = fuse(
        factor * segments[0] @ text["query"].T, factor * crop_rows @ text["image"].T, background[0], seen,
        found["classify"]["ensembling"], found["classify"]["lambda"],
    )  # fmt: skip
    semantic = compose(scores, masks, resized.shape[:2], (photo.height, photo.width))
    labels = calibrate(semantic, seen, found["classify"]["gamma"]).argmax(dim=0).numpy()
    assert torch.allclose(scores, expected.scores, atol=1e-3)
    assert (labels == expected.labels).mean() > 0.999


def text_rows(bundle: Path, found: dict[str, Any], patterns: list[str]) -> torch.Tensor:
    text = found["text"]
    tokenizer = Tokenizer.from_file(str(bundle / text["tokenizer"]))
    tables = {
        kind: torch.from_numpy(np.fromfile(bundle / text[kind]["file"], "<f2").reshape(-1, text["width"])).float()
        for kind in ("table", "position")
    }
    graph = session(bundle / text["graph"])

    def encode(prompts: list[str]) -> torch.Tensor:
        ids = [token_ids(tokenizer, prompt, text["context"]) for prompt in prompts]
        inputs = text_inputs(tables["table"], tables["position"], ids, max(map(len, ids)))
        return torch.from_numpy(graph.run(["text_embeddings"], inputs)[0])

    return class_embeddings(CLASSES, patterns, encode)


def test_the_cost_of_a_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = costs(bundle, 131, 90)
    parts = ["segmenter, 96 x 64", "image branch, one crop", "text branch, one prompt of 16 tokens",
             "image branch, one pass with 12 masks"]  # fmt: skip
    assert list(found) == parts
    # Both of CLIP's graphs see 16 patches and a token; the one pass has 12 tokens more.
    assert 1 < found[parts[3]] / found[parts[1]] < 4
    assert main(["cost", str(bundle), "--size", "131", "90"]) == 0
    assert "GMAC" in capsys.readouterr().out


def test_golden_files_are_what_the_code_writes() -> None:
    """The committed tensors, recomputed: whoever changes the reference has to write them anew."""
    reference, _ = tiny_reference()
    result = reference.run(photos()["portrait"], list(CLASSES), tiny_settings())
    index = json.loads((GOLDEN / "portrait.json").read_text("utf-8"))
    data = (GOLDEN / "portrait.bin").read_bytes()

    def stored(name: str) -> np.ndarray:
        entry = index[name]
        kind = {"f32": np.dtype("<f4"), "u8": np.dtype("u1")}[entry["type"]]
        return np.frombuffer(data, kind, int(np.prod(entry["shape"])), entry["offset"]).reshape(entry["shape"])

    assert np.array_equal(stored("resized"), result.resized)
    assert np.allclose(stored("mask_logits"), result.segments.mask_logits.numpy(), atol=2e-3)
    assert np.allclose(stored("crop_embeddings"), result.crop_embeddings.numpy(), atol=1e-4)
    assert np.allclose(stored("scores_split"), result.scores.numpy(), atol=1e-3)
    onepass = reference.run(photos()["portrait"], list(CLASSES), tiny_settings(), "one-pass")
    assert np.allclose(stored("embeddings_onepass"), onepass.crop_embeddings.numpy(), atol=1e-4)
    fast = reference.run(photos()["portrait"], list(CLASSES), tiny_settings(), "fast")
    assert np.array_equal(stored("cropped_fast"), fast.cropped.numpy())
    assert (stored("labels_split") == result.labels).mean() > 0.999


SMALL = SegmenterShape(
    blocks=BLOCKS[50], width=2, conv_dim=32, hidden=16, feedforward=8, layers=2, queries=5, embedding=8
)
SMALL_CLIP = ClipShape(
    image_size=32, patch=16, vision_width=64, vision_layers=1, vision_heads=1, text_width=64, text_layers=1,
    text_heads=1, embedding=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.save({"model": random_checkpoint(1, SMALL)}, folder / "zegformer.pth")
    torch.save({key: value.half() for key, value in random_clip(2, SMALL_CLIP).items()}, folder / "clip.pt")
    return folder


def command(checkpoints: Path, out: Path, *more: str) -> int:
    files = ["--zegformer", str(checkpoints / "zegformer.pth"), "--clip", str(checkpoints / "clip.pt")]
    return main(["export", *files, "--out", str(out), "--vocabulary", "voc", *more])


def test_the_command(checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "zegformer-r50"
    assert command(checkpoints, out, "--backbone", "R50", "--dataset", "voc") == 0
    found = declared(out)
    assert (found["name"], found["classify"]["ensembling"]) == ("zegformer-r50", "image")
    assert "CC BY-NC" in found["licence"]
    assert "zegformer.pth (SHA-256" in found["source"]
    assert found["text"]["table"]["rows"] == 49408
    assert len(json.loads((out / "vocabulary.json").read_text("utf-8"))) == 20
    printed = capsys.readouterr().out
    assert "mask_logits 256x384" in printed
    assert "crop_embeddings" in printed


def test_labelling_by_the_reference(checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos()["portrait"].save(tmp_path / "photo.png")
    files = ["--zegformer", str(checkpoints / "zegformer.pth"), "--clip", str(checkpoints / "clip.pt")]
    ask = ["segment", *files, "--dataset", "voc", str(tmp_path / "photo.png"), "--classes", "cat, sofa | couch,dog"]
    assert main([*ask, "--out", str(tmp_path / "labels.png")]) == 0
    printed = capsys.readouterr().out
    assert "sofa, couch\n" in printed
    with Image.open(tmp_path / "labels.png") as labels:
        assert labels.size == (61, 83)
        assert set(np.unique(labels)) <= {0, 1, 2}
    assert main([*ask, "--compare", str(tmp_path / "labels.png")]) == 0
    assert "100.000 % of the pixels have the same class" in capsys.readouterr().out


def test_comparing_the_modes(checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, photo in photos().items():
        photo.save(tmp_path / f"{name}.png")
    files = ["--zegformer", str(checkpoints / "zegformer.pth"), "--clip", str(checkpoints / "clip.pt")]
    pictures = [str(tmp_path / "landscape.png"), str(tmp_path / "portrait.png")]
    assert main(["compare", *files, *pictures, "--classes", "cat, sofa | couch", "--short", "64"]) == 0
    printed = capsys.readouterr().out
    assert "fast, 2 photos:" in printed
    assert "one-pass, 2 photos:" in printed
    assert "0 of 5 crops" in printed


def test_the_command_says_what_is_wrong(checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(checkpoints, tmp_path / "a", "--backbone", "R101") == 1
    assert "has R50, not R101" in capsys.readouterr().err
    assert command(checkpoints, tmp_path / "b", "--dataset", "ade") == 1
    assert "--seen" in capsys.readouterr().err
    swapped = ["--zegformer", str(checkpoints / "clip.pt"), "--clip", str(checkpoints / "clip.pt")]
    assert main(["export", *swapped, "--out", str(tmp_path / "c")]) == 1
    assert "the ZegFormer checkpoint" in capsys.readouterr().err
