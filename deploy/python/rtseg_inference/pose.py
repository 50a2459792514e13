"""Top-down pose estimation around the network: a person's box to the network's input, heatmaps back to keypoints.

The geometry is that of Xiao et al., "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018, as used by
SegFormer++ (arXiv 2405.14467): pixel centres have whole coordinates, and no half-pixel terms occur. Coordinates are
(x, y) in pixels, sizes (width, height).
"""

from dataclasses import dataclass
from typing import Literal, Sequence, Tuple

import cv2
import numpy as np

from .files import Array
from .resizing import without_ipp

PADDING = 1.25  #: a region's size as a multiple of its box's
STRIDE = 4  #: pixels of the network's input for each cell of a heatmap
DARK_KERNEL = 11

Rule = Literal["quarter", "none", "dark"]
Size = Tuple[int, int]


@dataclass(frozen=True)
class Region:
    """The upright rectangle of an image that becomes the network's input."""

    center: Array  #: (2,) x, y
    scale: Array  #: (2,) width, height, in the input's aspect ratio


def region_of(box: Sequence[float], size: Size, padding: float = PADDING) -> Region:
    """The region around a box.

    Args:
        box: left, top, right, bottom.
        size: (width, height) of the network's input.
        padding: the region's size as a multiple of the box's; then its smaller side grows to the input's aspect ratio.
    """
    left, top, right, bottom = map(float, box)
    return with_aspect(
        np.array([(left + right) / 2, (top + bottom) / 2]), np.array([right - left, bottom - top]) * padding, size
    )


def with_aspect(center: Array, scale: Array, size: Size) -> Region:
    """A region of at least this (width, height), in the aspect ratio of ``size``."""
    aspect = size[0] / size[1]
    width, height = scale
    return Region(center, np.array([max(width, height * aspect), max(height, width / aspect)]))


def matrix(region: Region, size: Size, degrees: float = 0.0) -> Array:
    """(2, 3) affine matrix from image to input; ``degrees`` turns the region clockwise, as seen in the image."""
    factor, angle = size[0] / region.scale[0], np.deg2rad(degrees)
    turned = factor * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([turned, np.array(size) / 2 - turned @ region.center])


def crop(image: Array, transform: Array, size: Size) -> Array:
    """(h, w, 3) uint8 image -> (H, W, 3) input, linearly interpolated, black outside the image."""
    with without_ipp():
        return np.asarray(cv2.warpAffine(image, transform, size, flags=cv2.INTER_LINEAR))


def to_image(keypoints: Array, region: Region, size: Size) -> Array:
    """(..., 2) keypoints of an input of ``size`` that was not turned -> in the image."""
    return np.asarray(keypoints / np.array(size) * region.scale + region.center - region.scale / 2)


def decode(heatmaps: Array, rule: Rule = "quarter") -> Tuple[Array, Array]:
    """Heatmaps to keypoints.

    Args:
        heatmaps: (K, h, w).
        rule: what is added to the cell of the maximum: "quarter" a quarter of a cell towards the larger neighbour;
            "dark" the maximum of a Taylor expansion of the smoothed heatmap's logarithm (Zhang et al.,
            "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020); "none" nothing.

    Returns:
        (K, 2) keypoints in pixels of the input, and (K,) scores, the maxima. A keypoint without a positive value is at
        -``STRIDE``: only its score tells that it was not found.
    """
    count, _, width = heatmaps.shape
    flat = heatmaps.reshape(count, -1)
    best = flat.argmax(axis=1)
    scores = flat[np.arange(count), best]
    cells = np.stack([best % width, best // width], axis=1).astype(np.float64)
    found = scores > 0
    cells[~found] = -1
    if rule == "quarter":
        cells += _quarter_shifts(heatmaps, cells)
    elif rule == "dark":
        cells += _dark_shifts(heatmaps, cells)
    return cells * STRIDE, scores


def average_flipped(heatmaps: Array, mirrored: Array, flip_indices: Sequence[int], shift: bool = True) -> Array:
    """The mean of an input's heatmaps and those of its mirror image.

    Args:
        heatmaps, mirrored: (..., K, h, w), the latter as the network gave them.
        flip_indices: for each keypoint the one that it becomes in a mirror.
        shift: move the mirrored ones right by a cell, because mirroring moves each heatmap by three of an input's four
            pixels; the first column keeps its values.
    """
    back = mirrored[..., list(flip_indices), :, ::-1].copy()
    if shift:
        back[..., 1:] = back[..., :-1].copy()
    return np.asarray((heatmaps + back) / 2)


def _quarter_shifts(heatmaps: Array, cells: Array) -> Array:
    _, height, width = heatmaps.shape
    shifts = np.zeros_like(cells)
    for k, (x, y) in enumerate(cells.astype(int)):
        if 1 < x < width - 1 and 0 < y < height:
            shifts[k, 0] = 0.25 * np.sign(heatmaps[k, y, x + 1] - heatmaps[k, y, x - 1])
        if 1 < y < height - 1 and 0 < x < width:
            shifts[k, 1] = 0.25 * np.sign(heatmaps[k, y + 1, x] - heatmaps[k, y - 1, x])
    return shifts


def _dark_shifts(heatmaps: Array, cells: Array) -> Array:
    _, height, width = heatmaps.shape
    shifts = np.zeros_like(cells)
    for k, (x, y) in enumerate(cells.astype(int)):
        if not (1 < x < width - 2 and 1 < y < height - 2):
            continue
        smooth = np.log(np.maximum(_smoothed(heatmaps[k]).astype(np.float64), 1e-10))
        around = smooth[y - 2 : y + 3, x - 2 : x + 3]
        slope = np.array([around[2, 3] - around[2, 1], around[3, 2] - around[1, 2]]) / 2
        twist = (around[3, 3] - around[1, 3] - around[3, 1] + around[1, 1]) / 4
        bend_x = (around[2, 4] - 2 * around[2, 2] + around[2, 0]) / 4
        bend_y = (around[4, 2] - 2 * around[2, 2] + around[0, 2]) / 4
        determinant = bend_x * bend_y - twist * twist
        if determinant != 0 and np.isfinite(smooth).all():
            x_step = (twist * slope[1] - bend_y * slope[0]) / determinant
            y_step = (twist * slope[0] - bend_x * slope[1]) / determinant
            shifts[k] = x_step, y_step
    return shifts


def _smoothed(heatmap: Array) -> Array:
    """A heatmap under a Gaussian, with zeros around it, and the maximum as before."""
    border = (DARK_KERNEL - 1) // 2
    padded = np.pad(heatmap.astype(np.float32), border)
    smooth = cv2.GaussianBlur(padded, (DARK_KERNEL, DARK_KERNEL), 0)[border:-border, border:-border]
    with np.errstate(all="ignore"):  # where all is negative but a cell
        return np.asarray(smooth * (heatmap.max() / smooth.max()))
