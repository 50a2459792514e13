"""Comparison of predicted masks with labels: a table of scores, and a picture."""

import os
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np
from rtseg_inference import drawing
from rtseg_inference.files import write_image
from rtseg_inference.images import IMAGE_SUFFIXES, find_images, read_image

from ..errors import InputError
from .dataset_file import read_dataset_file
from .labels import read_label
from .palettes import classes_and_palette
from .scores import confusion_matrix, intersection_over_union, mean_in_words

MAX_HEIGHT = 65_000  # of a picture: a JPEG cannot have more rows
TITLES = ("image", "label", "prediction")
_WIDTH, _LINE = 320, 24  # pixels: of each picture of a frame, and from one line of text to the next
_UNIT = 14  # height of the text


class Outcome(NamedTuple):
    """What was compared."""

    table: str  #: the IoU of each class, and the mean
    skipped: List[str]  #: a sentence for each image that could not be compared
    remarks: List[str]


class Triple(NamedTuple):
    """The files of one frame."""

    name: str
    image: str
    label: str
    mask: str


def compare(
    images: str,
    labels: str,
    masks: str,
    dataset: str,
    picture: Optional[str] = None,
    progress: Callable[[List["Triple"]], Iterable["Triple"]] = iter,
) -> Outcome:
    """Score masks against labels; what cannot be compared is skipped.

    Args:
        images, labels, masks: folders of files with the same names.
        dataset: whose class names and colours to use: CamVid, Cityscapes or a dataset file.
        picture: image file to write, with a row of image, label and mask for each frame, its name and its mean IoU,
            and a legend of the classes.
        progress: wraps the iteration over the frames.

    Raises:
        InputError: a folder has no images, or no frame can be compared, or the picture cannot be written.
    """
    if picture and not picture.lower().endswith(IMAGE_SUFFIXES):
        raise InputError(f"expected a picture of {', '.join(IMAGE_SUFFIXES)}, got {picture!r}; choose one of these")
    classes, palette = classes_and_palette(dataset)
    ignore_index = read_dataset_file(dataset).ignore if dataset.endswith((".yml", ".yaml")) else 255
    triples, skipped, remarks = pair_up(images, labels, masks)
    sheet = Sheet(classes, palette) if picture else None
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    frames = 0
    for triple in progress(triples):
        try:
            label, mask = read_label(triple.label), read_label(triple.mask)
            counted = confusion_matrix(label, mask, len(classes), ignore_index)
            if sheet:
                sheet.add(_caption(triple.name, counted), read_image(triple.image), label, mask)
        except InputError as e:
            skipped.append(f"{triple.name}: {e}")
        else:
            confusion += counted
            frames += 1
    if not frames:
        raise InputError(f"expected an image with a label and a mask that fit, got none; the first is {skipped[0]}")
    if picture and sheet:
        write_image(picture, sheet.picture())
        remarks += [f"{picture} shows the first {sheet.frames} frames"] if sheet.frames < frames else []
    return Outcome(_table(classes, intersection_over_union(confusion), frames), skipped, remarks)


def pair_up(images: str, labels: str, masks: str) -> Tuple[List[Triple], List[str], List[str]]:
    """The files with the same names, regardless of extension, in the order of the images.

    Returns:
        The triples, a sentence for each image without exactly one label and one mask, and remarks on other files.

    Raises:
        InputError: a folder is missing or has no images.
    """
    for folder in (images, labels, masks):
        if not os.path.isdir(folder):
            raise InputError(f"expected a folder of images, got {folder!r}, which is none; check the path")
    found = find_images(images, leave_out=(labels, masks))
    by_name = [(folder, _files_by_name(folder)) for folder in (labels, masks)]
    triples, skipped = [], []
    for name, image in zip(found.names, found.paths):
        counterparts = [files.get(name, []) for _, files in by_name]
        if all(len(paths) == 1 for paths in counterparts):
            triples.append(Triple(name, image, *(paths[0] for paths in counterparts)))
            continue
        folder, paths = next((f, p) for (f, _), p in zip(by_name, counterparts) if len(p) != 1)
        got = f"{len(paths)} files of that name" if paths else "no such file"
        skipped.append(f"{name}: expected one {name}.png in {folder!r}, got {got}; correct that or remove the image")
    remarks = [found.not_taken] if found.not_taken else []
    for folder, files in by_name:
        extra = len(files.keys() - set(found.names))
        remarks += [f"no image belongs to {extra} of the files in {folder}"] if extra else []
    return triples, skipped, remarks


class Sheet:
    """A picture with one row per frame, image, label and prediction, below a line of titles.

    It is up to ``MAX_HEIGHT`` pixels high. The legend at its end has the classes of all frames in it.

    Args:
        classes: their names.
        palette: (num_classes, 3) uint8, RGB.
    """

    def __init__(self, classes: Sequence[str], palette: np.ndarray):
        self._classes, self._palette = classes, palette
        self._colours = np.zeros((256, 3), np.uint8)  # ignored pixels stay black
        self._colours[: len(palette)] = palette[:256, ::-1]
        self._pixels = np.zeros(len(classes))
        self._full = False
        self._legend_height = len(self._legend(range(len(classes))))
        self._rows = [_line([(title, i * _WIDTH) for i, title in enumerate(TITLES)])]
        self._height = _LINE
        self.frames = 0

    def add(self, caption: str, image: np.ndarray, label: np.ndarray, mask: np.ndarray) -> None:
        """Add a frame: (H, W, 3) uint8 BGR, and class ids (H, W).

        Raises:
            InputError: the sizes differ.
        """
        if image.shape[:2] != label.shape:
            raise InputError(f"expected a label of the image's size {image.shape[:2]}, got {label.shape}; correct it")
        size = _WIDTH, max(1, round(image.shape[0] * _WIDTH / image.shape[1]))
        self._full = self._full or self._height + _LINE + size[1] + self._legend_height > MAX_HEIGHT
        if self._full:
            return
        coloured = (self._colours[np.minimum(ids, 255)] for ids in (label, mask))
        pictures = [cv2.resize(image, size, interpolation=cv2.INTER_AREA)]
        pictures += [cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST) for ids in coloured]
        self._rows += [_line([(caption, 0)]), np.concatenate(pictures, axis=1)]
        self._height += _LINE + size[1]
        self.frames += 1
        for ids in (label, mask):
            self._pixels += np.bincount(ids.ravel(), minlength=len(self._pixels))[: len(self._pixels)]

    def picture(self) -> np.ndarray:
        """The rows below each other, and the legend, (H, W, 3) uint8 BGR."""
        return np.concatenate([*self._rows, self._legend(np.flatnonzero(self._pixels))], axis=0)

    def _legend(self, shown: Sequence[int]) -> np.ndarray:
        labels = [drawing.label(self._classes[k], k) for k in shown]
        return drawing.legend_strip(len(TITLES) * _WIDTH, _UNIT, labels, self._palette[shown, ::-1])


def _caption(name: str, confusion: np.ndarray) -> str:
    """The name of a frame, and the mean IoU of the classes in its label or its mask."""
    iou = intersection_over_union(confusion)
    score = "nothing labelled" if np.isnan(iou).all() else f"mIoU {100 * np.nanmean(iou):.1f} %"
    plain = drawing.transliterated(name) or "".join(c if " " <= c <= "~" else "?" for c in name)
    width = len(TITLES) * _WIDTH - _UNIT - drawing.text_width(f"  {score}", _UNIT)
    return f"{drawing.shorten(plain, _UNIT, width)}  {score}"


def _line(texts: Sequence[Tuple[str, int]]) -> np.ndarray:
    """A line of texts, each with the pixel at which it begins."""
    return drawing.text_strip(texts, len(TITLES) * _WIDTH, _UNIT, _LINE)


def _table(classes: List[str], iou: np.ndarray, frames: int) -> str:
    scores = ["absent" if np.isnan(value) else f"{100 * value:6.2f} %" for value in iou]
    lines = [f"{name:16} {score}" for name, score in zip(classes, scores)]
    return "\n".join([*lines, f"{mean_in_words(iou)}  ({frames} frames)"])


def _files_by_name(folder: str) -> Dict[str, List[str]]:
    files: Dict[str, List[str]] = {}
    for path in find_images(folder).paths:
        files.setdefault(os.path.splitext(os.path.relpath(path, folder))[0], []).append(path)
    return files
