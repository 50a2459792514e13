"""Time PaddleSeg's own infer.py and this package's predictor: ``python -m paddle_rtseg.compare_infer``."""

import argparse


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m paddle_rtseg.compare_infer",
        description="From image file to mask: PaddleSeg's own infer.py and this package's predictor, in turns.",
    )
    p.add_argument("--infer", required=True, metavar="FILE", help="infer.py in a clone of PaddleSeg")
    p.add_argument("--theirs", required=True, metavar="DIR", help="network for infer.py, exported with its argmax")
    p.add_argument("--ours", required=True, nargs="+", metavar="DIR[:bf16]", help="networks for this package")
    p.add_argument("--image", required=True, metavar="FILE", help="image to segment")
    p.add_argument("--turns", type=int, default=21, help="measurements of each (default 21)")
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.benchmark.infer_py import compare_infer

    compare_infer(args.infer, args.theirs, args.ours, args.image, args.turns)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
