"""Checks for datasets: defective files, sizes and labels, and how often each class occurs.

Pairs are read through the dataset's own ``__getitem__`` without its transforms, so that labels are the ones that
training sees. ADE20K, for example, shifts the labels in its files by one.
"""

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import cv2
import numpy as np
from PIL import Image

from ..errors import InputError


@dataclass
class Report:
    """The result of :func:`check_dataset`."""

    #: One sentence for each file or pair that would fail in training.
    defects: List[str]
    #: (num_classes,) each: pixels of each class, and images that contain it.
    pixels: np.ndarray
    images: np.ndarray
    #: Pixels with the ignored label.
    ignored: int

    @property
    def absent(self) -> List[int]:
        """Classes that never occur."""
        return np.flatnonzero(self.pixels == 0).tolist()


def check_dataset(dataset, progress: Callable[[Iterable], Iterable] = iter, threads: Optional[int] = None) -> Report:
    """Read every image and label of a dataset.

    Args:
        dataset: any PaddleSeg dataset with a ``file_list`` of pairs (image, label).
        progress: wraps the iteration over the pairs, as ``tqdm`` does.
        threads: number of reader threads; None for the number of processors.
    """
    indices = range(len(dataset.file_list))
    report = Report([], np.zeros(dataset.num_classes, np.int64), np.zeros(dataset.num_classes, np.int64), 0)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for defect, counts, ignored in progress(pool.map(lambda i: _check_pair(dataset, i), indices)):
            report.defects += [defect] if defect else []
            report.pixels += counts
            report.images += counts > 0
            report.ignored += ignored
    return report


def read_pair(dataset, index: int) -> Tuple[np.ndarray, np.ndarray]:
    """Image (H, W[, 3]) and label (H, W) of a dataset before any transform.

    Raises:
        InputError: a file is missing or cannot be decoded, or they differ in size.
    """
    image_path, label_path = dataset.file_list[index]
    if label_path is None:
        raise InputError(f"expected a label after {image_path!r} in the list of files, got none; add it")
    plain = copy.copy(dataset)
    plain.transforms, plain.edge = _read, False
    sample = plain[index]
    image, label = sample["img"], np.squeeze(sample["label"])
    if label.ndim != 2:
        raise InputError(
            f"expected one class id for each pixel in {label_path!r}, got an image with {label.shape[-1]} channels; "
            "save the ids as a single-channel image"
        )
    if label.shape != image.shape[:2]:
        raise InputError(
            f"expected {label_path!r} to have its image's {image.shape[1]} x {image.shape[0]} pixels, "
            f"got {label.shape[1]} x {label.shape[0]}; correct the label"
        )
    return image, label


def range_defect(label: np.ndarray, dataset, path: str) -> Optional[str]:
    """A sentence about values in ``label`` that are neither a class nor the ignored label, or None."""
    stray = ((label < 0) | (label >= dataset.num_classes)) & (label != dataset.ignore_index)
    if not stray.any():
        return None
    values = np.unique(label[stray]).tolist()
    listed = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
    return (
        f"expected labels of 0 to {dataset.num_classes - 1} or {dataset.ignore_index} in {path!r}, got {listed}; "
        "correct the label, or set num_classes and ignore_index to match it"
    )


def _check_pair(dataset, index: int) -> Tuple[Optional[str], np.ndarray, int]:
    """The defect of a pair, if any; the pixels of each class; the ignored pixels."""
    try:
        _, label = read_pair(dataset, index)
    except (InputError, OSError) as e:  # some datasets open labels themselves, and raise OSError for a bad file
        return str(e), np.zeros(dataset.num_classes, np.int64), 0
    classes = label[(label >= 0) & (label < dataset.num_classes) & (label != dataset.ignore_index)]
    defect = range_defect(label, dataset, dataset.file_list[index][1])
    return defect, np.bincount(classes, minlength=dataset.num_classes), int((label == dataset.ignore_index).sum())


def _read(data: Dict[str, Any]) -> Dict[str, Any]:
    """Replacement for a dataset's transforms: read images that are still paths, and change nothing."""
    for key, read in (("img", _read_image), ("label", _read_label)):
        if isinstance(data.get(key), str):
            data[key] = read(data[key])
    return data


def _read_image(path: str) -> np.ndarray:
    _check_file(path)
    image = cv2.imread(path, cv2.IMREAD_COLOR)  # as in training: rotated as its EXIF data state
    if image is None:
        raise InputError(f"expected an image, got {path!r}, which cannot be decoded; replace it")
    return image


def _read_label(path: str) -> np.ndarray:
    _check_file(path)
    try:
        return np.asarray(Image.open(path))  # as in training: palette images give ids, not colours
    except (OSError, SyntaxError) as e:
        raise InputError(f"expected a label image, got {path!r}, which cannot be decoded ({e}); replace it") from e


def _check_file(path: str) -> None:
    """Refuse a file that is missing or truncated; OpenCV silently fills in missing rows."""
    try:
        with open(path, "rb") as f:
            start = f.read(8)
            f.seek(-min(os.path.getsize(path), 1024), os.SEEK_END)
            end = f.read()
    except OSError as e:
        raise InputError(f"expected a file {path!r}, which cannot be read ({e.strerror}); check the list") from e
    for signature, last in ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG", b"IEND")):
        if start.startswith(signature) and last not in end:
            raise InputError(f"expected an image, got {path!r}, which is cut short; replace it")
