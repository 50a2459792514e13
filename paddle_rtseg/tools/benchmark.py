"""Compare the speed of networks: ``python -m paddle_rtseg.benchmark --models RTFormer_Slim RTFormer``."""

import argparse
import os
from typing import List

from rtseg_inference.arguments import Parser
from rtseg_inference.configuration import BACKENDS, DEFAULT_BACKEND
from rtseg_inference.contract import INT8, PRECISIONS

SUFFIX = ".jsonl"
PLOTS = (".png", ".svg", ".pdf")


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.benchmark",
        description="Compare the speed of networks with random weights: medians of alternating runs in one process.",
    )
    p.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="MODEL[:KEY=VALUE,...]",
        help="any model registered with PaddleSeg, such as RTFormer_Slim, RTFormer:base_channels=32 or "
        "SegFormerPP:backbone.type=MiT_B2,backbone.token_merging=hq; ratios are relative to the first model",
    )
    p.add_argument(
        "--sizes", nargs="+", default=["512x1024"], metavar="HxW", help="image sizes in pixels (default 512x1024)"
    )
    p.add_argument(
        "--backends",
        nargs="+",
        metavar="MODE",
        help="dygraph, training, matching, or a backend that an exported model runs in: on the CPU "
        f"{', '.join(BACKENDS['cpu'])}, on the GPU {', '.join(BACKENDS['gpu'])} (default: the device's "
        "default backend)",
    )
    p.add_argument("--device", choices=list(BACKENDS), default="cpu", help="cpu or gpu (default cpu)")
    p.add_argument(
        "--precision",
        choices=[name for name in PRECISIONS if name != INT8],  # which needs images
        default="fp32",
        help="precision of exported models, if the backend computes in it (default fp32)",
    )
    p.add_argument("--num_classes", type=int, default=19, help="number of classes (default 19)")
    p.add_argument("--turns", type=int, default=11, help="measurements per model (default 11)")
    p.add_argument("--threads", type=int, default=0, help="threads for exported models (default: all cores)")
    p.add_argument(
        "--save",
        metavar="FILE.md",
        help="write the table to a file after each turn, and the times to "
        "FILE.jsonl; a later run with the same file measures only what is missing (default: none)",
    )
    p.add_argument(
        "--plot", metavar="FILE.png", help="write a plot of milliseconds against multiply-accumulates (default: none)"
    )
    return p


def main(args: argparse.Namespace) -> None:
    import sys

    from rtseg_inference.timing import Journal

    from paddle_rtseg.benchmark import timing
    from paddle_rtseg.errors import InputError
    from paddle_rtseg.files import atomic_path

    if args.save and args.save.endswith(SUFFIX):
        raise InputError(
            f"expected the file of the table in --save, got {args.save!r}; give a name such as table.md, beside which "
            f"the times are saved as table{SUFFIX}"
        )
    if args.plot and not args.plot.endswith(PLOTS):
        raise InputError(f"expected a name with {' or '.join(PLOTS)} as --plot, got {args.plot!r}; rename it")
    journal = Journal(os.path.splitext(args.save)[0] + SUFFIX if args.save else None)
    peak = timing.matrix_peak()

    def table(rows: List[timing.Row]) -> str:
        return timing.with_machine(rows, args.precision, args.turns, peak, args.device)

    def save(rows: List[timing.Row]) -> None:
        if args.save:
            with atomic_path(args.save) as path, open(path, "w", encoding="utf-8") as f:
                f.write(table(rows))

    rows = timing.benchmark(
        args.models,
        [timing.parse_size(text) for text in args.sizes],
        args.backends or [DEFAULT_BACKEND[args.device]],
        args.precision,
        args.num_classes,
        args.turns,
        args.threads,
        report=lambda line: print(line, file=sys.stderr),
        device=args.device,
        journal=journal,
        after_turn=save,
    )
    print(table(rows))
    save(rows)
    if args.plot:
        with atomic_path(args.plot) as path:
            timing.plot(rows, path)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
