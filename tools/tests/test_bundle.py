"""bundle.json: files with sizes and hashes."""

import hashlib
import json

from zegformer_tools import bundle


def test_files_follow_embedding_with_size_and_hash(tmp_path):
    (tmp_path / "b.bin").write_bytes(b"two")
    (tmp_path / "a.bin").write_bytes(b"one!")
    bundle.write(tmp_path, {"format": 1, "embedding": 3, "mode": "lite"}, ["b.bin", "a.bin"])
    found = json.loads((tmp_path / "bundle.json").read_text())
    assert list(found) == ["format", "embedding", "files", "mode"]
    assert list(found["files"]) == ["a.bin", "b.bin"]
    assert found["files"]["a.bin"] == {"bytes": 4, "sha256": hashlib.sha256(b"one!").hexdigest()}
