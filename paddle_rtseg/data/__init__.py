"""Datasets that PaddleSeg lacks, class names and palettes, and checks for any dataset.

Importing this package registers the datasets with PaddleSeg.
"""

from .camvid import CamVid

__all__ = ["CamVid"]
