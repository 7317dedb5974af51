"""What every bundle's files have in common: sizes, hashes, bundle.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def entry(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of one file, as `files` in bundle.json lists them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def write(folder: Path, settings: Mapping[str, Any], files: Iterable[str]) -> None:
    """Writes `folder/bundle.json`: the settings and, after "embedding", every file's entry."""
    listed = {name: entry(folder / name) for name in sorted(files)}
    bundle: dict[str, Any] = {}
    for key, value in settings.items():
        bundle[key] = value
        if key == "embedding":
            bundle["files"] = listed
    bundle.setdefault("files", listed)
    text = json.dumps(bundle, ensure_ascii=False, indent=1)
    (folder / "bundle.json").write_text(text + "\n", "utf-8")
