"""Turn labels of other forms into PaddleSeg's: ``python -m paddle_rtseg.import_labels --format F --input X``."""

import argparse

from rtseg_inference.arguments import Parser

FORMATS = ("labelme", "coco", "colours", "binary")


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.import_labels",
        description="Turn labels of other forms into PNG files of class ids, lists of pairs, and a dataset file. Exits "
        "with status 1 if some images were left out.",
    )
    p.add_argument(
        "--format",
        choices=FORMATS,
        required=True,
        help="labelme: a JSON file beside each image; coco: one JSON file; colours: masks in the colours of --data; "
        "binary: masks of black and white",
    )
    p.add_argument("--input", required=True, help="folder of JSON files or masks, or the JSON file of COCO")
    p.add_argument("--images", metavar="FOLDER", help="folder of the images; by default that of --input, for labelme")
    p.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        help="the classes by id, the first one for what has no label; by default those found, after 'background'",
    )
    p.add_argument(
        "--data", metavar="FILE", help="dataset file with the names and colours of masks in colours (default: none)"
    )
    p.add_argument(
        "--suffix",
        default="",
        metavar="TEXT",
        help="what follows the name of an image in that of its mask, such as _mask (default: nothing)",
    )
    p.add_argument(
        "--nearest",
        action="store_true",
        help="in masks, take colours of no class for the nearest one, as JPEG and smoothing make them",
    )
    p.add_argument("--save_dir", required=True, metavar="FOLDER", help="folder for labels, lists and dataset.yml")
    p.add_argument(
        "--val", type=float, default=0.2, metavar="SHARE", help="share of the images to validate with (default 0.2)"
    )
    p.add_argument("--seed", type=int, default=0, help="decides which images those are (default 0)")
    return p


def main(args: argparse.Namespace) -> int:
    from rtseg_inference.progress import watched

    from paddle_rtseg.data.import_labels import import_labels, open_source

    source, colours = open_source(
        args.format, args.input, args.images, args.names, args.data, args.suffix, args.nearest
    )
    outcome = import_labels(
        *(source, args.save_dir, args.val, args.seed, colours),
        progress=lambda drawn: watched(drawn, len(source.images), "import_labels"),
    )
    print(outcome)
    return 1 if outcome.defects else 0


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
