"""Checks for datasets: defective files, sizes and labels, and how often each class occurs.

Pairs are read through the dataset's own ``__getitem__`` without its transforms, so that labels are the ones that
training sees. ADE20K, for example, shifts the labels in its files by one.
"""

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import numpy as np
from rtseg_inference.errors import quote
from rtseg_inference.images import IMAGE_SUFFIXES, read_image

from ..errors import InputError
from .labels import read_label


@dataclass
class Report:
    """The result of :func:`check_dataset`."""

    #: One sentence for each file or pair that would fail in training.
    defects: List[str]
    #: (num_classes,) each: pixels of each class, and images that contain it.
    pixels: np.ndarray
    images: np.ndarray
    #: Pixels with the ignored label.
    ignored: int = 0
    #: Labels that hold only class 0 and the ignored label, as masks do that mark an object with 255.
    marked_as_ignored: List[str] = field(default_factory=list)
    #: Labels that are ignored in every pixel.
    empty: List[str] = field(default_factory=list)
    #: Image and label of each pair with a defect.
    defective: List[Tuple[str, str]] = field(default_factory=list)

    @property
    def absent(self) -> List[int]:
        """Classes that never occur."""
        return np.flatnonzero(self.pixels == 0).tolist()


def check_dataset(dataset, progress: Callable[[Iterable], Iterable] = iter, threads: Optional[int] = None) -> Report:
    """Read every image and label of a dataset.

    Args:
        dataset: any PaddleSeg dataset with a ``file_list`` of pairs (image, label).
        progress: wraps the iteration over the pairs, as :func:`rtseg_inference.progress.watched` does.
        threads: number of reader threads; None for the number of processors.
    """
    indices = range(len(dataset.file_list))
    report = Report([], np.zeros(dataset.num_classes, np.int64), np.zeros(dataset.num_classes, np.int64))
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        try:
            checked = pool.map(lambda i: _check_pair(dataset, i), indices)
            for index, (defect, counts, ignored) in zip(indices, progress(checked)):
                report.defects += [defect] if defect else []
                report.defective += [tuple(dataset.file_list[index])] if defect else []
                report.pixels += counts
                report.images += counts > 0
                report.ignored += ignored
                if ignored and not counts[1:].any():
                    (report.marked_as_ignored if counts[0] else report.empty).append(dataset.file_list[index][1])
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for all files
            raise
    return report


def unlisted_images(datasets: Iterable[Any]) -> List[str]:
    """Images in the folders of the datasets' images that none of their lists names."""
    listed = {os.path.normpath(path) for dataset in datasets for pair in dataset.file_list for path in pair if path}
    folders = {os.path.dirname(os.path.normpath(image)) for dataset in datasets for image, _ in dataset.file_list}
    return [
        path
        for folder in sorted(folders)
        if os.path.isdir(folder)
        for path in (os.path.join(folder, name) for name in sorted(os.listdir(folder)))
        if path.lower().endswith(IMAGE_SUFFIXES) and path not in listed
    ]


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
    except Exception as e:  # a dataset may read files in its own way, and raise anything
        reason = str(e) if isinstance(e, InputError) else in_a_sentence(dataset.file_list[index], e)
        return reason, np.zeros(dataset.num_classes, np.int64), 0
    classes = label[(label >= 0) & (label < dataset.num_classes) & (label != dataset.ignore_index)]
    defect = range_defect(label, dataset, dataset.file_list[index][1])
    return defect, np.bincount(classes, minlength=dataset.num_classes), int((label == dataset.ignore_index).sum())


def in_a_sentence(pair: Iterable[Any], error: Exception) -> str:
    """Why the files of a pair cannot be read, where a dataset reads them in its own way."""
    files = " and ".join(repr(path) for path in pair if path)
    return f"{files} cannot be read ({type(error).__name__}: {quote(error)}); replace them"


def _read(data: Dict[str, Any]) -> Dict[str, Any]:
    """Replacement for a dataset's transforms: read images that are still paths, and change nothing."""
    for key, read in (("img", read_image), ("label", read_label)):
        if isinstance(data.get(key), str):
            data[key] = read(data[key])
    return data
