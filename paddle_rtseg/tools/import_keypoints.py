"""Turn jump-broadcast's CSV files into COCO's JSON: ``python -m paddle_rtseg.import_keypoints --input train.csv``."""

import argparse

from rtseg_inference.arguments import Parser


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.import_keypoints",
        description="Turn a CSV file of jump-broadcast's keypoints into COCO's JSON, which CocoKeypoints reads. Exits "
        "with status 1 if some rows were left out.",
    )
    p.add_argument("--input", required=True, metavar="FILE.csv", help="keypoints/train.csv or keypoints/val.csv")
    p.add_argument(
        "--images",
        required=True,
        metavar="FOLDER",
        help="folder of the frames, EVENT/EVENT_(FRAME).jpg; they stay there",
    )
    p.add_argument(
        "--boxes",
        metavar="FILE.csv",
        help="the athletes' boxes, with the columns image_id, min_x, min_y, width and height (default: around the "
        "visible keypoints)",
    )
    p.add_argument("--save", required=True, metavar="FILE.json", help="the file to write")
    return p


def main(args: argparse.Namespace) -> int:
    from paddle_rtseg.data.jump_broadcast import convert

    outcome = convert(args.input, args.images, args.save, args.boxes)
    print(outcome)
    return 1 if outcome.left_out else 0


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
