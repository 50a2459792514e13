"""Segment images, folders, videos and cameras with an exported model: ``python -m paddle_rtseg.infer --model D``.

The same program as ``python -m rtseg_inference``, which needs only Paddle, NumPy, OpenCV and PyYAML.
"""

import argparse

from rtseg_inference import cli


def parser() -> argparse.ArgumentParser:
    return cli.parser("python -m paddle_rtseg.infer")


def main(args: argparse.Namespace) -> int:
    return cli.main(args)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
