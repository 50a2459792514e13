"""Time PaddleSeg's own infer.py and this package's predictor: ``python -m paddle_rtseg.compare_infer``."""

import argparse

from rtseg_inference.arguments import Parser, whole_number


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.compare_infer",
        description="Time PaddleSeg's own infer.py and this package's predictor from image file to mask, alternating.",
    )
    p.add_argument("--infer", required=True, metavar="FILE", help="deploy/python/infer.py of a PaddleSeg clone")
    p.add_argument("--theirs", required=True, metavar="DIR", help="exported model for infer.py, with argmax")
    p.add_argument(
        "--ours",
        required=True,
        nargs="+",
        metavar="DIR[:bf16]",
        help="exported models for this package; :bf16 runs one in bfloat16",
    )
    p.add_argument("--image", required=True, metavar="FILE", help="image to segment")
    p.add_argument("--turns", type=whole_number(1, 10_000), default=21, help="measurements per predictor (default 21)")
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.benchmark.infer_py import compare_infer

    compare_infer(args.infer, args.theirs, args.ours, args.image, args.turns)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
