"""python -m zegformer_tools.lite cache|train|export|evaluate"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main() -> None:
    parser = argparse.ArgumentParser(prog="zegformer_tools.lite", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("cache", "train", "image", "export", "evaluate"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True, help="folder of the data sets")
        command.add_argument("--cache", type=Path, default=Path("lite_cache"), help="features, checkpoints")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="the bundle's folder")
        if name == "evaluate":
            command.add_argument("--bundle", type=Path, required=True)
            command.add_argument("--tune", action="store_true", help="scores of settings on the tuning half")
            command.add_argument("--protocol", action="store_true", help="VOC seen, unseen, harmonic mean")
        if name in ("train", "export"):
            command.add_argument("--name", default="lite", help="of the checkpoint")
        if name == "train":
            command.add_argument("--minutes", type=float, default=40.0)
            command.add_argument("--withhold", default="", help="names never taught, by commas")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.command == "cache":
        from . import cache

        cache.build(options.data, options.cache)
    elif options.command == "train":
        from . import train

        withheld = {n.strip() for n in options.withhold.split(",") if n.strip()}
        train.run(options.data, options.cache, options.name, options.minutes, withheld)
    elif options.command == "image":
        from . import image

        image.run(options.data, options.cache)
    elif options.command == "export":
        from . import export

        export.run(options.data, options.cache, options.out, options.name)
    elif options.command == "evaluate":
        from . import evaluate

        if options.protocol:
            evaluate.protocol(options.data, options.bundle)
        elif options.tune:
            evaluate.tune(options.data, options.bundle)
        else:
            evaluate.run(options.data, options.cache, options.bundle)


if __name__ == "__main__":
    main()
