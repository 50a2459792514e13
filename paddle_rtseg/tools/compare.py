"""Compare predicted masks with labels: the IoU of each class and a picture of each frame.

``python -m paddle_rtseg.compare --images I --labels L --masks M --save SHEET.png``
"""

import argparse


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m paddle_rtseg.compare",
        description="Compare predicted masks with labels: the IoU of each class and a picture of each frame.",
    )
    p.add_argument("--images", required=True, metavar="DIR", help="folder of images")
    p.add_argument("--labels", required=True, metavar="DIR", help="folder of labels, named like the images")
    p.add_argument("--masks", required=True, metavar="DIR", help="folder of predicted masks, named like the images")
    p.add_argument("--dataset", default="CamVid", help="dataset whose class names and colours to use (default CamVid)")
    p.add_argument("--save", metavar="FILE", help="file for the picture (default: no picture)")
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.data import comparison

    print(comparison.compare(args.images, args.labels, args.masks, args.dataset, args.save))
    if args.save:
        print(f"wrote {args.save}")


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
