"""Arguments shared by several commands; names and meanings follow PaddleSeg."""

import argparse
from typing import Any

from rtseg_inference.arguments import whole_number

MOST_WORKERS = 256
MOST_PIXELS = 1 << 16  # of a side


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the config and its overrides."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="PaddleSeg config: a YAML file, or the name of a bundled one"
    )
    parser.add_argument(
        "--opts",
        nargs="+",
        metavar="KEY=VALUE",
        help="override config values, such as model.num_classes=19 (default: none)",
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the config, its overrides, and the device."""
    add_config(parser)
    parser.add_argument(
        "--device",
        choices=["cpu", "gpu", "xpu", "npu", "mlu"],
        help="device to run on (default: the GPU if Paddle finds one, else the CPU)",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the processes that load data."""
    parser.add_argument(
        "--num_workers", type=whole_number(0, MOST_WORKERS), default=0, help="processes that load data (default 0)"
    )


def add_weights(parser: argparse.ArgumentParser, **options: Any) -> None:
    """Add the trained weights."""
    meaning = "trained weights: a .pdparams or .safetensors file, or a bundled name such as rtformer_slim_camvid"
    if not options.get("required"):
        meaning += " (default: the config's model.pretrained)"
    parser.add_argument("--model_path", metavar="FILE", help=meaning, **options)


def add_test_time(parser: argparse.ArgumentParser, switch: str) -> None:
    """Add test-time augmentation, enabled by ``--aug_eval`` or ``--aug_pred``, and sliding windows."""
    parser.add_argument(
        f"--{switch}", dest="augment", action="store_true", help="average predictions over scales and flips"
    )
    parser.add_argument("--scales", nargs="+", type=float, help="scales of the image (default: the config's, or 1.0)")
    for name, sides in (("horizontal", "left to right"), ("vertical", "top to bottom")):
        parser.add_argument(
            f"--flip_{name}", action="store_true", default=None, help=f"also predict the image flipped {sides}"
        )
    parser.add_argument("--is_slide", action="store_true", help="predict in sliding windows, not the full image")
    parser.add_argument(
        "--crop_size",
        nargs=2,
        type=whole_number(1, MOST_PIXELS),
        metavar=("W", "H"),
        help="window size in pixels (default: the config's)",
    )
    parser.add_argument(
        "--stride",
        nargs=2,
        type=whole_number(1, MOST_PIXELS),
        metavar=("W", "H"),
        help="step between windows in pixels (default: the config's)",
    )


def add_multilabel(parser: argparse.ArgumentParser) -> None:
    """Add PaddleSeg's multi-label mode."""
    parser.add_argument(
        "--use_multilabel",
        action="store_true",
        default=None,
        help="multi-label segmentation, which needs PaddleSeg's develop branch",
    )


def true_or_false(text: str) -> bool:
    """Argument type for flags that PaddleSeg spells ``--flag True``."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return values[text.lower()]
