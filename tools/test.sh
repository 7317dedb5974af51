#!/usr/bin/env bash
# The Python tools' checks in an environment of their own, which is made when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ ! -x ../target/python/bin/pytest ]; then
    python3 -m venv ../target/python
    ../target/python/bin/pip install --quiet -e '.[lite,official,test]'
fi
../target/python/bin/ruff check .
../target/python/bin/ruff format --check --quiet .
../target/python/bin/mypy
../target/python/bin/pytest --quiet
