"""Heatmaps to train with: a Gaussian around each keypoint, as in Xiao et al., ECCV 2018."""

from typing import Tuple

import numpy as np
from rtseg_inference.pose import STRIDE, Size


def targets(keypoints: np.ndarray, visible: np.ndarray, size: Size, sigma: float) -> Tuple[np.ndarray, np.ndarray]:
    """Heatmaps of keypoints, and how much each counts.

    Args:
        keypoints: (K, 2) x and y in pixels of the network's input.
        visible: (K,) 0 where a keypoint is not labelled.
        size: (width, height) of the input, multiples of 4.
        sigma: of the Gaussian, in cells. It is cut off at three sigma, and its peak of 1 lies on a cell.

    Returns:
        (K, height / 4, width / 4) float32 heatmaps, and (K,) float32 weights: 0 for a keypoint that is not labelled or
        whose Gaussian lies wholly outside, by more than a cell on the left or at the top, as in the reference.
    """
    width, height = size[0] // STRIDE, size[1] // STRIDE
    heatmaps = np.zeros((len(keypoints), height, width), np.float32)
    weights = np.minimum(visible, 1).astype(np.float32)
    reach = int(3 * sigma)
    for k, point in enumerate(keypoints):
        if weights[k] == 0:
            continue
        x, y = np.trunc(np.asarray(point, np.float64) / STRIDE + 0.5).astype(int)  # towards zero, as in the reference
        if x - reach >= width or y - reach >= height or x + reach + 1 < 0 or y + reach + 1 < 0:
            weights[k] = 0
            continue
        columns, rows = (np.arange(max(0, n - reach), min(end, n + reach + 1)) for n, end in ((x, width), (y, height)))
        squared = (rows[:, None] - y) ** 2 + (columns - x) ** 2
        heatmaps[k, rows[:, None], columns] = np.exp(-squared / (2 * sigma**2))
    return heatmaps, weights
