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
    import cv2
    import numpy as np

    from paddle_rtseg.data import comparison
    from paddle_rtseg.data.palettes import classes_and_palette
    from paddle_rtseg.files import atomic_path

    classes, palette = classes_and_palette(args.dataset)
    triples = comparison.pair_up(args.images, args.labels, args.masks)
    sheet, confusion = comparison.side_by_side(triples, palette)
    iou = comparison.intersection_over_union(confusion)
    for name, value in zip(classes, iou):
        print(f"{name:16} {'absent' if np.isnan(value) else f'{100 * value:6.2f} %'}")
    print(f"{'mean IoU':16} {100 * np.nanmean(iou):6.2f} %  ({len(triples)} frames)")
    if args.save:
        with atomic_path(args.save) as path:
            if not cv2.imwrite(path, sheet):
                raise OSError(f"OpenCV could not write {path}")
        print(f"wrote {args.save}")


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
