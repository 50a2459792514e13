"""The one resize of this package, and OpenCV's own code for other calls, with the same result in every build of OpenCV.

Builds with Intel's IPP, such as the ``opencv-python`` wheel, leave some resizes to it. IPP rounds differently from
OpenCV's own code, and differently from processor to processor, so masks would differ by a few pixels from the C++
program's, and from machine to machine.
"""

import contextlib
from dataclasses import dataclass
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np

from .files import Array

BAND = 64  #: rows


def resize(image: Array, size: Tuple[int, int], method: int, out: Optional[Array] = None) -> Array:
    """``image`` (h, w, ...) at ``size`` (H, W) -> (H, W, ...), by OpenCV's own code; ``out`` may hold the result."""
    with without_ipp():
        return cv2.resize(image, size[::-1], out, interpolation=method)


@dataclass(frozen=True)
class Band:
    """A few rows of what :func:`resize` with ``INTER_LINEAR`` makes."""

    rows: slice  #: of the result
    source: Array  #: the rows of the source that these are made of
    lower: Array  #: for each row of the result the two of ``source`` that it lies between
    upper: Array
    share: Array  #: and the weight of the second, (rows, 1)

    def resized(self, plane: Array, width: int) -> Array:
        """The rows ``source`` of a plane, (n, w) float32, -> (rows of the result, width) float32."""
        wide = resize(plane, (len(plane), width), cv2.INTER_LINEAR)
        return np.asarray(wide[self.lower] * (1 - self.share) + wide[self.upper] * self.share)


def bands(source: int, target: int) -> Iterator[Band]:
    """The bands of a resize from ``source`` to ``target`` rows, where float planes as a whole would take much memory.

    The arithmetic is that of ``cv2.resize``.
    """
    at = ((np.arange(target) + 0.5) * (1.0 / (target / source)) - 0.5).astype(np.float32)
    floor = np.floor(at).astype(np.int64)
    share = (at - floor.astype(np.float32))[:, None]
    for start in range(0, target, BAND):
        rows = slice(start, min(start + BAND, target))
        pair = np.stack([floor[rows], floor[rows] + 1]).clip(0, source - 1)
        needed = np.unique(pair)
        lower, upper = np.searchsorted(needed, pair)
        yield Band(rows, needed, lower, upper, share[rows])


@contextlib.contextmanager
def without_ipp() -> Iterator[None]:
    """OpenCV's own code in the calling thread; afterwards the caller's own calls are as before."""
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        yield
    finally:
        cv2.ipp.setUseIPP(before)
