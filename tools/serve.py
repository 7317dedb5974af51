"""python3 tools/serve.py PORT: serves dist/ to this machine, with the headers by which a page may have threads and
its workers send nothing anywhere."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# As in index.html, which does not bind the page's workers.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; style-src 'self'; "
    "connect-src 'self'; worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'"
)
DIST = Path(__file__).parents[1] / "dist"


class Isolating(SimpleHTTPRequestHandler):
    """Serves files, isolated from other origins."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), partial(Isolating, directory=str(DIST))).serve_forever()
