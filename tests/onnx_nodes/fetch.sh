#!/bin/sh
# Brings the ONNX project's own tests of operators to target/onnx-nodes, out of its package on PyPI (pinned by hash).
# Run from anywhere; takes a moment when they are there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/target
wanted=$(sha256sum "$0" | cut -d ' ' -f 1)
if [ "$(cat "$target/onnx-nodes/.fetched" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
rm -rf "$target/onnx-nodes.new"
mkdir -p "$target/onnx-nodes.new/package"
cd "$target/onnx-nodes.new"
echo "onnx==1.22.0 --hash=sha256:955e02e1f6d385b53d52f9cd7b9cdf5caf417c300bcfe3c64c6d542be763845b" >requirements.txt
# One file for every machine and Python: nothing of it is run.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --platform manylinux_2_28_x86_64 --python-version 312 --implementation cp --abi abi3 --dest package \
    --requirement requirements.txt
python3 - package/onnx-*.whl <<'PYTHON'
import os, sys, zipfile
prefix = "onnx/backend/test/data/node/"
with zipfile.ZipFile(sys.argv[1]) as package:
    for name in package.namelist():
        parts = name[len(prefix):].split("/")
        if name.startswith(prefix) and parts[-1] and ".." not in parts:
            os.makedirs(os.path.dirname(os.path.join(*parts)), exist_ok=True)
            with open(os.path.join(*parts), "wb") as file:
                file.write(package.read(name))
PYTHON
rm -r package requirements.txt
echo "$wanted" >.fetched
rm -rf "$target/onnx-nodes"
mv "$target/onnx-nodes.new" "$target/onnx-nodes"
