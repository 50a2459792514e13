"""Arguments that several commands share; their names and meanings are PaddleSeg's."""

import argparse
from typing import Any


def add_config(parser: argparse.ArgumentParser) -> None:
    """The config and overrides of it."""
    parser.add_argument("--config", metavar="FILE", help="PaddleSeg config: a YAML file, or the name of a bundled one")
    parser.add_argument(
        "--opts", nargs="+", metavar="KEY=VALUE", help="override values of the config, such as model.num_classes=19"
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """The config, overrides of it, and the device."""
    add_config(parser)
    parser.add_argument(
        "--device",
        choices=["cpu", "gpu", "xpu", "npu", "mlu"],
        help="where to compute (default: the GPU if Paddle sees one, else the CPU)",
    )


def add_weights(parser: argparse.ArgumentParser, **options: Any) -> None:
    """The trained weights that a command uses."""
    meaning = "weights: .pdparams, .safetensors, or the name of bundled weights, such as rtformer_slim_camvid"
    parser.add_argument("--model_path", metavar="FILE", help=meaning, **options)


def add_test_time(parser: argparse.ArgumentParser, switch: str) -> None:
    """Test-time augmentation, switched on by ``--aug_eval`` or ``--aug_pred``, and sliding windows."""
    parser.add_argument(f"--{switch}", dest="augment", action="store_true", help="average over scales and flips")
    parser.add_argument("--scales", nargs="+", type=float, default=1.0, help="scales of the image (default 1.0)")
    parser.add_argument("--flip_horizontal", action="store_true", help="also the image mirrored left to right")
    parser.add_argument("--flip_vertical", action="store_true", help="also the image mirrored top to bottom")
    parser.add_argument("--is_slide", action="store_true", help="sliding windows instead of the whole image")
    parser.add_argument("--crop_size", nargs=2, type=int, metavar=("W", "H"), help="size of a window in pixels")
    parser.add_argument("--stride", nargs=2, type=int, metavar=("W", "H"), help="step between windows in pixels")


def true_or_false(text: str) -> bool:
    """Type of an argument that PaddleSeg spells ``--flag True``."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return values[text.lower()]
