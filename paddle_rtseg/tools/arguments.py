"""Arguments that several commands share; their names and meanings are PaddleSeg's."""

import argparse
from typing import Any, Dict, Optional

from paddle_rtseg.errors import InputError


def add_config(parser: argparse.ArgumentParser) -> None:
    """The config and overrides of it."""
    parser.add_argument("--config", metavar="FILE", help="PaddleSeg config (YAML)")
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
    meaning = "weights: .pdparams, .safetensors, or the name of some that come along, such as rtformer_slim_camvid"
    parser.add_argument("--model_path", metavar="FILE", help=meaning, **options)


def add_test_time(parser: argparse.ArgumentParser, switch: str) -> None:
    """Test-time augmentation, switched on by ``--aug_eval`` or ``--aug_pred``, and sliding windows."""
    parser.add_argument(f"--{switch}", action="store_true", help="average over scales and flips")
    parser.add_argument("--scales", nargs="+", type=float, default=1.0, help="scales of the image (default 1.0)")
    parser.add_argument("--flip_horizontal", action="store_true", help="also the image mirrored left to right")
    parser.add_argument("--flip_vertical", action="store_true", help="also the image mirrored top to bottom")
    parser.add_argument("--is_slide", action="store_true", help="sliding windows instead of the whole image")
    parser.add_argument("--crop_size", nargs=2, type=int, metavar=("W", "H"), help="size of a window in pixels")
    parser.add_argument("--stride", nargs=2, type=int, metavar=("W", "H"), help="step between windows in pixels")


def test_time_settings(args: argparse.Namespace, settings: Dict[str, Any], switch: str) -> Dict[str, Any]:
    """The config's ``test_config`` with what the command line says laid over it."""
    settings = dict(settings)
    if getattr(args, switch):
        settings[switch] = True
        for name in ("scales", "flip_horizontal", "flip_vertical"):
            settings[name] = getattr(args, name)
    if args.is_slide:
        if not args.crop_size or not args.stride:
            raise InputError("--is_slide expects --crop_size W H and --stride W H, got at most one of them; give both")
        settings.update(is_slide=True, crop_size=args.crop_size, stride=args.stride)
    return settings


def set_device(name: Optional[str]) -> str:
    """Make ``name`` Paddle's device and return it; None means the GPU if Paddle sees one, else the CPU.

    Raises:
        InputError: the running Paddle or this machine does not have the device.
    """
    import paddle

    if name is None:
        name = "gpu" if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() else "cpu"
    try:
        paddle.set_device(name)
    except (ValueError, RuntimeError, OSError) as e:
        raise InputError(
            f"expected a device that is there, got {name!r}, which Paddle {paddle.__version__} cannot "
            "use on this machine; choose --device cpu"
        ) from e
    return name


def true_or_false(text: str) -> bool:
    """Type of an argument that PaddleSeg spells ``--flag True``."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return values[text.lower()]
