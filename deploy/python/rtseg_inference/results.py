"""A mask in forms that other programs read: polygons, COCO's annotations, areas as JSON, Detections of supervision."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

import cv2
import numpy as np

from .errors import InputError
from .files import Array

_BAND = 512  # rows that are counted at once


@dataclass(frozen=True)
class Polygon:
    """A connected region of one class."""

    class_id: int
    outline: Array  #: (N, 2) int32, x and y of pixels at the region's edge, in order
    holes: List[Array]  #: the same, of the region's pixels around each hole


def polygons(mask: Array) -> List[Polygon]:
    """The connected regions of each class, by class and then by their outline's lowest point.

    ``cv2.drawContours`` of an outline with its holes fills exactly the region's pixels.

    Args:
        mask: (H, W) class ids.
    """
    found = []
    for class_id in np.unique(mask):
        region = (mask == class_id).astype(np.uint8)
        contours, hierarchy = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        outlines = [contour[:, 0] for contour in contours]
        for i, (_, _, child, parent) in enumerate(hierarchy[0]):
            if parent < 0:
                found.append(Polygon(int(class_id), outlines[i], [outlines[k] for k in _siblings(hierarchy[0], child)]))
    return found


def _siblings(hierarchy: Array, first: int) -> List[int]:
    found = []
    while first >= 0:
        found.append(first)
        first = int(hierarchy[first][0])
    return found


def run_lengths(mask: Array) -> Dict[int, List[int]]:
    """COCO's uncompressed code of each class in an (H, W) mask, by class id.

    It is the lengths of runs of pixels outside and inside the class in turn, by columns.
    """
    values = mask.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    ends = np.append(starts[1:], len(values))
    ids = values[starts]
    codes = {}
    for class_id in np.unique(ids):
        first, last = starts[ids == class_id], ends[ids == class_id]
        gaps = first - np.concatenate([[0], last[:-1]])
        rest = [len(values) - int(last[-1])] if last[-1] < len(values) else []
        codes[int(class_id)] = np.stack([gaps, last - first], axis=1).ravel().tolist() + rest
    return codes


def coco_annotations(mask: Array, image_id: int, first_id: int = 1) -> List[Dict[str, Any]]:
    """An annotation in COCO's form for each class in an (H, W) mask; ``category_id`` is the class id."""
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": class_id,
            "segmentation": {"size": list(mask.shape), "counts": counts},
            "area": sum(counts[1::2]),
            "bbox": _box(mask == class_id),
            "iscrowd": 1,  # COCO's word for a region without instances
        }
        for number, (class_id, counts) in enumerate(run_lengths(mask).items(), start=first_id)
    ]


def _box(region: Array) -> List[int]:
    """Left, top, width and height of the pixels of an (H, W) boolean array."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def class_areas(mask: Array, names: Sequence[str], confidence: Optional[Array]) -> Dict[str, Any]:
    """The classes of an (H, W) mask with their pixels, as JSON has them.

    Args:
        names: of the classes, by id.
        confidence: (H, W), the probability of each pixel's class, or None.

    Returns:
        ``height``, ``width`` and ``classes``: id, name, pixels, share of the image, and the mean probability that the
        network gave the class at its pixels, null without ``confidence``.
    """
    counts, sums = np.zeros(len(names), np.int64), None if confidence is None else np.zeros(len(names))
    for start in range(0, len(mask), _BAND):  # bincount makes 8 bytes of each pixel
        ids = mask[start : start + _BAND].ravel()
        counts += np.bincount(ids, minlength=len(names))
        if sums is not None and confidence is not None:
            sums += np.bincount(ids, confidence[start : start + _BAND].ravel(), len(names))
    classes = [
        {
            "id": int(class_id),
            "name": names[class_id],
            "pixels": int(counts[class_id]),
            "share": counts[class_id] / mask.size,
            "score": None if sums is None else float(sums[class_id] / counts[class_id]),
        }
        for class_id in np.flatnonzero(counts)
    ]
    return {"height": mask.shape[0], "width": mask.shape[1], "classes": classes}


def detections(mask: Array, names: Sequence[str]) -> Any:
    """``supervision.Detections`` with one detection for each class in an (H, W) mask.

    Raises:
        InputError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as e:
        raise InputError("expected the package supervision, got none; pip install supervision") from e
    ids = np.unique(mask)
    masks = np.stack([mask == class_id for class_id in ids])
    return supervision.Detections(
        xyxy=supervision.mask_to_xyxy(masks),
        mask=masks,
        class_id=ids.astype(int),
        data={"class_name": np.array([names[class_id] for class_id in ids])},
    )
