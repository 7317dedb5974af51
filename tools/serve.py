"""python3 tools/serve.py PORT: serves dist/ to this machine, with the headers by which a page may have threads."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIST = Path(__file__).parents[1] / "dist"


class Isolating(SimpleHTTPRequestHandler):
    """Serves files, isolated from other origins."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), partial(Isolating, directory=str(DIST))).serve_forever()
