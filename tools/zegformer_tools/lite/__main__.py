"""python -m zegformer_tools.lite cache|train|image|export|names|tune|evaluate"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

PROGRAM = Path(__file__).parents[3] / "target/release/zegformer"


def main() -> None:
    parser = argparse.ArgumentParser(prog="zegformer_tools.lite", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("cache", "train", "image", "export", "names", "tune", "evaluate"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True, help="folder of the data sets")
        command.add_argument("--cache", type=Path, default=Path("lite_cache"), help="features, checkpoints, reports")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="the bundle's folder")
            command.add_argument("--encoding", choices=("int8", "f16"), default="int8", help="of the weights")
            command.add_argument("--mix-with", help="a checkpoint or a bundle that shares its start")
            command.add_argument("--part", type=float, default=0.5, help="of the weights, for the one mixed in")
            command.add_argument("--background", type=float, default=0.0, help="added to the background's logits")
        if name in ("names", "tune", "evaluate"):
            command.add_argument("--bundle", type=Path, required=name != "evaluate")
        if name == "evaluate":
            command.add_argument("--program", type=Path, default=PROGRAM, help="the command-line program")
            command.add_argument("--only", action="append", default=[], help="one of the tables; may be repeated")
            halves = ("tuning", "reporting")
            command.add_argument("--half", choices=halves, default="reporting", help="of the held-out photos")
            command.add_argument("--protocol", action="store_true", help="VOC seen, unseen, harmonic mean")
            command.add_argument("--foil", action="store_true", help="the same of the per-pixel model, no bundle")
        if name in ("train", "image", "export", "evaluate"):
            command.add_argument("--name", default="lite", help="of the checkpoint or report")
        if name in ("cache", "train"):
            command.add_argument("--seed", type=int, default=0, help="another one makes other crops, another training")
            command.add_argument("--start", type=Path, help="a bundle whose weights to start from")
        if name == "train":
            command.add_argument("--steps", type=int, default=7000)
            command.add_argument("--minutes", type=float, default=float("inf"), help="at most; the rate falls in time")
            command.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
            command.add_argument("--balance", type=float, default=0.0, help="part of logit adjustment, for rare names")
            command.add_argument("--foil", action="store_true", help="a per-pixel model instead")
            command.add_argument("--batch", type=int, default=64, help="crops a step on a GPU")
            command.add_argument("--tune", type=float, default=0.0, help="the backbone's part of the rate, on a GPU")
        if name == "image":
            command.add_argument("--steps", type=int, default=4000, help="on a GPU")
            command.add_argument("--judge", action="store_true", help="only report the branch of this name")
        if name in ("train", "image"):
            command.add_argument("--device", default="cpu", help="cuda: end to end on crops made there, no cache")
            command.add_argument("--withhold", default="", help="names never taught, by commas")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.command in ("train", "image"):
        withhold = frozenset(n.strip() for n in options.withhold.split(",") if n.strip())
    if options.command == "cache":
        from . import cache

        cache.build(options.data, options.cache, options.seed, options.start)
    elif options.command == "train":
        from . import train

        told = train.Options(
            steps=options.steps,
            minutes=options.minutes,
            seed=options.seed,
            rate=options.rate,
            start=options.start,
            balance=options.balance,
            withhold=withhold,
            device=options.device,
            live=options.device != "cpu",
            batch=options.batch,
            tune=options.tune,
            foil=options.foil,
        )
        train.run(options.data, options.cache, options.name, told)
    elif options.command == "image":
        from . import image, image_live

        if options.judge:
            image.judge(options.data, options.cache, options.name)
        elif options.device == "cpu":
            image.run(options.data, options.cache, options.name, withhold)
        else:
            image_live.run(options.data, options.cache, options.name, withhold, options.device, options.steps)
    elif options.command == "export":
        from . import export

        other, part = options.mix_with, options.part
        export.run(
            options.data, options.cache, options.out, options.name, options.encoding, other, part, options.background
        )
    elif options.command == "names":
        from . import export

        export.rename(options.data, options.cache, options.bundle)
    elif options.command == "tune":
        from . import tune

        tune.run(options.data, options.bundle)
    elif options.command == "evaluate":
        from . import evaluate, protocol

        part = ".tuning" if options.half == "tuning" else ""
        report = options.cache / f"{options.name}{part}.evaluation.json"
        if options.foil:
            protocol.run_foil(options.data, options.cache, options.name)
        elif options.bundle is None:
            parser.error("evaluate: --bundle is missing")
        elif options.protocol:
            protocol.run(options.data, options.bundle, options.program, report)
        else:
            evaluate.run(options.data, options.bundle, options.program, report, options.only, options.half)


if __name__ == "__main__":
    main()
