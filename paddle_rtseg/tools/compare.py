"""Compare predicted masks with labels: the IoU of each class and a picture of each frame.

``python -m paddle_rtseg.compare --images I --labels L --masks M --save SHEET.png``
"""

import argparse
import sys

from rtseg_inference.arguments import Parser


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.compare",
        description="Compare predicted masks with labels: the IoU of each class and a picture of each frame. "
        "Exits with status 1 if some cannot be compared.",
    )
    p.add_argument("--images", required=True, metavar="DIR", help="folder of images")
    p.add_argument("--labels", required=True, metavar="DIR", help="folder of labels, named like the images")
    p.add_argument("--masks", required=True, metavar="DIR", help="folder of predicted masks, named like the images")
    p.add_argument(
        "--dataset",
        default="CamVid",
        metavar="NAME",
        help="whose class names and colours to use: CamVid, Cityscapes or a dataset file (default CamVid)",
    )
    p.add_argument("--save", metavar="FILE", help="file for the picture (default: no picture)")
    return p


def main(args: argparse.Namespace) -> int:
    from rtseg_inference.progress import watched

    from paddle_rtseg.data import comparison

    outcome = comparison.compare(
        *(args.images, args.labels, args.masks, args.dataset, args.save),
        progress=lambda frames: watched(frames, len(frames), "compare"),
    )
    for reason in outcome.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    print("\n".join([*outcome.remarks, outcome.table]))
    if args.save:
        print(f"wrote {args.save}")
    return 1 if outcome.skipped else 0


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
