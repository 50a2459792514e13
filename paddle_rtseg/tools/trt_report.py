"""Experimental: which operators of an exported model TensorRT would run.

``python -m paddle_rtseg.trt_report --model DIR``. Exit status 0 if none is rejected, 1 if any is, 2 on errors.
"""

import argparse
import json

from rtseg_inference.arguments import Parser


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.trt_report",
        description="Experimental: list which operators of an exported model TensorRT would run by Paddle's rules, and "
        "the lines of the model that the others come from. No engine is built and no GPU is needed.",
    )
    p.add_argument(
        "--model", required=True, metavar="DIR", help="folder of an exported model, or its .pdmodel or .json"
    )
    p.add_argument(
        "--paddle", choices=["2.6", "3.x"], help="release whose rules apply (default: 2.6 for pdmodel, 3.x for json)"
    )
    p.add_argument(
        "--tensorrt",
        choices=["8.5", "8.6", "10.5", "10.8"],
        help="10.8 is for later releases too (default: 8.5 for Paddle 2.6, 8.6 for 3.x)",
    )
    p.add_argument("--json", metavar="FILE", help="also write the report as JSON (default: no file)")
    return p


def main(args: argparse.Namespace) -> int:
    from paddle_rtseg.files import atomic_path
    from paddle_rtseg.trt_report.rules import as_dict, as_text, report

    result = report(args.model, args.paddle, args.tensorrt)
    print(as_text(result))
    if args.json:
        with atomic_path(args.json) as path, open(path, "w", encoding="utf-8") as f:
            json.dump(as_dict(result), f, indent=1)
    return 1 if result.rejected else 0


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
