"""Intersection over union of each class, and its mean as defined here and in PaddleSeg's ``evaluate``.

A class in neither labels nor predictions has no IoU. PaddleSeg's mean is over all classes and counts such a class as 0
in 2.8.0 and as 1 since 2.9.0; other tools leave it out. Every command prints which mean it shows, and the other one too
where they differ.
"""

from typing import Any

import numpy as np

from ..errors import InputError


def confusion_matrix(labels: np.ndarray, masks: np.ndarray, num_classes: int, ignore_index: int = 255) -> np.ndarray:
    """Pixel counts by (label, prediction).

    Args:
        labels, masks: integer arrays of the same shape.
        num_classes: values must be below it, except ``ignore_index`` in the labels.

    Returns:
        (num_classes, num_classes) int64.

    Raises:
        InputError: shapes differ, or a value is out of range.
    """
    if labels.shape != masks.shape:
        raise InputError(f"expected a mask of the label's size {labels.shape}, got {masks.shape}; predict it again")
    valid = labels != ignore_index
    pairs = {"label": labels[valid].astype(np.int64), "mask": masks[valid].astype(np.int64)}
    for what, values in pairs.items():
        stray = values[(values < 0) | (values >= num_classes)]
        if stray.size:
            raise InputError(
                f"expected {what} values of 0 to {num_classes - 1}, got {stray[0]}; use the same classes for both"
            )
    both = pairs["label"] * num_classes + pairs["mask"]
    return np.bincount(both, minlength=num_classes**2).reshape(num_classes, num_classes)


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class from a confusion matrix; NaN for a class in neither label nor prediction."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def mean_in_words(iou: np.ndarray, absent: float = 0.0) -> str:
    """The mean IoU and its definition, such as "mean IoU of all 19 classes: 76.31 %".

    Args:
        iou: (num_classes,) from :func:`intersection_over_union`.
        absent: what a class without an IoU counts as.
    """
    missing = np.isnan(iou)
    text = f"mean IoU of all {len(iou)} classes: {np.where(missing, absent, iou).mean():.2%}"
    if not missing.any():
        return text
    others = f"{iou[~missing].mean():.2%}" if not missing.all() else "none"
    return (
        f"{text}, where the {missing.sum()} in neither labels nor predictions count as {absent:g}; mean IoU of the "
        f"others: {others}"
    )


def evaluation_in_words(class_iou: np.ndarray, intersection: Any, predicted: Any, labelled: Any) -> str:
    """:func:`mean_in_words` for PaddleSeg's ``evaluate``.

    Args:
        class_iou: (num_classes,) as ``paddleseg.utils.metrics.mean_iou`` returned it.
        intersection, predicted, labelled: its arguments, int64 tensors with the pixels of each class.
    """
    missing = (predicted + labelled - intersection).numpy() == 0
    counted_as = class_iou[missing][0] if missing.any() else 0.0
    return mean_in_words(np.where(missing, np.nan, class_iou), counted_as)
