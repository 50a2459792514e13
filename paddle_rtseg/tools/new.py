"""Write a config for a dataset of one's own: ``python -m paddle_rtseg.new --data my.yml --network RTFormer_Slim``."""

import argparse

from rtseg_inference.arguments import Parser


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.new",
        description="Write a commented config that trains a network on a dataset of one's own, sized to its images.",
    )
    p.add_argument("--data", required=True, metavar="FILE", help="dataset file: lists, names and colours in YAML")
    p.add_argument(
        "--network",
        default="RTFormer_Slim",
        metavar="NAME",
        help="RTFormer_Slim, RTFormer_Base, SegFormerPP:BACKBONE or LRFormerSeg:BACKBONE (default RTFormer_Slim)",
    )
    p.add_argument("--save", default="config.yml", metavar="FILE", help="config to write (default config.yml)")
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.training.new_config import new_config, save_config

    text, notes = new_config(args.data, args.network, args.save)
    save_config(text, args.save)
    for note in notes:
        print(f"note: {note}")
    print(f"{args.save} is ready: python -m paddleseg.train --config {args.save} --do_eval")


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
