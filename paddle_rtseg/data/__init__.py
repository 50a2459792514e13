"""Datasets that PaddleSeg lacks, what their classes are called, and checks of any dataset.

Importing this package puts the datasets into PaddleSeg's component manager.
"""

from .camvid import CamVid

__all__ = ["CamVid"]
