"""Export a trained model for Paddle Inference: ``python -m paddleseg.export --config FILE.yml --model_path W``.

Takes the flags of PaddleSeg's own export, and a few more. deploy/README.md describes the folder it writes.
"""

import argparse
from typing import Any, Dict, Optional

from rtseg_inference.arguments import Parser, number, whole_number
from rtseg_inference.contract import OUTPUT_OPS
from rtseg_inference.errors import InputError
from rtseg_inference.int8_contract import WEIGHT_BITS
from rtseg_inference.pose_contract import DECODINGS

from paddle_rtseg.export import FORMATS, PRECISIONS
from paddle_rtseg.tools import arguments

#: What goes with ``--precision int8`` alone.
INT8_FLAGS = ("calibration", "samples", "max_drop", "min_gain", "weight_bits")


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m paddleseg.export", description="Export a trained model for Paddle Inference.")
    arguments.add_common(p)
    arguments.add_weights(p)
    p.add_argument(
        "--save_dir", default="./output/inference_model", help="output folder (default ./output/inference_model)"
    )
    p.add_argument(
        "--input_shape",
        nargs=4,
        type=whole_number(-1),
        metavar=("N", "C", "H", "W"),
        help="input shape of the network; -1 leaves a dimension dynamic (default: batch, height and width; for a "
        "network of one size that of the config's Resize or Padding)",
    )
    p.add_argument(
        "--output_op",
        choices=list(OUTPUT_OPS),
        default="argmax",
        help="argmax: class ids; softmax: probabilities; none: logits; logits: those before the last upsampling, which "
        "the host finishes several times faster with the same result (default argmax, as in PaddleSeg)",
    )
    p.add_argument(
        "--decode",
        choices=list(DECODINGS),
        default="quarter",
        help="how keypoints are found in the heatmaps of a network for poses (default quarter)",
    )
    p.add_argument(
        "--raw_input",
        action="store_true",
        help="export a graph that takes 8-bit BGR images and includes colour order, scaling, mean, std and resizing",
    )
    p.add_argument(
        "--format",
        choices=list(FORMATS),
        help="program format; onnx is written in addition to Paddle's (default: that of the installed Paddle and, if "
        "possible, onnx)",
    )
    p.add_argument(
        "--precision",
        choices=list(PRECISIONS),
        default="fp32",
        help="fp16 writes the ONNX form in half precision too, for GPUs; int8 writes it with 8-bit convolutions, for "
        "CPUs, and measures what that gains and loses on the config's val_dataset (default fp32)",
    )
    add_int8(p)
    p.add_argument(
        "--golden_image", metavar="FILE", help="image to check runtimes with (default: a drawn street scene)"
    )
    p.add_argument("--for_fd", action="store_true", help="name the files inference.*, as FastDeploy expects")
    return p


def add_int8(p: argparse.ArgumentParser) -> None:
    """Add what ``--precision int8`` takes; :data:`INT8_FLAGS` has the names."""
    p.add_argument(
        "--calibration",
        metavar="PATH",
        help="with --precision int8, a folder of images or a dataset file to calibrate with (default: the config's "
        "train_dataset)",
    )
    p.add_argument(
        "--samples",
        type=whole_number(1),
        metavar="N",
        help="with --precision int8, images to calibrate with (default 32)",
    )
    p.add_argument(
        "--max_drop",
        type=number(100),
        metavar="P",
        help="with --precision int8, the points of mIoU that it may lose (default 1)",
    )
    p.add_argument(
        "--min_gain",
        type=number(100),
        metavar="X",
        help="with --precision int8, how many times as fast as fp32 it has to be, in ONNX Runtime or OpenVINO (default "
        "1.1)",
    )
    p.add_argument(
        "--weight_bits",
        type=int,
        choices=WEIGHT_BITS,
        help="with --precision int8, 8 for processors with VNNI, 7 for all (default: what this processor needs)",
    )


def int8_options(options: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Take the flags of INT8 from ``options``; None with another precision.

    Raises:
        InputError: one of them is given with another precision.
    """
    given = {flag: options.pop(flag) for flag in INT8_FLAGS}
    given = {flag: value for flag, value in given.items() if value is not None}
    if options["precision"] == "int8":
        return given
    for flag in given:
        raise InputError(f"expected --precision int8 with --{flag}, got {options['precision']}; add it")
    return None


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.config import load_config
    from paddle_rtseg.export.from_config import export_config

    options = dict(vars(args))
    config = load_config(options.pop("config"), opts=options.pop("opts"))
    int8 = int8_options(options)
    folder = export_config(config, options.pop("model_path"), int8=int8, **options)
    print(f"exported and checked with Paddle Inference: {folder}")


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
