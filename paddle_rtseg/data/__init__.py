"""Datasets that PaddleSeg lacks, labels, class names and palettes, scores of masks, and checks for any dataset.

Importing this package does not import PaddleSeg; importing :mod:`.camvid` registers that dataset with it.
"""
