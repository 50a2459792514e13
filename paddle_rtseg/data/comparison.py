"""Comparison of predicted masks with labels: a table of scores, and a picture."""

import os
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from rtseg_inference.images import IMAGE_SUFFIXES

from ..errors import InputError
from ..files import atomic_path
from .palettes import classes_and_palette
from .scores import confusion_matrix, intersection_over_union, mean_in_words


def compare(images: str, labels: str, masks: str, dataset: str, picture: Optional[str] = None) -> str:
    """Score masks against labels.

    Args:
        images, labels, masks: folders of files with the same names.
        dataset: whose class names and colours to use, such as CamVid.
        picture: image file to write, with a row of image, label and mask for each frame.

    Returns:
        A table of the IoU of each class and the mean.

    Raises:
        InputError: files are missing, cannot be decoded or do not match.
    """
    classes, palette = classes_and_palette(dataset)
    triples = pair_up(images, labels, masks)
    sheet, confusion = side_by_side(triples, palette)
    if picture:
        with atomic_path(picture) as path:
            if not cv2.imwrite(path, sheet):
                raise OSError(f"OpenCV could not write {path}")
    iou = intersection_over_union(confusion)
    lines = [
        f"{name:16} {'absent' if np.isnan(value) else f'{100 * value:6.2f} %'}" for name, value in zip(classes, iou)
    ]
    lines.append(f"{mean_in_words(iou)}  ({len(triples)} frames)")
    return "\n".join(lines)


def pair_up(images: str, labels: str, masks: str) -> List[Tuple[str, str, str]]:
    """Paths (image, label, mask) with the same name, regardless of extension, in the order of the images.

    Raises:
        InputError: a folder is missing or empty, or an image has no label or mask.
    """
    by_name = {folder: _files_by_name(folder) for folder in (images, labels, masks)}
    for folder in (labels, masks):
        for name in by_name[images]:
            if name not in by_name[folder]:
                raise InputError(f"expected {name}.png in {folder!r}, got no such file; add it or remove the image")
    return [(path, by_name[labels][name], by_name[masks][name]) for name, path in by_name[images].items()]


def side_by_side(
    triples: Sequence[Tuple[str, str, str]], palette: np.ndarray, width: int = 320
) -> Tuple[np.ndarray, np.ndarray]:
    """A sheet with one row per frame: image, label, prediction.

    Args:
        triples: from :func:`pair_up`.
        palette: (num_classes, 3) uint8, RGB.
        width: width of each picture in pixels; heights keep the aspect ratio.

    Returns:
        The sheet as a BGR image, and the confusion matrix of all frames.
    """
    colours = np.zeros((256, 3), np.uint8)  # ignored pixels stay black
    colours[: len(palette)] = palette[:, ::-1]
    rows, confusion = [], np.zeros((len(palette), len(palette)), np.int64)
    for image_path, label_path, mask_path in triples:
        image = _read(image_path, cv2.IMREAD_COLOR)
        label, mask = (_read(path, cv2.IMREAD_UNCHANGED) for path in (label_path, mask_path))
        confusion += confusion_matrix(label, mask, len(palette))
        height = round(image.shape[0] * width / image.shape[1])
        pictures = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)]
        pictures += [
            cv2.resize(colours[ids], (width, height), interpolation=cv2.INTER_NEAREST) for ids in (label, mask)
        ]
        rows.append(np.concatenate(pictures, axis=1))
    return np.concatenate(rows, axis=0), confusion


def _read(path: str, mode: int) -> np.ndarray:
    image = cv2.imread(path, mode)
    if image is None:
        raise InputError(f"expected an image, got {path!r}, which cannot be decoded; replace it")
    return image


def _files_by_name(folder: str) -> Dict[str, str]:
    def walk() -> Iterator[Tuple[str, str]]:
        for file in sorted(os.listdir(folder)):
            name, suffix = os.path.splitext(file)
            if suffix.lower() in IMAGE_SUFFIXES:
                yield name, os.path.join(folder, file)

    try:
        files = dict(walk())
    except OSError as e:
        raise InputError(f"expected a folder of images, got {folder!r} ({e.strerror}); check the path") from e
    if not files:
        raise InputError(f"expected images in {folder!r}, got none; check the path")
    return files
