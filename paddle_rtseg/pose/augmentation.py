"""Random changes of a person in training, in the order and with the figures of SegFormer++'s published trainings."""

from typing import NamedTuple, Sequence, Tuple

import numpy as np
from rtseg_inference.pose import Region

from .skeletons import Skeleton

HALF_BODY_PADDING = 1.5
HALF_BODY_VISIBLE, HALF_BODY_UPPER, HALF_BODY_LOWER = 9, 2, 3  #: keypoints that must be visible


class Person(NamedTuple):
    """A person in an image."""

    keypoints: np.ndarray  #: (K, 2) in the image
    visible: np.ndarray  #: (K,)
    region: Region


def mirrored(
    keypoints: np.ndarray, visible: np.ndarray, box: np.ndarray, width: int, flip_indices: Sequence[int]
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keypoints (K, 2), their visibility (K,) and the box (left, top, right, bottom) in the mirror image."""
    flipped = np.array(keypoints, np.float64)[list(flip_indices)]
    flipped[:, 0] = width - 1 - flipped[:, 0]
    left, top, right, bottom = box
    return (
        flipped,
        np.asarray(visible)[list(flip_indices)],
        np.array([width - 1 - right, top, width - 1 - left, bottom]),
    )


def half_body(keypoints: np.ndarray) -> Region:
    """The region of one half of a body, of which (N, 2) keypoints are visible; its aspect ratio is theirs."""
    extent = keypoints.max(axis=0) - keypoints.min(axis=0)
    return Region(keypoints.mean(axis=0), extent * HALF_BODY_PADDING)


def random_half(person: Person, skeleton: Skeleton, random: np.random.Generator, probability: float = 0.3) -> Person:
    """Sometimes, the half of a body instead of the whole: the upper one seven times of ten, if both would do."""
    if (person.visible > 0).sum() < HALF_BODY_VISIBLE or random.random() >= probability:
        return person
    upper, lower = ([i for i in half if person.visible[i] > 0] for half in (skeleton.upper, skeleton.lower))
    halves = [upper, lower] if random.random() < 0.7 else [lower, upper]
    for half in halves:
        if len(half) >= (HALF_BODY_UPPER if half is upper else HALF_BODY_LOWER):
            return person._replace(region=half_body(person.keypoints[half]))
    return person


def random_region(region: Region, random: np.random.Generator) -> Tuple[Region, float]:
    """A region that is moved (three times of ten) and resized, and degrees to turn it by (six times of ten)."""
    shift = 0.16 * _truncated_normal(random, 2) * region.scale if random.random() < 0.3 else np.zeros(2)
    factor = 1 + 0.5 * _truncated_normal(random, 1)[0]
    degrees = 80.0 * _truncated_normal(random, 1)[0] if random.random() < 0.6 else 0.0
    return Region(region.center + shift, region.scale * factor), float(degrees)


def _truncated_normal(random: np.random.Generator, count: int) -> np.ndarray:
    """Standard normal numbers, drawn again until they lie between -1 and 1."""
    values = random.standard_normal(count)
    while (outside := abs(values) > 1).any():
        values[outside] = random.standard_normal(int(outside.sum()))
    return values
