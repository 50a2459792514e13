"""The one resize of this package, and OpenCV's own code for other calls, with the same result in every build of OpenCV.

Builds with Intel's IPP, such as the ``opencv-python`` wheel, leave some resizes to it. IPP rounds differently from
OpenCV's own code, and differently from processor to processor, so masks would differ by a few pixels from the C++
program's, and from machine to machine.
"""

import contextlib
from typing import Iterator, Optional, Tuple

import cv2

from .files import Array


def resize(image: Array, size: Tuple[int, int], method: int, out: Optional[Array] = None) -> Array:
    """``image`` (h, w, ...) at ``size`` (H, W) -> (H, W, ...), by OpenCV's own code; ``out`` may hold the result."""
    with without_ipp():
        return cv2.resize(image, size[::-1], out, interpolation=method)


@contextlib.contextmanager
def without_ipp() -> Iterator[None]:
    """OpenCV's own code in the calling thread; afterwards the caller's own calls are as before."""
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        yield
    finally:
        cv2.ipp.setUseIPP(before)
