"""The command-line program, run on photos: what is measured is what users get."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


class Program:
    """`zegformer segment` with a bundle. `path`: the program, as built by `cargo build --release`."""

    def __init__(self, path: Path, bundle: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there: build it with `./build.sh build && cargo build --release`")
        self.path, self.bundle = path, bundle

    def labels(self, photos: Sequence[Path], classes: Sequence[str], *options: str) -> list[np.ndarray]:
        """Of each photo the label map: index of the class from 0, 255 = other."""
        with tempfile.TemporaryDirectory() as folder:
            command = [str(self.path), "segment", *map(str, photos), "--classes", "; ".join(classes)]
            command += ["--model", str(self.bundle), "--out", folder, "--labels", "--quiet", *options]
            subprocess.run(command, check=True)
            return [np.asarray(Image.open(Path(folder) / f"{photo.stem}.labels.png")) for photo in photos]
