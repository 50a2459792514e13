"""What is wrong with a dataset: files, sizes, labels, and how often each class occurs.

Pairs are read through the dataset's own ``__getitem__`` with nothing in the place of its transforms, so that labels
are what training would see (ADE20K's, for one, are shifted by one from those in the files).
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
    """What :func:`check_dataset` found."""

    #: One sentence for each file or pair that training would stumble over.
    defects: List[str]
    #: (num_classes,) pixels of each class, and the images that have it.
    pixels: np.ndarray
    images: np.ndarray
    #: Pixels with the label that is ignored.
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
        threads: how many read at a time; the number of processors if None.
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
        raise InputError(f"expected a label beside {image_path!r} in the list of files, got none; add it")
    plain = copy.copy(dataset)
    plain.transforms, plain.edge = _read, False
    sample = plain[index]
    image, label = sample["img"], np.squeeze(sample["label"])
    if label.ndim != 2:
        raise InputError(
            f"expected one class id for each pixel in {label_path!r}, got an image with {label.shape[-1]} channels; "
            "save the ids as an image of one channel"
        )
    if label.shape != image.shape[:2]:
        raise InputError(
            f"expected {label_path!r} to have its image's {image.shape[1]} x {image.shape[0]} pixels, "
            f"got {label.shape[1]} x {label.shape[0]}; correct the label"
        )
    return image, label


def range_defect(label: np.ndarray, dataset, path: str) -> Optional[str]:
    """A sentence about the values in ``label`` that are neither a class nor what the dataset ignores, if any."""
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
    """What is wrong with a pair, if anything; pixels of each class; pixels that are ignored."""
    try:
        _, label = read_pair(dataset, index)
    except (InputError, OSError) as e:  # some datasets open labels themselves, which for a bad file is an OSError
        return str(e), np.zeros(dataset.num_classes, np.int64), 0
    classes = label[(label >= 0) & (label < dataset.num_classes) & (label != dataset.ignore_index)]
    defect = range_defect(label, dataset, dataset.file_list[index][1])
    return defect, np.bincount(classes, minlength=dataset.num_classes), int((label == dataset.ignore_index).sum())


def _read(data: Dict[str, Any]) -> Dict[str, Any]:
    """In the place of a dataset's transforms: read what is still a path, and change nothing."""
    for key, read in (("img", _read_image), ("label", _read_label)):
        if isinstance(data.get(key), str):
            data[key] = read(data[key])
    return data


def _read_image(path: str) -> np.ndarray:
    _check_file(path)
    image = cv2.imread(path, cv2.IMREAD_COLOR)  # as training does: turned as its EXIF data say
    if image is None:
        raise InputError(f"expected an image, got {path!r}, which cannot be decoded; replace it")
    return image


def _read_label(path: str) -> np.ndarray:
    _check_file(path)
    try:
        return np.asarray(Image.open(path))  # as training does: of a palette image the ids, not the colours
    except (OSError, SyntaxError) as e:
        raise InputError(f"expected a label image, got {path!r}, which cannot be decoded ({e}); replace it") from e


def _check_file(path: str) -> None:
    """Reject a file that is missing or truncated: OpenCV silently fills the missing part."""
    try:
        with open(path, "rb") as f:
            start = f.read(8)
            f.seek(-min(os.path.getsize(path), 1024), os.SEEK_END)
            end = f.read()
    except OSError as e:
        raise InputError(f"expected a file {path!r}, got none that can be read ({e.strerror}); check the list") from e
    for signature, last in ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG", b"IEND")):
        if start.startswith(signature) and last not in end:
            raise InputError(f"expected an image, got {path!r}, which is cut short; replace it")
