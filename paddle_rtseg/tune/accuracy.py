"""Mean IoU of a sample of images, and how far chance may have moved it.

An image counts by three numbers for each class c: the pixels of the class that were found (I), predicted (P) and
labelled (L). Of any set of images, ``IoU_c = sum(I_c) / (sum(P_c) + sum(L_c) - sum(I_c))``, and the mean IoU is the
mean over the classes that are labelled in the set. Where all are, as in most validation sets, it is PaddleSeg's.

Intervals are bootstrapped over images (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979): n images are
drawn from the n with replacement, ``DRAWS`` times, and the mean IoU of each draw is computed. The 95 % interval is from
the 2.5th to the 97.5th percentile of these, the standard error is their standard deviation. Two networks are compared
on the same draws.

Neighbouring frames of a video resemble each other, so that drawing them one by one makes intervals too narrow. Where
the places of the images in their list are given, runs of consecutive images are drawn instead, each a tenth of all,
from any image on and from the last on to the first (Politis and Romano, "A Circular Block Resampling Procedure for
Stationary Data", 1992; that a run is a tenth is ours). For a list of unrelated images the intervals are as wide either
way.
"""

import functools
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..data.scores import confusion_matrix

DRAWS = 1000
SEED = 0
LEVEL = 95  #: percent
RUNS = 10  #: that all images are

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


def estimate(counts: Counts, places: Optional[Sequence[int]] = None) -> Estimate:
    """The same, and how sure it is.

    Args:
        places: of the images in the list that they come from; None for images that do not resemble each other.
    """
    return _estimate(mean_iou(counts), _drawn(counts, places))


def difference(counts: Counts, others: Counts, places: Optional[Sequence[int]] = None) -> Estimate:
    """The mean IoU of the first less that of the second, on the same images."""
    return _estimate(mean_iou(counts) - mean_iou(others), _drawn(counts, places) - _drawn(others, places))


def _drawn(counts: Counts, places: Optional[Sequence[int]]) -> np.ndarray:
    """(DRAWS,) mean IoU of each draw; the same draws for any counts of images at the same places."""
    times = _one_by_one(len(counts)) if places is None else _in_runs(tuple(places))
    return _means((times @ counts.reshape(len(counts), -1)).reshape(DRAWS, *counts.shape[1:]))


@functools.lru_cache(maxsize=8)
def _one_by_one(n: int) -> np.ndarray:
    """(DRAWS, n) float64: how often each draw has each image."""
    return np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), DRAWS).astype(np.float64)


@functools.lru_cache(maxsize=8)
def _in_runs(places: Tuple[int, ...]) -> np.ndarray:
    """The same for runs of images; the last run of a draw is cut to its n images."""
    n = len(places)
    length = -(-n // RUNS)
    first = np.random.default_rng(SEED).integers(n, size=(DRAWS, -(-n // length), 1))
    drawn = ((first + np.arange(length)) % n).reshape(DRAWS, -1)[:, :n]
    times = np.zeros((DRAWS, n))
    np.add.at(times, (np.arange(DRAWS)[:, None], np.argsort(places)[drawn]), 1)
    return times


def _means(sums: np.ndarray) -> np.ndarray:
    """(M, 3, C) -> (M,) mean IoU; 0 without a labelled class."""
    found, predicted, labelled = (sums[:, i] for i in range(3))
    iou = found / np.maximum(1, predicted + labelled - found)
    return np.where(labelled > 0, iou, 0).sum(axis=1) / np.maximum(1, (labelled > 0).sum(axis=1))


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(float(value), float(drawn.std()), float(low), float(high))
