"""Segment images with trained weights: ``python -m paddleseg.predict --config FILE.yml --model_path W --image_path I``.

Writes the same files as PaddleSeg's own predict: ``pseudo_color_prediction/`` and ``added_prediction/``.
"""

import argparse

from rtseg_inference.arguments import Parser, whole_number

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m paddleseg.predict", description="Segment images with trained weights.")
    arguments.add_common(p)
    arguments.add_weights(p)
    p.add_argument(
        "--image_path",
        required=True,
        metavar="PATH",
        help="an image, a folder of images, or a .txt file that lists images",
    )
    p.add_argument("--save_dir", default="./output/result", help="folder for the results (default ./output/result)")
    arguments.add_test_time(p, "aug_pred")
    arguments.add_multilabel(p)
    p.add_argument(
        "--custom_color",
        nargs="+",
        type=whole_number(0, 255),
        metavar="N",
        help="class colours: R G B R G B ... (default: PaddleSeg's)",
    )
    return p


def main(args: argparse.Namespace) -> int:
    from paddle_rtseg.config import load_config
    from paddle_rtseg.training.prediction import predict

    options = dict(vars(args))
    config = load_config(options.pop("config"), opts=options.pop("opts"))
    return predict(config, options.pop("model_path"), **options)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
