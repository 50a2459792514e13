"""Write docs/model_zoo.md and the README's excerpt of it from configs, released weights and measurements.

python -m paddle_rtseg.model_zoo
"""

import argparse
import sys
from typing import Dict

from rtseg_inference.arguments import Parser

from paddle_rtseg.errors import InputError


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m paddle_rtseg.model_zoo", description=__doc__.splitlines()[0])
    p.add_argument("--root", default=".", help="checkout of the project (default: the current folder)")
    p.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    p.add_argument("--recount", action="store_true", help="count parameters and MACs of all networks again")
    p.add_argument(
        "--measure",
        nargs="+",
        metavar="NAME",
        help="time the networks of the configs whose name contains a NAME (default: none)",
    )
    p.add_argument("--turns", type=int, default=7, help="measurements of each network (default 7)")
    p.add_argument("--machine", help="its name on the page (default: as /proc/cpuinfo states it)")
    p.add_argument(
        "--note", default="", help="a remark on the measurements, such as what else was running (default: none)"
    )
    return p


def main(args: argparse.Namespace) -> None:
    if args.turns < 2:
        raise InputError(f"expected --turns of 2 or more, got {args.turns}; raise it")
    if args.check and (args.measure or args.recount):
        raise InputError("--check writes nothing, so it does not go with --measure or --recount; leave one out")

    from paddle_rtseg.benchmark import model_zoo

    if args.check:
        files = model_zoo.stale(args.root)
        if files:
            raise InputError(f"{', '.join(files)} is stale; run {model_zoo.COMMAND} and commit what it writes")
        return

    def report(line: str) -> None:
        print(line, file=sys.stderr)

    entries = model_zoo.read_entries(args.root)
    measurements = model_zoo.complete(entries, model_zoo.read_measurements(args.root), args.recount, report)

    def save(measurements: Dict[model_zoo.Key, model_zoo.Measurement]) -> None:
        model_zoo.write(args.root, model_zoo.generate(args.root, entries, measurements))

    if args.measure:
        keys = model_zoo.keys_of(entries, args.measure)
        measurements = model_zoo.measure(measurements, keys, args.machine, args.turns, args.note, report, save)
    save(measurements)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
