"""The one resize of this package, with the same result in every build of OpenCV.

Builds with Intel's IPP, the ``opencv-python`` wheel among them, let it do some resizes. It rounds differently from
OpenCV's own code, and differently from processor to processor, so that masks differ by a few pixels from those of the
C++ program, and from machine to machine.
"""

from typing import Optional, Tuple

import cv2
import numpy as np


def resize(image: np.ndarray, size: Tuple[int, int], method: int, out: Optional[np.ndarray] = None) -> np.ndarray:
    """``image`` (h, w, ...) at ``size`` (H, W) -> (H, W, ...), by OpenCV's own code. ``out`` may take the result."""
    # The switch is the calling thread's alone. It is put back because other resizes are not ours to change.
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        return cv2.resize(image, size[::-1], out, interpolation=method)
    finally:
        cv2.ipp.setUseIPP(before)
