"""Check every image and label of a config's datasets: ``python -m paddle_rtseg.check_dataset --config FILE.yml``."""

import argparse

from rtseg_inference.arguments import Parser, whole_number

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.check_dataset",
        description="Read every image and label of a config's datasets. Exits with status 1 if it finds problems.",
    )
    arguments.add_config(p)
    p.add_argument(
        "--limit", type=whole_number(), default=20, help="maximum number of defects to print per dataset (default 20)"
    )
    return p


def main(args: argparse.Namespace) -> int:
    from paddle_rtseg.config import load_config
    from paddle_rtseg.data.report import check_config

    return 1 if check_config(load_config(args.config, opts=args.opts), args.limit) else 0


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
