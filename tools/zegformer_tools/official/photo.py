"""A drawn picture with photo-like statistics, for checks that may not depend on any file."""

from __future__ import annotations

import numpy as np
from PIL import Image


def drawn_photo(width: int, height: int, seed: int = 7) -> Image.Image:
    """Sky, ground, a few bright bodies and noise, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / np.array([[[max(height, 1)]], [[max(width, 1)]]])
    image = np.stack((90 + 80 * y, 140 + 40 * y, 220 - 120 * y), axis=2)
    image[y > 0.6 + 0.05 * np.sin(9 * x)] = (70, 120, 50)
    for _ in range(6):
        cx, cy, rx, ry = rng.uniform((0.1, 0.2, 0.05, 0.05), (0.9, 0.9, 0.2, 0.25))
        body = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        image[body] = rng.uniform(20, 240, 3) + 25 * np.sin(40 * x[body] * rng.uniform(0.5, 2))[:, None]
    image += rng.normal(0, 6, image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8), "RGB")
