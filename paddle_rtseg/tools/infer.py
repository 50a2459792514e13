"""Segment images, folders, videos and cameras with an exported model: ``python -m paddle_rtseg.infer --model D``.

The same program as ``python -m rtseg_inference``, which needs neither PaddleSeg nor this package. It also accepts the
names of bundled models, and exports them on first use.
"""

import argparse

from rtseg_inference import cli

from paddle_rtseg.weights import released


def parser() -> argparse.ArgumentParser:
    names = ", ".join(released.SHA256)
    return cli.parser(
        "python -m paddle_rtseg.infer", f"folder of an exported model (with deploy.yaml), or one of {names}"
    )


def main(args: argparse.Namespace) -> int:
    args.model = released.exported(args.model)
    return cli.main(args)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
