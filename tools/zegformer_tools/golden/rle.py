"""Makes tests/golden/rle.json: masks with the run-length encodings that pycocotools gives them.

Run from the repository's root with numpy and pycocotools 2.0.11:

    python tools/zegformer_tools/golden/rle.py > tests/golden/rle.json
"""

import json

import numpy as np
from pycocotools import mask as coco


def masks() -> list[np.ndarray]:
    """Masks of many shapes: dense, sparse, blobs, lines, full, empty, one pixel, long runs."""
    rng = np.random.default_rng(3)
    made: list[np.ndarray] = [np.zeros((1, 1)), np.ones((1, 1)), np.zeros((7, 5)), np.ones((5, 7))]
    for height, width in [(1, 9), (9, 1), (4, 4), (8, 13), (31, 17), (40, 60)]:
        made += [rng.random((height, width)) < share for share in (0.05, 0.5, 0.95)]
    y, x = np.mgrid[:90, :120]
    made.append((x - 60) ** 2 + (y - 45) ** 2 < 900)
    made.append(((x - 60) ** 2 + (y - 45) ** 2 < 1600) & ((x - 60) ** 2 + (y - 45) ** 2 > 400))
    made.append((x // 8 + y // 8) % 2 == 0)
    long_runs = np.zeros((200, 150))
    long_runs[:, 20:120] = 1
    long_runs[100, 60] = 0
    made.append(long_runs)
    return [np.asarray(mask, dtype=np.uint8) for mask in made]


def entry(mask: np.ndarray) -> dict:
    encoded = coco.encode(np.asfortranarray(mask))
    return {
        "size": encoded["size"],
        "bits": np.packbits(mask.ravel()).tobytes().hex(),
        "counts": encoded["counts"].decode("ascii"),
        "area": int(coco.area(encoded)),
        "bbox": [int(v) for v in coco.toBbox(encoded)],
    }


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(entry(mask)) for mask in masks())
    print(f"[\n{lines}\n]")
