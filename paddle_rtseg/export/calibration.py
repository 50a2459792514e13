"""What a config's network is brought to INT8 with: images to calibrate, and the validation set to measure on."""

from typing import Any, List, Optional, Sequence, TypeVar

import numpy as np
from paddleseg.cvlibs import Config
from paddleseg.datasets import Dataset
from rtseg_inference.images import find_images, read_image

from ..config import Builder, reporting
from ..data.dataset_file import read_dataset_file
from ..errors import InputError
from .int8 import Quantization
from .pose import is_pose

LEAST_IMAGES = 8
SAMPLES = 32

Item = TypeVar("Item")


def quantization_of(
    config: Config,
    calibration: Optional[str] = None,
    samples: int = SAMPLES,
    frames: Optional[int] = None,
    **limits: Any,
) -> Quantization:
    """How a config's network is quantised.

    Args:
        calibration, samples: see :func:`calibration_images`.
        frames: how many images of the ``val_dataset`` to measure on, evenly spaced; None for all.
        limits: further fields of :class:`.int8.Quantization`.

    Raises:
        InputError: the network is not for segmentation, the validation data cannot be read, or see
            :func:`calibration_images`.
    """
    if is_pose(config.val_dataset_cfg):
        raise InputError(
            "expected a network for segmentation with --precision int8, got one for poses; export it in fp32"
        )
    with reporting("the config's validation data cannot be read"):
        dataset = Builder(config).val_dataset
    images = calibration_images(config, dataset.num_classes, calibration, samples)
    if frames is not None:
        dataset.file_list = _spread(dataset.file_list, frames)
    return Quantization(images, dataset, **limits)


def calibration_images(
    config: Config, num_classes: int, calibration: Optional[str] = None, samples: int = SAMPLES
) -> List[str]:
    """Paths of the images that a network is calibrated with, each of which can be read.

    Args:
        num_classes: of the network.
        calibration: a folder of images, or a dataset file, whose training images are taken; None for the images of the
            config's ``train_dataset``.
        samples: how many of them, evenly spaced.

    Raises:
        InputError: an image or the dataset cannot be read, or the images are too few or of other classes.
    """
    images = _images(config, calibration, num_classes)
    if len(images) < LEAST_IMAGES:
        raise InputError(
            f"expected at least {LEAST_IMAGES} images to calibrate with, got {len(images)} in "
            f"{calibration or 'the train_dataset'!r}; add some, or name others with --calibration"
        )
    chosen = _spread(images, samples)
    for path in chosen:
        read_image(path)  # before the export, which takes its time
    return chosen


def _spread(items: Sequence[Item], count: int) -> List[Item]:
    """So many of the items, or all if there are fewer, evenly spaced."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def _images(config: Config, calibration: Optional[str], num_classes: int) -> Sequence[str]:
    if calibration is None:
        with reporting("the config's training data cannot be read"):
            return [image for image, _ in Builder(config).train_dataset.file_list]
    if not calibration.endswith((".yml", ".yaml")):
        return find_images(calibration).paths
    found = read_dataset_file(calibration)
    if len(found.names) != num_classes:
        raise InputError(
            f"expected a dataset of the network's {num_classes} classes to calibrate with, got {len(found.names)} in "
            f"{calibration!r}; name a folder of images like those that the network is for"
        )
    arguments = {key: value for key, value in found.as_config("train").items() if key != "type"}
    with reporting(f"the training data of {calibration!r} cannot be read"):
        return [image for image, _ in Dataset(transforms=[], **arguments).file_list]
