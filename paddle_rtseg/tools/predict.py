"""Segment images with trained weights: ``python -m paddleseg.predict --config FILE.yml --model_path W --image_path I``.

Writes what PaddleSeg's own predict writes: ``pseudo_color_prediction/`` and ``added_prediction/``.
"""

import argparse

from paddle_rtseg.errors import InputError
from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m paddleseg.predict", description="Segment images with trained weights.")
    arguments.add_common(p)
    arguments.add_weights(p)
    p.add_argument("--image_path", help="an image, a folder of images, or a text file that lists images")
    p.add_argument("--save_dir", default="./output/result", help="folder for the results (default ./output/result)")
    arguments.add_test_time(p, "aug_pred")
    p.add_argument("--custom_color", nargs="+", type=int, help="colours of the classes: R G B R G B ...")
    return p


def main(args: argparse.Namespace) -> None:
    from paddleseg.core import predict
    from paddleseg.transforms import Compose
    from paddleseg.utils import utils
    from paddleseg.utils.utils import get_image_list

    from paddle_rtseg.config import Builder, load_config, load_model, reporting
    from paddle_rtseg.files import make_folder

    config = load_config(args.config, opts=args.opts)
    settings = {name: value for name, value in config.test_config.items() if name != "aug_eval"}
    settings = arguments.test_time_settings(args, settings, "aug_pred")
    if args.custom_color:
        settings["custom_color"] = args.custom_color
    arguments.set_device(args.device)
    if not args.image_path:
        raise InputError("expected images, got none; name a file or a folder with --image_path")
    with reporting(f"expected images at {args.image_path!r}"):
        images, folder = get_image_list(args.image_path)
    check_readable(images)
    make_folder(args.save_dir)
    utils.show_env_info()
    utils.show_cfg_info(config)

    model = load_model(config, args.model_path)
    transforms = Compose(Builder(config).val_transforms)
    # The weights are loaded, strictly, by now; PaddleSeg's loader would only warn of what is missing.
    predict(model, None, transforms, images, image_dir=folder, save_dir=args.save_dir, **settings)


def check_readable(images) -> None:
    """Raise :class:`InputError` for the first image that is missing or cannot be decoded, before any work is done."""
    import cv2

    for path in images:
        if cv2.imread(path, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
            raise InputError(f"expected an image, got {path!r}, which is missing or cannot be decoded; leave it out")


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
