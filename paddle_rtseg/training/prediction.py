"""Segmenting images with a trained model, for the command predict.

The files, colours and overlays are those of PaddleSeg's ``predict``. How images are found, read, skipped and named is
that of the command infer.
"""

import os
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np
import paddle
import paddleseg.core
from paddleseg.core import infer
from paddleseg.cvlibs import Config
from paddleseg.transforms import Compose
from paddleseg.utils import utils, visualize
from rtseg_inference.errors import first_line
from rtseg_inference.files import write_image
from rtseg_inference.geometry import sizes
from rtseg_inference.images import Found, find_images, fits, read_image, result_folders, too_large
from rtseg_inference.progress import Progress

from ..config import Builder, load_model, use_device
from ..config_checks import channels, check_prediction
from ..errors import InputError
from ..export.pose import is_pose
from ..export.preprocessing import from_transforms
from ..files import atomic_path, check_folder
from .prediction_settings import note_large_window, prediction_settings

ADDED, COLOURED = "added_prediction", "pseudo_color_prediction"
#: PaddleSeg's transforms that change the size of an image, and that predictions are transformed back from.
_RESIZING = ("Resize", "ResizeByLong", "ResizeByShort", "LimitLong", "Padding")


class Image(NamedTuple):
    """An image and its results."""

    name: str
    path: str
    coloured: str
    added: str


def predict(
    config: Config,
    weights: Optional[str],
    image_path: Optional[str],
    save_dir: str,
    device: Optional[str] = None,
    custom_color: Optional[Sequence[int]] = None,
    **test_time: Any,
) -> int:
    """Segment images, and write PaddleSeg's ``pseudo_color_prediction/`` and ``added_prediction/`` to ``save_dir``.

    An image that cannot be read or segmented is reported and skipped.

    Args:
        weights: the file of weights; None if the config's ``model.pretrained`` is the trained model.
        image_path: an image, a folder of images, or a .txt file that lists images.
        custom_color: R, G, B of each class, as one flat list.
        test_time: see :func:`.prediction_settings.prediction_settings`.

    Returns:
        The exit status: 1 if images were skipped, else 0.

    Raises:
        InputError: there are no images, the network is one for poses, or the weights do not match the config.
    """
    settings = prediction_settings(paddleseg.core.predict, config.test_config, custom_color=custom_color, **test_time)
    check_prediction(config.dic)
    if not config.dic.get("val_dataset"):
        raise InputError("expected a val_dataset in the config, whose transforms prepare the images, got none; add one")
    if is_pose(config.val_dataset_cfg):
        raise InputError(
            "expected a network for segmentation, got one for poses; export it and use python -m paddle_rtseg.infer"
        )
    use_device(device)
    if not image_path:
        raise InputError("expected images, got none; name a file or a folder with --image_path")
    if not os.path.exists(image_path):
        raise InputError(f"expected images at {image_path!r}, which does not exist; check --image_path")
    found = find_images(image_path, result_folders(image_path, save_dir, (ADDED, COLOURED)), lists=True)
    check_folder(save_dir)
    utils.show_env_info()
    utils.show_cfg_info(config)
    segmenter = Segmenter(config, load_model(config, weights), settings)
    images = list(_results(found, save_dir))[paddle.distributed.get_rank() :: paddle.distributed.get_world_size()]
    return _segment(images, segmenter, save_dir, found.not_taken)


def _segment(images: Sequence[Image], segmenter: "Segmenter", save_dir: str, not_taken: str) -> int:
    progress = Progress(len(images))
    with paddle.no_grad():
        for image in images:
            try:
                overlay, mask = segmenter(image.path)
            except (InputError, cv2.error, MemoryError, RuntimeError, ValueError) as e:
                progress.skipped(image.name, _reason(e))
                continue
            write_image(image.added, overlay)
            with atomic_path(image.coloured) as path:
                mask.save(path)
            progress.wrote()
    return progress.close(save_dir, not_taken)


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    return f"cannot be segmented ({first_line(error)})"


def _results(found: Found, save_dir: str) -> Iterator[Image]:
    """Where PaddleSeg puts the results of each image; under a longer name if those of two would be the same."""
    for name, path, relative in zip(found.names, found.paths, found.relative):
        stem, suffix = os.path.splitext(relative)
        added = relative if name in (relative, stem) else name + suffix
        yield Image(name, path, os.path.join(save_dir, COLOURED, name + ".png"), os.path.join(save_dir, ADDED, added))


class Segmenter:
    """A model with a config's transforms and settings; from an image file to PaddleSeg's two pictures."""

    def __init__(self, config: Config, model: paddle.nn.Layer, settings: Mapping[str, Any]):
        self.resizing = [t for t in config.dic["val_dataset"].get("transforms") or [] if t["type"] in _RESIZING]
        self.transforms = Compose(Builder(config).val_transforms, img_channels=channels(config.dic))
        self.settings = dict(settings)
        self.colours = visualize.get_color_map_list(256, custom_color=self.settings.pop("custom_color", None))
        self.multilabel = {k: self.settings[k] for k in ("use_multilabel",) if k in self.settings}
        self.infer = infer.aug_inference if self.settings.pop("aug_pred", False) else infer.inference
        self.model = model
        model.eval()

    def __call__(self, path: str) -> Tuple[np.ndarray, Any]:
        """The overlay (H, W, 3) uint8 BGR, and the mask as a palette image of Pillow.

        Raises:
            InputError: the image cannot be read, or would become too large.
        """
        image = read_image(path, self.transforms.read_flag)
        self._check_sizes(*image.shape[:2])
        data = self.transforms({"img": image.astype("float32")})
        note_large_window(self.settings, *data["img"].shape[-2:])
        batch = paddle.to_tensor(data["img"][np.newaxis])
        pred, _ = self.infer(self.model, batch, trans_info=data["trans_info"], **self.settings)
        pred = pred.numpy()[0].astype("uint8")  # (1, H, W), or one plane for each of several labels
        pred = pred if any(self.multilabel.values()) else pred[0]
        overlay = visualize.visualize(path, pred, self.colours, weight=0.6, **self.multilabel)
        return overlay, visualize.get_pseudo_color_map(pred, self.colours, **self.multilabel)

    def _check_sizes(self, height: int, width: int) -> None:
        """Refuse an image that the transforms, or scales of the augmentation, would make too large."""
        for transform in self.resizing:
            height, width = sizes(from_transforms([transform, {"type": "Normalize"}]), (height, width)).network
        scales = self.settings.get("scales", 1.0) if self.infer is infer.aug_inference else 1.0
        scale = max(scales if isinstance(scales, (list, tuple)) else [scales])
        height, width = round(height * scale), round(width * scale)
        if not fits(height, width):
            raise InputError(f"{too_large(height, width)}, which it is scaled to; lower --scales")
