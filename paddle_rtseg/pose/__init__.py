"""Human pose, in NumPy and OpenCV only: skeletons, targets, and scores; see also :mod:`rtseg_inference.pose`."""

from rtseg_inference.pose import average_flipped, crop, decode, matrix, region_of, to_image

from .heatmaps import targets
from .skeletons import SKELETONS, Skeleton

__all__ = [
    "SKELETONS",
    "Skeleton",
    "average_flipped",
    "crop",
    "decode",
    "matrix",
    "region_of",
    "targets",
    "to_image",
]
