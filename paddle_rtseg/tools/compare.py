"""Predicted masks beside their labels: a picture of each frame and the IoU of each class.

``python -m paddle_rtseg.compare --images I --labels L --masks M --save SHEET.png``
"""

import argparse


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m paddle_rtseg.compare",
        description="Predicted masks beside their labels: a picture of each frame and the IoU of each class.",
    )
    p.add_argument("--images", required=True, metavar="DIR", help="folder of images")
    p.add_argument("--labels", required=True, metavar="DIR", help="folder of labels with the images' names")
    p.add_argument("--masks", required=True, metavar="DIR", help="folder of predicted masks with the images' names")
    p.add_argument("--dataset", default="CamVid", help="dataset that names and colours the classes (default CamVid)")
    p.add_argument("--save", metavar="FILE", help="where to write the picture; none is made without it")
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.data import comparison

    print(comparison.compare(args.images, args.labels, args.masks, args.dataset, args.save))
    if args.save:
        print(f"wrote {args.save}")


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
