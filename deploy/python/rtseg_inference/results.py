"""A mask in forms that other programs read: polygons, COCO's annotations, areas as JSON, Detections of supervision."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

import cv2
import numpy as np

from .errors import InputError
from .files import Array


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


def run_lengths(region: Array) -> List[int]:
    """COCO's uncompressed code of an (H, W) boolean array: lengths of runs of False and True in turn, by columns."""
    values = np.asarray(region, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(values)) + 1
    lengths = np.diff(edges, prepend=0, append=len(values)).tolist()
    return [0, *lengths] if len(values) and values[0] else lengths


def coco_annotations(mask: Array, image_id: int, first_id: int = 1) -> List[Dict[str, Any]]:
    """An annotation in COCO's form for each class in an (H, W) mask; ``category_id`` is the class id."""
    found = []
    for number, class_id in enumerate(np.unique(mask), start=first_id):
        region = mask == class_id
        rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        found.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": int(class_id),
                "segmentation": {"size": list(mask.shape), "counts": run_lengths(region)},
                "area": int(region.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "iscrowd": 1,  # COCO's word for a region without instances
            }
        )
    return found


def class_areas(mask: Array, names: Sequence[str], scores: Optional[Array]) -> Dict[str, Any]:
    """The classes of an (H, W) mask with their pixels, as JSON has them.

    Args:
        names: of the classes, by id.
        scores: (C, H, W) class probabilities, or None.

    Returns:
        ``height``, ``width`` and ``classes``: id, name, pixels, share of the image, and the mean probability that the
        network gave the class at its pixels, null without ``scores``.
    """
    counts = np.bincount(mask.ravel(), minlength=len(names))
    classes = [
        {
            "id": int(class_id),
            "name": names[class_id],
            "pixels": int(counts[class_id]),
            "share": counts[class_id] / mask.size,
            "score": None if scores is None else float(scores[class_id][mask == class_id].mean()),
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
