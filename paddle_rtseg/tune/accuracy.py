"""Mean IoU of a sample of images, and how far chance may have moved it.

An image counts by three numbers for each class c: the pixels of the class that were found (I), predicted (P) and
labelled (L). Of any set of images, ``IoU_c = sum(I_c) / (sum(P_c) + sum(L_c) - sum(I_c))``, and the mean IoU is the
mean over the classes that are labelled in the set. Where all are, as in most validation sets, it is PaddleSeg's.

Intervals are bootstrapped over images (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979): n images are
drawn from the n with replacement, ``DRAWS`` times, and the mean IoU of each draw is computed. The 95 % interval is from
the 2.5th to the 97.5th percentile of these, the standard error is their standard deviation. Two networks are compared
on the same draws. Images that resemble each other, such as neighbouring frames of a video, make the intervals too
narrow.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..data.scores import confusion_matrix

DRAWS = 1000
SEED = 0
LEVEL = 95  #: percent

Counts = np.ndarray  #: (N, 3, C) int64: pixels found, predicted and labelled of each class in each of N images


class Estimate(NamedTuple):
    """A mean IoU, or a difference of two, from a sample of images."""

    value: float
    error: float  #: standard error
    low: float  #: of the 95 % interval
    high: float


def counts_of(label: np.ndarray, mask: np.ndarray, num_classes: int, ignore_index: int) -> Counts:
    """(1, 3, C) of one image.

    Raises:
        InputError: see :func:`.confusion_matrix`.
    """
    confusion = confusion_matrix(label, mask, num_classes, ignore_index)
    return np.stack([np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)])[None]


def labelled_classes(counts: Counts) -> int:
    """How many classes are labelled in any of the images."""
    return int((counts[:, 2].sum(axis=0) > 0).sum())


def mean_iou(counts: Counts) -> float:
    """The mean IoU of the images."""
    return float(_means(counts.sum(axis=0, dtype=np.float64)[None])[0])


def estimate(counts: Counts) -> Estimate:
    """The same, and how sure it is."""
    return _estimate(mean_iou(counts), _means(_sums(counts)))


def difference(counts: Counts, others: Counts) -> Estimate:
    """The mean IoU of the first less that of the second, on the same images."""
    return _estimate(mean_iou(counts) - mean_iou(others), _means(_sums(counts)) - _means(_sums(others)))


def _sums(counts: Counts) -> np.ndarray:
    """(DRAWS, 3, C) float64: the counts of each draw; the same draws for any counts of as many images."""
    return (_draws(len(counts)) @ counts.reshape(len(counts), -1)).reshape(DRAWS, *counts.shape[1:])


@functools.lru_cache(maxsize=8)
def _draws(n: int) -> np.ndarray:
    """(DRAWS, n) float64: how often each draw has each image."""
    return np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), DRAWS).astype(np.float64)


def _means(sums: np.ndarray) -> np.ndarray:
    """(M, 3, C) -> (M,) mean IoU; 0 without a labelled class."""
    found, predicted, labelled = (sums[:, i] for i in range(3))
    iou = found / np.maximum(1, predicted + labelled - found)
    return np.where(labelled > 0, iou, 0).sum(axis=1) / np.maximum(1, (labelled > 0).sum(axis=1))


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(float(value), float(drawn.std()), float(low), float(high))
