"""A made-up folder of data sets, and a text space over its names."""

import json

import numpy as np
import pytest
from PIL import Image

from zegformer_tools.lite.data import is_held_out, training_names
from zegformer_tools.lite.names import EMBEDDING, TextSpace


def stems(kind: str, count: int) -> list[str]:
    """Names of photos that are trained on."""
    return [s for s in (f"{kind}{i}" for i in range(50)) if not is_held_out(s)][:count]


@pytest.fixture
def data(tmp_path):
    """Two photos a set: red on the left, labelled 1, and blue on the right, labelled 2."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :40, 0], pixels[:, 40:, 2] = 200, 200
    labels = np.ones((64, 96), np.uint8)
    labels[:, 40:] = 2
    named = {
        "voc": ["background", "dog", "cat"],
        "coco": ["sky", "dog", "table"],
        "ccp": ["background", "hat", "coat"],
    }
    for kind, folder in (("voc", "masks"), ("coco", "semantic"), ("ccp", "masks"), ("bsds", "segments")):
        (tmp_path / kind / "images").mkdir(parents=True)
        (tmp_path / kind / folder).mkdir()
        if kind in named:
            (tmp_path / kind / "classes.json").write_text(json.dumps(named[kind]))
        for stem in stems(kind, 2):
            Image.fromarray(pixels).save(tmp_path / kind / "images" / f"{stem}.png")
            name = f"{stem}_1" if kind == "bsds" else stem
            Image.fromarray(labels).save(tmp_path / kind / folder / f"{name}.png")
    things = [{"id": i, "isthing": i == 1} for i in range(3)]
    (tmp_path / "coco" / "class_info.json").write_text(json.dumps(things))
    for kind, name in (("caltech101", "ibis"), ("grocery", "person")):
        (tmp_path / kind / name).mkdir(parents=True)
        (tmp_path / kind / "classes.json").write_text(json.dumps({name: name}))
        for stem in stems(kind, 2):
            Image.fromarray(pixels).save(tmp_path / kind / name / f"{stem}.png")
    return tmp_path


@pytest.fixture
def space(data):
    """Every name has an axis of its own."""
    found = TextSpace(np.zeros(EMBEDDING))
    rows = np.eye(EMBEDDING, dtype=np.float32)
    words = [*training_names(data)[0], "kettle", "thing"]
    found._known = {word: rows[i] for i, word in enumerate(words)}
    found.vectors = lambda names: np.stack([found._known.setdefault(n, rows[len(found._known)]) for n in names])
    return found
